//! What is in the state folder is for its owner alone: values, desired values,
//! and the sessions of the bus.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

/// Rights of the group and of others.
const FOREIGN: u32 = 0o077;
/// Of a folder that many share, such as `/tmp`.
const STICKY: u32 = 0o1000;

/// Makes the folder where it is absent, and takes it and what former versions
/// left in it from others.
pub(super) fn folder(path: &Path) -> io::Result<()> {
    if path.exists() {
        tighten(path);
    } else {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)?;
    }
    tree(&path.join("bus"));
    Ok(())
}

fn tree(path: &Path) {
    tighten(path);
    // Not a folder, or not there: nothing below it.
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            tree(&entry.path());
        }
    }
}

/// Somebody else's file is left as it is; edgecore may use it all the same.
fn tighten(path: &Path) {
    let Ok(metadata) = path.metadata() else {
        return;
    };
    let mode = metadata.permissions().mode();
    if mode & FOREIGN == 0 || mode & STICKY != 0 {
        return;
    }
    let private = fs::Permissions::from_mode(mode & 0o7777 & !FOREIGN);
    if let Err(error) = fs::set_permissions(path, private) {
        tracing::warn!(path = %path.display(), %error, "others can read this and it cannot be changed");
    }
}

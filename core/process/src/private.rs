//! What is in a state folder is for its owner alone: keys, values, sessions.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Rights of the group and of others.
const FOREIGN: u32 = 0o077;
/// Of a folder that many share, such as `/tmp`.
const STICKY: u32 = 0o1000;
/// Of a file with a secret in it.
pub const SECRET: u32 = 0o600;
/// Of a file that everybody may read, such as a certificate.
pub const PUBLIC: u32 = 0o644;

/// From now on, what this process creates is for its owner alone.
pub fn umask() {
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(FOREIGN));
}

/// Makes the folder where it is absent, and takes it from others where it is not.
///
/// # Errors
/// It cannot be made.
pub fn folder(path: &Path) -> io::Result<()> {
    if path.exists() {
        tighten(path);
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Takes a file or a folder with all that is in it from others; what is not
/// there or is somebody else's is left as it is.
pub fn tree(path: &Path) {
    tighten(path);
    // Not a folder, or not there: nothing below it.
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            tree(&entry.path());
        }
    }
}

/// Takes a file or a folder from others. Somebody else's is left as it is; we
/// may use it all the same.
pub fn tighten(path: &Path) {
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

/// Replaces a file as a whole; after a crash it is the old or the new one.
///
/// # Errors
/// The folder cannot be written to, or the disk is full.
pub fn replace(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let temporary = write_temporary(path, content, mode)?;
    fs::rename(&temporary, path)
}

/// Makes a file if nobody else did meanwhile; gives what stands in it.
///
/// # Errors
/// As [`replace`]; or the file that is there cannot be read.
pub fn create_once(path: &Path, content: &str, mode: u32) -> io::Result<String> {
    let temporary = write_temporary(path, content, mode)?;
    let linked = fs::hard_link(&temporary, path);
    // A leftover is in nobody's way.
    let _ = fs::remove_file(&temporary);
    match linked {
        Ok(()) => Ok(content.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::read_to_string(path),
        Err(error) => Err(error),
    }
}

fn write_temporary(path: &Path, content: &str, mode: u32) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    Ok(temporary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_others_could_read_is_taken_from_them() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("a/state");
        folder(&state).unwrap();
        assert_eq!(mode(&state), 0o700);
        let bus = state.join("bus");
        fs::create_dir(&bus).unwrap();
        fs::write(bus.join("session"), "x").unwrap();
        for (path, loose) in [
            (&state, 0o755),
            (&bus, 0o750),
            (&bus.join("session"), 0o644),
        ] {
            fs::set_permissions(path, fs::Permissions::from_mode(loose)).unwrap();
        }
        folder(&state).unwrap();
        tree(&bus);
        assert_eq!(
            (mode(&state), mode(&bus), mode(&bus.join("session"))),
            (0o700, 0o700, 0o600)
        );
        tree(&state.join("absent"));
    }

    #[test]
    fn a_file_is_made_once_and_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("ca.key");
        assert_eq!(create_once(&path, "first", SECRET).unwrap(), "first");
        assert_eq!(create_once(&path, "second", SECRET).unwrap(), "first");
        assert_eq!(mode(&path), 0o600);
        replace(&path, "third", SECRET).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "third");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        assert!(replace(&root.path().join("no/such"), "", SECRET).is_err());
    }
}

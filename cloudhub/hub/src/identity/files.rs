//! Files that must never be half there, nor readable by others.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::IdentityError;

pub(super) fn make_folder(folder: &Path) -> Result<(), IdentityError> {
    fs::create_dir_all(folder).map_err(|source| write_error(folder, source))
}

pub(super) fn read_if_there(path: &Path) -> Result<Option<String>, IdentityError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Makes the file if nobody else did meanwhile; gives what stands in it.
pub(super) fn create_once(path: &Path, content: &str, mode: u32) -> Result<String, IdentityError> {
    let temporary = write_temporary(path, content, mode)?;
    let linked = fs::hard_link(&temporary, path);
    let _ = fs::remove_file(&temporary);
    match linked {
        Ok(()) => Ok(content.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::read_to_string(path)
            .map_err(|source| IdentityError::Read {
                path: path.to_owned(),
                source,
            }),
        Err(source) => Err(write_error(path, source)),
    }
}

/// Replaces the file as a whole.
pub(super) fn replace(path: &Path, content: &str, mode: u32) -> Result<(), IdentityError> {
    let temporary = write_temporary(path, content, mode)?;
    fs::rename(&temporary, path).map_err(|source| write_error(path, source))
}

fn write_temporary(path: &Path, content: &str, mode: u32) -> Result<PathBuf, IdentityError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(name);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| write_error(&temporary, source))?;
    Ok(temporary)
}

fn write_error(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::Write {
        path: path.to_owned(),
        source,
    }
}

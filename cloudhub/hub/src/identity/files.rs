//! The files of identities, with errors that name them.

use std::{fs, io, path::Path};

use longshore_process::private;

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
    private::create_once(path, content, mode).map_err(|source| write_error(path, source))
}

/// Replaces the file as a whole.
pub(super) fn replace(path: &Path, content: &str, mode: u32) -> Result<(), IdentityError> {
    private::replace(path, content, mode).map_err(|source| write_error(path, source))
}

fn write_error(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::Write {
        path: path.to_owned(),
        source,
    }
}

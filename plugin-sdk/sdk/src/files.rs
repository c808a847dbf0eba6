//! Reading a file that a configuration names: a certificate, a key, a password.
//!
//! Opening a FIFO waits for a writer that never comes, and a device gives bytes
//! without end; a mapper that waits there answers for none of its devices. So
//! only regular files are read (a link to one is one), and no more of them than
//! anybody needs.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// More than any certificate, key or password has.
pub const SMALL: u64 = 4 << 20;

/// All of a regular file of at most [`SMALL`] bytes.
///
/// # Errors
/// It is something else, or larger, or cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        let text = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let mut content = Vec::new();
    File::open(path)?
        .take(SMALL + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > SMALL {
        let text = format!("it has more than {} MiB", SMALL >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(content)
}

/// The same as text.
///
/// # Errors
/// As [`read`], or it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_not_read() {
        for path in ["/dev/zero", "/"] {
            let error = read_text(Path::new(path)).unwrap_err();
            assert_eq!(error.to_string(), "it is not a regular file", "{path}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(read_text(&file).unwrap(), "x");
        let large = File::options().write(true).open(&file).unwrap();
        large.set_len(SMALL + 1).unwrap();
        let error = read(&file).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 4 MiB");
    }
}

//! Opening files that somebody else has put where we look: configurations,
//! certificates, manifests, libraries.
//!
//! A name says nothing about what lies there. Opening a FIFO waits for a writer
//! that never comes, a device gives bytes without end, and either stops a whole
//! daemon. So only regular files are opened (a link to one is one), without
//! waiting, and no more is read than was thought of.
//!
//! Here and not in `core/process`, since the readers of manifests and libraries
//! lie below that.

use std::{
    fs::{File, FileType, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::OFlags;

/// More than any configuration, certificate, key or password has.
pub const SMALL: u64 = 4 << 20;
/// More than any file of manifests has: some 500,000 properties.
pub const MANIFEST: u64 = 128 << 20;
/// More than any library of a mapper has, with all that a debugger wants.
pub const LIBRARY: u64 = 1 << 30;

/// Opens a regular file of at most `most` bytes to read it.
///
/// # Errors
/// It is something else, or larger, or cannot be opened.
pub fn open(path: &Path, most: u64) -> io::Result<File> {
    // Looked at first: opening some devices already does something.
    check(&std::fs::metadata(path)?.file_type())?;
    let file = OpenOptions::new()
        .read(true)
        // What came in its place meanwhile must not hold us up either.
        .custom_flags((OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed())
        .open(path)?;
    let found = file.metadata()?;
    check(&found.file_type())?;
    if found.len() > most {
        return Err(too_large(most));
    }
    Ok(file)
}

/// All of a regular file of at most `most` bytes.
///
/// # Errors
/// As [`open`], or reading fails.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path, most)?;
    let size = file.metadata()?.len();
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // It may grow while it is read.
    file.take(most.saturating_add(1))
        .read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(too_large(most));
    }
    Ok(content)
}

/// All of a regular file of at most `most` bytes, as text.
///
/// # Errors
/// As [`read`], or it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

fn check(kind: &FileType) -> io::Result<()> {
    let what = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "something else",
    };
    let text = format!("it is {what}, not a regular file");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

fn too_large(most: u64) -> io::Error {
    let text = format!("it has more than {} MiB", most >> 20);
    io::Error::new(io::ErrorKind::FileTooLarge, text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, Mode, mknodat};

    use super::*;

    #[test]
    fn only_regular_files_are_opened_and_nothing_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let fifo = rustix::fs::FileType::Fifo;
        mknodat(CWD, path("fifo"), fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("zeros")).unwrap();
        std::os::unix::fs::symlink("fifo", path("link")).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        fs::create_dir(path("folder")).unwrap();
        for (name, what) in [
            ("fifo", "it is a FIFO, not a regular file"),
            ("link", "it is a FIFO, not a regular file"),
            ("zeros", "it is a device, not a regular file"),
            ("socket", "it is a socket, not a regular file"),
            ("folder", "it is a folder, not a regular file"),
        ] {
            assert_eq!(read(&path(name), SMALL).unwrap_err().to_string(), what);
        }
        let error = read(&path("absent"), SMALL).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn no_more_is_read_than_was_thought_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read_text(&link, 1 << 20).unwrap().len(), 1 << 20);
        // Of a size that costs nothing to claim.
        let sparse = fs::File::options().write(true).open(&path).unwrap();
        sparse.set_len(1 << 40).unwrap();
        let error = read(&path, 1 << 20).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 1 MiB");
        fs::write(&path, b"\xff").unwrap();
        let error = read_text(&path, SMALL).unwrap_err();
        assert_eq!(error.to_string(), "it is not UTF-8");
    }
}

//! Private copies of the libraries that run.
//!
//! Whoever replaces a mapper's file, by renaming or by writing into it, must
//! not change the code of the one that runs, and the way back must stay open.
//! So what runs is a copy that nobody else knows. Its name holds its content's
//! fingerprint: the same path is never another code, which `dlopen` could not
//! tell.

use std::{
    fs,
    hash::{DefaultHasher, Hasher},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use longshore_types::files;

use crate::{
    event::Refused,
    inspect::{Descriptor, InspectError, inspect},
    spec::Isolation,
};

/// What was learnt stands here, for after a restart.
const RECORD: &str = "state.json";

/// One build of a mapper.
#[derive(Debug, Clone)]
pub(crate) struct Edition {
    /// What is loaded.
    pub(crate) file: PathBuf,
    /// Of its bytes.
    pub(crate) fingerprint: u64,
    pub(crate) descriptor: Arc<Descriptor>,
}

impl Edition {
    /// What is loaded is there, and still what it was.
    pub(crate) fn is_intact(&self) -> bool {
        match self.fingerprint {
            // It runs from its own file.
            0 => self.file.exists(),
            known => fingerprint(&self.file).is_ok_and(|found| found == known),
        }
    }
}

/// A file that was found unfit, and what people are told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rejected {
    /// Of its bytes; `None` when they could not even be read as a mapper.
    pub(crate) fingerprint: Option<u64>,
    pub(crate) shown: Refused,
}

/// There is no edition of the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    #[error(transparent)]
    Unfit(#[from] InspectError),
    #[error("mapper library `{}` changed while it was read", path.display())]
    Changing { path: PathBuf },
    #[error("failed to keep a copy of `{}`", path.display())]
    Copy { path: PathBuf, source: io::Error },
    #[error(
        "the library is built so that a panic ends the process; run it in a process of its own"
    )]
    PanicAborts,
}

/// Tells one file at a path from the next; `None` while there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            // Of the inode: also an access that was given afterwards counts.
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// The folder of one mapper's copies.
#[derive(Debug, Clone)]
pub(crate) struct Copies {
    folder: PathBuf,
}

impl Copies {
    pub(crate) fn new(folder: &Path, mapper: &str) -> Self {
        Self {
            folder: folder.join(mapper),
        }
    }

    /// Copies `original`, unless that is there already.
    fn keep(&self, original: &Path, version: &str, fingerprint: u64) -> io::Result<PathBuf> {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        let plain = |c: char| c.is_ascii_alphanumeric() || ".+-_".contains(c);
        let version: String = version.chars().filter(|c| plain(*c)).collect();
        let file = self.folder.join(format!("{version}-{fingerprint:016x}.so"));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)?;
        if crate::sys::is_noexec(&self.folder) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("`{}` is mounted with noexec", self.folder.display()),
            ));
        }
        // By its content: after a power cut, or on a disk that fails, a copy may
        // have its name and its size and other bytes.
        match self::fingerprint(&file) {
            Ok(there) if there == fingerprint => return Ok(file),
            Ok(_) => {
                tracing::warn!(file = %file.display(), "the private copy of a mapper's library is damaged; it is made anew");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "the private copy of a mapper's library cannot be read; it is made anew");
            }
        }
        // Whole or not at all.
        let part = file.with_extension("part");
        let mut copy = fs::File::create(&part)?;
        let copied = read_through(original, |bytes| copy.write_all(bytes))?;
        if copied != fingerprint {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it changed while it was copied",
            ));
        }
        fs::set_permissions(&part, fs::Permissions::from_mode(0o700))?;
        // A copy of the right size and of zeros, after a power cut, would be
        // taken for a good one.
        copy.sync_all()?;
        fs::rename(&part, &file)?;
        Ok(file)
    }

    /// Removes what is not needed any more. What cannot be removed costs room only.
    pub(crate) fn sweep(&self, kept: &[&Path]) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if !path.ends_with(RECORD) && !kept.contains(&path.as_path()) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Writes down which edition proved itself and which file did not.
    pub(crate) fn remember(
        &self,
        of: &Path,
        good: &Edition,
        rejected: Option<&Rejected>,
    ) -> io::Result<()> {
        let rejected = rejected.and_then(|rejected| {
            let fingerprint = format!("{:016x}", rejected.fingerprint?);
            let Refused { version, reason } = &rejected.shown;
            Some(serde_json::json!({"fingerprint": fingerprint, "version": &**version, "reason": &**reason}))
        });
        let good_file = good.file.file_name().and_then(|name| name.to_str());
        let record = serde_json::json!({
            "of": of.to_str(), "good": good_file,
            "fingerprint": format!("{:016x}", good.fingerprint), "rejected": rejected,
        });
        let part = self.folder.join("state.part");
        fs::write(&part, record.to_string())?;
        fs::rename(part, self.folder.join(RECORD))
    }

    /// What was written down: the file, the good edition and the rejected one.
    pub(crate) fn recall(&self) -> Option<(PathBuf, Edition, Option<Rejected>)> {
        let text = files::read_text(&self.folder.join(RECORD), files::SMALL).ok()?;
        let record: serde_json::Value = serde_json::from_str(&text).ok()?;
        let number = |value: &serde_json::Value| u64::from_str_radix(value.as_str()?, 16).ok();
        let name = record["good"].as_str()?;
        let file = self.folder.join(Path::new(name).file_name()?);
        let good = Edition {
            fingerprint: number(&record["fingerprint"])?,
            descriptor: Arc::new(inspect(&file).ok()?),
            file,
        };
        // Loading a damaged one says little of why it does not work.
        if !good.is_intact() {
            return None;
        }
        let of = &record["rejected"];
        let rejected = number(&of["fingerprint"]).map(|fingerprint| Rejected {
            fingerprint: Some(fingerprint),
            shown: Refused {
                version: of["version"].as_str().unwrap_or_default().into(),
                reason: of["reason"].as_str().unwrap_or_default().into(),
            },
        });
        Some((record["of"].as_str()?.into(), good, rejected))
    }
}

/// The edition that stands at `original` now. Reads the whole file; with
/// `copies`, what is loaded is a copy. `must`: without room for a copy the
/// file itself will do, since there is nothing else to run.
pub(crate) fn take(
    original: &Path,
    isolation: Isolation,
    copies: Option<&Copies>,
    must: bool,
) -> Result<Edition, TakeError> {
    let before = Identity::of(original);
    let descriptor = inspect(original)?;
    if descriptor.panic_aborts && isolation == Isolation::InProcess {
        return Err(TakeError::PanicAborts);
    }
    let descriptor = Arc::new(descriptor);
    let copy = |source| TakeError::Copy {
        path: original.to_owned(),
        source,
    };
    let Some(copies) = copies else {
        return Ok(Edition {
            file: original.to_owned(),
            fingerprint: 0,
            descriptor,
        });
    };
    let fingerprint = fingerprint(original).map_err(copy)?;
    let kept = copies.keep(original, &descriptor.version, fingerprint);
    if Identity::of(original) != before {
        return Err(TakeError::Changing {
            path: original.to_owned(),
        });
    }
    let file = match kept {
        Ok(file) => file,
        Err(error) if must => {
            tracing::warn!(file = %original.display(), %error, "no copy of the library could be kept; it runs from its own file, so do not write into that");
            original.to_owned()
        }
        Err(error) => return Err(copy(error)),
    };
    Ok(Edition {
        file,
        fingerprint,
        descriptor,
    })
}

/// Tells contents apart; not against anybody who means harm, since whoever
/// writes here runs code anyway.
fn fingerprint(path: &Path) -> io::Result<u64> {
    read_through(path, |_| Ok(()))
}

/// Gives a file's bytes to `take`, and their fingerprint.
fn read_through(path: &Path, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut file = files::open(path, files::LIBRARY)?;
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.write(&buffer[..read]);
        take(&buffer[..read])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_copy_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let original = folder.path().join("libx.so");
        let bytes = vec![7; 100_000];
        fs::write(&original, &bytes).unwrap();
        let copies = Copies::new(&folder.path().join("mappers"), "x");
        let print = fingerprint(&original).unwrap();
        let copy = copies.keep(&original, "1.0.0", print).unwrap();
        // The size that it should have, and zeros.
        fs::write(&copy, vec![0; bytes.len()]).unwrap();
        assert_eq!(copies.keep(&original, "1.0.0", print).unwrap(), copy);
        assert_eq!(fs::read(&copy).unwrap(), bytes);
        // A sound one is left alone.
        let before = Identity::of(&copy);
        copies.keep(&original, "1.0.0", print).unwrap();
        assert_eq!(Identity::of(&copy), before);
    }

    #[test]
    fn what_changes_while_it_is_copied_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let original = folder.path().join("libx.so");
        fs::write(&original, "one").unwrap();
        let print = fingerprint(&original).unwrap();
        fs::write(&original, "two").unwrap();
        let copies = Copies::new(&folder.path().join("mappers"), "x");
        let error = copies.keep(&original, "1.0.0", print).unwrap_err();
        assert_eq!(error.to_string(), "it changed while it was copied");
    }
}

//! What a mapper library says of itself, read from the file without running it.

mod elf;

use std::{
    io,
    path::{Path, PathBuf},
};

use longshore_abi as abi;
use longshore_types::files;

/// The most that a mapper's schema may have.
const MAX_SCHEMA_BYTES: usize = 1 << 20;

/// What a mapper library says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The mapper's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The `protocolName` of the devices that it serves.
    pub protocol: String,
    /// The target triple that it was built for.
    pub target: String,
    /// Version of the contract: which appended fields and commands it knows.
    pub abi_minor: u16,
    /// Set of `longshore_abi::CAPABILITY_*`.
    pub capabilities: u64,
    /// A panic in it ends the process, so it may only run in a child.
    pub panic_aborts: bool,
    /// The JSON object that says what may stand in its configurations, as the
    /// library carries it; `longshore_types::schema_check` reads it.
    pub schema: Option<String>,
}

impl Descriptor {
    /// It judges a configuration without taking it over, where that says
    /// `"check": true`.
    pub fn judges(&self) -> bool {
        self.capabilities & abi::CAPABILITY_CHECK != 0
    }
}

/// The file cannot be used as a mapper. None of its code ran.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// There is no such file.
    #[error("mapper library `{}` does not exist", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("failed to read mapper library `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no ELF file.
    #[error("`{}` is not a shared library: it is not an ELF file", path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
    },
    /// The file is ELF, but a program or an object file.
    #[error("`{}` is not a shared library but {found}", path.display())]
    NotLibrary {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The file ends before what it says it holds.
    #[error("mapper library `{}` is truncated: it should have at least {expected} bytes and has {found}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that its headers ask for.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The library is for another machine.
    #[error("mapper library `{}` is built for {found}, this host is {expected}", path.display())]
    WrongArchitecture {
        /// The file.
        path: PathBuf,
        /// This host's architecture.
        expected: String,
        /// The library's architecture.
        found: String,
    },
    /// A shared library, but no mapper.
    #[error("`{}` is not a mapper: it has no section `{}`", path.display(), abi::DESCRIPTOR_SECTION)]
    NoDescriptor {
        /// The file.
        path: PathBuf,
    },
    /// The descriptor does not begin with the magic, is too short or holds no text.
    #[error("mapper library `{}` has a damaged descriptor: {fault}", path.display())]
    BadDescriptor {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The section of the schema holds something else.
    #[error("mapper library `{}` carries a schema that cannot be used: {fault}", path.display())]
    BadSchema {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// The library was built against an incompatible contract.
    #[error("mapper library `{}` speaks version {found} of the mapper contract, this host version {expected}", path.display())]
    WrongVersion {
        /// The file.
        path: PathBuf,
        /// The host's major version.
        expected: u16,
        /// The library's major version.
        found: u16,
    },
}

/// Reads the descriptor of the mapper library at `path`.
pub fn inspect(path: &Path) -> Result<Descriptor, InspectError> {
    let file = files::open(path, files::LIBRARY).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => InspectError::NotFound {
            path: path.to_owned(),
        },
        _ => InspectError::Read {
            path: path.to_owned(),
            source,
        },
    })?;
    let reader = elf::Reader::new(&file, path)?;
    let mut descriptor = parse(reader.section(abi::DESCRIPTOR_SECTION)?.as_deref(), path)?;
    descriptor.schema = reader
        .section(abi::SCHEMA_SECTION)?
        .map(|section| schema_text(section, path))
        .transpose()?;
    Ok(descriptor)
}

/// The text of the schema's section, checked as far as being a JSON object.
fn schema_text(mut section: Vec<u8>, path: &Path) -> Result<String, InspectError> {
    let bad = |fault: String| InspectError::BadSchema {
        path: path.to_owned(),
        fault,
    };
    if section.len() > MAX_SCHEMA_BYTES {
        return Err(bad("it is larger than 1 MiB".to_owned()));
    }
    // A text of C ends with a NUL.
    let end = section.iter().rposition(|byte| *byte != 0);
    section.truncate(end.map_or(0, |end| end + 1));
    let text = String::from_utf8(section).map_err(|_| bad("it is not UTF-8".to_owned()))?;
    match serde_json::from_str(&text) {
        Ok(serde_json::Value::Object(_)) => Ok(text),
        Ok(_) => Err(bad("it is not a JSON object".to_owned())),
        Err(error) => Err(bad(format!("it is not JSON: {error}"))),
    }
}

/// The descriptor in `section`. Written against the bytes, not the struct, so
/// that a library's shorter or longer descriptor is read as far as it goes.
fn parse(section: Option<&[u8]>, path: &Path) -> Result<Descriptor, InspectError> {
    use std::mem::offset_of;
    let Some(section) = section else {
        return Err(InspectError::NoDescriptor {
            path: path.to_owned(),
        });
    };
    let bad = |fault| InspectError::BadDescriptor {
        path: path.to_owned(),
        fault,
    };
    if !section.starts_with(&abi::MAGIC) {
        return Err(bad("it does not begin with the magic"));
    }
    let field = |at: usize, length: usize| {
        section
            .get(at..at + length)
            .ok_or_else(|| bad("it is too short"))
    };
    let number = |at: usize, length: usize| {
        let mut bytes = [0; 8];
        bytes[..length].copy_from_slice(field(at, length)?);
        // The file's byte order was checked to be little-endian.
        Ok(u64::from_le_bytes(bytes))
    };
    let found = number(offset_of!(abi::Descriptor, abi_major), 2)? as u16;
    if found != abi::ABI_MAJOR {
        return Err(InspectError::WrongVersion {
            path: path.to_owned(),
            expected: abi::ABI_MAJOR,
            found,
        });
    }
    // From here on this is our major version: its first fields are known.
    if (number(offset_of!(abi::Descriptor, size), 4)? as usize) < size_of::<abi::Descriptor>() {
        return Err(bad("its size is smaller than the contract's"));
    }
    let text = |at: usize, length: usize| {
        let bytes = field(at, length)?
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| bad("a text is not UTF-8"))
    };
    let descriptor = Descriptor {
        name: text(offset_of!(abi::Descriptor, name), 32)?,
        version: text(offset_of!(abi::Descriptor, version), 32)?,
        protocol: text(offset_of!(abi::Descriptor, protocol), 32)?,
        target: text(offset_of!(abi::Descriptor, target), 64)?,
        abi_minor: number(offset_of!(abi::Descriptor, abi_minor), 2)? as u16,
        capabilities: number(offset_of!(abi::Descriptor, capabilities), 8)?,
        panic_aborts: number(offset_of!(abi::Descriptor, flags), 4)? as u32
            & abi::FLAG_PANIC_ABORTS
            != 0,
        schema: None,
    };
    if descriptor.name.is_empty() || descriptor.protocol.is_empty() {
        return Err(bad("its name or protocol is empty"));
    }
    Ok(descriptor)
}

//! As much of ELF as it takes to find a section in a shared library.
//!
//! Every offset comes from the file and is checked against its length before
//! use. Only the host's own class and byte order are read further than the
//! first header: the rest is refused by name.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use super::InspectError;

const IDENT: usize = 16;
const CLASS_32: u8 = 1;
const CLASS_64: u8 = 2;
const DATA_LITTLE: u8 = 1;
const TYPE_RELOCATABLE: u16 = 1;
const TYPE_EXECUTABLE: u16 = 2;
const TYPE_DYNAMIC: u16 = 3;
const TYPE_CORE: u16 = 4;
/// A section of this type has no bytes in the file.
const SECTION_NOBITS: u32 = 8;
/// More than any real library has; a bound for what a damaged file can cost.
const MAX_SECTIONS: u64 = 4096;
/// A descriptor has 200 bytes; later ones may grow. A schema that is larger
/// than its bound shows by being one byte longer.
const MAX_SECTION_BYTES: u64 = super::MAX_SCHEMA_BYTES as u64 + 1;

/// Where the fields stand, for the class of this host.
struct Layout {
    class: u8,
    header: usize,
    section_header: usize,
    /// Width of an offset or size in bytes.
    word: usize,
    section_table: usize,
    section_entry_size: usize,
    section_count: usize,
    section_names: usize,
    /// In a section header.
    offset: usize,
    /// In a section header.
    size: usize,
}

#[cfg(target_pointer_width = "64")]
const LAYOUT: Layout = Layout {
    class: CLASS_64,
    header: 64,
    section_header: 64,
    word: 8,
    section_table: 40,
    section_entry_size: 58,
    section_count: 60,
    section_names: 62,
    offset: 24,
    size: 32,
};

#[cfg(target_pointer_width = "32")]
const LAYOUT: Layout = Layout {
    class: CLASS_32,
    header: 52,
    section_header: 40,
    word: 4,
    section_table: 32,
    section_entry_size: 46,
    section_count: 48,
    section_names: 50,
    offset: 16,
    size: 20,
};

/// `e_machine` of this host.
const MACHINE: u16 = if cfg!(target_arch = "x86_64") {
    62
} else if cfg!(target_arch = "aarch64") {
    183
} else if cfg!(target_arch = "arm") {
    40
} else if cfg!(target_arch = "x86") {
    3
} else if cfg!(target_arch = "riscv64") {
    243
} else {
    0
};

/// An open shared library of this host's architecture.
pub(super) struct Reader<'a> {
    file: &'a File,
    path: &'a Path,
    length: u64,
    sections: Vec<Section>,
    names: Option<Section>,
}

#[derive(Clone, Copy)]
struct Section {
    name: u64,
    kind: u32,
    offset: u64,
    size: u64,
}

impl<'a> Reader<'a> {
    /// Checks the headers and reads the table of sections.
    pub(super) fn new(file: &'a File, path: &'a Path) -> Result<Self, InspectError> {
        let read = |source| InspectError::Read {
            path: path.to_owned(),
            source,
        };
        let metadata = file.metadata().map_err(read)?;
        if !metadata.is_file() {
            return Err(read(io::Error::other("it is not a regular file")));
        }
        let mut reader = Self {
            file,
            path,
            length: metadata.len(),
            sections: Vec::new(),
            names: None,
        };
        let ident = reader.start::<IDENT>()?;
        if ident[..4] != *b"\x7fELF" {
            return Err(InspectError::NotElf {
                path: path.to_owned(),
            });
        }
        let start = reader.bytes(0, 20)?;
        let (found, expected) = (
            architecture(&start),
            architecture_name(LAYOUT.class, DATA_LITTLE, MACHINE),
        );
        if found != expected {
            return Err(InspectError::WrongArchitecture {
                path: path.to_owned(),
                expected,
                found,
            });
        }
        let other = match number(&start, IDENT, 2) as u16 {
            TYPE_DYNAMIC => None,
            TYPE_RELOCATABLE => Some("an object file"),
            TYPE_EXECUTABLE => Some("a program"),
            TYPE_CORE => Some("a core dump"),
            _ => Some("an unknown kind of ELF file"),
        };
        if let Some(found) = other {
            return Err(InspectError::NotLibrary {
                path: path.to_owned(),
                found,
            });
        }
        reader.read_sections()?;
        Ok(reader)
    }

    /// The bytes of the section called `name`, if there is one.
    pub(super) fn section(&self, name: &str) -> Result<Option<Vec<u8>>, InspectError> {
        let Some(names) = self.names else {
            return Ok(None);
        };
        let wanted = [name.as_bytes(), &[0]].concat();
        for section in self
            .sections
            .iter()
            .filter(|section| section.kind != SECTION_NOBITS)
        {
            let room = names.size.saturating_sub(section.name);
            if room < wanted.len() as u64 {
                continue;
            }
            if self.bytes(
                names.offset.saturating_add(section.name),
                wanted.len() as u64,
            )? == wanted
            {
                return self
                    .bytes(section.offset, section.size.min(MAX_SECTION_BYTES))
                    .map(Some);
            }
        }
        Ok(None)
    }

    fn read_sections(&mut self) -> Result<(), InspectError> {
        let header = self.bytes(0, LAYOUT.header as u64)?;
        let table = number(&header, LAYOUT.section_table, LAYOUT.word);
        let entry = number(&header, LAYOUT.section_entry_size, 2);
        let count = number(&header, LAYOUT.section_count, 2).min(MAX_SECTIONS);
        let names = number(&header, LAYOUT.section_names, 2) as usize;
        if table == 0 || count == 0 {
            return Ok(());
        }
        if entry < LAYOUT.section_header as u64 {
            return Err(InspectError::BadDescriptor {
                path: self.path.to_owned(),
                fault: "the table of sections is malformed",
            });
        }
        let bytes = self.bytes(table, entry * count)?;
        for header in bytes.chunks_exact(entry as usize) {
            let section = Section {
                name: number(header, 0, 4),
                kind: number(header, 4, 4) as u32,
                offset: number(header, LAYOUT.offset, LAYOUT.word),
                size: number(header, LAYOUT.size, LAYOUT.word),
            };
            if section.kind != SECTION_NOBITS {
                self.check(section.offset, section.size)?;
            }
            self.sections.push(section);
        }
        self.names = self.sections.get(names).copied();
        Ok(())
    }

    /// The first bytes; a file that is shorter is no ELF file.
    fn start<const N: usize>(&self) -> Result<[u8; N], InspectError> {
        let mut bytes = [0; N];
        if self.length < N as u64 {
            let mut short = vec![0; self.length as usize];
            let magic =
                self.file.read_exact_at(&mut short, 0).is_ok() && short.starts_with(b"\x7fELF");
            return Err(if magic {
                InspectError::Truncated {
                    path: self.path.to_owned(),
                    expected: LAYOUT.header as u64,
                    found: self.length,
                }
            } else {
                InspectError::NotElf {
                    path: self.path.to_owned(),
                }
            });
        }
        self.file
            .read_exact_at(&mut bytes, 0)
            .map_err(|source| InspectError::Read {
                path: self.path.to_owned(),
                source,
            })?;
        Ok(bytes)
    }

    fn bytes(&self, offset: u64, length: u64) -> Result<Vec<u8>, InspectError> {
        self.check(offset, length)?;
        let mut bytes = vec![0; length as usize];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|source| InspectError::Read {
                path: self.path.to_owned(),
                source,
            })?;
        Ok(bytes)
    }

    fn check(&self, offset: u64, length: u64) -> Result<(), InspectError> {
        let expected = offset.saturating_add(length);
        if expected > self.length {
            return Err(InspectError::Truncated {
                path: self.path.to_owned(),
                expected,
                found: self.length,
            });
        }
        Ok(())
    }
}

/// The little-endian number of `length` bytes at `at`; the caller checked the length.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let mut number = [0; 8];
    number[..length].copy_from_slice(&bytes[at..at + length]);
    u64::from_le_bytes(number)
}

fn architecture(start: &[u8]) -> String {
    let machine = [start[18], start[19]];
    let machine = if start[5] == DATA_LITTLE {
        u16::from_le_bytes(machine)
    } else {
        u16::from_be_bytes(machine)
    };
    architecture_name(start[4], start[5], machine)
}

fn architecture_name(class: u8, data: u8, machine: u16) -> String {
    let name = match machine {
        3 => "x86",
        8 => "mips",
        20 | 21 => "powerpc",
        22 => "s390",
        40 => "arm",
        62 => "x86-64",
        183 => "aarch64",
        243 => "riscv",
        258 => "loongarch",
        _ => return format!("machine {machine} of the ELF registry"),
    };
    let bits = match class {
        CLASS_32 => "32-bit",
        CLASS_64 => "64-bit",
        _ => "unknown class",
    };
    let order = if data == DATA_LITTLE {
        ""
    } else {
        ", big-endian"
    };
    format!("{name} ({bits}{order})")
}

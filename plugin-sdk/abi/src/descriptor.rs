//! What a mapper library says of itself, readable without running it.

use crate::{ABI_MAJOR, ABI_MINOR};

/// First bytes of every descriptor.
pub const MAGIC: [u8; 16] = *b"LONGSHORE-MAPPER";
/// Name of the ELF section (and of no other) that holds the [`Descriptor`].
pub const DESCRIPTOR_SECTION: &str = ".longshore_mapper";
/// Name of the ELF section that holds the mapper's schema: JSON in UTF-8, NUL at
/// the end allowed. A mapper without one has no schema.
pub const SCHEMA_SECTION: &str = ".longshore_schema";
/// Name of the function of type [`crate::EntryFn`] that a library exports.
pub const ENTRY_SYMBOL: &str = "longshore_mapper_entry";

/// The mapper answers `COMMAND_READ`.
pub const CAPABILITY_READ: u64 = 1 << 0;
/// The mapper answers `COMMAND_WRITE`.
pub const CAPABILITY_WRITE: u64 = 1 << 1;
/// The mapper polls by itself at the intervals of its configuration.
pub const CAPABILITY_POLL: u64 = 1 << 2;
/// The mapper lets devices send values by themselves (subscriptions,
/// notifications, streams).
pub const CAPABILITY_PUSH: u64 = 1 << 3;
/// The mapper answers `COMMAND_CALL`.
pub const CAPABILITY_CALL: u64 = 1 << 4;
/// The mapper answers `COMMAND_DISCOVER`.
pub const CAPABILITY_DISCOVER: u64 = 1 << 5;
/// The mapper judges a configuration that says `"check": true` without taking it
/// over: it opens nothing.
pub const CAPABILITY_CHECK: u64 = 1 << 6;

/// The library was built so that a panic ends the process; the host then
/// refuses to load it in-process.
pub const FLAG_PANIC_ABORTS: u32 = 1 << 0;

/// What a mapper library says of itself. Fixed size, no pointers, so that it
/// can be read straight out of the file. Texts are UTF-8, padded with NUL.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// [`MAGIC`].
    pub magic: [u8; 16],
    /// Size of this struct in bytes, as the library knows it.
    pub size: u32,
    /// Must equal the host's [`ABI_MAJOR`].
    pub abi_major: u16,
    /// Tells which appended fields and commands the library knows.
    pub abi_minor: u16,
    /// Set of `CAPABILITY_*`.
    pub capabilities: u64,
    /// Set of `FLAG_*`.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
    /// The mapper's name: `[a-z0-9-]`, as in the edge's configuration.
    pub name: [u8; 32],
    /// Semantic version of the mapper.
    pub version: [u8; 32],
    /// The `protocolName` of the devices that it serves.
    pub protocol: [u8; 32],
    /// The target triple that it was built for, for messages to people.
    pub target: [u8; 64],
}

impl Descriptor {
    /// A descriptor of this version of the contract. Longer texts are cut at
    /// the field's end, which a `const` assertion in `export_mapper!` forbids.
    pub const fn new(
        name: &str,
        version: &str,
        protocol: &str,
        target: &str,
        capabilities: u64,
    ) -> Self {
        Self {
            magic: MAGIC,
            size: size_of::<Self>() as u32,
            abi_major: ABI_MAJOR,
            abi_minor: ABI_MINOR,
            capabilities,
            flags: if cfg!(panic = "abort") {
                FLAG_PANIC_ABORTS
            } else {
                0
            },
            reserved: 0,
            name: padded(name),
            version: padded(version),
            protocol: padded(protocol),
            target: padded(target),
        }
    }
}

const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    let mut field = [0; N];
    let mut i = 0;
    // One byte stays NUL, so that C may read the field as a string.
    while i < bytes.len() && i + 1 < N {
        field[i] = bytes[i];
        i += 1;
    }
    field
}

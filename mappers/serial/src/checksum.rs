//! Checksums of frames: how to compute them, where they stand, how they are written.
//!
//! The CRCs are those of the catalogue of parametrised CRC algorithms (CRC
//! RevEng); the tests hold each against its check value, the CRC of the nine
//! bytes `123456789`. They are computed bit by bit: at the speed of a serial
//! line a table would only cost memory.

use std::ops::Range;

/// A way to add up bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// All bytes by exclusive or, as NMEA 0183 has it.
    Xor,
    /// The sum of all bytes, the lowest eight bits of it.
    Sum8,
    /// The sum of all bytes, the lowest sixteen bits of it.
    Sum16,
    /// The two's complement of `Sum8`, as in Modbus ASCII.
    Lrc,
    /// The two's complement of `Sum16`.
    Sum16Negated,
    /// `Xor` with all bits turned.
    XorInverted,
    /// `Sum8` with all bits turned, as in SHDLC.
    Sum8Inverted,
    /// `Sum16` with all bits turned.
    Sum16Inverted,
    /// A cyclic redundancy check.
    Crc(Crc),
}

/// The parameters of a CRC, in the words of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Crc {
    width: u32,
    poly: u32,
    init: u32,
    /// `refin` and `refout`, which are equal in all of those that we know.
    reflected: bool,
    xorout: u32,
}

const fn crc(width: u32, poly: u32, init: u32, reflected: bool, xorout: u32) -> Kind {
    Kind::Crc(Crc {
        width,
        poly,
        init,
        reflected,
        xorout,
    })
}

/// The kinds by name, with the name of each CRC in the catalogue.
pub(crate) const KINDS: &[(&str, Kind)] = &[
    ("xor", Kind::Xor),
    ("sum8", Kind::Sum8),
    ("sum16", Kind::Sum16),
    ("lrc", Kind::Lrc),
    ("sum16-negated", Kind::Sum16Negated),
    ("xor-inverted", Kind::XorInverted),
    ("sum8-inverted", Kind::Sum8Inverted),
    ("sum16-inverted", Kind::Sum16Inverted),
    ("crc8", crc(8, 0x07, 0, false, 0)),      // CRC-8/SMBUS
    ("crc8-maxim", crc(8, 0x31, 0, true, 0)), // CRC-8/MAXIM-DOW
    ("crc16-modbus", crc(16, 0x8005, 0xFFFF, true, 0)), // CRC-16/MODBUS
    ("crc16-arc", crc(16, 0x8005, 0, true, 0)), // CRC-16/ARC
    ("crc16-usb", crc(16, 0x8005, 0xFFFF, true, 0xFFFF)), // CRC-16/USB
    ("crc16-ccitt", crc(16, 0x1021, 0xFFFF, false, 0)), // CRC-16/IBM-3740
    ("crc16-xmodem", crc(16, 0x1021, 0, false, 0)), // CRC-16/XMODEM
    ("crc16-kermit", crc(16, 0x1021, 0, true, 0)), // CRC-16/KERMIT
    ("crc16-x25", crc(16, 0x1021, 0xFFFF, true, 0xFFFF)), // CRC-16/IBM-SDLC
    ("crc16-dnp", crc(16, 0x3D65, 0, true, 0xFFFF)), // CRC-16/DNP
    (
        "crc32",
        crc(32, 0x04C1_1DB7, 0xFFFF_FFFF, true, 0xFFFF_FFFF),
    ), // CRC-32/ISO-HDLC
    (
        "crc32c",
        crc(32, 0x1EDC_6F41, 0xFFFF_FFFF, true, 0xFFFF_FFFF),
    ), // CRC-32/ISCSI
    ("crc32-mpeg2", crc(32, 0x04C1_1DB7, 0xFFFF_FFFF, false, 0)), // CRC-32/MPEG-2
];

impl Crc {
    fn of(&self, bytes: &[u8]) -> u32 {
        let mask = u32::MAX >> (32 - self.width);
        let mut register = self.init;
        if self.reflected {
            // Bits go in with the lowest first, so everything is mirrored once.
            let poly = self.poly.reverse_bits() >> (32 - self.width);
            register = register.reverse_bits() >> (32 - self.width);
            for byte in bytes {
                register ^= u32::from(*byte);
                for _ in 0..8 {
                    let out = register & 1 == 1;
                    register >>= 1;
                    register ^= if out { poly } else { 0 };
                }
            }
        } else {
            let top = 1 << (self.width - 1);
            for byte in bytes {
                register ^= u32::from(*byte) << (self.width - 8);
                for _ in 0..8 {
                    let out = register & top != 0;
                    register = (register << 1) & mask;
                    register ^= if out { self.poly } else { 0 };
                }
            }
        }
        (register ^ self.xorout) & mask
    }
}

impl Kind {
    /// The checksum of some bytes.
    pub fn of(&self, bytes: &[u8]) -> u32 {
        let sum = |mask: u32| {
            let add = |sum: u32, byte: &u8| sum.wrapping_add(u32::from(*byte));
            bytes.iter().fold(0, add) & mask
        };
        let xor = || u32::from(bytes.iter().fold(0, |sum, byte| sum ^ byte));
        match self {
            Self::Xor => xor(),
            Self::XorInverted => xor() ^ 0xFF,
            Self::Sum8 => sum(0xFF),
            Self::Sum8Inverted => sum(0xFF) ^ 0xFF,
            Self::Sum16 => sum(0xFFFF),
            Self::Sum16Inverted => sum(0xFFFF) ^ 0xFFFF,
            Self::Sum16Negated => sum(0xFFFF).wrapping_neg() & 0xFFFF,
            Self::Lrc => sum(0xFF).wrapping_neg() & 0xFF,
            Self::Crc(crc) => crc.of(bytes),
        }
    }

    /// How many bytes the number has.
    pub fn size(&self) -> usize {
        match self {
            Self::Xor | Self::XorInverted | Self::Sum8 | Self::Sum8Inverted | Self::Lrc => 1,
            Self::Sum16 | Self::Sum16Inverted | Self::Sum16Negated => 2,
            Self::Crc(crc) => crc.width as usize / 8,
        }
    }
}

/// How a checksum is written into a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// As bytes, the lowest first.
    BinaryLittle,
    /// As bytes, the highest first.
    BinaryBig,
    /// As hexadecimal digits, the highest first.
    Hex,
}

/// Where a checksum stands in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// The last bytes of the frame: behind the end mark of a block that has one.
    /// A line's delimiter is not part of it.
    End,
    /// The last bytes before the mark that ends the frame.
    BeforeEnd,
}

/// The checksum of a device's frames.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Checksum {
    /// How it is computed.
    pub kind: Kind,
    /// How it is written.
    pub format: Format,
    /// Where it stands.
    pub place: Place,
    /// The first byte that it covers, counted from the start of the frame.
    pub from: usize,
    /// Where it ends: counted from the start of the frame if above 0, else
    /// from the checksum back.
    pub to: i32,
}

impl Checksum {
    /// How many bytes of a frame it takes.
    pub fn size(&self) -> usize {
        match self.format {
            Format::Hex => self.kind.size() * 2,
            _ => self.kind.size(),
        }
    }

    /// The bytes that are covered when the checksum stands at `at`.
    fn covered(&self, at: usize) -> Option<Range<usize>> {
        let end = if self.to > 0 {
            self.to as usize
        } else {
            at.checked_sub(self.to.unsigned_abs() as usize)?
        };
        (self.from <= end && end <= at).then_some(self.from..end)
    }

    /// Appends the checksum of a frame that is written up to here.
    pub fn append(&self, frame: &mut Vec<u8>) {
        let range = self.covered(frame.len()).unwrap_or(0..frame.len());
        let number = self.kind.of(&frame[range]);
        let bytes = &number.to_be_bytes()[4 - self.kind.size()..];
        match self.format {
            Format::BinaryBig => frame.extend_from_slice(bytes),
            Format::BinaryLittle => frame.extend(bytes.iter().rev()),
            Format::Hex => {
                for byte in bytes {
                    frame.extend_from_slice(format!("{byte:02X}").as_bytes());
                }
            }
        }
    }

    /// A line without its checksum and without what stands between it and the
    /// text that it covers, such as the `*` of NMEA 0183.
    pub fn strip<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        let at = line.len().saturating_sub(self.size());
        match self.covered(at) {
            Some(range) if self.to <= 0 => &line[..range.end],
            _ => &line[..at],
        }
    }

    /// Whether a frame, whose end mark has `end` bytes, has the right checksum.
    pub fn is_right(&self, frame: &[u8], end: usize) -> bool {
        let behind = match self.place {
            Place::End => 0,
            Place::BeforeEnd => end,
        };
        let Some(at) = frame.len().checked_sub(behind + self.size()) else {
            return false;
        };
        let written = &frame[at..at + self.size()];
        let number = match self.format {
            Format::BinaryBig => number(written.iter()),
            Format::BinaryLittle => number(written.iter().rev()),
            // `from_str_radix` alone would take a sign.
            Format::Hex if written.iter().all(u8::is_ascii_hexdigit) => {
                let digits = std::str::from_utf8(written).unwrap_or_default();
                u32::from_str_radix(digits, 16).unwrap_or_default()
            }
            Format::Hex => return false,
        };
        self.covered(at)
            .is_some_and(|range| self.kind.of(&frame[range]) == number)
    }
}

fn number<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    bytes.fold(0, |number, byte| number << 8 | u32::from(*byte))
}

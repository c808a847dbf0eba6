//! Checksums of simulated devices, table-driven where the mapper's are not.
//!
//! The parameters are those of the catalogue of parametrised CRC algorithms.

use serde::Deserialize;

/// Which checksum ends a binary message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChecksumKind {
    /// All bytes by exclusive or.
    Xor,
    /// The sum of all bytes, modulo 256.
    Sum8,
    /// The two's complement of the sum.
    Lrc,
    /// CRC-16/MODBUS, low byte first.
    Crc16Modbus,
    /// CRC-16/XMODEM, high byte first.
    Crc16Xmodem,
}

impl ChecksumKind {
    /// The checksum as it goes over the line.
    pub(crate) fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Xor => vec![xor(bytes)],
            Self::Sum8 => vec![sum(bytes)],
            Self::Lrc => vec![sum(bytes).wrapping_neg()],
            Self::Crc16Modbus => {
                let mut crc = 0xFFFF_u16;
                for byte in bytes {
                    let index = (crc ^ u16::from(*byte)) & 0xFF;
                    crc = (crc >> 8) ^ MODBUS[usize::from(index)];
                }
                crc.to_le_bytes().to_vec()
            }
            Self::Crc16Xmodem => {
                let mut crc = 0_u16;
                for byte in bytes {
                    let index = (crc >> 8) ^ u16::from(*byte);
                    crc = (crc << 8) ^ XMODEM[usize::from(index)];
                }
                crc.to_be_bytes().to_vec()
            }
        }
    }

    pub(crate) fn size(self) -> usize {
        match self {
            Self::Xor | Self::Sum8 | Self::Lrc => 1,
            Self::Crc16Modbus | Self::Crc16Xmodem => 2,
        }
    }
}

/// The checksum of an NMEA 0183 sentence: all between `$` and `*`.
pub(crate) fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

const MODBUS: [u16; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xA001
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

const XMODEM: [u16; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 {
                crc << 1 ^ 0x1021
            } else {
                crc << 1
            };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        let check = b"123456789";
        assert_eq!(ChecksumKind::Crc16Modbus.of(check), [0x37, 0x4B], "0x4B37");
        assert_eq!(ChecksumKind::Crc16Xmodem.of(check), [0x31, 0xC3], "0x31C3");
        assert_eq!(ChecksumKind::Sum8.of(check), [0xDD]);
        assert_eq!(ChecksumKind::Lrc.of(check), [0x23]);
        assert_eq!(ChecksumKind::Xor.of(check), [0x31]);
    }
}

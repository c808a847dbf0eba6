//! Checksums against the catalogue, and against a foreign implementation.

use std::process::Command;

use crate::checksum::{Checksum, Format, KINDS, Kind, Place};

/// The nine bytes over which the catalogue gives the check value of each CRC.
const CHECK: &[u8] = b"123456789";

fn kind(name: &str) -> Kind {
    let found = KINDS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no kind `{name}`")).1
}

/// CRC RevEng, "Catalogue of parametrised CRC algorithms", the value `check`.
#[test]
fn check_values_of_the_catalogue() {
    for (name, check) in [
        ("crc8", 0xF4),
        ("crc8-maxim", 0xA1),
        ("crc16-modbus", 0x4B37),
        ("crc16-arc", 0xBB3D),
        ("crc16-usb", 0xB4C8),
        ("crc16-ccitt", 0x29B1),
        ("crc16-xmodem", 0x31C3),
        ("crc16-kermit", 0x2189),
        ("crc16-x25", 0x906E),
        ("crc16-dnp", 0xEA82),
        ("crc32", 0xCBF4_3926),
        ("crc32c", 0xE306_9283),
        ("crc32-mpeg2", 0x0376_E6E7),
    ] {
        assert_eq!(kind(name).of(CHECK), check, "{name}");
    }
}

#[test]
fn sums() {
    // 0x31 + 0x32 + … + 0x39 is 0x1DD.
    assert_eq!(kind("sum8").of(CHECK), 0xDD);
    assert_eq!(kind("sum16").of(CHECK), 0x01DD);
    assert_eq!(kind("xor").of(CHECK), 0x31);
    // Modbus over Serial Line V1.02, section 2.5.2.2: the two's complement of the sum.
    assert_eq!(kind("lrc").of(&[0x01, 0x03, 0x00, 0x00, 0x00, 0x0A]), 0xF2);
}

/// The same over bytes that no catalogue has, by a foreign library.
#[test]
fn crccheck_agrees() {
    let bytes: Vec<u8> = (0..=255).chain([0, 0, 7]).collect();
    let script = "import sys\nfrom crccheck import crc\ndata = bytes(list(range(256)) + [0, 0, 7])\n\
        for name in sys.argv[1:]:\n    print(getattr(crc, name).calc(data))\n";
    let names = [
        ("crc8", "Crc8Smbus"),
        ("crc8-maxim", "Crc8MaximDow"),
        ("crc16-modbus", "Crc16Modbus"),
        ("crc16-arc", "Crc16Arc"),
        ("crc16-usb", "Crc16Usb"),
        ("crc16-ccitt", "Crc16Ibm3740"),
        ("crc16-xmodem", "Crc16Xmodem"),
        ("crc16-kermit", "Crc16Kermit"),
        ("crc16-x25", "Crc16IbmSdlc"),
        ("crc16-dnp", "Crc16Dnp"),
        ("crc32", "Crc32IsoHdlc"),
        ("crc32c", "Crc32Iscsi"),
        ("crc32-mpeg2", "Crc32Mpeg2"),
    ];
    let output = Command::new(super::peers::python())
        .args(["-c", script])
        .args(names.map(|(_, foreign)| foreign))
        .output()
        .expect("Python runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("numbers");
    let theirs: Vec<u32> = text
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect();
    let ours: Vec<u32> = names
        .iter()
        .map(|(name, _)| kind(name).of(&bytes))
        .collect();
    assert_eq!(ours, theirs);
}

/// NMEA 0183: `*` and two hexadecimal digits over what stands between `$` and `*`.
#[test]
fn nmea_sentence() {
    let checksum = Checksum {
        kind: Kind::Xor,
        format: Format::Hex,
        place: Place::End,
        from: 1,
        to: -1,
    };
    let sentence = b"$GPGLL,4916.45,N,12311.12,W,225444,A*31";
    assert!(checksum.is_right(sentence, 0));
    assert_eq!(
        checksum.strip(sentence),
        b"$GPGLL,4916.45,N,12311.12,W,225444,A"
    );
    assert!(!checksum.is_right(b"$GPGLL,4916.46,N,12311.12,W,225444,A*31", 0));
    // What looks like a number but is none.
    assert!(!checksum.is_right(b"$*+0", 0));
    assert!(!checksum.is_right(b"", 0));
}

#[test]
fn what_is_appended_is_right() {
    for (_, kind) in KINDS {
        for format in [Format::Hex, Format::BinaryBig, Format::BinaryLittle] {
            for (place, end) in [(Place::End, &b""[..]), (Place::BeforeEnd, b"\x03\x04")] {
                for (from, to) in [(0, 0), (1, -1), (2, 4)] {
                    let checksum = Checksum {
                        kind: *kind,
                        format,
                        place,
                        from,
                        to,
                    };
                    let mut frame = b"\x02abcdef".to_vec();
                    checksum.append(&mut frame);
                    frame.extend_from_slice(end);
                    assert!(checksum.is_right(&frame, end.len()), "{checksum:?}");
                    // The second covered byte, a bit turned over.
                    frame[from + 1] ^= 0x10;
                    assert!(!checksum.is_right(&frame, end.len()), "{checksum:?}");
                }
            }
        }
    }
}

//! Marks that are kept out of the data, and checksums behind the end mark.

use longshore_sdk::{DeviceConfig, Protocol};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    Serial,
    bus::Link,
    framer::{Found, next},
};

fn link(protocol: Value) -> Result<Link, String> {
    let mut protocol = protocol;
    protocol["url"] = json!("/dev/ttyS0");
    let device = json!({"device": "default/a", "protocol": protocol, "points": []});
    let device: DeviceConfig = serde_json::from_value(device).expect("a device");
    let serial = Serial::new(&json!({})).expect("a mapper");
    let parsed = serial.parse(&device).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        faults.join("; ")
    })?;
    Ok(Link::clone(&parsed.unit.link))
}

fn frame(frame: Value, checksum: Value) -> Link {
    let mut protocol = json!({"framing": {"frame": frame}});
    if !checksum.is_null() {
        protocol["checksum"] = checksum;
    }
    link(protocol).expect("a link")
}

/// The messages in a stream, as the driver hands them on.
fn heard(link: &Link, stream: &[u8]) -> Vec<Vec<u8>> {
    let (mut found, mut input) = (Vec::new(), stream.to_vec());
    loop {
        match next(&link.framing, link.checksum.as_ref(), &input, false) {
            Found::More => return found,
            Found::Skip(count) | Found::Spoiled(count) => drop(input.drain(..count)),
            Found::Frame { frame, consumed } => {
                let plain = link.framing.plain(link.checksum.as_ref(), &input[frame]);
                found.push(plain.expect("a message").into_owned());
                input.drain(..consumed);
            }
        }
    }
}

/// Sensirion SPS30 (avaldebe.github.io/PyPMS, "Sensirion sensors"): the frame
/// that starts the measurement, and its answer.
#[test]
fn the_frames_of_shdlc() {
    let link = frame(
        json!({"start": "7E", "end": "7E", "stuffing": "shdlc"}),
        json!({"kind": "sum8-inverted", "over": [1, 0], "at": "before-end"}),
    );
    let start = [0x7E, 0x00, 0x00, 0x02, 0x01, 0x03, 0xF9, 0x7E];
    assert_eq!(heard(&link, &start), [start.to_vec()]);
    // The float 15.879150390625 is 41 7E 11 00: a mark and XON.
    let plain = [0x7E, 0, 3, 0, 4, 0x41, 0x7E, 0x11, 0x00, 0x28, 0x7E];
    let sent = [
        0x7E, 0, 3, 0, 4, 0x41, 0x7D, 0x5E, 0x7D, 0x31, 0x00, 0x28, 0x7E,
    ];
    assert_eq!(heard(&link, &sent), [plain.to_vec()]);
    assert_eq!(link.sent(plain.to_vec()), sent);
    let spoiled = [
        0x7E, 0, 3, 0, 4, 0x41, 0x7D, 0x5E, 0x7D, 0x31, 0x01, 0x28, 0x7E,
    ];
    assert_eq!(heard(&link, &spoiled), [[0; 0]; 0]);
}

/// RFC 1662: one flag may stand between two frames, and several may.
#[test]
fn one_flag_between_two_frames_or_more() {
    let link = frame(
        json!({"start": "7E", "end": "7E", "stuffing": "hdlc"}),
        json!({"kind": "crc16-x25", "over": [1, 0], "format": "binary-le", "at": "before-end"}),
    );
    let with_sum = |text: &[u8]| {
        let mut frame = vec![0x7E];
        frame.extend_from_slice(text);
        link.checksum.as_ref().expect("one").append(&mut frame);
        frame.push(0x7E);
        frame
    };
    let (one, two) = (with_sum(b"one"), with_sum(b"two"));
    for flags in [&[][..], &[0x7E], &[0x7E, 0x7E, 0x7E]] {
        let stream = [&one[..], flags, &two[1..]].concat();
        assert_eq!(
            heard(&link, &stream),
            [one.clone(), two.clone()],
            "{flags:?}"
        );
    }
}

/// RFC 1055 and DLE STX … DLE ETX.
#[test]
fn slip_and_dle() {
    let slip = frame(
        json!({"start": "C0", "end": "C0", "stuffing": "slip"}),
        Value::Null,
    );
    let sent = [0xC0, 0x01, 0xDB, 0xDC, 0xDB, 0xDD, 0x02, 0xC0];
    let plain = vec![0xC0, 0x01, 0xC0, 0xDB, 0x02, 0xC0];
    assert_eq!(heard(&slip, &sent), std::slice::from_ref(&plain));
    assert_eq!(slip.sent(plain.clone()), sent);
    // What is escaped and means nothing is no message, and hides none.
    let wrong = [&[0xC0, 0xDB, 0x01, 0xC0][..], &sent].concat();
    assert_eq!(heard(&slip, &wrong), [plain]);

    let dle = frame(
        json!({"start": "1002", "end": "1003", "stuffing": "dle"}),
        Value::Null,
    );
    // In the middle stands DLE ETX as data.
    let sent = [0x10, 0x02, 0x41, 0x10, 0x10, 0x03, 0x42, 0x10, 0x03];
    let plain = vec![0x10, 0x02, 0x41, 0x10, 0x03, 0x42, 0x10, 0x03];
    assert_eq!(heard(&dle, &sent), std::slice::from_ref(&plain));
    assert_eq!(dle.sent(plain), sent);

    let own = json!({"escape": "1B", "map": {"0D": "21", "1B": "22"}});
    let own = frame(
        json!({"start": "02", "end": "0D", "stuffing": own}),
        Value::Null,
    );
    assert_eq!(
        own.sent(vec![0x02, 0x0D, 0x1B, 0x0D]),
        [2, 0x1B, 0x21, 0x1B, 0x22, 0x0D]
    );
}

/// DSMR 5.0.2 P1: CRC-16/ARC over all from `/` to `!`, behind the `!`.
#[test]
fn the_checksum_of_a_p1_telegram() {
    let link = frame(
        json!({"start": "2F", "end": "0D0A21"}),
        json!({"kind": "crc16-arc", "format": "hex"}),
    );
    let mut telegram = b"/ISK5\\2M550T-1013\r\n\r\n1-0:1.8.1(009418.807*kWh)\r\n!".to_vec();
    let sum = crate::checksum::KINDS
        .iter()
        .find(|(name, _)| *name == "crc16-arc");
    let sum = sum.expect("a kind").1.of(&telegram);
    telegram.extend_from_slice(format!("{sum:04X}").as_bytes());
    let stream = [&telegram[..], b"\r\n", &telegram, b"\r\n"].concat();
    assert_eq!(heard(&link, &stream), [telegram.clone(), telegram.clone()]);
    let mut wrong = telegram.clone();
    wrong[30] ^= 1;
    assert_eq!(
        heard(&link, &[&wrong[..], b"\r\n", &telegram].concat()),
        [telegram]
    );
}

/// IEC 62056-21: the block check is the exclusive or of what
/// stands behind STX up to ETX, and follows it.
#[test]
fn the_block_check_of_a_meter() {
    let link = frame(
        json!({"start": "02", "end": "03"}),
        json!({"kind": "xor", "over": [1, 0]}),
    );
    let body = b"0.0.0(12345678)\r\n1.8.0(00123.456*kWh)\r\n!\r\n\x03";
    let check = body.iter().fold(0, |sum, byte| sum ^ byte);
    let block = [b"\x02", &body[..], &[check]].concat();
    assert_eq!(heard(&link, &block), std::slice::from_ref(&block));
    let short = &block[..block.len() - 1];
    assert_eq!(
        heard(&link, short),
        [[0; 0]; 0],
        "its check has not come yet"
    );
    let wrong = [short, &[check ^ 1]].concat();
    assert_eq!(heard(&link, &wrong), [[0; 0]; 0]);
}

#[test]
fn what_does_not_go_together_is_told() {
    let refused = |frame: Value| link(json!({"framing": {"frame": frame}})).expect_err("a fault");
    let fault = refused(json!({"start": "02", "fixed": 9, "stuffing": "slip"}));
    assert!(
        fault.contains("framing.frame.stuffing: goes with a block between"),
        "{fault}"
    );
    let fault = refused(json!({"start": "02", "end": "03", "stuffing": "slop"}));
    assert!(
        fault.contains("`slop` is none of hdlc, shdlc, slip, dle"),
        "{fault}"
    );
    let fault = refused(json!({"start": "02", "end": "03", "stuffing": {"escape": "1B"}}));
    assert!(
        fault.contains("expected one of `xor`, `map` or `double: true`"),
        "{fault}"
    );
}

proptest! {
    /// Whatever is sent comes back, with any marks around it.
    #[test]
    fn what_is_stuffed_comes_back(
        body in prop::collection::vec(prop_oneof![
            any::<u8>(),
            prop::sample::select(vec![0x02_u8, 0x03, 0x10, 0x11, 0x7D, 0x7E, 0xC0, 0xDB]),
        ], 1..60),
        kind in 0..4_usize,
    ) {
        let (start, end, word) = [
            ("7E", "7E", "hdlc"), ("7E", "7E", "shdlc"), ("C0", "C0", "slip"), ("1002", "1003", "dle"),
        ][kind];
        let link = frame(json!({"start": start, "end": end, "stuffing": word}), Value::Null);
        let bytes = |text| crate::options::hex(text).expect("digits");
        let plain = [&bytes(start)[..], &body, &bytes(end)].concat();
        let sent = link.sent(plain.clone());
        prop_assert_eq!(heard(&link, &sent), [plain]);
    }
}

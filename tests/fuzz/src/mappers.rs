//! What devices answer, and what they say by themselves.

use std::time::Duration;

use longshore_mapper_bluetooth::{
    Uuid,
    advert::{Advert, Format, Seal},
    gatt,
};
use longshore_mapper_modbus::{
    Framing as ModbusFraming,
    frame::{self, Asked, Found as ModbusFound, Heard},
    pdu::Request,
};
use longshore_mapper_serial::{
    Serial,
    checksum::{Checksum, Format as SumFormat, Kind, Place},
    framer::{self, Block, Found, Framing, Length},
    pattern::Pattern,
    stuffing::{Stuffing, Way},
};

use longshore_sdk::{DeviceConfig, Protocol, Samples};
use serde_json::json;

use crate::{byte, text};

/// An answer stands where the decoder says it does, and belongs to the request.
pub(crate) fn modbus(mut data: &[u8]) {
    let framing = match byte(&mut data) % 3 {
        0 => ModbusFraming::Mbap,
        1 => ModbusFraming::Rtu,
        _ => ModbusFraming::Ascii,
    };
    let (function, count) = (byte(&mut data), u16::from(byte(&mut data)));
    let request = match function % 6 {
        0 => Request::read(3, 0, count),
        1 => Request::read(1, 0, count),
        2 => Request::write_register(1, count),
        3 => Request::write_registers(0, &vec![0; usize::from(count.min(123)) * 2]),
        4 => Request::read_write(0, count, 0, &[0, 1]),
        _ => Request::identify(1, byte(&mut data)),
    };
    let asked = Asked {
        framing,
        unit: 1,
        transaction: (function & 64 == 0).then_some(1),
        request: &request,
    };
    let (mut buffer, mut heard) = (Vec::new(), Heard::default());
    for part in data.chunks(32) {
        buffer.extend_from_slice(part);
        let before = buffer.len() as u64 + heard.dropped;
        let found = frame::decode(&asked, &mut buffer, &mut heard);
        if let ModbusFound::Answer { start, length } = found {
            let pdu = &buffer[start..start + length];
            assert!(request.is_answered_by(pdu), "not the answer to this");
            // An exception is an answer too.
            let _ = request.open(pdu);
            return;
        }
        assert_eq!(
            buffer.len() as u64 + heard.dropped,
            before,
            "a byte got lost"
        );
    }
}

/// A frame stands where the framer says it does, and the input gets shorter.
pub(crate) fn serial(mut data: &[u8]) {
    let flags = byte(&mut data);
    let framing = if flags & 1 == 0 {
        Framing::Line {
            delimiter: if flags & 2 == 0 {
                b"\n".to_vec()
            } else {
                b"\r\n".to_vec()
            },
            start: if flags & 4 == 0 {
                Vec::new()
            } else {
                b"$".to_vec()
            },
        }
    } else {
        Framing::Frame(Block {
            start: if flags & 2 == 0 {
                Vec::new()
            } else {
                vec![0x68]
            },
            end: if flags & 4 == 0 {
                Vec::new()
            } else {
                vec![0x16]
            },
            length: (flags & 8 != 0).then(|| Length {
                offset: usize::from(byte(&mut data) % 8),
                size: [1, 2, 4][usize::from(byte(&mut data) % 3)],
                little: flags & 16 != 0,
                adds: i32::from(byte(&mut data)) - 128,
            }),
            fixed: (flags & 32 != 0).then(|| usize::from(byte(&mut data) % 64) + 1),
            idle: Some(Duration::from_millis(5)),
            stuffing: (flags & 128 != 0).then(|| Stuffing {
                escape: 0x7D,
                way: Way::Xor(0x20),
                also: Vec::new(),
            }),
        })
    };
    let checksum = (flags & 64 != 0).then(|| Checksum {
        kind: if flags & 128 == 0 {
            Kind::Xor
        } else {
            Kind::Sum8
        },
        format: [
            SumFormat::BinaryLittle,
            SumFormat::BinaryBig,
            SumFormat::Hex,
        ][usize::from(byte(&mut data) % 3)],
        place: if flags & 16 == 0 {
            Place::End
        } else {
            Place::BeforeEnd
        },
        from: usize::from(byte(&mut data) % 4),
        to: i32::from(byte(&mut data)) - 128,
    });
    let mut input = data;
    while !input.is_empty() {
        let taken = match framer::next(&framing, checksum.as_ref(), input, true) {
            Found::Frame { frame, consumed } => {
                assert!(frame.end <= consumed, "a frame behind what it took");
                let _ = &input[frame];
                consumed
            }
            Found::Skip(count) | Found::Spoiled(count) => count,
            Found::More => return,
        };
        assert!(taken > 0, "the same input for ever");
        input = &input[taken..];
    }
}

/// A message that a point takes for its own has one sample, good or bad.
pub(crate) fn serial_answer(mut data: &[u8]) {
    let Some(config) = text(&mut data) else {
        return;
    };
    let Ok(config) = serde_json::from_str::<serde_json::Map<_, _>>(config) else {
        return;
    };
    let device = json!({
        "device": "default/supply",
        "protocol": {"url": "/dev/ttyUSB0", "baudRate": 9600},
        "points": [{"id": 1, "name": "voltage", "intervalMs": 1000, "type": "FLOAT",
                    "writable": true, "config": config}],
    });
    let device: DeviceConfig = serde_json::from_value(device).expect("a device");
    let serial = Serial::new(&json!({})).expect("no configuration");
    let Ok(parsed) = serial.parse(&device) else {
        return;
    };
    for point in parsed.points.iter().flatten() {
        let answer = point.answer();
        if answer.accepts(data) {
            let mut samples = Samples::default();
            answer.sample(1, data, 0, &mut samples);
            assert_eq!(samples.len(), 1, "one sample for each message");
        }
    }
}

/// One sample for each point, good or bad, whatever the value is made of.
pub(crate) fn opcua_value(data: &[u8]) {
    let (samples, points) = longshore_mapper_opcua::fuzzing::value(data);
    assert_eq!(samples, points, "one sample for each point");
}

/// A stream goes on or ends.
pub(crate) fn opcua_stream(data: &[u8]) {
    longshore_mapper_opcua::fuzzing::stream(data);
}

/// A pattern that was accepted finds what it finds in any message.
pub(crate) fn pattern(mut data: &[u8]) {
    let Some(Ok(pattern)) = text(&mut data).map(Pattern::parse) else {
        return;
    };
    let names: Vec<_> = pattern.names().collect();
    if let Some(captures) = pattern.matches(data) {
        for (name, _) in captures {
            assert!(names.contains(&name), "a field that the pattern lacks");
        }
    }
}

/// Each format of each packet, with a key and without.
pub(crate) fn advert(mut data: &[u8]) {
    let number = u16::from_le_bytes([byte(&mut data), byte(&mut data)]);
    let key = [7; 16];
    for service in [0xFCD2, 0x181A, 0xFE95, 0xFEAA, number] {
        let advert = Advert {
            rssi: Some(-60),
            tx_power: None,
            manufacturer: vec![(0x004C, data.to_vec()), (number, data.to_vec())],
            service: vec![(Uuid::short(service), data.to_vec())],
        };
        for format in [
            Format::Any,
            Format::BtHome,
            Format::Thermometer,
            Format::Xiaomi,
            Format::EddystoneTlm,
            Format::EddystoneUid,
            Format::IBeacon,
            Format::Manufacturer(number),
            Format::Service(Uuid::short(service)),
        ] {
            let address = [1, 2, 3, 4, 5, 6];
            for key in [None, Some(&key)] {
                // A packet that cannot be read says why; that is fine.
                let _ = advert.fields(format, Seal { address, key });
            }
            advert.word(format);
        }
    }
}

/// Each standard characteristic.
pub(crate) fn gatt(mut data: &[u8]) {
    let number = u16::from_le_bytes([byte(&mut data), byte(&mut data)]);
    let Some(standard) = gatt::standard(number) else {
        return;
    };
    if let Ok(fields) = standard.decode(data) {
        for (name, _) in fields {
            assert!(
                standard.fields().is_empty() || standard.fields().contains(&name),
                "a field that the characteristic lacks"
            );
        }
    }
}

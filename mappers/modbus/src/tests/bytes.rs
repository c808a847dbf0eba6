//! PDUs, frames and values, byte by byte.

use longshore_sdk::{
    Reading, SampleValue, Samples,
    codec::{Bits, ByteOrder, Codec, RawType, StringOrder},
};
use proptest::prelude::*;
use tokio_modbus::{Request as Theirs, prelude::Response};

use crate::{
    bus::Framing,
    frame::{self, Asked, Found, Heard, crc, lrc},
    pdu::{Exception, Request, function},
};

fn value(samples: &Samples) -> Reading<'_> {
    samples.iter().last().expect("one sample").reading
}

fn decoded(codec: Codec, wire: &[u8]) -> Samples {
    let mut samples = Samples::default();
    codec.decode(1, wire, 0, &mut samples);
    samples
}

fn decode(
    framing: Framing,
    transaction: u16,
    request: &Request,
    buffer: &mut Vec<u8>,
    heard: &mut Heard,
) -> Found {
    let asked = Asked {
        framing,
        unit: 1,
        transaction: Some(transaction),
        request,
    };
    frame::decode(&asked, buffer, heard)
}

#[test]
fn the_specification_s_examples() {
    // Application Protocol V1.1b3, section 6.3: read registers 108 to 110:
    // function 03, starting address 006B, quantity 0003.
    let read = Request::read(function::READ_HOLDING_REGISTERS, 107, 3);
    assert_eq!(read.bytes(), [0x03, 0x00, 0x6B, 0x00, 0x03]);
    // The answer: byte count 06, then 022B, 0000, 0064.
    let answer = [0x03, 0x06, 0x02, 0x2B, 0x00, 0x00, 0x00, 0x64];
    assert!(read.is_answered_by(&answer));
    assert_eq!(read.open(&answer), Ok(&answer[2..]));

    // Section 6.1: coils 20 to 38 are 19 bits in 3 bytes: CD 6B 05.
    let coils = Request::read(function::READ_COILS, 19, 19);
    assert_eq!(coils.bytes(), [0x01, 0x00, 0x13, 0x00, 0x13]);
    assert!(coils.is_answered_by(&[0x01, 0x03, 0xCD, 0x6B, 0x05]));

    // Section 6.5: coil 173 on is FF00.
    assert_eq!(
        Request::write_coil(172, true).bytes(),
        [0x05, 0x00, 0xAC, 0xFF, 0x00]
    );
    // Section 6.6: register 2 to 0003.
    assert_eq!(
        Request::write_register(1, 3).bytes(),
        [0x06, 0x00, 0x01, 0x00, 0x03]
    );
    // Section 6.11: ten coils from 20 on, CD 01.
    let several = Request::write_coils(19, 10, &[0xCD, 0x01]);
    assert_eq!(
        several.bytes(),
        [0x0F, 0x00, 0x13, 0x00, 0x0A, 0x02, 0xCD, 0x01]
    );
    assert!(several.is_answered_by(&[0x0F, 0x00, 0x13, 0x00, 0x0A]));
    // Section 6.12: registers 2 and 3 to 000A and 0102.
    let several = Request::write_registers(1, &[0x00, 0x0A, 0x01, 0x02]);
    assert_eq!(
        several.bytes(),
        [0x10, 0x00, 0x01, 0x00, 0x02, 0x04, 0x00, 0x0A, 0x01, 0x02]
    );
    // Section 6.16: register 5, AND 00F2, OR 0025; the answer is the echo.
    let mask = Request::mask_write(4, 0x00F2, 0x0025);
    assert_eq!(mask.bytes(), [0x16, 0x00, 0x04, 0x00, 0xF2, 0x00, 0x25]);
    assert!(mask.is_answered_by(mask.bytes()));

    // Section 7: the function with its high bit, and the code.
    let refusal = [0x83, 0x02];
    assert!(read.is_answered_by(&refusal));
    assert_eq!(read.open(&refusal), Err(Exception::ILLEGAL_DATA_ADDRESS));
    assert_eq!(
        Exception(2).to_string(),
        "exception 2 (illegal data address)"
    );
}

#[test]
fn checksums_of_the_serial_line_guide() {
    // Serial Line V1.02, section 6.2.2: the frame 02 07 has the CRC 1241, sent 41 12.
    assert_eq!(crc(&[0x02, 0x07]).to_le_bytes(), [0x41, 0x12]);
    // Section 6.2.1: a frame and its LRC sum to zero.
    let frame = [0x11, 0x03, 0x00, 0x6B, 0x00, 0x03];
    assert_eq!(lrc(frame.iter()), 0x7E);
}

#[test]
fn frames_of_one_request() {
    let read = Request::read(function::READ_HOLDING_REGISTERS, 0x6B, 3);
    let mut out = Vec::new();
    frame::encode(Framing::Mbap, 0x11, 0x0102, &read, &mut out);
    // Transaction, protocol 0, six bytes follow: unit and PDU.
    assert_eq!(
        out,
        [
            0x01, 0x02, 0x00, 0x00, 0x00, 0x06, 0x11, 0x03, 0x00, 0x6B, 0x00, 0x03
        ]
    );
    frame::encode(Framing::Rtu, 0x11, 0, &read, &mut out);
    assert_eq!(out, [0x11, 0x03, 0x00, 0x6B, 0x00, 0x03, 0x76, 0x87]);
    frame::encode(Framing::Ascii, 0x11, 0, &read, &mut out);
    assert_eq!(out, b":1103006B00037E\r\n");
}

#[test]
fn a_decoder_skips_what_is_not_its_answer() {
    let read = Request::read(function::READ_INPUT_REGISTERS, 0, 1);
    let answer = [0x04, 0x02, 0x12, 0x34];
    let rtu = |unit: u8, pdu: &[u8]| {
        let mut frame = vec![unit];
        frame.extend_from_slice(pdu);
        frame.extend_from_slice(&crc(&frame).to_le_bytes());
        frame
    };
    let mut heard = Heard::default();

    // Noise that looks like a beginning, a late answer of unit 2, ours.
    let mut buffer = [vec![0x01, 0x04], rtu(2, &answer), rtu(1, &answer)].concat();
    let found = decode(Framing::Rtu, 0, &read, &mut buffer, &mut heard);
    let Found::Answer { start, length } = found else {
        panic!("{found:?}")
    };
    assert_eq!(buffer[start..start + length], answer);
    assert_eq!(heard.dropped, 2 + 7);

    let mut broken = rtu(1, &answer);
    broken[3] ^= 1;
    assert_eq!(
        decode(Framing::Rtu, 0, &read, &mut broken, &mut heard),
        Found::Spoiled
    );

    let mut buffer = b"\xFF:0204021234B4\r\n:010402:0104021234B3\r\n".to_vec();
    assert_eq!(
        decode(Framing::Ascii, 0, &read, &mut buffer, &mut heard),
        Found::Answer {
            start: 0,
            length: 4
        }
    );

    // Over TCP the transaction of a request that was given up is 6, ours is 7.
    let mut buffer = vec![
        0, 6, 0, 0, 0, 5, 1, 0x04, 0x02, 0, 0, 0, 7, 0, 0, 0, 5, 1, 0x04, 0x02, 0x12, 0x34,
    ];
    let found = decode(Framing::Mbap, 7, &read, &mut buffer, &mut heard);
    let Found::Answer { start, length } = found else {
        panic!("{found:?}")
    };
    assert_eq!(buffer[start..start + length], answer);
    let mut http = b"HTTP/1.1 400 Bad Request".to_vec();
    assert_eq!(
        decode(Framing::Mbap, 7, &read, &mut http, &mut heard),
        Found::NotModbus
    );
}

#[test]
fn one_number_in_all_orders() {
    // 21.5 as IEEE 754 single is 41 AC 00 00; with a last byte to tell all four apart: 41 AC 12 34.
    let number = f64::from(f32::from_bits(0x41AC_1234));
    for (order, wire) in [
        ("ABCD", [0x41, 0xAC, 0x12, 0x34]),
        ("CDAB", [0x12, 0x34, 0x41, 0xAC]),
        ("BADC", [0xAC, 0x41, 0x34, 0x12]),
        ("DCBA", [0x34, 0x12, 0xAC, 0x41]),
    ] {
        let codec = Codec::number(RawType::Float32, &order.parse().unwrap()).unwrap();
        assert_eq!(
            value(&decoded(codec, &wire)),
            Reading::Float(number),
            "{order}"
        );
        let mut back = [0; 4];
        codec
            .encode(&SampleValue::Float(number), &mut back)
            .unwrap();
        assert_eq!(back, wire, "{order}");
    }
    // 64 bits: CDAB is low word first.
    let wire = [0, 4, 0, 3, 0, 2, 0, 1];
    for order in ["CDAB", "GHEFCDAB"] {
        let codec = Codec::number(RawType::Uint64, &order.parse().unwrap()).unwrap();
        assert_eq!(
            value(&decoded(codec, &wire)),
            Reading::Uint(0x0001_0002_0003_0004),
            "{order}"
        );
    }
    let little = Codec::number(RawType::Int16, &"BA".parse().unwrap()).unwrap();
    assert_eq!(value(&decoded(little, &[0xFE, 0xFF])), Reading::Int(-2));
    assert!("ABCA".parse::<ByteOrder>().is_err());
    assert!(Codec::number(RawType::Int16, &"ABCDEFGH".parse().unwrap()).is_err());
}

#[test]
fn bits_and_texts() {
    let order = ByteOrder::default();
    let bit = Codec::bits(
        RawType::Uint16,
        &order,
        Bits {
            first: 3,
            length: 1,
        },
        false,
    )
    .unwrap();
    assert_eq!(value(&decoded(bit, &[0x00, 0x08])), Reading::Bool(true));
    let nibble = Codec::bits(
        RawType::Uint16,
        &order,
        Bits {
            first: 8,
            length: 4,
        },
        false,
    )
    .unwrap();
    assert_eq!(value(&decoded(nibble, &[0x15, 0x00])), Reading::Uint(5));
    // Only these bits change.
    let mut wire = [0xF1, 0xFF];
    nibble.encode(&SampleValue::Uint(0xA), &mut wire).unwrap();
    assert_eq!(wire, [0xFA, 0xFF]);
    assert!(nibble.encode(&SampleValue::Uint(16), &mut wire).is_err());
    assert!(
        Codec::bits(
            RawType::Uint16,
            &order,
            Bits {
                first: 15,
                length: 2
            },
            false
        )
        .is_err()
    );

    let high = Codec::text(6, StringOrder::High);
    assert_eq!(value(&decoded(high, b"Sho\0xx")), Reading::String("Sho"));
    let low = Codec::text(6, StringOrder::Low);
    assert_eq!(value(&decoded(low, b"hS\0o\0\0")), Reading::String("Sho"));
    // Latin-1, as old devices have it.
    assert_eq!(
        value(&decoded(high, b"20 \xB0C\0")),
        Reading::String("20 °C")
    );
    let mut wire = [1; 6];
    high.encode(&SampleValue::String("ab".to_owned()), &mut wire)
        .unwrap();
    assert_eq!(&wire, b"ab\0\0\0\0");
}

#[test]
fn what_does_not_fit_names_the_type() {
    let order = ByteOrder::default();
    let refuse = |raw, value| {
        Codec::number(raw, &order)
            .unwrap()
            .encode(&value, &mut [0; 8])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refuse(RawType::Int16, SampleValue::Int(40_000)),
        "40000 does not fit int16 (-32768…32767)"
    );
    assert_eq!(
        refuse(RawType::Uint16, SampleValue::Int(-1)),
        "-1 does not fit uint16 (0…65535)"
    );
    assert_eq!(
        refuse(RawType::Uint32, SampleValue::Float(f64::NAN)),
        "NaN does not fit uint32 (0…4294967295)"
    );
    assert_eq!(
        refuse(RawType::Int16, SampleValue::Float(21.5)),
        "21.5 is not a whole number, as int16 needs"
    );
    assert_eq!(
        refuse(RawType::Int16, SampleValue::String("a".into())),
        "expected a whole number for int16, found a text"
    );
    let hair = Codec::number(RawType::Int16, &order).unwrap();
    let mut wire = [0; 2];
    hair.encode(&SampleValue::Float(21.5 / 0.1), &mut wire)
        .unwrap();
    assert_eq!(wire, [0, 215], "an inverse scale may miss by a hair");
}

fn numbers() -> impl Strategy<Value = (RawType, SampleValue)> {
    prop_oneof![
        any::<i8>().prop_map(|v| (RawType::Int8, SampleValue::Int(v.into()))),
        any::<u8>().prop_map(|v| (RawType::Uint8, SampleValue::Uint(v.into()))),
        any::<i16>().prop_map(|v| (RawType::Int16, SampleValue::Int(v.into()))),
        any::<u16>().prop_map(|v| (RawType::Uint16, SampleValue::Uint(v.into()))),
        any::<i32>().prop_map(|v| (RawType::Int32, SampleValue::Int(v.into()))),
        any::<u32>().prop_map(|v| (RawType::Uint32, SampleValue::Uint(v.into()))),
        any::<i64>().prop_map(|v| (RawType::Int64, SampleValue::Int(v))),
        any::<u64>().prop_map(|v| (RawType::Uint64, SampleValue::Uint(v))),
        (-1e30_f32..1e30).prop_map(|v| (RawType::Float32, SampleValue::Float(v.into()))),
        (-1e300_f64..1e300).prop_map(|v| (RawType::Float64, SampleValue::Float(v))),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back((raw, written) in numbers(), order in 0..4_usize) {
        let order = ["ABCD", "CDAB", "BADC", "DCBA"][order].parse().unwrap();
        let codec = Codec::number(raw, &order).unwrap();
        let mut wire = [0; 8];
        codec.encode(&written, &mut wire).unwrap();
        let samples = decoded(codec, &wire);
        let read = match value(&samples) {
            Reading::Int(v) => SampleValue::Int(v),
            Reading::Uint(v) => SampleValue::Uint(v),
            Reading::Float(v) => SampleValue::Float(v),
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(read, written);
    }

    #[test]
    fn another_implementation_reads_our_requests(address: u16, count in 1..100_u16, on: bool) {
        let theirs = |request: &Request| Theirs::try_from(bytes(request.bytes())).expect("it parses");
        let registers: Vec<u8> = (0..count * 2).map(|i| i as u8).collect();
        let words: Vec<u16> = registers.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        prop_assert_eq!(theirs(&Request::read(1, address, count)), Theirs::ReadCoils(address, count));
        prop_assert_eq!(theirs(&Request::read(2, address, count)), Theirs::ReadDiscreteInputs(address, count));
        prop_assert_eq!(theirs(&Request::read(3, address, count)), Theirs::ReadHoldingRegisters(address, count));
        prop_assert_eq!(theirs(&Request::read(4, address, count)), Theirs::ReadInputRegisters(address, count));
        prop_assert_eq!(theirs(&Request::write_coil(address, on)), Theirs::WriteSingleCoil(address, on));
        prop_assert_eq!(theirs(&Request::write_register(address, count)), Theirs::WriteSingleRegister(address, count));
        prop_assert_eq!(
            theirs(&Request::write_registers(address, &registers)),
            Theirs::WriteMultipleRegisters(address, words.into())
        );
        prop_assert_eq!(
            theirs(&Request::write_coils(address, 3, &[0b101])),
            Theirs::WriteMultipleCoils(address, vec![true, false, true].into())
        );
        prop_assert_eq!(
            theirs(&Request::mask_write(address, count, 7)),
            Theirs::MaskWriteRegister(address, count, 7)
        );
        let answer = Response::try_from(bytes(&[3, 2, 0x12, 0x34])).expect("it parses");
        prop_assert_eq!(answer, Response::ReadHoldingRegisters(vec![0x1234]));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(
        framing in prop_oneof![Just(Framing::Mbap), Just(Framing::Rtu), Just(Framing::Ascii)],
        junk in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b':'), Just(1), Just(3), Just(b'\n')], 0..600),
    ) {
        let request = Request::read(3, 0, 2);
        let mut buffer = Vec::new();
        let mut heard = Heard::default();
        for piece in junk.chunks(7) {
            buffer.extend_from_slice(piece);
            match decode(framing, 1, &request, &mut buffer, &mut heard) {
                Found::Answer { start, length } => prop_assert!(start + length <= buffer.len()),
                Found::NotModbus => break,
                Found::Incomplete | Found::Spoiled => prop_assert!(buffer.len() <= 2 * frame::MAX_FRAME),
            }
        }
    }

    #[test]
    fn an_answer_is_found_in_any_noise(
        noise in proptest::collection::vec(any::<u8>(), 0..40),
        registers in proptest::collection::vec(any::<u8>(), 8),
    ) {
        let request = Request::read(3, 0, 4);
        let mut frame = vec![1, 3, 8];
        frame.extend_from_slice(&registers);
        frame.extend_from_slice(&crc(&frame).to_le_bytes());
        let mut buffer = noise.clone();
        buffer.extend_from_slice(&frame);
        let mut heard = Heard::default();
        let found = decode(Framing::Rtu, 0, &request, &mut buffer, &mut heard);
        let is_found = matches!(found, Found::Answer { start, length } if buffer[start..start + length][2..] == registers[..]);
        prop_assert!(is_found, "{found:?}");
    }
}

fn bytes(slice: &[u8]) -> tokio_modbus::bytes::Bytes {
    tokio_modbus::bytes::Bytes::copy_from_slice(slice)
}

/// The types that are no plain binary numbers, both ways, in all orders.
#[test]
fn other_numbers() {
    let codec = |raw: &str, order: &str| {
        let (raw, order) = (
            raw.parse().expect("a type"),
            order.parse().expect("an order"),
        );
        Codec::in_registers(raw, &order).expect("they fit")
    };
    let whole = |number: i64| match u64::try_from(number) {
        Ok(number) => Reading::Uint(number),
        Err(_) => Reading::Int(number),
    };
    for (raw, order, wire, number) in [
        // The lower three bytes of two registers.
        ("uint24", "ABCD", vec![0x00, 0x12, 0x34, 0x56], 0x12_3456),
        ("uint24", "CDAB", vec![0x34, 0x56, 0x00, 0x12], 0x12_3456),
        ("int24", "ABCD", vec![0xFF, 0xFF, 0xFF, 0xFE], -2),
        ("int24", "DCBA", vec![0x00, 0x00, 0x80, 0xFF], -0x80_0000),
        ("bcd16", "AB", vec![0x12, 0x34], 1234),
        ("bcd32", "ABCD", vec![0x00, 0x12, 0x34, 0x56], 123_456),
        ("bcd32", "CDAB", vec![0x34, 0x56, 0x00, 0x12], 123_456),
        ("bcd64", "ABCD", vec![0x99; 8], 9_999_999_999_999_999),
        ("sm16", "AB", vec![0x80, 0x05], -5),
        ("sm16", "BA", vec![0x05, 0x00], 5),
        ("sm32", "ABCD", vec![0x80, 0x00, 0x01, 0x00], -256),
    ] {
        let codec = codec(raw, order);
        let shown = decoded(codec, &wire);
        let same = match (value(&shown), whole(number)) {
            (Reading::Int(a), Reading::Uint(b)) => u64::try_from(a) == Ok(b),
            (a, b) => a == b,
        };
        assert!(same, "{raw} {order}: {:?} is not {number}", value(&shown));
        let mut back = vec![0; wire.len()];
        codec
            .encode(&SampleValue::Int(number), &mut back)
            .expect("it fits");
        assert_eq!(back, wire, "{raw} {order}");
    }
    // The byte that counts for nothing may hold anything; minus nothing is nothing.
    assert_eq!(
        value(&decoded(codec("uint24", "ABCD"), &[7, 0, 0, 1])),
        Reading::Uint(1)
    );
    assert_eq!(
        value(&decoded(codec("sm16", "AB"), &[0x80, 0])),
        Reading::Int(0)
    );
    let bad = decoded(codec("bcd16", "AB"), &[0x1A, 0x00]);
    let Reading::Bad { message, .. } = value(&bad) else {
        panic!("{bad:?}")
    };
    assert_eq!(message, "0x1A00 has digits that are not decimal (BCD)");
    for (raw, number) in [
        ("bcd16", 10_000),
        ("bcd16", -1),
        ("sm16", -32_768),
        ("int24", 0x80_0000),
    ] {
        let mut back = [0; 4];
        let result = codec(raw, "ABCD").encode(&SampleValue::Int(number), &mut back);
        assert!(result.is_err(), "{raw} {number}");
    }
    let order = ByteOrder::default();
    let bits = Bits {
        first: 0,
        length: 1,
    };
    assert!(Codec::bits(RawType::Bcd16, &order, bits, false).is_err());
}

/// One character in a register, in either byte: seen when reading, said when writing.
#[test]
fn texts_with_one_character_in_a_register() {
    let low = [0, b'M', 0, b'o', 0, b'd', 0, 0];
    let high = [b'M', 0, b'o', 0, b'd', 0, 0, 0];
    for order in [StringOrder::High, StringOrder::Low] {
        for wire in [low, high] {
            let read = decoded(Codec::text(8, order), &wire);
            assert_eq!(value(&read), Reading::String("Mod"), "{order:?}");
        }
    }
    for (order, wire) in [(StringOrder::LowOnly, low), (StringOrder::HighOnly, high)] {
        let codec = Codec::text(8, order);
        let mut back = [0xFF; 8];
        let text = |text: &str| SampleValue::String(text.to_owned());
        codec.encode(&text("Mod"), &mut back).expect("it fits");
        assert_eq!(back, wire);
        assert!(
            codec.encode(&text("Modbu"), &mut back).is_err(),
            "four at most"
        );
    }
    // One alone, and what stands behind the end of a packed text, say nothing.
    let packed = [b'M', 0, b'x', b'y'];
    assert_eq!(
        value(&decoded(Codec::text(4, StringOrder::High), &packed)),
        Reading::String("M")
    );
    let packed = [0, b'M', 0, 0];
    assert_eq!(
        value(&decoded(Codec::text(4, StringOrder::Low), &packed)),
        Reading::String("M")
    );
}

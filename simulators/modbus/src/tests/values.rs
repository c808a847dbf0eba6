//! What stands in registers: encodings, signals behind them, ranges that change.

use std::time::Duration;

use longshore_sim_world::{Clock, World, WorldSpec, scenario::parse};
use proptest::prelude::*;

use super::Wire;
use crate::builder::{Builder, StartError, modbus};
use crate::encoding::{Encoding, RawType, WordOrder};
use crate::frame::Framing;
use crate::table::Kind;

fn read(wire: &mut Wire, function: u8, address: u16, count: u8) -> Vec<u16> {
    let [high, low] = address.to_be_bytes();
    let answer = wire.ask(1, &[function, high, low, 0, count]);
    assert_eq!(answer[..2], [function, count * 2], "{answer:X?}");
    answer[2..]
        .chunks(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect()
}

#[test]
fn the_four_orders_of_a_32_bit_number() {
    for (order, words) in [
        (WordOrder::Abcd, [0x0A0B, 0x0C0D]),
        (WordOrder::Cdab, [0x0C0D, 0x0A0B]),
        (WordOrder::Badc, [0x0B0A, 0x0D0C]),
        (WordOrder::Dcba, [0x0D0C, 0x0B0A]),
    ] {
        let mut is = [0; 2];
        let encoding = Encoding::new(RawType::Uint32).order(order);
        encoding.write(f64::from(0x0A0B_0C0Du32), &mut is);
        assert_eq!(is, words, "{order:?}");
    }
}

#[test]
fn the_orders_of_a_64_bit_number() {
    for (order, words) in [
        (WordOrder::Abcd, [0x0102, 0x0304, 0x0506, 0x0708]),
        (WordOrder::Cdab, [0x0708, 0x0506, 0x0304, 0x0102]),
        (WordOrder::Badc, [0x0201, 0x0403, 0x0605, 0x0807]),
        (WordOrder::Dcba, [0x0807, 0x0605, 0x0403, 0x0201]),
    ] {
        let mut is = [0; 4];
        let encoding = Encoding::new(RawType::Uint64).order(order);
        encoding.write_integer(0x0102_0304_0506_0708, &mut is);
        assert_eq!(is, words, "{order:?}");
    }
}

#[test]
fn numbers_are_scaled_rounded_and_held_in_their_type() {
    let encode = |encoding: Encoding, value: f64| {
        let mut words = [0; 4];
        encoding.write(value, &mut words);
        words[..encoding.words()].to_vec()
    };
    let tenths = Encoding::new(RawType::Int16).times(10.0);
    assert_eq!(encode(tenths, 21.56), [216]);
    assert_eq!(encode(tenths, -1.0), [0xFFF6]);
    assert_eq!(encode(tenths, 1e9), [0x7FFF]);
    assert_eq!(encode(Encoding::new(RawType::Uint16), -5.0), [0]);
    assert_eq!(
        encode(Encoding::new(RawType::Float32), 21.5),
        [0x41AC, 0x0000]
    );
    assert_eq!(encode(Encoding::new(RawType::Bool), 3.0), [1]);
}

proptest! {
    #[test]
    fn every_encoding_reads_what_it_wrote(number in -30_000i32..30_000, order in 0usize..4) {
        let order = [WordOrder::Abcd, WordOrder::Cdab, WordOrder::Badc, WordOrder::Dcba][order];
        for raw in [
            RawType::Int16, RawType::Int32, RawType::Int64, RawType::Float32, RawType::Float64,
        ] {
            let encoding = Encoding::new(raw).order(order);
            let mut words = [0; 4];
            encoding.write(f64::from(number), &mut words);
            prop_assert_eq!(encoding.read(&words), Some(f64::from(number)));
        }
    }
}

fn boiler() -> (Builder, World, Clock) {
    let clock = Clock::manual();
    let spec: WorldSpec = parse(
        "boiler",
        "signals:
  setpoint: {setpoint: {initial: 60, min: 20, max: 90}}
  temperature: {lag: {of: setpoint, seconds: 20}}",
    )
    .expect("scenario");
    let world = World::new(&spec, clock.clone()).expect("world");
    let tenths = Encoding::new(RawType::Int16).times(10.0);
    let builder = modbus()
        .world(&world)
        .signal(40_001, tenths, "setpoint")
        .signal(30_001, tenths, "temperature")
        .signal(40_002, tenths, "temperature")
        .signal(40_010, Encoding::new(RawType::Float32), "setpoint");
    (builder, world, clock)
}

#[test]
fn a_written_setpoint_moves_the_world() {
    let (builder, _, clock) = boiler();
    let mut wire = Wire::new(Framing::Tcp, builder);
    assert_eq!(read(&mut wire, 4, 0, 1), [600]);
    // 80.0 as tenths: 800 = 0x0320
    wire.ask(1, &[0x06, 0, 0, 0x03, 0x20]);
    assert_eq!(read(&mut wire, 3, 0, 1), [800]);
    clock.advance(Duration::from_secs(20));
    // 60 + 20 × (1 − 1/e) = 72.6
    assert_eq!(read(&mut wire, 4, 0, 1), [726]);
    // The same signal as a float in holding registers 9 and 10.
    assert_eq!(read(&mut wire, 3, 9, 2), [0x42A0, 0x0000]);
}

#[test]
fn a_write_that_the_signal_refuses_changes_nothing() {
    let (builder, world, _) = boiler();
    let mut wire = Wire::new(Framing::Tcp, builder);
    // 95.0 is above the setpoint's limit: illegal value
    assert_eq!(wire.ask(1, &[0x06, 0, 0, 0x03, 0xB6]), [0x86, 0x03]);
    // temperature is no setpoint: illegal address, also for those written with it
    assert_eq!(wire.ask(1, &[0x06, 0, 1, 0x00, 0x01]), [0x86, 0x02]);
    assert_eq!(
        wire.ask(1, &[0x10, 0, 0, 0, 2, 4, 0x03, 0x20, 0, 1]),
        [0x90, 0x02]
    );
    assert_eq!(world.value("setpoint"), Some(60.0));
    assert_eq!(read(&mut wire, 3, 0, 1), [600]);
    assert!(wire.devices.writes().is_empty());
}

#[test]
fn changing_floats_all_differ_at_each_read() {
    let mut wire = Wire::new(Framing::Tcp, modbus().changing_floats(30_001, 1000));
    let floats = |words: &[u16]| -> Vec<f32> {
        words
            .chunks(2)
            .map(|w| f32::from_bits(u32::from(w[0]) << 16 | u32::from(w[1])))
            .collect()
    };
    let first = floats(&read(&mut wire, 4, 0, 124));
    let second = floats(&read(&mut wire, 4, 0, 124));
    assert_eq!(first[0], 0.25);
    assert!(
        first.iter().zip(&second).all(|(a, b)| *b == a + 0.25),
        "{first:?} {second:?}"
    );
    // From an odd address on, the halves of floats come; only the end of the table is its end.
    assert_eq!(read(&mut wire, 4, 1, 3).len(), 3);
    assert_eq!(read(&mut wire, 4, 1999, 1).len(), 1);
    assert_eq!(wire.ask(1, &[4, 0x07, 0xCF, 0, 2]), [0x84, 0x02]);
}

#[test]
fn overlaps_and_ends_of_tables_are_named() {
    let builder = modbus()
        .register(40_001, 1)
        .float32(40_001, 2.0)
        .float32(465_536, 1.0)
        .register(20_000, 1)
        .signal(30_001, Encoding::new(RawType::Int16), "nothing");
    let mut builder = builder;
    let Err(StartError::Registers { problems }) = builder.devices() else {
        panic!("this must not start");
    };
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let all = all.join("\n");
    for part in [
        "overlaps",
        "beyond address 65535",
        "20000",
        "no signal is named `nothing`",
    ] {
        assert!(all.contains(part), "{part} is not in {all}");
    }
}

#[test]
fn references_of_both_lengths() {
    for (reference, table, address) in [
        (1, Kind::Coil, 0),
        (10_001, Kind::Discrete, 0),
        (30_010, Kind::Input, 9),
        (49_999, Kind::Holding, 9_998),
        (400_001, Kind::Holding, 0),
        (465_536, Kind::Holding, 65_535),
    ] {
        assert_eq!(Kind::from_reference(reference), Some((table, address)));
    }
    for wrong in [0, 10_000, 20_001, 40_000, 465_537] {
        assert_eq!(Kind::from_reference(wrong), None);
    }
}

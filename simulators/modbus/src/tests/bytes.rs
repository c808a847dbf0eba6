//! The examples of the Modbus Application Protocol Specification V1.1b3, section 6.

use super::Wire;
use crate::builder::modbus;
use crate::frame::Framing;
use crate::table::Kind;

fn wire() -> Wire {
    let mut coils = vec![0u16; 200];
    // Coils 20 to 38 (addresses 19 to 37) of section 6.1: CD 6B 05, lowest bit first.
    for (i, byte) in [0xCDu8, 0x6B, 0x05].iter().enumerate() {
        for bit in 0..8 {
            coils[19 + i * 8 + bit] = u16::from(byte >> bit & 1);
        }
    }
    let mut inputs = vec![0u16; 230];
    // Inputs 197 to 218 (addresses 196 to 217) of section 6.2: AC DB 35.
    for (i, byte) in [0xACu8, 0xDB, 0x35].iter().enumerate() {
        for bit in 0..8 {
            inputs[196 + i * 8 + bit] = u16::from(byte >> bit & 1);
        }
    }
    Wire::new(
        Framing::Tcp,
        modbus()
            .unit(17)
            .name("example")
            .registers(1, &coils)
            .registers(10_001, &inputs)
            .registers(30_001, &[0; 8])
            .register(30_009, 0x000A)
            .registers(
                40_001,
                &[0, 0, 0, 0x00FE, 0x0012, 0x0001, 0x0003, 0x000D, 0x00FF],
            )
            .registers(40_010, &[0; 20])
            .registers(40_108, &[0x022B, 0x0000, 0x0064]),
    )
}

#[test]
fn read_coils_6_1() {
    // function 01, start 0x0013, quantity 0x0013
    let answer = wire().ask(17, &[0x01, 0x00, 0x13, 0x00, 0x13]);
    // function, 3 bytes; the five bits after the nineteenth are zero
    assert_eq!(answer, [0x01, 0x03, 0xCD, 0x6B, 0x05]);
}

#[test]
fn read_discrete_inputs_6_2() {
    // function 02, start 0x00C4, quantity 0x0016
    let answer = wire().ask(17, &[0x02, 0x00, 0xC4, 0x00, 0x16]);
    assert_eq!(answer, [0x02, 0x03, 0xAC, 0xDB, 0x35]);
}

#[test]
fn read_holding_registers_6_3() {
    // function 03, start 0x006B (register 108), quantity 3
    let answer = wire().ask(17, &[0x03, 0x00, 0x6B, 0x00, 0x03]);
    // function, 6 bytes, 555, 0, 100
    assert_eq!(answer, [0x03, 0x06, 0x02, 0x2B, 0x00, 0x00, 0x00, 0x64]);
}

#[test]
fn read_input_registers_6_4() {
    let answer = wire().ask(17, &[0x04, 0x00, 0x08, 0x00, 0x01]);
    assert_eq!(answer, [0x04, 0x02, 0x00, 0x0A]);
}

#[test]
fn write_single_coil_6_5() {
    let mut wire = wire();
    // function 05, coil 173 (0x00AC), 0xFF00 is on; the answer is the echo
    let on = [0x05, 0x00, 0xAC, 0xFF, 0x00];
    assert_eq!(wire.ask(17, &on), on);
    assert_eq!(
        wire.ask(17, &[0x01, 0x00, 0xAC, 0x00, 0x01]),
        [0x01, 0x01, 0x01]
    );
    let off = [0x05, 0x00, 0xAC, 0x00, 0x00];
    assert_eq!(wire.ask(17, &off), off);
    assert_eq!(
        wire.ask(17, &[0x01, 0x00, 0xAC, 0x00, 0x01]),
        [0x01, 0x01, 0x00]
    );
    // every other value is illegal (03) and does not affect the output
    assert_eq!(wire.ask(17, &[0x05, 0x00, 0xAC, 0x00, 0x01]), [0x85, 0x03]);
}

#[test]
fn write_single_register_6_6() {
    let mut wire = wire();
    let request = [0x06, 0x00, 0x01, 0x00, 0x03];
    assert_eq!(wire.ask(17, &request), request);
    assert_eq!(
        wire.ask(17, &[0x03, 0x00, 0x01, 0x00, 0x01]),
        [0x03, 0x02, 0x00, 0x03]
    );
}

#[test]
fn write_multiple_coils_6_11() {
    let mut wire = wire();
    // coils 20 to 29: start 0x0013, quantity 10, 2 bytes: CD 01
    let answer = wire.ask(17, &[0x0F, 0x00, 0x13, 0x00, 0x0A, 0x02, 0xCD, 0x01]);
    assert_eq!(answer, [0x0F, 0x00, 0x13, 0x00, 0x0A]);
    let writes = wire.devices.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(
        (writes[0].unit, writes[0].function, writes[0].table),
        (17, 0x0F, Kind::Coil)
    );
    assert_eq!(writes[0].values, [1, 0, 1, 1, 0, 0, 1, 1, 1, 0]);
}

#[test]
fn write_multiple_registers_6_12() {
    let mut wire = wire();
    // registers 2 and 3: start 1, quantity 2, 4 bytes: 000A 0102
    let answer = wire.ask(
        17,
        &[0x10, 0x00, 0x01, 0x00, 0x02, 0x04, 0x00, 0x0A, 0x01, 0x02],
    );
    assert_eq!(answer, [0x10, 0x00, 0x01, 0x00, 0x02]);
    assert_eq!(
        wire.ask(17, &[0x03, 0x00, 0x01, 0x00, 0x02]),
        [0x03, 0x04, 0x00, 0x0A, 0x01, 0x02]
    );
}

#[test]
fn mask_write_register_6_16() {
    let mut wire = wire();
    // register 5 holds 0x12; (0x12 and 0xF2) or (0x25 and not 0xF2) = 0x17
    let request = [0x16, 0x00, 0x04, 0x00, 0xF2, 0x00, 0x25];
    assert_eq!(wire.ask(17, &request), request);
    assert_eq!(
        wire.ask(17, &[0x03, 0x00, 0x04, 0x00, 0x01]),
        [0x03, 0x02, 0x00, 0x17]
    );
}

#[test]
fn read_write_multiple_registers_6_17() {
    let mut wire = wire();
    // read 6 from register 4, write 3 to register 15
    let answer = wire.ask(
        17,
        &[
            0x17, 0x00, 0x03, 0x00, 0x06, 0x00, 0x0E, 0x00, 0x03, 0x06, 0x00, 0xFF, 0x00, 0xFF,
            0x00, 0xFF,
        ],
    );
    assert_eq!(
        answer,
        [
            0x17, 0x0C, 0, 0xFE, 0, 0x12, 0, 0x01, 0, 0x03, 0, 0x0D, 0, 0xFF
        ]
    );
    assert_eq!(wire.devices.writes()[0].values, [0xFF, 0xFF, 0xFF]);
}

#[test]
fn read_device_identification_6_21() {
    let mut wire = wire();
    // the stream of the basic objects, from the product code (1) on
    let answer = wire.ask(17, &[0x2B, 0x0E, 0x01, 0x01]);
    // conformity 81, nothing follows, next 0, 2 objects
    assert_eq!(answer[..7], [0x2B, 0x0E, 0x01, 0x81, 0x00, 0x00, 0x02]);
    // object 1, 7 characters
    assert_eq!(answer[7..16], [&[0x01, 0x07][..], b"example"].concat());
    // one object that does not exist
    assert_eq!(wire.ask(17, &[0x2B, 0x0E, 0x04, 0x09]), [0xAB, 0x02]);
}

#[test]
fn limits_of_section_6_are_exception_3() {
    let mut wire = wire();
    for (function, most) in [(0x01, 2000u16), (0x02, 2000), (0x03, 125), (0x04, 125)] {
        for count in [0, most + 1, 0xFFFF] {
            let [high, low] = count.to_be_bytes();
            let answer = wire.ask(17, &[function, 0, 0, high, low]);
            assert_eq!(
                answer,
                [function | 0x80, 0x03],
                "{count} by function {function}"
            );
        }
    }
    // 1968 coils are 246 bytes: allowed, though this unit has too few (02); 1969 are not.
    let coils = |count: u16| {
        let [high, low] = count.to_be_bytes();
        let size = count.div_ceil(8);
        [
            &[0x0F, 0, 0, high, low, size as u8][..],
            &vec![0; usize::from(size)],
        ]
        .concat()
    };
    assert_eq!(wire.ask(17, &coils(1968)), [0x8F, 0x02]);
    assert_eq!(wire.ask(17, &coils(1969)), [0x8F, 0x03]);
    // 123 registers are 246 bytes.
    let registers = |count: u8| {
        [
            &[0x10, 0, 0, 0, count, count * 2][..],
            &vec![0; usize::from(count) * 2],
        ]
        .concat()
    };
    assert_eq!(wire.ask(17, &registers(123)), [0x90, 0x02]);
    // 124 with all their bytes do not even fit into a protocol data unit (253 bytes).
    assert_eq!(wire.ask(17, &registers(124)[..253]), [0x90, 0x03]);
    // a byte count that does not fit the quantity
    assert_eq!(wire.ask(17, &[0x10, 0, 1, 0, 2, 2, 0, 1]), [0x90, 0x03]);
}

#[test]
fn what_does_not_exist_has_its_exception() {
    let mut wire = wire();
    // functions: 08 diagnostics, 0x63
    assert_eq!(wire.ask(17, &[0x08, 0, 0, 0, 0]), [0x88, 0x01]);
    assert_eq!(wire.ask(17, &[0x63]), [0xE3, 0x01]);
    // a range that begins within the table and ends outside of it
    assert_eq!(wire.ask(17, &[0x03, 0x00, 0x1C, 0x00, 0x02]), [0x83, 0x02]);
    assert_eq!(wire.ask(17, &[0x03, 0xFF, 0xFF, 0x00, 0x02]), [0x83, 0x02]);
    assert_eq!(wire.ask(17, &[0x06, 0x40, 0x00, 0x00, 0x02]), [0x86, 0x02]);
    // a unit: gateway target device failed to respond (section 7)
    assert_eq!(wire.ask(18, &[0x03, 0x00, 0x00, 0x00, 0x01]), [0x83, 0x0B]);
    assert!(wire.devices.writes().is_empty());
    // 255 and 0 mean the device itself where there is only one
    assert_eq!(
        wire.ask(255, &[0x04, 0x00, 0x08, 0x00, 0x01]),
        [0x04, 0x02, 0x00, 0x0A]
    );
}

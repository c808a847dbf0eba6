//! Carries out one request: protocol data unit in, protocol data unit out.
//!
//! Sections are those of the Modbus Application Protocol Specification V1.1b3.
//! The checks go in its order (figures of section 6): function known (01),
//! quantity in its limits (03), addresses exist (02).

use crate::table::{Kind, Refusal};
use crate::unit::{Devices, Unit};

/// Exception codes (section 7).
pub(crate) const ILLEGAL_FUNCTION: u8 = 0x01;
pub(crate) const ILLEGAL_ADDRESS: u8 = 0x02;
pub(crate) const ILLEGAL_VALUE: u8 = 0x03;
/// Gateway target device failed to respond: the unit does not exist.
pub(crate) const NO_TARGET: u8 = 0x0B;

/// The largest quantities (sections 6.1 to 6.4, 6.11, 6.12, 6.17).
const READ_BITS: u16 = 2_000;
const READ_REGISTERS: u16 = 125;
const WRITE_BITS: u16 = 1_968;
const WRITE_REGISTERS: u16 = 123;
const READ_WRITE_WRITES: u16 = 121;

type Answer = Result<(), u8>;

/// Carries out a request of one unit and appends the answer.
pub(crate) fn answer(devices: &Devices, unit: &mut Unit, request: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let Some((&function, data)) = request.split_first() else {
        return exception(0, ILLEGAL_FUNCTION, out);
    };
    unit.count(function).requests += 1;
    let answered = carry_out(devices, unit, function, data, out);
    if let Err(code) = answered {
        out.truncate(start);
        unit.count(function).exceptions += 1;
        exception(function, code, out);
    }
}

/// An exception response: the function with its highest bit set, then the code (section 7).
pub(crate) fn exception(function: u8, code: u8, out: &mut Vec<u8>) {
    out.extend([function | 0x80, code]);
}

fn carry_out(
    devices: &Devices,
    unit: &mut Unit,
    function: u8,
    data: &[u8],
    out: &mut Vec<u8>,
) -> Answer {
    match function {
        0x01 => read_bits(devices, unit, function, Kind::Coil, data, out),
        0x02 => read_bits(devices, unit, function, Kind::Discrete, data, out),
        0x03 => read_registers(devices, unit, function, Kind::Holding, data, out),
        0x04 => read_registers(devices, unit, function, Kind::Input, data, out),
        0x05 => write_coil(devices, unit, data, out),
        0x06 => write_register(devices, unit, data, out),
        0x0F => write_coils(devices, unit, data, out),
        0x10 => write_registers(devices, unit, data, out),
        0x16 => mask_register(devices, unit, data, out),
        0x17 => read_write_registers(devices, unit, data, out),
        0x2B => identify(unit, data, out),
        _ => Err(ILLEGAL_FUNCTION),
    }
}

fn word(data: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([data[at], data[at + 1]])
}

/// The four bytes that most requests begin with, and nothing more.
fn two_words(data: &[u8]) -> Result<(u16, u16), u8> {
    match data {
        [_, _, _, _] => Ok((word(data, 0), word(data, 2))),
        _ => Err(ILLEGAL_VALUE),
    }
}

fn within(count: u16, most: u16) -> Answer {
    if (1..=most).contains(&count) {
        Ok(())
    } else {
        Err(ILLEGAL_VALUE)
    }
}

fn code(refusal: Refusal) -> u8 {
    match refusal {
        Refusal::Address => ILLEGAL_ADDRESS,
        Refusal::Value => ILLEGAL_VALUE,
    }
}

/// Sections 6.1 and 6.2: bits packed into bytes, the first in the lowest bit.
fn read_bits(
    devices: &Devices,
    unit: &mut Unit,
    function: u8,
    kind: Kind,
    data: &[u8],
    out: &mut Vec<u8>,
) -> Answer {
    let (address, count) = two_words(data)?;
    unit.remember(function, address, count);
    within(count, READ_BITS)?;
    let bits = unit
        .table(kind)
        .read(address, usize::from(count), &devices.world)
        .ok_or(ILLEGAL_ADDRESS)?;
    // 2000 bits are 250 bytes at most.
    out.extend([function, bits.len().div_ceil(8) as u8]);
    for eight in bits.chunks(8) {
        out.push(
            eight
                .iter()
                .rev()
                .fold(0, |byte, bit| byte << 1 | u8::from(*bit != 0)),
        );
    }
    unit.count(function).items += u64::from(count);
    Ok(())
}

/// Sections 6.3 and 6.4: registers, most significant byte first.
fn read_registers(
    devices: &Devices,
    unit: &mut Unit,
    function: u8,
    kind: Kind,
    data: &[u8],
    out: &mut Vec<u8>,
) -> Answer {
    let (address, count) = two_words(data)?;
    unit.remember(function, address, count);
    within(count, READ_REGISTERS)?;
    append_registers(devices, unit, kind, function, address, count, out)?;
    unit.count(function).items += u64::from(count);
    Ok(())
}

fn append_registers(
    devices: &Devices,
    unit: &mut Unit,
    kind: Kind,
    function: u8,
    address: u16,
    count: u16,
    out: &mut Vec<u8>,
) -> Answer {
    let words = unit
        .table(kind)
        .read(address, usize::from(count), &devices.world)
        .ok_or(ILLEGAL_ADDRESS)?;
    // 125 registers are 250 bytes at most.
    out.extend([function, (count * 2) as u8]);
    out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    Ok(())
}

/// Writes to a table, counts and records it.
fn write(
    devices: &Devices,
    unit: &mut Unit,
    function: u8,
    kind: Kind,
    address: u16,
    values: &[u16],
) -> Answer {
    // At most 1968 values.
    unit.remember(function, address, values.len() as u16);
    unit.table(kind)
        .write(address, values, &devices.world)
        .map_err(code)?;
    unit.count(function).items += values.len() as u64;
    devices.wrote(unit.id, function, kind, address, values);
    Ok(())
}

/// Section 6.5: 0xFF00 is on, 0x0000 is off, all else is illegal. The answer is the echo.
fn write_coil(devices: &Devices, unit: &mut Unit, data: &[u8], out: &mut Vec<u8>) -> Answer {
    let (address, value) = two_words(data)?;
    let value = match value {
        0x0000 => 0,
        0xFF00 => 1,
        _ => return Err(ILLEGAL_VALUE),
    };
    write(devices, unit, 0x05, Kind::Coil, address, &[value])?;
    echo(0x05, data, out)
}

/// Section 6.6. The answer is the echo.
fn write_register(devices: &Devices, unit: &mut Unit, data: &[u8], out: &mut Vec<u8>) -> Answer {
    let (address, value) = two_words(data)?;
    write(devices, unit, 0x06, Kind::Holding, address, &[value])?;
    echo(0x06, data, out)
}

fn echo(function: u8, data: &[u8], out: &mut Vec<u8>) -> Answer {
    out.push(function);
    out.extend_from_slice(data);
    Ok(())
}

/// Section 6.11. The answer is address and quantity.
fn write_coils(devices: &Devices, unit: &mut Unit, data: &[u8], out: &mut Vec<u8>) -> Answer {
    if data.len() < 5 {
        return Err(ILLEGAL_VALUE);
    }
    let (address, count, bytes) = (word(data, 0), word(data, 2), &data[5..]);
    within(count, WRITE_BITS)?;
    let size = usize::from(count).div_ceil(8);
    if usize::from(data[4]) != size || bytes.len() != size {
        return Err(ILLEGAL_VALUE);
    }
    let mut bits = [0u16; WRITE_BITS as usize];
    let bits = &mut bits[..usize::from(count)];
    for (i, bit) in bits.iter_mut().enumerate() {
        *bit = u16::from(bytes[i / 8] >> (i % 8) & 1);
    }
    write(devices, unit, 0x0F, Kind::Coil, address, bits)?;
    echo(0x0F, &data[..4], out)
}

/// The registers that follow a byte count; the count must fit.
fn registers<'a>(data: &[u8], count: u16, space: &'a mut [u16]) -> Result<&'a [u16], u8> {
    let (size, bytes) = data.split_first().ok_or(ILLEGAL_VALUE)?;
    if usize::from(*size) != usize::from(count) * 2 || bytes.len() != usize::from(count) * 2 {
        return Err(ILLEGAL_VALUE);
    }
    let words = &mut space[..usize::from(count)];
    for (word, pair) in words.iter_mut().zip(bytes.chunks_exact(2)) {
        *word = u16::from_be_bytes([pair[0], pair[1]]);
    }
    Ok(words)
}

/// Section 6.12. The answer is address and quantity.
fn write_registers(devices: &Devices, unit: &mut Unit, data: &[u8], out: &mut Vec<u8>) -> Answer {
    if data.len() < 5 {
        return Err(ILLEGAL_VALUE);
    }
    let (address, count) = (word(data, 0), word(data, 2));
    within(count, WRITE_REGISTERS)?;
    let mut space = [0u16; WRITE_REGISTERS as usize];
    let words = registers(&data[4..], count, &mut space)?;
    write(devices, unit, 0x10, Kind::Holding, address, words)?;
    echo(0x10, &data[..4], out)
}

/// Section 6.16: result = (present AND and-mask) OR (or-mask AND NOT and-mask).
fn mask_register(devices: &Devices, unit: &mut Unit, data: &[u8], out: &mut Vec<u8>) -> Answer {
    if data.len() != 6 {
        return Err(ILLEGAL_VALUE);
    }
    let (address, and, or) = (word(data, 0), word(data, 2), word(data, 4));
    let table = unit.table(Kind::Holding);
    let present = table
        .read(address, 1, &devices.world)
        .ok_or(ILLEGAL_ADDRESS)?[0];
    write(
        devices,
        unit,
        0x16,
        Kind::Holding,
        address,
        &[(present & and) | (or & !and)],
    )?;
    echo(0x16, data, out)
}

/// Section 6.17: the write comes before the read.
fn read_write_registers(
    devices: &Devices,
    unit: &mut Unit,
    data: &[u8],
    out: &mut Vec<u8>,
) -> Answer {
    if data.len() < 9 {
        return Err(ILLEGAL_VALUE);
    }
    let (from, count) = (word(data, 0), word(data, 2));
    let (to, writes) = (word(data, 4), word(data, 6));
    within(count, READ_REGISTERS)?;
    within(writes, READ_WRITE_WRITES)?;
    let mut space = [0u16; READ_WRITE_WRITES as usize];
    let words = registers(&data[8..], writes, &mut space)?;
    // Nothing is written if the read cannot be answered.
    let table = unit.table(Kind::Holding);
    table
        .read(from, usize::from(count), &devices.world)
        .ok_or(ILLEGAL_ADDRESS)?;
    write(devices, unit, 0x17, Kind::Holding, to, words)?;
    append_registers(devices, unit, Kind::Holding, 0x17, from, count, out)?;
    unit.count(0x17).items += u64::from(count);
    Ok(())
}

/// Section 6.21: read device identification, the three basic objects as a
/// stream (code 1) or one by one (code 4).
fn identify(unit: &Unit, data: &[u8], out: &mut Vec<u8>) -> Answer {
    let &[mei, read, object] = data else {
        return Err(ILLEGAL_VALUE);
    };
    if mei != 0x0E {
        return Err(ILLEGAL_FUNCTION);
    }
    let name = unit.name.get(..200).unwrap_or(&unit.name);
    let objects: [&str; 3] = [
        "Longshore",
        if name.is_empty() {
            "simulated unit"
        } else {
            name
        },
        "1.0",
    ];
    let range = match (read, object) {
        // An object that does not exist begins the stream anew.
        (0x01..=0x03, first) => usize::from(if first > 2 { 0 } else { first })..3,
        (0x04, one @ 0..=2) => usize::from(one)..usize::from(one) + 1,
        (0x04, _) => return Err(ILLEGAL_ADDRESS),
        _ => return Err(ILLEGAL_VALUE),
    };
    // Conformity 0x81: basic identification, as a stream and one by one; no more follows.
    out.extend([0x2B, 0x0E, read, 0x81, 0x00, 0x00, range.len() as u8]);
    for id in range {
        out.extend([id as u8, objects[id].len() as u8]);
        out.extend_from_slice(objects[id].as_bytes());
    }
    Ok(())
}

/// Whether a request may go to all units at once: only writes (Modbus over
/// serial line V1.02, section 2.1).
pub(crate) fn may_broadcast(function: u8) -> bool {
    matches!(function, 0x05 | 0x06 | 0x0F | 0x10 | 0x16)
}

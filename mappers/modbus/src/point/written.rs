//! Where a point is, as people write it: `hr:3#CDAB`, `hr:0x3100`, `40001`, the long
//! form, KubeEdge's keys, and the block that it is written with.

use std::ops::RangeInclusive;

use longshore_sdk::{
    codec::{ByteOrder, StringOrder},
    config::Section,
};
use serde_json::Value;

use super::{REGISTERS, STRING_ORDERS, TABLES, Table};
use crate::pdu::MAX_WRITE_REGISTERS;

const ADDRESSES: RangeInclusive<i64> = 0..=65_535;

/// The parts of an address as they were written.
#[derive(Debug, Default, Clone)]
pub(super) struct Written {
    pub(super) table: Option<Table>,
    pub(super) address: Option<i64>,
    pub(super) bit: Option<i64>,
    pub(super) length: Option<i64>,
    pub(super) order: Option<ByteOrder>,
    pub(super) string: Option<StringOrder>,
}

/// `hr:36867:12`.
pub(super) fn block(section: &Section<'_>, value: &Value, base: i64) -> Option<(Table, u16, u16)> {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let written = compact(section, "writeBlock", &text, base);
    let (table, address, length) = (written.table?, written.address?, written.length);
    if written.bit.is_some() || written.order.is_some() {
        section.fault(
            "writeBlock",
            "a block is a table, its first register and its length: `hr:36867:12`",
        );
        return None;
    }
    let address = u16::try_from(address).ok()?;
    Some((table, address, length.unwrap_or(1) as u16))
}

/// The block of a point, which lies in it.
pub(super) fn within(
    section: &Section<'_>,
    (table, first, count): (Table, u16, u16),
    (own_table, own, length): (Table, u16, u16),
) -> Option<(u16, u16)> {
    let end = u32::from(first) + u32::from(count);
    let lies_in = own >= first && u32::from(own) + u32::from(length) <= end;
    let fault = |message: String| {
        section.fault("writeBlock", message);
        None
    };
    if table != Table::HoldingRegisters || own_table != table {
        return fault("only holding registers are written as a block".to_owned());
    }
    if count > MAX_WRITE_REGISTERS || end > 65_536 {
        return fault(format!(
            "{count} registers cannot be written at once, only {MAX_WRITE_REGISTERS}"
        ));
    }
    if !lies_in {
        return fault(format!(
            "{table} {own} does not lie in {first} to {}",
            end - 1
        ));
    }
    Some((first, count))
}

/// `register`, `offset`, `limit`, `isSwap`, `isRegisterSwap`.
pub(super) fn kubeedge(section: &Section<'_>) -> Written {
    let bytes = section.boolean("isSwap").unwrap_or(false);
    let words = section.boolean("isRegisterSwap").unwrap_or(false);
    let explicit = section.parse("byteOrder");
    Written {
        table: section.choice("register", REGISTERS),
        address: section.integer_in("offset", ADDRESSES).or(Some(0)),
        bit: section.integer("bit"),
        // Samples have `limit: 0` where they mean one value.
        length: section.integer("limit").filter(|limit| *limit > 0),
        order: explicit.or_else(|| (bytes || words).then(|| ByteOrder::from_swaps(bytes, words))),
        string: section.choice("stringOrder", STRING_ORDERS),
    }
}

/// The compact form, the long form, or the long form's keys in the visitor itself.
pub(super) fn ours(section: &Section<'_>, base: i64) -> Written {
    let mut written = match section.value("address") {
        Some(Value::String(text)) => compact(section, "address", text, base),
        Some(Value::Number(number)) => compact(section, "address", &number.to_string(), base),
        Some(Value::Object(_)) => {
            let Some(inner) = section.section("address") else {
                return Written::default();
            };
            let written = long(&inner, base);
            section.absorb(inner);
            written
        }
        Some(_) => {
            section.fault("address", "expected a text such as `hr:3`, or an object");
            Written::default()
        }
        None if section.has("table") => long(section, base),
        None => Written::default(),
    };
    written.order = section.parse("byteOrder").or(written.order);
    written.string = section
        .choice("stringOrder", STRING_ORDERS)
        .or(written.string);
    written
}

fn long(section: &Section<'_>, base: i64) -> Written {
    Written {
        table: section.choice("table", TABLES),
        address: section
            .integer_in("offset", base..=65_535 + base)
            .map(|offset: i64| offset - base),
        bit: section.integer("bit"),
        length: section.integer("length"),
        order: section.parse("order"),
        string: section.choice("string", STRING_ORDERS),
    }
}

/// `[table:]number[.bit][:length][#order]`.
fn compact(section: &Section<'_>, key: &'static str, text: &str, base: i64) -> Written {
    let mut written = Written::default();
    let fault = |message: String| section.fault(key, message);
    let (place, order) = match text.trim().split_once('#') {
        Some((place, order)) => (place, Some(order)),
        None => (text.trim(), None),
    };
    match order.map(str::parse::<ByteOrder>) {
        Some(Ok(order)) => written.order = Some(order),
        Some(Err(error)) => fault(error.to_string()),
        None => {}
    }
    let mut parts = place.split(':');
    let mut first = parts.next().unwrap_or_default();
    let has_table = !first.starts_with(|c: char| c.is_ascii_digit());
    if has_table {
        match Table::by_name(first) {
            Some(table) => written.table = Some(table),
            None => fault(format!("`{first}` is not a table; write hr, ir, co or di")),
        }
        first = parts.next().unwrap_or_default();
    }
    let (number, bit) = match first.split_once('.') {
        Some((number, bit)) => (number, Some(bit)),
        None => (first, None),
    };
    if let Some(bit) = bit {
        written.bit = bit.parse().ok().filter(|bit| (0..=63).contains(bit));
        if written.bit.is_none() {
            fault(format!(
                "`{bit}` is not a bit number; write 0 to 15, or up to 63 in wider integers"
            ));
        }
    }
    if let Some(length) = parts.next() {
        written.length = length
            .parse()
            .ok()
            .filter(|length| (1..=2000).contains(length));
        if written.length.is_none() {
            fault(format!("`{length}` is not a length"));
        }
    }
    if let Some(rest) = parts.next() {
        fault(format!(
            "`:{rest}` is too much; write table:number.bit:length#order"
        ));
    }
    if has_table {
        match whole(number) {
            Some(number) if (base..=65_535 + base).contains(&number) => {
                written.address = Some(number - base)
            }
            Some(number) => fault(format!("{number} is outside of {base}…{}", 65_535 + base)),
            None => fault(format!(
                "`{number}` is not a number; write for example hr:3 or hr:0x3100"
            )),
        }
    } else {
        match reference(number) {
            Some((table, address)) => {
                (written.table, written.address) = (Some(table), Some(address))
            }
            None => fault(format!(
                "`{number}` is neither a reference such as 40001 nor has it a table such as hr:3"
            )),
        }
    }
    written
}

/// Decimal, or hexadecimal as registers stand in many manuals: `0x3100`.
pub(crate) fn whole(text: &str) -> Option<i64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        // A sign would be taken for a part of the number.
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            i64::from_str_radix(digits, 16).ok()
        }
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// The classic references of five or six digits: the first one is the table,
/// the rest counts from one.
fn reference(text: &str) -> Option<(Table, i64)> {
    if !matches!(text.len(), 5 | 6) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let table = match &text[..1] {
        "0" => Table::Coils,
        "1" => Table::DiscreteInputs,
        "3" => Table::InputRegisters,
        "4" => Table::HoldingRegisters,
        _ => return None,
    };
    let number: i64 = text[1..].parse().ok()?;
    (1..=65_536)
        .contains(&number)
        .then_some((table, number - 1))
}

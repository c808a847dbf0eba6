//! One comparison each: what a test says, and what is so.

use std::collections::BTreeMap;

use longshore_types::device::WriteState;
use serde_json::Value as Json;

use super::{
    report::{Row, agree, text},
    spec::Table,
};

pub(super) fn compare(name: &str, value: &Json, twins: &BTreeMap<String, Json>) -> Row {
    let expected = text(value);
    let twin = twins.get(name).unwrap_or(&Json::Null);
    let got = text(&twin["value"]);
    let quality = twin["quality"].as_str().unwrap_or("not reported");
    let mut remark = String::new();
    if quality != "good" {
        remark.push_str(quality);
        for more in ["reason", "lastError"] {
            if let Some(more) = twin[more].as_str().filter(|more| *more != "none") {
                remark.push_str(", ");
                remark.push_str(more);
            }
        }
    }
    let agree = quality == "good" && agree(&expected, &got);
    Row {
        name: name.to_owned(),
        expected,
        got: crate::table::or_dash(&got),
        remark,
        agree,
    }
}

pub(super) fn graded(name: &str, expected: &str, twins: &BTreeMap<String, Json>) -> Row {
    let got = twins
        .get(name)
        .and_then(|twin| twin["quality"].as_str())
        .unwrap_or("-");
    plain(format!("{name} quality"), expected, got)
}

/// Reports of a property since `before`.
pub(super) fn reported(
    name: &str,
    expected: u64,
    before: &BTreeMap<String, Json>,
    twins: &BTreeMap<String, Json>,
) -> Row {
    let version = |twins: &BTreeMap<String, Json>| {
        twins
            .get(name)
            .and_then(|twin| twin["version"].as_u64())
            .unwrap_or_default()
    };
    let got = version(twins).wrapping_sub(version(before));
    plain(
        format!("{name} reports"),
        &expected.to_string(),
        &got.to_string(),
    )
}

pub(super) fn raised(name: &str, expected: bool, events: &Json) -> Row {
    let active = events
        .as_array()
        .into_iter()
        .flatten()
        .any(|event| event["name"] == name && event["active"].as_bool().unwrap_or(true));
    let word = |active: bool| if active { "active" } else { "clear" };
    plain(format!("event {name}"), word(expected), word(active))
}

/// What stands in the simulator's state.
pub(super) fn held(pointer: &str, expected: &Json, state: &Json) -> Row {
    let got = state.pointer(pointer).map(text).unwrap_or_default();
    let expected = text(expected);
    Row {
        name: format!("  {pointer}"),
        agree: agree(&expected, &got),
        got: crate::table::or_dash(&got),
        expected,
        remark: String::new(),
    }
}

fn plain(name: String, expected: &str, got: &str) -> Row {
    Row {
        name,
        expected: expected.to_owned(),
        got: got.to_owned(),
        remark: String::new(),
        agree: expected == got,
    }
}

pub(super) fn confirmed(name: &str, expected: &str, twins: &BTreeMap<String, Json>) -> Row {
    let twin = twins.get(name).unwrap_or(&Json::Null);
    let write = &twin["write"];
    let state = write["state"].as_str().unwrap_or("not written");
    let got = text(&twin["value"]);
    let done = state == WriteState::Confirmed.as_str();
    let remark = match (done, write["message"].as_str()) {
        (true, _) => String::new(),
        (false, Some(message)) if !message.is_empty() => format!("{state}, {message}"),
        (false, _) => state.to_owned(),
    };
    let agree = done && agree(expected, &got);
    Row {
        name: format!("{name} := {expected}"),
        expected: expected.to_owned(),
        got: crate::table::or_dash(&got),
        remark,
        agree,
    }
}

/// The last word that was written to a register.
pub(super) fn written(table: Table, address: u16, word: u16, unit: u8, writes: &Json) -> Row {
    let covers = |write: &&Json| {
        let first = write["address"].as_u64().unwrap_or(u64::MAX);
        let count = write["values"].as_array().map_or(0, Vec::len) as u64;
        let named = write["table"]
            .as_str()
            .is_some_and(|found| found == table.name().trim_end_matches('s'));
        named && write["unit"] == unit && (first..first + count).contains(&u64::from(address))
    };
    let last = writes
        .as_array()
        .and_then(|writes| writes.iter().rev().find(covers));
    let got = last.and_then(|write| {
        let offset = u64::from(address) - write["address"].as_u64()?;
        write["values"].get(offset as usize)?.as_u64()
    });
    Row {
        name: format!("  {}:{address}", table.short()),
        expected: format!("{word:#06x}"),
        got: got.map_or_else(|| "-".to_owned(), |got| format!("{got:#06x}")),
        remark: if got.is_none() {
            "not written".to_owned()
        } else {
            String::new()
        },
        agree: got == Some(u64::from(word)),
    }
}

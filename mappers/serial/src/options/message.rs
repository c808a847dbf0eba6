//! Where messages begin and end, and their checksum.

use longshore_sdk::config::Section;
use serde_json::Value;

use super::{FORMATS, ORDERS, PLACES, Parameters, hex};
use crate::{
    checksum::{self, Checksum, Format},
    framer::{Block, Framing, Length, MAX_FRAME},
    handshake::Handshake,
    keys::STUFFINGS,
    known, point,
    stuffing::{Stuffing, Way},
};

pub(super) fn framing(section: &Section<'_>) -> Framing {
    let lines = Framing::Line {
        delimiter: b"\n".to_vec(),
        start: Vec::new(),
    };
    match section.value("framing") {
        None => lines,
        Some(Value::String(word)) if word == "line" => lines,
        Some(Value::Object(_)) => {
            let Some(inner) = section.section("framing") else {
                return lines;
            };
            let framing = match (inner.section("line"), inner.section("frame")) {
                (Some(line), None) => {
                    let framing = line_framing(&line);
                    inner.absorb(line);
                    framing
                }
                (None, Some(frame)) => {
                    let framing = block_framing(&frame);
                    inner.absorb(frame);
                    framing
                }
                _ => {
                    if inner.is_sound() {
                        inner.fault("line", "expected `line` or `frame`, one of the two");
                    }
                    lines
                }
            };
            section.absorb(inner);
            framing
        }
        Some(_) => {
            section.fault("framing", "expected `line`, `{line: …}` or `{frame: …}`");
            lines
        }
    }
}

fn line_framing(line: &Section<'_>) -> Framing {
    let delimiter = line.text("delimiter").unwrap_or("\n");
    if delimiter.is_empty() || delimiter.len() > 16 {
        line.fault("delimiter", "expected 1 to 16 characters that end a line");
    }
    Framing::Line {
        delimiter: if delimiter.is_empty() {
            b"\n".to_vec()
        } else {
            delimiter.into()
        },
        start: line.text("start").unwrap_or_default().into(),
    }
}

fn block_framing(frame: &Section<'_>) -> Framing {
    let mark = |key| {
        let bytes = frame.text(key).map(hex);
        match bytes {
            Some(None) => {
                frame.fault(key, "expected bytes as hexadecimal digits, like \"02\"");
                Vec::new()
            }
            bytes => bytes.flatten().unwrap_or_default(),
        }
    };
    let (start, end) = (mark("start"), mark("end"));
    let length = frame.section("length").and_then(|length| {
        let size = length.integer_or_default("size");
        if size == 3 {
            length.fault("size", "a length has 1, 2 or 4 bytes");
        }
        let parsed = length.integer("offset").map(|offset| Length {
            offset,
            size,
            little: length.choice_or_default("order", ORDERS),
            adds: length.integer_or_default("adds"),
        });
        frame.absorb(length);
        parsed
    });
    let fixed: Option<usize> = frame.integer("fixed");
    let idle = frame.duration("idle");
    let stuffing = stuffing(frame);
    if stuffing.is_some() && (end.is_empty() || length.is_some() || fixed.is_some()) {
        frame.fault(
            "stuffing",
            "goes with a block between a `start` and an `end` mark; a length or a fixed size counts other bytes",
        );
    }
    let marks = start.len() + end.len();
    if fixed.is_some_and(|fixed| fixed < marks) {
        frame.fault("fixed", "shorter than its start and end marks");
    }
    if end.is_empty() && length.is_none() && fixed.is_none() && idle.is_none() && frame.is_sound() {
        frame.fault(
            "end",
            "nothing tells where a frame ends; write one of `end`, `length`, `fixed` or `idle`",
        );
    }
    Framing::Frame(Block {
        start,
        end,
        length,
        fixed,
        idle,
        stuffing,
    })
}

/// What is said between a request and its answer.
pub(super) fn handshake(section: &Section<'_>, parameters: &Parameters) -> Option<Handshake> {
    let inner = section.section("handshake")?;
    let response = match inner
        .text("response")
        .map(|text| known::pattern(text, parameters))
    {
        Some(Ok(pattern)) => Some(pattern),
        Some(Err(error)) => {
            inner.fault("response", error.to_string());
            None
        }
        None => None,
    };
    let confirm = point::template(&inner, "confirm");
    let speed = |(word, baud): (&String, &Value)| {
        let baud = baud.as_u64().and_then(|baud| u32::try_from(baud).ok());
        baud.filter(|baud| *baud > 0)
            .map(|baud| (word.clone(), baud))
    };
    let speeds = match inner.value("speeds") {
        None => Some(Vec::new()),
        Some(map) => map
            .as_object()
            .and_then(|map| map.iter().map(speed).collect()),
    };
    if speeds.is_none() {
        inner.fault(
            "speeds",
            "expected words with bits per second, like `{\"5\": 9600}`",
        );
    }
    let pause = inner.duration_or_default("pause");
    section.absorb(inner);
    Some(Handshake {
        response: response?,
        confirm,
        speeds: speeds?,
        pause,
    })
}

/// A word, or an object for a kind that has none.
fn stuffing(frame: &Section<'_>) -> Option<Stuffing> {
    match frame.value("stuffing")? {
        Value::String(word) => {
            let known = Stuffing::named(word);
            if known.is_none() {
                frame.fault(
                    "stuffing",
                    format!(
                        "`{word}` is none of {}; or write `{{escape: …}}`",
                        STUFFINGS.join(", ")
                    ),
                );
            }
            known
        }
        Value::Object(_) => {
            let inner = frame.section("stuffing")?;
            let stuffing = own_stuffing(&inner);
            frame.absorb(inner);
            stuffing
        }
        _ => {
            frame.fault(
                "stuffing",
                "expected a word such as `slip`, or `{escape: …}`",
            );
            None
        }
    }
}

fn own_stuffing(inner: &Section<'_>) -> Option<Stuffing> {
    let bytes = |key| {
        let written = inner.label(key)?;
        let bytes = hex(&written);
        if bytes.is_none() {
            inner.fault(key, "expected hexadecimal digits in quotes, like \"7D\"");
        }
        bytes
    };
    let one = |key| match bytes(key).as_deref() {
        Some([byte]) => Some(*byte),
        Some(_) => {
            inner.fault(key, "expected one byte as two hexadecimal digits in quotes");
            None
        }
        None => None,
    };
    let (escape, mask, also) = (one("escape"), one("xor"), bytes("also"));
    let double = inner.boolean_or_default("double");
    let map = inner.value("map").map(|map| pairs(inner, map));
    let way = match (mask, map, double) {
        (Some(mask), None, false) => Some(Way::Xor(mask)),
        (None, Some(pairs), false) => pairs.map(Way::Map),
        (None, None, true) => Some(Way::Double),
        _ => {
            if inner.is_sound() {
                inner.fault("xor", "expected one of `xor`, `map` or `double: true`");
            }
            None
        }
    };
    Some(Stuffing {
        escape: escape?,
        way: way?,
        also: also.unwrap_or_default(),
    })
}

/// Bytes and what is sent for each behind the escape byte.
fn pairs(inner: &Section<'_>, map: &Value) -> Option<Vec<(u8, u8)>> {
    let byte = |text: &str| match hex(text).as_deref() {
        Some([byte]) => Some(*byte),
        _ => None,
    };
    let pair = |(of, sent): (&String, &Value)| {
        let sent = match sent {
            Value::String(text) => text.clone(),
            // YAML makes a number of 21.
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some((byte(of)?, byte(&sent)?))
    };
    let pairs = map
        .as_object()
        .and_then(|map| map.iter().map(pair).collect());
    if pairs.is_none() {
        inner.fault(
            "map",
            "expected bytes with what is sent for them, like `{\"C0\": \"DC\"}`",
        );
    }
    pairs
}

pub(super) fn checksum(section: &Section<'_>, framing: &Framing) -> Option<Checksum> {
    let inner = section.section("checksum")?;
    let kind = inner.choice("kind", checksum::KINDS);
    let is_line = matches!(framing, Framing::Line { .. });
    let format = inner.choice("format", FORMATS);
    let place = inner.choice_or_default("at", PLACES);
    let (from, to) = match inner.value("over") {
        None => (0, 0),
        Some(value) => {
            let pair = value.as_array().and_then(|list| match &list[..] {
                [from, to] => {
                    let from = usize::try_from(from.as_i64()?).ok()?;
                    let to = i32::try_from(to.as_i64()?).ok()?;
                    (from <= MAX_FRAME).then_some((from, to))
                }
                _ => None,
            });
            if pair.is_none() {
                inner.fault(
                    "over",
                    "expected `[from, to]`: the first byte that is covered, and where it ends (above 0 from the start, else from the checksum back)",
                );
            }
            pair.unwrap_or_default()
        }
    };
    section.absorb(inner);
    Some(Checksum {
        kind: kind?,
        format: format.unwrap_or(if is_line {
            Format::Hex
        } else {
            Format::BinaryBig
        }),
        place,
        from,
        to,
    })
}

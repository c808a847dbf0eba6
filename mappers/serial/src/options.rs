//! The keys of a device: port, settings, framing, checksum, timing.

use std::{collections::BTreeMap, time::Duration};

use longshore_sdk::{SampleValue, config::Section};
use serde_json::Value;

use crate::{
    bus::{Bus, Flow, Link, Parity, Port, Settings},
    checksum::{self, Checksum, Format, Place},
    framer::{Block, Framing, Length, MAX_FRAME},
    pattern::Pattern,
    ports::UsbId,
};

/// An instrument that measures before it answers takes a few hundred milliseconds.
const TIMEOUT: Duration = Duration::from_secs(1);
/// A receiver that talks once a second has missed its turn ten times.
const SILENT_AFTER: Duration = Duration::from_secs(10);
/// Longer than this nobody waits for a serial line.
const LONGEST: Duration = Duration::from_secs(600);

pub(crate) const PARITIES: &[(&str, Parity)] = &[
    ("none", Parity::None),
    ("even", Parity::Even),
    ("odd", Parity::Odd),
    ("n", Parity::None),
    ("e", Parity::Even),
    ("o", Parity::Odd),
];
pub(crate) const FLOWS: &[(&str, Flow)] = &[
    ("none", Flow::None),
    ("software", Flow::Software),
    ("hardware", Flow::Hardware),
];
pub(crate) const FORMATS: &[(&str, Format)] = &[
    ("binary-le", Format::BinaryLittle),
    ("binary-be", Format::BinaryBig),
    ("hex", Format::Hex),
];
pub(crate) const PLACES: &[(&str, Place)] =
    &[("end", Place::End), ("before-end", Place::BeforeEnd)];
pub(crate) const ORDERS: &[(&str, bool)] = &[
    ("ABCD", false),
    ("DCBA", true),
    ("big", false),
    ("little", true),
];

/// The values that templates may name, beside `value`.
pub(crate) type Parameters = BTreeMap<String, SampleValue>;

/// Milliseconds, or a text like `500ms`, `5s`, `1m30s`.
pub(crate) fn duration(section: &Section<'_>, key: &'static str) -> Option<Duration> {
    let value = section.value(key)?;
    let parsed = match value {
        Value::Number(number) => number.as_u64().map(Duration::from_millis),
        Value::String(text) => parse_duration(text.trim()),
        _ => None,
    };
    match parsed {
        Some(duration) if duration <= LONGEST => Some(duration),
        Some(_) => {
            section.fault(key, "more than ten minutes");
            None
        }
        None => {
            section.fault(
                key,
                format!("{value} is no duration; write milliseconds or a text like `500ms`, `5s` or `1m30s`"),
            );
            None
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    if let Ok(number) = text.parse() {
        return Some(Duration::from_millis(number));
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic());
        let (unit, after) = rest.split_at(letters.unwrap_or(rest.len()));
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        sum += Duration::try_from_secs_f64(number * seconds).ok()?;
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}

/// The port and its settings.
pub(crate) fn bus(section: &Section<'_>) -> Option<Bus> {
    let settings = settings(section);
    let usb = usb(section);
    let written = ["url", "port"].map(|key| section.text(key).map(|text| (key, text)));
    let port = match (written, section.has("usb")) {
        ([Some(_), Some(_)], _) => {
            section.fault("port", "`url` names a port already; keep one of the two");
            None
        }
        ([Some((key, _)), _] | [_, Some((key, _))], true) => {
            section.fault(
                "usb",
                format!("`{key}` names a port already; keep one of the two"),
            );
            None
        }
        ([Some((key, text)), _] | [_, Some((key, text))], false) => port(section, key, text),
        ([None, None], true) => usb.map(Port::Usb),
        ([None, None], false) if section.has("url") || section.has("port") => None,
        ([None, None], false) => {
            section.fault(
                "url",
                "no port: write for example `/dev/serial/by-id/usb-…`, `tcp://192.0.2.7:4001`, or name the adapter under `usb`",
            );
            None
        }
    }?;
    let settings = match port {
        // The serial server has settings of its own.
        Port::Tcp { .. } => Settings {
            pause_after_connect: settings.pause_after_connect,
            ..Settings::default()
        },
        _ => settings,
    };
    Some(Bus { port, settings })
}

fn port(section: &Section<'_>, key: &str, url: &str) -> Option<Port> {
    let url = url.trim();
    if let Some(address) = url.strip_prefix("tcp://") {
        let parts = address.trim_end_matches('/').rsplit_once(':');
        let parsed = parts.and_then(|(host, port)| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let port = port.parse().ok().filter(|port| *port != 0)?;
            (!host.is_empty()).then(|| Port::Tcp {
                host: host.to_owned(),
                port,
            })
        });
        if parsed.is_none() {
            section.fault(
                key,
                format!("`{url}` is no address; write `tcp://host:port`"),
            );
        }
        return parsed;
    }
    let path = url.strip_prefix("serial://").unwrap_or(url);
    if path.starts_with('/') {
        return Some(Port::Path(path.to_owned()));
    }
    section.fault(
        key,
        format!("`{url}` is no port; write `/dev/…` or `tcp://host:port`"),
    );
    None
}

fn settings(section: &Section<'_>) -> Settings {
    let defaults = Settings::default();
    let number = |key, range, default| section.integer(key, range).map_or(default, |n| n as u32);
    Settings {
        baud: number("baudRate", 50..=12_000_000, defaults.baud),
        data_bits: number("dataBits", 5..=8, u32::from(defaults.data_bits)) as u8,
        parity: section
            .choice("parity", PARITIES)
            .unwrap_or(defaults.parity),
        stop_bits: number("stopBits", 1..=2, u32::from(defaults.stop_bits)) as u8,
        flow: section
            .choice("flowControl", FLOWS)
            .unwrap_or(defaults.flow),
        pause_after_connect: duration(section, "pauseAfterConnect").unwrap_or_default(),
    }
}

fn usb(section: &Section<'_>) -> Option<UsbId> {
    let usb = section.section("usb")?;
    let id = |key| {
        let value = usb.value(key);
        // YAML makes a number of 6001 and of 0403.
        let text = match value {
            Some(Value::Number(number)) => format!("{number:0>4}", number = number.to_string()),
            Some(Value::String(text)) => text.trim().trim_start_matches("0x").to_lowercase(),
            _ => String::new(),
        };
        let sound = text.len() == 4 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !sound {
            usb.fault(
                key,
                "expected four hexadecimal digits in quotes, like \"0403\"",
            );
        }
        sound.then_some(text)
    };
    let (vendor, product) = (id("vendor"), id("product"));
    let serial = match usb.value("serial") {
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => usb.text("serial").map(str::to_owned),
    };
    let interface = usb.integer("interface", 0..=255).map(|number| number as u8);
    let sound = usb.is_sound();
    section.absorb(usb);
    let id = UsbId {
        vendor: vendor?,
        product: product?,
        serial,
        interface,
    };
    sound.then_some(id)
}

/// How to talk to the device.
pub(crate) fn link(section: &Section<'_>) -> Link {
    let framing = framing(section);
    let checksum = checksum(section, &framing);
    let turnaround = section.section("rs485").and_then(|rs485| {
        let turnaround = duration(&rs485, "turnaround");
        section.absorb(rs485);
        turnaround
    });
    let gap = duration(section, "interRequestGap").unwrap_or_default();
    let timeout = duration(section, "timeout").unwrap_or(TIMEOUT);
    if timeout.is_zero() {
        section.fault("timeout", "0 leaves no time for an answer");
    }
    let mut reserved = section.text("reserved").unwrap_or_default().to_owned();
    // What ends a message must not come in by a value.
    let marks: Vec<u8> = match &framing {
        Framing::Line { delimiter, start } => delimiter.iter().chain(start).copied().collect(),
        Framing::Frame(block) => block.start.iter().chain(&block.end).copied().collect(),
    };
    reserved.extend(
        marks
            .into_iter()
            .filter(u8::is_ascii_punctuation)
            .map(char::from),
    );
    Link {
        framing,
        checksum,
        timeout,
        gap: gap.max(turnaround.unwrap_or_default()),
        stream: section.boolean("stream").unwrap_or(false),
        silent_after: duration(section, "silentAfter")
            .filter(|silence| !silence.is_zero())
            .unwrap_or(SILENT_AFTER),
        refused: refused(section),
        echo: section.boolean("echo").unwrap_or(false),
        reserved,
    }
}

/// One pattern or a list of them.
fn refused(section: &Section<'_>) -> Vec<Pattern> {
    let texts: Vec<&Value> = match section.value("refused") {
        None => Vec::new(),
        Some(Value::Array(list)) => list.iter().collect(),
        Some(other) => vec![other],
    };
    let mut patterns = Vec::new();
    for text in texts {
        match text.as_str().map(Pattern::parse) {
            Some(Ok(pattern)) => patterns.push(pattern),
            Some(Err(error)) => section.fault("refused", error.to_string()),
            None => section.fault("refused", "expected a pattern or a list of patterns"),
        }
    }
    patterns
}

fn framing(section: &Section<'_>) -> Framing {
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
        let size = length.integer("size", 1..=4).unwrap_or(1) as usize;
        if size == 3 {
            length.fault("size", "a length has 1, 2 or 4 bytes");
        }
        let parsed = length.integer("offset", 0..=255).map(|offset| Length {
            offset: offset as usize,
            size,
            little: length.choice("order", ORDERS).unwrap_or(false),
            adds: length.integer("adds", -4096..=4096).unwrap_or(0) as i32,
        });
        if parsed.is_none() && length.is_sound() {
            length.fault(
                "offset",
                "no offset: say which byte of the frame holds its length",
            );
        }
        frame.absorb(length);
        parsed
    });
    let fixed = frame.integer("fixed", 1..=MAX_FRAME as i64);
    let idle = duration(frame, "idle");
    let fixed = fixed.map(|fixed| fixed as usize);
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
    })
}

fn checksum(section: &Section<'_>, framing: &Framing) -> Option<Checksum> {
    let inner = section.section("checksum")?;
    let kind = inner.choice("kind", checksum::KINDS);
    if kind.is_none() && !inner.has("kind") {
        inner.fault("kind", "no kind: write for example `xor` or `crc16-modbus`");
    }
    let is_line = matches!(framing, Framing::Line { .. });
    let format = inner.choice("format", FORMATS);
    let place = inner.choice("at", PLACES).unwrap_or(Place::End);
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

/// `parameters` of a device or property, over those that stand already.
pub(crate) fn parameters(section: &Section<'_>, mut base: Parameters) -> Parameters {
    let map = match section.value("parameters") {
        None => return base,
        Some(Value::Object(map)) => map,
        Some(_) => {
            section.fault(
                "parameters",
                "expected names with their values, like `{channel: 2}`",
            );
            return base;
        }
    };
    for (name, value) in map {
        if ["true", "false", "null"].contains(&name.as_str()) {
            let shown = "`y`, `n`, `yes`, `no`, `on`, `off` and `~`";
            section.warn(
                "parameters",
                format!(
                    "a parameter is named `{name}`: some readers of YAML take {shown} for that word; if one of these is meant, quote it"
                ),
            );
        }
        let value = match value {
            Value::Bool(truth) => Some(SampleValue::Bool(*truth)),
            Value::Number(number) => number
                .as_i64()
                .map(SampleValue::Int)
                .or_else(|| number.as_f64().map(SampleValue::Float)),
            Value::String(text) => Some(SampleValue::String(text.clone())),
            _ => None,
        };
        match value {
            Some(value) if name != "value" => {
                base.insert(name.clone(), value);
            }
            Some(_) => section.fault(
                "parameters",
                "`value` is what is written; choose another name",
            ),
            None => section.fault(
                "parameters",
                format!("`{name}`: expected a text or a number"),
            ),
        }
    }
    base
}

/// Bytes written as hexadecimal digits, with or without blanks.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks_exact(2).map(pair).collect()
}

//! The keys of a device: port, settings, framing, checksum, timing.

mod message;

use std::{collections::BTreeMap, time::Duration};

use longshore_sdk::{SampleValue, config::Section};
use serde_json::Value;

use crate::{
    bus::{Bus, Flow, Link, Parity, Port, Settings},
    checksum::{Format, Place},
    framer::Framing,
    keys::FOUR_DIGITS,
    known,
    pattern::Pattern,
    ports::UsbId,
};

/// An instrument that measures before it answers takes a few hundred milliseconds.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);
/// A receiver that talks once a second has missed its turn ten times.
pub(crate) const SILENT_AFTER: Duration = Duration::from_secs(10);
/// Longer than this nobody waits for a serial line.
pub(crate) const LONGEST: Duration = Duration::from_secs(600);

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
            ..Settings::DEFAULT
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
    let mut characters = (
        section.integer_or_default("dataBits"),
        section.choice_or_default("parity", PARITIES),
        section.integer_or_default("stopBits"),
    );
    if let Some(value) = section.value("characters") {
        match short(value) {
            Some(short) => {
                for key in ["dataBits", "parity", "stopBits"] {
                    if section.has(key) {
                        section.fault(key, "`characters` says it already; keep one of the two");
                    }
                }
                characters = short;
            }
            None => section.fault(
                "characters",
                "expected data bits, parity and stop bits, like `8N1`, `7E1` or `8O2`",
            ),
        }
    }
    let (data_bits, parity, stop_bits) = characters;
    Settings {
        baud: section.integer_or_default("baudRate"),
        data_bits,
        parity,
        stop_bits,
        flow: section.choice_or_default("flowControl", FLOWS),
        pause_after_connect: section.duration_or_default("pauseAfterConnect"),
    }
}

/// `7E1`, also as the number 70 that YAML makes of it.
fn short(value: &Value) -> Option<(u8, Parity, u8)> {
    let text = match value {
        Value::String(text) => text.trim().to_ascii_uppercase(),
        Value::Number(number) => {
            let mut digits = number.as_f64()?;
            let mut stop = 0;
            while digits >= 10.0 {
                digits /= 10.0;
                stop += 1;
            }
            format!("{digits}E{stop}")
        }
        _ => return None,
    };
    let [data @ b'5'..=b'8', parity, stop @ b'1'..=b'2'] = text.as_bytes() else {
        return None;
    };
    let parity = match parity {
        b'N' => Parity::None,
        b'E' => Parity::Even,
        b'O' => Parity::Odd,
        _ => return None,
    };
    Some((data - b'0', parity, stop - b'0'))
}

fn usb(section: &Section<'_>) -> Option<UsbId> {
    let usb = section.section("usb")?;
    let id = |key| {
        let text = usb.label(key)?;
        let text = match usb.value(key) {
            // YAML makes a number of 6001 and of 0403.
            Some(Value::Number(_)) => format!("{text:0>4}"),
            _ => text.trim().trim_start_matches("0x").to_lowercase(),
        };
        let sound = text.len() == 4 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !sound {
            usb.fault(key, FOUR_DIGITS);
        }
        sound.then_some(text)
    };
    let (vendor, product) = (id("vendor"), id("product"));
    let serial = usb.label("serial");
    let interface = usb.integer("interface");
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
pub(crate) fn link(section: &Section<'_>, parameters: &Parameters) -> Link {
    let framing = message::framing(section);
    let checksum = message::checksum(section, &framing);
    let turnaround = section.section("rs485").map(|rs485| {
        let turnaround = rs485.duration_or_default("turnaround");
        section.absorb(rs485);
        turnaround
    });
    let gap = section.duration_or_default("interRequestGap");
    let timeout = section.duration_or_default("timeout");
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
        stream: section.boolean_or_default("stream"),
        silent_after: section
            .duration("silentAfter")
            .filter(|silence| !silence.is_zero())
            .unwrap_or(SILENT_AFTER),
        refused: refused(section, parameters),
        echo: section.boolean_or_default("echo"),
        reserved,
        handshake: message::handshake(section, parameters),
    }
}

/// One pattern or a list of them.
fn refused(section: &Section<'_>, parameters: &Parameters) -> Vec<Pattern> {
    let texts: Vec<&Value> = match section.value("refused") {
        None => Vec::new(),
        Some(Value::Array(list)) => list.iter().collect(),
        Some(other) => vec![other],
    };
    let mut patterns = Vec::new();
    for text in texts {
        match text.as_str().map(|text| known::pattern(text, parameters)) {
            Some(Ok(pattern)) => patterns.push(pattern),
            Some(Err(error)) => section.fault("refused", error.to_string()),
            None => section.fault("refused", "expected a pattern or a list of patterns"),
        }
    }
    patterns
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

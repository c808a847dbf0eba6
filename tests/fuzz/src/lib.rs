//! What comes from outside, as fuzz targets.
//!
//! A target is a function over bytes: it feeds one decoder, holds what must be
//! true of whatever comes out, and must not panic, hang or take memory without
//! bound. `make fuzz` drives each by libFuzzer (`runner/`); `make test` runs the
//! seeds (`seeds/TARGET/`), which are ordinary inputs and every input that once
//! went wrong.

mod api;
mod broker;
mod edge;
mod link;
mod mappers;
mod types;

/// One decoder under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and the name of its folder of seeds.
    pub name: &'static str,
    /// What it reads.
    pub about: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
}

/// All of them, in the order of the alphabet.
pub const TARGETS: &[Target] = &[
    Target {
        name: "api-patch",
        about: "a patch of each kind to the embedded API server, and the object that it meets",
        run: api::patch,
    },
    Target {
        name: "api-request",
        about: "a request to the embedded API server: method, path, content type, body",
        run: api::request,
    },
    Target {
        name: "api-selector",
        about: "label and field selectors, and an object",
        run: api::selector,
    },
    Target {
        name: "api-yaml",
        about: "a manifest as the embedded API server reads it, written and read again",
        run: api::yaml,
    },
    Target {
        name: "bluetooth-advert",
        about: "manufacturer and service data of an advertisement, sealed ones too",
        run: mappers::advert,
    },
    Target {
        name: "bluetooth-gatt",
        about: "the value of a standard characteristic",
        run: mappers::gatt,
    },
    Target {
        name: "bus-request",
        about: "a message of a client of the bus: topic and payload",
        run: edge::bus,
    },
    Target {
        name: "edge-config",
        about: "the configuration file of edgecore",
        run: edge::config,
    },
    Target {
        name: "expression",
        about: "an expression of a profile, with a value for its variable",
        run: types::expression,
    },
    Target {
        name: "http-head",
        about: "the head of a request to a page, and the answer of one",
        run: edge::http,
    },
    Target {
        name: "link-frame",
        about: "a frame of the link, and what it means as a record",
        run: link::frame,
    },
    Target {
        name: "link-session",
        about: "a series of frames for a session of either end",
        run: link::session,
    },
    Target {
        name: "manifest",
        about: "a manifest file (YAML or JSON), and the device that it makes",
        run: types::manifest,
    },
    Target {
        name: "mapper-frame",
        about: "what a child process and its host write to each other",
        run: edge::frames,
    },
    Target {
        name: "mapper-library",
        about: "a mapper library's descriptor and schema, read without running it",
        run: edge::library,
    },
    Target {
        name: "modbus-frame",
        about: "what answers a Modbus request, in each framing",
        run: mappers::modbus,
    },
    Target {
        name: "mqtt-packet",
        about: "packets of MQTT 3.1.1 and 5.0 as clients send them",
        run: broker::packets,
    },
    Target {
        name: "opcua-stream",
        about: "what an OPC UA server sends: chunks and the messages in them",
        run: mappers::opcua_stream,
    },
    Target {
        name: "opcua-value",
        about: "a value of an OPC UA server, with the structures that it describes",
        run: mappers::opcua_value,
    },
    Target {
        name: "schema",
        about: "a mapper's schema and a configuration judged by it",
        run: types::schema,
    },
    Target {
        name: "serial-answer",
        about: "the configuration of a serial point and a message for it",
        run: mappers::serial_answer,
    },
    Target {
        name: "serial-frame",
        about: "the input of a serial line, in lines and in blocks",
        run: mappers::serial,
    },
    Target {
        name: "serial-pattern",
        about: "a pattern for messages, and a message",
        run: mappers::pattern,
    },
    Target {
        name: "twin-blob",
        about: "the saved twins and desired values of a former life",
        run: edge::twins,
    },
    Target {
        name: "value",
        about: "a value's text, a topic, a time",
        run: types::value,
    },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Takes a byte off the front; 0 when there is none.
fn byte(data: &mut &[u8]) -> u8 {
    match data.split_first() {
        Some((first, rest)) => {
            *data = rest;
            *first
        }
        None => 0,
    }
}

/// Takes the part before the first `0xFF` off the front, as text; `None` when it
/// is no UTF-8. A byte that no UTF-8 has separates well.
fn text<'a>(data: &mut &'a [u8]) -> Option<&'a str> {
    let end = data.iter().position(|byte| *byte == 0xFF);
    let (part, rest) = match end {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (*data, &data[data.len()..]),
    };
    *data = rest;
    std::str::from_utf8(part).ok()
}

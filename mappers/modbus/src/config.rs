//! From `configData` to buses, units and points; all faults at once.

use std::{future::Future, time::Duration};

use longshore_sdk::{
    DeviceConfig, DiscoverError, Discovered, Fault, Parsed, PlanPoint, Planned, Protocol,
    RequestError, config::Section,
};
use serde_json::{Map, Value};

use crate::{
    address::{self, Point},
    bus::{Bus, DEFAULTS, Endpoint, Framing, Parity, Serial, Settings, Unit},
    discover,
    driver::Line,
    method,
    plan::{self, Request},
};

/// The port of Modbus over TCP.
const PORT: u16 = 502;
/// The default of the specification (Serial Line V1.02, section 3.3).
const BAUD: u32 = 19_200;
/// Opening a connection over a slow mobile network takes this long.
const CONNECT: Duration = Duration::from_secs(5);

const PARITIES: &[(&str, Parity)] = &[
    ("none", Parity::None),
    ("even", Parity::Even),
    ("odd", Parity::Odd),
    ("n", Parity::None),
    ("e", Parity::Even),
    ("o", Parity::Odd),
];

/// The Modbus protocol, with the defaults of the mapper's own configuration.
#[derive(Debug, Clone, Default)]
pub struct Modbus {
    defaults: Settings,
}

impl Protocol for Modbus {
    type Bus = Bus;
    type Unit = Unit;
    type Point = Point;
    type Request = Request;
    type Connection = Line;

    /// The mapper's configuration holds defaults for its devices: `timeoutMs`,
    /// `interRequestGapMs`, `maxRegisters`, `maxBits`, `gapFill`, `oneRequestPerField`.
    fn new(config: &Value) -> Result<Self, Vec<Fault>> {
        let empty = Map::new();
        let map = match config {
            Value::Null => &empty,
            Value::Object(map) => map,
            _ => {
                return Err(vec![Fault {
                    path: String::new(),
                    message: "expected an object".to_owned(),
                }]);
            }
        };
        let section = Section::new("", map);
        let defaults = settings(&section, DEFAULTS);
        let (faults, _) = section.finish();
        if faults.is_empty() {
            Ok(Self { defaults })
        } else {
            Err(faults)
        }
    }

    fn parse(&self, device: &DeviceConfig) -> Result<Parsed<Self>, Vec<Fault>> {
        let section = Section::new("protocol", &device.protocol);
        let settings = settings(&section, self.defaults);
        let bus = bus(&section);
        let is_serial = matches!(
            &bus,
            Some(Bus {
                endpoint: Endpoint::Serial(_),
                ..
            })
        );
        let id = unit(&section, is_serial);
        let base = section.integer("addressBase", 0..=1).unwrap_or(0);
        let (faults, mut warnings) = section.finish();
        let (Some(bus), Some(id), true) = (bus, id, faults.is_empty()) else {
            return Err(faults);
        };
        let unit = Unit { id, settings };
        let mut points = Vec::with_capacity(device.points.len());
        for (index, point) in device.points.iter().enumerate() {
            let section = Section::new(format!("points[{index}].config"), &point.config);
            let parsed = address::parse(&section, point, base);
            let (faults, more) = section.finish();
            warnings.extend(more);
            points.push(check_limits(parsed, &unit, index).and_then(|parsed| {
                match (parsed, joined(faults)) {
                    (Some(point), None) => Ok(point),
                    (_, Some(fault)) => Err(fault),
                    (None, None) => Err(Fault {
                        path: format!("points[{index}].config.address"),
                        message: "no address: write for example `hr:3`".to_owned(),
                    }),
                }
            }));
        }
        for (index, method) in device.methods.iter().enumerate() {
            // A method that is wrong costs itself: its calls say the same.
            let wrong = method::parse(method, &format!("methods[{index}].config"));
            warnings.extend(wrong.err().into_iter().flatten());
        }
        Ok(Parsed {
            bus,
            unit,
            points,
            warnings,
        })
    }

    fn plan(
        &self,
        _bus: &Bus,
        unit: &Unit,
        points: &[PlanPoint<'_, Point>],
    ) -> Vec<Planned<Request>> {
        plan::plan(&unit.settings, points)
    }

    fn connect(&self, bus: &Bus) -> impl Future<Output = Result<Line, RequestError>> + Send {
        Line::open(bus.clone())
    }

    fn connect_timeout(&self, bus: &Bus) -> Duration {
        CONNECT + bus.pause_after_connect
    }

    async fn discover(&self, request: &Map<String, Value>) -> Result<Discovered, DiscoverError> {
        let request = discover::Request::parse(request).map_err(DiscoverError::Request)?;
        request.run().await
    }

    fn timeout(&self, bus: &Bus, unit: &Unit) -> Duration {
        // A line keeps to the timeout by itself. A bit write may take three
        // exchanges, each with both frames on the line at their longest.
        let settings = unit.settings;
        let frames = bus.time_of(if bus.framing == Framing::Ascii {
            1030
        } else {
            512
        });
        let own = Duration::from_millis(
            u64::from(settings.timeout_ms) + u64::from(settings.request_gap_ms),
        );
        3 * (own + frames)
    }
}

/// A point that is larger than the requests of its device may be.
fn check_limits(point: Option<Point>, unit: &Unit, index: usize) -> Result<Option<Point>, Fault> {
    let Some(inner) = point else { return Ok(None) };
    let (limit, key) = if inner.table.is_bits() {
        (unit.settings.max_bits, "maxBits")
    } else {
        (unit.settings.max_registers, "maxRegisters")
    };
    if inner.count > limit {
        let message = format!(
            "{} {}s are more than the device's {key} of {limit}",
            inner.count, inner.table
        );
        return Err(Fault {
            path: format!("points[{index}].config.address"),
            message,
        });
    }
    Ok(point)
}

/// Several faults of one point as one.
fn joined(faults: Vec<Fault>) -> Option<Fault> {
    faults.into_iter().reduce(|first, next| Fault {
        message: format!("{}; {next}", first.message),
        path: first.path,
    })
}

pub(crate) fn settings(section: &Section<'_>, defaults: Settings) -> Settings {
    let number = |key, range, default: u32| {
        section
            .integer(key, range)
            .map_or(default, |number| number as u32)
    };
    Settings {
        timeout_ms: number("timeoutMs", 1..=600_000, defaults.timeout_ms),
        request_gap_ms: number("interRequestGapMs", 0..=60_000, defaults.request_gap_ms),
        max_registers: number("maxRegisters", 1..=125, u32::from(defaults.max_registers)) as u16,
        max_bits: number("maxBits", 1..=2000, u32::from(defaults.max_bits)) as u16,
        gap_fill: number("gapFill", 0..=124, u32::from(defaults.gap_fill)) as u16,
        one_request_per_field: section
            .boolean("oneRequestPerField")
            .unwrap_or(defaults.one_request_per_field),
    }
}

fn unit(section: &Section<'_>, is_serial: bool) -> Option<u8> {
    // Serial Line V1.02, section 2.2: 0 is the broadcast, 248 and above are reserved.
    let range = if is_serial { 1..=247 } else { 0..=255 };
    let ours = section.integer("unit", range.clone());
    let theirs = section.integer("slaveID", range);
    let written = section.has("unit") || section.has("slaveID");
    match ours.or(theirs) {
        Some(unit) => Some(unit as u8),
        None if written => None,
        None => Some(1),
    }
}

/// `url`, or KubeEdge's keys.
pub(crate) fn bus(section: &Section<'_>) -> Option<Bus> {
    let pause = section
        .integer("pauseAfterConnectMs", 0..=60_000)
        .unwrap_or(0);
    let pause_after_connect = Duration::from_millis(pause as u64);
    let (endpoint, framing) = match section.text("url") {
        Some(url) => {
            // Looked at, so that a manifest with both vocabularies brings no warning.
            let _ = ["communicateMode", "ip", "port"].map(|key| section.value(key));
            by_url(section, url)?
        }
        None if section.has("url") => return None,
        None => by_keys(section)?,
    };
    Some(Bus {
        endpoint,
        framing,
        pause_after_connect,
    })
}

/// `tcp://host:port`, `rtu+tcp://…`, `rtu:///dev/…?baud=9600&parity=even&stop=1&data=8`, `ascii://…`.
fn by_url(section: &Section<'_>, url: &str) -> Option<(Endpoint, Framing)> {
    let Some((scheme, rest)) = url.split_once("://") else {
        section.fault(
            "url",
            format!("`{url}` has no scheme; write tcp://, rtu+tcp://, rtu:// or ascii://"),
        );
        return None;
    };
    let (framing, is_tcp) = match scheme.to_ascii_lowercase().as_str() {
        "tcp" | "modbus" | "modbus+tcp" => (Framing::Mbap, true),
        "rtu+tcp" | "rtuovertcp" => (Framing::Rtu, true),
        "ascii+tcp" => (Framing::Ascii, true),
        "rtu" | "serial" => (Framing::Rtu, false),
        "ascii" => (Framing::Ascii, false),
        _ => {
            section.fault(
                "url",
                format!("unknown scheme `{scheme}`; write tcp, rtu+tcp, rtu or ascii"),
            );
            return None;
        }
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !is_tcp {
        return Some((
            Endpoint::Serial(serial_by_query(section, place, query)?),
            framing,
        ));
    }
    let (host, port) = match place.trim_end_matches('/').rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) if port > 0 => (host, port),
            _ => {
                section.fault("url", format!("`{port}` is not a port"));
                return None;
            }
        },
        _ => (place.trim_end_matches('/'), PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        section.fault("url", format!("`{url}` names no host"));
        return None;
    }
    Some((
        Endpoint::Tcp {
            host: host.to_owned(),
            port,
        },
        framing,
    ))
}

fn serial_by_query(section: &Section<'_>, path: &str, query: &str) -> Option<Serial> {
    if path.is_empty() {
        section.fault(
            "url",
            "no serial port named; write for example rtu:///dev/ttyUSB0",
        );
        return None;
    }
    let mut serial = default_serial(path);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let number = value.parse::<u32>().ok();
        let known = match (key.to_ascii_lowercase().as_str(), number) {
            ("baud" | "baudrate", Some(baud)) if baud > 0 => set(&mut serial.baud, baud),
            ("data" | "databits", Some(bits @ 7..=8)) => set(&mut serial.data_bits, bits as u8),
            ("stop" | "stopbits", Some(bits @ 1..=2)) => set(&mut serial.stop_bits, bits as u8),
            ("parity", _) => match PARITIES
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(value))
            {
                Some((_, parity)) => set(&mut serial.parity, *parity),
                None => false,
            },
            _ => false,
        };
        if !known {
            section.fault("url", format!("`{pair}` is not a setting; known are baud, data (7, 8), parity (none, even, odd), stop (1, 2)"));
        }
    }
    section.is_sound().then_some(serial)
}

fn set<T>(place: &mut T, value: T) -> bool {
    *place = value;
    true
}

/// 8E1 of the specification would surprise those who write no settings at
/// all: nearly all devices and all tools come with 8N1.
fn default_serial(path: &str) -> Serial {
    Serial {
        path: path.to_owned(),
        baud: BAUD,
        data_bits: 8,
        parity: Parity::None,
        stop_bits: 1,
    }
}

/// `communicateMode`, `ip`, `port`, `serialPort`, `baudRate` and so on, as
/// KubeEdge's samples have them, also within `tcp` and `com` as older ones do.
fn by_keys(section: &Section<'_>) -> Option<(Endpoint, Framing)> {
    let (tcp, com) = (section.section("tcp"), section.section("com"));
    let mode = section.choice(
        "communicateMode",
        &[
            ("tcp", Framing::Mbap),
            ("rtu", Framing::Rtu),
            ("ascii", Framing::Ascii),
            ("serial", Framing::Rtu),
        ],
    );
    let _ = section.value("rs485Enabled");
    let tcp_keys = tcp.as_ref().unwrap_or(section);
    let com_keys = com.as_ref().unwrap_or(section);
    let ip = tcp_keys.text("ip");
    let port = tcp_keys
        .integer("port", 1..=65_535)
        .map_or(PORT, |port| port as u16);
    let path = com_keys
        .text("serialPort")
        .or_else(|| com_keys.text("serialName"));
    let baud = com_keys
        .integer("baudRate", 50..=10_000_000)
        .map_or(BAUD, |baud| baud as u32);
    let data_bits = com_keys
        .integer("dataBits", 7..=8)
        .map_or(8, |bits| bits as u8);
    let stop_bits = com_keys
        .integer("stopBits", 1..=2)
        .map_or(1, |bits| bits as u8);
    let parity = com_keys.choice("parity", PARITIES).unwrap_or(Parity::None);
    let is_serial = match mode {
        Some(mode) => mode != Framing::Mbap,
        None => ip.is_none() && path.is_some(),
    };
    let found = match (is_serial, ip, path) {
        (true, _, Some(path)) => {
            let serial = Serial {
                path: path.to_owned(),
                baud,
                data_bits,
                parity,
                stop_bits,
            };
            Some((Endpoint::Serial(serial), mode.unwrap_or(Framing::Rtu)))
        }
        (false, Some(ip), _) => Some((
            Endpoint::Tcp {
                host: ip.to_owned(),
                port,
            },
            Framing::Mbap,
        )),
        (true, _, None) => {
            section.fault("serialPort", "no serial port named");
            None
        }
        (false, None, _) => {
            section.fault("url", "no address of the device: write url: tcp://HOST:PORT or rtu:///dev/…, or ip and port");
            None
        }
    };
    for inner in [tcp, com].into_iter().flatten() {
        section.absorb(inner);
    }
    found
}

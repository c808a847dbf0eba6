//! From `configData` to buses, units and points; all faults at once.

use std::{future::Future, time::Duration};

use longshore_sdk::{
    DeviceConfig, DiscoverError, Discovered, Fault, Parsed, PlanPoint, Planned, Protocol,
    RequestError,
    config::{self, Section},
};
use serde_json::{Map, Value};

use crate::{
    bus::{Bus, CLOSES, DEFAULTS, Endpoint, Framing, Parity, Serial, Settings, Unit},
    discover,
    driver::Line,
    keys,
    learned::Shelf,
    method,
    plan::{self, Request},
    point::{self, Point},
};

/// The port of Modbus over TCP.
pub(crate) const PORT: u16 = 502;
/// The default of the specification (Serial Line V1.02, section 3.3).
pub(crate) const BAUD: u32 = 19_200;
/// All the pauses for a device that is busy.
const BUSY: Duration = Duration::from_secs(1);
/// Opening a connection over a slow mobile network takes this long.
const CONNECT: Duration = Duration::from_secs(5);

pub(crate) const PARITIES: &[(&str, Parity)] = &[
    ("none", Parity::None),
    ("even", Parity::Even),
    ("odd", Parity::Odd),
    ("n", Parity::None),
    ("e", Parity::Even),
    ("o", Parity::Odd),
];

pub(crate) const MODES: &[(&str, Framing)] = &[
    ("tcp", Framing::Mbap),
    ("rtu", Framing::Rtu),
    ("ascii", Framing::Ascii),
    ("serial", Framing::Rtu),
];

/// The Modbus protocol, with the defaults of the mapper's own configuration.
#[derive(Debug, Clone, Default)]
pub struct Modbus {
    defaults: Settings,
    /// What was learnt of buses that have no connection now.
    shelf: Shelf,
}

impl Protocol for Modbus {
    type Bus = Bus;
    type Unit = Unit;
    type Point = Point;
    type Request = Request;
    type Connection = Line;

    /// The mapper's configuration holds defaults for its devices.
    fn new(config: &Value) -> Result<Self, Vec<Fault>> {
        let defaults = config::of_mapper(&keys::MAPPER, config, |keys| settings(keys, DEFAULTS))?;
        Ok(Self {
            defaults,
            shelf: Shelf::default(),
        })
    }

    fn parse(&self, device: &DeviceConfig) -> Result<Parsed<Self>, Vec<Fault>> {
        let section = Section::new(&keys::DEVICE, "protocol", &device.protocol);
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
        let base = section.integer_or_default("addressBase");
        let (faults, mut warnings) = section.finish();
        let (Some(bus), Some(id), true) = (bus, id, faults.is_empty()) else {
            return Err(faults);
        };
        let unit = Unit { id, settings };
        let missing = ("address", "no address: write for example `hr:3`");
        let points = config::of_points(
            &keys::PROPERTY,
            device,
            &mut warnings,
            missing,
            |section, point| {
                let point = point::parse(section, point, base)?;
                check_limits(section, &point, &unit);
                Some(point)
            },
        );
        config::of_methods(&keys::METHOD, device, &mut warnings, method::parse);
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
        Line::open_with(bus.clone(), Some(self.shelf.clone()))
    }

    fn connect_timeout(&self, bus: &Bus) -> Duration {
        CONNECT + bus.pause_after_connect
    }

    async fn discover(&self, request: &Map<String, Value>) -> Result<Discovered, DiscoverError> {
        let request = discover::Request::parse(request).map_err(DiscoverError::Request)?;
        request.run().await
    }

    fn timeout(&self, bus: &Bus, unit: &Unit) -> Duration {
        // A line keeps to the timeout by itself. A bit write may take four exchanges,
        // a silent block that is looked into as many, each with both frames on the line
        // at their longest; one that is asked for again on another connection one more
        // of each, and a device that is at work or busy is given its time.
        let settings = unit.settings;
        let frames = bus.time_of(if bus.framing == Framing::Ascii {
            1030
        } else {
            512
        });
        let own = Duration::from_millis(
            u64::from(settings.timeout_ms) + u64::from(settings.request_gap_ms),
        );
        8 * (own + frames) + BUSY
    }
}

/// A point that is larger than the requests of its device may be.
fn check_limits(section: &Section<'_>, point: &Point, unit: &Unit) {
    let (limit, key) = if point.table.is_bits() {
        (unit.settings.max_bits, "maxBits")
    } else {
        (unit.settings.max_registers, "maxRegisters")
    };
    if point.count > limit {
        section.fault(
            "address",
            format!(
                "{} {}s are more than the device's {key} of {limit}",
                point.count, point.table
            ),
        );
    }
}

pub(crate) fn settings(section: &Section<'_>, defaults: Settings) -> Settings {
    fn or<T: TryFrom<i64>>(section: &Section<'_>, key: &'static str, default: T) -> T {
        section.integer(key).unwrap_or(default)
    }
    Settings {
        timeout_ms: or(section, "timeoutMs", defaults.timeout_ms),
        request_gap_ms: or(section, "interRequestGapMs", defaults.request_gap_ms),
        max_registers: or(section, "maxRegisters", defaults.max_registers),
        max_bits: or(section, "maxBits", defaults.max_bits),
        gap_fill: or(section, "gapFill", defaults.gap_fill),
        one_request_per_field: section
            .boolean("oneRequestPerField")
            .unwrap_or(defaults.one_request_per_field),
    }
}

fn unit(section: &Section<'_>, is_serial: bool) -> Option<u8> {
    // Serial Line V1.02, section 2.2: 0 is the broadcast, 248 and above are reserved.
    let range = if is_serial { 1..=247 } else { 0..=255 };
    let ours = section.integer_in("unit", range.clone());
    let theirs = section.integer_in("slaveID", range);
    let written = section.has("unit") || section.has("slaveID");
    ours.or(theirs).or((!written).then_some(1))
}

/// `url`, or KubeEdge's keys.
pub(crate) fn bus(section: &Section<'_>) -> Option<Bus> {
    let pause = section.integer_or_default("pauseAfterConnectMs");
    let pause_after_connect = Duration::from_millis(pause);
    let close = section.choice_or_default("close", CLOSES);
    let any_transaction = section.boolean_or_default("anyTransactionId");
    let echo = section.boolean_or_default("echo");
    let (endpoint, framing) = match section.text("url") {
        Some(url) => {
            section.pass_over(&["communicateMode", "ip", "port"]);
            by_url(section, url)?
        }
        None if section.has("url") => return None,
        None => by_keys(section)?,
    };
    Some(Bus {
        endpoint,
        framing,
        pause_after_connect,
        close,
        any_transaction,
        echo,
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
            ("parity", _) => match config::choice(value, PARITIES) {
                Some(parity) => set(&mut serial.parity, parity),
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
    let mode = section.choice("communicateMode", MODES);
    section.pass_over(&["rs485Enabled"]);
    let tcp_keys = tcp.as_ref().unwrap_or(section);
    let com_keys = com.as_ref().unwrap_or(section);
    let ip = tcp_keys.text("ip");
    let port = tcp_keys.integer_or_default("port");
    let path = com_keys
        .text("serialPort")
        .or_else(|| com_keys.text("serialName"));
    let baud = com_keys.integer_or_default("baudRate");
    let data_bits = com_keys.integer_or_default("dataBits");
    let stop_bits = com_keys.integer_or_default("stopBits");
    let parity = com_keys.choice_or_default("parity", PARITIES);
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

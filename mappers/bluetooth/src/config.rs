//! From `configData` to buses, units and points; all faults at once.

use std::{future::Future, sync::Arc, time::Duration};

use longshore_sdk::{
    Delivery, DeviceConfig, DiscoverError, Discovered, Fault, Parsed, PlanPoint, Planned, Protocol,
    RequestError, config::Section,
};
use serde_json::{Map, Value};

use crate::{
    bluez::Shared,
    bus::{self, Bus, Target, Unit},
    discover,
    driver::{Link, Request},
    plan,
    point::{self, Point, Source},
    value::from_hex,
};

/// BlueZ waits 30 s for an answer of the device at most (ATT's own limit).
const TIMEOUT: Duration = Duration::from_secs(5);
/// A sensor that advertises every 10 s, and the making of the connection.
const CONNECT: Duration = Duration::from_secs(25);
/// Sensors on a button cell advertise every few seconds; walls eat some.
const SILENT: Duration = Duration::from_secs(60);
/// Many adapters carry 7 or 8 connections at once; not all of them are ours.
const CONNECTIONS: usize = 5;

/// Bluetooth LE, with the connection to BlueZ that all of its devices share.
pub struct Bluetooth {
    shared: Arc<Shared>,
}

impl Protocol for Bluetooth {
    type Bus = Bus;
    type Unit = Unit;
    type Point = Point;
    type Request = Request;
    type Connection = Link;

    /// The mapper's configuration: `bus`, `adapter`, `maxConnections`.
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
        let shared = mapper(&section);
        let (faults, _) = section.finish();
        if faults.is_empty() {
            Ok(Self {
                shared: Arc::new(shared),
            })
        } else {
            Err(faults)
        }
    }

    fn parse(&self, device: &DeviceConfig) -> Result<Parsed<Self>, Vec<Fault>> {
        let section = Section::new("protocol", &device.protocol);
        let found = bus(&section);
        let (faults, mut warnings) = section.finish();
        let (Some((mut bus, mode)), true) = (found, faults.is_empty()) else {
            return Err(faults);
        };
        let mut points = Vec::with_capacity(device.points.len());
        for (index, point) in device.points.iter().enumerate() {
            let section = Section::new(format!("points[{index}].config"), &point.config);
            let parsed = point::parse(&section, point);
            if mode == Some(Mode::Advertisement)
                && let Some(Source::Characteristic(_)) = parsed.as_ref().map(|point| point.source)
            {
                section.fault(
                    "characteristic",
                    "the device is in mode advertisement, without a connection",
                );
            }
            let (faults, more) = section.finish();
            warnings.extend(more);
            points.push(match (parsed, joined(faults)) {
                (Some(point), None) => Ok(point),
                (_, Some(fault)) => Err(fault),
                (None, None) => Err(Fault {
                    path: format!("points[{index}].config"),
                    message: "not understood".to_owned(),
                }),
            });
        }
        let is_characteristic = |point: &Point| matches!(point.source, Source::Characteristic(_));
        bus.connect = match mode {
            Some(mode) => mode == Mode::Connect,
            None => points.iter().flatten().any(is_characteristic),
        };
        Ok(Parsed {
            unit: Unit(bus.target.clone()),
            bus,
            points,
            warnings,
        })
    }

    fn plan(
        &self,
        _bus: &Bus,
        _unit: &Unit,
        points: &[PlanPoint<'_, Point>],
    ) -> Vec<Planned<Request>> {
        plan::plan(points)
    }

    fn connect(&self, bus: &Bus) -> impl Future<Output = Result<Link, RequestError>> + Send {
        Link::open(Arc::clone(&self.shared), bus.clone())
    }

    fn connect_timeout(&self, bus: &Bus) -> Duration {
        // The link keeps to its own and says what it was waiting for.
        bus.connect_timeout + Duration::from_secs(2)
    }

    fn timeout(&self, bus: &Bus, _unit: &Unit) -> Duration {
        // A write of a part of a value reads it before.
        2 * bus.timeout + Duration::from_millis(500)
    }

    fn delivery(&self, _unit: &Unit, point: &Point) -> Delivery {
        if point.pushed {
            Delivery::Pushed
        } else {
            Delivery::Polled
        }
    }

    fn discover(
        &self,
        request: &Map<String, Value>,
    ) -> impl Future<Output = Result<Discovered, DiscoverError>> + Send {
        discover::discover(Arc::clone(&self.shared), request.clone())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Connect,
    Advertisement,
}

fn mapper(section: &Section<'_>) -> Shared {
    let adapter = section.text("adapter").map(str::to_owned);
    let connections = section
        .integer("maxConnections", 1..=100)
        .map_or(CONNECTIONS, |count| count as usize);
    let address = section.text("bus").map(str::to_owned);
    if let Some(text) = &address
        && let Err(error) = text.parse::<zbus::Address>()
    {
        section.fault("bus", format!("`{text}` is no D-Bus address: {error}; write for example `unix:path=/run/dbus/system_bus_socket`"));
    }
    Shared::new(address, adapter, connections)
}

fn bus(section: &Section<'_>) -> Option<(Bus, Option<Mode>)> {
    let ours = section.text("address");
    let theirs = section.text("macAddress");
    let name = section.text("name");
    let target = match (ours.or(theirs), name) {
        (Some(text), _) => match bus::address(text) {
            Some(address) => Some(Target::Address(address)),
            None => {
                section.fault(
                    "address",
                    format!("`{text}` is no address; write for example `A4:C1:38:01:02:03`"),
                );
                None
            }
        },
        (None, Some(name)) => Some(Target::Name(name.to_owned())),
        (None, None) => {
            section.fault(
                "address",
                "no device: write its `address`, or the `name` that it advertises",
            );
            None
        }
    };
    let adapter = section.text("adapter").map(str::to_owned);
    let mode = section.choice(
        "mode",
        &[
            ("connect", Mode::Connect),
            ("advertisement", Mode::Advertisement),
        ],
    );
    let passkey = section
        .integer("passkey", 0..=999_999)
        .map(|passkey| passkey as u32);
    let pair = section.boolean("pair").unwrap_or(passkey.is_some());
    let timeout = duration(section, "timeout").unwrap_or(TIMEOUT);
    let connect_timeout = duration(section, "connectTimeout").unwrap_or(CONNECT);
    let silent_after = duration(section, "silentAfter").unwrap_or(SILENT);
    let key = section.text("key").or_else(|| section.text("bindKey"));
    let key = key.and_then(|text| {
        let key = from_hex(text).and_then(|bytes| bytes.try_into().ok());
        if key.is_none() {
            // The key is a secret: it is not said again.
            section.fault("key", "expected 32 hexadecimal digits");
        }
        key
    });
    let bus = Bus {
        adapter,
        target: target?,
        connect: false,
        pair,
        passkey,
        timeout,
        connect_timeout,
        silent_after,
        key,
    };
    Some((bus, mode))
}

/// Milliseconds, or a text such as `500ms`, `5s`, `1m30s`.
fn duration(section: &Section<'_>, key: &'static str) -> Option<Duration> {
    let value = section.value(key)?;
    let found = match value {
        Value::Number(number) => number.as_u64().map(Duration::from_millis),
        Value::String(text) => parse_duration(text),
        _ => None,
    };
    let found = found.filter(|found| (10..=86_400_000).contains(&found.as_millis()));
    if found.is_none() {
        section.fault(
            key,
            "expected a time from 10 ms to 24 h: milliseconds, or a text such as `5s`",
        );
    }
    found
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut whole = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    if let Ok(number) = rest.parse() {
        return Some(Duration::from_millis(number));
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let factor: u64 = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        whole += Duration::from_millis(number.checked_mul(factor)?);
        rest = &rest[letters..];
    }
    Some(whole)
}

/// Several faults of one point as one.
fn joined(faults: Vec<Fault>) -> Option<Fault> {
    faults.into_iter().reduce(|first, next| Fault {
        message: format!("{}; {next}", first.message),
        path: first.path,
    })
}

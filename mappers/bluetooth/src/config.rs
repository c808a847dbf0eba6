//! From `configData` to buses, units and points; all faults at once.

use std::{future::Future, sync::Arc, time::Duration};

use longshore_sdk::{
    Delivery, DeviceConfig, DiscoverError, Discovered, Fault, Parsed, PlanPoint, Planned, Protocol,
    RequestError,
    config::{self, Section},
};
use serde_json::{Map, Value};

use crate::{
    bluez::Shared,
    bus::{self, Bus, Target, Unit},
    discover,
    driver::{Link, Request},
    keys, plan,
    point::{self, Point, Source},
    value::from_hex,
};

/// BlueZ waits 30 s for an answer of the device at most (ATT's own limit).
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// A sensor that advertises every 10 s, and the making of the connection.
pub(crate) const CONNECT: Duration = Duration::from_secs(25);
/// Sensors on a button cell advertise every few seconds; walls eat some.
pub(crate) const SILENT: Duration = Duration::from_secs(60);
/// Many adapters carry 7 or 8 connections at once; not all of them are ours.
pub(crate) const CONNECTIONS: i64 = 5;

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

    /// The mapper's configuration: D-Bus, adapter, connections.
    fn new(config: &Value) -> Result<Self, Vec<Fault>> {
        let shared = Arc::new(config::of_mapper(&keys::MAPPER, config, mapper)?);
        Ok(Self { shared })
    }

    fn parse(&self, device: &DeviceConfig) -> Result<Parsed<Self>, Vec<Fault>> {
        let section = Section::new(&keys::DEVICE, "protocol", &device.protocol);
        let found = bus(&section);
        let (faults, mut warnings) = section.finish();
        let (Some((mut bus, mode)), true) = (found, faults.is_empty()) else {
            return Err(faults);
        };
        let points = config::of_points(
            &keys::PROPERTY,
            device,
            &mut warnings,
            ("characteristic", "not understood"),
            |section, point| {
                let point = point::parse(section, point)?;
                if mode == Some(Mode::Advertisement)
                    && matches!(point.source, Source::Characteristic(_))
                {
                    section.fault(
                        "characteristic",
                        "the device is in mode advertisement, without a connection",
                    );
                }
                Some(point)
            },
        );
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
pub(crate) enum Mode {
    Connect,
    Advertisement,
}

pub(crate) const MODES: &[(&str, Mode)] = &[
    ("connect", Mode::Connect),
    ("advertisement", Mode::Advertisement),
];

fn mapper(section: &Section<'_>) -> Shared {
    let adapter = section.text("adapter").map(str::to_owned);
    let connections = section.integer_or_default("maxConnections");
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
    let mode = section.choice("mode", MODES);
    let passkey = section.integer("passkey");
    let pair = section.boolean("pair").unwrap_or(passkey.is_some());
    let timeout = section.duration_or_default("timeout");
    let connect_timeout = section.duration_or_default("connectTimeout");
    let silent_after = section.duration_or_default("silentAfter");
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

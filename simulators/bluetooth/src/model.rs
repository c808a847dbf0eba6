//! The simulated radio: adapters and devices with what BlueZ would know of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use longshore_sim_world::{Problem, Source, World};
use serde::Serialize;
use zbus::{ObjectPath, Variant};

use crate::{
    bytes::{self, Field},
    scenario::{AdapterSpec, DeviceSpec, Scenario},
};

pub(crate) const ADAPTER: &str = "org.bluez.Adapter1";
pub(crate) const DEVICE: &str = "org.bluez.Device1";
pub(crate) const SERVICE: &str = "org.bluez.GattService1";
pub(crate) const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";

/// Properties of one interface.
pub(crate) type Properties = HashMap<&'static str, Variant<'static>>;

/// A local adapter.
#[derive(Debug)]
pub(crate) struct Adapter {
    pub(crate) spec: AdapterSpec,
    pub(crate) present: bool,
    pub(crate) powered: bool,
    /// Who has started discovery.
    pub(crate) sessions: BTreeSet<String>,
}

/// A device around.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) spec: DeviceSpec,
    pub(crate) path: String,
    pub(crate) adapter: String,
    pub(crate) packets: Vec<Packet>,
    pub(crate) services: Vec<Service>,
    /// Whether BlueZ has an object for it.
    pub(crate) known: bool,
    pub(crate) paired: bool,
    pub(crate) trusted: bool,
    pub(crate) connected: bool,
    pub(crate) resolved: bool,
    pub(crate) sent: u64,
}

#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) service: Option<String>,
    pub(crate) company: Option<u16>,
    pub(crate) data: Vec<Field>,
}

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) path: String,
    pub(crate) uuid: String,
    pub(crate) characteristics: Vec<Characteristic>,
}

#[derive(Debug)]
pub(crate) struct Characteristic {
    pub(crate) path: String,
    pub(crate) uuid: String,
    pub(crate) flags: Vec<String>,
    pub(crate) fields: Vec<Field>,
    pub(crate) notify_ms: u64,
    pub(crate) secure: bool,
    /// What was written, where no signal takes it.
    pub(crate) written: Option<Vec<u8>>,
    /// Who wants notifications.
    pub(crate) subscribers: BTreeSet<String>,
    pub(crate) count: u64,
}

/// What clients did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Calls of Connect.
    pub connects: u64,
    /// Connections at the same time, at most.
    pub most_connected: u64,
    /// Calls of ReadValue that were answered.
    pub reads: u64,
    /// Calls of WriteValue that were carried out.
    pub writes: u64,
    /// Notifications sent.
    pub notifications: u64,
    /// Advertisements that BlueZ passed on.
    pub adverts: u64,
    /// Calls of Pair.
    pub pairings: u64,
}

/// A write that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Write {
    /// The device's address.
    pub device: String,
    /// The characteristic's UUID.
    pub characteristic: String,
    /// `request` or `command`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The bytes, in hexadecimal digits.
    pub bytes: String,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) world: World,
    pub(crate) adapters: BTreeMap<String, Adapter>,
    pub(crate) devices: Vec<Device>,
    /// The agent: whose, and where.
    pub(crate) agent: Option<(String, String)>,
    pub(crate) counters: Counters,
    pub(crate) writes: Vec<Write>,
    /// Whether bluetoothd runs.
    pub(crate) running: bool,
}

impl Model {
    /// Checks a scenario and makes the radio of it.
    pub(crate) fn new(scenario: &Scenario, world: World) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let specs = match &scenario.adapters[..] {
            [] => vec![AdapterSpec::default()],
            specs => specs.to_vec(),
        };
        let adapters = specs.into_iter().map(|spec| {
            let adapter = Adapter {
                present: true,
                powered: spec.powered,
                sessions: BTreeSet::new(),
                spec,
            };
            (format!("/org/bluez/{}", adapter.spec.name), adapter)
        });
        let adapters: BTreeMap<_, _> = adapters.collect();
        let mut devices = Vec::new();
        for (index, spec) in scenario.devices.iter().enumerate() {
            let at = format!("devices[{index}]");
            let device = device(spec, &world, &at, &mut problems);
            if !adapters.contains_key(&device.adapter) {
                let message = format!("no adapter is named `{}`", spec.adapter);
                problems.push(Problem::new(format!("{at}.adapter"), message));
            }
            if let Source::Signal(name) = &spec.rssi
                && world.id(name).is_none()
            {
                problems.push(Problem::new(
                    format!("{at}.rssi"),
                    format!("no signal is named `{name}`"),
                ));
            }
            if devices
                .iter()
                .any(|other: &Device| other.path == device.path)
            {
                problems.push(Problem::new(
                    format!("{at}.address"),
                    "two devices have this address",
                ));
            }
            devices.push(device);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            world,
            adapters,
            devices,
            agent: None,
            counters: Counters::default(),
            writes: Vec::new(),
            running: true,
        })
    }

    /// Whether the device's adapter works.
    pub(crate) fn is_up(&self, device: &Device) -> bool {
        let adapter = self.adapters.get(&device.adapter);
        self.running && adapter.is_some_and(|adapter| adapter.present && adapter.powered)
    }

    pub(crate) fn rssi(&self, device: &Device) -> i16 {
        let level = match &device.spec.rssi {
            Source::Number(level) => *level,
            Source::Signal(name) => self.world.value(name).unwrap_or(0.0),
        };
        level.round() as i16
    }

    /// All objects with their interfaces, as ObjectManager tells them.
    pub(crate) fn objects(&self) -> Vec<(String, Vec<(&'static str, Properties)>)> {
        let mut objects = vec![(
            "/org/bluez".to_owned(),
            vec![("org.bluez.AgentManager1", Properties::new())],
        )];
        for (path, adapter) in self.adapters.iter().filter(|(_, adapter)| adapter.present) {
            objects.push((path.clone(), vec![(ADAPTER, adapter.properties())]));
        }
        for device in self.devices.iter().filter(|device| device.known) {
            objects.push((
                device.path.clone(),
                vec![(DEVICE, self.device_properties(device))],
            ));
            if device.resolved {
                objects.extend(self.attributes(device));
            }
        }
        objects
    }

    /// The services and characteristics of a device.
    pub(crate) fn attributes(
        &self,
        device: &Device,
    ) -> Vec<(String, Vec<(&'static str, Properties)>)> {
        let mut objects = Vec::new();
        for service in &device.services {
            let properties = Properties::from([
                ("UUID", Variant::from(service.uuid.clone())),
                ("Device", object(&device.path)),
                ("Primary", Variant::from(true)),
                ("Includes", Variant::from(Vec::<ObjectPath<'static>>::new())),
            ]);
            objects.push((service.path.clone(), vec![(SERVICE, properties)]));
            for characteristic in &service.characteristics {
                let properties = Properties::from([
                    ("UUID", Variant::from(characteristic.uuid.clone())),
                    ("Service", object(&service.path)),
                    ("Value", Variant::from(Vec::<u8>::new())),
                    (
                        "Notifying",
                        Variant::from(!characteristic.subscribers.is_empty()),
                    ),
                    ("Flags", Variant::from(characteristic.flags.clone())),
                    ("MTU", Variant::from(device.spec.mtu)),
                ]);
                objects.push((
                    characteristic.path.clone(),
                    vec![(CHARACTERISTIC, properties)],
                ));
            }
        }
        objects
    }

    pub(crate) fn device_properties(&self, device: &Device) -> Properties {
        let address = device.spec.address.to_uppercase();
        let alias = device
            .spec
            .name
            .clone()
            .unwrap_or_else(|| address.replace(':', "-"));
        let uuids: Vec<String> = device
            .services
            .iter()
            .map(|service| service.uuid.clone())
            .collect();
        let mut properties = Properties::from([
            ("Address", Variant::from(address)),
            (
                "AddressType",
                Variant::from(device.spec.address_type.clone()),
            ),
            ("Alias", Variant::from(alias)),
            ("Paired", Variant::from(device.paired)),
            ("Bonded", Variant::from(device.paired)),
            ("Trusted", Variant::from(device.trusted)),
            ("Blocked", Variant::from(false)),
            ("LegacyPairing", Variant::from(false)),
            ("Connected", Variant::from(device.connected)),
            ("ServicesResolved", Variant::from(device.resolved)),
            ("UUIDs", Variant::from(uuids)),
            ("Adapter", object(&device.adapter)),
        ]);
        if let Some(name) = &device.spec.name {
            properties.insert("Name", Variant::from(name.clone()));
        }
        properties
    }

    /// What the device's next packet says, as properties of the device.
    pub(crate) fn packet(&mut self, index: usize) -> Properties {
        let rssi = self.rssi(&self.devices[index]);
        let device = &mut self.devices[index];
        let mut properties = Properties::from([("RSSI", Variant::from(rssi))]);
        if let Some(power) = device.spec.tx_power {
            properties.insert("TxPower", Variant::from(power));
        }
        if !device.packets.is_empty() {
            let packet = &device.packets[device.sent as usize % device.packets.len()];
            let bytes = bytes::show(&packet.data, &self.world, device.sent);
            if let Some(uuid) = &packet.service {
                let data = HashMap::from([(uuid.clone(), Variant::from(bytes.clone()))]);
                properties.insert("ServiceData", Variant::from(data));
            }
            if let Some(company) = packet.company {
                let data = HashMap::from([(company, Variant::from(bytes))]);
                properties.insert("ManufacturerData", Variant::from(data));
            }
        }
        device.sent += 1;
        properties
    }

    /// The place of a characteristic's object: device, service, characteristic.
    pub(crate) fn characteristic(&self, path: &str) -> Option<(usize, usize, usize)> {
        for (d, device) in self.devices.iter().enumerate() {
            for (s, service) in device.services.iter().enumerate() {
                let found = service.characteristics.iter().position(|c| c.path == path);
                if let Some(c) = found {
                    return Some((d, s, c));
                }
            }
        }
        None
    }

    /// The bytes of a characteristic now.
    pub(crate) fn value(&mut self, (d, s, c): (usize, usize, usize)) -> Vec<u8> {
        let characteristic = &mut self.devices[d].services[s].characteristics[c];
        characteristic.count += 1;
        match &characteristic.written {
            Some(written) => written.clone(),
            None => bytes::show(&characteristic.fields, &self.world, characteristic.count),
        }
    }
}

impl Adapter {
    pub(crate) fn properties(&self) -> Properties {
        Properties::from([
            ("Address", Variant::from(self.spec.address.clone())),
            ("AddressType", Variant::from("public")),
            (
                "Name",
                Variant::from(format!("simulated {}", self.spec.name)),
            ),
            (
                "Alias",
                Variant::from(format!("simulated {}", self.spec.name)),
            ),
            ("Class", Variant::from(0_u32)),
            ("Powered", Variant::from(self.powered)),
            ("Discoverable", Variant::from(false)),
            ("DiscoverableTimeout", Variant::from(180_u32)),
            ("Pairable", Variant::from(true)),
            ("PairableTimeout", Variant::from(0_u32)),
            ("Discovering", Variant::from(!self.sessions.is_empty())),
            ("UUIDs", Variant::from(Vec::<String>::new())),
            ("Roles", Variant::from(vec!["central".to_owned()])),
        ])
    }
}

impl Device {
    /// What faults may call it.
    pub(crate) fn names(&self) -> Vec<&str> {
        let name = self.spec.name.as_deref();
        name.into_iter().chain([&self.spec.address[..]]).collect()
    }

    pub(crate) fn is(&self, text: &str) -> bool {
        self.names()
            .iter()
            .any(|name| name.eq_ignore_ascii_case(text))
    }
}

pub(crate) fn object(path: &str) -> Variant<'static> {
    Variant::from(ObjectPath::from_string_unchecked(path.to_owned()))
}

fn device(spec: &DeviceSpec, world: &World, at: &str, problems: &mut Vec<Problem>) -> Device {
    let address = spec.address.to_uppercase();
    let parts: Vec<&str> = address.split(':').collect();
    let is_byte = |part: &&str| part.len() == 2 && u8::from_str_radix(part, 16).is_ok();
    if parts.len() != 6 || !parts.iter().all(is_byte) {
        let message = format!("`{}` is no address", spec.address);
        problems.push(Problem::new(format!("{at}.address"), message));
    }
    let adapter = format!("/org/bluez/{}", spec.adapter);
    let path = format!("{adapter}/dev_{}", parts.join("_"));
    let mut uuid = |text: &str, at: String| {
        bytes::uuid(text).unwrap_or_else(|| {
            problems.push(Problem::new(at, format!("`{text}` is no UUID")));
            String::new()
        })
    };
    let mut services = Vec::new();
    // Handles as a device would have them: each thing takes a few.
    let mut handle = 0x000a;
    for (s, service) in spec.services.iter().enumerate() {
        let place = format!("{path}/service{handle:04x}");
        handle += 1;
        let mut characteristics = Vec::new();
        for (c, known) in service.characteristics.iter().enumerate() {
            let own = uuid(
                &known.uuid,
                format!("{at}.services[{s}].characteristics[{c}].uuid"),
            );
            characteristics.push((format!("{place}/char{handle:04x}"), own, known));
            handle += 3;
        }
        let own = uuid(&service.uuid, format!("{at}.services[{s}].uuid"));
        services.push((place, own, characteristics));
    }
    let mut packets = Vec::new();
    for (p, packet) in spec.adverts.iter().enumerate() {
        let of = packet.service.as_ref();
        let service = of.map(|text| uuid(text, format!("{at}.adverts[{p}].service")));
        packets.push((service, packet));
    }
    let packets = packets
        .into_iter()
        .enumerate()
        .map(|(p, (service, packet))| Packet {
            service,
            company: packet.company,
            data: bytes::check(
                &packet.data,
                world,
                &format!("{at}.adverts[{p}].data"),
                problems,
            ),
        })
        .collect();
    let mut made = Vec::new();
    for (s, (path, uuid, list)) in services.into_iter().enumerate() {
        let mut characteristics = Vec::new();
        for (c, (path, uuid, known)) in list.into_iter().enumerate() {
            let at = format!("{at}.services[{s}].characteristics[{c}].value");
            characteristics.push(Characteristic {
                path,
                uuid,
                flags: known.flags.clone(),
                fields: bytes::check(&known.value, world, &at, problems),
                notify_ms: known.notify_ms.max(10),
                secure: known.secure,
                written: None,
                subscribers: BTreeSet::new(),
                count: 0,
            });
        }
        made.push(Service {
            path,
            uuid,
            characteristics,
        });
    }
    Device {
        spec: spec.clone(),
        path,
        adapter,
        packets,
        services: made,
        known: false,
        paired: false,
        trusted: false,
        connected: false,
        resolved: false,
        sent: 0,
    }
}

//! What BlueZ says there is: pure, fed by its answers and signals.

use std::collections::{BTreeMap, HashMap};

use zbus::OwnedVariant;

use super::{inbox::Event, variant};
use crate::{
    advert::Advert,
    bus::{self, Target},
    point::Place,
    uuid::Uuid,
};

/// Properties of one interface.
pub type Properties = HashMap<String, OwnedVariant>;
/// Interfaces of one object.
pub type Interfaces = HashMap<String, Properties>;

/// The adapter's interface.
pub const ADAPTER: &str = "org.bluez.Adapter1";
/// The device's interface.
pub const DEVICE: &str = "org.bluez.Device1";
/// The service's interface.
pub const SERVICE: &str = "org.bluez.GattService1";
/// The characteristic's interface.
pub const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";

/// An adapter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Adapter {
    /// Switched on.
    pub powered: bool,
}

/// A device that BlueZ knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Device {
    /// Its adapter's object.
    pub adapter: String,
    /// Its address.
    pub address: [u8; 6],
    /// Its name, as it advertises it.
    pub name: Option<String>,
    /// Whether it is paired.
    pub paired: bool,
    /// Whether it is connected.
    pub connected: bool,
    /// Whether its services are known.
    pub resolved: bool,
    /// The services that it advertises or has.
    pub services: Vec<Uuid>,
    /// What was last heard of it.
    pub advert: Advert,
}

/// A characteristic of a device that is or was connected.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Characteristic {
    /// Its service's object.
    pub service: String,
    /// Which.
    pub uuid: Option<Uuid>,
    /// What can be done with it: `read`, `write`, `write-without-response`,
    /// `notify`, `indicate` and others.
    pub flags: Vec<String>,
    /// The largest packet on this connection.
    pub mtu: Option<u16>,
}

/// Something that happened, to a device or (without one) to all of an adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The adapter's object.
    pub adapter: String,
    /// The device, as it was.
    pub device: Option<Device>,
    /// What.
    pub event: Event,
}

/// Adapters, devices, services and characteristics by the paths of their objects.
#[derive(Debug, Default)]
pub struct Tree {
    /// The adapters.
    pub adapters: BTreeMap<String, Adapter>,
    /// The devices.
    pub devices: BTreeMap<String, Device>,
    services: BTreeMap<String, Option<Uuid>>,
    characteristics: BTreeMap<String, Characteristic>,
}

impl Device {
    /// Whether it is the one that is meant.
    pub fn is(&self, target: &Target) -> bool {
        match target {
            Target::Address(address) => self.address == *address,
            Target::Name(name) => self.name.as_ref() == Some(name),
        }
    }
}

impl Tree {
    /// Takes what an object says of itself. What it says in the first answer
    /// (not `fresh`) may be long ago, and is no event.
    pub fn put(
        &mut self,
        path: &str,
        interface: &str,
        properties: &Properties,
        fresh: bool,
    ) -> Vec<Change> {
        match interface {
            ADAPTER => self.put_adapter(path, properties),
            DEVICE => self.put_device(path, properties, fresh),
            SERVICE => {
                let uuid = properties
                    .get("UUID")
                    .and_then(|value| variant::text(value));
                let uuid = uuid.and_then(|text| text.parse().ok());
                self.services.insert(path.to_owned(), uuid);
                Vec::new()
            }
            CHARACTERISTIC => self.put_characteristic(path, properties, fresh),
            _ => Vec::new(),
        }
    }

    fn put_adapter(&mut self, path: &str, properties: &Properties) -> Vec<Change> {
        let adapter = self.adapters.entry(path.to_owned()).or_default();
        let powered = properties
            .get("Powered")
            .and_then(|value| variant::truth(value));
        let was = adapter.powered;
        adapter.powered = powered.unwrap_or(was);
        if was && !adapter.powered {
            return vec![down(path)];
        }
        Vec::new()
    }

    fn put_device(&mut self, path: &str, properties: &Properties, fresh: bool) -> Vec<Change> {
        let device = self.devices.entry(path.to_owned()).or_default();
        let before = (device.connected, device.resolved);
        let truth = |name: &str, was| {
            let value = properties.get(name).and_then(|value| variant::truth(value));
            value.unwrap_or(was)
        };
        device.connected = truth("Connected", device.connected);
        device.resolved = truth("ServicesResolved", device.resolved);
        device.paired = truth("Paired", device.paired);
        let text = |name: &str| properties.get(name).and_then(|value| variant::text(value));
        if let Some(adapter) = text("Adapter") {
            device.adapter = adapter.to_owned();
        }
        if let Some(address) = text("Address").and_then(bus::address) {
            device.address = address;
        }
        if let Some(name) = text("Name") {
            device.name = Some(name.to_owned());
        }
        if let Some(uuids) = properties.get("UUIDs") {
            let uuids = variant::texts(uuids);
            device.services = uuids.iter().filter_map(|text| text.parse().ok()).collect();
        }
        let heard = heard(properties);
        let change = |device: &Device, event| Change {
            adapter: device.adapter.clone(),
            device: Some(device.clone()),
            event,
        };
        let mut changes = Vec::new();
        if let Some(mut advert) = heard {
            device.advert.update(&advert);
            // BlueZ names only what has changed; the level of the packet before is near enough.
            advert.rssi = device.advert.rssi;
            advert.tx_power = device.advert.tx_power;
            if fresh {
                changes.push(change(device, Event::Advert(advert)));
            }
        }
        if before.0 && !device.connected {
            changes.push(change(device, Event::Disconnected));
        } else if before.1 && !device.resolved {
            changes.push(change(device, Event::Unresolved));
        }
        changes
    }

    fn put_characteristic(
        &mut self,
        path: &str,
        properties: &Properties,
        fresh: bool,
    ) -> Vec<Change> {
        let known = self.characteristics.entry(path.to_owned()).or_default();
        let get = |name: &str| properties.get(name);
        if let Some(uuid) = get("UUID").and_then(|value| variant::text(value)) {
            known.uuid = uuid.parse().ok();
        }
        if let Some(service) = get("Service").and_then(|value| variant::text(value)) {
            known.service = service.to_owned();
        }
        if let Some(flags) = get("Flags") {
            known.flags = variant::texts(flags);
        }
        if let Some(mtu) = get("MTU").and_then(|value| variant::number(value)) {
            known.mtu = u16::try_from(mtu).ok();
        }
        let value = get("Value").and_then(|value| variant::bytes(value));
        let device = self.device_of(path);
        match (value, device, fresh) {
            (Some(bytes), Some(device), true) => vec![Change {
                adapter: device.adapter.clone(),
                device: Some(device.clone()),
                event: Event::Value {
                    path: path.to_owned(),
                    bytes,
                },
            }],
            _ => Vec::new(),
        }
    }

    /// An object is no more, or has one interface less.
    pub fn remove(&mut self, path: &str, interface: &str) -> Vec<Change> {
        match interface {
            ADAPTER => {
                let below = format!("{path}/");
                let beneath = |key: &String| key.starts_with(&below);
                self.devices.retain(|key, _| !beneath(key));
                self.services.retain(|key, _| !beneath(key));
                self.characteristics.retain(|key, _| !beneath(key));
                self.adapters.remove(path);
                vec![down(path)]
            }
            DEVICE => self
                .devices
                .remove(path)
                .map(|device| Change {
                    adapter: device.adapter.clone(),
                    device: Some(device),
                    event: Event::Removed,
                })
                .into_iter()
                .collect(),
            SERVICE => {
                self.services.remove(path);
                Vec::new()
            }
            CHARACTERISTIC => {
                self.characteristics.remove(path);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// The adapter that is meant, or the first that is on.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn adapter(&self, name: Option<&str>) -> Result<String, String> {
        let ends = |path: &str, name: &str| path.rsplit('/').next() == Some(name);
        match name {
            Some(name) => match self.adapters.iter().find(|(path, _)| ends(path, name)) {
                Some((path, adapter)) if adapter.powered => Ok(path.clone()),
                Some(_) => Err(format!(
                    "adapter {name} is switched off; try `bluetoothctl power on`"
                )),
                None => Err(format!("there is no adapter {name}")),
            },
            None => match self.adapters.iter().find(|(_, adapter)| adapter.powered) {
                Some((path, _)) => Ok(path.clone()),
                None if self.adapters.is_empty() => Err("there is no Bluetooth adapter".to_owned()),
                None => {
                    Err("every adapter is switched off; try `bluetoothctl power on`".to_owned())
                }
            },
        }
    }

    /// The object of a device on an adapter; of several with one name the nearest.
    pub fn find(&self, adapter: &str, target: &Target) -> Option<(&str, &Device)> {
        let found = self
            .devices
            .iter()
            .filter(|(_, device)| device.adapter == adapter && device.is(target));
        found
            .max_by_key(|(_, device)| (device.connected, device.advert.rssi))
            .map(|(path, device)| (&path[..], device))
    }

    /// The object of a characteristic of a device.
    ///
    /// # Errors
    /// What there is instead, for people.
    pub fn characteristic(
        &self,
        device: &str,
        place: Place,
    ) -> Result<(&str, &Characteristic), String> {
        let all = self.characteristics_of(device);
        let is = |service: Option<Uuid>, known: &Characteristic| {
            known.uuid == Some(place.uuid) && (place.service.is_none() || place.service == service)
        };
        let mut found = all.iter().filter(|(_, service, known)| is(*service, known));
        match found.next() {
            Some((path, _, known)) => Ok((path, known)),
            None => {
                let mut there: Vec<_> = all
                    .iter()
                    .filter_map(|(_, service, known)| {
                        Some(format!("{}/{}", (*service)?, known.uuid?))
                    })
                    .collect();
                there.sort();
                there.dedup();
                Err(format!(
                    "the device has no {place}; it has {}",
                    there.join(", ")
                ))
            }
        }
    }

    /// All characteristics of a device, with their services.
    pub fn characteristics_of(&self, device: &str) -> Vec<(&str, Option<Uuid>, &Characteristic)> {
        let below = format!("{device}/");
        self.characteristics
            .range(below.clone()..)
            .take_while(|(path, _)| path.starts_with(&below))
            .map(|(path, known)| {
                let service = self.services.get(&known.service).copied().flatten();
                (&path[..], service, known)
            })
            .collect()
    }

    /// The device that a characteristic's object lies under.
    fn device_of(&self, path: &str) -> Option<&Device> {
        let service = path.rsplit_once('/')?.0;
        self.devices.get(service.rsplit_once('/')?.0)
    }
}

fn down(adapter: &str) -> Change {
    Change {
        adapter: adapter.to_owned(),
        device: None,
        event: Event::AdapterDown,
    }
}

/// What of an advertisement is among the properties, if any.
fn heard(properties: &Properties) -> Option<Advert> {
    let level = |name: &str| {
        let value = properties
            .get(name)
            .and_then(|value| variant::number(value));
        value.and_then(|level| i16::try_from(level).ok())
    };
    let company =
        |key: &zbus::Variant<'_>| variant::number(key).and_then(|key| u16::try_from(key).ok());
    let service = |key: &zbus::Variant<'_>| variant::text(key).and_then(|text| text.parse().ok());
    let manufacturer = properties.get("ManufacturerData");
    let services = properties.get("ServiceData");
    let advert = Advert {
        rssi: level("RSSI"),
        tx_power: level("TxPower"),
        manufacturer: manufacturer
            .map_or_else(Vec::new, |value| variant::dictionary(value, company)),
        service: services.map_or_else(Vec::new, |value| variant::dictionary(value, service)),
    };
    let is_heard = advert.rssi.is_some() || manufacturer.is_some() || services.is_some();
    is_heard.then_some(advert)
}

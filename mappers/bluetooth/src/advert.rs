//! What devices say without a connection: advertisements and their formats.
//!
//! BlueZ has taken the packet apart into manufacturer data (by company) and
//! service data (by UUID); the formats are about the bytes in there.

mod beacon;
mod bthome;
mod thermometer;
mod xiaomi;

use crate::{uuid::Uuid, value::Value};

/// What was heard of a device at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Advert {
    /// Strength of the signal in dBm: decibels over a milliwatt. UCUM has no code
    /// for these, so that fields have the unit `dB`.
    pub rssi: Option<i16>,
    /// At which strength it says it sends, in dBm.
    pub tx_power: Option<i16>,
    /// Bytes by company (Assigned Numbers, section 7).
    pub manufacturer: Vec<(u16, Vec<u8>)>,
    /// Bytes by service.
    pub service: Vec<(Uuid, Vec<u8>)>,
}

/// A format of advertisements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Any packet: `rssi`, `txPower`, `present`.
    Any,
    /// BTHome, version 2.
    BtHome,
    /// Xiaomi thermometers with the firmware of ATC1441 or PVVX.
    Thermometer,
    /// Xiaomi's MiBeacon.
    Xiaomi,
    /// Eddystone TLM.
    EddystoneTlm,
    /// Eddystone UID.
    EddystoneUid,
    /// Apple's iBeacon.
    IBeacon,
    /// A maker's own bytes, by company.
    Manufacturer(u16),
    /// Own bytes of a service.
    Service(Uuid),
}

/// The words of `advertisement` for the formats that need nothing else.
pub const FORMATS: &[(&str, Format)] = &[
    ("any", Format::Any),
    ("bthome", Format::BtHome),
    ("atc", Format::Thermometer),
    ("pvvx", Format::Thermometer),
    ("xiaomi", Format::Xiaomi),
    ("eddystone-tlm", Format::EddystoneTlm),
    ("eddystone-uid", Format::EddystoneUid),
    ("ibeacon", Format::IBeacon),
];

/// A part of an advertisement.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name, as `field` of a property has it.
    pub name: &'static str,
    /// The unit (UCUM), if it has one.
    pub unit: &'static str,
    /// Its value.
    pub value: Value,
}

/// An advertisement that is of the format and cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdvertError {
    /// It ends too early.
    #[error("the {0} packet is too short")]
    Short(&'static str),
    /// It is sealed, and there is no key.
    #[error("the {0} packet is encrypted; give the device's `key`")]
    Sealed(&'static str),
    /// It is sealed with another key.
    #[error("the {0} packet does not open with this `key`")]
    WrongKey(&'static str),
    /// A version that is not known.
    #[error("the {0} packet is of version {1}, which is not known")]
    Version(&'static str, u8),
}

impl Format {
    /// The names of the parts that it may have.
    pub fn names(self) -> Vec<&'static str> {
        let own: Vec<&str> = match self {
            Self::Any => Vec::new(),
            Self::BtHome => bthome::names(),
            Self::Thermometer => thermometer::NAMES.to_vec(),
            Self::Xiaomi => xiaomi::NAMES.to_vec(),
            Self::EddystoneTlm => beacon::TELEMETRY.to_vec(),
            Self::EddystoneUid => beacon::IDENTITY.to_vec(),
            Self::IBeacon => beacon::IBEACON.to_vec(),
            Self::Manufacturer(_) | Self::Service(_) => Vec::new(),
        };
        own.into_iter().chain(SIGNAL.iter().copied()).collect()
    }
}

/// What every packet has.
const SIGNAL: &[&str] = &["rssi", "txPower", "present"];

/// What opening a sealed packet needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seal<'a> {
    /// The device's address, as it is written.
    pub address: [u8; 6],
    /// The device's key.
    pub key: Option<&'a [u8; 16]>,
}

impl Advert {
    /// The word for a format that it is in: of those that are told apart by the
    /// packets alone the one that fits.
    pub fn word(&self, format: Format) -> &'static str {
        let data = self.of_service(Uuid::short(thermometer::SERVICE));
        if format == Format::Thermometer && data.is_some_and(thermometer::is_pvvx) {
            return "pvvx";
        }
        let word = FORMATS.iter().find(|(_, known)| *known == format);
        word.map_or("any", |(word, _)| word)
    }

    /// The parts of the advertisement in one format; `None` when it has none of it.
    ///
    /// # Errors
    /// See [`AdvertError`].
    pub fn fields(
        &self,
        format: Format,
        seal: Seal<'_>,
    ) -> Result<Option<Vec<Field>>, AdvertError> {
        let service = |number| self.of_service(Uuid::short(number));
        let found = match format {
            Format::Any => Some(self.signal()),
            Format::BtHome => service(bthome::SERVICE)
                .map(|bytes| bthome::decode(bytes, seal))
                .transpose()?,
            Format::Thermometer => match service(thermometer::SERVICE) {
                Some(bytes) => thermometer::decode(bytes)?,
                None => None,
            },
            Format::Xiaomi => match service(xiaomi::SERVICE) {
                Some(bytes) => xiaomi::decode(bytes, seal)?,
                None => None,
            },
            Format::EddystoneTlm => match service(beacon::EDDYSTONE) {
                Some(bytes) => beacon::telemetry(bytes)?,
                None => None,
            },
            Format::EddystoneUid => match service(beacon::EDDYSTONE) {
                Some(bytes) => beacon::identity(bytes)?,
                None => None,
            },
            Format::IBeacon => match self.of_company(beacon::APPLE) {
                Some(bytes) => beacon::ibeacon(bytes)?,
                None => None,
            },
            Format::Manufacturer(_) | Format::Service(_) => self.bytes(format).map(|_| Vec::new()),
        };
        Ok(found.map(|mut fields| {
            if format != Format::Any {
                fields.extend(self.signal());
            }
            fields
        }))
    }

    /// The bytes that a property with a format of its own is cut from.
    pub fn bytes(&self, format: Format) -> Option<&[u8]> {
        match format {
            Format::Manufacturer(company) => self.of_company(company),
            Format::Service(uuid) => self.of_service(uuid),
            _ => None,
        }
    }

    /// Takes what a newer packet says over what is known.
    pub fn update(&mut self, newer: &Self) {
        self.rssi = newer.rssi.or(self.rssi);
        self.tx_power = newer.tx_power.or(self.tx_power);
        replace(&mut self.manufacturer, &newer.manufacturer);
        replace(&mut self.service, &newer.service);
    }

    fn of_company(&self, company: u16) -> Option<&[u8]> {
        let found = self.manufacturer.iter().find(|(of, _)| *of == company);
        found.map(|(_, bytes)| &bytes[..])
    }

    fn of_service(&self, uuid: Uuid) -> Option<&[u8]> {
        let found = self.service.iter().find(|(of, _)| *of == uuid);
        found.map(|(_, bytes)| &bytes[..])
    }

    fn signal(&self) -> Vec<Field> {
        let level = |name, level: Option<i16>| {
            level.map(|level| Field {
                name,
                unit: "dB",
                value: Value::Int(i64::from(level)),
            })
        };
        let present = Field {
            name: "present",
            unit: "",
            value: Value::Bool(true),
        };
        let levels = [level("rssi", self.rssi), level("txPower", self.tx_power)];
        levels.into_iter().flatten().chain([present]).collect()
    }
}

fn replace<K: PartialEq + Copy>(known: &mut Vec<(K, Vec<u8>)>, newer: &[(K, Vec<u8>)]) {
    for (key, bytes) in newer {
        match known.iter_mut().find(|(of, _)| of == key) {
            Some((_, old)) => old.clone_from(bytes),
            None => known.push((*key, bytes.clone())),
        }
    }
}

fn field(name: &'static str, unit: &'static str, value: Value) -> Field {
    Field { name, unit, value }
}

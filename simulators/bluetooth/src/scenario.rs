//! The scenario file: a world, adapters, and devices that show it.

use std::path::Path;

use longshore_sim_world::{
    Clock, ScenarioError, Source, World, WorldError, WorldSpec,
    scenario::{self, parse},
};
use serde::Deserialize;

use crate::{fault::FaultRule, model::Model};

/// A scenario file of the Bluetooth simulator.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// The signals.
    #[serde(default)]
    pub world: WorldSpec,
    /// The adapters; one, `hci0`, if none is named.
    #[serde(default)]
    pub adapters: Vec<AdapterSpec>,
    /// The devices around.
    pub devices: Vec<DeviceSpec>,
    /// Faults in force from the start.
    #[serde(default)]
    pub faults: Vec<FaultRule>,
}

/// A local adapter.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdapterSpec {
    /// Its name, like `hci0`.
    pub name: String,
    /// Its address.
    #[serde(default = "adapter_address")]
    pub address: String,
    /// Whether it is switched on.
    #[serde(default = "yes")]
    pub powered: bool,
}

/// A device.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceSpec {
    /// Its address.
    pub address: String,
    /// `public` or `random`.
    #[serde(default = "public")]
    pub address_type: String,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// The adapter that hears it.
    #[serde(default = "first_adapter")]
    pub adapter: String,
    /// Strength of its signal in dBm.
    #[serde(default = "near")]
    pub rssi: Source,
    /// At which strength it says it sends.
    #[serde(default)]
    pub tx_power: Option<i16>,
    /// Time between two packets; 0 for none.
    #[serde(default = "advertise_ms")]
    pub advertise_ms: u64,
    /// Its packets, sent in turn; an empty one if there is none.
    #[serde(default)]
    pub adverts: Vec<PacketSpec>,
    /// Whether it lets itself be connected.
    #[serde(default = "yes")]
    pub connectable: bool,
    /// How long connecting takes.
    #[serde(default = "connect_ms")]
    pub connect_ms: u64,
    /// The largest packet of a connection.
    #[serde(default = "mtu")]
    pub mtu: u16,
    /// The number that it shows while it is paired; it pairs without if there is none.
    #[serde(default)]
    pub passkey: Option<u32>,
    /// What it has.
    #[serde(default)]
    pub services: Vec<ServiceSpec>,
}

/// An advertisement.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PacketSpec {
    /// Service data: whose, as a UUID.
    #[serde(default)]
    pub service: Option<String>,
    /// Manufacturer data: whose, as a number.
    #[serde(default)]
    pub company: Option<u16>,
    /// The bytes.
    #[serde(default)]
    pub data: Vec<FieldSpec>,
}

/// A part of some bytes. One of `bytes`, `text`, `signal`, `value` says what it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldSpec {
    /// As they are, in hexadecimal digits.
    #[serde(default)]
    pub bytes: Option<String>,
    /// UTF-8.
    #[serde(default)]
    pub text: Option<String>,
    /// The signal that it shows.
    #[serde(default)]
    pub signal: Option<String>,
    /// A fixed number.
    #[serde(default)]
    pub value: Option<f64>,
    /// How the number lies in its bytes.
    #[serde(default, rename = "type")]
    pub kind: NumberType,
    /// raw number = quantity × times.
    #[serde(default = "one")]
    pub times: f64,
    /// The highest byte first.
    #[serde(default)]
    pub big: bool,
}

/// How a number lies in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberType {
    /// One byte.
    #[default]
    Uint8,
    /// One byte, signed.
    Int8,
    /// Two bytes.
    Uint16,
    /// Two bytes, signed.
    Int16,
    /// Three bytes.
    Uint24,
    /// Three bytes, signed.
    Int24,
    /// Four bytes.
    Uint32,
    /// Four bytes, signed.
    Int32,
    /// IEEE 754 single.
    Float32,
    /// FLOAT of IEEE 11073-20601, with two decimals.
    Float,
    /// One byte that counts the packets sent.
    Counter,
}

/// A service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// Its UUID, short or long.
    pub uuid: String,
    /// What it has.
    #[serde(default)]
    pub characteristics: Vec<CharacteristicSpec>,
}

/// A characteristic.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CharacteristicSpec {
    /// Its UUID, short or long.
    pub uuid: String,
    /// `read`, `write`, `write-without-response`, `notify`, `indicate`.
    #[serde(default = "read")]
    pub flags: Vec<String>,
    /// Its bytes. A write sets the setpoints that they show, or else stays as it is.
    #[serde(default)]
    pub value: Vec<FieldSpec>,
    /// Time between two notifications.
    #[serde(default = "notify_ms")]
    pub notify_ms: u64,
    /// Only for paired peers.
    #[serde(default)]
    pub secure: bool,
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}

fn public() -> String {
    "public".to_owned()
}

fn first_adapter() -> String {
    "hci0".to_owned()
}

fn adapter_address() -> String {
    "00:1A:7D:DA:71:13".to_owned()
}

fn near() -> Source {
    Source::Number(-60.0)
}

fn advertise_ms() -> u64 {
    500
}

fn connect_ms() -> u64 {
    20
}

fn mtu() -> u16 {
    247
}

fn read() -> Vec<String> {
    vec!["read".to_owned()]
}

fn notify_ms() -> u64 {
    1000
}

impl Default for AdapterSpec {
    fn default() -> Self {
        Self {
            name: first_adapter(),
            address: adapter_address(),
            powered: true,
        }
    }
}

impl Scenario {
    /// Reads a scenario; `file` only serves the error's text.
    ///
    /// # Errors
    /// The text is wrong; the error names file and key path, all faults at once.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let read: Self = parse(file, text)?;
        // Building it is the check.
        read.model(file, Clock::manual())?;
        Ok(read)
    }

    /// Reads a scenario file.
    ///
    /// # Errors
    /// It cannot be read, or is wrong.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        scenario::read(path, Self::parse)
    }

    /// What it describes, with its world.
    pub(crate) fn model(&self, file: &str, clock: Clock) -> Result<Model, ScenarioError> {
        let made = World::new(&self.world, clock)
            .map_err(WorldError::in_scenario)
            .and_then(|world| Model::new(self, world));
        made.map_err(|problems| ScenarioError::Content {
            file: file.to_owned(),
            problems,
        })
    }
}

//! The scenario file: a world and the devices on each line.

use std::collections::BTreeMap;

use longshore_sim_world::{FaultRule, Source, WorldSpec};
use serde::Deserialize;

use crate::checksum::ChecksumKind;

/// A scenario file of the serial simulator.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// The signals.
    #[serde(default)]
    pub world: WorldSpec,
    /// The devices of the only line.
    #[serde(default)]
    pub units: Vec<UnitSpec>,
    /// Several lines, each with devices of its own.
    #[serde(default)]
    pub lines: Vec<LineSpec>,
    /// Faults in force from the start.
    #[serde(default)]
    pub faults: Vec<FaultRule>,
}

/// A line with its devices.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LineSpec {
    /// Its name, for the command line and the ready line.
    pub name: String,
    /// The devices on it.
    pub units: Vec<UnitSpec>,
}

/// One device.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitSpec {
    /// Its number, which faults name.
    pub unit: u8,
    /// What it is, for people.
    #[serde(default)]
    pub name: String,
    /// What it answers to what.
    #[serde(default)]
    pub answers: Vec<AnswerSpec>,
    /// What it says by itself.
    #[serde(default)]
    pub stream: Vec<StreamSpec>,
    /// What ends its texts. Requests end with the last character of it, and a
    /// carriage return before that is left out.
    #[serde(default = "line_end")]
    pub ends: String,
    /// What it says when a setpoint does not take a value.
    #[serde(default)]
    pub refusal: Option<String>,
    /// What it says to a request that it does not know.
    #[serde(default)]
    pub unknown: Option<String>,
    /// It speaks in bytes, not in lines.
    #[serde(default)]
    pub binary: Option<BinarySpec>,
}

fn line_end() -> String {
    "\r\n".to_owned()
}

/// How the messages of a device that speaks in bytes are framed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BinarySpec {
    /// The first bytes of each message, in hexadecimal digits.
    #[serde(default)]
    pub start: String,
    /// The last bytes of each message.
    #[serde(default)]
    pub end: String,
    /// The checksum before the end.
    #[serde(default)]
    pub checksum: Option<ChecksumKind>,
    /// Whether the checksum covers the start as well.
    #[serde(default)]
    pub covers_start: bool,
}

/// A request and what comes of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnswerSpec {
    /// The request. `{voltage}` takes a number and sets that setpoint; in
    /// bytes `{voltage:uint16:100}`.
    pub request: String,
    /// The answer; none if absent.
    #[serde(default)]
    pub response: Option<String>,
    /// Setpoints that are set, to a number or to the present value of a signal.
    #[serde(default)]
    pub set: BTreeMap<String, Source>,
    /// Only while this signal is not 0; the first answer that fits is given.
    #[serde(default)]
    pub when: Option<String>,
    /// How much later than usual it comes, in milliseconds.
    #[serde(default)]
    pub after_ms: u64,
}

/// Messages that a device sends by itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamSpec {
    /// How often, in milliseconds.
    pub every_ms: u64,
    /// The messages, one after the other.
    pub say: Vec<String>,
    /// Put `$` before and the checksum of NMEA 0183 behind.
    #[serde(default)]
    pub nmea: bool,
    /// Only while this signal is not 0.
    #[serde(default)]
    pub when: Option<String>,
}

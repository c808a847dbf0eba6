//! The scenario file: a world and the units that show it.

use std::path::Path;

use longshore_sim_world::{
    FaultRule, Problem, ScenarioError, WorldSpec,
    scenario::{self, parse},
};
use serde::Deserialize;

use crate::builder::{Builder, StartError, modbus};
use crate::encoding::{Encoding, RawType, WordOrder, write_text};
use crate::table::{Change, Kind};

/// A scenario file of the Modbus simulator.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// The signals.
    #[serde(default)]
    pub world: WorldSpec,
    /// The units on each listener.
    pub units: Vec<UnitSpec>,
    /// Faults in force from the start.
    #[serde(default)]
    pub faults: Vec<FaultRule>,
}

/// One unit of a scenario.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitSpec {
    /// Its address: 1 to 247 on a serial line, through TCP up to 255.
    pub unit: u8,
    /// Its name, shown by read device identification.
    #[serde(default)]
    pub name: String,
    /// Bits that can be written.
    #[serde(default)]
    pub coils: Vec<Entry>,
    /// Bits that can only be read.
    #[serde(default)]
    pub discrete: Vec<Entry>,
    /// Registers that can only be read.
    #[serde(default)]
    pub input: Vec<Entry>,
    /// Registers that can be written.
    #[serde(default)]
    pub holding: Vec<Entry>,
    /// Large ranges of values that change by themselves.
    #[serde(default)]
    pub fill: Vec<FillSpec>,
}

/// Registers or bits of a unit: a signal, an initial value, or zeros.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The first address, counted from 0 as in the protocol.
    pub address: u16,
    /// What it means, for the reader of the file.
    #[serde(default)]
    pub name: String,
    /// The signal that is shown here; a setpoint is set by a write.
    #[serde(default)]
    pub signal: Option<String>,
    /// The value at the start, where there is no signal.
    #[serde(default)]
    pub value: Option<Literal>,
    /// The type; `uint16` for registers, `bool` for bits if absent.
    #[serde(default, rename = "type")]
    pub raw: Option<RawType>,
    /// The order of bytes.
    #[serde(default)]
    pub order: WordOrder,
    /// raw number = quantity × `times`.
    #[serde(default = "one")]
    pub times: f64,
    /// For a string: how many registers. Absent: as many as the value needs.
    #[serde(default)]
    pub length: Option<u16>,
    /// How many values of this kind follow each other.
    #[serde(default)]
    pub count: Option<u16>,
    /// Refuse writes with exception 2.
    #[serde(default)]
    pub read_only: bool,
}

fn one() -> f64 {
    1.0
}

/// A value as it is written in a scenario.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Literal {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Unsigned(u64),
    /// A negative whole number.
    Signed(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
}

/// A range of values that all change.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FillSpec {
    /// The table.
    pub table: Kind,
    /// The first address.
    pub address: u16,
    /// How many values.
    pub count: u16,
    /// Their type; `float32` if absent.
    #[serde(default, rename = "type")]
    pub raw: Option<RawType>,
    /// The order of bytes.
    #[serde(default)]
    pub order: WordOrder,
    /// When they change; at each read if absent.
    #[serde(default)]
    pub change: Option<Change>,
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// The file cannot be read, or its text is wrong; the error names file and key path.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        scenario::read(path, Self::parse)
    }

    /// Reads a scenario from text; `file` serves the errors.
    ///
    /// # Errors
    /// The text is wrong; the error names file and key path.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let read: Self = parse(file, text)?;
        let mut problems = Vec::new();
        read.check(&mut problems);
        if problems.is_empty() {
            read.try_out(&mut problems)?;
        }
        scenario::check(file, problems)?;
        Ok(read)
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        if self.units.is_empty() {
            problems.push(Problem::new("units", "there are none"));
        }
        for (i, unit) in self.units.iter().enumerate() {
            if self.units[..i].iter().any(|u| u.unit == unit.unit) {
                let text = format!("unit {} stands here twice", unit.unit);
                problems.push(Problem::new(format!("units[{i}].unit"), text));
            }
            for kind in Kind::ALL {
                for (k, entry) in unit.entries(kind).iter().enumerate() {
                    let path = format!("units[{i}].{}[{k}]", kind.key());
                    entry.check(kind, &path, problems);
                }
            }
        }
    }

    /// Builds everything once, so that what only shows then is named with the file as well.
    fn try_out(&self, problems: &mut Vec<Problem>) -> Result<(), ScenarioError> {
        match modbus().scenario(self).devices() {
            Err(StartError::Registers { problems: found }) => problems.extend(found),
            Err(StartError::World(error)) => problems.extend(error.in_scenario()),
            Err(StartError::Scenario(error)) => return Err(error),
            // Without listeners nothing else can go wrong.
            Err(_) | Ok(_) => {}
        }
        Ok(())
    }

    /// Adds all units to a simulator that is being built.
    pub(crate) fn add_to(&self, mut builder: Builder) -> Builder {
        for (i, unit) in self.units.iter().enumerate() {
            builder = builder.unit(unit.unit).name(&unit.name);
            for kind in Kind::ALL {
                for (k, entry) in unit.entries(kind).iter().enumerate() {
                    let path = format!("units[{i}].{}[{k}]", kind.key());
                    entry.add_to(&mut builder, kind, path);
                }
            }
            for (k, fill) in unit.fill.iter().enumerate() {
                let encoding =
                    Encoding::new(fill.raw.unwrap_or(RawType::Float32)).order(fill.order);
                let change = fill.change.unwrap_or(Change::EachRead);
                let path = format!("units[{i}].fill[{k}]");
                builder.add_fill(fill.table, fill.address, fill.count, encoding, change, path);
            }
        }
        builder
    }
}

impl UnitSpec {
    fn entries(&self, kind: Kind) -> &[Entry] {
        match kind {
            Kind::Coil => &self.coils,
            Kind::Discrete => &self.discrete,
            Kind::Input => &self.input,
            Kind::Holding => &self.holding,
        }
    }
}

impl Entry {
    fn encoding(&self, kind: Kind) -> Encoding {
        let usual = if kind.is_bits() {
            RawType::Bool
        } else {
            RawType::Uint16
        };
        let raw = match (&self.value, self.raw) {
            (Some(Literal::Text(_)), None) => RawType::String,
            (_, raw) => raw.unwrap_or(usual),
        };
        Encoding::new(raw).order(self.order).times(self.times)
    }

    fn check(&self, kind: Kind, path: &str, problems: &mut Vec<Problem>) {
        let encoding = self.encoding(kind);
        let mut wrong = |key: &str, text: &str| {
            problems.push(Problem::new(format!("{path}.{key}"), text));
        };
        if kind.is_bits() && encoding.raw != RawType::Bool {
            wrong("type", "bits hold only `bool`");
        }
        if self.times == 0.0 || !self.times.is_finite() {
            wrong("times", "must be a number other than 0");
        }
        if self.signal.is_some() && self.value.is_some() {
            wrong("value", "there is a signal already");
        }
        if self.signal.is_some() && self.count.is_some() {
            wrong("count", "a signal is shown once");
        }
        let text = matches!(self.value, Some(Literal::Text(_)));
        if self.signal.is_some() && encoding.raw == RawType::String {
            wrong("type", "a signal is a number");
        }
        if encoding.raw == RawType::String && !text && self.length.is_none() {
            wrong("length", "a string without a value needs one");
        }
        if text && encoding.raw != RawType::String {
            wrong("value", "a text needs the type `string`");
        }
        if self.value.is_some() && !text && encoding.raw == RawType::String {
            wrong("value", "a string needs a text");
        }
        if self.count == Some(0) || self.length == Some(0) {
            wrong("count", "0 is none at all");
        }
    }

    fn add_to(&self, builder: &mut Builder, kind: Kind, path: String) {
        let encoding = self.encoding(kind);
        if let Some(signal) = &self.signal {
            builder.add_signal(kind, self.address, signal, encoding, self.read_only, path);
            return;
        }
        let mut words = match &self.value {
            Some(Literal::Text(text)) => {
                let length = self
                    .length
                    .map_or(text.len().div_ceil(2).max(1), usize::from);
                let mut words = vec![0; length];
                write_text(text, self.order, &mut words);
                words
            }
            None => vec![0; self.length.map_or(encoding.words(), usize::from)],
            Some(value) => {
                let mut words = vec![0; encoding.words()];
                match value {
                    Literal::Bool(on) => encoding.write_integer(i128::from(*on), &mut words),
                    Literal::Unsigned(number) => {
                        encoding.write_integer(i128::from(*number), &mut words)
                    }
                    Literal::Signed(number) => {
                        encoding.write_integer(i128::from(*number), &mut words)
                    }
                    Literal::Float(number) => encoding.write(*number, &mut words),
                    Literal::Text(_) => {}
                }
                words
            }
        };
        words = words.repeat(usize::from(self.count.unwrap_or(1)));
        builder.add_words(kind, self.address, &words, self.read_only, path);
    }
}

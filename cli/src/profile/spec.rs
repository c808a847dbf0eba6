//! The test file of a profile.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail};
use longshore_types::near::nearest;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// A test: what a device says and the values that shall come out of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    /// File of the profile, if it has another name than the test.
    #[serde(default)]
    pub(super) profile: Option<String>,
    /// Name of the device, if the profile has several.
    #[serde(default)]
    pub(super) device: Option<String>,
    /// What the device holds.
    pub(super) given: Given,
    /// Values of properties.
    #[serde(default)]
    pub(super) expect: BTreeMap<String, Json>,
    /// What happens then, one after the other.
    #[serde(default)]
    pub(super) steps: Vec<Step>,
    /// Writes, one after the other.
    #[serde(default)]
    pub(super) write: Vec<WriteTest>,
}

/// What the device holds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    /// Address of the Modbus unit.
    #[serde(default)]
    pub(super) unit: Option<u8>,
    /// Modbus words from an address on: `"ir:0": [0x4366, 0x3333]`.
    #[serde(default)]
    pub(super) registers: BTreeMap<String, Vec<u16>>,
    /// The scenario of the protocol's simulator.
    #[serde(default)]
    pub(super) scenario: Option<Json>,
    /// A program that simulates the device, and its arguments: for protocols of
    /// one's own. It prints one line of JSON when it is ready.
    #[serde(default)]
    pub(super) command: Vec<String>,
}

/// Something that happens at the device, and what shall come of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// What it is about, for the report.
    #[serde(default)]
    pub(super) name: String,
    /// Modbus words that the device holds from now on.
    #[serde(default)]
    pub(super) registers: BTreeMap<String, Vec<u16>>,
    /// Signals of the scenario that have this value from now on.
    #[serde(default)]
    pub(super) signals: BTreeMap<String, f64>,
    /// Time that passes before one looks: `500ms`, `2s`.
    #[serde(default)]
    pub(super) after: Option<String>,
    /// Values of properties.
    #[serde(default)]
    pub(super) expect: BTreeMap<String, Json>,
    /// Qualities of properties: `good`, `uncertain` or `bad`.
    #[serde(default)]
    pub(super) quality: BTreeMap<String, String>,
    /// How many reports of a property this step brings.
    #[serde(default)]
    pub(super) reports: BTreeMap<String, u64>,
    /// Whether events are active.
    #[serde(default)]
    pub(super) events: BTreeMap<String, bool>,
}

/// A write and what the device shall hold afterwards.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteTest {
    /// New desired values.
    pub(super) set: BTreeMap<String, Json>,
    /// Modbus words that must have been written.
    #[serde(default)]
    pub(super) registers: BTreeMap<String, Vec<u16>>,
    /// Places in the simulator's state (JSON pointers) and what must stand there.
    #[serde(default)]
    pub(super) state: BTreeMap<String, Json>,
}

/// One of the four tables, by the name that scenarios give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Coils,
    Discrete,
    Input,
    Holding,
}

impl TestFile {
    /// Reads a test; addresses are checked too.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let options = serde_saphyr::options! { with_snippet: false };
        let test: Self = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| meant(&error.to_string()))?;
        test.given.check()?;
        if test.expect.is_empty() && test.steps.is_empty() && test.write.is_empty() {
            bail!("nothing is tested: write `expect`, `steps` or `write`");
        }
        let mut words: Vec<(String, &BTreeMap<String, Vec<u16>>)> = Vec::new();
        for (index, write) in test.write.iter().enumerate() {
            words.push((format!("write[{index}]"), &write.registers));
            for (key, words) in &write.registers {
                let (table, _) =
                    place(key, words).with_context(|| format!("write[{index}].registers.{key}"))?;
                if !matches!(table, Table::Coils | Table::Holding) {
                    bail!(
                        "write[{index}].registers.{key}: only coils (co) and holding registers (hr) can be written"
                    );
                }
            }
        }
        for (index, step) in test.steps.iter().enumerate() {
            words.push((format!("steps[{index}]"), &step.registers));
            step.pause()
                .with_context(|| format!("steps[{index}].after"))?;
        }
        for (at, registers) in words {
            if test.given.scenario.is_some() && !registers.is_empty() {
                bail!("{at}.registers: only beside given.registers; a scenario has signals");
            }
            for (key, words) in registers {
                place(key, words).with_context(|| format!("{at}.registers.{key}"))?;
            }
        }
        Ok(test)
    }

    /// The scenario of the simulated device.
    pub(super) fn scenario(&self) -> Result<Json> {
        if let Some(scenario) = &self.given.scenario {
            return Ok(scenario.clone());
        }
        if !self.given.command.is_empty() {
            return Ok(json!({}));
        }
        let unit = self.given.unit.unwrap_or_default();
        let mut unit = json!({"unit": unit, "name": "profile under test"});
        for (key, words) in &self.given.registers {
            let (table, first) = place(key, words)?;
            let entries = unit
                .as_object_mut()
                .map(|unit| unit.entry(table.name()).or_insert_with(|| json!([])));
            let Some(Json::Array(entries)) = entries else {
                continue;
            };
            for (index, word) in words.iter().enumerate() {
                let value = if table.is_bits() {
                    json!(*word != 0)
                } else {
                    json!(word)
                };
                entries.push(json!({"address": usize::from(first) + index, "value": value}));
            }
        }
        Ok(json!({"units": [unit]}))
    }
}

/// The reader's message about a key that it does not know, with the one that may
/// have been meant.
fn meant(message: &str) -> anyhow::Error {
    let quoted = |text: &str| Some(text.split('`').nth(1)?.to_owned());
    let known = message
        .split_once("unknown field")
        .and_then(|(_, rest)| Some((quoted(rest)?, rest.split_once("expected")?.1)));
    let Some((key, known)) = known else {
        return anyhow::anyhow!("{message}");
    };
    let words = known.split(|c: char| !c.is_alphanumeric());
    match nearest(&key, words.filter(|word| word.len() > 1)) {
        Some(word) => anyhow::anyhow!("{message}; did you mean `{word}`?"),
        None => anyhow::anyhow!("{message}"),
    }
}

impl Given {
    fn check(&self) -> Result<()> {
        if let Some(program) = self.command.first() {
            if program.is_empty() {
                bail!("given.command: the program has no name");
            }
            if !self.registers.is_empty() {
                bail!("given: `command` and `registers` exclude each other");
            }
            return Ok(());
        }
        match (&self.scenario, self.registers.is_empty()) {
            (Some(_), true) => Ok(()),
            (Some(_), false) => bail!("given: `scenario` and `registers` exclude each other"),
            (None, true) => bail!(
                "given: write `registers` of a Modbus unit, the `scenario` of the protocol's simulator, or a `command` that simulates the device"
            ),
            (None, false) if self.unit.is_none() => bail!("given.unit: missing"),
            (None, false) => {
                for (key, words) in &self.registers {
                    place(key, words).with_context(|| format!("given.registers.{key}"))?;
                }
                Ok(())
            }
        }
    }
}

impl Step {
    /// Time that passes before one looks.
    pub(super) fn pause(&self) -> Result<Duration> {
        let Some(text) = &self.after else {
            return Ok(Duration::ZERO);
        };
        let (number, unit) = match text.trim().strip_suffix("ms") {
            Some(number) => (number, 0.001),
            None => (text.trim().strip_suffix('s').unwrap_or_default(), 1.0),
        };
        let seconds = number
            .trim()
            .parse::<f64>()
            .ok()
            .map(|number| number * unit);
        seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .with_context(|| format!("`{text}` is no time such as 500ms or 2s"))
    }

    /// Modbus words as the simulator's control takes them.
    pub(super) fn words(&self, unit: u8) -> Result<Vec<Json>> {
        let set = self.registers.iter().map(|(key, words)| {
            let (table, address) = place(key, words)?;
            Ok(json!({"unit": unit, "table": table.key(), "address": address, "values": words}))
        });
        set.collect()
    }
}

impl WriteTest {
    /// Table, address and word of each register that must have been written.
    pub(super) fn words(&self) -> Result<Vec<(Table, u16, u16)>> {
        let mut all = Vec::new();
        for (key, words) in &self.registers {
            let (table, first) = place(key, words)?;
            all.extend(
                words
                    .iter()
                    .zip(first..)
                    .map(|(word, address)| (table, address, *word)),
            );
        }
        Ok(all)
    }
}

impl Table {
    /// As scenarios spell it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Coils => "coils",
            Self::Discrete => "discrete",
            Self::Input => "input",
            Self::Holding => "holding",
        }
    }

    /// As the simulator's control spells it.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Coils => "coil",
            other => other.name(),
        }
    }

    /// As addresses spell it.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::Coils => "co",
            Self::Discrete => "di",
            Self::Input => "ir",
            Self::Holding => "hr",
        }
    }

    fn is_bits(self) -> bool {
        matches!(self, Self::Coils | Self::Discrete)
    }
}

/// Table and first address of `ir:0`, with room for the words.
fn place(key: &str, words: &[u16]) -> Result<(Table, u16)> {
    let (table, address) = key
        .split_once(':')
        .context("expected a table and an address such as hr:0")?;
    let table = match table {
        "co" => Table::Coils,
        "di" => Table::Discrete,
        "ir" => Table::Input,
        "hr" => Table::Holding,
        other => bail!("`{other}` is not a table, expected co, di, ir or hr"),
    };
    let address: u16 = address
        .parse()
        .with_context(|| format!("`{address}` is not an address from 0 to 65535"))?;
    if words.is_empty() {
        bail!("there are no words");
    }
    if usize::from(address) + words.len() > 65_536 {
        bail!("the words go beyond address 65535");
    }
    if table.is_bits() && words.iter().any(|word| *word > 1) {
        bail!("a bit is 0 or 1");
    }
    Ok((table, address))
}

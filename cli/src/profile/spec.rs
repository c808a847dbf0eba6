//! The test file of a profile.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// A test: words of a device and the values that shall come out of them.
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
    pub(super) expect: BTreeMap<String, Json>,
    /// Writes, one after the other.
    #[serde(default)]
    pub(super) write: Vec<WriteTest>,
}

/// What the device holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    /// Address of the unit.
    pub(super) unit: u8,
    /// Words from an address on: `"ir:0": [0x4366, 0x3333]`.
    pub(super) registers: BTreeMap<String, Vec<u16>>,
}

/// A write and the words that the device shall hold afterwards.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteTest {
    /// New desired values.
    pub(super) set: BTreeMap<String, Json>,
    /// Words that must have been written.
    #[serde(default)]
    pub(super) registers: BTreeMap<String, Vec<u16>>,
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
        let test: Self = serde_saphyr::from_str_with_options(text, options)?;
        if test.given.registers.is_empty() {
            bail!("given.registers: there are none");
        }
        for (key, words) in &test.given.registers {
            place(key, words).with_context(|| format!("given.registers.{key}"))?;
        }
        for (index, write) in test.write.iter().enumerate() {
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
        Ok(test)
    }

    /// The scenario of the simulated device.
    pub(super) fn scenario(&self) -> Result<Json> {
        let mut unit = json!({"unit": self.given.unit, "name": "profile under test"});
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

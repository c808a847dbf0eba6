//! Looks for units on a bus, says what they say of themselves, and which
//! registers they let read.

use std::ops::RangeInclusive;

use longshore_sdk::{
    DiscoverError, Discovered, Fault, FoundDevice, FoundProperty, RequestError, config::Section,
};
use serde_json::{Map, Value, json};

use crate::{
    bus::{Bus, Unit},
    config,
    driver::Line,
    keys,
    pdu::{self, Exception},
    point::{Table, whole},
};

/// Silent units cost this each, unless `timeoutMs` says otherwise.
pub(crate) const TIMEOUT_MS: u32 = 200;
/// Most devices have a small number, and each silent unit costs time.
const UNITS: RangeInclusive<u8> = 1..=32;
/// Registers looked at for one unit at most.
const MOST_REGISTERS: usize = 2_000;
/// Registers that bring no answer, after which the rest of a range is not asked for:
/// each costs a timeout.
const MOST_SILENT: usize = 16;

/// What to look for.
pub(crate) struct Request {
    bus: Bus,
    /// The keys that reach the bus, for the devices that are found.
    line: Map<String, Value>,
    units: Vec<Unit>,
    ranges: Vec<(Table, RangeInclusive<u16>)>,
}

impl Request {
    pub(crate) fn parse(request: &Map<String, Value>) -> Result<Self, Vec<Fault>> {
        let section = Section::new(&keys::DISCOVERY, "", request);
        let bus = config::bus(&section);
        let defaults = crate::bus::Settings {
            timeout_ms: TIMEOUT_MS,
            ..Default::default()
        };
        let settings = config::settings(&section, defaults);
        let ids = section.value("units").map_or_else(
            || Some(UNITS.collect()),
            |value| {
                units(value)
                    .map_err(|message| section.fault("units", message))
                    .ok()
            },
        );
        let ranges = section.value("registers").map_or_else(
            || Some(Vec::new()),
            |value| {
                ranges(value)
                    .map_err(|message| section.fault("registers", message))
                    .ok()
            },
        );
        let (faults, _) = section.finish();
        let (Some(bus), Some(ids), Some(ranges), true) = (bus, ids, ranges, faults.is_empty())
        else {
            return Err(faults);
        };
        let line = request
            .iter()
            .filter(|(key, _)| !["units", "registers", "timeoutMs"].contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let units = ids
            .into_iter()
            .map(|id: u8| Unit { id, settings })
            .collect();
        Ok(Self {
            bus,
            line,
            units,
            ranges,
        })
    }

    pub(crate) async fn run(&self) -> Result<Discovered, DiscoverError> {
        let mut found = Discovered::default();
        let mut line = Line::open(self.bus.clone()).await?;
        for unit in &self.units {
            match self.look_at(&mut line, unit, &mut found.notes).await {
                Ok(Some(device)) => found.devices.push(device),
                Ok(None) => {}
                Err(RequestError::Line(message)) => {
                    // A server that minds a unit may close the connection.
                    found.notes.push(format!("unit {}: {message}", unit.id));
                    line = Line::open(self.bus.clone()).await?;
                }
                Err(error) => found.notes.push(format!("unit {}: {error}", unit.id)),
            }
        }
        let (first, last) = (self.units.first(), self.units.last());
        if let (Some(first), Some(last)) = (first, last) {
            found.notes.push(format!(
                "asked {} units, {} to {}, on {}; `units` names others",
                self.units.len(),
                first.id,
                last.id,
                self.bus
            ));
        }
        if self.ranges.is_empty() && !found.devices.is_empty() {
            found.notes.push(
                "Modbus devices do not tell what their registers mean: `registers` such as \"hr:0-9\" lists those that can be read, the maker's register map says the rest"
                    .to_owned(),
            );
        }
        Ok(found)
    }

    async fn look_at(
        &self,
        line: &mut Line,
        unit: &Unit,
        notes: &mut Vec<String>,
    ) -> Result<Option<FoundDevice>, RequestError> {
        let objects = match line.identify(unit).await {
            Ok(objects) => objects,
            Err(RequestError::Refused(_) | RequestError::Garbled(_)) => Map::new(),
            // Some devices say nothing to a function that they do not know.
            Err(RequestError::Timeout(_)) if self.reads_anything(line, unit).await? => Map::new(),
            Err(RequestError::Timeout(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut device = FoundDevice {
            name: name_of(&objects, unit.id),
            description: description(&objects),
            protocol: self.line.clone(),
            properties: Vec::new(),
        };
        device.protocol.insert("unit".to_owned(), unit.id.into());
        for (table, range) in &self.ranges {
            let silent = list(line, unit, *table, range, &mut device.properties).await?;
            if silent > 0 {
                notes.push(format!(
                    "unit {}: {silent} of the {table}s were not answered at all",
                    unit.id
                ));
            }
        }
        Ok(Some(device))
    }

    /// Whether the unit answers a read, be it with a refusal.
    async fn reads_anything(&self, line: &mut Line, unit: &Unit) -> Result<bool, RequestError> {
        let first = self.ranges.first();
        let first = first.map(|(table, range)| (*table, *range.start()));
        let usual = (Table::HoldingRegisters, 0);
        for (table, address) in first
            .into_iter()
            .filter(|first| *first != usual)
            .chain([usual])
        {
            match line.read_words(unit, table, address, 1).await {
                Err(RequestError::Timeout(_)) => {}
                Ok(_) | Err(RequestError::Garbled(_)) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// Asks for blocks, and for halves of them where a block is refused or not
/// answered. Gives how many registers brought no answer.
async fn list(
    line: &mut Line,
    unit: &Unit,
    table: Table,
    range: &RangeInclusive<u16>,
    properties: &mut Vec<FoundProperty>,
) -> Result<usize, RequestError> {
    let most = if table.is_bits() {
        unit.settings.max_bits
    } else {
        unit.settings.max_registers
    };
    let (first, end) = (u32::from(*range.start()), u32::from(*range.end()) + 1);
    let blocks = (first..end).step_by(usize::from(most.max(1)));
    let mut waiting: Vec<(u16, u16)> = blocks
        .map(|at| (at as u16, (end - at).min(u32::from(most)) as u16))
        .collect();
    waiting.reverse();
    let mut silent = 0;
    while let Some((at, count)) = waiting.pop() {
        match line.read_words(unit, table, at, count).await {
            Ok(Ok(words)) => {
                let found = words.iter().zip(at..=at + (count - 1));
                properties.extend(found.map(|(word, at)| property(table, at, *word)));
            }
            Ok(Err(_)) | Err(RequestError::Timeout(_) | RequestError::Garbled(_)) if count > 1 => {
                let half = count / 2;
                waiting.push((at + half, count - half));
                waiting.push((at, half));
            }
            Ok(Err(_)) => {}
            Err(RequestError::Timeout(_) | RequestError::Garbled(_)) => silent += 1,
            Err(error) => return Err(error),
        }
        if silent >= MOST_SILENT {
            let left: usize = waiting.iter().map(|(_, count)| usize::from(*count)).sum();
            return Ok(silent + left);
        }
    }
    Ok(silent)
}

impl Line {
    /// The objects of the device's identification: basic ones, and the regular
    /// ones where the device has them.
    pub(crate) async fn identify(
        &mut self,
        unit: &Unit,
    ) -> Result<Map<String, Value>, RequestError> {
        // Category 2 includes the basic objects; a device that has only those
        // answers with them (section 6.21).
        match self.identify_by(unit, 2).await? {
            Ok(objects) => Ok(objects),
            Err(_) => self
                .identify_by(unit, 1)
                .await?
                .map_err(|exception| RequestError::Refused(exception.to_string())),
        }
    }

    async fn identify_by(
        &mut self,
        unit: &Unit,
        category: u8,
    ) -> Result<Result<Map<String, Value>, Exception>, RequestError> {
        let mut objects = Map::new();
        let mut next = 0;
        // Each answer brings at least one of 256 objects.
        for _ in 0..=255 {
            let data = match self
                .fetch(unit, &pdu::Request::identify(category, next))
                .await?
            {
                Ok(data) => data,
                Err(exception) => return Ok(Err(exception)),
            };
            let part = crate::method::identification(&data);
            objects.extend(part.objects);
            match part.next {
                Some(more) if more > next => next = more,
                _ => break,
            }
        }
        Ok(Ok(objects))
    }

    /// Registers, or bits as 0 and 1.
    pub(crate) async fn read_words(
        &mut self,
        unit: &Unit,
        table: Table,
        address: u16,
        count: u16,
    ) -> Result<Result<Vec<u16>, Exception>, RequestError> {
        let request = pdu::Request::read(table.read_function(), address, count);
        let data = match self.fetch(unit, &request).await? {
            Ok(data) => data,
            Err(exception) => return Ok(Err(exception)),
        };
        Ok(Ok(if table.is_bits() {
            (0..usize::from(count))
                .map(|i| {
                    data.get(i / 8)
                        .map_or(0, |byte| u16::from(byte >> (i % 8) & 1))
                })
                .collect()
        } else {
            data.chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect()
        }))
    }
}

fn property(table: Table, address: u16, word: u16) -> FoundProperty {
    let (short, title) = match table {
        Table::Coils => ("co", "coil"),
        Table::DiscreteInputs => ("di", "discrete"),
        Table::InputRegisters => ("ir", "input"),
        Table::HoldingRegisters => ("hr", "holding"),
    };
    let mut config = Map::new();
    config.insert("address".to_owned(), format!("{short}:{address}").into());
    if !table.is_bits() {
        config.insert("rawType".to_owned(), json!("uint16"));
    }
    FoundProperty {
        name: format!("{title}{address}"),
        description: format!("{table} {address}"),
        twin_type: if table.is_bits() { "BOOLEAN" } else { "INT" }.to_owned(),
        // Whether writing it is wise, only the maker's register map tells.
        writable: false,
        unit: String::new(),
        value: Some(if table.is_bits() {
            (word == 1).to_string()
        } else {
            word.to_string()
        }),
        config,
    }
}

/// `1`, `[1, 2, 17]`, `"1-247"`, `"1,2,10-20"`.
fn units(value: &Value) -> Result<Vec<u8>, String> {
    let expected = "expected unit numbers such as [1, 2] or \"1-247\"";
    let all: Vec<u8> = match value {
        Value::Number(number) => number
            .as_u64()
            .and_then(|n| u8::try_from(n).ok())
            .into_iter()
            .collect(),
        Value::Array(list) => {
            let numbers = list
                .iter()
                .map(|one| one.as_u64().and_then(|n| u8::try_from(n).ok()));
            numbers.collect::<Option<_>>().ok_or(expected)?
        }
        Value::String(text) => {
            let mut all = Vec::new();
            for part in text.split(',') {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let (first, last) = (first.trim().parse::<u8>(), last.trim().parse::<u8>());
                let (Ok(first), Ok(last)) = (first, last) else {
                    return Err(format!("`{part}`: {expected}"));
                };
                all.extend(first..=last);
            }
            all
        }
        _ => return Err(expected.to_owned()),
    };
    if all.is_empty() {
        Err(expected.to_owned())
    } else {
        Ok(all)
    }
}

/// `"hr:0-9"` or a list of such.
fn ranges(value: &Value) -> Result<Vec<(Table, RangeInclusive<u16>)>, String> {
    let texts: Vec<&str> = match value {
        Value::String(text) => text.split(',').map(str::trim).collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut all = Vec::new();
    let mut count = 0;
    for text in texts {
        let wrong = || {
            format!("`{text}`: expected registers such as \"hr:0-9\", \"ir:100\" or \"co:0-15\"")
        };
        let (table, place) = text.split_once(':').ok_or_else(wrong)?;
        let table = Table::by_name(table).ok_or_else(wrong)?;
        let (first, last) = place.split_once('-').unwrap_or((place, place));
        let number = |text| whole(text).and_then(|number| u16::try_from(number).ok());
        let first = number(first).ok_or_else(wrong)?;
        let last = number(last).ok_or_else(wrong)?;
        if first > last {
            return Err(wrong());
        }
        count += usize::from(last - first) + 1;
        all.push((table, first..=last));
    }
    if all.is_empty() {
        return Err("expected registers such as \"hr:0-9\"".to_owned());
    }
    if count > MOST_REGISTERS {
        return Err(format!(
            "{count} registers are more than the {MOST_REGISTERS} that are looked at at once"
        ));
    }
    Ok(all)
}

fn name_of(objects: &Map<String, Value>, unit: u8) -> String {
    let product = ["modelName", "productName", "productCode"]
        .iter()
        .find_map(|key| {
            objects
                .get(*key)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        });
    let Some(product) = product else {
        return format!("unit-{unit}");
    };
    let mut name = String::new();
    for letter in product.to_ascii_lowercase().chars().take(40) {
        if letter.is_ascii_alphanumeric() {
            name.push(letter);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() {
        format!("unit-{unit}")
    } else {
        format!("{name}-{unit}")
    }
}

fn description(objects: &Map<String, Value>) -> String {
    let texts: Vec<&str> = objects
        .values()
        .filter_map(Value::as_str)
        .filter(|text| !text.is_empty())
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_registers_may_be_lists_and_ranges() {
        assert_eq!(units(&json!("1,3-5")), Ok(vec![1, 3, 4, 5]));
        assert_eq!(units(&json!([7, 255])), Ok(vec![7, 255]));
        assert!(units(&json!("1-300")).is_err());
        assert_eq!(
            ranges(&json!("hr:0-9, co:3")),
            Ok(vec![
                (Table::HoldingRegisters, 0..=9),
                (Table::Coils, 3..=3)
            ])
        );
        assert!(ranges(&json!("xx:1")).is_err());
        assert!(ranges(&json!("hr:0-60000")).is_err());
    }

    #[test]
    fn a_device_is_named_after_its_product() {
        let objects = json!({"vendorName": "Acme", "productCode": "EM 24/DIN "});
        assert_eq!(name_of(objects.as_object().unwrap(), 3), "em-24-din-3");
        assert_eq!(name_of(&Map::new(), 3), "unit-3");
    }
}

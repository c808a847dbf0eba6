//! A mapper's tables of keys against what its reader asks for.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{
    DeviceConfig, Protocol,
    keys::{Form, Table},
    schema::Document,
};

/// The keys of the tables, by their paths, that the reader asks for with none of
/// the devices: they would stand in the reference and do nothing. Each device is
/// a whole configuration; every key that it does not have is added to it as null.
///
/// # Panics
/// A device, or one of its points, has a fault.
pub fn unread<P: Protocol>(protocol: &P, document: &Document, devices: &[Value]) -> Vec<String> {
    let (mut given, mut read) = (BTreeSet::new(), BTreeSet::new());
    for device in devices {
        let mut here = BTreeSet::new();
        let mut device = device.clone();
        fill(
            &mut device["protocol"],
            document.device,
            "protocol",
            &mut here,
        );
        for (list, table) in [
            ("points", Some(document.property)),
            ("methods", document.method),
        ] {
            let items = device.get_mut(list).and_then(Value::as_array_mut);
            for (index, item) in items.into_iter().flatten().enumerate() {
                let at = format!("{list}[{index}].config");
                if let Some(table) = table {
                    fill(&mut item["config"], table, &at, &mut here);
                }
            }
        }
        let config: DeviceConfig = match serde_json::from_value(device) {
            Ok(config) => config,
            Err(error) => panic!("not a device: {error}"),
        };
        let parsed = match protocol.parse(&config) {
            Ok(parsed) => parsed,
            Err(faults) => panic!("{faults:?}"),
        };
        let faults: Vec<_> = parsed
            .points
            .iter()
            .filter_map(|p| p.as_ref().err())
            .collect();
        assert!(faults.is_empty(), "{faults:?}");
        let ignored: BTreeSet<_> = parsed.warnings.into_iter().map(|at| at.path).collect();
        read.extend(here.difference(&ignored).map(|path| without_index(path)));
        given.extend(here.iter().map(|path| without_index(path)));
    }
    given.difference(&read).cloned().collect()
}

fn fill(value: &mut Value, table: &Table, at: &str, given: &mut BTreeSet<String>) {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(map) = value else { return };
    for key in table.iter() {
        let path = format!("{at}.{}", key.name);
        let value = map.entry(key.name).or_insert(Value::Null);
        // Those of another part are looked at there.
        let inner = match key.form {
            Form::As(_) => None,
            form => form.table(),
        };
        if let (Value::Object(_), Some(inner)) = (&value, inner) {
            fill(value, inner, &path, given);
        }
        given.insert(path);
    }
}

/// `points[3].config.address` as `points.config.address`.
fn without_index(path: &str) -> String {
    let mut parts = path.split(['[', ']']);
    let first = parts.next().unwrap_or_default().to_owned();
    first + parts.nth(1).unwrap_or_default()
}

//! What a mapper is told of a device, and what it says about that, in the words
//! of those who wrote the manifests.

use longshore_types::{
    EffectiveDevice, Fault, Value, device::AccessMode, effective::EffectiveProperty, fault::Level,
    method::json,
};
use serde_json::Value as Json;

/// Where a Device and its model have what its mapper was told of.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Index of each point's property.
    pub(super) properties: Vec<usize>,
    /// Key path of each method with a call.
    pub(super) methods: Vec<Box<str>>,
}

impl Places {
    /// A key path of the mapper's configuration, and what follows it, as people
    /// know it.
    pub(super) fn in_manifest(&self, path: &str) -> Option<String> {
        if let Some(rest) = path.strip_prefix("protocol") {
            return Some(format!("spec.protocol.configData{rest}"));
        }
        let place = |list: &str| {
            let (index, rest) = path.strip_prefix(list)?.split_once(']')?;
            Some((index.parse::<usize>().ok()?, rest))
        };
        if let Some((index, rest)) = place("methods[") {
            let method = self.methods.get(index)?;
            return Some(match rest.strip_prefix(".config") {
                Some(key) => format!("{method}.call{key}"),
                None => format!("{method}{rest}"),
            });
        }
        let (index, rest) = place("points[")?;
        let index = self.properties.get(index)?;
        Some(match rest.strip_prefix(".config") {
            Some(key) => format!("spec.properties[{index}].visitors.configData{key}"),
            None => format!("spec.properties[{index}]{rest}"),
        })
    }
}

/// Whether a text begins with a key path of the mapper's configuration.
pub(super) fn is_place(text: &str) -> bool {
    let begins = ["protocol.", "protocol:", "points[", "methods["];
    begins.iter().any(|begin| text.starts_with(begin))
}

/// The faults of a completion: a JSON array as the contract has it. Key paths
/// of the mapper's configuration become those of the Device.
pub(super) fn mapper_faults(message: &str, places: &Places) -> Vec<Fault> {
    let mut faults: Vec<Fault> = serde_json::from_str(message).unwrap_or_default();
    for fault in &mut faults {
        // A mapper has one list for what costs no property; a call that it
        // cannot carry out is an error all the same, an unknown key is none.
        if fault.path.starts_with("methods[") && !fault.message.starts_with("unknown key") {
            fault.level = Level::Error;
        }
        if let Some(path) = places.in_manifest(&fault.path) {
            fault.path = path;
        }
    }
    faults
}

/// What a device is sent after each connecting: point and raw value. Bytes have a
/// key of their own, since JSON has none.
pub(super) fn at_connecting(point: u32, raw: &Value) -> Json {
    match raw {
        Value::Bytes(bytes) => serde_json::json!({"point": point, "bytes": bytes}),
        raw => serde_json::json!({"point": point, "value": json(raw)}),
    }
}

/// The JSON of `COMMAND_CONFIGURE`. Broken properties are left out: the mapper
/// could do nothing with them. `shared` gives what [`told`] made for a property of
/// the same kind.
pub(super) fn configuration<'a>(
    effective: &EffectiveDevice,
    points: &[u32],
    connect: Vec<Json>,
    shared: impl Fn(&EffectiveProperty) -> Option<&'a str>,
) -> String {
    let mut json = String::from("{\"device\":");
    json.push_str(&serde_json::Value::from(effective.name.as_str()).to_string());
    json.push_str(",\"protocol\":");
    // What was read from JSON has a JSON form.
    json.push_str(&serde_json::to_string(&effective.protocol_config).unwrap_or_default());
    json.push_str(",\"points\":[");
    let usable = effective
        .properties
        .iter()
        .zip(points)
        .filter(|(property, _)| property.broken.is_none());
    for (index, (property, id)) in usable.enumerate() {
        json.push_str(if index == 0 { "{\"id\":" } else { ",{\"id\":" });
        json.push_str(itoa::Buffer::new().format(*id));
        json.push(',');
        match shared(property) {
            Some(told) => json.push_str(told),
            None => json.push_str(&told(property)),
        }
    }
    json.push(']');
    let methods: Vec<_> = effective
        .methods
        .iter()
        .filter_map(|method| {
            let config = method.call.as_ref()?;
            Some(serde_json::json!({"name": &*method.name, "config": config}))
        })
        .collect();
    // What is new is said only where somebody asked for it: a mapper of before
    // may not know the key.
    if !methods.is_empty() {
        json.push_str(",\"methods\":");
        json.push_str(&serde_json::Value::Array(methods).to_string());
    }
    if !connect.is_empty() {
        json.push_str(",\"connect\":");
        json.push_str(&Json::Array(connect).to_string());
    }
    json.push('}');
    json
}

/// What a mapper is told of a property, behind the point's id: the same for each
/// device that uses it in the same way.
pub(super) fn told(property: &EffectiveProperty) -> String {
    let command = property.policy.write.command;
    let interval_ms = match command {
        // What is commanded is not read.
        true => 0,
        false => property.collect_cycle.as_millis() as u64,
    };
    let mut json = serde_json::json!({
        "name": property.name,
        "writable": property.access == AccessMode::ReadWrite,
        "intervalMs": interval_ms,
        "type": property.value_type.as_str(),
    });
    let policy = &property.policy;
    if let Some(sampling) = policy.sampling.as_str() {
        json["sampling"] = sampling.into();
    }
    if let Some(group) = &policy.group {
        json["group"] = (**group).into();
    }
    if command {
        json["command"] = true.into();
    }
    if policy.write.priority != 0 {
        json["priority"] = policy.write.priority.into();
    }
    json["config"] = serde_json::Value::Object((*property.config).clone());
    // An object with keys: without its first bracket it goes on behind the id.
    json.to_string().split_off(1)
}

//! `connect`: what is written to a device after each connecting, before anything is
//! read or sent by itself. Control points of sensors want that.

use serde_json::Value as Json;

use super::EffectiveProperty;
use crate::{
    device::{AccessMode, FreeObject},
    fault::Fault,
    policy::kind,
    value::Value,
    vocabulary::{self, DEVICE_PATHS},
};

/// One write at each connecting.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectWrite {
    /// Where it stands: `spec.protocol.configData.connect[0]`.
    pub path: Box<str>,
    /// Index of the property among the device's.
    pub property: usize,
    /// As the twin's type has it.
    pub value: Value,
}

/// The list, and where it stands.
pub(super) struct List {
    path: &'static str,
    value: Json,
}

/// Takes the key out of both objects. The device's list counts in place of the
/// model's: the order is part of what it says.
pub(super) fn take(model: Option<&mut FreeObject>, device: &mut FreeObject) -> Option<List> {
    let of_model = model.and_then(|model| model.shift_remove("connect"));
    let of_device = device.shift_remove("connect");
    let list = |path, value| List { path, value };
    of_device
        .map(|value| list("spec.protocol.configData.connect", value))
        .or(of_model.map(|value| list("model.spec.protocolConfigData.connect", value)))
}

/// What is to be written. One that is wrong costs itself.
pub(super) fn read(
    list: List,
    of_model: &[String],
    properties: &[EffectiveProperty],
    faults: &mut Vec<Fault>,
) -> Vec<ConnectWrite> {
    let List { path, value } = list;
    let Json::Array(items) = value else {
        let message = format!("expected a list, got {}", kind(&value));
        faults.push(Fault::error(path, message));
        return Vec::new();
    };
    let mut writes = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let place = format!("{path}[{index}]");
        let Json::Object(object) = item else {
            let message = format!("expected {{write, value}}, got {}", kind(item));
            faults.push(Fault::error(place, message));
            continue;
        };
        let known = vocabulary::below(&DEVICE_PATHS, "connect[]");
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            let message = format!("unknown key, expected one of {}", known.join(", "));
            faults.push(Fault::warning(format!("{place}.{key}"), message));
        }
        let name = object.get("write").and_then(Json::as_str);
        // A model's list may name properties that this device does not use.
        let unused = |name: &str| of_model.iter().any(|known| known == name);
        if path.starts_with("model.") && name.is_some_and(unused) {
            continue;
        }
        match one(object, name, properties) {
            Ok((property, value)) => writes.push(ConnectWrite {
                path: place.into(),
                property,
                value,
            }),
            Err((key, message)) => {
                faults.push(Fault::error(format!("{place}.{key}"), message));
            }
        }
    }
    writes
}

fn one(
    object: &FreeObject,
    name: Option<&str>,
    properties: &[EffectiveProperty],
) -> Result<(usize, Value), (&'static str, String)> {
    let of_write = |message: String| ("write", message);
    let name = name.ok_or_else(|| of_write("expected the name of a property".to_owned()))?;
    let at = properties.iter().position(|known| known.name == name);
    let at = at.ok_or_else(|| of_write(format!("the device has no property `{name}`")))?;
    let property = &properties[at];
    if property.broken.is_some() {
        let message = format!("property `{name}` cannot be used, see its own fault");
        return Err(of_write(message));
    }
    if property.access != AccessMode::ReadWrite {
        return Err(of_write(format!("property `{name}` is read-only")));
    }
    if property.policy.bits.is_part() {
        let message = format!("`{name}` is a part of a register, which has to be read before");
        return Err(of_write(message));
    }
    let text = match object.get("value") {
        Some(Json::String(text)) => text.clone(),
        Some(value @ (Json::Number(_) | Json::Bool(_))) => value.to_string(),
        Some(value @ (Json::Array(_) | Json::Object(_))) => value.to_string(),
        Some(Json::Null) | None => return Err(("value", "expected the value".to_owned())),
    };
    let value = property.check_text(&text);
    value
        .map(|value| (at, value))
        .map_err(|error| ("value", error.to_string()))
}

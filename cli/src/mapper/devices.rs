//! Devices as the mapper contract has them, from what people have: the manifests
//! of a Device and its model, or the JSON of the contract itself.

use std::path::Path;

use anyhow::{Context, Result, bail};
use longshore_types::{EffectiveDevice, Manifests};
use serde_json::Value as Json;

use crate::{output::advised, validate};

/// The devices of a file.
pub(super) fn load(file: &Path) -> Result<Vec<Json>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("failed to read {}", file.display()))?;
    match serde_json::from_str::<Json>(&text) {
        // A manifest may be JSON too.
        Ok(json) if json.get("kind").is_none() => of_contract(file, json),
        _ => of_manifests(file),
    }
}

fn of_contract(file: &Path, json: Json) -> Result<Vec<Json>> {
    let devices = match json {
        Json::Array(devices) => devices,
        device => vec![device],
    };
    if let Some(other) = devices.iter().find(|device| !device.is_object()) {
        return Err(advised(
            format!(
                "{} is not the JSON of a device, or a list of them: found {other}",
                file.display()
            ),
            r#"{"device": "default/name", "protocol": {…}, "points": [{"name": …, "type": "FLOAT", "config": {…}}]}"#,
        ));
    }
    Ok(devices)
}

fn of_manifests(file: &Path) -> Result<Vec<Json>> {
    let manifests =
        Manifests::load(file).with_context(|| format!("failed to read {}", file.display()))?;
    let faults: Vec<String> = manifests.errors().map(ToString::to_string).collect();
    if !faults.is_empty() {
        bail!("{}", faults.join("\nerror: "));
    }
    let mut devices = Vec::new();
    for device in &manifests.devices {
        let wanted = device.object.model_name();
        let mut models = manifests.models.iter();
        let model = models.find(|model| model.object.metadata.name == wanted);
        let Some(model) = model else {
            bail!(
                "{}: there is no model `{wanted}` of device `{}` in it",
                file.display(),
                device.object.metadata.name
            );
        };
        let effective = EffectiveDevice::build(&device.object, &model.object);
        let effective = effective.map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("{}: {}", device.place, faults.join("; "))
        })?;
        devices.push(validate::configuration(&effective));
    }
    if devices.is_empty() {
        return Err(advised(
            format!("{} has no Device", file.display()),
            "a Device and its DeviceModel, as `edgecore` and kubectl take them",
        ));
    }
    Ok(devices)
}

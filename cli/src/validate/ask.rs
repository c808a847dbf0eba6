//! What the mapper itself says of a device: rules that no schema can tell.
//!
//! The mapper runs for a moment and gets each device as on an edge node, but
//! with no point to be read. One that says that it can only judges it; another
//! may open the line, which is why it is only asked where somebody wants that.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::Result;
use longshore_host::{CommandKind, Status};
use longshore_types::{EffectiveDevice, Fault, device::AccessMode, effective::EffectiveProperty};
use serde_json::{Value as Json, json};

use crate::{conversation::Conversation, libraries::Library};

/// Time to read a configuration.
const BUDGET: Duration = Duration::from_secs(5);

/// The mappers that were asked so far.
pub(super) struct Mappers {
    /// A device may be taken over, and its line opened.
    may_connect: bool,
    /// There was one that cannot only judge, and was not asked.
    pub(super) was_spared: bool,
    running: BTreeMap<PathBuf, Conversation>,
}

impl Mappers {
    pub(super) fn new(may_connect: bool) -> Self {
        Self {
            may_connect,
            was_spared: false,
            running: BTreeMap::new(),
        }
    }

    /// The mapper's faults in a device, at key paths in the Device.
    pub(super) async fn ask(
        &mut self,
        library: &Library,
        device: &EffectiveDevice,
    ) -> Result<Vec<Fault>> {
        let judges = library.descriptor.judges();
        if !judges && !self.may_connect {
            self.was_spared = true;
            return Ok(Vec::new());
        }
        let protocol = &library.descriptor.protocol;
        let file = library.file.clone();
        let mapper = self
            .running
            .entry(file)
            .or_insert_with_key(|file| Conversation::start(protocol, file, json!({})));
        let mut config = configuration(device);
        config["check"] = (!self.may_connect).into();
        let configure = CommandKind::Configure(config.to_string());
        let (status, message) = mapper.ask(1, configure, BUDGET).await?;
        if self.may_connect {
            // The next device is not to meet this one on its bus.
            mapper.ask(1, CommandKind::Remove, BUDGET).await?;
        }
        let mut faults = faults(&message, device);
        if status != Status::Ok && faults.is_empty() {
            let message = format!("the mapper refuses the device: {message}");
            faults.push(Fault::error("spec.protocol.configData", message));
        }
        Ok(faults)
    }

    /// Ends them.
    pub(super) async fn end(self) {
        for mapper in self.running.into_values() {
            mapper.end().await;
        }
    }
}

fn usable(device: &EffectiveDevice) -> Vec<&EffectiveProperty> {
    let usable = |property: &&EffectiveProperty| property.broken.is_none();
    device.properties.iter().filter(usable).collect()
}

/// `COMMAND_CONFIGURE` of the mapper contract, rule 28; never polled.
pub(crate) fn configuration(device: &EffectiveDevice) -> Json {
    let point = |(index, property): (usize, &EffectiveProperty)| {
        let mut point = json!({
            "id": index + 1,
            "name": property.name,
            "writable": property.access == AccessMode::ReadWrite,
            "intervalMs": 0,
            "type": property.value_type.as_str(),
            "config": *property.config,
        });
        if let Some(group) = &property.policy.group {
            point["group"] = (**group).into();
        }
        point
    };
    let points: Vec<Json> = usable(device).into_iter().enumerate().map(point).collect();
    let methods: Vec<Json> = calls(device)
        .map(|(name, config)| json!({"name": name, "config": config}))
        .collect();
    json!({
        "device": device.name.as_str(),
        "protocol": device.protocol_config,
        "points": points,
        "methods": methods,
    })
}

/// The methods of the mapper.
fn calls(device: &EffectiveDevice) -> impl Iterator<Item = (&str, Json)> {
    device.methods.iter().filter_map(|method| {
        let config = method.call.clone()?;
        Some((&*method.name, Json::Object(config)))
    })
}

/// The faults of a completion; the mapper's key paths become those of the Device.
fn faults(message: &str, device: &EffectiveDevice) -> Vec<Fault> {
    let mut faults: Vec<Fault> = serde_json::from_str(message).unwrap_or_default();
    let points = usable(device);
    let methods: Vec<&str> = calls(device).map(|(name, _)| name).collect();
    for fault in &mut faults {
        if let Some(rest) = fault.path.strip_prefix("protocol") {
            fault.path = format!("spec.protocol.configData{rest}");
        } else if let Some((index, rest)) = indexed(&fault.path, "points[")
            && let Some(point) = points.get(index)
        {
            // `group` and the like stand beside the mapper's own keys.
            let key = rest.strip_prefix(".config").unwrap_or(rest);
            fault.path = format!("spec.properties[{}].visitors.configData{key}", point.index);
        } else if let Some((index, rest)) = indexed(&fault.path, "methods[")
            && let Some(method) = methods.get(index)
        {
            let rest = rest.strip_prefix(".config").unwrap_or(rest);
            fault.path = format!("spec.protocol.configData.methods[{method}].call{rest}");
        }
    }
    faults
}

/// `points[3].config` is 3 and `.config`.
fn indexed<'p>(path: &'p str, list: &str) -> Option<(usize, &'p str)> {
    let (index, rest) = path.strip_prefix(list)?.split_once(']')?;
    Some((index.parse().ok()?, rest))
}

//! A device: its beginning, its faults, and what its mapper is told.

use longshore_types::{
    DeviceName, EffectiveDevice, Fault, Topic, device::AccessMode, effective::EffectiveProperty,
    fault::Level, report::DeviceState,
};

use super::{
    Device, Now, Setup,
    standing::{Cause, Manifest, Reach, Served, Since},
};

impl Device {
    pub(super) fn new(name: DeviceName, uid: String, now: Now) -> Self {
        let topic = Topic::Batch(name.clone()).to_string().into();
        let reach = Reach::Unknown {
            cause: Cause::NotReadYet,
            shown: DeviceState::Unknown,
        };
        Self {
            name,
            uid,
            fingerprint: 0,
            judged: 0,
            topic,
            mapper: None,
            names: Vec::new(),
            points: Vec::new(),
            behavior: None,
            config: Box::default(),
            config_hash: 0,
            wants_config: false,
            setup: Setup::Idle,
            report_state: true,
            state_by_mapper: false,
            last_online_ms: None,
            reach: Since::new(reach, now),
            manifest: Since::unsaid(Manifest::Unread),
            served: Since::unsaid(Served::NotYet),
            interest: u64::MAX,
            wants_batch: false,
            wants_changes: false,
            last_report: None,
            report_due: None,
            snapshot_due: None,
        }
    }

    /// Faults of the manifests. Those that the mapper found stay until it has
    /// looked again.
    pub(super) fn set_faults(&mut self, own: &[Fault], now: Now) {
        let (_, of_mapper) = self.manifest.get().both();
        let of_mapper = of_mapper.to_vec();
        self.set_both(own.to_vec(), of_mapper, now);
    }

    /// Faults that the mapper found.
    pub(super) fn set_mapper_faults(&mut self, of_mapper: Vec<Fault>, now: Now) {
        let (own, _) = self.manifest.get().both();
        let own = own.to_vec();
        self.set_both(own, of_mapper, now);
    }

    fn set_both(&mut self, mut faults: Vec<Fault>, of_mapper: Vec<Fault>, now: Now) {
        let own = faults.len();
        faults.extend(of_mapper);
        self.log_news(&faults);
        self.manifest.turn(Manifest::Read { faults, own }, now);
    }

    /// Says each fault once: a node that works alone has no other place for it.
    fn log_news(&self, faults: &[Fault]) {
        let former = self.manifest.get().faults();
        for fault in faults.iter().filter(|fault| !former.contains(fault)) {
            if fault.is_error() {
                tracing::warn!(device = %self.name, %fault, "fault in a device's configuration");
            } else {
                tracing::warn!(device = %self.name, doubt = %fault, "doubt about a device's configuration");
            }
        }
    }
}

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

/// The JSON of `COMMAND_CONFIGURE`. Broken properties are left out: the mapper
/// could do nothing with them.
pub(super) fn configuration(effective: &EffectiveDevice, points: &[u32]) -> String {
    let usable = effective
        .properties
        .iter()
        .zip(points)
        .filter(|(property, _)| property.broken.is_none());
    let points: Vec<_> = usable.map(|(property, id)| point(property, *id)).collect();
    let mut json = serde_json::json!({ "device": effective.name.as_str(), "protocol": effective.protocol_config, "points": points });
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
        json["methods"] = methods.into();
    }
    json.to_string()
}

fn point(property: &EffectiveProperty, id: u32) -> serde_json::Value {
    let mut json = serde_json::json!({
        "id": id,
        "name": property.name,
        "writable": property.access == AccessMode::ReadWrite,
        "intervalMs": property.collect_cycle.as_millis() as u64,
        "type": property.value_type.as_str(),
    });
    let policy = &property.policy;
    if let Some(sampling) = policy.sampling.as_str() {
        json["sampling"] = sampling.into();
    }
    if let Some(group) = &policy.group {
        json["group"] = (**group).into();
    }
    if policy.write.priority != 0 {
        json["priority"] = policy.write.priority.into();
    }
    json["config"] = serde_json::Value::Object(property.config.clone());
    json
}

//! Objects of the store → what the engine should serve.
//!
//! Level-triggered: it looks at what is, never at what happened, so the order
//! in which devices, models and mappers come does not matter. A device whose
//! object and model are as before is passed over, which keeps a pass over
//! 10,000 devices cheap.

use std::collections::{HashMap, HashSet};

use longshore_types::{Device, DeviceName, NodeName, effective::Blueprint};

use super::{
    engine::Engine,
    now::Now,
    planned::{Planned, hash},
};

/// The kinds that the engine acts on; a change of another one does not wake it.
pub const KINDS: &[&str] = &["Device", "DeviceModel"];

/// An object of the store.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    /// Such as `Device`.
    pub kind: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid, if the API server gave one.
    pub uid: &'a str,
    /// It comes from a folder on the node, not from the hub.
    pub of_folder: bool,
    /// The whole object.
    pub json: &'a str,
}

type Fingerprint = fn(&[u8], &str, Option<&[u8]>) -> u64;

/// The devices of this node among some objects.
pub struct Reconciliation<'a> {
    node: &'a NodeName,
    fingerprint: Fingerprint,
    models: HashMap<(&'a str, &'a str), Object<'a>>,
    parsed: HashMap<(&'a str, &'a str), Result<Blueprint<'static>, String>>,
    /// Those that were not looked at yet.
    devices: std::vec::IntoIter<Object<'a>>,
    seen: HashSet<DeviceName>,
    /// Devices that were looked at, and those of them that were as before.
    looked_at: u32,
    passed_over: u32,
}

impl<'a> Reconciliation<'a> {
    /// Looks at all objects that there are. `fingerprint` tells which Device,
    /// uid and DeviceModel something was made from; the hub computes the same.
    pub fn new(
        node: &'a NodeName,
        objects: impl Iterator<Item = Object<'a>>,
        fingerprint: Fingerprint,
    ) -> Self {
        let (mut models, mut devices) = (HashMap::new(), Vec::new());
        for object in objects {
            match object.kind {
                "DeviceModel" => drop(models.insert((object.namespace, object.name), object)),
                "Device" => devices.push(object),
                _ => {}
            }
        }
        Self {
            node,
            fingerprint,
            models,
            parsed: HashMap::new(),
            seen: HashSet::with_capacity(devices.len()),
            devices: devices.into_iter(),
            looked_at: 0,
            passed_over: 0,
        }
    }

    /// Gives the devices of this node to the engine, one by one, so that only
    /// one is in memory in its long form. Returns all that there are.
    pub fn run(mut self, engine: &mut Engine, now: Now) -> HashSet<DeviceName> {
        self.run_while(engine, now, || true);
        self.finish(engine)
    }

    /// The same for as long as `goes_on` says so, but for one device at least.
    /// False when all have been given: then comes [`Reconciliation::finish`].
    pub fn run_while(&mut self, engine: &mut Engine, now: Now, goes_on: impl Fn() -> bool) -> bool {
        while let Some(object) = self.devices.next() {
            self.give(object, engine, now);
            if !goes_on() {
                break;
            }
        }
        self.devices.len() > 0
    }

    /// Which part of the devices that were looked at was as before, from 0 to 1: the
    /// work that a pass over all of them did in vain.
    pub fn passed_over(&self) -> f64 {
        f64::from(self.passed_over) / f64::from(self.looked_at.max(1))
    }

    /// All devices of this node that there are.
    pub fn finish(self, engine: &mut Engine) -> HashSet<DeviceName> {
        engine.no_more_devices();
        self.seen
    }

    fn give(&mut self, object: Object<'a>, engine: &mut Engine, now: Now) {
        let Ok(name) = DeviceName::new(object.namespace, object.name) else {
            tracing::warn!(object = %format_args!("{}/{}", object.namespace, object.name), "a device with an invalid name is passed over");
            return;
        };
        let planned = self.device(object, engine.fingerprint(&name));
        let is_work = matches!(&planned, Some((_, planned)) if !matches!(planned, Planned::Same));
        self.looked_at += 1;
        self.passed_over += u32::from(!is_work);
        if let Some((fingerprint, planned)) = planned {
            self.seen.insert(name.clone());
            engine.set_device(name, fingerprint, planned, now);
        }
    }

    /// `None` when the device belongs to another node.
    fn device(&mut self, object: Object<'a>, known: Option<u64>) -> Option<(u64, Planned)> {
        let Ok(reference) = serde_json::from_str::<Reference>(object.json) else {
            let message = "the object cannot be read as a Device".to_owned();
            return Some((
                hash(&object.json),
                Planned::Broken {
                    uid: object.uid.to_owned(),
                    reason: "Unreadable",
                    message,
                },
            ));
        };
        let of_node = reference.spec.node_name.unwrap_or_default();
        // A manifest lies on the node itself and need not say which one that is.
        let ours = of_node == self.node.as_str() || (of_node.is_empty() && object.of_folder);
        if !ours {
            return None;
        }
        let model_name = reference
            .spec
            .device_model_ref
            .map(|r| r.name)
            .unwrap_or_default();
        let key = (object.namespace, model_name.as_str());
        let model = self.models.get(&key).copied();
        let fingerprint = (self.fingerprint)(
            object.json.as_bytes(),
            object.uid,
            model.map(|model| model.json.as_bytes()),
        );
        if known == Some(fingerprint) {
            return Some((fingerprint, Planned::Same));
        }
        let broken = |reason, message| Planned::Broken {
            uid: object.uid.to_owned(),
            reason,
            message,
        };
        let planned = match model {
            None if model_name.is_empty() => broken(
                "ModelMissing",
                "spec.deviceModelRef.name: the device names no model".to_owned(),
            ),
            None => broken(
                "ModelNotFound",
                format!(
                    "model `{model_name}` does not exist in namespace `{}`; the device is served as soon as it does",
                    key.0
                ),
            ),
            Some(model) => self
                .build(object, model)
                .unwrap_or_else(|(reason, message)| broken(reason, message)),
        };
        Some((fingerprint, planned))
    }

    fn build(
        &mut self,
        object: Object<'a>,
        model: Object<'a>,
    ) -> Result<Planned, (&'static str, String)> {
        let mut device: Device = serde_json::from_str(object.json)
            .map_err(|error| ("Unreadable", format!("the Device cannot be read: {error}")))?;
        // The store's key is what the hub or the manifest means; the text may leave it out.
        object.namespace.clone_into(&mut device.metadata.namespace);
        object.name.clone_into(&mut device.metadata.name);
        object.uid.clone_into(&mut device.metadata.uid);
        let key = (model.namespace, model.name);
        let model = self
            .parsed
            .entry(key)
            .or_insert_with(|| {
                serde_json::from_str(model.json)
                    .map(Blueprint::owned)
                    .map_err(|error| error.to_string())
            })
            .as_mut()
            .map_err(|error| {
                (
                    "ModelUnreadable",
                    format!("model `{}` cannot be read: {error}", key.1),
                )
            })?;
        match model.build(&device) {
            Ok(effective) => Ok(Planned::Serve(Box::new(effective))),
            Err(faults) => {
                let texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
                Err(("Invalid", texts.join("; ")))
            }
        }
    }
}

/// The little of a Device that tells whether it has to be read as a whole.
#[derive(serde::Deserialize)]
struct Reference {
    #[serde(default)]
    spec: ReferenceSpec,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReferenceSpec {
    node_name: Option<String>,
    device_model_ref: Option<ReferenceName>,
}

#[derive(serde::Deserialize)]
struct ReferenceName {
    #[serde(default)]
    name: String,
}

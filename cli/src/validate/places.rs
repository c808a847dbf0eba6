//! Where a fault stands: the file, document and line of its key, which may be
//! one of the model that the device says nothing about.

use std::{collections::HashMap, sync::Arc};

use longshore_types::{
    Device, DeviceModel, Fault, Level,
    manifest::{Found, Lines, Loaded, Place},
};

/// Where a device's keys may stand in its model.
const OF_MODEL: &str = "model.";
const CONFIG: &str = ".visitors";

/// A fault, ready to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) place: Place,
    /// `device `tank`` or `model `dual-input``.
    owner: String,
    pub(crate) path: String,
    message: String,
    level: Level,
}

impl Told {
    pub(crate) fn is_error(&self) -> bool {
        self.level == Level::Error
    }

    /// `error: tank.yaml:7 (document 2): device `tank`: spec.…: …`
    pub(crate) fn line(&self) -> String {
        let word = if self.is_error() { "error" } else { "warning" };
        let Self {
            place,
            owner,
            path,
            message,
            ..
        } = self;
        format!(
            "{word}: {place} (document {}): {owner}: {path}: {message}",
            place.document
        )
    }
}

/// The documents that were read again, to find lines in them.
#[derive(Default)]
pub(crate) struct Places {
    read: HashMap<(Arc<std::path::Path>, usize), Option<Arc<Lines>>>,
}

impl Places {
    /// Puts a fault of a device where its key stands.
    pub(crate) fn place(
        &mut self,
        fault: Fault,
        device: Option<&Loaded<Device>>,
        model: &Loaded<DeviceModel>,
    ) -> Told {
        let (in_model, path) = match fault.path.strip_prefix(OF_MODEL) {
            Some(rest) => (Some(rest.to_owned()), None),
            None => {
                let in_model = device.map_or_else(
                    || {
                        Some(
                            fault
                                .path
                                .replacen("protocol.configData", "protocolConfigData", 1),
                        )
                    },
                    |device| counterpart(&fault.path, &device.object, &model.object),
                );
                (in_model, Some(fault.path.clone()))
            }
        };
        let of_device = device.zip(path).map(|(device, path)| {
            let found = self.find(&device.place, &path);
            (device, path, found)
        });
        let of_model = in_model.map(|path| {
            let found = self.find(&model.place, &path);
            (path, found)
        });
        match (of_device, of_model) {
            (Some((device, path, found)), None) => {
                told(fault, &device.place, found, path, owner_of(&device.object))
            }
            (Some((device, path, found)), Some((_, other))) if !is_nearer(other, found, &path) => {
                told(fault, &device.place, found, path, owner_of(&device.object))
            }
            (_, Some((path, found))) => {
                let owner = format!("model `{}`", model.object.metadata.name);
                told(fault, &model.place, found, path, owner)
            }
            (None, None) => {
                let owner = format!("model `{}`", model.object.metadata.name);
                let path = fault.path.clone();
                told(fault, &model.place, None, path, owner)
            }
        }
    }

    fn find(&mut self, place: &Place, path: &str) -> Option<Found> {
        let key = (Arc::clone(&place.file), place.document);
        let lines = self
            .read
            .entry(key)
            .or_insert_with(|| Lines::read(place).map(Arc::new));
        lines.as_ref().map(|lines| lines.find(path))
    }
}

fn owner_of(device: &Device) -> String {
    format!("device `{}`", device.metadata.name)
}

fn told(fault: Fault, place: &Place, found: Option<Found>, path: String, owner: String) -> Told {
    Told {
        place: Place {
            line: found.map_or(place.line, |found| found.line),
            ..place.clone()
        },
        owner,
        path,
        message: fault.message,
        level: fault.level,
    }
}

/// Whether a key that may stand in both is the model's: more of it is there, or
/// as much, in a visitor, which the model is the place for.
fn is_nearer(in_model: Option<Found>, in_device: Option<Found>, path: &str) -> bool {
    let left = |found: Option<Found>| found.map_or(usize::MAX, |found| found.left);
    let (in_model, in_device) = (left(in_model), left(in_device));
    in_device > 0 && (in_model < in_device || (in_model == in_device && path.contains(CONFIG)))
}

/// The path in the model of a key that a device takes from there.
fn counterpart(path: &str, device: &Device, model: &DeviceModel) -> Option<String> {
    if let Some(rest) = path.strip_prefix("spec.protocol.configData") {
        return Some(format!("spec.protocolConfigData{rest}"));
    }
    let (index, rest) = path.strip_prefix("spec.properties[")?.split_once(']')?;
    if !rest.starts_with(CONFIG) {
        return None;
    }
    let listed = device.properties(model);
    let name = &listed.get(index.parse::<usize>().ok()?)?.name;
    let mut properties = model.spec.properties.iter();
    let index = properties.position(|property| property.name == *name)?;
    Some(format!("spec.properties[{index}]{rest}"))
}

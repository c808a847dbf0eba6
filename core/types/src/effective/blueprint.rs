//! A model that devices are made of, one after the other.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use super::{
    EffectiveDevice, EffectiveProperty, Kind,
    behavior::Layers,
    build::{desired, one, other_protocol, overlay, protocol_of},
    connect,
};
use crate::{
    device::{Device, DeviceModel, DeviceProperty, VisitorConfig},
    fault::Fault,
};

/// A model, ready to be made devices of: what its properties come to is found out
/// once, and not again for each of a thousand devices that use them in the same way.
pub struct Blueprint<'a> {
    model: Cow<'a, DeviceModel>,
    /// Faults of the model itself.
    faults: Vec<Fault>,
    properties: Properties,
}

#[derive(Default)]
struct Properties {
    /// Index of each property in the model, the first one of a name.
    by_name: HashMap<Box<str>, usize>,
    /// By the same index: the property as its first device uses it, without a fault.
    common: Vec<Option<Common>>,
}

/// A property, and what a device has to say of it to get the same.
struct Common {
    visitors: VisitorConfig,
    collect_cycle: i64,
    report_cycle: i64,
    report_to_cloud: bool,
    property: EffectiveProperty,
}

impl Common {
    fn fits(&self, property: &DeviceProperty) -> bool {
        property.push_method.is_none()
            && self.collect_cycle == property.collect_cycle
            && self.report_cycle == property.report_cycle
            && self.report_to_cloud == property.reports_to_cloud()
            && self.visitors == property.visitors
    }
}

impl Blueprint<'static> {
    /// Of a model, which it keeps.
    pub fn owned(model: DeviceModel) -> Self {
        Self::of(Cow::Owned(model))
    }
}

impl<'a> Blueprint<'a> {
    /// Of a model.
    pub fn new(model: &'a DeviceModel) -> Self {
        Self::of(Cow::Borrowed(model))
    }

    fn of(model: Cow<'a, DeviceModel>) -> Self {
        let known = &model.spec.properties;
        let mut properties = Properties {
            by_name: HashMap::with_capacity(known.len()),
            common: known.iter().map(|_| None).collect(),
        };
        let mut faults = Vec::new();
        for (index, property) in known.iter().enumerate() {
            // The first one counts, as a reader of the file would expect.
            if properties.by_name.contains_key(property.name.as_str()) {
                faults.push(Fault::warning(
                    format!("model.spec.properties[{index}].name"),
                    format!(
                        "model `{}` has two properties `{}`, the first one counts",
                        model.metadata.name, property.name
                    ),
                ));
            } else {
                properties
                    .by_name
                    .insert(property.name.as_str().into(), index);
            }
        }
        Self {
            model,
            faults,
            properties,
        }
    }

    /// Merges a device with the model, as [`EffectiveDevice::build`] does.
    ///
    /// # Errors
    /// Nothing of the device can be used.
    pub fn build(&mut self, device: &Device) -> Result<EffectiveDevice, Vec<Fault>> {
        build(device, &self.model, &self.faults, &mut self.properties)
    }
}

impl Properties {
    /// A property of a device; what is wrong with it goes to `faults`.
    fn one(
        &mut self,
        index: usize,
        property: &DeviceProperty,
        model: &DeviceModel,
        faults: &mut Vec<Fault>,
    ) -> EffectiveProperty {
        let at = self.by_name.get(property.name.as_str()).copied();
        let common = at.and_then(|at| self.common[at].as_ref());
        let mut effective = match common.filter(|common| common.fits(property)) {
            Some(common) => EffectiveProperty {
                index,
                ..common.property.clone()
            },
            None => {
                let is_first = common.is_none() && property.push_method.is_none();
                let of_model = at.map(|at| (at, &model.spec.properties[at]));
                let known = faults.len();
                let mut effective = one(index, property, of_model, model, faults);
                let is_sound = faults.len() == known && effective.broken.is_none();
                if let (Some(at), true) = (at, is_first && is_sound) {
                    effective.kind = Some(Kind::fresh());
                    self.common[at] = Some(Common {
                        visitors: property.visitors.clone(),
                        collect_cycle: property.collect_cycle,
                        report_cycle: property.report_cycle,
                        report_to_cloud: property.reports_to_cloud(),
                        property: effective.clone(),
                    });
                }
                effective
            }
        };
        if let Some(given) = &property.desired {
            effective.desired_metadata = given.metadata.clone();
            let path = format!("spec.properties[{index}]");
            effective.desired = desired(property, &effective, &path, faults);
        }
        effective
    }
}

fn build(
    device: &Device,
    model: &DeviceModel,
    of_model: &[Fault],
    known: &mut Properties,
) -> Result<EffectiveDevice, Vec<Fault>> {
    let name = device
        .device_name()
        .map_err(|error| vec![Fault::error("metadata.name", error.to_string())])?;
    let mut faults = Vec::new();
    let protocol = protocol_of(device, model, &mut faults);
    if protocol.is_empty() {
        faults.push(Fault::error(
            "spec.protocol.protocolName",
            format!(
                "neither the device nor its model `{}` names a protocol",
                model.metadata.name
            ),
        ));
        return Err(faults);
    }
    let listed = device.properties(model);
    let mut properties: Vec<EffectiveProperty> = Vec::with_capacity(listed.len());
    faults.extend(of_model.iter().cloned());
    let mut seen: HashSet<&str> = HashSet::with_capacity(listed.len());
    for (index, property) in listed.iter().enumerate() {
        let path = || format!("spec.properties[{index}]");
        if property.name.is_empty() {
            faults.push(Fault::error(
                format!("{}.name", path()),
                "a property needs a name",
            ));
            continue;
        }
        if !seen.insert(property.name.as_str()) {
            if device.spec.properties.is_empty() {
                // Told as the model's.
                continue;
            }
            faults.push(Fault::error(
                format!("{}.name", path()),
                format!(
                    "property `{}` stands twice, the first one counts",
                    property.name
                ),
            ));
            continue;
        }
        properties.push(known.one(index, property, model, &mut faults));
        faults.extend(other_protocol(&property.visitors, &protocol, path));
        let at = known.by_name.get(property.name.as_str()).copied();
        if let Some((at, visitors)) =
            at.and_then(|at| Some((at, model.spec.properties[at].visitors.as_ref()?)))
        {
            let path = || format!("model.spec.properties[{at}]");
            faults.extend(other_protocol(visitors, &protocol, path));
        }
    }
    let mut of_model = model.spec.protocol_config_data.clone();
    let mut of_device = device.spec.protocol.config_data.clone();
    let layers = Layers::take(of_model.as_mut(), &mut of_device, &mut faults);
    let connect = connect::take(of_model.as_mut(), &mut of_device);
    let behavior = layers.read(
        &device.spec.methods,
        &model.spec.properties,
        &mut properties,
        &mut faults,
    );
    let connect = connect.map_or_else(Vec::new, |list| {
        let known = model.spec.properties.iter().map(|known| &known.name);
        let unused: Vec<_> = known
            .filter(|name| !seen.contains(name.as_str()))
            .cloned()
            .collect();
        connect::read(list, &unused, &properties, &mut faults)
    });
    Ok(EffectiveDevice {
        name,
        uid: device.metadata.uid.clone(),
        model: model.metadata.name.clone(),
        protocol,
        protocol_config: overlay(of_model.as_ref(), &of_device),
        properties,
        connect,
        methods: behavior.methods,
        events: behavior.events,
        report_state: device
            .spec
            .state_report
            .as_ref()
            .is_none_or(|report| report.report_to_cloud.unwrap_or(true)),
        faults,
    })
}

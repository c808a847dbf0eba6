//! Which properties of its model a device uses.

use std::borrow::Cow;

use crate::device::{Device, DeviceModel, DeviceProperty};

impl Device {
    /// The properties that are used: those that are listed, or all of the model's
    /// where none is.
    pub fn properties(&self, model: &DeviceModel) -> Cow<'_, [DeviceProperty]> {
        if !self.spec.properties.is_empty() {
            return Cow::Borrowed(&self.spec.properties);
        }
        let all = model.spec.properties.iter().map(|property| DeviceProperty {
            name: property.name.clone(),
            ..DeviceProperty::default()
        });
        Cow::Owned(all.collect())
    }
}

//! A device seen as a whole, and how values and times read.

use longshore_types::{
    Device, DeviceModel, DeviceStatus, EffectiveDevice, Fault, Timestamp,
    device::{Extensions, ModelProperty, Twin},
};

use crate::output::shown;

/// A device, its model and its status.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeviceView {
    pub(crate) device: Device,
    pub(crate) model: Option<DeviceModel>,
    pub(crate) status: Option<DeviceStatus>,
}

impl DeviceView {
    /// The same for people: see [`shown`].
    pub(crate) fn shown(&self) -> anyhow::Result<Self> {
        Ok(Self {
            device: shown(&self.device)?,
            model: shown(&self.model)?,
            status: shown(&self.status)?,
        })
    }

    /// The device merged with its model.
    pub(crate) fn effective(&self) -> Result<EffectiveDevice, Vec<Fault>> {
        match &self.model {
            Some(model) => EffectiveDevice::build(&self.device, model),
            None => Err(vec![Fault::error(
                "spec.deviceModelRef",
                match self.device.model_name() {
                    "" => "the device names no model".to_owned(),
                    name => format!(
                        "model `{name}` does not exist in namespace `{}`",
                        self.namespace()
                    ),
                },
            )]),
        }
    }

    /// The device's namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.device.metadata.namespace_or_default()
    }

    /// What the edge adds to the status.
    pub(crate) fn extensions(&self) -> Extensions {
        self.status
            .as_ref()
            .map(|status| status.status.extensions())
            .unwrap_or_default()
    }

    /// The twin of one property.
    pub(crate) fn twin(&self, property: &str) -> Option<&Twin> {
        let twins = self
            .status
            .as_ref()
            .map(|status| status.status.twins.as_slice())
            .unwrap_or_default();
        twins.iter().find(|twin| twin.property_name == property)
    }

    /// One property of the model.
    pub(crate) fn model_property(&self, property: &str) -> Option<&ModelProperty> {
        self.model
            .as_ref()?
            .spec
            .properties
            .iter()
            .find(|found| found.name == property)
    }

    /// `online`, `offline`, …; `unknown` before the edge has said anything.
    pub(crate) fn state(&self) -> &str {
        match &self.status {
            Some(status) if !status.status.state.is_empty() => &status.status.state,
            _ => "unknown",
        }
    }
}

/// A value with its unit.
pub(crate) fn with_unit(value: &str, unit: &str) -> String {
    if unit.is_empty() || value.is_empty() {
        value.to_owned()
    } else {
        // UCUM's code for programs, the usual sign for people.
        format!("{value} {}", longshore_types::unit::symbol(unit))
            .trim_end()
            .to_owned()
    }
}

/// How long ago, as kubectl says it: `5s`, `3m`, `2h`, `4d`.
pub(crate) fn age(moment: Timestamp, now: Timestamp) -> String {
    let seconds = (now.as_millis() - moment.as_millis()).max(0) / 1000;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The age of a text of the API that should be a time.
pub(crate) fn age_of(text: &str, now: Timestamp) -> String {
    text.parse()
        .map_or_else(|_| "-".to_owned(), |moment| age(moment, now))
}

/// A moment and how long ago it was.
pub(crate) fn moment(moment: Timestamp, now: Timestamp) -> String {
    format!("{moment} ({} ago)", age(moment, now))
}

/// What time it is.
pub(crate) fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

//! A device and its model, made one: what the edge acts on.
//!
//! The model gives type, access, range and unit of each property, and defaults
//! for how to reach it; the device says which properties it uses and overrides
//! the rest. Faults stay where they are: a wrong property costs itself, never
//! the device.

mod behavior;
mod blueprint;
mod build;
mod connect;
mod listed;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use self::{blueprint::Blueprint, connect::ConnectWrite};
pub use crate::bound::Bound;
use crate::{
    device::{AccessMode, Device, DeviceModel, FreeObject, PropertyType},
    event::EventRule,
    fault::Fault,
    method::Method,
    name::DeviceName,
    policy::PropertyPolicy,
    schema_check::{Document, Part},
    unit,
    value::{Value, ValueRef},
};

/// Time between two reads of a property whose `collectCycle` is 0 or absent.
pub const DEFAULT_COLLECT_CYCLE: Duration = Duration::from_millis(1000);

/// A device with all that its model says.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectiveDevice {
    /// Which device.
    pub name: DeviceName,
    /// Identity of the Device object; empty for one from a file.
    pub uid: String,
    /// Name of its model.
    pub model: String,
    /// The protocol, in lower case: the mapper's name.
    pub protocol: String,
    /// `protocolConfigData` of the model with the device's `configData` over it.
    pub protocol_config: FreeObject,
    /// The device's properties in its order, duplicates left out.
    pub properties: Vec<EffectiveProperty>,
    /// What is written after each connecting, in this order.
    pub connect: Vec<ConnectWrite>,
    /// What can be called.
    pub methods: Vec<Method>,
    /// Conditions that somebody should know of.
    pub events: Vec<EventRule>,
    /// Whether the device's state goes to the cloud.
    pub report_state: bool,
    /// What is wrong or doubtful, at key paths in the Device.
    pub faults: Vec<Fault>,
}

/// One property of a device with all that its model says.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectiveProperty {
    /// The name.
    pub name: String,
    /// Where it stands in `spec.properties`.
    pub index: usize,
    /// Type of the twin.
    pub value_type: PropertyType,
    /// Whether it may be written.
    pub access: AccessMode,
    /// Least value, for numbers.
    pub minimum: Option<Bound>,
    /// Greatest value, for numbers.
    pub maximum: Option<Bound>,
    /// The unit, for people.
    pub unit: String,
    /// The twin engine's part of the visitor.
    pub policy: Arc<PropertyPolicy>,
    /// The mapper's part of the visitor.
    pub config: Arc<FreeObject>,
    /// Time between two reads.
    pub collect_cycle: Duration,
    /// Time between two reports to the push method; zero if it has none of its own.
    pub report_cycle: Duration,
    /// Whether the cloud gets its values.
    pub report_to_cloud: bool,
    /// The desired value.
    pub desired: Desired,
    /// `desired.metadata`: who changes it (its `timestamp`) gives the value anew.
    pub desired_metadata: BTreeMap<String, String>,
    /// Why it cannot be used. The mapper never sees such a property; its twin
    /// is bad with reason `config`.
    pub broken: Option<String>,
    /// Properties of the same kind are the same but for `index` and what is
    /// desired of them, whichever device they are of; none where nobody knows.
    pub kind: Option<Kind>,
}

/// See [`EffectiveProperty::kind`]. No two are the same in the life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind(u64);

impl Kind {
    fn fresh() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

/// The desired value of a property.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Desired {
    /// There is none.
    #[default]
    None,
    /// It may be written.
    Value(Value),
    /// It must not be written: wrong type, out of range, or read-only.
    Refused {
        /// The text.
        text: String,
        /// Why.
        message: String,
    },
}

/// Why a value must not be written to a property.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RefusedValue {
    /// The property is read-only.
    #[error("property `{property}` is read-only")]
    ReadOnly {
        /// The property.
        property: String,
    },
    /// The text is not of the property's type.
    #[error("{message}")]
    Type {
        /// What is wrong.
        message: String,
    },
    /// The value is outside of the range.
    #[error("{value} is out of range for `{property}`, expected {range}")]
    Range {
        /// The property.
        property: String,
        /// The value.
        value: String,
        /// The range as text.
        range: String,
    },
}

impl EffectiveDevice {
    /// Merges a device and its model. Fails only where nothing of the device
    /// can be used; otherwise faults are in [`EffectiveDevice::faults`].
    pub fn build(device: &Device, model: &DeviceModel) -> Result<Self, Vec<Fault>> {
        Blueprint::new(model).build(device)
    }

    /// Checks what is the mapper's by its schema, at key paths in the Device.
    /// Properties that are broken anyhow are left out.
    pub fn check(&self, schema: &Document) -> Vec<Fault> {
        let part = |part, config: &FreeObject, at: &str| {
            schema.check(part, &serde_json::Value::Object(config.clone()), at)
        };
        let protocol = &self.protocol_config;
        let mut faults = part(Part::Device, protocol, "spec.protocol.configData");
        let usable = |property: &&EffectiveProperty| property.broken.is_none();
        for property in self.properties.iter().filter(usable) {
            let at = format!("spec.properties[{}].visitors.configData", property.index);
            faults.extend(part(Part::Property, &property.config, &at));
        }
        for method in &self.methods {
            if let Some(call) = &method.call {
                let at = format!("{}.call", method.path);
                faults.extend(part(Part::Method, call, &at));
            }
        }
        faults
    }

    /// One property.
    pub fn property(&self, name: &str) -> Option<&EffectiveProperty> {
        self.properties
            .iter()
            .find(|property| property.name == name)
    }
}

impl EffectiveProperty {
    /// Reads `text` as a value that may be written: type, access and range.
    pub fn check_text(&self, text: &str) -> Result<Value, RefusedValue> {
        if self.access == AccessMode::ReadOnly {
            return Err(RefusedValue::ReadOnly {
                property: self.name.clone(),
            });
        }
        if let Some(names) = &self.policy.names {
            return self.check_name(text, names);
        }
        let value = Value::parse_as(self.value_type, text).map_err(|error| RefusedValue::Type {
            message: error.to_string(),
        })?;
        self.check_range(value.borrow())?;
        Ok(value)
    }

    /// Whether a number is inside of the range; other values always are.
    pub fn check_range(&self, value: ValueRef<'_>) -> Result<(), RefusedValue> {
        let below = self.minimum.is_some_and(|bound| bound.is_above(value));
        let above = self.maximum.is_some_and(|bound| bound.is_below(value));
        if below || above {
            return Err(RefusedValue::Range {
                property: self.name.clone(),
                value: value.to_string(),
                range: self.range_text(),
            });
        }
        Ok(())
    }

    /// `20 to 90 °C`, `at least 20`, or nothing.
    pub fn range_text(&self) -> String {
        let mut text = match (self.minimum, self.maximum) {
            (Some(min), Some(max)) => format!("{min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => return String::new(),
        };
        if !self.unit.is_empty() {
            text.push(' ');
            text.push_str(unit::symbol(&self.unit));
        }
        text
    }

    /// A name of the property's `enum`; its number is as good where the twin is a number.
    fn check_name(&self, text: &str, names: &crate::policy::Names) -> Result<Value, RefusedValue> {
        let text = text.trim();
        if self.value_type.is_number() {
            let raw = text
                .parse()
                .ok()
                .filter(|raw| names.name(*raw).is_some())
                .or_else(|| names.raw(text));
            if let Some(raw) = raw {
                return Ok(Value::Int(raw));
            }
        } else if names.raw(text).is_some() {
            return Ok(Value::String(text.into()));
        }
        let known: Vec<_> = names.iter().map(|(_, name)| name).collect();
        Err(RefusedValue::Type {
            message: format!(
                "`{text}` is not a value of `{}`, expected one of {}",
                self.name,
                known.join(", ")
            ),
        })
    }
}

impl Desired {
    /// The value, if it may be written.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::None | Self::Refused { .. } => None,
        }
    }
}

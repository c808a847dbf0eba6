//! What local clients ask for: all of it or nothing.

use longshore_types::{
    DeviceName, Quality, Reason, Value,
    report::{DeviceReport, DeviceState},
};

use super::{Engine, Now};
use crate::{
    outputs::{LocalUpdate, UpdateError},
    point::Reading,
};

/// A checked update.
struct Checked {
    point: u32,
    expected: Option<(String, Value)>,
    actual: Option<Value>,
}

impl Engine {
    /// What a local client asks for: all of `updates` or none. Gives the device
    /// with the desired values as accepted.
    pub fn update(
        &mut self,
        name: &DeviceName,
        updates: &[LocalUpdate],
        now: Now,
    ) -> Result<DeviceReport, UpdateError> {
        let id = self.known(name)?;
        let checked = updates
            .iter()
            .map(|update| self.check(id, update))
            .collect::<Result<Vec<_>, _>>()?;
        for update in checked {
            if let Some(value) = &update.actual {
                // The point takes raw values; a client speaks of the twin.
                let point = self.fleet.point(update.point);
                let raw = point
                    .rules
                    .invert(value, point.raw_whole)
                    .and_then(|raw| {
                        let former = point.raw.as_deref().copied().unwrap_or(0);
                        point.rules.among(raw, former)
                    })
                    .unwrap_or_else(|_| value.clone());
                let reading = Reading {
                    quality: Quality::Good,
                    reason: Reason::None,
                    source_time_ns: now.unix_ms.saturating_mul(1_000_000),
                    value: Some(raw.borrow()),
                    message: "",
                };
                self.one_reading(update.point, &reading, now);
            }
            if let Some((text, value)) = update.expected {
                self.set_local_desired(id, update.point, &text, value, now);
            }
        }
        self.device_twin(id).ok_or_else(|| unknown(name))
    }

    /// A client says whether a device is there (KubeEdge's `state/update`).
    pub fn set_state(
        &mut self,
        name: &DeviceName,
        state: DeviceState,
        now: Now,
    ) -> Result<(), UpdateError> {
        let id = self.known(name)?;
        let mapper = self.fleet.device(id).and_then(|device| device.mapper);
        if let Some(mapper) = mapper.filter(|mapper| self.links.is_up(*mapper)) {
            let mapper = self.links.name(mapper);
            let reason = format!("mapper `{mapper}` tells the state of device `{name}`");
            return Err(UpdateError { code: 409, reason });
        }
        self.set_device_state(id, state, "said by a local client", now);
        Ok(())
    }

    pub(super) fn known(&self, name: &DeviceName) -> Result<u32, UpdateError> {
        self.fleet.id(name).ok_or_else(|| unknown(name))
    }

    fn check(&self, id: u32, update: &LocalUpdate) -> Result<Checked, UpdateError> {
        let refuse = |code, reason: String| UpdateError { code, reason };
        let device = self
            .fleet
            .device(id)
            .ok_or_else(|| refuse(404, "the device is gone".to_owned()))?;
        let point = device.point(&update.property).ok_or_else(|| {
            let (device, property) = (&device.name, &update.property);
            refuse(
                404,
                format!("device `{device}` has no property `{property}`"),
            )
        })?;
        let rules = &self.fleet.point(point).rules;
        if let Some(why) = &rules.broken {
            return Err(refuse(
                400,
                format!("property `{}` cannot be used: {why}", update.property),
            ));
        }
        let expected = match &update.expected {
            None => None,
            Some(text) => {
                let property = rules.as_property(&update.property);
                let value = property
                    .check_text(text)
                    .map_err(|error| refuse(400, error.to_string()))?;
                Some((value.to_string(), value))
            }
        };
        let actual = match &update.actual {
            None => None,
            Some(text) => Some(Value::parse_as(rules.value_type, text).map_err(|error| {
                refuse(400, format!("property `{}`: {error}", update.property))
            })?),
        };
        Ok(Checked {
            point,
            expected,
            actual,
        })
    }
}

fn unknown(name: &DeviceName) -> UpdateError {
    UpdateError {
        code: 404,
        reason: format!("device `{name}` is not on this node"),
    }
}

//! What local clients ask for: all of it or nothing.

use std::sync::Arc;

use longshore_types::{DeviceName, Value, report::DeviceState};

use super::{
    Engine, Now,
    desires::json,
    saving::{Ask, Change, Key},
};
use crate::{
    blob,
    desired::DesiredValue,
    outputs::{LocalUpdate, RowKind, UpdateError},
};

impl Engine {
    /// What a local client asks for: all of `updates` or none. Once it is kept, or
    /// refused by the store, the answer is among the outputs, under the number
    /// that this gives: the device with the desired values as accepted.
    ///
    /// # Errors
    /// Something is wrong with it: nobody will hear of it again.
    pub fn update(
        &mut self,
        name: &DeviceName,
        updates: &[LocalUpdate],
        now: Now,
    ) -> Result<u64, UpdateError> {
        let id = self.known(name)?;
        if updates.iter().any(|update| update.actual.is_some()) {
            // A forged reading would also confirm a write that never arrived.
            self.not_served(id, name, "readings")?;
        }
        let changes = updates
            .iter()
            .map(|update| self.check(id, update, now))
            .collect::<Result<Vec<_>, _>>()?;
        let number = self.links.token();
        self.ask(number, id, name.clone(), changes);
        Ok(number)
    }

    /// Hands something that was checked to the store.
    fn ask(&mut self, number: u64, id: u32, name: DeviceName, changes: Vec<Change>) {
        let uid = self.fleet.device(id).map_or("", |device| &device.uid);
        let rows: Vec<_> = changes
            .iter()
            .flat_map(|change| {
                let key = |kind| Key {
                    device: name.clone(),
                    kind,
                    name: Arc::clone(&change.property),
                };
                let expected = change.expected.as_deref();
                let expected = expected.map(|value| (key(RowKind::Desired), json(value)));
                let actual = change.actual.as_ref();
                let actual = actual.map(|(value, time_ns)| {
                    let row = blob::pack_one(uid, value, *time_ns);
                    (key(RowKind::Actual), row)
                });
                expected.into_iter().chain(actual)
            })
            .collect();
        let ask = Ask {
            number,
            device: id,
            name,
            changes,
        };
        self.saving.ask(ask, rows.into_iter());
    }

    /// A client says whether a device is there (KubeEdge's `state/update`).
    pub fn set_state(
        &mut self,
        name: &DeviceName,
        state: DeviceState,
        now: Now,
    ) -> Result<(), UpdateError> {
        let id = self.known(name)?;
        self.not_served(id, name, "the state")?;
        self.set_device_state(id, state, "said by a local client", now);
        Ok(())
    }

    /// Refuses `what` of a device whose mapper is up: that mapper knows, and a
    /// client of the bus does not.
    fn not_served(&self, id: u32, name: &DeviceName, what: &str) -> Result<(), UpdateError> {
        let mapper = self.fleet.device(id).and_then(|device| device.mapper);
        match mapper.filter(|mapper| self.links.is_up(*mapper)) {
            None => Ok(()),
            Some(mapper) => {
                let mapper = self.links.name(mapper);
                let reason = format!("mapper `{mapper}` tells {what} of device `{name}`");
                Err(UpdateError { code: 409, reason })
            }
        }
    }

    pub(super) fn known(&self, name: &DeviceName) -> Result<u32, UpdateError> {
        self.fleet.id(name).ok_or_else(|| unknown(name))
    }

    fn check(&self, id: u32, update: &LocalUpdate, now: Now) -> Result<Change, UpdateError> {
        let refuse = |code, reason: String| UpdateError { code, reason };
        let device = self
            .fleet
            .device(id)
            .ok_or_else(|| refuse(404, "the device is gone".to_owned()))?;
        let mut properties = device.properties();
        let place = properties.find(|(name, _)| ***name == *update.property);
        let (property, point) = place.ok_or_else(|| {
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
                Some(self.local_desired((id, point), &value.to_string(), value, now))
            }
        };
        let actual = match &update.actual {
            None => None,
            Some(text) => {
                let value = Value::parse_as(rules.value_type, text).map_err(|error| {
                    refuse(400, format!("property `{}`: {error}", update.property))
                })?;
                Some((value, now.unix_ms.saturating_mul(1_000_000)))
            }
        };
        Ok(Change {
            point,
            property: Arc::clone(property),
            rules: Arc::clone(rules),
            actual,
            expected,
        })
    }

    /// A local client's desired value, over what stands now. Where it can go out at
    /// once, its first row says already that it may be on the wire: then a command
    /// need not wait for another one.
    fn local_desired(
        &self,
        (device, point): (u32, u32),
        text: &str,
        target: Value,
        now: Now,
    ) -> Box<DesiredValue> {
        let of = self.fleet.point(point);
        let former = of.desired.as_deref();
        let version = former.map_or(0, |former| former.version) + 1;
        let mut value = DesiredValue::new(text, Ok(target), true, now.unix_ms, version);
        value.of_device = former.and_then(|former| former.of_device.clone());
        value.command = of.writes_commands();
        value.handed = self.ready(device).is_some();
        Box::new(value)
    }
}

fn unknown(name: &DeviceName) -> UpdateError {
    UpdateError {
        code: 404,
        reason: format!("device `{name}` is not on this node"),
    }
}

//! What others see of the engine: twins, reports for the hub, snapshots.

use longshore_types::{
    DeviceName, Value,
    device::WriteState,
    report::{DesiredReport, DeviceReport, PropertyReport},
};

use super::{Engine, Now};
use crate::{blob, desired::DesiredValue, outputs::TwinBlob, planned::hash, point::Point};

impl Engine {
    /// One device as it is now.
    pub fn get(&self, name: &DeviceName) -> Option<DeviceReport> {
        self.device_twin(self.fleet.id(name)?)
    }

    /// All devices as they are now, by name.
    pub fn list(&self) -> Vec<DeviceReport> {
        let ids = self.fleet.ids();
        let mut devices: Vec<_> = ids.filter_map(|(_, id)| self.device_twin(id)).collect();
        devices.sort_by(|a, b| a.name.cmp(&b.name));
        devices
    }

    pub(super) fn device_twin(&self, id: u32) -> Option<DeviceReport> {
        self.report_of(id, |_| true, false)
    }

    /// With those of its properties that `wanted` takes. The hub does not get the
    /// values of which it may have newer ones.
    fn report_of(
        &self,
        id: u32,
        wanted: impl Fn(&Point) -> bool,
        for_hub: bool,
    ) -> Option<DeviceReport> {
        let device = self.fleet.device(id)?;
        let property = |point: u32| {
            let mut property = self.property_twin(id, point)?;
            if for_hub && self.fleet.point(point).doubtful {
                property.value = None;
                property.source_time_ms = None;
                property.last_read_ms = None;
            }
            Some(property)
        };
        Some(DeviceReport {
            name: device.name.clone(),
            uid: device.uid.clone(),
            // 0 would be an edge that does not tell.
            fingerprint: device.judged.max(1),
            state: device.reach.get().state(),
            last_online_ms: device.last_online_ms,
            conditions: vec![
                device.reach.condition(),
                device.manifest.condition(),
                device.served.condition(),
            ],
            warnings: device.manifest.get().faults().to_vec(),
            events: self.event_twins(id),
            properties: device
                .points()
                .iter()
                .filter(|point| wanted(self.fleet.point(**point)))
                .filter_map(|point| property(*point))
                .collect(),
        })
    }

    /// One property as it is now.
    pub(super) fn property_twin(&self, device: u32, id: u32) -> Option<PropertyReport> {
        let (place, name) = self.fleet.place(device, id)?;
        let point = self.fleet.point(id);
        let millis = |ns: i64| (ns != 0).then_some(ns / 1_000_000);
        Some(PropertyReport {
            name: name.clone(),
            value_type: Some(point.rules.value_type),
            writable: point.rules.access == longshore_types::device::AccessMode::ReadWrite,
            value: point
                .value
                .as_ref()
                .map(|value| shortened(value, point.rules.single)),
            quality: point.quality,
            reason: point.reason,
            source_time_ms: millis(point.source_time_ns),
            last_read_ms: millis(point.good_ns),
            last_error: point.error.as_deref().map(|error| in_device(error, place)),
            desired: point.desired.as_deref().map(|desired| DesiredReport {
                value: desired.text.to_string(),
                time_ms: desired.given_ms,
                local: desired.local,
                write: match desired.kept {
                    true => desired.shown(),
                    false => WriteState::Pending,
                },
                message: self.message_of(desired),
                since_ms: desired.since_ms,
                version: u64::from(desired.version),
            }),
            version: u64::from(point.version),
        })
    }

    /// What there is to say of a desired value. One whose outcome is not on the
    /// disk has none yet, and may say why it is not.
    pub(super) fn message_of(&self, desired: &DesiredValue) -> String {
        match (desired.kept, self.saving.refusal()) {
            (true, _) => desired.message.to_string(),
            (false, Some(why)) => format!("its outcome cannot be stored yet: {why}"),
            (false, None) if desired.shown() == WriteState::Pending => desired.message.to_string(),
            (false, None) => String::new(),
        }
    }

    /// Reports that are due, at most `most`. They count as made.
    pub fn due_reports(&mut self, now: Now, most: usize) -> Vec<(u32, DeviceReport)> {
        let mut reports = Vec::new();
        for id in self.due.take_reports(now, most) {
            let report = self.report_of(id, |point| point.rules.report_to_cloud, true);
            let wanted = self.fleet.device(id).is_some_and(|d| d.report_state);
            if let Some(report) = report.filter(|r| wanted || !r.properties.is_empty()) {
                reports.push((id, report));
            }
        }
        reports
    }

    /// Snapshots that are due, at most `most`; all that changed when `all`. One
    /// that has no other values than the last one is left out until then.
    pub(super) fn due_snapshots(
        &mut self,
        now: Now,
        most: usize,
        all: bool,
    ) -> Vec<(u32, TwinBlob)> {
        let mut blobs = Vec::new();
        for id in self.due.take_snapshots(now, most, all) {
            let Some(device) = self.fleet.device(id) else {
                continue;
            };
            let values = device.properties().filter_map(|(name, point)| {
                let point = self.fleet.point(point);
                let value = point.value.as_ref()?;
                Some((&**name, value, point.source_time_ns, point.good_ns))
            });
            let values: Vec<_> = values.collect();
            // Only their times went on: not worth the flash.
            let timeless = values.iter().map(|(name, value, ..)| (*name, *value, 0, 0));
            let print = hash(&blob::pack(&device.uid, timeless));
            if print == device.snapshot && !all {
                continue;
            }
            let data = blob::pack(&device.uid, values.into_iter());
            let name = device.name.to_string();
            if let Some(device) = self.fleet.device_mut(id) {
                device.snapshot = print;
            }
            blobs.push((id, TwinBlob { device: name, data }));
        }
        blobs
    }

    /// These snapshots could not be kept: they are due again.
    pub(super) fn snapshot_again(&mut self, ids: &[u32], now: Now) {
        for id in ids {
            // It may have gone while its snapshot was under way.
            if let Some(device) = self.fleet.device_mut_if_there(*id) {
                device.snapshot = 0;
                self.due.snapshot_again(*id, now);
            }
        }
    }

    /// Fingerprint of the objects that a device was made from; none if it has
    /// to be made again in any case.
    pub(crate) fn fingerprint(&self, name: &DeviceName) -> Option<u64> {
        self.fleet
            .device(self.fleet.id(name)?)
            .filter(|device| !device.wants_config)
            .map(|device| device.fingerprint)
    }
}

/// A mapper's fault names a key of its own configuration: people know the Device's.
fn in_device(error: &str, position: usize) -> String {
    let rest = error
        .strip_prefix("points[")
        .and_then(|rest| rest.split_once(']'))
        .and_then(|(_, rest)| rest.strip_prefix(".config"));
    match rest {
        Some(rest) => format!("spec.properties[{position}].visitors.configData{rest}"),
        None => error.to_owned(),
    }
}

/// A number that came as 32 bits, as people would write it: 21.1, where the
/// nearest 64 bits are 21.100000381469727.
pub(super) fn shortened(value: &Value, single: bool) -> Value {
    match value {
        Value::Float(v) if single && v.is_finite() && f64::from(*v as f32) == *v => Value::Float(
            zmij::Buffer::new()
                .format_finite(*v as f32)
                .parse()
                .unwrap_or(*v),
        ),
        other => other.clone(),
    }
}

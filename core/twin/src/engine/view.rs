//! What others see of the engine: twins, reports for the hub, snapshots.

use longshore_types::{
    DeviceName, Value,
    report::{DesiredReport, DeviceReport, PropertyReport},
};

use super::{Engine, Now, SNAPSHOT_MS};
use crate::{blob, outputs::TwinBlob, point::Point};

impl Engine {
    /// One device as it is now.
    pub fn get(&self, name: &DeviceName) -> Option<DeviceReport> {
        self.device_twin(*self.by_name.get(name)?)
    }

    /// All devices as they are now, by name.
    pub fn list(&self) -> Vec<DeviceReport> {
        let mut devices: Vec<_> = self
            .by_name
            .values()
            .filter_map(|id| self.device_twin(*id))
            .collect();
        devices.sort_by(|a, b| a.name.cmp(&b.name));
        devices
    }

    pub(super) fn device_twin(&self, id: u32) -> Option<DeviceReport> {
        self.report_of(id, |_| true)
    }

    /// With those of its properties that `wanted` takes.
    fn report_of(&self, id: u32, wanted: impl Fn(&Point) -> bool) -> Option<DeviceReport> {
        let device = self.device(id)?;
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
                .points
                .iter()
                .filter(|point| wanted(&self.points[**point as usize]))
                .filter_map(|point| self.property_twin(id, *point))
                .collect(),
        })
    }

    /// One property as it is now.
    pub(super) fn property_twin(&self, device: u32, id: u32) -> Option<PropertyReport> {
        let device = self.device(device)?;
        let point = self.points.get(id as usize)?;
        let position = device
            .points
            .binary_search(&id)
            .ok()
            .or_else(|| device.points.iter().position(|p| *p == id))?;
        let millis = |ns: i64| (ns != 0).then_some(ns / 1_000_000);
        Some(PropertyReport {
            name: device.names[position].clone(),
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
            last_error: point
                .error
                .as_deref()
                .map(|error| in_device(error, position)),
            desired: point.desired.as_deref().map(|desired| DesiredReport {
                value: desired.text.to_string(),
                time_ms: desired.given_ms,
                local: desired.local,
                write: desired.shown(),
                message: desired.message.to_string(),
                since_ms: desired.since_ms,
                version: u64::from(desired.version),
            }),
            version: u64::from(point.version),
        })
    }

    /// Reports that are due, at most `most`. They count as made; give those
    /// that could not be kept back with [`Engine::report_again`].
    pub fn due_reports(&mut self, now: Now, most: usize) -> Vec<(u32, DeviceReport)> {
        let due = |id: &&u32| {
            self.device(**id)
                .is_some_and(|d| d.report_due.is_some_and(|due| due <= now.ms))
        };
        let ids: Vec<u32> = self.dirty.iter().filter(due).take(most).copied().collect();
        let mut reports = Vec::with_capacity(ids.len());
        for id in ids {
            let report = self.report_of(id, |point| point.rules.report_to_cloud);
            let Some(device) = self.device_mut(id) else {
                continue;
            };
            device.report_due = None;
            device.last_report = Some(now.ms);
            let (clean, report_state) = (device.snapshot_due.is_none(), device.report_state);
            if clean {
                self.dirty.remove(&id);
            }
            if let Some(report) = report
                && (report_state || !report.properties.is_empty())
            {
                reports.push((id, report));
            }
        }
        reports
    }

    /// These reports could not be kept: they are due again.
    pub fn report_again(&mut self, ids: &[u32], not_before: u64) {
        for id in ids {
            if let Some(device) = self.device_mut(*id) {
                device.report_due = Some(not_before);
                self.dirty.insert(*id);
            }
        }
    }

    /// Snapshots that are due, at most `most`; all that changed when `all`.
    pub fn due_snapshots(&mut self, now: Now, most: usize, all: bool) -> Vec<(u32, TwinBlob)> {
        let due = |id: &&u32| {
            self.device(**id)
                .is_some_and(|d| d.snapshot_due.is_some_and(|due| all || due <= now.ms))
        };
        let ids: Vec<u32> = self.dirty.iter().filter(due).take(most).copied().collect();
        let mut blobs = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(device) = self.device(id) else {
                continue;
            };
            let values = device
                .names
                .iter()
                .zip(&device.points)
                .filter_map(|(name, point)| {
                    let point = &self.points[*point as usize];
                    Some((
                        &**name,
                        point.value.as_ref()?,
                        point.source_time_ns,
                        point.good_ns,
                    ))
                });
            let data = blob::pack(&device.uid, values, &self.saved_events(id));
            blobs.push((
                id,
                TwinBlob {
                    device: device.name.to_string(),
                    data,
                },
            ));
            if let Some(device) = self.device_mut(id) {
                device.snapshot_due = None;
                if device.report_due.is_none() {
                    self.dirty.remove(&id);
                }
            }
        }
        blobs
    }

    /// These snapshots could not be kept: they are due again.
    pub fn snapshot_again(&mut self, ids: &[u32], now: Now) {
        for id in ids {
            if let Some(device) = self.device_mut(*id) {
                device.snapshot_due = Some(now.ms + SNAPSHOT_MS);
                self.dirty.insert(*id);
            }
        }
    }

    /// Fingerprint of the objects that a device was made from; none if it has
    /// to be made again in any case.
    pub(crate) fn fingerprint(&self, name: &DeviceName) -> Option<u64> {
        self.device(*self.by_name.get(name)?)
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

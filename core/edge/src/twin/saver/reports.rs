//! Reports on their way to the hub.
//!
//! The engine is asked for as many as there is room for, and only while there is a
//! link: what nobody can take stays due in the engine, where it costs nothing, and
//! is made of the values of then.
//!
//! Of a report that is larger than what the hub takes, the whole device would be seen
//! no more. So the largest values are left out of it, each with the reason at its
//! property, and the device says so by a condition.

use std::collections::HashSet;

use bytes::Bytes;
use longshore_link::{MAX_REPORT_BYTES, Up};
use longshore_twin::{Engine, Now};
use longshore_types::{
    DeviceName, Quality, Timestamp, Value,
    device::{Condition, ConditionStatus},
    report::{DeviceReport, PropertyReport},
};

use crate::store::StoreHandle;

/// Reports made at once.
const AT_ONCE: usize = 32;
/// A value that is left out is named, which takes some room.
const INSTEAD: usize = 256;

/// See the module.
#[derive(Default)]
pub(super) struct Reports {
    /// Devices whose last report was too large; each is told once.
    shortened: HashSet<DeviceName>,
}

impl Reports {
    /// Hands out what is due and finds room.
    pub(super) fn start(&mut self, engine: &mut Engine, store: &StoreHandle, now: Now) {
        while store.has_room_for_reports() {
            let due = engine.due_reports(now, AT_ONCE);
            if due.is_empty() {
                return;
            }
            for (_, report) in due {
                let key = Up::twin_key(&report.name);
                store.report(key, self.encode(report, now));
            }
        }
    }

    fn encode(&mut self, report: DeviceReport, now: Now) -> Bytes {
        let device = report.name.clone();
        let (payload, left_out) = fit(report, MAX_REPORT_BYTES, now);
        match left_out {
            None => drop(self.shortened.remove(&device)),
            Some(left_out) => {
                if self.shortened.insert(device.clone()) {
                    tracing::warn!(%device, left_out, "a report is too large for the hub; make the values smaller, or set reportToCloud to false for those that nobody needs there");
                }
            }
        }
        payload
    }
}

/// The record of a report, and what had to be left out of it.
fn fit(report: DeviceReport, most: usize, now: Now) -> (Bytes, Option<String>) {
    let up = Up::Reported(report);
    let whole = up.encode();
    let Up::Reported(mut report) = up else {
        return (whole, None);
    };
    if whole.len() <= most {
        return (whole, None);
    }
    let mut sizes: Vec<(usize, usize)> = (report.properties.iter().map(size))
        .zip(0..)
        .filter(|(size, _)| *size > INSTEAD)
        .collect();
    sizes.sort_unstable_by_key(|(size, _)| std::cmp::Reverse(*size));
    // With room for the condition.
    let mut above = whole.len() + 4 * INSTEAD - most;
    let mut names = Vec::new();
    for (size, index) in sizes {
        let property = &mut report.properties[index];
        leave_out(property, size);
        names.push(property.name.to_string());
        above = above.saturating_sub(size - INSTEAD);
        if above == 0 {
            break;
        }
    }
    let mut left_out = match names.as_slice() {
        [one] => format!("the value of `{one}` is left out"),
        [first, ..] => format!(
            "the values of `{first}` and {} more are left out",
            names.len() - 1
        ),
        [] => String::new(),
    };
    if above > 0 {
        report.properties.clear();
        "all of its properties are left out".clone_into(&mut left_out);
    }
    report.conditions.push(Condition {
        condition: "Reported".to_owned(),
        status: ConditionStatus::False,
        reason: "TooLarge".to_owned(),
        message: format!(
            "the report has {} bytes, the hub takes {most}: {left_out}",
            whole.len()
        ),
        last_transition_time: Some(Timestamp::from_millis(now.unix_ms)),
    });
    (Up::Reported(report).encode(), Some(left_out))
}

/// What of a property may be large. A value goes as it is and as a text.
fn size(property: &PropertyReport) -> usize {
    let value = property.value.as_ref().map_or(0, |value| match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    });
    let value = value + property.text().len();
    let desired = property.desired.as_ref();
    let desired = desired.map_or(0, |desired| desired.value.len() + desired.message.len());
    value + desired + property.last_error.as_ref().map_or(0, String::len)
}

fn leave_out(property: &mut PropertyReport, size: usize) {
    property.value = None;
    property.desired = None;
    property.quality = Quality::Bad;
    property.last_error = Some(format!(
        "{size} bytes: too large beside the device's other values to be reported to the hub"
    ));
}

#[cfg(test)]
mod tests {
    use longshore_types::{Reason, report::DeviceState};

    use super::*;

    const NOW: Now = Now { ms: 1, unix_ms: 2 };

    fn property(name: &str, bytes: usize) -> PropertyReport {
        PropertyReport {
            name: name.into(),
            value_type: None,
            writable: false,
            value: Some(Value::String("x".repeat(bytes).into())),
            quality: Quality::Good,
            reason: Reason::None,
            source_time_ms: None,
            last_read_ms: None,
            last_error: None,
            desired: None,
            version: 1,
        }
    }

    fn report(properties: Vec<PropertyReport>) -> DeviceReport {
        DeviceReport {
            name: DeviceName::new("default", "camera").unwrap(),
            uid: "u".to_owned(),
            fingerprint: 1,
            state: DeviceState::Online,
            last_online_ms: None,
            conditions: vec![],
            warnings: vec![],
            events: vec![],
            properties,
        }
    }

    fn read(payload: &Bytes) -> DeviceReport {
        match Up::decode(payload).unwrap() {
            Up::Reported(report) => report,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_largest_values_are_left_out_of_a_report_that_is_too_large() {
        let properties = vec![
            property("small", 10),
            property("large", 9_000),
            property("larger", 60_000),
        ];
        let (payload, left_out) = fit(report(properties.clone()), 200_000, NOW);
        assert_eq!((left_out, read(&payload).conditions.len()), (None, 0));
        let (payload, left_out) = fit(report(properties), 30_000, NOW);
        assert!(payload.len() <= 30_000);
        assert_eq!(left_out.unwrap(), "the value of `larger` is left out");
        let report = read(&payload);
        let left: Vec<_> = report
            .properties
            .iter()
            .map(|p| p.value.is_some())
            .collect();
        assert_eq!(left, [true, true, false]);
        let why = report.properties[2].last_error.as_deref().unwrap();
        assert!(why.starts_with("120000 bytes: too large"), "{why}");
        let said = &report.conditions[0];
        assert_eq!((&*said.condition, &*said.reason), ("Reported", "TooLarge"));
    }

    #[test]
    fn a_device_of_too_many_properties_is_reported_without_them() {
        let many = (0..5_000).map(|n| property(&format!("property-{n}"), 100));
        let (payload, left_out) = fit(report(many.collect()), 100_000, NOW);
        assert!(payload.len() <= 100_000);
        assert_eq!(left_out.unwrap(), "all of its properties are left out");
        assert!(read(&payload).properties.is_empty());
    }
}

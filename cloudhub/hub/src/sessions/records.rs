//! What is taken of the records of a node's live lane.
//!
//! A node has a say in what is bound to it, and in itself. All else is dropped and
//! counted, but its record is taken, or it would block what comes after it. Of a
//! report only the properties count that the device's model has, and all of it has a
//! bound, so that what a node costs the hub is bounded by what the cluster gave it.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    mem::discriminant,
};

use bytes::Bytes;
use longshore_link::{SchemaReport, Up, UpRecord};
use longshore_types::{DeviceName, NodeName, report::DeviceReport, schema_check::Document};
use tracing::{debug, warn};

use super::tables::Tables;
use crate::{
    kinds::Properties,
    store::Write,
    tables::{reports::Refused, schemas::Admission},
};

/// The most that a node may say of itself.
const NODE_BYTES: usize = 256 * 1024;

/// What a record comes to.
#[derive(Debug)]
pub(super) enum Taken {
    Report {
        device: DeviceName,
        payload: Bytes,
        news: u64,
    },
    Node(Bytes),
    Schema(SchemaReport, Vec<u64>),
    Nothing,
}

impl Taken {
    /// What is taken of a record. `young` says that the session has just begun.
    pub(super) fn of(hub: &Tables, node: &NodeName, record: &UpRecord, young: bool) -> Self {
        match Up::decode(&record.payload) {
            Ok(Up::Reported(report)) => reported(hub, node, report, &record.payload, young),
            Ok(Up::Node(_)) if record.payload.len() > NODE_BYTES => {
                hub.metrics.records_dropped.increment();
                let bytes = record.payload.len();
                warn!(%node, bytes, bound = NODE_BYTES, "what the node says of itself is too large and left out");
                Self::Nothing
            }
            Ok(Up::Node(_)) => Self::Node(record.payload.clone()),
            Ok(Up::Schema(schema)) => sent_schema(hub, node, schema),
            Ok(_) => {
                hub.metrics.records_unknown.increment();
                Self::Nothing
            }
            Err(error) => {
                hub.metrics.records_unknown.increment();
                let error = longshore_process::chain(&error);
                warn!(%node, sequence = record.sequence, error, "record cannot be understood");
                Self::Nothing
            }
        }
    }

    /// What is to be written of it.
    pub(super) fn write(&self) -> Write {
        match self {
            Self::Report {
                device, payload, ..
            } => Write::Report(device.clone(), payload.clone()),
            Self::Node(payload) => Write::Node(payload.clone()),
            Self::Schema(schema, gone) => Write::Schema(schema.clone(), gone.clone()),
            Self::Nothing => Write::Nothing,
        }
    }

    /// It is on the disk.
    pub(super) fn stored(self, hub: &Tables, node: &NodeName) {
        match self {
            Self::Report {
                device,
                payload,
                news,
            } => hub.reported(device, node.as_str(), payload, news),
            Self::Node(payload) => {
                if let Ok(Up::Node(report)) = Up::decode(&payload)
                    && hub.nodes.set_report(node.as_str(), report)
                {
                    hub.mark_devices_of(node.as_str());
                }
            }
            Self::Schema(schema, _) => hub.schema_came(node.as_str(), &schema),
            Self::Nothing => {}
        }
    }
}

fn reported(
    hub: &Tables,
    node: &NodeName,
    mut report: DeviceReport,
    payload: &Bytes,
    young: bool,
) -> Taken {
    let device = report.name.clone();
    let Some(properties) = hub.properties_of(&device, &report.uid, node) else {
        hub.metrics.records_dropped.increment();
        debug!(%node, %device, "report of a device that is not this node's");
        return Taken::Nothing;
    };
    let dropped = keep_known(&mut report, &properties);
    if dropped > 0 {
        hub.metrics.properties_dropped.add(dropped as u64);
        debug!(%node, %device, dropped, "properties were reported that the model does not have");
    }
    let former = young.then(|| hub.reports.find(&device, &report.uid, node.as_str()));
    let older = former
        .flatten()
        .map_or(0, |former| keep_newer(&mut report, former));
    if older > 0 {
        debug!(%node, %device, older, "the node came back with older values than it had told; these stay");
    }
    let news = news(&report);
    let payload = match dropped + older {
        0 => payload.clone(),
        _ => Up::Reported(report).encode(),
    };
    if let Err(why) = hub.reports.admit(&device, node.as_str(), payload.len()) {
        refuse(hub, node, device, why);
        return Taken::Nothing;
    }
    Taken::Report {
        device,
        payload,
        news,
    }
}

fn refuse(hub: &Tables, node: &NodeName, device: DeviceName, why: Refused) {
    hub.metrics.records_dropped.increment();
    let reason = why.to_string();
    warn!(%node, %device, reason, "a report is not taken; the device shows the one before it");
    if hub.reports.refuse(&device, why) {
        hub.statuses.mark([device]);
    }
}

fn sent_schema(hub: &Tables, node: &NodeName, schema: SchemaReport) -> Taken {
    let protocol = &schema.protocol;
    if let Err(error) = Document::parse(&schema.text) {
        hub.metrics.records_unknown.increment();
        let error = longshore_process::chain(&error);
        warn!(%node, protocol, error, "a mapper's schema cannot be used");
        return Taken::Nothing;
    }
    match hub.schemas.admit(node.as_str(), &schema) {
        Admission::Keep(gone) => Taken::Schema(schema, gone),
        Admission::Known => Taken::Nothing,
        Admission::Full => {
            hub.metrics.records_dropped.increment();
            let bytes = schema.text.len();
            warn!(%node, protocol, bytes, "there is no room for a mapper's schema; its devices are not checked while the node is away");
            Taken::Nothing
        }
    }
}

/// Leaves out properties that the model does not have, or that came already; gives
/// how many.
fn keep_known(report: &mut DeviceReport, properties: &Properties) -> usize {
    let before = report.properties.len();
    let mut seen = HashSet::with_capacity(before.min(properties.len()));
    report.properties.retain(|property| {
        properties
            .get(&*property.name)
            .is_some_and(|name| seen.insert(name))
    });
    before - report.properties.len()
}

/// A node that was killed begins with values that it had kept some time before, and
/// reads the devices anew. What was told of a later time stays until then: nobody
/// should see a value go back. Only for a moment, since a clock that was set back
/// must not hold values for ever. Gives how many stay.
fn keep_newer(report: &mut DeviceReport, former: DeviceReport) -> usize {
    let mut kept = 0;
    let mut formers: std::collections::HashMap<_, _> = former
        .properties
        .into_iter()
        .map(|property| (property.name.clone(), property))
        .collect();
    for property in &mut report.properties {
        let Some(former) = formers.remove(&property.name) else {
            continue;
        };
        if former.source_time_ms > property.source_time_ms && former.value.is_some() {
            property.value = former.value;
            property.value_type = former.value_type;
            property.source_time_ms = former.source_time_ms;
            property.last_read_ms = former.last_read_ms.max(property.last_read_ms);
            kept += 1;
        }
    }
    report.last_online_ms = report.last_online_ms.max(former.last_online_ms);
    kept
}

/// A fingerprint of what somebody may wait for: whether the device answers, what
/// came of writes, and events. Values are not in it, which change all the time.
fn news(report: &DeviceReport) -> u64 {
    let mut hash = DefaultHasher::new();
    discriminant(&report.state).hash(&mut hash);
    for condition in &report.conditions {
        (&condition.condition, &condition.reason).hash(&mut hash);
        discriminant(&condition.status).hash(&mut hash);
    }
    for event in &report.events {
        (&event.name, event.active).hash(&mut hash);
    }
    for property in &report.properties {
        if let Some(desired) = &property.desired {
            (&*property.name, &desired.value, desired.since_ms).hash(&mut hash);
            discriminant(&desired.write).hash(&mut hash);
        }
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use longshore_types::{
        Value,
        device::WriteState,
        report::{DesiredReport, DeviceState, PropertyReport},
    };

    use super::*;

    fn property(name: &str, value: f64, time: i64) -> PropertyReport {
        PropertyReport {
            value: Some(Value::Float(value)),
            source_time_ms: Some(time),
            ..PropertyReport::new(name)
        }
    }

    fn report(properties: Vec<PropertyReport>) -> DeviceReport {
        DeviceReport {
            name: DeviceName::new("default", "boiler").unwrap(),
            uid: "u".to_owned(),
            fingerprint: 0,
            state: DeviceState::Online,
            last_online_ms: None,
            properties,
            conditions: Vec::new(),
            warnings: Vec::new(),
            events: Vec::new(),
        }
    }

    #[test]
    fn only_what_the_model_has_is_kept_and_once() {
        let model: Properties = Arc::new(["a", "b"].into_iter().map(Box::from).collect());
        let mut told = report(vec![
            property("a", 1.0, 1),
            property("x", 2.0, 1),
            property("a", 3.0, 1),
            property("b", 4.0, 1),
        ]);
        assert_eq!(keep_known(&mut told, &model), 2);
        assert_eq!(
            told.properties,
            [property("a", 1.0, 1), property("b", 4.0, 1)]
        );
        assert_eq!(keep_known(&mut told, &model), 0);
    }

    #[test]
    fn a_value_that_was_told_is_not_followed_by_an_older_one() {
        let former = report(vec![property("a", 5.0, 500), property("b", 6.0, 100)]);
        let mut back = report(vec![property("a", 4.0, 400), property("b", 7.0, 200)]);
        assert_eq!(keep_newer(&mut back, former), 1);
        assert_eq!(
            back.properties,
            [property("a", 5.0, 500), property("b", 7.0, 200)]
        );
    }

    #[test]
    fn what_came_of_a_write_is_news_and_a_value_is_none() {
        let with = |value, write| {
            let mut property = property("a", value, value as i64);
            property.desired = Some(DesiredReport {
                value: "7".to_owned(),
                write,
                ..DesiredReport::default()
            });
            news(&report(vec![property]))
        };
        let pending = with(1.0, WriteState::Pending);
        assert_eq!(pending, with(2.0, WriteState::Pending));
        assert_ne!(pending, with(2.0, WriteState::Confirmed));
    }
}

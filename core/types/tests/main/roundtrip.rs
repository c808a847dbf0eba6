//! Types and schema agree: an object with each field of the schema filled in
//! survives reading and writing.

use longshore_types::{
    Device, DeviceModel, DeviceStatus,
    device::{
        Condition, ConditionStatus, Extensions, PropertyStatus, Twin, TwinProperty, WriteState,
        WriteStatus,
    },
    fault::Fault,
    schema::{self, Schema, Shape},
    time::Timestamp,
    value::{Quality, Reason},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value as Json, json};

fn sample(schema: &Schema) -> Json {
    match &schema.shape {
        Shape::Object(fields) => Json::Object(
            fields
                .iter()
                .map(|field| (field.name.to_owned(), sample(&field.schema)))
                .collect(),
        ),
        Shape::Free => json!({"any": {"thing": [1, "two", null]}}),
        Shape::Metadata => json!({
            "name": "a", "namespace": "b", "uid": "c", "resourceVersion": "9", "generation": 3,
            "creationTimestamp": "2024-11-19T07:06:40Z", "deletionTimestamp": "2024-11-19T07:06:41Z",
            "labels": {"l": "1"}, "annotations": {"n": "2"}, "finalizers": ["f"],
            "ownerReferences": [{"kind": "Device", "name": "a", "uid": "c"}],
        }),
        Shape::Map => json!({"key": "text"}),
        Shape::List(items) => json!([sample(items), sample(items)]),
        Shape::Text => json!("text"),
        Shape::Enum(values) => json!(values[0]),
        Shape::Int64 => json!(i64::MAX),
        Shape::Int32 => json!(i32::MAX),
        Shape::Int => json!(12),
        Shape::Bool => json!(true),
    }
}

fn survives<T: DeserializeOwned + Serialize + Default>(schema: &Schema, kind: &str) {
    let mut full = sample(schema);
    full["apiVersion"] = json!("devices.kubeedge.io/v1beta1");
    full["kind"] = json!(kind);
    let object: T = serde_json::from_value(full.clone()).unwrap();
    assert_eq!(serde_json::to_value(&object).unwrap(), full);

    let null: T =
        serde_json::from_value(json!({"metadata": null, "spec": null, "status": null})).unwrap();
    let empty = serde_json::to_value(&null).unwrap();
    assert_eq!(empty, serde_json::to_value(T::default()).unwrap());
    assert_eq!(empty["kind"], kind);
}

#[test]
fn each_field_of_the_schema_survives() {
    survives::<Device>(&schema::device(), "Device");
    survives::<DeviceModel>(&schema::model(), "DeviceModel");
    survives::<DeviceStatus>(&schema::status(), "DeviceStatus");
}

#[test]
fn reading_tolerates_what_is_new_and_refuses_what_is_other() {
    let device: Device = serde_json::from_value(
        json!({"spec": {"nodeName": "n", "newInKubeEdge2": {"x": 1}}, "more": 1}),
    )
    .unwrap();
    assert_eq!(device.spec.node_name, "n");
    for (other, expected) in [
        (
            json!({"apiVersion": "devices.kubeedge.io/v1alpha2"}),
            "expected `devices.kubeedge.io/v1beta1`",
        ),
        (json!({"kind": "DeviceModel"}), "where `Device` is expected"),
    ] {
        let error = serde_json::from_value::<Device>(other)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn omitted_report_to_cloud_is_true() {
    let device: Device = serde_json::from_value(
        json!({"spec": {"properties": [{"name": "a"}, {"name": "b", "reportToCloud": false}, {"name": "c", "desired": {"value": ""}}]}}),
    )
    .unwrap();
    let [a, b, c] = &device.spec.properties[..] else {
        panic!()
    };
    assert!(a.reports_to_cloud() && !b.reports_to_cloud());
    assert_eq!(c.desired_value(), None);
    assert_eq!(c.collect_cycle, 0);
}

#[test]
fn extensions_keep_what_others_put_there() {
    let time = Some(Timestamp::from_millis(1_732_000_000_123));
    let extensions = Extensions {
        conditions: vec![Condition {
            condition: "Reachable".into(),
            status: ConditionStatus::False,
            reason: "Timeout".into(),
            message: "no answer".into(),
            last_transition_time: time,
        }],
        properties: vec![PropertyStatus {
            name: "setpoint".into(),
            quality: Quality::Bad,
            reason: Reason::Line,
            source_time: time,
            last_read: time,
            last_error: Some("connection refused".into()),
            desired: Some("60".into()),
            desired_by: Some("local".into()),
            write: Some(WriteStatus {
                state: WriteState::Failed,
                message: "device refused".into(),
                time,
            }),
        }],
        warnings: vec![Fault::warning("spec.protocol", "unknown key")],
        ..Extensions::default()
    };
    let mut status = DeviceStatus::default();
    status.status.extensions =
        serde_json::from_value(json!({"vendor": 1, "conditions": "not ours"})).unwrap();
    status.status.twins.push(Twin {
        property_name: "setpoint".into(),
        reported: Some(TwinProperty {
            value: "60".into(),
            ..TwinProperty::default()
        }),
        observed_desired: None,
    });
    assert_eq!(status.status.extensions(), Extensions::default());
    status.status.set_extensions(extensions.clone());
    let object = status.status.extensions.clone().unwrap();
    assert_eq!(object["vendor"], 1);
    assert_eq!(object["summary"], "setpoint=60");
    assert_eq!(
        object["properties"][0]["sourceTime"],
        "2024-11-19T07:06:40.123Z"
    );
    assert_eq!(object["properties"][0]["write"]["state"], "failed");
    let again = status.status.extensions();
    assert_eq!(
        again,
        Extensions {
            summary: "setpoint=60".into(),
            ..extensions
        }
    );
    assert_eq!(again.property("setpoint").unwrap().quality, Quality::Bad);
    assert_eq!(
        again.condition("Reachable").unwrap().status,
        ConditionStatus::False
    );
}

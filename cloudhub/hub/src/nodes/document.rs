//! Node and Lease as JSON. Pure.

use kube::api::DynamicObject;
use longshore_link::NodeReport;
use longshore_types::Timestamp;
use serde_json::{Map, Value, json};

use crate::tables::nodes::{Presence, Task};

/// Marks a Node as the hub's.
pub(super) const LABEL: &str = "longshore.dev/edge";

/// Seconds that a lease holds; as a kubelet writes it.
const LEASE_SECONDS: u32 = 40;

/// A node as it is registered. It takes no pods by itself: a pod that is meant
/// for the edge tolerates the taint.
pub(super) fn new_node(node: &str, report: &NodeReport) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node, "labels": labels(node, report)},
        "spec": {"taints": [{"key": LABEL, "effect": "NoSchedule"}]},
    })
}

pub(super) fn is_ours(node: &DynamicObject) -> bool {
    let labels = node.metadata.labels.as_ref();
    labels.is_some_and(|labels| labels.contains_key(LABEL))
}

/// What the labels lack, if anything. Labels of others stay.
pub(super) fn labels_patch(present: &DynamicObject, report: &NodeReport) -> Option<Value> {
    let name = present.metadata.name.as_deref().unwrap_or_default();
    let have = present.metadata.labels.clone().unwrap_or_default();
    let missing: Map<String, Value> = labels(name, report)
        .into_iter()
        .filter(|(key, value)| have.get(key).map(String::as_str) != value.as_str())
        .collect();
    (!missing.is_empty()).then(|| json!({"metadata": {"labels": missing}}))
}

/// The status that a node should have.
pub(super) fn status(task: &Task, present: &DynamicObject, now: Timestamp) -> Value {
    let report = &task.report;
    let now = now.to_seconds_string();
    let (ready, reason, message) = match task.presence {
        Presence::Connected => ("True", "EdgeConnected", "the edge is connected to the hub"),
        Presence::Away => (
            "True",
            "EdgeAway",
            "the edge has lost the hub and may be back before the grace period ends",
        ),
        _ => (
            "Unknown",
            "NodeStatusUnknown",
            "the edge is not connected to the hub; it goes on by itself",
        ),
    };
    let former = former_condition(present, "Ready");
    let heartbeat = match task.presence {
        Presence::Connected => Some(now.as_str()),
        _ => former.and_then(|former| former["lastHeartbeatTime"].as_str()),
    };
    let mut condition = condition(present, "Ready", (ready, reason, message), &now);
    if let Some(heartbeat) = heartbeat {
        condition["lastHeartbeatTime"] = json!(heartbeat);
    }
    let conditions = [Some(condition), mappers(task, present, &now)];
    let conditions = conditions.into_iter().flatten();
    let conditions: Vec<Value> = conditions.chain(certificate(task, present, &now)).collect();
    let addresses: Vec<Value> = report
        .addresses
        .iter()
        .map(|address| json!({"type": address.kind, "address": address.address}))
        .collect();
    let capacity = json!({
        "cpu": report.cpus.to_string(),
        "memory": format!("{}Ki", report.memory_bytes / 1024),
        "pods": "0",
    });
    json!({"status": {
        "conditions": conditions,
        "addresses": addresses,
        "capacity": capacity,
        "allocatable": capacity,
        "nodeInfo": {
            "machineID": report.machine_id,
            "systemUUID": report.machine_id,
            "bootID": report.boot_id,
            "kernelVersion": report.kernel,
            "osImage": report.os_image,
            "containerRuntimeVersion": "",
            "kubeletVersion": report.version,
            "kubeProxyVersion": "",
            "operatingSystem": report.os,
            "architecture": report.architecture,
        },
    }})
}

/// Whether the node's mappers run, each in the version that lies there; nothing
/// for a node without any.
fn mappers(task: &Task, present: &DynamicObject, now: &str) -> Option<Value> {
    const KIND: &str = "MappersRunning";
    let mappers = &task.report.mappers;
    if mappers.is_empty() {
        return None;
    }
    if !matches!(task.presence, Presence::Connected | Presence::Away) {
        let unknown = (
            "Unknown",
            "NodeStatusUnknown",
            "the edge is not connected to the hub",
        );
        return Some(condition(present, KIND, unknown, now));
    }
    let down = mappers.iter().any(|mapper| mapper.state != "Running");
    let refused = mappers.iter().any(|mapper| !mapper.message.is_empty());
    let (status, reason) = match (down, refused) {
        (true, _) => ("False", "MapperDown"),
        (false, true) => ("True", "VersionRefused"),
        (false, false) => ("True", "AllRunning"),
    };
    let texts: Vec<_> = mappers
        .iter()
        .map(|mapper| {
            let mut text = mapper.name.clone();
            for (before, part) in [
                (" ", &mapper.version),
                (" ", &mapper.state),
                (": ", &mapper.message),
            ] {
                if !part.is_empty() {
                    text = format!("{text}{before}{part}");
                }
            }
            text
        })
        .collect();
    Some(condition(
        present,
        KIND,
        (status, reason, &texts.join("; ")),
        now,
    ))
}

/// What is wrong with the node's certificate, or will be; nothing before it was here.
fn certificate(task: &Task, present: &DynamicObject, now: &str) -> Vec<Value> {
    let identity = task.identity;
    let Some(ends) = identity.ends_ms.map(Timestamp::from_millis) else {
        return Vec::new();
    };
    let ends = ends.to_seconds_string();
    let soon = format!(
        "the node's certificate ends at {ends}: make another one with `cloudhub issue-node`"
    );
    let late = format!("the node's certificate ends at {ends}");
    let ending = match identity.ends_soon {
        true => ("True", "EndsSoon", soon.as_str()),
        false => ("False", "EndsLater", late.as_str()),
    };
    let shared = match identity.shared {
        true => (
            "True",
            "TwoEdges",
            "a second edge with this node's certificate wants to connect and is turned away: \
             give each edge a certificate of its own",
        ),
        false => ("False", "OneEdge", "one edge has the node's certificate"),
    };
    vec![
        condition(present, "CertificateEnding", ending, now),
        condition(present, "CertificateShared", shared, now),
    ]
}

fn former_condition<'a>(present: &'a DynamicObject, kind: &str) -> Option<&'a Value> {
    let conditions = present.data["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// A condition; its time of transition stays while its status does.
fn condition(
    present: &DynamicObject,
    kind: &str,
    (status, reason, message): (&str, &str, &str),
    now: &str,
) -> Value {
    let since = former_condition(present, kind)
        .filter(|former| former["status"] == status)
        .and_then(|former| former["lastTransitionTime"].as_str())
        .unwrap_or(now);
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since,
    })
}

pub(super) fn new_lease(node: &str, now: Timestamp) -> Value {
    let mut lease = lease_patch(node, now);
    lease["apiVersion"] = json!("coordination.k8s.io/v1");
    lease["kind"] = json!("Lease");
    lease["metadata"] = json!({"name": node});
    lease
}

pub(super) fn lease_patch(node: &str, now: Timestamp) -> Value {
    let text = now.to_string();
    // A MicroTime has exactly six digits after the point.
    let renewed = format!("{}000Z", text.trim_end_matches('Z'));
    json!({"spec": {
        "holderIdentity": node,
        "leaseDurationSeconds": LEASE_SECONDS,
        "renewTime": renewed,
    }})
}

fn labels(node: &str, report: &NodeReport) -> Map<String, Value> {
    let mut labels = Map::new();
    for (key, value) in &report.labels {
        // A node may not call itself a control plane, or take another's name.
        if !key.contains("kubernetes.io/") {
            labels.insert(key.clone(), json!(value));
        }
    }
    labels.insert("kubernetes.io/hostname".to_owned(), json!(node));
    for (key, value) in [
        ("kubernetes.io/os", &report.os),
        ("kubernetes.io/arch", &report.architecture),
    ] {
        if !value.is_empty() {
            labels.insert(key.to_owned(), json!(value));
        }
    }
    labels.insert("node-role.kubernetes.io/edge".to_owned(), json!(""));
    labels.insert(LABEL.to_owned(), json!(""));
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::nodes::Identity;

    fn task(presence: Presence) -> Task {
        Task {
            node: "n".to_owned(),
            presence,
            report: NodeReport::default(),
            identity: Identity::default(),
            write_status: true,
            renew_lease: false,
        }
    }

    #[test]
    fn the_time_of_a_transition_stays_until_the_next() {
        let present: DynamicObject = serde_json::from_value(json!({
            "metadata": {"name": "n"},
            "status": {"conditions": [{"type": "Ready", "status": "True",
                "lastTransitionTime": "2024-01-01T00:00:00Z", "lastHeartbeatTime": "2024-01-02T00:00:00Z"}]},
        }))
        .unwrap();
        let now = Timestamp::from_millis(1_732_000_000_123);
        let same = status(&task(Presence::Connected), &present, now);
        let condition = &same["status"]["conditions"][0];
        assert_eq!(condition["lastTransitionTime"], "2024-01-01T00:00:00Z");
        assert_eq!(condition["lastHeartbeatTime"], "2024-11-19T07:06:40Z");
        let lost = status(&task(Presence::Lost), &present, now);
        let condition = &lost["status"]["conditions"][0];
        assert_eq!(condition["status"], "Unknown");
        assert_eq!(condition["lastTransitionTime"], "2024-11-19T07:06:40Z");
        assert_eq!(condition["lastHeartbeatTime"], "2024-01-02T00:00:00Z");
    }

    #[test]
    fn a_version_that_is_not_used_stands_at_the_node() {
        let present: DynamicObject =
            serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
        let now = Timestamp::from_millis(1_732_000_000_123);
        let mapper =
            |name: &str, version: &str, state: &str, message: &str| longshore_link::MapperReport {
                name: name.to_owned(),
                protocol: name.to_owned(),
                version: version.to_owned(),
                state: state.to_owned(),
                message: message.to_owned(),
                schema: 0,
            };
        let mut task = task(Presence::Connected);
        let one = mapper(
            "modbus",
            "1.0.0",
            "Running",
            "version 2.0.0 is not used: told to fail",
        );
        task.report.mappers = vec![one];
        let shown = |task: &Task| status(task, &present, now)["status"]["conditions"][1].clone();
        let condition = shown(&task);
        assert_eq!(condition["type"], "MappersRunning");
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&json!("True"), &json!("VersionRefused"))
        );
        assert_eq!(
            condition["message"],
            "modbus 1.0.0 Running: version 2.0.0 is not used: told to fail"
        );
        task.report
            .mappers
            .push(mapper("opcua", "", "Failed", "it does not exist"));
        let condition = shown(&task);
        assert_eq!(
            (&condition["status"], &condition["reason"]),
            (&json!("False"), &json!("MapperDown"))
        );
        task.presence = Presence::Lost;
        assert_eq!(shown(&task)["status"], "Unknown");
        task.report.mappers.clear();
        assert_eq!(shown(&task), Value::Null);
    }

    #[test]
    fn a_certificate_that_ends_soon_or_is_shared_stands_at_the_node() {
        let present: DynamicObject =
            serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
        let now = Timestamp::from_millis(1_732_000_000_123);
        let mut task = task(Presence::Connected);
        let shown = |task: &Task| {
            let status = status(task, &present, now);
            let conditions = status["status"]["conditions"].as_array().unwrap().iter();
            let told = conditions
                .skip(1)
                .map(|c| format!("{}={}", c["type"], c["status"]));
            told.collect::<Vec<_>>().join(" ").replace('"', "")
        };
        assert_eq!(shown(&task), "");
        task.identity.ends_ms = Some(1_732_000_000_000);
        assert_eq!(
            shown(&task),
            "CertificateEnding=False CertificateShared=False"
        );
        task.identity.ends_soon = true;
        task.identity.shared = true;
        assert_eq!(
            shown(&task),
            "CertificateEnding=True CertificateShared=True"
        );
    }

    #[test]
    fn a_lease_has_micro_seconds() {
        let lease = lease_patch("n", Timestamp::from_millis(1_732_000_000_123));
        assert_eq!(lease["spec"]["renewTime"], "2024-11-19T07:06:40.123000Z");
    }
}

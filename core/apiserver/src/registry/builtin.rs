//! The table of built-in resources.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{COMPONENTS, Cell, Class, Column, Resource, Selectable};
use crate::schema::Schema;
use crate::time;

/// (heading, type, priority, how the cell is made)
type Printed = (&'static str, &'static str, i64, fn(&Value) -> Value);

/// (name in a selector, other place of its value, what it is where it is absent)
type Field = (&'static str, &'static str, &'static str);

/// A text, which is empty where it is absent.
const fn text(name: &'static str) -> Field {
    (name, "", "")
}

/// A flag, which is false where it is absent.
const fn flag(name: &'static str) -> Field {
    (name, "", "false")
}

struct Row {
    class: Class,
    group: &'static str,
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
    status: bool,
    schema: &'static str,
    storage: &'static str,
    selectable: &'static [Field],
    columns: &'static [Printed],
}

const EVENT_FIELDS: &[Field] = &[
    text("involvedObject.kind"),
    text("involvedObject.namespace"),
    text("involvedObject.name"),
    text("involvedObject.uid"),
    text("involvedObject.apiVersion"),
    text("involvedObject.resourceVersion"),
    text("involvedObject.fieldPath"),
    text("reason"),
    text("type"),
    text("reportingComponent"),
    // The controller that reports it, whichever of its two names it goes by.
    ("source", "source.component reportingComponent", ""),
    text("source.component"),
];

const POD_FIELDS: &[Field] = &[
    text("spec.nodeName"),
    ("spec.restartPolicy", "", "Always"),
    ("spec.schedulerName", "", "default-scheduler"),
    text("spec.serviceAccountName"),
    flag("spec.hostNetwork"),
    text("status.phase"),
    text("status.podIP"),
    text("status.podIPs"),
    text("status.nominatedNodeName"),
];

const EVENTS_FIELDS: &[Field] = &[
    text("regarding.kind"),
    text("regarding.namespace"),
    text("regarding.name"),
    text("regarding.uid"),
    text("regarding.apiVersion"),
    text("regarding.resourceVersion"),
    text("regarding.fieldPath"),
    text("reason"),
    text("type"),
    text("reportingController"),
];

const ROWS: &[Row] = &[
    Row {
        class: Class::Namespace,
        group: "",
        plural: "namespaces",
        singular: "namespace",
        kind: "Namespace",
        short: &["ns"],
        namespaced: false,
        status: true,
        schema: "io.k8s.api.core.v1.Namespace",
        storage: "/namespaces",
        selectable: &[text("status.phase")],
        columns: &[
            ("Status", "string", 0, |o| o["status"]["phase"].clone()),
            ("Age", "string", 0, age),
        ],
    },
    Row {
        class: Class::Node,
        group: "",
        plural: "nodes",
        singular: "node",
        kind: "Node",
        short: &["no"],
        namespaced: false,
        status: true,
        schema: "io.k8s.api.core.v1.Node",
        storage: "/nodes",
        selectable: &[flag("spec.unschedulable")],
        columns: &[
            ("Status", "string", 0, node_status),
            ("Roles", "string", 0, node_roles),
            ("Age", "string", 0, age),
            ("Version", "string", 0, |o| {
                o["status"]["nodeInfo"]["kubeletVersion"].clone()
            }),
            ("Internal-IP", "string", 1, |o| {
                node_address(o, "InternalIP")
            }),
            ("External-IP", "string", 1, |o| {
                node_address(o, "ExternalIP")
            }),
            ("OS-Image", "string", 1, |o| node_info(o, "osImage")),
            ("Kernel-Version", "string", 1, |o| {
                node_info(o, "kernelVersion")
            }),
            ("Container-Runtime", "string", 1, |o| {
                node_info(o, "containerRuntimeVersion")
            }),
        ],
    },
    Row {
        class: Class::ConfigMap,
        group: "",
        plural: "configmaps",
        singular: "configmap",
        kind: "ConfigMap",
        short: &["cm"],
        namespaced: true,
        status: false,
        schema: "io.k8s.api.core.v1.ConfigMap",
        storage: "/configmaps",
        selectable: &[],
        columns: &[
            ("Data", "string", 0, |o| {
                json!(size(&o["data"]) + size(&o["binaryData"]))
            }),
            ("Age", "string", 0, age),
        ],
    },
    Row {
        class: Class::Secret,
        group: "",
        plural: "secrets",
        singular: "secret",
        kind: "Secret",
        short: &[],
        namespaced: true,
        status: false,
        schema: "io.k8s.api.core.v1.Secret",
        storage: "/secrets",
        selectable: &[text("type")],
        columns: &[
            ("Type", "string", 0, |o| o["type"].clone()),
            ("Data", "string", 0, |o| json!(size(&o["data"]))),
            ("Age", "string", 0, age),
        ],
    },
    Row {
        class: Class::Event,
        group: "",
        plural: "events",
        singular: "event",
        kind: "Event",
        short: &["ev"],
        namespaced: true,
        status: false,
        schema: "io.k8s.api.core.v1.Event",
        storage: "/events",
        selectable: EVENT_FIELDS,
        columns: EVENT_COLUMNS,
    },
    Row {
        class: Class::Pod,
        group: "",
        plural: "pods",
        singular: "pod",
        kind: "Pod",
        short: &["po"],
        namespaced: true,
        status: false,
        schema: "io.k8s.api.core.v1.Pod",
        storage: "/pods",
        selectable: POD_FIELDS,
        columns: &[
            ("Status", "string", 0, |o| o["status"]["phase"].clone()),
            ("Age", "string", 0, age),
        ],
    },
    Row {
        class: Class::Lease,
        group: "coordination.k8s.io",
        plural: "leases",
        singular: "lease",
        kind: "Lease",
        short: &[],
        namespaced: true,
        status: false,
        schema: "io.k8s.api.coordination.v1.Lease",
        storage: "coordination.k8s.io/leases",
        selectable: &[],
        columns: &[
            ("Holder", "string", 0, |o| {
                o["spec"]["holderIdentity"].clone()
            }),
            ("Age", "string", 0, age),
        ],
    },
    Row {
        class: Class::EventsEvent,
        group: "events.k8s.io",
        plural: "events",
        singular: "event",
        kind: "Event",
        short: &["ev"],
        namespaced: true,
        status: false,
        schema: "io.k8s.api.events.v1.EventsEvent",
        storage: "/events",
        selectable: EVENTS_FIELDS,
        columns: EVENT_COLUMNS,
    },
    Row {
        class: Class::Definition,
        group: "apiextensions.k8s.io",
        plural: "customresourcedefinitions",
        singular: "customresourcedefinition",
        kind: "CustomResourceDefinition",
        short: &["crd", "crds"],
        namespaced: false,
        status: true,
        schema: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        storage: "apiextensions.k8s.io/customresourcedefinitions",
        selectable: &[],
        columns: &[("Created At", "date", 0, |o| {
            o["metadata"]["creationTimestamp"].clone()
        })],
    },
];

const EVENT_COLUMNS: &[Printed] = &[
    ("Last Seen", "string", 0, |o| {
        let seen = [
            &o["series"]["lastObservedTime"],
            &o["lastTimestamp"],
            &o["deprecatedLastTimestamp"],
            &o["eventTime"],
        ];
        seen.into_iter()
            .find_map(Value::as_str)
            .map_or(json!("<unknown>"), |text| json!(time::age(text)))
    }),
    ("Type", "string", 0, |o| o["type"].clone()),
    ("Reason", "string", 0, |o| o["reason"].clone()),
    ("Object", "string", 0, |o| {
        let about = if o["regarding"].is_object() {
            &o["regarding"]
        } else {
            &o["involvedObject"]
        };
        let kind = about["kind"].as_str().unwrap_or_default().to_lowercase();
        json!(format!(
            "{kind}/{}",
            about["name"].as_str().unwrap_or_default()
        ))
    }),
    ("Message", "string", 0, |o| {
        let text = o["note"]
            .as_str()
            .or_else(|| o["message"].as_str())
            .unwrap_or_default();
        json!(text.trim())
    }),
];

/// All built-in resources.
pub(super) fn resources() -> Vec<Arc<Resource>> {
    ROWS.iter().map(|row| Arc::new(resource(row))).collect()
}

fn resource(row: &Row) -> Resource {
    let document = COMPONENTS.get(row.schema).cloned().unwrap_or_default();
    let texts = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
    let mut columns = vec![Column {
        name: "Name".into(),
        kind: "string".into(),
        format: "name".into(),
        description: "Name of the object.".into(),
        priority: 0,
        cell: Cell::Code(|object| object["metadata"]["name"].clone()),
    }];
    columns.extend(
        row.columns
            .iter()
            .map(|(name, kind, priority, cell)| Column {
                name: (*name).to_owned(),
                kind: (*kind).to_owned(),
                format: String::new(),
                description: format!("{name} of the object."),
                priority: *priority,
                cell: Cell::Code(*cell),
            }),
    );
    Resource {
        group: row.group.into(),
        version: "v1".into(),
        plural: row.plural.into(),
        singular: row.singular.into(),
        kind: row.kind.into(),
        list_kind: format!("{}List", row.kind),
        short_names: texts(row.short),
        categories: if row.class == Class::Definition {
            vec!["api-extensions".into()]
        } else {
            Vec::new()
        },
        namespaced: row.namespaced,
        class: row.class,
        status: row.status,
        storage: row.storage.into(),
        stored_as: match row.class {
            Class::EventsEvent => "v1".into(),
            _ if row.group.is_empty() => "v1".into(),
            _ => format!("{}/v1", row.group),
        },
        schema: Arc::new(Schema::parse(&document, &COMPONENTS)),
        document: Arc::new(document),
        schema_name: row.schema.to_owned(),
        columns,
        selectable: row.selectable.iter().map(selectable).collect(),
        deprecation: None,
    }
}

fn selectable((label, elsewhere, absent): &Field) -> Selectable {
    let plain = Selectable::plain(label);
    let elsewhere: Vec<String> = elsewhere.split_whitespace().map(str::to_owned).collect();
    Selectable {
        places: if elsewhere.is_empty() {
            plain.places
        } else {
            elsewhere
        },
        absent,
        ..plain
    }
}

fn age(object: &Value) -> Value {
    json!(
        object["metadata"]["creationTimestamp"]
            .as_str()
            .map_or_else(|| "<unknown>".into(), time::age)
    )
}

fn size(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

fn node_status(node: &Value) -> Value {
    let conditions = node["status"]["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    let mut text = match ready.map(|condition| condition["status"] == "True") {
        Some(true) => "Ready".to_owned(),
        Some(false) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if node["spec"]["unschedulable"] == true {
        text.push_str(",SchedulingDisabled");
    }
    json!(text)
}

fn node_roles(node: &Value) -> Value {
    let labels = node["metadata"]["labels"].as_object();
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => Some(role),
                None if key == "kubernetes.io/role" => value.as_str(),
                None => None,
            },
        )
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    if roles.is_empty() {
        json!("<none>")
    } else {
        json!(roles.join(","))
    }
}

fn node_address(node: &Value, kind: &str) -> Value {
    let addresses = node["status"]["addresses"].as_array();
    let found = addresses
        .into_iter()
        .flatten()
        .find(|address| address["type"] == kind);
    found.map_or(json!("<none>"), |address| address["address"].clone())
}

fn node_info(node: &Value, field: &str) -> Value {
    match node["status"]["nodeInfo"][field].as_str() {
        Some(text) if !text.is_empty() => json!(text),
        _ => json!("<unknown>"),
    }
}

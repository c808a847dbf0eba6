//! The CustomResourceDefinitions of the three kinds, generated from
//! [`crate::schema`]. `deploy/crds` holds them as YAML.
//!
//! Fields and enums are KubeEdge's, so that none of its manifests is refused;
//! like there, no kind has a status subresource.

use serde_json::{Value as Json, json};

use crate::{
    device::{GROUP, VERSION},
    schema::{self, Schema},
};

/// One definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Crd {
    /// Name of its file in `deploy/crds`.
    pub file: &'static str,
    /// The object, as the API takes it.
    pub object: Json,
}

/// A column of `kubectl get`: name, type, path, priority (1 shows with `-o wide` only).
type Column = (&'static str, &'static str, &'static str, u32);

const AGE: Column = ("Age", "date", ".metadata.creationTimestamp", 0);

/// The definitions of Device, DeviceModel and DeviceStatus.
pub fn all() -> [Crd; 3] {
    [
        Crd {
            file: "devices.kubeedge.io_devices.yaml",
            object: definition(
                "Device",
                "devices",
                "device",
                &schema::device(),
                &[
                    ("Node", "string", ".spec.nodeName", 0),
                    ("Protocol", "string", ".spec.protocol.protocolName", 0),
                    ("Model", "string", ".spec.deviceModelRef.name", 0),
                    AGE,
                ],
            ),
        },
        Crd {
            file: "devices.kubeedge.io_devicemodels.yaml",
            object: definition(
                "DeviceModel",
                "devicemodels",
                "devicemodel",
                &schema::model(),
                &[("Protocol", "string", ".spec.protocol", 0), AGE],
            ),
        },
        Crd {
            file: "devices.kubeedge.io_devicestatuses.yaml",
            object: definition(
                "DeviceStatus",
                "devicestatuses",
                "devicestatus",
                &schema::status(),
                &[
                    ("State", "string", ".status.state", 0),
                    ("Last-Online", "date", ".status.lastOnlineTime", 0),
                    ("Twins", "string", ".status.extensions.summary", 0),
                    AGE,
                ],
            ),
        },
    ]
}

fn definition(
    kind: &str,
    plural: &str,
    singular: &str,
    schema: &Schema,
    columns: &[Column],
) -> Json {
    let columns: Vec<Json> = columns
        .iter()
        .map(|&(name, kind, path, priority)| {
            let mut column = json!({"name": name, "type": kind, "jsonPath": path});
            if priority > 0 {
                column["priority"] = priority.into();
            }
            column
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": singular},
            "scope": "Namespaced",
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": schema.to_openapi()},
            }],
        },
    })
}

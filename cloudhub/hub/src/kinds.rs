//! The kinds that go to the edges, as data.
//!
//! This table is the one place in the hub that names them: a watch runs for
//! each row, the catalog binds objects to nodes by it, and which status has to
//! be looked at after a change stands in it too. To bring another kind to the
//! edges, add a row to [`KINDS`].

use std::{collections::HashSet, sync::Arc};

use kube::{
    ResourceExt,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use longshore_link::{Content, ObjectKey};
use longshore_types::DeviceName;
use serde_json::Value;

/// The API group of devices.
pub(crate) const DEVICE_GROUP: &str = "devices.kubeedge.io";
/// Its version.
pub(crate) const DEVICE_VERSION: &str = "v1beta1";
/// The kind `Device`.
pub(crate) const DEVICE: &str = "Device";
/// The kind `DeviceModel`.
pub(crate) const DEVICE_MODEL: &str = "DeviceModel";

/// One kind that goes to edges.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Its API group; empty for the core one.
    pub(crate) group: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
    /// Its name, such as `Device`. No two rows share one.
    pub(crate) name: &'static str,
    /// Its name in paths, such as `devices`.
    pub(crate) plural: &'static str,
    /// The node that an object is bound to by what stands in itself. A kind
    /// that only goes where others need it says none.
    pub(crate) node: fn(&Value) -> Option<&str>,
    /// What must be on the node of an object beside it; it is given the
    /// object's namespace. What is needed is not asked what it needs in turn.
    pub(crate) needs: fn(&str, &Value) -> Vec<ObjectKey>,
    /// The properties that an object gives to those who need it: a node may report
    /// no others of them.
    pub(crate) properties: fn(&Value) -> Vec<&str>,
    /// What has to be looked at when an object, or one that it needs, changes.
    pub(crate) status: Status,
}

/// Who tells users the state of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nobody: the kind has no state of its own.
    None,
    /// The DeviceStatus of the same name.
    DeviceStatus,
}

/// All kinds that go to edges.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        group: DEVICE_GROUP,
        version: DEVICE_VERSION,
        name: DEVICE,
        plural: "devices",
        node: |device| device["spec"]["nodeName"].as_str(),
        needs: |namespace, device| {
            let model = device["spec"]["deviceModelRef"]["name"].as_str();
            named(DEVICE_MODEL, namespace, model).into_iter().collect()
        },
        properties: |_| Vec::new(),
        status: Status::DeviceStatus,
    },
    Kind {
        group: DEVICE_GROUP,
        version: DEVICE_VERSION,
        name: DEVICE_MODEL,
        plural: "devicemodels",
        node: |_| None,
        needs: |_, _| Vec::new(),
        properties: |model| {
            let properties = model["spec"]["properties"].as_array();
            let properties = properties.into_iter().flatten();
            properties
                .filter_map(|property| property["name"].as_str())
                .collect()
        },
        status: Status::None,
    },
];

/// Names of properties. Cheap to clone.
pub(crate) type Properties = Arc<HashSet<Box<str>>>;

/// An object as far as the hub needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// The node that it is bound to; empty for none.
    pub(crate) node: String,
    /// What its node needs beside it.
    pub(crate) needs: Vec<ObjectKey>,
    /// The properties that it gives to those who need it.
    pub(crate) properties: Properties,
    /// The whole object.
    pub(crate) content: Content,
}

impl Kind {
    /// The resource, for a client.
    pub(crate) fn resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.name);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }

    /// Names an object of this kind.
    pub(crate) fn key(&self, object: &DynamicObject) -> ObjectKey {
        ObjectKey {
            kind: self.name.to_owned(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }

    /// Takes an object as the API server has it, without its managed fields.
    /// It is not squeezed through a type that might drop what it does not know.
    pub(crate) fn take(&self, mut object: DynamicObject) -> (ObjectKey, Object) {
        object.metadata.managed_fields = None;
        let key = self.key(&object);
        let content = Content {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
            // What was parsed from JSON can be written as JSON.
            json: serde_json::to_vec(&object).unwrap_or_default().into(),
        };
        let properties = (self.properties)(&object.data);
        let object = Object {
            node: (self.node)(&object.data).unwrap_or_default().to_owned(),
            needs: (self.needs)(&key.namespace, &object.data),
            properties: properties
                .into_iter()
                .map(Into::into)
                .collect::<HashSet<_>>()
                .into(),
            content,
        };
        (key, object)
    }
}

/// The key of a Device.
pub(crate) fn device_key(device: &DeviceName) -> ObjectKey {
    ObjectKey {
        kind: DEVICE.to_owned(),
        namespace: device.namespace().to_owned(),
        name: device.name().to_owned(),
    }
}

/// The Device that a key names, if it names one.
pub(crate) fn device_name(key: &ObjectKey) -> Option<DeviceName> {
    // The API server checks names by the same rules.
    let device = || DeviceName::new(&key.namespace, &key.name).ok();
    (key.kind == DEVICE).then(device).flatten()
}

/// The key of an object, if one is named.
fn named(kind: &str, namespace: &str, name: Option<&str>) -> Option<ObjectKey> {
    let name = name.filter(|name| !name.is_empty())?;
    Some(ObjectKey {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// Kinds that no cluster has, to show that a row is all that a kind takes.
#[cfg(test)]
pub(crate) mod made_up {
    use std::sync::LazyLock;

    use super::*;

    /// The real table, and two rows more.
    pub(crate) static TABLE: LazyLock<Vec<Kind>> =
        LazyLock::new(|| [KINDS, &[WIDGET, WIDGET_CLASS]].concat());

    const WIDGET: Kind = Kind {
        group: "example.com",
        version: "v1",
        name: "Widget",
        plural: "widgets",
        node: |widget| widget["spec"]["on"].as_str(),
        needs: |namespace, widget| {
            let classes = widget["spec"]["classes"].as_array();
            let classes = classes.into_iter().flatten();
            classes
                .filter_map(|class| named("WidgetClass", namespace, class.as_str()))
                .collect()
        },
        properties: |_| Vec::new(),
        status: Status::None,
    };

    const WIDGET_CLASS: Kind = Kind {
        group: "example.com",
        version: "v1",
        name: "WidgetClass",
        plural: "widgetclasses",
        node: |_| None,
        needs: |_, _| Vec::new(),
        properties: |_| Vec::new(),
        status: Status::None,
    };
}

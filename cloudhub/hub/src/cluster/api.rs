//! What the hub asks of the API server: resources, and who it is when it writes.

use kube::{
    Api, Client,
    api::{PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta},
};

use crate::kinds::{DEVICE_GROUP, DEVICE_VERSION};

/// Who writes, in `managedFields`.
const MANAGER: &str = "longshore-hub";

/// To create something as the hub.
pub(crate) fn post() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// To patch something as the hub.
pub(crate) fn patch() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

pub(crate) fn device_status() -> ApiResource {
    resource(
        DEVICE_GROUP,
        DEVICE_VERSION,
        "DeviceStatus",
        "devicestatuses",
    )
}

pub(crate) fn node() -> ApiResource {
    resource("", "v1", "Node", "nodes")
}

pub(crate) fn lease() -> ApiResource {
    resource("coordination.k8s.io", "v1", "Lease", "leases")
}

pub(crate) fn definition() -> ApiResource {
    resource(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
    )
}

/// All objects of a kind, or those without a namespace.
pub(crate) fn all(client: &Client, resource: &ApiResource) -> Api<DynamicObject> {
    Api::all_with(client.clone(), resource)
}

/// All objects of a kind, but only their metadata.
pub(crate) fn all_metadata(
    client: &Client,
    resource: &ApiResource,
) -> Api<PartialObjectMeta<DynamicObject>> {
    Api::all_with(client.clone(), resource)
}

/// The objects of a kind in a namespace.
pub(crate) fn within(
    client: &Client,
    namespace: &str,
    resource: &ApiResource,
) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, resource)
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Whether the API server said this code.
pub(crate) fn has_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// A resource version as a number, which it is on every API server that
/// Kubernetes has; 0 elsewhere, and then foreign writes go unnoticed.
pub(crate) fn version_of(version: Option<&str>) -> u64 {
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

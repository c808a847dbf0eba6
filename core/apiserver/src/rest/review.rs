//! Reviews: "may I?" and "who am I?". Objects that are answered, not stored.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::request::ResourcePath;
use super::status::json_response;
use super::{Api, allowed};
use crate::identity::{Attributes, User};

/// (group, plural, kind)
pub(super) const RESOURCES: &[(&str, &str, &str)] = &[
    (
        "authentication.k8s.io",
        "selfsubjectreviews",
        "SelfSubjectReview",
    ),
    (
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
    ),
];

/// The kind of review that a path names.
pub(super) fn kind(path: &ResourcePath) -> Option<&'static str> {
    let found = RESOURCES
        .iter()
        .find(|(group, plural, _)| path.group == *group && path.plural == *plural);
    found
        .filter(|_| path.version == "v1" && path.name.is_none())
        .map(|(_, _, kind)| *kind)
}

pub(super) fn answer(api: &Api, user: &User, kind: &str, mut given: Value) -> Response {
    if !given.is_object() {
        given = json!({});
    }
    given["kind"] = json!(kind);
    if kind == "SelfSubjectReview" {
        given["apiVersion"] = json!("authentication.k8s.io/v1");
        given["status"] = json!({"userInfo": {"username": user.name, "groups": user.groups}});
        return json_response(StatusCode::CREATED, &given);
    }
    given["apiVersion"] = json!("authorization.k8s.io/v1");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let some = |value: &Value| {
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let (resource, path) = (
        &given["spec"]["resourceAttributes"],
        &given["spec"]["nonResourceAttributes"],
    );
    let attributes = if resource.is_object() {
        Attributes {
            verb: text(&resource["verb"]),
            group: text(&resource["group"]),
            resource: text(&resource["resource"]),
            subresource: some(&resource["subresource"]),
            namespace: some(&resource["namespace"]),
            name: some(&resource["name"]),
            path: String::new(),
        }
    } else {
        Attributes {
            verb: text(&path["verb"]),
            path: text(&path["path"]),
            ..Attributes::default()
        }
    };
    given["status"] = json!({"allowed": allowed(api, user, &attributes)});
    json_response(StatusCode::CREATED, &given)
}

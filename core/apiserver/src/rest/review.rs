//! Reviews: "may I?" and "who am I?". Objects that are answered, not stored.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::request::ResourcePath;
use super::status::{ApiError, json_response};
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

/// What of a review is answered: nothing else of it is looked at or given back.
///
/// # Errors
/// It is not an object, or says neither what it asks about nor where.
pub(super) fn read(kind: &str, mut given: Value) -> Result<Value, ApiError> {
    let Some(map) = given.as_object_mut() else {
        return Err(ApiError::bad_request(
            "the body of the request is not an object",
        ));
    };
    let mut spec = map.swap_remove("spec").unwrap_or_default();
    if kind == "SelfSubjectReview" {
        return Ok(json!({"metadata": {}}));
    }
    let parts = ["resourceAttributes", "nonResourceAttributes"];
    let asked = parts.iter().filter(|part| spec[**part].is_object());
    if asked.count() != 1 {
        let text = format!(
            "{kind}.authorization.k8s.io \"\" is invalid: spec: Invalid value: exactly one of \
             nonResourceAttributes or resourceAttributes must be specified"
        );
        return Err(ApiError::new(422, "Invalid", text));
    }
    if let Some(spec) = spec.as_object_mut() {
        spec.retain(|name, _| parts.contains(&&**name));
        for attributes in spec.values_mut().filter_map(Value::as_object_mut) {
            attributes.retain(|name, value| {
                let known = matches!(
                    &**name,
                    "namespace"
                        | "verb"
                        | "group"
                        | "version"
                        | "resource"
                        | "subresource"
                        | "name"
                        | "path"
                );
                known && value.is_string()
            });
        }
    }
    Ok(json!({"metadata": {}, "spec": spec}))
}

fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if let Some(uid) = &user.uid {
        info["uid"] = json!(uid);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

pub(super) fn answer(api: &Api, user: &User, kind: &str, mut given: Value) -> Response {
    given["kind"] = json!(kind);
    if kind == "SelfSubjectReview" {
        given["apiVersion"] = json!("authentication.k8s.io/v1");
        given["status"] = json!({"userInfo": user_info(user)});
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

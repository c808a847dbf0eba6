//! The older OpenAPI document, for clients that do not know version 3.
//!
//! In JSON it is the documents of version 3 together, in the older words. In protobuf,
//! which kubectl asks for, it is less: kubectl 1.27 looks there, and nowhere else,
//! whether a resource takes `fieldValidation`, and refuses to apply without an answer.
//! It reads nothing else of it, so there is nothing else: one `patch` operation for
//! each kind.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

use super::accept::accepted;
use super::status::{ApiError, json_response};
use super::{VERSION, openapi};
use crate::registry::Registry;
use crate::schema::REF;

/// The media type of the encoding. Clients ask for `v2@v1.0`, which is no valid
/// media type to answer with.
const MEDIA: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// Where a `$ref` of this version points to.
const DEFINITIONS: &str = "#/definitions/";

/// Keywords that this version does not know; a schema without them says less, and
/// nothing wrong.
const UNKNOWN: &[&str] = &["nullable", "oneOf", "anyOf", "not"];

/// The document, in the form that the client wants most.
///
/// # Errors
/// The client takes nothing that there is.
pub(super) fn answer(registry: &Registry, headers: &HeaderMap) -> Result<Response, ApiError> {
    let all = accepted(headers);
    let in_protobuf = all.iter().find_map(|part| match part.media {
        MEDIA | ASKED => Some(true),
        "application/json" | "application/*" | "*/*" => Some(false),
        _ => None,
    });
    match in_protobuf {
        Some(true) => {
            let form = [(header::CONTENT_TYPE, MEDIA)];
            Ok((StatusCode::OK, form, protobuf(registry)).into_response())
        }
        None if headers.contains_key(header::ACCEPT) => {
            Err(ApiError::not_acceptable(&["application/json", MEDIA]))
        }
        _ => Ok(json_response(StatusCode::OK, &document(registry))),
    }
}

/// The document in JSON.
fn document(registry: &Registry) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for (group, versions) in registry.groups() {
        for version in versions {
            let path = openapi::path_of(&group, &version);
            let Some(mut document) = openapi::document(registry, &path) else {
                continue;
            };
            let given = document["components"]["schemas"].take();
            for (name, schema) in given.as_object().into_iter().flatten() {
                definitions.insert(name.clone(), older(schema));
            }
            for (path, item) in document["paths"].as_object().into_iter().flatten() {
                let named: Vec<Value> = ["namespace", "name"]
                    .into_iter()
                    .filter(|name| path.contains(&format!("{{{name}}}")))
                    .map(|name| json!({"name": name, "in": "path", "required": true, "type": "string", "uniqueItems": true}))
                    .collect();
                let mut older: Map<String, Value> = item
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(verb, operation)| (verb.clone(), older_operation(operation)))
                    .collect();
                if !named.is_empty() {
                    older.insert("parameters".to_owned(), Value::Array(named));
                }
                paths.insert(path.clone(), Value::Object(older));
            }
        }
    }
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": VERSION}, "paths": paths,
        "definitions": definitions})
}

/// An operation in the words of this version.
fn older_operation(operation: &Value) -> Value {
    let mut parameters: Vec<Value> = Vec::new();
    let mut consumes = Vec::new();
    let content = operation["requestBody"]["content"].as_object();
    for (media, body) in content.into_iter().flatten() {
        consumes.push(json!(media));
        parameters.push(json!({"name": "body", "in": "body", "required": true, "schema": older(&body["schema"])}));
    }
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let mut parameter = parameter.clone();
        let schema = parameter["schema"].take();
        if let Some(map) = parameter.as_object_mut() {
            map.shift_remove("schema");
            map.extend(schema.as_object().cloned().unwrap_or_default());
        }
        parameters.push(parameter);
    }
    let schema = older(&operation["responses"]["200"]["content"]["application/json"]["schema"]);
    let mut result = json!({
        "operationId": operation["operationId"],
        "produces": ["application/json", "application/yaml"],
        "schemes": ["https"],
        "responses": {"200": {"description": "OK", "schema": schema}, "401": {"description": "Unauthorized"}},
    });
    if !consumes.is_empty() {
        result["consumes"] = Value::Array(consumes);
    }
    if !parameters.is_empty() {
        result["parameters"] = Value::Array(parameters);
    }
    for name in ["x-kubernetes-action", "x-kubernetes-group-version-kind"] {
        result[name] = operation[name].clone();
    }
    result
}

/// A schema in the words of this version.
fn older(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => {
            if let Some([only]) = map
                .get("allOf")
                .and_then(Value::as_array)
                .map(Vec::as_slice)
                && let Some(target) = only["$ref"].as_str()
            {
                // One that is wrapped to have a description stands alone here.
                let mut plain = json!({"$ref": target.replacen(REF, DEFINITIONS, 1)});
                if let Some(description) = map.get("description") {
                    plain["description"] = description.clone();
                }
                return plain;
            }
            let kept = map
                .iter()
                .filter(|(name, _)| !UNKNOWN.contains(&name.as_str()));
            let older = kept.map(|(name, value)| {
                let value = match (name.as_str(), value) {
                    ("$ref", Value::String(target)) => json!(target.replacen(REF, DEFINITIONS, 1)),
                    // Names of properties are no keywords, and data is no schema.
                    ("properties", Value::Object(properties)) => {
                        let all = properties.iter();
                        all.map(|(name, schema)| (name.clone(), older(schema)))
                            .collect()
                    }
                    ("default" | "enum" | "example", value) => value.clone(),
                    (_, value) => older(value),
                };
                (name.clone(), value)
            });
            Value::Object(older.collect())
        }
        Value::Array(items) => items.iter().map(older).collect(),
        other => other.clone(),
    }
}

/// A field of bytes: its number, their length, they themselves.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    varint(&mut out, (number << 3 | 2) as usize);
    varint(&mut out, content.len());
    out.extend_from_slice(content);
    out
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The document in protobuf.
fn protobuf(registry: &Registry) -> Vec<u8> {
    let mut paths = Vec::new();
    for resource in registry.all() {
        let prefix = if resource.group.is_empty() {
            "/api".to_owned()
        } else {
            format!("/apis/{}", resource.group)
        };
        let scope = if resource.namespaced {
            "namespaces/{namespace}/"
        } else {
            ""
        };
        let path = format!(
            "{prefix}/{}/{scope}{}/{{name}}",
            resource.version, resource.plural
        );
        let kind =
            json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
                .to_string();
        let mut operation = Vec::new();
        for name in ["dryRun", "fieldManager", "fieldValidation"] {
            // Operation.parameters(8) > ParametersItem.parameter(1) >
            // Parameter.non_body_parameter(2) > NonBodyParameter.query(3)
            let query = [
                field(2, b"query"),
                field(4, name.as_bytes()),
                field(6, b"string"),
            ]
            .concat();
            operation.extend(field(8, &field(1, &field(2, &field(3, &query)))));
        }
        // Operation.vendor_extension(13): a name and a value in YAML
        let extension = [
            field(1, b"x-kubernetes-group-version-kind"),
            field(2, &field(2, kind.as_bytes())),
        ]
        .concat();
        operation.extend(field(13, &extension));
        // PathItem.patch(8), under the path's name
        let item = [field(1, path.as_bytes()), field(2, &field(8, &operation))].concat();
        paths.extend(field(2, &item));
    }
    let info = [field(1, b"Kubernetes"), field(2, VERSION.as_bytes())].concat();
    [field(1, b"2.0"), field(2, &info), field(8, &paths)].concat()
}

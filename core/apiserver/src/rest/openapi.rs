//! OpenAPI v3 documents: enough paths for kubectl to find what it looks for, and
//! the real schemas.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Map, Value, json};

use super::VERSION;
use crate::registry::{COMPONENTS, Registry, Resource};
use crate::schema::REF;

pub(super) fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// The list of documents. The hash changes with the document, so clients may
/// keep a document for as long as its hash stands here.
pub(super) fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for (group, versions) in registry.groups() {
        for version in versions {
            let path = path_of(&group, &version);
            let mut hasher = DefaultHasher::new();
            VERSION.hash(&mut hasher);
            for resource in of(registry, &group, &version) {
                (&resource.kind, resource.document.to_string()).hash(&mut hasher);
            }
            let url = format!("/openapi/v3/{path}?hash={:016X}", hasher.finish());
            paths.insert(path, json!({ "serverRelativeURL": url }));
        }
    }
    json!({ "paths": paths })
}

fn of<'a>(
    registry: &'a Registry,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = &'a Resource> {
    registry
        .all()
        .map(|resource| &**resource)
        .filter(move |resource| resource.group == group && resource.version == version)
}

/// The document of one group and version, named by its path.
pub(super) fn document(registry: &Registry, path: &str) -> Option<Value> {
    let (group, version) = match path
        .trim_end_matches('/')
        .split('/')
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["api", version] => (String::new(), (*version).to_owned()),
        ["apis", group, version] => ((*group).to_owned(), (*version).to_owned()),
        _ => return None,
    };
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for resource in of(registry, &group, &version) {
        add_paths(&mut paths, resource, path);
        let mut schema = Value::clone(&resource.document);
        schema["x-kubernetes-group-version-kind"] = json!([gvk(resource, &resource.kind)]);
        add_references(&mut schemas, &schema);
        let list = format!("{}List", resource.schema_name);
        schemas.insert(resource.schema_name.clone(), schema);
        schemas.insert(
            list,
            json!({"type": "object", "description": "A list of objects.", "required": ["items"],
                "x-kubernetes-group-version-kind": [gvk(resource, &resource.list_kind)],
                "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"},
                    "metadata": {"type": "object"},
                    "items": {"type": "array", "items": {"$ref": format!("{REF}{}", resource.schema_name)}}}}),
        );
    }
    (!paths.is_empty()).then(|| {
        json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": VERSION}, "paths": paths,
            "components": {"schemas": schemas}})
    })
}

fn gvk(resource: &Resource, kind: &str) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": kind})
}

fn add_paths(paths: &mut Map<String, Value>, resource: &Resource, prefix: &str) {
    let scope = if resource.namespaced {
        "namespaces/{namespace}/"
    } else {
        ""
    };
    let base = format!("/{prefix}/{scope}{}", resource.plural);
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let body = json!({"$ref": format!("{REF}{}", resource.schema_name)});
    let operation = |action: &str, kind: &str, with_body: Option<&str>| {
        let mut operation = json!({
            "operationId": format!("{action}{}", resource.kind),
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk(resource, kind),
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": body}}}},
        });
        if let Some(media) = with_body {
            operation["parameters"] = json!([
                parameter("dryRun"),
                parameter("fieldManager"),
                parameter("fieldValidation")
            ]);
            operation["requestBody"] =
                json!({"content": {media: {"schema": body}}, "required": true});
        }
        operation
    };
    paths.insert(
        base.clone(),
        json!({
            "get": operation("list", &resource.kind, None),
            "post": operation("post", &resource.kind, Some("application/json")),
        }),
    );
    let one = json!({
        "get": operation("get", &resource.kind, None),
        "put": operation("put", &resource.kind, Some("application/json")),
        "patch": operation("patch", &resource.kind, Some("application/merge-patch+json")),
        "delete": operation("delete", &resource.kind, None),
    });
    if resource.status {
        let mut status = one.clone();
        status.as_object_mut().map(|map| map.shift_remove("delete"));
        paths.insert(format!("{base}/{{name}}/status"), status);
    }
    paths.insert(format!("{base}/{{name}}"), one);
}

/// Adds every schema that `schema` refers to, directly or not.
fn add_references(schemas: &mut Map<String, Value>, schema: &Value) {
    let mut names = BTreeSet::new();
    references(schema, &mut names);
    for name in names {
        if !schemas.contains_key(&name)
            && let Some(target) = COMPONENTS.get(&name)
        {
            schemas.insert(name, target.clone());
            add_references(schemas, target);
        }
    }
}

fn references(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(name) = map
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|text| text.strip_prefix(REF))
            {
                names.insert(name.to_owned());
            }
            map.values().for_each(|inner| references(inner, names));
        }
        Value::Array(items) => items.iter().for_each(|inner| references(inner, names)),
        _ => {}
    }
}

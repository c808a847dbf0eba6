//! Resources out of CustomResourceDefinition objects.

use std::sync::Arc;

use serde_json::{Map, Value, json};

mod structural;

use super::jsonpath::JsonPath;
use super::{COMPONENTS, Cell, Class, Column, OBJECT_META, Resource, Selectable};
use crate::cause::{Cause, Faults};
use crate::path::Path;
use crate::schema::{REF, Schema};
use crate::time;

/// Groups that belong to the server itself.
const RESERVED: &[&str] = &[
    "",
    "apiextensions.k8s.io",
    "coordination.k8s.io",
    "events.k8s.io",
];

fn texts(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The served versions of a definition.
pub(super) fn resources(definition: &Value) -> Vec<Arc<Resource>> {
    let spec = &definition["spec"];
    let group = text(&spec["group"]);
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let storage = versions
        .iter()
        .find(|version| version["storage"] == true)
        .map(|version| text(&version["name"]));
    versions
        .iter()
        .filter(|version| version["served"] == true)
        .map(|version| {
            Arc::new(resource(
                spec,
                &group,
                version,
                storage.as_deref().unwrap_or_default(),
            ))
        })
        .collect()
}

fn resource(spec: &Value, group: &str, version: &Value, stored: &str) -> Resource {
    let names = &spec["names"];
    let (plural, kind) = (text(&names["plural"]), text(&names["kind"]));
    let document = document(&version["schema"]["openAPIV3Schema"]);
    let or = |value: &Value, default: String| value.as_str().map_or(default, str::to_owned);
    let version_name = text(&version["name"]);
    let deprecation = (version["deprecated"] == true).then(|| {
        let default = format!("{group}/{version_name} {kind} is deprecated");
        or(&version["deprecationWarning"], default)
    });
    Resource {
        group: group.to_owned(),
        storage: format!("{group}/{plural}").into(),
        singular: or(&names["singular"], kind.to_lowercase()),
        list_kind: or(&names["listKind"], format!("{kind}List")),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        class: Class::Custom,
        status: version["subresources"]["status"].is_object(),
        stored_as: format!("{group}/{stored}"),
        schema: Arc::new(Schema::parse(&document, &COMPONENTS)),
        document: Arc::new(document),
        schema_name: format!(
            "{}.{version_name}.{kind}",
            group.rsplit('.').collect::<Vec<_>>().join(".")
        ),
        columns: columns(&version["additionalPrinterColumns"]),
        selectable: version["selectableFields"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|field| Selectable::plain(text(&field["jsonPath"]).trim_start_matches('.')))
            .collect(),
        deprecation,
        version: version_name,
        plural,
        kind,
    }
}

/// The schema of whole objects: what the definition says, with the fields that
/// every object has.
fn document(given: &Value) -> Value {
    let mut schema = given.clone();
    if !schema.is_object() {
        schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    }
    let string = |description: &str| json!({"type": "string", "description": description});
    if !schema["properties"].is_object() {
        schema["properties"] = Value::Object(Map::new());
    }
    schema["properties"]["apiVersion"] = string("Version of the schema of this object.");
    schema["properties"]["kind"] = string("The resource that this object is one of.");
    schema["properties"]["metadata"] = json!({"description": "Name, labels and the like.", "allOf": [{"$ref": format!("{REF}{OBJECT_META}")}]});
    schema
}

fn columns(given: &Value) -> Vec<Column> {
    let plain = |name: &str, kind: &str, format: &str, path: &str| Column {
        name: name.into(),
        kind: kind.into(),
        format: format.into(),
        description: format!("{name} of the object."),
        priority: 0,
        cell: JsonPath::parse(path).map_or(Cell::Code(|_| Value::Null), Cell::Path),
    };
    let mut columns = vec![plain("Name", "string", "name", ".metadata.name")];
    match given.as_array().filter(|list| !list.is_empty()) {
        Some(list) => columns.extend(list.iter().map(|column| Column {
            description: text(&column["description"]),
            priority: column["priority"].as_i64().unwrap_or(0),
            ..plain(
                column["name"].as_str().unwrap_or_default(),
                column["type"].as_str().unwrap_or("string"),
                column["format"].as_str().unwrap_or_default(),
                column["jsonPath"].as_str().unwrap_or_default(),
            )
        })),
        None => columns.push(plain("Age", "date", "", ".metadata.creationTimestamp")),
    }
    columns
}

/// How versions are ordered: stable before beta before alpha, newer first.
pub(super) fn priority(version: &str) -> (u8, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else {
        return (0, 0, 0);
    };
    let number = |text: &str| text.parse::<u32>().ok();
    if let Some(major) = number(rest) {
        return (3, major, 0);
    }
    for (word, rank) in [("beta", 2), ("alpha", 1)] {
        if let Some((major, minor)) = rest.split_once(word)
            && let (Some(major), Some(minor)) = (number(major), number(minor))
        {
            return (rank, major, minor);
        }
    }
    (0, 0, 0)
}

/// Finds the faults of a definition that its schema does not find.
pub(crate) fn check(definition: &Value, old: Option<&Value>, faults: &mut Faults) {
    let spec = &definition["spec"];
    let name = text(&definition["metadata"]["name"]);
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    if name != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        faults.push(|| Cause::invalid("metadata.name", &Value::String(name), detail));
    }
    if RESERVED.contains(&group.as_str()) {
        let detail = "the group belongs to the server";
        faults.push(|| Cause::invalid("spec.group", &spec["group"], detail));
    }
    let scopes = [json!("Cluster"), json!("Namespaced")];
    if !scopes.contains(&spec["scope"]) {
        faults.push(|| Cause::unsupported("spec.scope", &spec["scope"], &scopes));
    }
    let versions = spec["versions"].as_array();
    let versions = versions.map(Vec::as_slice).unwrap_or_default();
    let stored = versions.iter().filter(|version| version["storage"] == true);
    if stored.count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        faults.push(|| Cause::invalid("spec.versions", &json!("…"), detail));
    }
    schemas(versions, faults);
    let of_spec = Path::ROOT.field("spec");
    let all = of_spec.field("versions");
    for (index, version) in versions.iter().enumerate() {
        let version_path = all.index(index);
        let columns_path = version_path.field("additionalPrinterColumns");
        let columns = version["additionalPrinterColumns"].as_array();
        for (at, column) in columns.into_iter().flatten().enumerate() {
            let path = column["jsonPath"].as_str().and_then(JsonPath::parse);
            if path.is_none() {
                let place = columns_path.index(at);
                let detail = "is not a simple JSON path";
                let given = &column["jsonPath"];
                faults.push(|| Cause::invalid(place.field("jsonPath"), given, detail));
            }
        }
    }
    let strategy = spec["conversion"]["strategy"].as_str().unwrap_or("None");
    if strategy != "None" {
        let field = "spec.conversion.strategy";
        faults.push(|| Cause::unsupported(field, &json!(strategy), &[json!("None")]));
    }
    for field in ["group", "scope"] {
        if old.is_some_and(|old| old["spec"][field] != spec[field]) {
            let place = of_spec.field(field);
            faults.push(|| Cause::invalid(place, &spec[field], "field is immutable"));
        }
    }
}

/// Each version must have a schema that is one. Where all have the same, the real
/// server checks and names it once, at a place of its own.
fn schemas(versions: &[Value], faults: &mut Faults) {
    let schema = |version: &Value| version["schema"]["openAPIV3Schema"].clone();
    let of_spec = Path::ROOT.field("spec");
    let all = of_spec.field("versions");
    let mut missing = false;
    for (index, version) in versions.iter().enumerate() {
        if !version["schema"]["openAPIV3Schema"].is_object() {
            missing = true;
            let (version, detail) = (all.index(index), "schemas are required");
            let path = version.field("schema");
            faults.push(|| Cause::missing(path.field("openAPIV3Schema"), detail));
        }
    }
    let Some(first) = versions.first().map(schema).filter(|_| !missing) else {
        return;
    };
    if versions.iter().all(|version| schema(version) == first) {
        let path = of_spec.field("validation");
        structural::check(&first, &path.field("openAPIV3Schema"), faults);
        return;
    }
    for (index, version) in versions.iter().enumerate() {
        let path = all.index(index);
        let path = path.field("schema");
        structural::check(&schema(version), &path.field("openAPIV3Schema"), faults);
    }
}

/// Fills in what the server decides about a definition: default names, and the
/// status that clients wait for. Everything is ready at once here.
pub(crate) fn establish(definition: &mut Value) {
    let kind = text(&definition["spec"]["names"]["kind"]);
    let names = &mut definition["spec"]["names"];
    if names["singular"].as_str().is_none_or(str::is_empty) {
        names["singular"] = json!(kind.to_lowercase());
    }
    if names["listKind"].as_str().is_none_or(str::is_empty) {
        names["listKind"] = json!(format!("{kind}List"));
    }
    let names = names.clone();
    if definition["spec"]["conversion"].is_null() {
        definition["spec"]["conversion"] = json!({"strategy": "None"});
    }
    let versions = definition["spec"]["versions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let stored = versions
        .iter()
        .find(|version| version["storage"] == true)
        .map(|version| text(&version["name"]));
    let mut stored_versions = texts(&definition["status"]["storedVersions"]);
    stored_versions.extend(stored.filter(|name| !stored_versions.contains(name)));
    let before = definition["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let condition = |kind: &str, reason: &str, message: &str| {
        let old = before
            .iter()
            .find(|condition| condition["type"] == kind && condition["status"] == "True");
        old.cloned().unwrap_or_else(|| {
            json!({"type": kind, "status": "True", "reason": reason, "message": message,
                "lastTransitionTime": time::now()})
        })
    };
    definition["status"] = json!({
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": names,
        "storedVersions": stored_versions,
    });
}

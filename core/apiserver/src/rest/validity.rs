//! Whether an object is valid: its metadata, its schema, the rules of its kind. In the
//! words of the real server, which people look up.

mod kinds;
mod words;

use serde_json::{Value, json};

use crate::cause::{Cause, Faults};
use crate::digest::Index;
use crate::path::Path;
use crate::registry::{self, Class, Resource};
use crate::schema;

/// Bytes of all annotations of an object.
const ANNOTATIONS: usize = 256 * 1024;

/// The faults of an object that is about to be stored.
pub(super) fn validate(resource: &Resource, object: &Value, old: Option<&Value>) -> Faults {
    let mut faults = Faults::new();
    metadata(resource, object, old, &mut faults);
    schema::validate(object, &resource.schema, &mut faults);
    match resource.class {
        Class::Definition => registry::check_crd(object, old, &mut faults),
        Class::ConfigMap => kinds::config_map(object, old, &mut faults),
        Class::Secret => kinds::secret(object, old, &mut faults),
        Class::Node => kinds::node(object, &mut faults),
        Class::Lease => kinds::lease(object, &mut faults),
        Class::Event if old.is_none() => kinds::event(object, &mut faults),
        _ => {}
    }
    faults
}

fn metadata(resource: &Resource, object: &Value, old: Option<&Value>, faults: &mut Faults) {
    let of_object = Path::ROOT.field("metadata");
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        let detail = "name or generateName is required";
        faults.push(|| Cause::missing("metadata.name", detail));
    } else if old.is_none() {
        let fault = match resource.class {
            Class::Namespace => words::label_name(name),
            _ => words::subdomain(name),
        };
        if let Some(detail) = fault {
            faults.push(|| Cause::invalid("metadata.name", &json!(name), &detail));
        }
    }
    let labels = of_object.field("labels");
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        if let Some(detail) = words::qualified(key) {
            faults.push(|| Cause::invalid(labels, &json!(key), &detail));
        }
        let text = value.as_str().unwrap_or_default();
        if let Some(detail) = words::label_value(text) {
            faults.push(|| Cause::invalid(labels, value, &detail));
        }
    }
    annotations(metadata, &of_object.field("annotations"), faults);
    owners(metadata, &of_object.field("ownerReferences"), faults);
    if let Some(old) = old.filter(|old| old["metadata"]["deletionTimestamp"].is_string()) {
        no_new_finalizers(&old["metadata"], metadata, faults);
    }
}

fn annotations(metadata: &Value, path: &Path<'_>, faults: &mut Faults) {
    let mut size = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        // Keys of annotations may have capitals, which tools use.
        if let Some(detail) = words::qualified(&key.to_lowercase()) {
            faults.push(|| Cause::invalid(path, &json!(key), &detail));
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS {
        faults.push(|| Cause::too_long(path, ANNOTATIONS));
    }
}

/// An owner must be named whole, and one at most be in charge.
fn owners(metadata: &Value, path: &Path<'_>, faults: &mut Faults) {
    let mut in_charge: Option<&Value> = None;
    let owners = metadata["ownerReferences"].as_array();
    for (at, owner) in owners.into_iter().flatten().enumerate() {
        let place = path.index(at);
        for field in ["apiVersion", "kind", "name", "uid"] {
            // One that is not there at all is missed by the schema.
            if owner[field] == "" {
                faults.push(|| Cause::missing(place.field(field), "must not be empty"));
            }
        }
        if owner["controller"] == true {
            if let Some(first) = in_charge {
                let name = |owner: &Value| {
                    let text = |field: &str| owner[field].as_str().unwrap_or_default().to_owned();
                    format!("{}/{}", text("kind"), text("name"))
                };
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                    name(first),
                    name(owner)
                );
                faults.push(|| Cause::invalid(path, &json!("…"), &detail));
            }
            in_charge = Some(owner);
        }
    }
}

fn no_new_finalizers(old: &Value, metadata: &Value, faults: &mut Faults) {
    let nothing = Vec::new();
    let list = |metadata: &'_ Value| metadata["finalizers"].as_array().cloned();
    let before = list(old).unwrap_or_default();
    let index = Index::of(&before);
    let now = metadata["finalizers"].as_array().unwrap_or(&nothing);
    let added = now
        .iter()
        .filter(|item| index.find(item, |at| before.get(at)).is_none());
    let added: Vec<String> = added.take(10).map(Value::to_string).collect();
    if !added.is_empty() {
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        );
        faults.push(|| Cause::forbidden("metadata.finalizers", &detail));
    }
}

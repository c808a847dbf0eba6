//! The rules of the built-in kinds, beside their schemas.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::words;
use crate::cause::{Cause, Faults};
use crate::digest::Index;
use crate::path::Path;

/// Bytes of all values of a config map or a secret, as with the real server.
const DATA: usize = 1024 * 1024;

/// What a taint does.
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Who a token of a service account is for.
const SERVICE_ACCOUNT: &str = "kubernetes.io/service-account.name";

/// What stands in errors in place of a secret.
const REDACTED: &str = "<secret contents redacted>";

/// The bytes of a text in base64. Like Go's decoder, which Kubernetes uses, this skips
/// line breaks.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let text: Vec<u8> = text
        .bytes()
        .filter(|byte| !b"\r\n".contains(byte))
        .collect();
    STANDARD.decode(text).ok()
}

/// Checks keys and values of a field of data, and gives the bytes of all values.
fn data(object: &Value, field: &str, encoded: bool, faults: &mut Faults) -> usize {
    let path = Path::ROOT.field(field);
    let mut size = 0;
    for (key, value) in object[field].as_object().into_iter().flatten() {
        if let Some(detail) = words::config_key(key) {
            faults.push(|| Cause::invalid(path.key(key), &json!(key), &detail));
        }
        // What is of another type, or no base64, is refused by the schema.
        let text = value.as_str().unwrap_or_default();
        size += match encoded {
            true => decoded(text).map_or(0, |bytes| bytes.len()),
            false => text.len(),
        };
    }
    size
}

pub(super) fn config_map(object: &Value, old: Option<&Value>, faults: &mut Faults) {
    let size = data(object, "data", false, faults) + data(object, "binaryData", true, faults);
    for key in object["data"]
        .as_object()
        .into_iter()
        .flat_map(|map| map.keys())
    {
        if !object["binaryData"][key].is_null() {
            let path = Path::ROOT.field("data");
            let detail = "duplicate of key present in binaryData";
            faults.push(|| Cause::invalid(path.key(key), &json!(key), detail));
        }
    }
    if size > DATA {
        // The real server names the place so.
        faults.push(|| Cause::too_long("[]", DATA));
    }
    immutable(object, old, &["data", "binaryData", "immutable"], faults);
}

pub(super) fn secret(object: &Value, old: Option<&Value>, faults: &mut Faults) {
    if data(object, "data", true, faults) > DATA {
        faults.push(|| Cause::too_long("data", DATA));
    }
    let path = Path::ROOT.field("data");
    let is_missing = |key: &str| object["data"][key].is_null();
    let mut needs = |key: &str| {
        if is_missing(key) {
            faults.push(|| Cause::required(path.key(key)));
        }
    };
    match object["type"].as_str().unwrap_or_default() {
        "kubernetes.io/service-account-token" => {
            let annotation = object["metadata"]["annotations"][SERVICE_ACCOUNT].as_str();
            if annotation.is_none_or(str::is_empty) {
                let metadata = Path::ROOT.field("metadata");
                let annotations = metadata.field("annotations");
                faults.push(|| Cause::required(annotations.key(SERVICE_ACCOUNT)));
            }
        }
        "kubernetes.io/dockercfg" => docker(object, ".dockercfg", faults),
        "kubernetes.io/dockerconfigjson" => docker(object, ".dockerconfigjson", faults),
        "kubernetes.io/basic-auth" if is_missing("username") && is_missing("password") => {
            needs("username");
            needs("password");
        }
        "kubernetes.io/ssh-auth" if object["data"]["ssh-privatekey"] == "" => {
            faults.push(|| Cause::required(path.key("ssh-privatekey")));
        }
        "kubernetes.io/ssh-auth" => needs("ssh-privatekey"),
        "kubernetes.io/tls" => {
            needs("tls.crt");
            needs("tls.key");
        }
        _ => {}
    }
    if old.is_some_and(|old| old["type"] != object["type"]) {
        faults.push(|| Cause::invalid("type", &object["type"], "field is immutable"));
    }
    immutable(object, old, &["data", "immutable"], faults);
}

/// The credentials of a registry of images: JSON.
fn docker(object: &Value, key: &str, faults: &mut Faults) {
    let path = Path::ROOT.field("data");
    let Some(text) = object["data"][key].as_str() else {
        return faults.push(|| Cause::required(path.key(key)));
    };
    let bytes = decoded(text).unwrap_or_default();
    let detail = match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(_) | Value::Null) => return,
        Ok(_) => "json: it is not an object".to_owned(),
        Err(_) if bytes.is_empty() => "unexpected end of JSON input".to_owned(),
        // Without the words of the parser, which may quote the secret.
        Err(error) => format!(
            "it is no JSON at line {} column {}",
            error.line(),
            error.column()
        ),
    };
    faults.push(|| Cause::invalid(path.key(key), &json!(REDACTED), &detail));
}

/// What was declared immutable stays.
fn immutable(object: &Value, old: Option<&Value>, fields: &[&str], faults: &mut Faults) {
    let Some(old) = old.filter(|old| old["immutable"] == true) else {
        return;
    };
    for field in fields {
        if old[field] != object[field] {
            let detail = "field is immutable when `immutable` is set";
            faults.push(|| Cause::forbidden(field, detail));
        }
    }
}

pub(super) fn node(object: &Value, faults: &mut Faults) {
    // The real server names the place so.
    let metadata = Path::ROOT.field("metadata");
    let all = metadata.field("taints");
    let nothing = Vec::new();
    let taints = object["spec"]["taints"].as_array().unwrap_or(&nothing);
    let name = |taint: &Value| json!([taint["key"], taint["effect"]]);
    let names: Vec<Value> = taints.iter().map(name).collect();
    let mut seen = Index::default();
    for (at, taint) in taints.iter().enumerate() {
        let path = all.index(at);
        let text = |field: &str| taint[field].as_str().unwrap_or_default();
        if let Some(detail) = words::qualified(text("key")).filter(|_| taint["key"].is_string()) {
            faults.push(|| Cause::invalid(path.field("key"), &taint["key"], &detail));
        }
        if let Some(detail) = words::label_value(text("value")) {
            faults.push(|| Cause::invalid(path.field("value"), &taint["value"], &detail));
        }
        match text("effect") {
            // One that is not there at all is missed by the schema.
            "" if taint["effect"].is_null() => {}
            "" => faults.push(|| Cause::required(path.field("effect"))),
            effect if EFFECTS.contains(&effect) => {}
            _ => {
                let allowed: Vec<Value> = EFFECTS.iter().map(|effect| json!(effect)).collect();
                let place = path.field("effect");
                faults.push(|| Cause::unsupported(place, &taint["effect"], &allowed));
            }
        }
        if seen.find(&names[at], |at| names.get(at)).is_some() {
            faults.push(|| Cause::duplicate(path, taint));
        } else {
            seen.add(&names[at], at);
        }
    }
}

pub(super) fn lease(object: &Value, faults: &mut Faults) {
    let spec = &object["spec"];
    let path = Path::ROOT.field("spec");
    for (field, least, words) in [
        ("leaseDurationSeconds", 1, "must be greater than 0"),
        ("leaseTransitions", 0, "must be greater than or equal to 0"),
    ] {
        if spec[field].as_i64().is_some_and(|number| number < least) {
            faults.push(|| Cause::invalid(path.field(field), &spec[field], words));
        }
    }
    let text = |field: &str| spec[field].as_str().unwrap_or_default();
    if !text("preferredHolder").is_empty() && text("strategy").is_empty() {
        let detail = "may only be specified if `strategy` is defined";
        faults.push(|| Cause::forbidden(path.field("preferredHolder"), detail));
    }
}

/// An event stands in the namespace of what it is about; about what is in none, in
/// `default`.
pub(super) fn event(object: &Value, faults: &mut Faults) {
    let of = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let about = &object["involvedObject"]["namespace"];
    let fits = match about.as_str().unwrap_or_default() {
        "" => of == "default",
        about => of == about,
    };
    if !fits {
        let detail = "does not match event.namespace";
        let about = json!(about.as_str().unwrap_or_default());
        faults.push(|| Cause::invalid("involvedObject.namespace", &about, detail));
    }
}

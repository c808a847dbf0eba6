//! Ways in for tests/fuzz: the pure parts, without a database and a request for each.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::patch::{self, Manager, PatchError};
use crate::registry::{COMPONENTS, Selectable};
use crate::rest::{
    body,
    selector::{Fields, Labels},
};
use crate::schema::Schema;
use crate::size;

/// The kinds of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7386.
    Merge,
    /// RFC 6902.
    Json,
    /// Kubernetes' own.
    Strategic,
    /// Server-side apply.
    Apply,
}

/// Has lists that are merged by a key, sets, and maps of labels.
static NODE: LazyLock<Schema> =
    LazyLock::new(|| Schema::parse(&COMPONENTS["io.k8s.api.core.v1.Node"], &COMPONENTS));

fn read(bytes: &[u8]) -> Option<Value> {
    Some(body::yaml(bytes).ok()?.value)
}

/// A manifest as a request brings it. What was read is written and read as the same.
pub fn manifest(bytes: &[u8]) -> bool {
    let Some(value) = read(bytes) else {
        return false;
    };
    let text = value.to_string();
    let again = body::json(text.as_bytes()).map(|again| again.value.to_string());
    assert_eq!(again.ok(), Some(text), "a manifest changed on its way");
    true
}

/// Patches an object. Gives what comes of it, if something does: it can be read again,
/// and did not grow out of all proportion.
pub fn patched(kind: Patch, object: &[u8], patch: &[u8]) -> Option<Value> {
    let (object, change) = (read(object)?, read(patch)?);
    let before = size::of(&object) + size::of(&change);
    let mut target = object.clone();
    let done = match kind {
        Patch::Merge => {
            target = patch::merge(&object, change.clone());
            let again = patch::merge(&target, change);
            assert_eq!(again, target, "merged twice is another thing");
            Ok(())
        }
        Patch::Json => patch::json(&mut target, change),
        Patch::Strategic => patch::strategic(&mut target, change, Some(&NODE)),
        Patch::Apply => {
            if !object.is_object() || !change.is_object() {
                return None;
            }
            let who = Manager {
                name: "fuzz".into(),
                api_version: "v1".into(),
                subresource: None,
                now: "2026-01-01T00:00:00Z".into(),
            };
            match patch::apply(&object, &change, &NODE, &who, false) {
                Ok(applied) => target = applied,
                Err(conflicts) => {
                    assert!(!conflicts.message().is_empty());
                    return None;
                }
            }
            Ok(())
        }
    };
    if let Err(error) = done {
        let (PatchError::Malformed(why)
        | PatchError::Unprocessable(why)
        | PatchError::TooLarge(why)) = error;
        assert!(!why.is_empty(), "refused without a reason");
        return None;
    }
    let deepest = size::DEPTH + 20;
    assert!(size::is_within(&target, deepest), "{kind:?}: too deep");
    assert!(
        size::of(&target) <= 8 * before + size::BODY + 4096,
        "{kind:?}: {before} bytes became {}",
        size::of(&target)
    );
    Some(target)
}

/// Selects by labels and by fields. Gives whether each could be understood.
pub fn selected(labels: &str, fields: &str, object: &[u8]) -> (bool, bool) {
    let object = read(object).unwrap_or_else(|| json!({"metadata": {"labels": {"app": "x"}}}));
    let labels = Labels::parse(labels);
    if let Ok(labels) = &labels {
        labels.matches(&object);
    }
    let fields = Fields::parse(
        fields,
        &["spec.nodeName", "status.phase", "type"].map(Selectable::plain),
    );
    if let Ok(fields) = &fields {
        let selected = fields.matches(&object);
        let own = object["metadata"]["name"].as_str();
        if let (true, Some(wanted), Some(own)) = (selected, fields.name(), own) {
            assert_eq!(own, wanted, "who asks for one name gets it or nothing");
        }
    }
    (labels.is_ok(), fields.is_ok())
}

//! Patches on small objects.

use serde_json::{Value, json};

use super::*;
use crate::registry::COMPONENTS;
use crate::schema::Schema;

fn node() -> Schema {
    Schema::parse(&COMPONENTS["io.k8s.api.core.v1.Node"], &COMPONENTS)
}

fn who(name: &str) -> Manager {
    Manager {
        name: name.into(),
        api_version: "v1".into(),
        subresource: None,
        now: "2026-01-01T00:00:00Z".into(),
    }
}

fn strategically(mut target: Value, patch: Value) -> Value {
    strategic(&mut target, patch, Some(&node())).expect("applies");
    target
}

#[test]
fn merge_patch_removes_with_null_and_replaces_lists() {
    let target = json!({"a": {"b": 1, "c": 2}, "l": [1, 2], "m": {"o": 1}, "p": "q"});
    let patch =
        json!({"a": {"b": null, "d": 3}, "l": [3], "n": {"x": null}, "m": "r", "p": {"s": null}});
    let merged = merge(&target, patch);
    let wanted = json!({"a": {"c": 2, "d": 3}, "l": [3], "n": {}, "m": "r", "p": {}});
    assert_eq!(merged, wanted);
}

#[test]
fn json_patch_tests_null_where_nothing_is() {
    // what kube's finalizer() sends for an object without finalizers
    let patch = json!([
        {"op": "test", "path": "/metadata/finalizers", "value": null},
        {"op": "add", "path": "/metadata/finalizers", "value": ["x"]},
    ]);
    let mut target = json!({"metadata": {}});
    json(&mut target, patch.clone()).expect("applies");
    assert_eq!(target, json!({"metadata": {"finalizers": ["x"]}}));
    let error = json(&mut target, patch).expect_err("something is there now");
    assert!(matches!(error, PatchError::Unprocessable(_)), "{error:?}");
    assert!(json(&mut target, json!({"op": "add"})).is_err());
    assert!(
        json(
            &mut target,
            json!([{"op": "replace", "path": "/no/where", "value": 1}])
        )
        .is_err()
    );
}

#[test]
fn strategic_patch_merges_keyed_lists() {
    let target = json!({"status": {"conditions": [
        {"type": "Ready", "status": "True"}, {"type": "Disk", "status": "False"}]}});
    let patched = strategically(
        target,
        json!({"status": {
            "$setElementOrder/conditions": [{"type": "New"}, {"type": "Ready"}],
            "conditions": [
                {"type": "Ready", "status": "False"}, {"type": "New", "status": "True"},
                {"type": "Disk", "$patch": "delete"}],
        }}),
    );
    assert_eq!(
        patched,
        json!({"status": {"conditions": [{"type": "New", "status": "True"}, {"type": "Ready", "status": "False"}]}})
    );
}

#[test]
fn strategic_patch_directives() {
    let target = json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1", "y": "2"}}, "spec": {"taints": [1]}});
    let patched = strategically(
        target,
        json!({
            "metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"],
                "labels": {"$patch": "replace", "z": "3"}},
            "spec": {"taints": [2], "podCIDR": null},
        }),
    );
    assert_eq!(
        patched,
        json!({"metadata": {"finalizers": ["b", "c"], "labels": {"z": "3"}}, "spec": {"taints": [2]}})
    );
    let keep = strategically(
        json!({"spec": {"a": 1, "b": 2}}),
        json!({"spec": {"$retainKeys": ["b"], "b": 3}}),
    );
    assert_eq!(keep, json!({"spec": {"b": 3}}));
}

fn apply_as(live: &Value, name: &str, config: Value, force: bool) -> Result<Value, Conflicts> {
    apply(live, &config, &node(), &who(name), force)
}

#[test]
fn apply_owns_conflicts_and_takes_by_force() {
    let live = json!({"metadata": {"name": "n"}});
    let first =
        json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"podCIDR": "10.0.0.0/24"}});
    let live = apply_as(&live, "one", first, false).expect("nobody owns anything");
    assert_eq!(
        live["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}}, "f:spec": {"f:podCIDR": {}}})
    );
    let second = json!({"metadata": {"labels": {"a": "2"}}});
    let conflicts = apply_as(&live, "two", second.clone(), false).expect_err("one owns it");
    assert_eq!(
        conflicts.message(),
        "Apply failed with 1 conflict: conflict with \"one\": .metadata.labels.a"
    );
    let live = apply_as(&live, "two", second, true).expect("by force");
    assert_eq!(live["metadata"]["labels"], json!({"a": "2", "b": "1"}));
    // what one leaves out goes, but not what two owns now
    let live = apply_as(
        &live,
        "one",
        json!({"spec": {"podCIDR": "10.0.0.0/24"}}),
        false,
    )
    .expect("no conflict");
    assert_eq!(live["metadata"]["labels"], json!({"a": "2"}));
}

#[test]
fn the_same_value_is_owned_by_both() {
    let config = json!({"metadata": {"labels": {"a": "1"}}});
    let live = apply_as(
        &json!({"metadata": {"name": "n"}}),
        "one",
        config.clone(),
        false,
    )
    .expect("free");
    let live = apply_as(&live, "two", config, false).expect("the value is the same");
    let live = apply_as(&live, "one", json!({}), false).expect("gives it up");
    assert_eq!(live["metadata"]["labels"], json!({"a": "1"}));
    let live = apply_as(&live, "two", json!({}), false).expect("gives it up");
    assert_eq!(live["metadata"].get("labels"), None);
}

#[test]
fn apply_merges_keyed_lists_item_by_item() {
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status});
    let one = json!({"status": {"conditions": [condition("Ready", "True")]}});
    let two = json!({"status": {"conditions": [condition("Disk", "False")]}});
    let live = apply_as(&json!({"metadata": {"name": "n"}}), "one", one, false).expect("free");
    let live = apply_as(&live, "two", two, false).expect("another item");
    assert_eq!(
        live["status"]["conditions"].as_array().map(Vec::len),
        Some(2)
    );
    let error = apply_as(
        &live,
        "two",
        json!({"status": {"conditions": [condition("Ready", "False")]}}),
        false,
    );
    let text = error.expect_err("one owns Ready").message();
    assert!(
        text.ends_with(".status.conditions[type=\"Ready\"].status"),
        "{text}"
    );
    let live = apply_as(&live, "one", json!({}), false).expect("gives Ready up");
    assert_eq!(
        live["status"]["conditions"],
        json!([condition("Disk", "False")])
    );
}

#[test]
fn an_update_takes_the_fields_it_changes() {
    let live = json!({"metadata": {"name": "n"}});
    let config = json!({"metadata": {"labels": {"a": "1", "b": "1"}}});
    let live = apply_as(&live, "one", config.clone(), false).expect("free");
    let mut next = live.clone();
    next["metadata"]["labels"]["a"] = json!("2");
    track(Some(&live), &mut next, &node(), &who("editor"));
    let entries = next["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert_eq!(
        entries[0]["fieldsV1"],
        json!({"f:metadata": {"f:labels": {"f:b": {}}}})
    );
    assert_eq!(entries[1]["operation"], "Update");
    assert_eq!(
        entries[1]["fieldsV1"],
        json!({"f:metadata": {"f:labels": {"f:a": {}}}})
    );
    let text = apply_as(&next, "one", config, false)
        .expect_err("the editor owns it")
        .message();
    assert!(
        text.contains("\"editor\" using v1 at 2026-01-01T00:00:00Z: .metadata.labels.a"),
        "{text}"
    );
}

/// The largest patches of each kind, on the largest objects: where each item looks for
/// its fellow through all others, or each removal moves all behind it, this takes
/// minutes, and hours in a debug build.
#[test]
fn the_largest_patches_are_applied() {
    let n = 60_000;
    let conditions = |at: std::ops::Range<usize>| -> Vec<Value> {
        at.map(|at| json!({"type": at.to_string(), "status": "True"}))
            .collect()
    };
    let names = |at: std::ops::Range<usize>| -> Map<String, Value> {
        at.map(|at| (format!("k{at}"), json!("v"))).collect()
    };
    let nulls: Map<String, Value> = names(0..n)
        .into_iter()
        .map(|(name, _)| (name, Value::Null))
        .collect();
    let live = json!({"metadata": {"name": "n", "labels": names(0..n),
        "finalizers": (0..n).map(|at| at.to_string()).collect::<Vec<_>>()},
        "status": {"conditions": conditions(0..n)}});

    let merged = merge(&live, json!({"metadata": {"labels": nulls.clone()}}));
    assert_eq!(merged["metadata"]["labels"], json!({}));

    let order: Vec<Value> = (0..n)
        .rev()
        .map(|at| json!({"type": at.to_string()}))
        .collect();
    let mut gone = conditions(0..n / 2);
    for condition in &mut gone {
        condition["$patch"] = json!("delete");
    }
    gone.extend(conditions(n..n + n / 2));
    let finalizers: Vec<Value> = (0..n).map(|at| json!(at.to_string())).collect();
    let patched = strategically(
        live.clone(),
        json!({"metadata": {"labels": nulls, "$deleteFromPrimitiveList/finalizers": finalizers},
            "status": {"conditions": gone, "$setElementOrder/conditions": order}}),
    );
    assert_eq!(
        patched["metadata"],
        json!({"name": "n", "labels": {}, "finalizers": []})
    );
    let left = patched["status"]["conditions"].as_array().map(Vec::len);
    assert_eq!(left, Some(n));
    let merged = strategically(
        live.clone(),
        json!({"metadata": {"finalizers": finalizers}}),
    );
    assert_eq!(
        merged["metadata"]["finalizers"].as_array().map(Vec::len),
        Some(n)
    );

    let config =
        json!({"metadata": {"labels": names(0..n)}, "status": {"conditions": conditions(0..n)}});
    let applied = apply(&live, &config, &node(), &who("a"), true).expect("applies");
    let none = json!({"metadata": {}});
    let emptied = apply(&applied, &none, &node(), &who("a"), true).expect("applies");
    assert_eq!(emptied["status"], Value::Null);
    let stranger = json!({"metadata": {"labels": names(0..n).into_iter().map(|(name, _)| (name, json!("w"))).collect::<Map<_, _>>()}});
    let conflicts = apply(&applied, &stranger, &node(), &who("b"), false).expect_err("conflicts");
    assert!(conflicts.message().len() < 100_000, "words are bounded too");
}

/// A client that calls itself something else each time, as one with a version or a
/// process id in its name does.
#[test]
fn those_who_updated_are_ten_and_the_oldest_are_one() {
    let mut object = json!({"metadata": {"name": "n"}});
    let config = json!({"metadata": {"labels": {"applied": "x"}}});
    object = apply(&object, &config, &node(), &who("applier"), false).expect("applies");
    for number in 0..300 {
        let old = object.clone();
        object["metadata"]["labels"][format!("l{number:03}")] = json!("v");
        let manager = Manager {
            now: format!("2026-01-01T00:{:02}:{:02}Z", number / 60, number % 60),
            ..who(&format!("client-{number}"))
        };
        track(Some(&old), &mut object, &node(), &manager);
    }
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let names: Vec<_> = entries.iter().map(|entry| &entry["manager"]).collect();
    let newest = (291..300).map(|number| format!("client-{number}"));
    let mut wanted = vec!["applier".to_owned(), "ancient-changes".to_owned()];
    wanted.extend(newest);
    assert_eq!(names, wanted.iter().collect::<Vec<_>>());
    // Nobody's field is lost, and each has one owner.
    let labels = |entry: &Value| entry["fieldsV1"]["f:metadata"]["f:labels"].clone();
    let owned = entries.iter().map(labels);
    let owned = owned.filter_map(|labels| {
        let labels = labels.as_object()?;
        Some(labels.keys().filter(|name| *name != ".").count())
    });
    assert_eq!(owned.sum::<usize>(), 301);
}

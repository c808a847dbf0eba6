//! Strategic merge patch: a merge patch that knows which lists are keyed.
//!
//! Items are found by an index and removed in one pass, so that the cost grows with
//! the object and the patch and not with their product.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Gone, PatchError};
use crate::digest::Index;
use crate::path::begin;
use crate::schema::Schema;

/// Applies `patch` to `target`; `schema` says how lists merge.
pub(crate) fn strategic(
    target: &mut Value,
    patch: Value,
    schema: Option<&Schema>,
) -> Result<(), PatchError> {
    let Value::Object(mut patch) = patch else {
        *target = patch;
        return Ok(());
    };
    match patch
        .shift_remove("$patch")
        .as_ref()
        .map(|directive| directive.as_str().unwrap_or_default())
    {
        None | Some("merge") => {}
        Some("replace") => {
            *target = Value::Object(patch);
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some(other) => {
            return Err(PatchError::Malformed(format!(
                "unknown patch type: {other}"
            )));
        }
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else {
        return Ok(());
    };
    if let Some(Value::Array(keep)) = patch.shift_remove("$retainKeys") {
        let keep: HashSet<&str> = keep.iter().filter_map(Value::as_str).collect();
        map.retain(|name, _| keep.contains(&**name));
    }
    let mut orders = Vec::new();
    let mut gone = Gone::default();
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(items)), Value::Array(gone)) = (map.get_mut(list), &value) {
                let index = Index::of(gone);
                items.retain(|item| index.find(item, |at| gone.get(at)).is_none());
            }
        } else if let Some(list) = name.strip_prefix("$setElementOrder/") {
            orders.push((list.to_owned(), value));
        } else if value.is_null() || is_deletion(&value) {
            gone.add(map, name);
        } else {
            field(map, name, value, schema)?;
        }
    }
    gone.take(map);
    for (list, order) in orders {
        let key = schema
            .and_then(|schema| schema.field(&list))
            .and_then(|field| field.merge_key.as_deref());
        if let (Some(Value::Array(items)), Value::Array(order)) = (map.get_mut(&list), order) {
            reorder(items, &order, key.unwrap_or_default());
        }
    }
    Ok(())
}

fn field(
    map: &mut Map<String, Value>,
    name: String,
    value: Value,
    schema: Option<&Schema>,
) -> Result<(), PatchError> {
    let of = schema
        .and_then(|schema| schema.field(&name))
        .map(|field| &**field);
    match value {
        Value::Object(inner) => strategic(
            map.entry(name).or_insert(Value::Null),
            Value::Object(inner),
            of,
        ),
        Value::Array(items) => {
            let key = of.and_then(|field| field.merge_key.as_deref());
            let Some(key) = key else {
                map.insert(name, Value::Array(items));
                return Ok(());
            };
            let of = of.and_then(|field| field.items.as_deref());
            let target = map
                .entry(name.clone())
                .or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(target) = target else {
                return Err(PatchError::Unprocessable(format!(
                    "expected a list at {name}"
                )));
            };
            list(target, items, key, of, &name)
        }
        plain => {
            map.insert(name, plain);
            Ok(())
        }
    }
}

fn list(
    target: &mut Vec<Value>,
    patch: Vec<Value>,
    key: &str,
    of: Option<&Schema>,
    name: &str,
) -> Result<(), PatchError> {
    if key.is_empty() {
        let mut index = Index::of(&*target);
        for item in patch {
            if index.find(&item, |at| target.get(at)).is_none() {
                index.add(&item, target.len());
                target.push(item);
            }
        }
        return Ok(());
    }
    if patch.iter().any(|item| item["$patch"] == "replace") {
        *target = patch
            .into_iter()
            .filter(|item| item["$patch"].is_null())
            .collect();
        return Ok(());
    }
    // What is deleted leaves its place empty until the end, so that places stay.
    let mut items: Vec<Option<Value>> = target.drain(..).map(Some).collect();
    let mut index = Index::of(items.iter().flatten().map(|item| &item[key]));
    for item in patch {
        let id = item[key].clone();
        if id.is_null() {
            let text = format!(
                "map: {} does not contain declared merge key: {key} in {name}",
                begin(&item.to_string(), 256)
            );
            return Err(PatchError::Unprocessable(text));
        }
        let get = |at: usize| Some(&items.get(at)?.as_ref()?[key]);
        if is_deletion(&item) {
            // The same key may stand there more than once.
            for at in index.remove(&id, get) {
                items[at] = None;
            }
            continue;
        }
        let found = index.find(&id, get);
        match found.and_then(|at| items[at].as_mut()) {
            Some(existing) => strategic(existing, item, of)?,
            None => {
                let mut fresh = Value::Null;
                strategic(&mut fresh, item, of)?;
                index.add(&id, items.len());
                items.push(Some(fresh));
            }
        }
    }
    target.extend(items.into_iter().flatten());
    Ok(())
}

fn is_deletion(value: &Value) -> bool {
    value
        .get("$patch")
        .is_some_and(|directive| directive == "delete")
}

/// Sorts the items that `order` names into its order; the others keep their
/// place behind what preceded them.
fn reorder(items: &mut [Value], order: &[Value], key: &str) {
    let id = |value: &Value| {
        if key.is_empty() {
            value.clone()
        } else {
            value[key].clone()
        }
    };
    let places: Vec<Value> = order.iter().map(id).collect();
    let index = Index::of(&places);
    let mut last = 0;
    let mut ranked: Vec<(usize, Value)> = items
        .iter()
        .map(|item| {
            let place = index.find(&id(item), |at| places.get(at));
            last = place.unwrap_or(last);
            (last, item.clone())
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    for (slot, (_, item)) in items.iter_mut().zip(ranked) {
        *slot = item;
    }
}

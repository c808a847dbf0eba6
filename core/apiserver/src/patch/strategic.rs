//! Strategic merge patch: a merge patch that knows which lists are keyed.

use serde_json::{Map, Value};

use super::PatchError;
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
        map.retain(|name, _| keep.iter().any(|kept| kept == name));
    }
    let mut orders = Vec::new();
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(items)), Value::Array(gone)) = (map.get_mut(list), &value) {
                items.retain(|item| !gone.contains(item));
            }
        } else if let Some(list) = name.strip_prefix("$setElementOrder/") {
            orders.push((list.to_owned(), value));
        } else {
            field(map, name, value, schema)?;
        }
    }
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
    if value.is_null() {
        map.shift_remove(&name);
        return Ok(());
    }
    let of = schema
        .and_then(|schema| schema.field(&name))
        .map(|field| &**field);
    match value {
        Value::Object(inner) => {
            let gone = inner
                .get("$patch")
                .is_some_and(|directive| directive == "delete");
            if gone {
                map.shift_remove(&name);
                return Ok(());
            }
            strategic(
                map.entry(name).or_insert(Value::Null),
                Value::Object(inner),
                of,
            )
        }
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
        for item in patch {
            if !target.contains(&item) {
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
    for item in patch {
        let id = item[key].clone();
        if id.is_null() {
            let text = format!("map: {item} does not contain declared merge key: {key} in {name}");
            return Err(PatchError::Unprocessable(text));
        }
        if item["$patch"] == "delete" {
            target.retain(|existing| existing[key] != id);
            continue;
        }
        match target.iter_mut().find(|existing| existing[key] == id) {
            Some(existing) => strategic(existing, item, of)?,
            None => {
                let mut fresh = Value::Null;
                strategic(&mut fresh, item, of)?;
                target.push(fresh);
            }
        }
    }
    Ok(())
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
    let mut last = 0;
    let mut ranked: Vec<(usize, Value)> = items
        .iter()
        .map(|item| {
            let wanted = id(item);
            last = places
                .iter()
                .position(|place| *place == wanted)
                .unwrap_or(last);
            (last, item.clone())
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    for (slot, (_, item)) in items.iter_mut().zip(ranked) {
        *slot = item;
    }
}

//! Digests of values, to find equal ones among many without comparing each pair.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use serde_json::Value;

/// Keyed anew in each process, so that nobody can make values that collide.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The same for equal values, also where the fields stand in another order.
pub(crate) fn digest(value: &Value) -> u64 {
    let mut hasher = KEYS.build_hasher();
    match value {
        Value::Null => 0u8.hash(&mut hasher),
        Value::Bool(flag) => (1u8, flag).hash(&mut hasher),
        Value::Number(number) => (2u8, number).hash(&mut hasher),
        Value::String(text) => (3u8, text).hash(&mut hasher),
        Value::Array(items) => {
            (4u8, items.len()).hash(&mut hasher);
            for item in items {
                digest(item).hash(&mut hasher);
            }
        }
        Value::Object(map) => {
            // A sum, which knows no order.
            let entries = map.iter();
            let entries = entries.map(|(name, value)| KEYS.hash_one((name, digest(value))));
            (5u8, map.len(), entries.fold(0, u64::wrapping_add)).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// Values by their digest: finds an equal one in a step or two.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index(HashMap<u64, Vec<usize>>);

impl Index {
    /// The index of a list.
    pub(crate) fn of<'a>(values: impl IntoIterator<Item = &'a Value>) -> Index {
        let mut index = Index::default();
        for (at, value) in values.into_iter().enumerate() {
            index.add(value, at);
        }
        index
    }

    /// Adds a value that stands at `at`.
    pub(crate) fn add(&mut self, value: &Value, at: usize) {
        self.0.entry(digest(value)).or_default().push(at);
    }

    /// Where the first value equal to `wanted` stands; `get` gives the value at a
    /// place, if it still is there.
    pub(crate) fn find<'a>(
        &self,
        wanted: &Value,
        get: impl Fn(usize) -> Option<&'a Value>,
    ) -> Option<usize> {
        let places = self.0.get(&digest(wanted))?;
        let found = places.iter().find(|at| get(**at) == Some(wanted));
        found.copied()
    }

    /// Takes out all values equal to `gone`; gives where they stand.
    pub(crate) fn remove<'a>(
        &mut self,
        gone: &Value,
        get: impl Fn(usize) -> Option<&'a Value>,
    ) -> Vec<usize> {
        let Some(places) = self.0.get_mut(&digest(gone)) else {
            return Vec::new();
        };
        places.extract_if(.., |at| get(*at) == Some(gone)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_values_are_found_whatever_their_order() {
        let list = [json!({"a": 1, "b": [2]}), json!([1, 2]), json!("1")];
        let index = Index::of(&list);
        let find = |value: Value| index.find(&value, |at| list.get(at));
        assert_eq!(find(json!({"b": [2], "a": 1})), Some(0));
        assert_eq!(find(json!("1")), Some(2));
        assert_eq!(find(json!([2, 1])), None);
        assert_eq!(find(json!(1)), None);
    }
}

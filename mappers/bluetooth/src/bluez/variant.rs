//! Values of D-Bus as plain ones.

use zbus::Variant;

/// A variant may hold a variant: BlueZ's dictionaries do.
pub(super) fn inner<'v>(mut value: &'v Variant<'v>) -> &'v Variant<'v> {
    while let Variant::Variant(boxed) = value {
        value = boxed;
    }
    value
}

pub(super) fn text<'v>(value: &'v Variant<'v>) -> Option<&'v str> {
    match inner(value) {
        Variant::Str(text) => Some(text.as_str()),
        Variant::ObjectPath(path) => Some(path.as_str()),
        _ => None,
    }
}

pub(super) fn truth(value: &Variant<'_>) -> Option<bool> {
    match inner(value) {
        Variant::Bool(truth) => Some(*truth),
        _ => None,
    }
}

pub(super) fn number(value: &Variant<'_>) -> Option<i64> {
    match inner(value) {
        Variant::U8(number) => Some(i64::from(*number)),
        Variant::I16(number) => Some(i64::from(*number)),
        Variant::U16(number) => Some(i64::from(*number)),
        Variant::I32(number) => Some(i64::from(*number)),
        Variant::U32(number) => Some(i64::from(*number)),
        _ => None,
    }
}

pub(super) fn bytes(value: &Variant<'_>) -> Option<Vec<u8>> {
    let Variant::Array(array) = inner(value) else {
        return None;
    };
    let byte = |value: &Variant<'_>| match inner(value) {
        Variant::U8(byte) => Some(*byte),
        _ => None,
    };
    array.inner().iter().map(byte).collect()
}

pub(super) fn texts(value: &Variant<'_>) -> Vec<String> {
    let Variant::Array(array) = inner(value) else {
        return Vec::new();
    };
    let texts = array.inner().iter().filter_map(|value| text(value));
    texts.map(str::to_owned).collect()
}

/// A dictionary of bytes, by a key that `key` understands.
pub(super) fn dictionary<K>(
    value: &Variant<'_>,
    key: impl Fn(&Variant<'_>) -> Option<K>,
) -> Vec<(K, Vec<u8>)> {
    let Variant::Dict(dict) = inner(value) else {
        return Vec::new();
    };
    dict.iter()
        .filter_map(|(name, value)| Some((key(name)?, bytes(value)?)))
        .collect()
}

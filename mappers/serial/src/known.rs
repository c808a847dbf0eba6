//! Names in patterns that are no captures: what the device is known by.

use std::collections::BTreeMap;

use longshore_sdk::SampleValue;

use crate::{
    pattern::{Pattern, SyntaxError, is_kind, text},
    template::{Filling, Template},
};

/// Compiles a pattern in which the names of `known` stand for their values.
pub(crate) fn pattern(
    written: &str,
    known: &BTreeMap<String, SampleValue>,
) -> Result<Pattern, SyntaxError> {
    Pattern::knowing(written, &|column, inner| filled(column, inner, known))
}

/// The value of a field whose name is known, as it stands in an answer.
fn filled(
    column: usize,
    inner: &str,
    known: &BTreeMap<String, SampleValue>,
) -> Result<Option<String>, SyntaxError> {
    let (name, format) = inner.split_once(':').unwrap_or((inner, ""));
    // What is read is never known before.
    let value = known.get(name);
    let Some(value) = value.filter(|_| !matches!(name, "value" | "message")) else {
        return Ok(None);
    };
    let (kind, width) = format.split_once(':').unwrap_or((format, ""));
    let shown = if is_kind(kind) {
        format!("{{{name}}}")
    } else {
        // As in a request: `{address:02X}`.
        format!("{{{inner}}}")
    };
    let template = Template::text(&shown);
    let template = template.map_err(|error| SyntaxError::new(column, error.message))?;
    let bytes = template.render(&Filling {
        lookup: &|_| Some(value.clone()),
        checksum: None,
        codec: None,
        truths: ("1", "0"),
        reserved: "",
    });
    let bytes = bytes.map_err(|error| SyntaxError::new(column, error.to_string()))?;
    let filled = text(&bytes).into_owned();
    let length = filled.chars().count();
    if !width.is_empty() && width.parse() != Ok(length) {
        let message = format!(
            "`{{{inner}}}` stands for `{filled}`, the `{name}` of the device, which has {length} characters; write `{{{name}}}`, or `{{:{kind}:{width}}}` for what may be anything"
        );
        return Err(SyntaxError::new(column, message));
    }
    Ok(Some(filled))
}

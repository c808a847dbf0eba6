//! `longshore explain`: what may stand in the configuration of a protocol.
//!
//! The text is the mapper's own: the schema that its library carries, read
//! without running it.

use std::{fmt::Write as _, path::PathBuf};

use anyhow::{Context, Result, bail};
use longshore_types::{near::near, vocabulary};
use serde_json::{Map, Value as Json};

use crate::{
    libraries::{self, Library},
    output::{advised, emit, say},
};

/// Arguments of `longshore explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The protocol, with one part or key of it after a dot, as in modbus.property.address;
    /// or property or device, for the keys of every protocol
    #[arg(value_name = "PROTOCOL[.PART[.KEY]]")]
    topic: Option<String>,
    /// This library [default: found near the program]
    #[arg(long, value_name = "FILE")]
    mapper: Option<PathBuf>,
    /// Folder of the mappers' libraries [default: found near the program]
    #[arg(long, value_name = "FOLDER")]
    mapper_dir: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// The JSON Schemas
    Json,
}

/// The parts of a schema and where they stand.
const PARTS: [(&str, &str); 5] = [
    (
        "device",
        "protocol.configData of a Device; defaults in protocolConfigData of its model",
    ),
    (
        "property",
        "visitors.configData of a property, beside the keys of every protocol",
    ),
    ("method", "call of a method in protocolConfigData.methods"),
    ("discovery", "KEY=VALUE of longshore discover"),
    (
        "mapper",
        "config of the mapper in the edge core's configuration",
    ),
];

const WIDTH: usize = 96;

/// Runs the command.
pub(crate) async fn run(args: ExplainArgs) -> Result<bool> {
    let Some(topic) = &args.topic else {
        return list(&args);
    };
    let mut path = topic.splitn(3, '.');
    let protocol = path.next().unwrap_or_default();
    if let "property" | "device" = protocol {
        let key = topic.split_once('.').map(|(_, key)| key);
        say(&vocabulary(protocol, key)?);
        return Ok(true);
    }
    let library =
        libraries::of_protocol(protocol, args.mapper.as_deref(), args.mapper_dir.as_deref())?;
    let Some(text) = &library.descriptor.schema else {
        return Err(advised(
            format!("{} carries no schema", library.file.display()),
            "its author can add one with `schema:` of export_mapper!, or the section .longshore_schema",
        ));
    };
    let schema: Json = serde_json::from_str(text).context("the mapper's schema is not JSON")?;
    let (part, key) = (path.next(), path.next());
    if let Some(part) = part
        .filter(|part| schema.get(*part).is_none() || !PARTS.iter().any(|(known, _)| known == part))
    {
        let known: Vec<&str> = PARTS
            .iter()
            .map(|(part, _)| *part)
            .filter(|part| schema.get(*part).is_some())
            .collect();
        bail!(
            "`{protocol}` has no part `{part}`, expected one of {}",
            known.join(", ")
        );
    }
    if args.output == Format::Json {
        let shown = part.map_or(&schema, |part| &schema[part]);
        emit(&format!("{shown:#}\n"));
        return Ok(true);
    }
    say(&render(&library, &schema, part, key)?);
    Ok(true)
}

/// The keys of every protocol.
fn vocabulary(of: &str, key: Option<&str>) -> Result<String> {
    let (keys, place) = match of {
        "property" => (
            vocabulary::PROPERTY_KEYS,
            "visitors.configData of a property",
        ),
        _ => (
            vocabulary::DEVICE_KEYS,
            "protocolConfigData of a model, protocol.configData of a Device",
        ),
    };
    let mut out = String::new();
    if key.is_none() {
        writeln!(out, "{}  {place}, whatever the protocol", of.to_uppercase())?;
    }
    let mut shown = 0;
    for known in keys {
        let inner = |key: &str| {
            known
                .path
                .strip_prefix(key)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        if key.is_some_and(|key| key != known.path && !inner(key)) {
            continue;
        }
        shown += 1;
        let default = match known.default {
            "" => String::new(),
            default => format!(", default {default}"),
        };
        writeln!(out, "\n  {}  {}{default}", known.path, known.form)?;
        wrapped(&mut out, 6, known.meaning);
        if !known.example.is_empty() {
            writeln!(out, "      example: {}", known.example)?;
        }
    }
    if shown == 0 {
        return Err(no_key(
            of,
            key.unwrap_or_default(),
            keys.iter().map(|known| known.path.to_owned()),
        ));
    }
    Ok(out)
}

fn list(args: &ExplainArgs) -> Result<bool> {
    let folders = libraries::existing(args.mapper_dir.as_deref())?;
    let rows: Vec<Vec<String>> = libraries::all(&folders)
        .iter()
        .map(|library| {
            let schema: Option<Json> = library
                .descriptor
                .schema
                .as_ref()
                .and_then(|text| serde_json::from_str(text).ok());
            let about = schema
                .as_ref()
                .and_then(|schema| schema["description"].as_str())
                .unwrap_or("-")
                .to_owned();
            vec![
                library.descriptor.protocol.clone(),
                library.descriptor.version.clone(),
                about,
            ]
        })
        .collect();
    if rows.is_empty() {
        return Err(advised(
            "no mapper libraries near this program",
            "`make build` brings them, or name a folder with --mapper-dir",
        ));
    }
    say(&crate::table::render(
        &["PROTOCOL", "VERSION", "WHAT"],
        &rows,
    ));
    Ok(true)
}

fn render(
    library: &Library,
    schema: &Json,
    part: Option<&str>,
    key: Option<&str>,
) -> Result<String> {
    let mut out = String::new();
    if part.is_none() {
        let descriptor = &library.descriptor;
        let about = schema["description"].as_str().unwrap_or_default();
        writeln!(
            out,
            "{} {}  {about}",
            descriptor.protocol, descriptor.version
        )?;
        writeln!(out, "{}", library.file.display())?;
    }
    for (name, place) in PARTS {
        let Some(section) = schema
            .get(name)
            .filter(|_| part.is_none_or(|part| part == name))
        else {
            continue;
        };
        if key.is_none() {
            writeln!(out, "\n{}  {place}", name.to_uppercase())?;
            wrapped(&mut out, 2, text_of(section, section).as_str());
        }
        let before = out.len();
        keys(&mut out, section, section, 2, key);
        if let Some(key) = key.filter(|_| before == out.len()) {
            return Err(no_key(
                &format!("{}.{name}", library.descriptor.protocol),
                key,
                rows(section, section, "", 0)
                    .into_iter()
                    .map(|[path, ..]| path),
            ));
        }
        if key.is_none() {
            for example in section["examples"].as_array().into_iter().flatten() {
                writeln!(out, "\n  example: {example}")?;
            }
        }
    }
    if part.is_none_or(|part| part == "property") && key.is_none() {
        out.push_str("\nKeys that every protocol has (scale, enum, deadband, …): longshore explain property\n");
    }
    Ok(out)
}

/// A key that is not there: those that may be meant, else all of the first level.
fn no_key(part: &str, key: &str, paths: impl Iterator<Item = String>) -> anyhow::Error {
    let paths: Vec<String> = paths.collect();
    let known = || paths.iter().map(String::as_str);
    let last = key.rsplit('.').next().unwrap_or(key);
    let mut meant = near(key, known());
    // The key may be right and stand deeper.
    meant.extend(known().filter(|path| path.rsplit('.').next() == Some(last)));
    let hint = if meant.is_empty() {
        let first: Vec<&str> = known().filter(|path| !path.contains('.')).collect();
        format!("its keys are {}", first.join(", "))
    } else {
        format!("did you mean {}?", meant.join(" or "))
    };
    advised(format!("`{part}` has no key `{key}`"), hint)
}

/// The keys of an object's schema, one below the other.
fn keys(out: &mut String, root: &Json, schema: &Json, indent: usize, only: Option<&str>) {
    let schema = resolved(root, schema);
    let (first, rest) = match only.and_then(|only| only.split_once('.')) {
        Some((first, rest)) => (Some(first), Some(rest)),
        None => (only, None),
    };
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    let properties = schema["properties"].as_object();
    for (key, inner) in properties.into_iter().flatten() {
        if first.is_some_and(|first| first != key) {
            continue;
        }
        if rest.is_some() {
            keys(
                out,
                root,
                object_of(root, inner).unwrap_or(inner),
                indent,
                rest,
            );
            continue;
        }
        let mut head = format!("{:indent$}{key}  {}", "", kind(root, inner));
        if required.contains(&key.as_str()) {
            head.push_str(", required");
        }
        if let Some(default) = inner.get("default").filter(|default| !default.is_null()) {
            head.push_str(&format!(", default {default}"));
        }
        out.push_str(&format!("\n{head}\n"));
        wrapped(out, indent + 4, &text_of(root, inner));
        // Two levels are enough to read; deeper ones by their key path.
        if let Some(object) = object_of(root, inner).filter(|_| indent < 8) {
            keys(out, root, object, indent + 4, None);
        }
    }
}

/// Follows a reference into `$defs`.
fn resolved<'s>(root: &'s Json, schema: &'s Json) -> &'s Json {
    let name = schema["$ref"]
        .as_str()
        .and_then(|path| path.strip_prefix("#/$defs/"));
    match name {
        Some(name) => &root["$defs"][name],
        None => schema,
    }
}

/// The alternatives of a schema without null.
fn alternatives<'s>(root: &'s Json, schema: &'s Json) -> Vec<&'s Json> {
    let schema = resolved(root, schema);
    let several = ["anyOf", "oneOf"]
        .iter()
        .find_map(|key| schema[*key].as_array());
    match several {
        Some(several) => several
            .iter()
            .flat_map(|one| alternatives(root, one))
            .filter(|one| one["type"] != "null")
            .collect(),
        None => vec![schema],
    }
}

fn object_of<'s>(root: &'s Json, schema: &'s Json) -> Option<&'s Json> {
    let found = alternatives(root, schema);
    let has_keys = |one: &&&Json| {
        one["properties"]
            .as_object()
            .is_some_and(|map: &Map<_, _>| !map.is_empty())
    };
    if let Some(object) = found.iter().find(has_keys) {
        return Some(object);
    }
    found
        .iter()
        .find_map(|one| one.get("items"))
        .and_then(|items| object_of(root, items))
}

/// The type in words: `whole number or text, 0…255`.
fn kind(root: &Json, schema: &Json) -> String {
    let mut words: Vec<String> = Vec::new();
    for one in alternatives(root, schema) {
        let word = match one {
            _ if one["enum"].is_array() => {
                let values: Vec<String> = one["enum"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|value| {
                        value
                            .as_str()
                            .map_or_else(|| value.to_string(), str::to_owned)
                    })
                    .collect();
                values.join(" | ")
            }
            _ if one.get("const").is_some() => one["const"]
                .as_str()
                .map_or_else(|| one["const"].to_string(), str::to_owned),
            _ => {
                let types: Vec<&str> = match &one["type"] {
                    Json::String(only) => vec![only],
                    Json::Array(several) => several
                        .iter()
                        .filter_map(Json::as_str)
                        .filter(|name| *name != "null")
                        .collect(),
                    _ => vec!["any"],
                };
                types
                    .iter()
                    .map(|name| plain(name))
                    .collect::<Vec<_>>()
                    .join(" or ")
            }
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let mut text = words.join(" or ");
    let outer = resolved(root, schema);
    let bound = |key: &str| {
        schema
            .get(key)
            .or_else(|| outer.get(key))
            .and_then(Json::as_f64)
    };
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => text.push_str(&format!(", {least}…{most}")),
        (Some(least), None) if least != 0.0 => text.push_str(&format!(", {least} or more")),
        (None, Some(most)) => text.push_str(&format!(", {most} or less")),
        _ => {}
    }
    text
}

fn plain(name: &str) -> &str {
    match name {
        "string" => "text",
        "integer" => "whole number",
        "boolean" => "true/false",
        "array" => "list",
        other => other,
    }
}

fn text_of(root: &Json, schema: &Json) -> String {
    let own = schema["description"].as_str();
    let text = own
        .or_else(|| resolved(root, schema)["description"].as_str())
        .unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn wrapped(out: &mut String, indent: usize, text: &str) {
    let mut column = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if column > 0 && indent + column + 1 + length > WIDTH {
            out.push('\n');
            column = 0;
        }
        if column == 0 {
            out.extend(std::iter::repeat_n(' ', indent));
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    if column > 0 {
        out.push('\n');
    }
}

/// The keys of a part for a page: key path, type, default, meaning.
pub(crate) fn rows(root: &Json, schema: &Json, prefix: &str, depth: usize) -> Vec<[String; 4]> {
    let schema = resolved(root, schema);
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut rows = Vec::new();
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{key}");
        let default = match inner.get("default").filter(|default| !default.is_null()) {
            Some(default) => default.to_string(),
            None if required.iter().any(|name| name == key) => "required".to_owned(),
            None => String::new(),
        };
        rows.push([
            path.clone(),
            kind(root, inner),
            default,
            text_of(root, inner),
        ]);
        if let Some(object) = object_of(root, inner).filter(|_| depth < 3) {
            rows.extend(self::rows(root, object, &format!("{path}."), depth + 1));
        }
    }
    rows
}

/// The parts and where they stand, for a page.
#[cfg(test)]
pub(crate) fn parts() -> [(&'static str, &'static str); 5] {
    PARTS
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_misspelt_key_gets_its_near_words() {
        let known = ["address", "bit", "serial", "serial.baud"];
        let told = |key: &str| {
            let error = no_key(
                "modbus.property",
                key,
                known.iter().map(|key| (*key).to_owned()),
            );
            crate::output::explain(&error)
        };
        assert_eq!(
            told("addres"),
            "error: `modbus.property` has no key `addres`\n\nhint: did you mean address?\n"
        );
        assert!(
            told("baud").contains("did you mean serial.baud?"),
            "{}",
            told("baud")
        );
        assert!(
            told("colour").contains("its keys are address, bit, serial\n"),
            "{}",
            told("colour")
        );
    }

    #[test]
    fn keys_are_shown_with_type_default_and_meaning() {
        let schema = json!({
            "type": "object", "required": ["url"],
            "properties": {
                "url": {"type": "string", "description": "Where it is."},
                "unit": {"anyOf": [{"$ref": "#/$defs/Number"}, {"type": "null"}], "minimum": 0, "maximum": 255, "default": 1, "description": "Which unit."},
                "mode": {"type": ["string", "null"], "enum": ["poll", "push"]},
                "serial": {"$ref": "#/$defs/Serial"},
            },
            "$defs": {
                "Number": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                "Serial": {"type": "object", "description": "The line.", "properties": {"baud": {"type": "integer", "minimum": 50}}},
            },
        });
        let mut out = String::new();
        keys(&mut out, &schema, &schema, 2, None);
        insta::assert_snapshot!(out, @r"

          url  text, required
              Where it is.

          unit  whole number or text, 0…255, default 1
              Which unit.

          mode  poll | push

          serial  object
              The line.

              baud  whole number, 50 or more
        ");
        let mut out = String::new();
        keys(&mut out, &schema, &schema, 2, Some("serial.baud"));
        assert_eq!(out, "\n  baud  whole number, 50 or more\n");
    }
}

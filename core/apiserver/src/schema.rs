//! Structural schemas: one description of a resource, used for everything that
//! has to know its shape (validation, pruning, defaults, strategic and
//! server-side apply).
//!
//! The source is always a JSON schema in the OpenAPI form, from a
//! CustomResourceDefinition or from the table of built-in types, so that what is
//! checked is what `/openapi/v3` publishes.

mod decode;
mod format;
mod pattern;
mod prune;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::digest::Index;
pub(crate) use decode::decode_fault;
use format::Format;
pub(crate) use pattern::Pattern;
pub(crate) use prune::{apply_defaults, drop_nulls, drop_refused_nulls, prune};
pub(crate) use validate::{check_at, validate};

/// What a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything; the schema does not say.
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

impl Kind {
    /// The name in a schema and in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Any => "any",
            Kind::Object => "object",
            Kind::Array => "array",
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::IntOrString => "integer,string",
        }
    }
}

/// How the items of a list are told apart by server-side apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum List {
    /// The list is one value.
    #[default]
    Atomic,
    /// Each item is itself.
    Set,
    /// Items are objects, told apart by these fields.
    Map(Vec<String>),
}

/// One node of a schema.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    pub(crate) kind: Kind,
    pub(crate) properties: BTreeMap<String, Arc<Schema>>,
    /// The schema of fields that are not in `properties`.
    pub(crate) additional: Option<Arc<Schema>>,
    pub(crate) items: Option<Arc<Schema>>,
    pub(crate) required: Vec<String>,
    /// Unknown fields are kept.
    pub(crate) preserve: bool,
    /// The value is a whole Kubernetes object.
    pub(crate) embedded: bool,
    pub(crate) nullable: bool,
    pub(crate) default: Option<Value>,
    pub(crate) list: List,
    /// Server-side apply takes the object as one value.
    pub(crate) atomic: bool,
    /// Strategic merge patch merges this list; by the key, or by value when the
    /// key is empty.
    pub(crate) merge_key: Option<String>,
    pub(crate) checks: Checks,
}

/// What a value must satisfy beside its type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    pub(crate) one_of_values: Option<Allowed>,
    pub(crate) minimum: Option<(f64, bool)>,
    pub(crate) maximum: Option<(f64, bool)>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) pattern: Option<(String, Option<Pattern>)>,
    pub(crate) format: Option<Format>,
    pub(crate) length: (Option<u64>, Option<u64>),
    pub(crate) items: (Option<u64>, Option<u64>),
    pub(crate) properties: (Option<u64>, Option<u64>),
    pub(crate) unique: bool,
    pub(crate) all_of: Vec<Schema>,
    pub(crate) any_of: Vec<Schema>,
    pub(crate) one_of: Vec<Schema>,
    pub(crate) not: Option<Box<Schema>>,
}

/// Bytes of all compiled patterns of one definition.
pub(crate) const COMPILED: usize = 8 << 20;

/// The values of an `enum`, of which there may be many.
#[derive(Clone, Debug)]
pub(crate) struct Allowed {
    list: Vec<Value>,
    index: Index,
}

impl Allowed {
    fn of(list: &[Value]) -> Allowed {
        Allowed {
            list: list.to_vec(),
            index: Index::of(list),
        }
    }

    pub(crate) fn contains(&self, value: &Value) -> bool {
        self.index.find(value, |at| self.list.get(at)).is_some()
    }

    pub(crate) fn list(&self) -> &[Value] {
        &self.list
    }
}

/// Named schemas that others refer to.
pub(crate) type Components = BTreeMap<String, Value>;

/// Where a `$ref` points to.
pub(crate) const REF: &str = "#/components/schemas/";

impl Schema {
    /// A schema that accepts and keeps everything.
    pub(crate) fn anything() -> Schema {
        Schema {
            preserve: true,
            nullable: true,
            ..Schema::default()
        }
    }

    /// Reads a JSON schema. What it does not know, it ignores, as the real
    /// server does with formats it does not know.
    pub(crate) fn parse(source: &Value, components: &Components) -> Schema {
        if let Some(target) = reference(source) {
            return components
                .get(target)
                .map_or_else(Schema::anything, |found| Schema::parse(found, components));
        }
        let flag = |key: &str| source[key].as_bool().unwrap_or(false);
        let int_or_string =
            flag("x-kubernetes-int-or-string") || source["format"] == "int-or-string";
        let kind = match source["type"].as_str() {
            _ if int_or_string => Kind::IntOrString,
            Some("object") => Kind::Object,
            Some("array") => Kind::Array,
            Some("string") => Kind::String,
            Some("integer") => Kind::Integer,
            Some("number") => Kind::Number,
            Some("boolean") => Kind::Boolean,
            _ => Kind::Any,
        };
        let child = |value: &Value| Arc::new(Schema::parse(value, components));
        let properties = source["properties"].as_object();
        let additional = match &source["additionalProperties"] {
            Value::Bool(true) => Some(Arc::new(Schema::anything())),
            Value::Object(map) => Some(child(&Value::Object(map.clone()))),
            _ => None,
        };
        Schema {
            kind,
            properties: properties
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), child(value)))
                .collect(),
            additional,
            items: source["items"].is_object().then(|| child(&source["items"])),
            required: strings(&source["required"]),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            nullable: flag("nullable"),
            default: source.get("default").cloned(),
            list: match source["x-kubernetes-list-type"].as_str() {
                Some("set") => List::Set,
                Some("map") => List::Map(strings(&source["x-kubernetes-list-map-keys"])),
                _ => List::Atomic,
            },
            atomic: source["x-kubernetes-map-type"] == "atomic",
            merge_key: source["x-kubernetes-patch-strategy"]
                .as_str()
                .filter(|strategy| strategy.contains("merge"))
                .map(|_| {
                    source["x-kubernetes-patch-merge-key"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned()
                }),
            checks: Checks::parse(source, components),
        }
    }

    /// The schema of the field `name`, if fields of that name are allowed.
    pub(crate) fn field(&self, name: &str) -> Option<&Arc<Schema>> {
        self.properties.get(name).or(self.additional.as_ref())
    }
}

impl Checks {
    fn parse(source: &Value, components: &Components) -> Checks {
        let number = |key: &str| source[key].as_f64();
        let size = |key: &str| source[key].as_u64();
        let flag = |key: &str| source[key].as_bool().unwrap_or(false);
        let list = |key: &str| -> Vec<Schema> {
            source[key]
                .as_array()
                .into_iter()
                .flatten()
                .map(|item| Schema::parse(item, components))
                .collect()
        };
        Checks {
            one_of_values: source["enum"].as_array().map(|list| Allowed::of(list)),
            minimum: number("minimum").map(|n| (n, flag("exclusiveMinimum"))),
            maximum: number("maximum").map(|n| (n, flag("exclusiveMaximum"))),
            multiple_of: number("multipleOf"),
            pattern: source["pattern"]
                .as_str()
                .map(|text| (text.to_owned(), Pattern::new(text).ok())),
            format: source["format"].as_str().and_then(Format::named),
            length: (size("minLength"), size("maxLength")),
            items: (size("minItems"), size("maxItems")),
            properties: (size("minProperties"), size("maxProperties")),
            unique: flag("uniqueItems"),
            all_of: list("allOf"),
            any_of: list("anyOf"),
            one_of: list("oneOf"),
            not: source["not"]
                .is_object()
                .then(|| Box::new(Schema::parse(&source["not"], components))),
        }
    }
}

/// The name that a `$ref` points to, alone or inside of an `allOf` of one.
fn reference(source: &Value) -> Option<&str> {
    let direct = source["$ref"].as_str();
    let wrapped = || match source["allOf"].as_array().map(Vec::as_slice) {
        Some([only]) if source["type"].is_null() => only["$ref"].as_str(),
        _ => None,
    };
    direct.or_else(wrapped)?.strip_prefix(REF)
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

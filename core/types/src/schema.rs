//! The shape of the API's objects as data: one source for the CRDs and for
//! the strict reading of files.

mod device;
mod model;
mod status;

use serde_json::{Map, Value as Json, json};

pub use device::device;
pub use model::model;
pub use status::status;

/// What may stand at one place of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// What it means, for `kubectl explain`.
    pub description: &'static str,
    /// What may stand here.
    pub shape: Shape,
}

/// What may stand at one place.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// These fields and no others.
    Object(Vec<Field>),
    /// Any object.
    Free,
    /// The metadata of an object, which the API server checks by itself.
    Metadata,
    /// Texts by name.
    Map,
    /// A list.
    List(Box<Schema>),
    /// A text.
    Text,
    /// One of these texts.
    Enum(&'static [&'static str]),
    /// A whole number of 64 bits.
    Int64,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number.
    Int,
    /// A truth value.
    Bool,
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The key.
    pub name: &'static str,
    /// Whether the API insists on it.
    pub required: bool,
    /// What may stand there.
    pub schema: Schema,
}

impl Schema {
    /// As OpenAPI v3 in the structural form that CRDs need.
    pub fn to_openapi(&self) -> Json {
        let mut out = Map::new();
        if !self.description.is_empty() {
            out.insert("description".into(), self.description.into());
        }
        let mut put = |key: &str, value: Json| out.insert(key.to_owned(), value);
        match &self.shape {
            Shape::Object(fields) => {
                put("type", json!("object"));
                let required: Vec<_> = fields
                    .iter()
                    .filter(|field| field.required)
                    .map(|field| field.name)
                    .collect();
                if !required.is_empty() {
                    put("required", json!(required));
                }
                if !fields.is_empty() {
                    let properties = fields
                        .iter()
                        .map(|field| (field.name.to_owned(), field.schema.to_openapi()))
                        .collect();
                    put("properties", Json::Object(properties));
                }
            }
            Shape::Free => {
                put("type", json!("object"));
                put("x-kubernetes-preserve-unknown-fields", json!(true));
            }
            Shape::Metadata => {
                put("type", json!("object"));
            }
            Shape::Map => {
                put("type", json!("object"));
                put("additionalProperties", json!({"type": "string"}));
            }
            Shape::List(items) => {
                put("type", json!("array"));
                put("items", items.to_openapi());
            }
            Shape::Text => {
                put("type", json!("string"));
            }
            Shape::Enum(values) => {
                put("type", json!("string"));
                put("enum", json!(values));
            }
            Shape::Int64 => {
                put("type", json!("integer"));
                put("format", json!("int64"));
            }
            Shape::Int32 => {
                put("type", json!("integer"));
                put("format", json!("int32"));
            }
            Shape::Int => {
                put("type", json!("integer"));
            }
            Shape::Bool => {
                put("type", json!("boolean"));
            }
        }
        Json::Object(out)
    }

    /// The schema of a field, if this is an object that has it.
    pub fn field(&self, name: &str) -> Option<&Schema> {
        let Shape::Object(fields) = &self.shape else {
            return None;
        };
        fields
            .iter()
            .find(|field| field.name == name)
            .map(|field| &field.schema)
    }
}

fn of(shape: Shape, description: &'static str) -> Schema {
    Schema { description, shape }
}

fn object<const N: usize>(
    description: &'static str,
    fields: [(&'static str, Schema); N],
) -> Schema {
    let fields = fields.map(|(name, schema)| Field {
        name,
        required: false,
        schema,
    });
    of(Shape::Object(fields.into()), description)
}

fn list(description: &'static str, items: Schema) -> Schema {
    of(Shape::List(Box::new(items)), description)
}

fn text(description: &'static str) -> Schema {
    of(Shape::Text, description)
}

/// A whole object: `apiVersion`, `kind`, `metadata` and what is its own.
fn root<const N: usize>(description: &'static str, fields: [(&'static str, Schema); N]) -> Schema {
    let mut all = vec![
        (
            "apiVersion",
            text("Group and version of the API: devices.kubeedge.io/v1beta1."),
        ),
        ("kind", text("Kind of the object.")),
        ("metadata", of(Shape::Metadata, "")),
    ];
    all.extend(fields);
    let fields = all
        .into_iter()
        .map(|(name, schema)| Field {
            name,
            required: false,
            schema,
        })
        .collect();
    of(Shape::Object(fields), description)
}

/// A value with what is known about it.
fn twin_property(description: &'static str) -> Schema {
    let mut schema = object(
        description,
        [
            (
                "value",
                text("The value as text. Required; an empty text is no value."),
            ),
            (
                "metadata",
                of(
                    Shape::Map,
                    "What is known about the value, such as timestamp and type.",
                ),
            ),
        ],
    );
    if let Shape::Object(fields) = &mut schema.shape {
        fields[0].required = true;
    }
    schema
}

fn visitors(description: &'static str) -> Schema {
    object(
        description,
        [
            (
                "protocolName",
                text("Name of the protocol; the device's own if it is left out."),
            ),
            (
                "configData",
                of(
                    Shape::Free,
                    "What the mapper needs to know (for Modbus: address, rawType, byteOrder), and what the twin \
                     engine does with the raw value: mask, shift, scale, offset, expression, enum, badWhen, report, \
                     staleAfter, onViolation, write and others.",
                ),
            ),
        ],
    )
}

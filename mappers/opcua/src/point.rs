//! Points: which attribute of which node, which part of it, and how it is watched.

use std::sync::Arc;

use opcua::types::{NumericRange, VariantScalarTypeId as Type};

use crate::node::Place;

/// One point; shared with the monitored items.
pub type Point = Arc<Field>;

/// What a visitor's configuration says of one point.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The node.
    pub place: Place,
    /// Its attribute (Part 6, annex A); 13 is the value.
    pub attribute: u32,
    /// Which part of an array the server is to give.
    pub range: NumericRange,
    /// Which part of the value is meant, in arrays and structures.
    pub element: Vec<Step>,
    /// The type that writes are encoded in; without it, the node's.
    pub raw_type: Option<Type>,
    /// How its changes come.
    pub watch: Watch,
    /// Whether it is asked for rather than watched.
    pub polled: bool,
}

/// One step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// An element of an array.
    Index(usize),
    /// A field of a structure.
    Field(String),
}

/// How the server watches a point.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// Values that the server keeps between two notifications.
    pub queue_size: u32,
    /// Changes that the server does not tell.
    pub deadband: Option<Deadband>,
    /// Milliseconds between two looks of the server at the value.
    pub sampling_ms: Option<u32>,
    /// Milliseconds between two notifications.
    pub publishing_ms: Option<u32>,
}

/// Changes that the server does not tell (Part 8, section 7.2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deadband {
    /// Up to this much.
    Absolute(f64),
    /// Up to this many percent of the node's EURange.
    Percent(f64),
}

/// The scalar types that a configuration may name, for writes.
pub(crate) const TYPES: &[(&str, Type)] = &[
    ("bool", Type::Boolean),
    ("int8", Type::SByte),
    ("uint8", Type::Byte),
    ("int16", Type::Int16),
    ("uint16", Type::UInt16),
    ("int32", Type::Int32),
    ("uint32", Type::UInt32),
    ("int64", Type::Int64),
    ("uint64", Type::UInt64),
    ("float32", Type::Float),
    ("float64", Type::Double),
    ("string", Type::String),
    ("dateTime", Type::DateTime),
    ("guid", Type::Guid),
    ("byteString", Type::ByteString),
    ("nodeId", Type::NodeId),
    ("qualifiedName", Type::QualifiedName),
    ("localizedText", Type::LocalizedText),
    ("statusCode", Type::StatusCode),
    // As the specification has them.
    ("Boolean", Type::Boolean),
    ("SByte", Type::SByte),
    ("Byte", Type::Byte),
    ("Float", Type::Float),
    ("Double", Type::Double),
];

/// The attributes that a configuration may name (Part 6, annex A).
pub(crate) const ATTRIBUTES: &[(&str, u32)] = &[
    ("Value", 13),
    ("NodeId", 1),
    ("NodeClass", 2),
    ("BrowseName", 3),
    ("DisplayName", 4),
    ("Description", 5),
    ("EventNotifier", 12),
    ("DataType", 14),
    ("ValueRank", 15),
    ("ArrayDimensions", 16),
    ("AccessLevel", 17),
    ("UserAccessLevel", 18),
    ("MinimumSamplingInterval", 19),
    ("Historizing", 20),
    ("Executable", 21),
];

/// Which events a node has (Part 6, annex A).
pub(crate) const EVENT_NOTIFIER: u32 = 12;

/// The value of a node (Part 6, annex A).
pub(crate) const VALUE: u32 = 13;

impl Field {
    /// A path into the value, such as `3` or `limits.high` or `axes.0.position`.
    pub(crate) fn steps(text: &str) -> Option<Vec<Step>> {
        text.split('.')
            .map(|step| match step.parse() {
                _ if step.is_empty() => None,
                Ok(index) => Some(Step::Index(index)),
                Err(_) => Some(Step::Field(step.to_owned())),
            })
            .collect()
    }
}

//! Values: the built-in types (OPC 10000-6, 5.1.2) as one scalar or many.

use std::str::FromStr;

use serde_json::{Value as Json, json};

use crate::node_id::{NodeId, guid_text, parse_guid, parse_hex};
use crate::status::StatusCode;
use crate::time;

/// A built-in type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Boolean = 1,
    SByte = 2,
    Byte = 3,
    Int16 = 4,
    UInt16 = 5,
    Int32 = 6,
    UInt32 = 7,
    Int64 = 8,
    UInt64 = 9,
    Float = 10,
    Double = 11,
    String = 12,
    DateTime = 13,
    Guid = 14,
    ByteString = 15,
    XmlElement = 16,
    NodeId = 17,
    StatusCode = 19,
    QualifiedName = 20,
    LocalizedText = 21,
    Extension = 22,
}

/// By the names of scenarios: those of OPC UA, first letter small, and a few usual ones.
const NAMES: &[(&str, Kind)] = &[
    ("boolean", Kind::Boolean),
    ("sByte", Kind::SByte),
    ("byte", Kind::Byte),
    ("int16", Kind::Int16),
    ("uint16", Kind::UInt16),
    ("int32", Kind::Int32),
    ("uint32", Kind::UInt32),
    ("int64", Kind::Int64),
    ("uint64", Kind::UInt64),
    ("float", Kind::Float),
    ("double", Kind::Double),
    ("string", Kind::String),
    ("dateTime", Kind::DateTime),
    ("guid", Kind::Guid),
    ("byteString", Kind::ByteString),
    ("xmlElement", Kind::XmlElement),
    ("nodeId", Kind::NodeId),
    ("statusCode", Kind::StatusCode),
    ("qualifiedName", Kind::QualifiedName),
    ("localizedText", Kind::LocalizedText),
    ("bool", Kind::Boolean),
    ("int8", Kind::SByte),
    ("uint8", Kind::Byte),
    ("float32", Kind::Float),
    ("float64", Kind::Double),
];

impl Kind {
    pub(crate) fn id(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_id(id: u8) -> Option<Self> {
        if id == Self::Extension.id() {
            return Some(Self::Extension);
        }
        NAMES
            .iter()
            .map(|(_, kind)| *kind)
            .find(|kind| kind.id() == id)
    }

    /// The data type of the same name is the node of the same number (OPC 10000-6, 5.1.2).
    pub(crate) fn data_type(self) -> NodeId {
        NodeId::standard(u32::from(self.id()))
    }

    pub(crate) fn is_number(self) -> bool {
        (Self::SByte.id()..=Self::Double.id()).contains(&self.id())
    }

    /// What a variable holds that was given no value.
    pub(crate) fn zero(self) -> Scalar {
        match self {
            Self::Boolean => Scalar::Boolean(false),
            Self::SByte => Scalar::SByte(0),
            Self::Byte => Scalar::Byte(0),
            Self::Int16 => Scalar::Int16(0),
            Self::UInt16 => Scalar::UInt16(0),
            Self::Int32 => Scalar::Int32(0),
            Self::UInt32 => Scalar::UInt32(0),
            Self::Int64 => Scalar::Int64(0),
            Self::UInt64 => Scalar::UInt64(0),
            Self::Float => Scalar::Float(0.0),
            Self::Double => Scalar::Double(0.0),
            Self::String => Scalar::String(String::new()),
            Self::DateTime => Scalar::DateTime(0),
            Self::Guid => Scalar::Guid([0; 16]),
            Self::ByteString => Scalar::ByteString(Vec::new()),
            Self::XmlElement => Scalar::XmlElement(String::new()),
            Self::NodeId => Scalar::NodeId(NodeId::standard(0)),
            Self::StatusCode => Scalar::StatusCode(StatusCode::GOOD),
            Self::QualifiedName => Scalar::QualifiedName(QualifiedName::default()),
            Self::LocalizedText => Scalar::LocalizedText(LocalizedText::default()),
            Self::Extension => Scalar::Extension(Extension {
                encoding: NodeId::standard(0),
                body: Vec::new(),
            }),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        found
            .map(|(_, kind)| *kind)
            .ok_or_else(|| format!("`{text}` is no type"))
    }
}

/// A name within a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct QualifiedName {
    pub(crate) namespace: u16,
    pub(crate) name: String,
}

/// A text and its language.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LocalizedText {
    pub(crate) locale: String,
    pub(crate) text: String,
}

/// A structure, as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extension {
    /// The node of the encoding, not of the data type.
    pub(crate) encoding: NodeId,
    pub(crate) body: Vec<u8>,
}

/// One value of a built-in type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Boolean(bool),
    SByte(i8),
    Byte(u8),
    Int16(i16),
    UInt16(u16),
    Int32(i32),
    UInt32(u32),
    Int64(i64),
    UInt64(u64),
    Float(f32),
    Double(f64),
    String(String),
    DateTime(i64),
    Guid([u8; 16]),
    ByteString(Vec<u8>),
    XmlElement(String),
    NodeId(NodeId),
    StatusCode(StatusCode),
    QualifiedName(QualifiedName),
    LocalizedText(LocalizedText),
    Extension(Extension),
}

impl Scalar {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Boolean(_) => Kind::Boolean,
            Self::SByte(_) => Kind::SByte,
            Self::Byte(_) => Kind::Byte,
            Self::Int16(_) => Kind::Int16,
            Self::UInt16(_) => Kind::UInt16,
            Self::Int32(_) => Kind::Int32,
            Self::UInt32(_) => Kind::UInt32,
            Self::Int64(_) => Kind::Int64,
            Self::UInt64(_) => Kind::UInt64,
            Self::Float(_) => Kind::Float,
            Self::Double(_) => Kind::Double,
            Self::String(_) => Kind::String,
            Self::DateTime(_) => Kind::DateTime,
            Self::Guid(_) => Kind::Guid,
            Self::ByteString(_) => Kind::ByteString,
            Self::XmlElement(_) => Kind::XmlElement,
            Self::NodeId(_) => Kind::NodeId,
            Self::StatusCode(_) => Kind::StatusCode,
            Self::QualifiedName(_) => Kind::QualifiedName,
            Self::LocalizedText(_) => Kind::LocalizedText,
            Self::Extension(_) => Kind::Extension,
        }
    }

    /// A signal's number in a type; whole numbers are rounded and held within their range.
    pub(crate) fn from_number(kind: Kind, number: f64) -> Scalar {
        let round = number.round();
        match kind {
            Kind::Boolean => Self::Boolean(number != 0.0),
            Kind::SByte => Self::SByte(round as i8),
            Kind::Byte => Self::Byte(round as u8),
            Kind::Int16 => Self::Int16(round as i16),
            Kind::UInt16 => Self::UInt16(round as u16),
            Kind::Int32 => Self::Int32(round as i32),
            Kind::UInt32 => Self::UInt32(round as u32),
            Kind::Int64 => Self::Int64(round as i64),
            Kind::UInt64 => Self::UInt64(round as u64),
            Kind::Float => Self::Float(number as f32),
            Kind::String => Self::String(number.to_string()),
            _ => Self::Double(number),
        }
    }

    pub(crate) fn as_number(&self) -> Option<f64> {
        Some(match self {
            Self::Boolean(on) => f64::from(u8::from(*on)),
            Self::SByte(n) => f64::from(*n),
            Self::Byte(n) => f64::from(*n),
            Self::Int16(n) => f64::from(*n),
            Self::UInt16(n) => f64::from(*n),
            Self::Int32(n) => f64::from(*n),
            Self::UInt32(n) => f64::from(*n),
            Self::Int64(n) => *n as f64,
            Self::UInt64(n) => *n as f64,
            Self::Float(n) => f64::from(*n),
            Self::Double(n) => *n,
            _ => return None,
        })
    }

    /// Reads a literal of a scenario or of the control interface.
    pub(crate) fn from_json(kind: Kind, json: &Json) -> Result<Scalar, String> {
        let wrong = || format!("{json} is no {kind:?}");
        let text = || json.as_str().ok_or_else(wrong);
        let whole = || {
            let number = json.as_i64().map(i128::from);
            number.or(json.as_u64().map(i128::from)).ok_or_else(wrong)
        };
        macro_rules! integer {
            ($variant:ident) => {
                Self::$variant(whole()?.try_into().map_err(|_| wrong())?)
            };
        }
        Ok(match kind {
            Kind::Boolean => Self::Boolean(json.as_bool().ok_or_else(wrong)?),
            Kind::SByte => integer!(SByte),
            Kind::Byte => integer!(Byte),
            Kind::Int16 => integer!(Int16),
            Kind::UInt16 => integer!(UInt16),
            Kind::Int32 => integer!(Int32),
            Kind::UInt32 => integer!(UInt32),
            Kind::Int64 => integer!(Int64),
            Kind::UInt64 => integer!(UInt64),
            Kind::Float => Self::Float(json.as_f64().ok_or_else(wrong)? as f32),
            Kind::Double => Self::Double(json.as_f64().ok_or_else(wrong)?),
            Kind::String => Self::String(text()?.to_owned()),
            Kind::XmlElement => Self::XmlElement(text()?.to_owned()),
            Kind::DateTime => Self::DateTime(time::parse(text()?).ok_or_else(|| {
                format!("{json} is no time: expected something like `2024-05-06T07:08:09Z`")
            })?),
            Kind::Guid => Self::Guid(parse_guid(text()?).ok_or_else(wrong)?),
            Kind::ByteString => Self::ByteString(
                parse_hex(text()?).ok_or_else(|| format!("{json} has no hexadecimal digits"))?,
            ),
            Kind::NodeId => Self::NodeId(text()?.parse().map_err(|e| format!("{e}"))?),
            Kind::StatusCode => Self::StatusCode(text()?.parse().map_err(|e| format!("{e}"))?),
            Kind::QualifiedName => Self::QualifiedName(qualified(text()?)),
            Kind::LocalizedText => Self::LocalizedText(LocalizedText {
                locale: "en".to_owned(),
                text: text()?.to_owned(),
            }),
            Kind::Extension => return Err("a structure needs its type".to_owned()),
        })
    }

    pub(crate) fn to_json(&self) -> Json {
        match self {
            Self::Boolean(on) => json!(on),
            Self::SByte(n) => json!(n),
            Self::Byte(n) => json!(n),
            Self::Int16(n) => json!(n),
            Self::UInt16(n) => json!(n),
            Self::Int32(n) => json!(n),
            Self::UInt32(n) => json!(n),
            Self::Int64(n) => json!(n),
            Self::UInt64(n) => json!(n),
            Self::Float(n) => json!(n),
            Self::Double(n) => json!(n),
            Self::String(text) | Self::XmlElement(text) => json!(text),
            Self::DateTime(ticks) => json!(time::format(*ticks)),
            Self::Guid(guid) => json!(guid_text(guid)),
            Self::ByteString(bytes) => json!(hex(bytes)),
            Self::NodeId(id) => json!(id.to_string()),
            Self::StatusCode(code) => json!(code),
            Self::QualifiedName(name) => json!(format!("{}:{}", name.namespace, name.name)),
            Self::LocalizedText(text) => json!(text.text),
            Self::Extension(e) => json!({"encoding": e.encoding.to_string(), "body": hex(&e.body)}),
        }
    }
}

/// `2:Press`, or `Press` in namespace 0.
fn qualified(text: &str) -> QualifiedName {
    let split = text.split_once(':');
    let (namespace, name) = split
        .and_then(|(index, name)| Some((index.parse().ok()?, name)))
        .unwrap_or((0, text));
    QualifiedName {
        namespace,
        name: name.to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a Variant holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Value {
    #[default]
    Empty,
    One(Scalar),
    Many(Array),
}

/// An array; of several dimensions, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub(crate) kind: Kind,
    pub(crate) items: Vec<Scalar>,
    /// Empty for one dimension.
    pub(crate) dimensions: Vec<u32>,
}

impl Value {
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Empty => None,
            Self::One(scalar) => Some(scalar.kind()),
            Self::Many(array) => Some(array.kind),
        }
    }

    /// The number of dimensions, as ValueRank has it: -1 for a scalar.
    pub(crate) fn rank(&self) -> i32 {
        match self {
            Self::Many(array) => array.dimensions.len().max(1) as i32,
            _ => -1,
        }
    }

    /// A literal: nested lists are an array of several dimensions.
    pub(crate) fn from_json(
        json: &Json,
        one: &impl Fn(&Json) -> Result<Scalar, String>,
        kind: Kind,
    ) -> Result<Self, String> {
        let Json::Array(list) = json else {
            return one(json).map(Self::One);
        };
        let mut dimensions = vec![list.len() as u32];
        let mut items: Vec<&Json> = list.iter().collect();
        while let Some(Json::Array(first)) = items.first() {
            let length = first.len();
            let mut inner = Vec::with_capacity(items.len() * length);
            for item in &items {
                match item {
                    Json::Array(row) if row.len() == length => inner.extend(row),
                    _ => return Err("the rows are not of one length".to_owned()),
                }
            }
            dimensions.push(length as u32);
            items = inner;
        }
        if dimensions.len() == 1 {
            dimensions.clear();
        }
        Ok(Self::Many(Array {
            kind,
            items: items.into_iter().map(one).collect::<Result<_, _>>()?,
            dimensions,
        }))
    }

    pub(crate) fn to_json(&self, one: &impl Fn(&Scalar) -> Json) -> Json {
        fn rows(items: &[Json], dimensions: &[u32]) -> Json {
            match dimensions {
                [] | [_] => json!(items),
                [_, inner @ ..] => {
                    let size: usize = inner.iter().map(|n| *n as usize).product();
                    items
                        .chunks(size.max(1))
                        .map(|row| rows(row, inner))
                        .collect()
                }
            }
        }
        match self {
            Self::Empty => Json::Null,
            Self::One(scalar) => one(scalar),
            Self::Many(array) => {
                let items: Vec<Json> = array.items.iter().map(one).collect();
                rows(&items, &array.dimensions)
            }
        }
    }
}

/// A value with all that belongs to it (OPC 10000-4, 7.11).
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct DataValue {
    pub(crate) value: Value,
    pub(crate) status: StatusCode,
    pub(crate) source_time: Option<i64>,
    pub(crate) server_time: Option<i64>,
}

impl DataValue {
    pub(crate) fn bad(status: StatusCode) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }
}

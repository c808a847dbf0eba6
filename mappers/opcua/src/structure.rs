//! Structures: what the server says of their fields, and their bodies as JSON.
//!
//! A type is asked for when its first value comes, and once on a connection
//! (Part 3, section 8.48: DataTypeDefinition). A value of a type that the server does
//! not describe is `{"typeId": …, "body": BASE64}`.

use std::{
    collections::HashMap,
    io::Read,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use opcua::types::{
    BinaryDecodable, BrowseDescription, BrowseDirection, ByteString, ContextOwned, DataValue,
    DateTime, DiagnosticInfo, Error, ExpandedNodeId, ExtensionObject, Guid, Identifier,
    LocalizedText, NodeId, QualifiedName, ReadValueId, StatusCode, StructureDefinition,
    StructureType, UAString, Variant, XmlElement,
};
use serde_json::{Map, Value, json};

use crate::{
    codec::{Decoder, matrix},
    room::Room,
    wire::{Wire, WireError},
};

/// Reference types (Part 6, annex A).
const HAS_ENCODING: u32 = 38;
const HAS_SUBTYPE: u32 = 45;
/// The attribute DataTypeDefinition.
const DEFINITION: u32 = 23;
/// Data types of namespace 0 that are not built in.
const STRUCTURE: u32 = 22;
const ENUMERATION: u32 = 29;
const NUMBER: u32 = 26;
/// How many types may lie in one another, or be derived from one another.
const DEPTH: usize = 32;
/// The mask that says which fields are there has 32 bits (Part 6, section 5.2.7).
const OPTIONAL_FIELDS: usize = 32;

/// What a data type is on the wire.
#[derive(Debug, Clone)]
enum Kind {
    /// One of the 25 built-in types (Part 6, section 5.1.2).
    BuiltIn(u32),
    /// Fields one after the other.
    Structure(Arc<StructureDefinition>),
    /// The server does not say.
    Unknown,
}

impl Kind {
    /// The types that lie in it.
    fn inner(&self) -> Vec<NodeId> {
        let Self::Structure(definition) = self else {
            return Vec::new();
        };
        let fields = definition.fields.iter().flatten();
        fields.map(|field| field.data_type.clone()).collect()
    }
}

#[derive(Debug, Default)]
struct Known {
    /// The data types of encodings.
    encodings: HashMap<NodeId, NodeId>,
    kinds: HashMap<NodeId, Kind>,
}

/// The data types that were met on one connection.
pub(crate) struct Types {
    known: Mutex<Known>,
    context: ContextOwned,
}

impl Types {
    /// With the limits of decoding.
    pub(crate) fn new(context: ContextOwned) -> Self {
        Self {
            known: Mutex::default(),
            context,
        }
    }

    /// Says what a structure is, as a server would.
    pub(crate) fn describe(&self, data_type: NodeId, encoding: NodeId, it: &StructureDefinition) {
        let mut known = self.known();
        known.kinds.insert(data_type.clone(), structure(it));
        known.encodings.insert(encoding, data_type);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The encodings in a value that nobody has asked for yet.
    pub(crate) fn missing(&self, value: &DataValue) -> Vec<NodeId> {
        let mut found = Vec::new();
        if let Some(value) = &value.value {
            self.collect(value, &mut found);
        }
        found
    }

    fn collect(&self, value: &Variant, found: &mut Vec<NodeId>) {
        match value {
            Variant::ExtensionObject(object) if !object.is_null() => {
                let id = object.binary_type_id().node_id;
                if !found.contains(&id) && !self.known().encodings.contains_key(&id) {
                    found.push(id);
                }
            }
            Variant::Variant(inner) => self.collect(inner, found),
            Variant::Array(array) => {
                for inner in &array.values {
                    // All elements of an array are of one kind.
                    if !matches!(inner, Variant::ExtensionObject(_) | Variant::Variant(_)) {
                        break;
                    }
                    self.collect(inner, found);
                }
            }
            _ => {}
        }
    }

    /// Asks for the types of encodings, and for those that lie in them. What
    /// the server does not answer is unknown from now on.
    pub(crate) async fn load(&self, wire: &Wire, encodings: &[NodeId]) -> Result<(), WireError> {
        let asked = encodings.iter();
        let asked: Vec<_> = asked
            .filter(|encoding| standard::data_type_of(encoding).is_none())
            .map(|node| references(node, HAS_ENCODING))
            .collect();
        let mut found = wire.browse(&asked).await?.into_iter();
        let mut wanted = Vec::new();
        for encoding in encodings {
            let data_type = standard::data_type_of(encoding).unwrap_or_else(|| {
                let of = found.next().and_then(|all| all.into_iter().next());
                of.map_or_else(|| encoding.clone(), |of| of.node_id.node_id)
            });
            self.known()
                .encodings
                .insert(encoding.clone(), data_type.clone());
            wanted.push(data_type);
        }
        self.load_types(wire, wanted).await
    }

    /// Asks for data types, and for those of their fields.
    pub(crate) async fn load_types(
        &self,
        wire: &Wire,
        mut wanted: Vec<NodeId>,
    ) -> Result<(), WireError> {
        for _ in 0..DEPTH {
            wanted.retain(|id| !self.known().kinds.contains_key(id));
            wanted.sort_by_key(ToString::to_string);
            wanted.dedup();
            if wanted.is_empty() {
                break;
            }
            let mut next = Vec::new();
            let (standard, asked): (Vec<_>, Vec<_>) =
                wanted.into_iter().partition(|id| known_kind(id).is_some());
            for id in standard {
                let kind = known_kind(&id).unwrap_or(Kind::Unknown);
                next.extend(kind.inner());
                self.known().kinds.insert(id, kind);
            }
            let nodes: Vec<_> = asked
                .iter()
                .map(|node| ReadValueId {
                    node_id: node.clone(),
                    attribute_id: DEFINITION,
                    ..ReadValueId::default()
                })
                .collect();
            let values = wire.read(&nodes).await?;
            for (id, value) in asked.into_iter().zip(values) {
                let kind = match definition(value) {
                    Some(kind @ Kind::Structure(_)) => kind,
                    // Names for numbers, or for the bits of an OptionSet: what it is on
                    // the wire, and how wide, says what it is derived from.
                    Some(names) => match self.inherited(wire, id.clone()).await? {
                        Kind::Unknown => names,
                        kind => kind,
                    },
                    None => self.inherited(wire, id.clone()).await?,
                };
                next.extend(kind.inner());
                self.known().kinds.insert(id, kind);
            }
            wanted = next;
        }
        Ok(())
    }

    /// A type without a definition is what it is derived from.
    async fn inherited(&self, wire: &Wire, mut id: NodeId) -> Result<Kind, WireError> {
        for _ in 0..DEPTH {
            if let Some(kind) = known_kind(&id) {
                return Ok(match kind {
                    // A structure whose fields nobody tells.
                    Kind::BuiltIn(STRUCTURE) => Kind::Unknown,
                    kind => kind,
                });
            }
            let mut found = wire.browse(&[references(&id, HAS_SUBTYPE)]).await?;
            let Some(parent) = found.pop().and_then(|all| all.into_iter().next()) else {
                break;
            };
            id = parent.node_id.node_id;
        }
        Ok(Kind::Unknown)
    }

    /// The built-in type that values of a data type are made of, if it is known
    /// and no structure.
    pub(crate) fn scalar_of(&self, data_type: &NodeId) -> Option<u32> {
        match built_in(data_type).or_else(|| self.known().kinds.get(data_type).cloned()) {
            Some(Kind::BuiltIn(number)) => Some(number),
            _ => None,
        }
    }

    /// A structure as JSON.
    pub(crate) fn json(
        &self,
        object: &ExtensionObject,
        decoder: &Decoder<'_>,
        room: &mut Room,
    ) -> Value {
        if object.is_null() {
            return Value::Null;
        }
        let id = object.binary_type_id().node_id;
        let body = self.body(object);
        let data_type = self.known().encodings.get(&id).cloned();
        let kind = data_type
            .as_ref()
            .and_then(|id| self.known().kinds.get(id).cloned());
        let is_known = matches!(kind, Some(Kind::Structure(_)));
        let unknown = || Error::decoding("the server does not describe the type");
        let decoded = data_type.ok_or_else(unknown).and_then(|data_type| {
            let mut stream = body.as_slice();
            let value = self.structure(&data_type, &mut stream, decoder, room)?;
            match stream.len() {
                0 => Ok(value),
                // Then the fields before are not what they are said to be either.
                left => Err(Error::decoding(format!(
                    "{left} bytes are left over behind the fields that the server describes"
                ))),
            }
        });
        decoded.unwrap_or_else(|fault| {
            let body = ByteString::from(&body).as_base64();
            match is_known {
                true => json!({"typeId": id.to_string(), "body": body, "fault": fault.to_string()}),
                false => json!({"typeId": id.to_string(), "body": body}),
            }
        })
    }

    /// The body as it was on the wire, also of a type that the library knows.
    fn body(&self, object: &ExtensionObject) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(inner) = &object.body {
            // Writing to memory does not fail; half a body would not decode.
            let _ = inner.encode_binary(&mut body, &self.context.context());
        }
        body
    }

    fn structure(
        &self,
        data_type: &NodeId,
        stream: &mut &[u8],
        decoder: &Decoder<'_>,
        room: &mut Room,
    ) -> Result<Value, Error> {
        let kind = built_in(data_type).or_else(|| self.known().kinds.get(data_type).cloned());
        room.deeper(|room| match kind {
            Some(Kind::BuiltIn(number)) => {
                Ok(decoder.json_within(&self.scalar(number, stream)?, room))
            }
            Some(Kind::Structure(definition)) => self.fields(&definition, stream, decoder, room),
            _ => Err(Error::decoding("the server does not describe the type")),
        })
    }

    /// Part 6, sections 5.2.6 to 5.2.8.
    fn fields(
        &self,
        definition: &StructureDefinition,
        stream: &mut &[u8],
        decoder: &Decoder<'_>,
        room: &mut Room,
    ) -> Result<Value, Error> {
        let fields = definition.fields.as_deref().unwrap_or_default();
        let mut object = Map::new();
        let mask = match definition.structure_type {
            StructureType::Structure => u32::MAX,
            StructureType::StructureWithOptionalFields => number(stream)?,
            StructureType::Union => {
                let Some(index) = number(stream)?.checked_sub(1) else {
                    return Ok(Value::Null);
                };
                let field = fields
                    .get(index as usize)
                    .ok_or_else(|| Error::decoding("the union has no such field"))?;
                let value = self.field(field, stream, decoder, room)?;
                object.insert(field.name.to_string(), value);
                return Ok(Value::Object(object));
            }
            _ => return Err(Error::decoding("fields of any subtype are not read")),
        };
        let mut bit = 0;
        for field in fields {
            if field.is_optional {
                let is_there = mask >> bit & 1 == 1;
                bit += 1;
                if !is_there {
                    continue;
                }
            }
            let value = self.field(field, stream, decoder, room)?;
            object.insert(field.name.to_string(), value);
        }
        Ok(Value::Object(object))
    }

    fn field(
        &self,
        field: &opcua::types::StructureField,
        stream: &mut &[u8],
        decoder: &Decoder<'_>,
        room: &mut Room,
    ) -> Result<Value, Error> {
        room.name(field.name.as_ref())?;
        if field.value_rank < 1 {
            return self.structure(&field.data_type, stream, decoder, room);
        }
        let mut sizes = Vec::new();
        if field.value_rank > 1 {
            for _ in 0..length(stream)? {
                sizes.push(length(stream)?);
            }
        }
        let count = match sizes.is_empty() {
            true => length(stream)?,
            false => sizes
                .iter()
                .try_fold(1_usize, |product, size| product.checked_mul(*size))
                .filter(|count| *count <= stream.len())
                .ok_or_else(|| Error::decoding("a matrix without end"))?,
        };
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.structure(&field.data_type, stream, decoder, room)?);
        }
        Ok(matrix(values, &sizes))
    }

    /// A value of a built-in type (Part 6, table 1).
    fn scalar(&self, number: u32, stream: &mut &[u8]) -> Result<Variant, Error> {
        let context = &self.context.context();
        let stream: &mut dyn Read = stream;
        Ok(match number {
            1 => Variant::Boolean(bool::decode(stream, context)?),
            2 => Variant::SByte(i8::decode(stream, context)?),
            3 => Variant::Byte(u8::decode(stream, context)?),
            4 => Variant::Int16(i16::decode(stream, context)?),
            5 => Variant::UInt16(u16::decode(stream, context)?),
            6 | ENUMERATION => Variant::Int32(i32::decode(stream, context)?),
            7 => Variant::UInt32(u32::decode(stream, context)?),
            8 => Variant::Int64(i64::decode(stream, context)?),
            9 => Variant::UInt64(u64::decode(stream, context)?),
            10 => Variant::Float(f32::decode(stream, context)?),
            11 => Variant::Double(f64::decode(stream, context)?),
            12 => Variant::String(UAString::decode(stream, context)?),
            13 => Variant::DateTime(Box::new(DateTime::decode(stream, context)?)),
            14 => Variant::Guid(Box::new(Guid::decode(stream, context)?)),
            15 => Variant::ByteString(ByteString::decode(stream, context)?),
            16 => Variant::XmlElement(XmlElement::decode(stream, context)?),
            17 => Variant::NodeId(Box::new(NodeId::decode(stream, context)?)),
            18 => Variant::ExpandedNodeId(Box::new(ExpandedNodeId::decode(stream, context)?)),
            19 => Variant::StatusCode(StatusCode::decode(stream, context)?),
            20 => Variant::QualifiedName(Box::new(QualifiedName::decode(stream, context)?)),
            21 => Variant::LocalizedText(Box::new(LocalizedText::decode(stream, context)?)),
            STRUCTURE => Variant::ExtensionObject(ExtensionObject::decode(stream, context)?),
            23 => Variant::DataValue(Box::new(DataValue::decode(stream, context)?)),
            24 | NUMBER..=28 => Variant::Variant(Box::new(Variant::decode(stream, context)?)),
            25 => Variant::DiagnosticInfo(Box::new(DiagnosticInfo::decode(stream, context)?)),
            _ => return Err(Error::decoding("no built-in type")),
        })
    }
}

/// Types of namespace 0 that need no asking, structures and all.
fn known_kind(id: &NodeId) -> Option<Kind> {
    built_in(id).or_else(|| standard::definition(id).map(|it| structure(&it)))
}

/// Types of namespace 0 that are no structures.
fn built_in(id: &NodeId) -> Option<Kind> {
    match (id.namespace, &id.identifier) {
        // Number, Integer, UInteger and Enumeration follow the 25.
        (0, Identifier::Numeric(number @ 1..=29)) => Some(Kind::BuiltIn(*number)),
        _ => None,
    }
}

/// What the attribute DataTypeDefinition says.
fn definition(value: DataValue) -> Option<Kind> {
    let Some(Variant::ExtensionObject(object)) = value.value else {
        return None;
    };
    if let Some(definition) = object.inner_as::<StructureDefinition>() {
        return Some(structure(definition));
    }
    object
        .inner_is::<opcua::types::EnumDefinition>()
        .then_some(Kind::BuiltIn(ENUMERATION))
}

/// A structure, unless its fields are more than a body could name.
fn structure(definition: &StructureDefinition) -> Kind {
    let fields = definition.fields.iter().flatten();
    match fields.filter(|field| field.is_optional).count() {
        ..=OPTIONAL_FIELDS => Kind::Structure(Arc::new(definition.clone())),
        _ => Kind::Unknown,
    }
}

/// The references of one type that point to a node.
fn references(node: &NodeId, kind: u32) -> BrowseDescription {
    BrowseDescription {
        node_id: node.clone(),
        browse_direction: BrowseDirection::Inverse,
        reference_type_id: NodeId::new(0, kind),
        include_subtypes: true,
        node_class_mask: 0,
        result_mask: 0,
    }
}

fn number(stream: &mut &[u8]) -> Result<u32, Error> {
    let mut bytes = [0; 4];
    stream
        .read_exact(&mut bytes)
        .map_err(|_| Error::decoding("the body ends early"))?;
    Ok(u32::from_le_bytes(bytes))
}

/// The length of an array; a null array is an empty one. Each element takes a
/// byte at least, so that a mad server cannot fill the memory.
fn length(stream: &mut &[u8]) -> Result<usize, Error> {
    match number(stream)? as i32 {
        ..=0 => Ok(0),
        count if count as usize <= stream.len() => Ok(count as usize),
        _ => Err(Error::decoding("an array without end")),
    }
}

mod standard;
#[cfg(test)]
pub(crate) mod tests;

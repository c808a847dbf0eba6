//! The binary encoding (OPC 10000-6, 5.2): numbers are little-endian, texts and
//! lists begin with their length as an Int32, -1 for none at all.

use std::sync::Arc;

use crate::node_id::{Identifier, NodeId};
use crate::status::StatusCode;
use crate::value::{
    Array, DataValue, Extension, Kind, LocalizedText, QualifiedName, Scalar, Value,
};

/// The bytes do not hold what they should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl From<Malformed> for StatusCode {
    fn from(_: Malformed) -> Self {
        Self::BAD_DECODING_ERROR
    }
}

pub(crate) type Result<T, E = Malformed> = std::result::Result<T, E>;

/// Bit 7 of a Variant's first byte: an array; bit 6: of several dimensions (5.2.2.16).
const IS_ARRAY: u8 = 0x80;
const HAS_DIMENSIONS: u8 = 0x40;

/// Takes values from the front of a message.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (front, rest) = self.bytes.split_at_checked(count).ok_or(Malformed)?;
        self.bytes = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn bool(&mut self) -> Result<bool> {
        Ok(self.u8()? != 0)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(crate) fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// No text at all counts as an empty one.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        match self.i32()? {
            length if length <= 0 => Ok(&[]),
            length => self.take(length as usize),
        }
    }

    pub(crate) fn string(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Malformed)
    }

    /// A list; a length that cannot be true, because each item has a byte, ends it early.
    pub(crate) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let length = usize::try_from(self.i32()?).unwrap_or(0);
        if length > self.bytes.len() {
            return Err(Malformed);
        }
        (0..length).map(|_| item(self)).collect()
    }

    /// 5.2.2.9
    pub(crate) fn node_id(&mut self) -> Result<NodeId> {
        let form = self.u8()?;
        self.node_id_of(form)
    }

    fn node_id_of(&mut self, form: u8) -> Result<NodeId> {
        let (namespace, identifier) = match form {
            0 => (0, Identifier::Number(u32::from(self.u8()?))),
            1 => {
                let namespace = u16::from(self.u8()?);
                (namespace, Identifier::Number(u32::from(self.u16()?)))
            }
            2 => (self.u16()?, Identifier::Number(self.u32()?)),
            3 => (self.u16()?, Identifier::Text(self.string()?.into())),
            4 => (self.u16()?, Identifier::Guid(self.array()?)),
            5 => (self.u16()?, Identifier::Opaque(Arc::from(self.bytes()?))),
            _ => return Err(Malformed),
        };
        Ok(NodeId {
            namespace,
            identifier,
        })
    }

    pub(crate) fn qualified_name(&mut self) -> Result<QualifiedName> {
        Ok(QualifiedName {
            namespace: self.u16()?,
            name: self.string()?,
        })
    }

    /// 5.2.2.14
    pub(crate) fn localized_text(&mut self) -> Result<LocalizedText> {
        let mask = self.u8()?;
        let mut text = LocalizedText::default();
        if mask & 1 != 0 {
            text.locale = self.string()?;
        }
        if mask & 2 != 0 {
            text.text = self.string()?;
        }
        Ok(text)
    }

    /// 5.2.2.15. XML bodies are taken as bytes.
    pub(crate) fn extension(&mut self) -> Result<Extension> {
        let encoding = self.node_id()?;
        let body = match self.u8()? {
            0 => Vec::new(),
            _ => self.bytes()?.to_vec(),
        };
        Ok(Extension { encoding, body })
    }

    pub(crate) fn scalar(&mut self, kind: Kind) -> Result<Scalar> {
        Ok(match kind {
            Kind::Boolean => Scalar::Boolean(self.bool()?),
            Kind::SByte => Scalar::SByte(self.u8()? as i8),
            Kind::Byte => Scalar::Byte(self.u8()?),
            Kind::Int16 => Scalar::Int16(self.u16()? as i16),
            Kind::UInt16 => Scalar::UInt16(self.u16()?),
            Kind::Int32 => Scalar::Int32(self.i32()?),
            Kind::UInt32 => Scalar::UInt32(self.u32()?),
            Kind::Int64 => Scalar::Int64(self.i64()?),
            Kind::UInt64 => Scalar::UInt64(self.u64()?),
            Kind::Float => Scalar::Float(f32::from_bits(self.u32()?)),
            Kind::Double => Scalar::Double(self.f64()?),
            Kind::String => Scalar::String(self.string()?),
            Kind::DateTime => Scalar::DateTime(self.i64()?),
            Kind::Guid => Scalar::Guid(self.array()?),
            Kind::ByteString => Scalar::ByteString(self.bytes()?.to_vec()),
            Kind::XmlElement => Scalar::XmlElement(self.string()?),
            Kind::NodeId => Scalar::NodeId(self.node_id()?),
            Kind::StatusCode => Scalar::StatusCode(StatusCode(self.u32()?)),
            Kind::QualifiedName => Scalar::QualifiedName(self.qualified_name()?),
            Kind::LocalizedText => Scalar::LocalizedText(self.localized_text()?),
            Kind::Extension => Scalar::Extension(self.extension()?),
        })
    }

    /// A Variant, 5.2.2.16. Those in Variants, and lists of DataValues, are not known here.
    pub(crate) fn value(&mut self) -> Result<Value> {
        let first = self.u8()?;
        if first & 0x3F == 0 {
            return Ok(Value::Empty);
        }
        let kind = Kind::from_id(first & 0x3F).ok_or(Malformed)?;
        if first & IS_ARRAY == 0 {
            return self.scalar(kind).map(Value::One);
        }
        let items = self.list(|r| r.scalar(kind))?;
        let dimensions = match first & HAS_DIMENSIONS {
            0 => Vec::new(),
            _ => self.list(Self::u32)?,
        };
        let mut sizes = dimensions.iter().map(|n| *n as usize);
        let all = sizes.try_fold(1_usize, usize::checked_mul);
        if !dimensions.is_empty() && all != Some(items.len()) {
            return Err(Malformed);
        }
        Ok(Value::Many(Array {
            kind,
            items,
            dimensions,
        }))
    }

    /// 5.2.2.17
    pub(crate) fn data_value(&mut self) -> Result<DataValue> {
        let mask = self.u8()?;
        let mut data = DataValue::default();
        if mask & 0x01 != 0 {
            data.value = self.value()?;
        }
        if mask & 0x02 != 0 {
            data.status = StatusCode(self.u32()?);
        }
        if mask & 0x04 != 0 {
            data.source_time = Some(self.i64()?);
        }
        if mask & 0x10 != 0 {
            self.u16()?;
        }
        if mask & 0x08 != 0 {
            data.server_time = Some(self.i64()?);
        }
        if mask & 0x20 != 0 {
            self.u16()?;
        }
        Ok(data)
    }
}

/// Which of a value's times a client wants (TimestampsToReturn, OPC 10000-4, 7.39).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) source: bool,
    pub(crate) server: bool,
}

impl Times {
    pub(crate) fn from_code(code: i32) -> Self {
        Self {
            source: matches!(code, 0 | 2),
            server: matches!(code, 1 | 2),
        }
    }
}

/// Puts values at the end of a message.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn u8(&mut self, number: u8) {
        self.bytes.push(number);
    }

    pub(crate) fn bool(&mut self, on: bool) {
        self.u8(u8::from(on));
    }

    pub(crate) fn u16(&mut self, number: u16) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn i32(&mut self, number: i32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, number: i64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn f64(&mut self, number: f64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn status(&mut self, code: StatusCode) {
        self.u32(code.0);
    }

    /// The length of a list, or of bytes that follow.
    pub(crate) fn length(&mut self, length: usize) {
        self.i32(i32::try_from(length).unwrap_or(i32::MAX));
    }

    pub(crate) fn data(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.data(text.as_bytes());
    }

    /// No text, no bytes or no list.
    pub(crate) fn nothing(&mut self) {
        self.i32(-1);
    }

    pub(crate) fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.length(items.len());
        for one in items {
            item(self, one);
        }
    }

    /// Fills in a length that was only known afterwards.
    fn measured(&mut self, content: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.i32(0);
        content(self);
        let length = self.bytes.len() - at - 4;
        self.bytes[at..at + 4].copy_from_slice(&(length as i32).to_le_bytes());
    }

    /// The shortest form that fits, 5.2.2.9.
    pub(crate) fn node_id(&mut self, id: &NodeId) {
        match &id.identifier {
            Identifier::Number(number) => match (u8::try_from(id.namespace), *number) {
                (Ok(0), 0..=0xFF) => {
                    self.u8(0);
                    self.u8(*number as u8);
                }
                (Ok(namespace), 0..=0xFFFF) => {
                    self.u8(1);
                    self.u8(namespace);
                    self.u16(*number as u16);
                }
                _ => {
                    self.u8(2);
                    self.u16(id.namespace);
                    self.u32(*number);
                }
            },
            Identifier::Text(text) => {
                self.u8(3);
                self.u16(id.namespace);
                self.string(text);
            }
            Identifier::Guid(guid) => {
                self.u8(4);
                self.u16(id.namespace);
                self.bytes.extend_from_slice(guid);
            }
            Identifier::Opaque(bytes) => {
                self.u8(5);
                self.u16(id.namespace);
                self.data(bytes);
            }
        }
    }

    /// An id of this server as an ExpandedNodeId: without URI and server index, the same bytes.
    pub(crate) fn expanded_node_id(&mut self, id: &NodeId) {
        self.node_id(id);
    }

    pub(crate) fn qualified_name(&mut self, name: &QualifiedName) {
        self.u16(name.namespace);
        self.string(&name.name);
    }

    pub(crate) fn localized_text(&mut self, text: &LocalizedText) {
        let locale = !text.locale.is_empty();
        self.u8(u8::from(locale) | 2);
        if locale {
            self.string(&text.locale);
        }
        self.string(&text.text);
    }

    /// A text without a language.
    pub(crate) fn plain_text(&mut self, text: &str) {
        self.u8(2);
        self.string(text);
    }

    /// An ExtensionObject with a body, 5.2.2.15.
    pub(crate) fn structure(&mut self, encoding: &NodeId, body: impl FnOnce(&mut Self)) {
        self.node_id(encoding);
        self.u8(1);
        self.measured(body);
    }

    /// An ExtensionObject without type and body.
    pub(crate) fn no_structure(&mut self) {
        self.bytes.extend_from_slice(&[0, 0, 0]);
    }

    fn extension(&mut self, extension: &Extension) {
        if extension.encoding.is_null() {
            return self.no_structure();
        }
        self.node_id(&extension.encoding);
        self.u8(1);
        self.data(&extension.body);
    }

    pub(crate) fn scalar(&mut self, scalar: &Scalar) {
        match scalar {
            Scalar::Boolean(on) => self.bool(*on),
            Scalar::SByte(n) => self.u8(*n as u8),
            Scalar::Byte(n) => self.u8(*n),
            Scalar::Int16(n) => self.u16(*n as u16),
            Scalar::UInt16(n) => self.u16(*n),
            Scalar::Int32(n) => self.i32(*n),
            Scalar::UInt32(n) => self.u32(*n),
            Scalar::Int64(n) | Scalar::DateTime(n) => self.i64(*n),
            Scalar::UInt64(n) => self.u64(*n),
            Scalar::Float(n) => self.u32(n.to_bits()),
            Scalar::Double(n) => self.f64(*n),
            Scalar::String(text) | Scalar::XmlElement(text) => self.string(text),
            Scalar::Guid(guid) => self.bytes.extend_from_slice(guid),
            Scalar::ByteString(bytes) => self.data(bytes),
            Scalar::NodeId(id) => self.node_id(id),
            Scalar::StatusCode(code) => self.status(*code),
            Scalar::QualifiedName(name) => self.qualified_name(name),
            Scalar::LocalizedText(text) => self.localized_text(text),
            Scalar::Extension(extension) => self.extension(extension),
        }
    }

    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::Empty => self.u8(0),
            Value::One(scalar) => {
                self.u8(scalar.kind().id());
                self.scalar(scalar);
            }
            Value::Many(array) => {
                let several = !array.dimensions.is_empty();
                let flags = IS_ARRAY | if several { HAS_DIMENSIONS } else { 0 };
                self.u8(array.kind.id() | flags);
                self.list(&array.items, |w, item| w.scalar(item));
                if several {
                    self.list(&array.dimensions, |w, n| w.u32(*n));
                }
            }
        }
    }

    pub(crate) fn data_value(&mut self, data: &DataValue, times: Times) {
        let source = data.source_time.filter(|_| times.source);
        let server = data.server_time.filter(|_| times.server);
        let mask = u8::from(data.value != Value::Empty)
            | u8::from(data.status != StatusCode::GOOD) << 1
            | u8::from(source.is_some()) << 2
            | u8::from(server.is_some()) << 3;
        self.u8(mask);
        if mask & 1 != 0 {
            self.value(&data.value);
        }
        if mask & 2 != 0 {
            self.status(data.status);
        }
        if let Some(ticks) = source {
            self.i64(ticks);
        }
        if let Some(ticks) = server {
            self.i64(ticks);
        }
    }
}

//! The address space: nodes, their attributes, and what they refer to
//! (OPC 10000-3). The values of variables come from the world when somebody looks.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use longshore_sim_world::{SignalId, World};

use crate::binary::Writer;
use crate::node_id::NodeId;
use crate::standard::{PRODUCT, id};
use crate::status::StatusCode;
use crate::time::Now;
use crate::types::Types;
use crate::value::{Array, DataValue, Kind, LocalizedText, QualifiedName, Scalar, Value};

/// Attributes by number (OPC 10000-6, A.1).
pub(crate) mod attribute {
    pub(crate) const NODE_ID: u32 = 1;
    pub(crate) const NODE_CLASS: u32 = 2;
    pub(crate) const BROWSE_NAME: u32 = 3;
    pub(crate) const DISPLAY_NAME: u32 = 4;
    pub(crate) const DESCRIPTION: u32 = 5;
    pub(crate) const WRITE_MASK: u32 = 6;
    pub(crate) const USER_WRITE_MASK: u32 = 7;
    pub(crate) const IS_ABSTRACT: u32 = 8;
    pub(crate) const SYMMETRIC: u32 = 9;
    pub(crate) const EVENT_NOTIFIER: u32 = 12;
    pub(crate) const VALUE: u32 = 13;
    pub(crate) const DATA_TYPE: u32 = 14;
    pub(crate) const VALUE_RANK: u32 = 15;
    pub(crate) const ARRAY_DIMENSIONS: u32 = 16;
    pub(crate) const ACCESS_LEVEL: u32 = 17;
    pub(crate) const USER_ACCESS_LEVEL: u32 = 18;
    pub(crate) const MINIMUM_SAMPLING_INTERVAL: u32 = 19;
    pub(crate) const HISTORIZING: u32 = 20;
    pub(crate) const EXECUTABLE: u32 = 21;
    pub(crate) const USER_EXECUTABLE: u32 = 22;
    pub(crate) const DATA_TYPE_DEFINITION: u32 = 23;
}

/// Bits of AccessLevel (OPC 10000-3, 8.57).
pub(crate) const CAN_READ: u8 = 1;
pub(crate) const CAN_WRITE: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Object = 1,
    Variable = 2,
    Method = 4,
    ObjectType = 8,
    VariableType = 16,
    ReferenceType = 32,
    DataType = 64,
}

/// Reference types are those of OPC UA itself: their numbers in namespace 0.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub(crate) kind: u32,
    pub(crate) forward: bool,
    pub(crate) target: NodeId,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) class: Class,
    pub(crate) browse_name: QualifiedName,
    pub(crate) references: Vec<Reference>,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    /// Only what every node has.
    Plain,
    Variable(Box<Variable>),
    Method(Box<Method>),
    /// A data type with its definition as an ExtensionObject, if it has one.
    DataType(Value),
}

#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) data_type: NodeId,
    pub(crate) kind: Kind,
    pub(crate) rank: i32,
    pub(crate) dimensions: Vec<u32>,
    pub(crate) access: u8,
    pub(crate) source: Source,
    /// In place of Good.
    pub(crate) status: StatusCode,
    pub(crate) range: Option<[f64; 2]>,
}

/// Where a value comes from.
#[derive(Debug)]
pub(crate) enum Source {
    Stored {
        value: Value,
        at: i64,
    },
    Signal {
        signal: SignalId,
        settable: bool,
        texts: Vec<String>,
        /// The number that was seen last, and since when.
        seen: (f64, i64),
    },
    /// Grows by 0.01 each time.
    Changing {
        every: Duration,
        offset: f64,
    },
    CurrentTime,
    ServerStatus,
}

#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) inputs: Vec<(String, Kind, Option<SignalId>)>,
    pub(crate) outputs: Vec<(Kind, Output)>,
    pub(crate) set: Vec<(SignalId, f64)>,
    pub(crate) status: StatusCode,
}

/// What a result of a method is.
#[derive(Debug)]
pub(crate) enum Output {
    Signal(SignalId),
    Value(Value),
    /// Of these arguments.
    Product(Vec<usize>),
    Sum(Vec<usize>),
}

#[derive(Debug)]
pub(crate) struct Space {
    slots: Vec<Option<Node>>,
    index: HashMap<NodeId, usize>,
    /// Nodes that were deleted, to be brought back.
    gone: HashMap<NodeId, Node>,
    /// Another number each time that a node comes or goes.
    pub(crate) generation: u64,
    pub(crate) namespaces: Vec<String>,
    pub(crate) types: Types,
    pub(crate) world: World,
    /// The ids of the scenario's nodes by the text that the scenario has.
    pub(crate) names: BTreeMap<String, NodeId>,
    started: Now,
    product: String,
}

impl Space {
    pub(crate) fn new(world: &World, namespaces: Vec<String>, types: Types, product: &str) -> Self {
        Self {
            slots: Vec::new(),
            index: HashMap::new(),
            gone: HashMap::new(),
            generation: 1,
            namespaces,
            types,
            world: world.clone(),
            names: BTreeMap::new(),
            started: Now::read(),
            product: product.to_owned(),
        }
    }

    /// Adds a node below another; false when there is one of this id.
    pub(crate) fn add(&mut self, node: Node, parent: Option<(&NodeId, u32)>) -> bool {
        if self.index.contains_key(&node.id) {
            return false;
        }
        let id = node.id.clone();
        self.index.insert(id.clone(), self.slots.len());
        self.slots.push(Some(node));
        self.generation += 1;
        if let Some((parent, kind)) = parent {
            self.refer(parent, kind, &id);
        }
        true
    }

    /// Puts a reference into both nodes.
    pub(crate) fn refer(&mut self, from: &NodeId, kind: u32, to: &NodeId) {
        for (node, forward, target) in [(from, true, to), (to, false, from)] {
            if let Some(node) = self.node_mut(node) {
                node.references.push(Reference {
                    kind,
                    forward,
                    target: target.clone(),
                });
            }
        }
    }

    pub(crate) fn slot(&self, id: &NodeId) -> Option<usize> {
        self.index.get(id).copied()
    }

    pub(crate) fn node(&self, id: &NodeId) -> Option<&Node> {
        self.slots[self.slot(id)?].as_ref()
    }

    pub(crate) fn node_mut(&mut self, id: &NodeId) -> Option<&mut Node> {
        let slot = self.slot(id)?;
        self.slots[slot].as_mut()
    }

    pub(crate) fn variable_mut(&mut self, id: &NodeId) -> Option<&mut Variable> {
        match &mut self.node_mut(id)?.body {
            Body::Variable(variable) => Some(variable),
            _ => None,
        }
    }

    pub(crate) fn method(&self, id: &NodeId) -> Option<&Method> {
        match &self.node(id)?.body {
            Body::Method(method) => Some(method),
            _ => None,
        }
    }

    /// Takes a node away; what refers to it then refers to nothing, which browsing leaves out.
    pub(crate) fn delete(&mut self, id: &NodeId) -> bool {
        let Some(slot) = self.index.remove(id) else {
            return false;
        };
        self.generation += 1;
        match self.slots[slot].take() {
            Some(node) => self.gone.insert(id.clone(), node).is_none(),
            None => false,
        }
    }

    /// Brings a node back that was deleted.
    pub(crate) fn restore(&mut self, id: &NodeId) -> bool {
        match self.gone.remove(id) {
            Some(node) => self.add(node, None),
            None => false,
        }
    }

    /// Reads an attribute of a node by its slot.
    pub(crate) fn read(&mut self, slot: usize, attribute: u32, range: &str, now: Now) -> DataValue {
        let Some(mut node) = self.slots[slot].take() else {
            return DataValue::bad(StatusCode::BAD_NODE_ID_UNKNOWN);
        };
        let data = match (&mut node.body, attribute) {
            (Body::Variable(variable), attribute::VALUE) => self.value(variable, range, now),
            _ => match self.attribute(&node, attribute) {
                Some(value) => DataValue {
                    value,
                    ..DataValue::default()
                },
                None => DataValue::bad(StatusCode::BAD_ATTRIBUTE_ID_INVALID),
            },
        };
        self.slots[slot] = Some(node);
        data
    }

    fn value(&self, variable: &mut Variable, range: &str, now: Now) -> DataValue {
        if variable.access & CAN_READ == 0 {
            return DataValue::bad(StatusCode::BAD_NOT_READABLE);
        }
        let (value, at) = self.current(variable, now);
        let value = match range {
            "" => value,
            range => match part(value, range) {
                Ok(value) => value,
                Err(status) => return DataValue::bad(status),
            },
        };
        let status = variable.status;
        DataValue {
            value: if status.is_bad() { Value::Empty } else { value },
            status,
            source_time: Some(at),
            server_time: Some(now.ticks),
        }
    }

    /// A variable's value and the time of it, whatever its access and status.
    fn current(&self, variable: &mut Variable, now: Now) -> (Value, i64) {
        let kind = variable.kind;
        match &mut variable.source {
            Source::Stored { value, at } => (value.clone(), *at),
            Source::Signal {
                signal,
                texts,
                seen,
                ..
            } => {
                let number = self.world.values().get(*signal);
                if number.to_bits() != seen.0.to_bits() {
                    *seen = (number, now.ticks);
                }
                let scalar = if texts.is_empty() {
                    Scalar::from_number(kind, number)
                } else {
                    let text = texts.get(number.round() as usize);
                    Scalar::String(text.cloned().unwrap_or_default())
                };
                (Value::One(scalar), seen.1)
            }
            Source::Changing { every, offset } => {
                let every = every.as_nanos().max(1);
                let steps = self.world.clock().elapsed().as_nanos() / every;
                let at = self.started.ticks + (steps * every / 100) as i64;
                let number = *offset + steps as f64 * 0.01;
                (Value::One(Scalar::from_number(kind, number)), at)
            }
            Source::CurrentTime => (Value::One(Scalar::DateTime(now.ticks)), now.ticks),
            Source::ServerStatus => (self.server_status(now), now.ticks),
        }
    }

    /// The present value without the formalities, for tests and the control interface.
    pub(crate) fn peek(&mut self, id: &NodeId, now: Now) -> Option<Value> {
        let slot = self.slot(id)?;
        let mut node = self.slots[slot].take()?;
        let value = match &mut node.body {
            Body::Variable(variable) => Some(self.current(variable, now).0),
            _ => None,
        };
        self.slots[slot] = Some(node);
        value
    }

    /// ServerStatusDataType (OPC 10000-5, 12.10) with BuildInfo (12.4).
    fn server_status(&self, now: Now) -> Value {
        let mut w = Writer::default();
        w.structure(&NodeId::standard(864), |w| {
            w.i64(self.started.ticks);
            w.i64(now.ticks);
            w.i32(0); // Running
            self.write_build_info(w);
            w.u32(0);
            w.plain_text("");
        });
        extension(&w)
    }

    /// BuildInfo by itself.
    pub(crate) fn build_info(&self) -> Value {
        let mut w = Writer::default();
        w.structure(&NodeId::standard(340), |w| self.write_build_info(w));
        extension(&w)
    }

    fn write_build_info(&self, w: &mut Writer) {
        w.string(PRODUCT);
        w.string("Longshore");
        w.string(&self.product);
        w.string(env!("CARGO_PKG_VERSION"));
        w.string("");
        w.i64(self.started.ticks);
    }

    fn attribute(&self, node: &Node, number: u32) -> Option<Value> {
        let one = |scalar| Some(Value::One(scalar));
        match number {
            attribute::NODE_ID => return one(Scalar::NodeId(node.id.clone())),
            attribute::NODE_CLASS => return one(Scalar::Int32(node.class as i32)),
            attribute::BROWSE_NAME => {
                return one(Scalar::QualifiedName(node.browse_name.clone()));
            }
            attribute::DISPLAY_NAME => return one(Scalar::LocalizedText(node.display_name())),
            attribute::DESCRIPTION => {
                return one(Scalar::LocalizedText(LocalizedText::default()));
            }
            attribute::WRITE_MASK | attribute::USER_WRITE_MASK => {
                return one(Scalar::UInt32(0));
            }
            _ => {}
        }
        match (&node.body, node.class, number) {
            (Body::Variable(variable), _, _) => variable.attribute(number),
            (_, Class::Object, attribute::EVENT_NOTIFIER) => one(Scalar::Byte(0)),
            (_, Class::Method, attribute::EXECUTABLE | attribute::USER_EXECUTABLE) => {
                one(Scalar::Boolean(true))
            }
            (Body::DataType(value), _, attribute::DATA_TYPE_DEFINITION) => {
                (*value != Value::Empty).then(|| value.clone())
            }
            (_, Class::ReferenceType, attribute::SYMMETRIC) => one(Scalar::Boolean(false)),
            (_, Class::Object | Class::Method | Class::Variable, _) => None,
            (_, _, attribute::IS_ABSTRACT) => one(Scalar::Boolean(false)),
            _ => None,
        }
    }

    /// Writes a value as a client does.
    pub(crate) fn write(&mut self, id: &NodeId, value: Value, now: Now) -> StatusCode {
        let world = self.world.clone();
        let Some(node) = self.node_mut(id) else {
            return StatusCode::BAD_NODE_ID_UNKNOWN;
        };
        let Body::Variable(variable) = &mut node.body else {
            return StatusCode::BAD_ATTRIBUTE_ID_INVALID;
        };
        if variable.access & CAN_WRITE == 0 {
            return StatusCode::BAD_NOT_WRITABLE;
        }
        let fits = value.kind() == Some(variable.kind) && value.rank() == variable.rank;
        if !fits {
            return StatusCode::BAD_TYPE_MISMATCH;
        }
        if let (Some([low, high]), Value::One(scalar)) = (variable.range, &value)
            && scalar.as_number().is_some_and(|n| n < low || n > high)
        {
            return StatusCode::BAD_OUT_OF_RANGE;
        }
        variable.put(value, &world, now)
    }

    /// Changes a value from the device's side, whatever its access; false when
    /// a setpoint does not take it.
    pub(crate) fn put(&mut self, id: &NodeId, value: Value, now: Now) -> bool {
        let world = self.world.clone();
        match self.variable_mut(id) {
            Some(variable) => variable.put(value, &world, now).is_good(),
            None => false,
        }
    }
}

/// A value of one structure from its ExtensionObject.
pub(crate) fn extension(writer: &Writer) -> Value {
    let mut reader = crate::binary::Reader::new(&writer.bytes);
    reader
        .extension()
        .map_or(Value::Empty, |e| Value::One(Scalar::Extension(e)))
}

impl Node {
    pub(crate) fn display_name(&self) -> LocalizedText {
        LocalizedText {
            locale: String::new(),
            text: self.browse_name.name.clone(),
        }
    }

    pub(crate) fn type_definition(&self) -> NodeId {
        let found = self
            .references
            .iter()
            .find(|r| r.forward && r.kind == id::HAS_TYPE_DEFINITION);
        found.map_or(NodeId::standard(0), |r| r.target.clone())
    }
}

impl Variable {
    fn attribute(&self, number: u32) -> Option<Value> {
        Some(Value::One(match number {
            attribute::DATA_TYPE => Scalar::NodeId(self.data_type.clone()),
            attribute::VALUE_RANK => Scalar::Int32(self.rank),
            attribute::ARRAY_DIMENSIONS => {
                let sizes = self.dimensions.iter().map(|n| Scalar::UInt32(*n));
                return Some(Value::Many(Array {
                    kind: Kind::UInt32,
                    items: sizes.collect(),
                    dimensions: Vec::new(),
                }));
            }
            attribute::ACCESS_LEVEL | attribute::USER_ACCESS_LEVEL => Scalar::Byte(self.access),
            attribute::MINIMUM_SAMPLING_INTERVAL => Scalar::Double(0.0),
            attribute::HISTORIZING => Scalar::Boolean(false),
            _ => return None,
        }))
    }

    /// A setpoint is set; any other signal is held at the value.
    fn put(&mut self, value: Value, world: &World, now: Now) -> StatusCode {
        match &mut self.source {
            Source::Stored { value: old, at } => {
                *old = value;
                *at = now.ticks;
                StatusCode::GOOD
            }
            Source::Signal {
                signal, settable, ..
            } => {
                let Some(number) = one_number(&value) else {
                    return StatusCode::BAD_TYPE_MISMATCH;
                };
                if !*settable {
                    world.force_id(*signal, Some(number));
                    return StatusCode::GOOD;
                }
                match world.set_id(*signal, number) {
                    Ok(()) => StatusCode::GOOD,
                    Err(_) => StatusCode::BAD_OUT_OF_RANGE,
                }
            }
            _ => StatusCode::BAD_NOT_WRITABLE,
        }
    }
}

fn one_number(value: &Value) -> Option<f64> {
    match value {
        Value::One(scalar) => scalar.as_number(),
        _ => None,
    }
}

/// An index range of one dimension: `3` or `1:4` (OPC 10000-4, 7.27), of an
/// array, a text or bytes.
fn part(value: Value, range: &str) -> Result<Value, StatusCode> {
    let number = |text: &str| text.parse::<usize>().ok();
    let (first, last) = match range.split_once(':') {
        Some((first, last)) => (number(first), number(last)),
        None => (number(range), number(range)),
    };
    let (Some(first), Some(last)) = (first, last) else {
        return Err(StatusCode::BAD_INDEX_RANGE_INVALID);
    };
    if last < first || (last == first && range.contains(':')) {
        return Err(StatusCode::BAD_INDEX_RANGE_INVALID);
    }
    fn cut<T: Clone>(list: &[T], first: usize, last: usize) -> Result<Vec<T>, StatusCode> {
        let end = list.len().min(last.saturating_add(1));
        match list.get(first..end) {
            Some(found) if !found.is_empty() => Ok(found.to_vec()),
            _ => Err(StatusCode::BAD_INDEX_RANGE_NO_DATA),
        }
    }
    match value {
        Value::Many(mut array) if array.dimensions.is_empty() => {
            array.items = cut(&array.items, first, last)?;
            Ok(Value::Many(array))
        }
        Value::One(Scalar::String(text)) => {
            let letters: Vec<char> = text.chars().collect();
            let found = cut(&letters, first, last)?;
            Ok(Value::One(Scalar::String(found.into_iter().collect())))
        }
        Value::One(Scalar::ByteString(bytes)) => {
            Ok(Value::One(Scalar::ByteString(cut(&bytes, first, last)?)))
        }
        _ => Err(StatusCode::BAD_INDEX_RANGE_INVALID),
    }
}

//! From a scenario to an address space: ids, types, values and signals.

mod definitions;
mod methods;

use std::time::Duration;

use longshore_sim_world::{Problem, SignalId, World};
use serde_json::Value as Json;

use crate::binary::Writer;
use crate::node_id::{Identifier, NodeId};
use crate::scenario::{FillSpec, ObjectSpec, Scenario, UnitSpec, VariableSpec};
use crate::space::{Body, CAN_READ, CAN_WRITE, Class, Node, Source, Space, Variable, extension};
use crate::standard::{self, id};
use crate::status::StatusCode;
use crate::time::Now;
use crate::types::{Type, Types};
use crate::value::{Kind, QualifiedName, Value};

/// Builds the address space, with the scenario's namespaces in the given order.
///
/// Node ids in a scenario count namespaces as the scenario lists them; on the
/// wire they have the index of the same URI in `order`.
pub(crate) fn build(
    scenario: &Scenario,
    world: &World,
    order: &[String],
) -> Result<Space, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut namespaces = vec![
        "http://opcfoundation.org/UA/".to_owned(),
        scenario.server.uri.clone(),
    ];
    namespaces.extend_from_slice(order);
    let mut map = vec![0, 1];
    for (at, uri) in scenario.namespaces.iter().enumerate() {
        match namespaces.iter().position(|other| other == uri) {
            Some(index) => map.push(index as u16),
            None => {
                problems.push(Problem::new(
                    format!("namespaces[{at}]"),
                    format!("`{uri}` is not in the new order"),
                ));
                map.push(0);
            }
        }
    }
    let first = map.get(2).copied().unwrap_or(1);
    let types = Types::new(&scenario.types, first, &mut problems);
    let mut plant = Plant {
        space: Space::new(world, namespaces, types, &scenario.server.name),
        map,
        problems,
        now: Now::read(),
    };
    standard::fill(&mut plant.space, scenario);
    plant.add_types();
    let top = Place {
        parent: NodeId::standard(id::OBJECTS),
        namespace: if scenario.namespaces.is_empty() { 1 } else { 2 },
        name: String::new(),
        reference: id::ORGANIZES,
    };
    for (at, object) in scenario.objects.iter().enumerate() {
        plant.object(object, &top, &format!("objects[{at}]"));
    }
    if plant.problems.is_empty() {
        Ok(plant.space)
    } else {
        Err(plant.problems)
    }
}

struct Plant {
    space: Space,
    /// From the scenario's index of a namespace to the one on the wire.
    map: Vec<u16>,
    problems: Vec<Problem>,
    now: Now,
}

/// Where nodes are added.
struct Place {
    parent: NodeId,
    /// As the scenario counts.
    namespace: u16,
    /// The names from the top, with dots between.
    name: String,
    reference: u32,
}

/// What objects, variables and methods have in common.
struct Common<'a> {
    name: &'a str,
    id: Option<&'a str>,
    namespace: Option<u16>,
}

impl Plant {
    fn wrong(&mut self, path: &str, key: &str, text: impl Into<String>) {
        self.problems
            .push(Problem::new(format!("{path}.{key}"), text));
    }

    /// Adds a node with an id of its own; gives the place below it.
    fn node(
        &mut self,
        place: &Place,
        common: &Common<'_>,
        (class, body): (Class, Body),
        path: &str,
    ) -> Option<Place> {
        let namespace = common.namespace.unwrap_or(place.namespace);
        let name = match place.name.as_str() {
            "" => common.name.to_owned(),
            above => format!("{above}.{}", common.name),
        };
        let written = match common.id {
            None => Ok(NodeId::text(namespace, &name)),
            Some(text) if text.starts_with("ns=") => text.parse::<NodeId>(),
            Some(text) => text.parse::<Identifier>().map(|identifier| NodeId {
                namespace,
                identifier,
            }),
        };
        let mut id = match written {
            Ok(id) => id,
            Err(error) => {
                self.wrong(path, "id", error.to_string());
                return None;
            }
        };
        let text = id.to_string();
        let indexes = (self.index(id.namespace), self.index(namespace));
        let (Some(index), Some(of_name)) = indexes else {
            let text = format!("there are {} namespaces", self.map.len());
            self.wrong(path, "namespace", text);
            return None;
        };
        id.namespace = index;
        let node = Node {
            id: id.clone(),
            class,
            browse_name: QualifiedName {
                namespace: of_name,
                name: common.name.to_owned(),
            },
            references: Vec::new(),
            body,
        };
        if !self.space.add(node, Some((&place.parent, place.reference))) {
            self.wrong(path, "id", format!("another node is `{text}` too"));
            return None;
        }
        self.space.names.insert(text, id.clone());
        Some(Place {
            parent: id,
            namespace,
            name,
            reference: id::HAS_COMPONENT,
        })
    }

    fn index(&self, scenario: u16) -> Option<u16> {
        self.map.get(usize::from(scenario)).copied()
    }

    fn typed(&mut self, node: &NodeId, definition: u32) {
        self.space
            .refer(node, id::HAS_TYPE_DEFINITION, &NodeId::standard(definition));
    }

    fn object(&mut self, spec: &ObjectSpec, place: &Place, path: &str) {
        let common = Common {
            name: &spec.name,
            id: spec.id.as_deref(),
            namespace: spec.namespace,
        };
        let Some(mut below) = self.node(place, &common, (Class::Object, Body::Plain), path) else {
            return;
        };
        let definition = if spec.folder {
            below.reference = id::ORGANIZES;
            id::FOLDER_TYPE
        } else {
            id::BASE_OBJECT_TYPE
        };
        self.typed(&below.parent, definition);
        for (at, object) in spec.objects.iter().enumerate() {
            self.object(object, &below, &format!("{path}.objects[{at}]"));
        }
        for (at, variable) in spec.variables.iter().enumerate() {
            self.variable(variable, &below, &format!("{path}.variables[{at}]"));
        }
        for (at, method) in spec.methods.iter().enumerate() {
            self.method(method, &below, &format!("{path}.methods[{at}]"));
        }
        for (at, fill) in spec.fill.iter().enumerate() {
            self.fill(fill, &below, &format!("{path}.fill[{at}]"));
        }
    }

    fn variable(&mut self, spec: &VariableSpec, place: &Place, path: &str) {
        let Some(of) = self.type_of(spec, path) else {
            return;
        };
        let Some(source) = self.source(spec, of, path) else {
            return;
        };
        let kind = Types::kind(of);
        let (rank, dimensions) = match &source {
            Source::Stored { value, .. } => (value.rank(), sizes(value)),
            _ => (-1, Vec::new()),
        };
        let settable = matches!(source, Source::Signal { settable: true, .. });
        let writable = spec.writable.unwrap_or(settable);
        let access = if spec.readable.unwrap_or(true) {
            CAN_READ
        } else {
            0
        };
        let variable = Variable {
            data_type: self.space.types.data_type(of),
            kind,
            rank,
            dimensions,
            access: access | if writable { CAN_WRITE } else { 0 },
            source,
            status: spec.status.unwrap_or_default(),
            range: spec.range,
        };
        let common = Common {
            name: &spec.name,
            id: spec.id.as_deref(),
            namespace: spec.namespace,
        };
        let place = &Place {
            parent: place.parent.clone(),
            namespace: place.namespace,
            name: place.name.clone(),
            reference: match spec.property {
                true => id::HAS_PROPERTY,
                false => place.reference,
            },
        };
        let body = Body::Variable(Box::new(variable));
        let Some(below) = self.node(place, &common, (Class::Variable, body), path) else {
            return;
        };
        let analog = spec.unit.is_some() || spec.range.is_some();
        let definition = match (spec.property, analog) {
            (true, _) => id::PROPERTY_TYPE,
            (false, true) => id::ANALOG_ITEM_TYPE,
            (false, false) => id::BASE_DATA_VARIABLE_TYPE,
        };
        self.typed(&below.parent, definition);
        if let Some(unit) = &spec.unit {
            self.unit(unit, &below, path);
        }
        if let Some(range) = spec.range {
            self.range(range, &below);
        }
    }

    fn type_of(&mut self, spec: &VariableSpec, path: &str) -> Option<Type> {
        if let Some(name) = &spec.of {
            return match self.space.types.find(name) {
                Ok(of) => Some(of),
                Err(text) => {
                    self.wrong(path, "type", text);
                    None
                }
            };
        }
        let first = match &spec.value {
            Some(Json::Array(list)) => list.first(),
            value => value.as_ref(),
        };
        Some(Type::Plain(match first {
            Some(Json::Bool(_)) => Kind::Boolean,
            Some(Json::String(_)) => Kind::String,
            None if !spec.texts.is_empty() => Kind::String,
            Some(Json::Number(_)) | None => Kind::Double,
            Some(_) => {
                self.wrong(path, "type", "what it is of must be said");
                return None;
            }
        }))
    }

    fn source(&mut self, spec: &VariableSpec, of: Type, path: &str) -> Option<Source> {
        let kind = Types::kind(of);
        let Some(signal) = &spec.signal else {
            let types = &self.space.types;
            let value = match &spec.value {
                None => Ok(Value::One(kind.zero())),
                Some(json) => Value::from_json(json, &|one| types.scalar(of, one), kind),
            };
            return match value {
                Ok(value) => Some(Source::Stored {
                    value,
                    at: self.now.ticks,
                }),
                Err(text) => {
                    self.wrong(path, "value", text);
                    None
                }
            };
        };
        if spec.value.is_some() {
            self.wrong(path, "value", "there is a signal already");
        }
        let shows_texts = !spec.texts.is_empty();
        if shows_texts != (kind == Kind::String) {
            self.wrong(
                path,
                "texts",
                "they need the type `string`, and it needs them",
            );
        } else if !kind.is_number() && kind != Kind::Boolean && !shows_texts {
            self.wrong(path, "type", "a signal is a number");
        }
        let signal = self.signal(signal, &format!("{path}.signal"))?;
        let settable = self.space.world.is_settable(signal) && spec.writable != Some(false);
        if spec.writable == Some(true) && (!settable || shows_texts) {
            self.wrong(
                path,
                "writable",
                "only a setpoint that is shown as a number is",
            );
        }
        Some(Source::Signal {
            signal,
            settable: settable && !shows_texts,
            texts: spec.texts.clone(),
            seen: (f64::NAN, self.now.ticks),
        })
    }

    fn signal(&mut self, name: &str, path: &str) -> Option<SignalId> {
        let found = self.space.world.id(name);
        if found.is_none() {
            let text = format!("no signal is named `{name}`");
            self.problems.push(Problem::new(path, text));
        }
        found
    }

    /// A property of OPC UA's own namespace below a variable or method.
    fn property(&mut self, place: &Place, name: &str, of: u32, value: Value) {
        let child = NodeId {
            namespace: place.parent.namespace,
            identifier: Identifier::Text(format!("{}.{name}", place.parent.identifier).into()),
        };
        let node = Node {
            id: child.clone(),
            class: Class::Variable,
            browse_name: QualifiedName {
                namespace: 0,
                name: name.to_owned(),
            },
            references: Vec::new(),
            body: Body::Variable(Box::new(Variable {
                data_type: NodeId::standard(of),
                kind: Kind::Extension,
                rank: value.rank(),
                dimensions: sizes(&value),
                access: CAN_READ,
                source: Source::Stored {
                    value,
                    at: self.now.ticks,
                },
                status: StatusCode::GOOD,
                range: None,
            })),
        };
        self.space
            .add(node, Some((&place.parent, id::HAS_PROPERTY)));
        self.typed(&child, id::PROPERTY_TYPE);
    }

    /// EUInformation: the UnitId is the UNECE code's letters as one number
    /// (OPC 10000-8, 5.6.3).
    fn unit(&mut self, unit: &UnitSpec, place: &Place, path: &str) {
        if unit.code.is_empty() || unit.code.len() > 3 || !unit.code.is_ascii() {
            return self.wrong(path, "unit.code", "a UNECE code has one to three letters");
        }
        let number = unit
            .code
            .bytes()
            .fold(0, |n, letter| n << 8 | i32::from(letter));
        let mut w = Writer::default();
        w.structure(&NodeId::standard(889), |w| {
            w.string("http://www.opcfoundation.org/UA/units/un/cefact");
            w.i32(number);
            w.plain_text(&unit.symbol);
            w.plain_text(&unit.name);
        });
        self.property(place, "EngineeringUnits", id::EU_INFORMATION, extension(&w));
    }

    fn range(&mut self, [low, high]: [f64; 2], place: &Place) {
        let mut w = Writer::default();
        w.structure(&NodeId::standard(886), |w| {
            w.f64(low);
            w.f64(high);
        });
        self.property(place, "EURange", id::RANGE, extension(&w));
    }

    fn fill(&mut self, spec: &FillSpec, place: &Place, path: &str) {
        let kind = match spec.of.as_deref().unwrap_or("double").parse::<Kind>() {
            Ok(kind) if kind.is_number() => kind,
            _ => return self.wrong(path, "type", "must be a number's"),
        };
        if spec.every_ms == 0 {
            return self.wrong(path, "everyMs", "0 is no time");
        }
        for number in 0..spec.count {
            let variable = Variable {
                data_type: kind.data_type(),
                kind,
                rank: -1,
                dimensions: Vec::new(),
                access: CAN_READ,
                source: Source::Changing {
                    every: Duration::from_millis(spec.every_ms),
                    offset: f64::from(number),
                },
                status: StatusCode::GOOD,
                range: None,
            };
            let name = format!("{}{number}", spec.name);
            let common = Common {
                name: &name,
                id: None,
                namespace: None,
            };
            let body = Body::Variable(Box::new(variable));
            match self.node(place, &common, (Class::Variable, body), path) {
                Some(below) => self.typed(&below.parent, id::BASE_DATA_VARIABLE_TYPE),
                // The others would be wrong in the same way.
                None => return,
            }
        }
    }
}

fn sizes(value: &Value) -> Vec<u32> {
    match value {
        Value::Many(array) if array.dimensions.is_empty() => vec![array.items.len() as u32],
        Value::Many(array) => array.dimensions.clone(),
        _ => Vec::new(),
    }
}

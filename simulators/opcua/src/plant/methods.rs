//! Methods and their arguments.

use longshore_sim_world::SignalId;
use serde_json::Value as Json;

use super::{Common, Place, Plant};
use crate::binary::Writer;
use crate::node_id::NodeId;
use crate::scenario::{MethodSpec, OutputSpec};
use crate::space::{Body, Class, Method, Output, extension};
use crate::standard::id;
use crate::value::{Array, Kind, Scalar, Value};

impl Plant {
    pub(super) fn method(&mut self, spec: &MethodSpec, place: &Place, path: &str) {
        let mut inputs = Vec::new();
        for (at, input) in spec.inputs.iter().enumerate() {
            let path = format!("{path}.inputs[{at}]");
            let signal = match &input.signal {
                Some(name) => self.signal(name, &format!("{path}.signal")),
                None => None,
            };
            match input.of.parse() {
                Ok(kind) => inputs.push((input.name.clone(), kind, signal)),
                Err(text) => self.wrong(&path, "type", text),
            }
        }
        let mut outputs = Vec::new();
        for (at, output) in spec.outputs.iter().enumerate() {
            let path = format!("{path}.outputs[{at}]");
            outputs.extend(self.output(output, &inputs, &path));
        }
        let mut set = Vec::new();
        for (name, number) in &spec.set {
            if let Some(signal) = self.signal(name, &format!("{path}.set.{name}")) {
                set.push((signal, *number));
            }
        }
        let names = |list: &[(String, Kind)]| arguments(list);
        let ins: Vec<_> = inputs.iter().map(|(n, k, _)| (n.clone(), *k)).collect();
        let outs: Vec<_> = spec
            .outputs
            .iter()
            .zip(&outputs)
            .map(|(s, (k, _))| (s.name.clone(), *k))
            .collect();
        let body = Body::Method(Box::new(Method {
            inputs,
            outputs,
            set,
            status: spec.status.unwrap_or_default(),
        }));
        let common = Common {
            name: &spec.name,
            id: spec.id.as_deref(),
            namespace: spec.namespace,
        };
        let place = &Place {
            parent: place.parent.clone(),
            namespace: place.namespace,
            name: place.name.clone(),
            reference: id::HAS_COMPONENT,
        };
        let Some(below) = self.node(place, &common, (Class::Method, body), path) else {
            return;
        };
        for (name, list) in [("InputArguments", ins), ("OutputArguments", outs)] {
            if !list.is_empty() {
                self.property(&below, name, id::ARGUMENT, names(&list));
            }
        }
    }

    fn output(
        &mut self,
        spec: &OutputSpec,
        inputs: &[(String, Kind, Option<SignalId>)],
        path: &str,
    ) -> Option<(Kind, Output)> {
        let kind: Kind = match spec.of.parse() {
            Ok(kind) => kind,
            Err(text) => {
                self.wrong(path, "type", text);
                return None;
            }
        };
        let mut places = |names: &[String], key: &str| -> Vec<usize> {
            let mut found = Vec::new();
            for name in names {
                match inputs.iter().position(|(input, ..)| input == name) {
                    Some(at) => found.push(at),
                    None => self.wrong(path, key, format!("no input is named `{name}`")),
                }
            }
            found
        };
        let output = if !spec.product.is_empty() {
            Output::Product(places(&spec.product, "product"))
        } else if !spec.sum.is_empty() {
            Output::Sum(places(&spec.sum, "sum"))
        } else if let Some(name) = &spec.signal {
            Output::Signal(self.signal(name, &format!("{path}.signal"))?)
        } else {
            let json = spec.value.clone().unwrap_or(Json::Null);
            match Value::from_json(&json, &|one| Scalar::from_json(kind, one), kind) {
                Ok(value) => Output::Value(value),
                Err(text) => {
                    self.wrong(path, "value", text);
                    return None;
                }
            }
        };
        Some((kind, output))
    }
}

/// A list of Argument (OPC 10000-3, 8.6).
fn arguments(list: &[(String, Kind)]) -> Value {
    let items = list.iter().map(|(name, kind)| {
        let mut w = Writer::default();
        w.structure(&NodeId::standard(298), |w| {
            w.string(name);
            w.node_id(&kind.data_type());
            w.i32(-1);
            w.nothing();
            w.plain_text("");
        });
        match extension(&w) {
            Value::One(scalar) => scalar,
            _ => Kind::Extension.zero(),
        }
    });
    Value::Many(Array {
        kind: Kind::Extension,
        items: items.collect(),
        dimensions: Vec::new(),
    })
}

//! Read, Write and Call (OPC 10000-4, 5.11 and 5.12).

use longshore_sim_world::World;
use serde_json::Value as Json;

use crate::binary::{Reader, Times, Writer};
use crate::core::{Core, From};
use crate::node_id::NodeId;
use crate::record::{Called, Write};
use crate::services::{counted, results};
use crate::space::{Method, Output, attribute};
use crate::status::StatusCode;
use crate::time::Now;
use crate::value::{DataValue, Kind, Scalar, Value};

/// What a ReadValueId names (7.29).
pub(crate) struct Wanted {
    pub(crate) node: NodeId,
    pub(crate) attribute: u32,
    pub(crate) range: String,
}

pub(crate) fn wanted(r: &mut Reader<'_>) -> crate::binary::Result<Wanted> {
    let wanted = Wanted {
        node: r.node_id()?,
        attribute: r.u32()?,
        range: r.string()?,
    };
    r.qualified_name()?; // there is only the default encoding
    Ok(wanted)
}

pub(crate) fn read(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
    now: Now,
) -> Result<(), StatusCode> {
    r.f64()?; // every value is of now
    let times = Times::from_code(r.i32()?);
    let nodes = r.list(wanted)?;
    let limit = core.scenario.server.limits.max_nodes_per_read;
    counted(core, from, nodes.len(), limit)?;
    w.list(&nodes, |w, wanted| {
        let data = match core.space.slot(&wanted.node) {
            Some(slot) => core.space.read(slot, wanted.attribute, &wanted.range, now),
            None => DataValue::bad(StatusCode::BAD_NODE_ID_UNKNOWN),
        };
        w.data_value(&data, times);
    });
    w.length(0);
    Ok(())
}

pub(crate) fn write(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
    now: Now,
) -> Result<(), StatusCode> {
    let writes = r.list(|r| {
        let node = r.node_id()?;
        let attribute = r.u32()?;
        let range = r.string()?;
        Ok((node, attribute, range, r.data_value()?))
    })?;
    let limit = core.scenario.server.limits.max_nodes_per_write;
    counted(core, from, writes.len(), limit)?;
    let mut list = Vec::with_capacity(writes.len());
    for (node, attribute, range, data) in writes {
        list.push(if core.space.node(&node).is_none() {
            StatusCode::BAD_NODE_ID_UNKNOWN
        } else if attribute != attribute::VALUE {
            StatusCode::BAD_NOT_WRITABLE
        } else if !range.is_empty() {
            StatusCode::BAD_WRITE_NOT_SUPPORTED
        } else {
            write_one(core, &node, data.value, now)
        });
    }
    results(w, &list);
    Ok(())
}

fn write_one(core: &mut Core, node: &NodeId, value: Value, now: Now) -> StatusCode {
    let json = value.to_json(&|scalar| core.space.types.to_json(scalar));
    let status = core.space.write(node, value, now);
    if status.is_good() {
        let write = Write {
            node: core.name_of(node),
            value: json,
            at_ms: core.at(now),
        };
        core.record.wrote(write);
    }
    status
}

impl Core {
    /// A node as the scenario names it.
    pub(crate) fn name_of(&self, id: &NodeId) -> String {
        let found = self.space.names.iter().find(|(_, known)| *known == id);
        found.map_or_else(|| id.to_string(), |(name, _)| name.clone())
    }
}

pub(crate) fn call(
    core: &mut Core,
    from: &From,
    r: &mut Reader<'_>,
    w: &mut Writer,
    now: Now,
) -> Result<(), StatusCode> {
    let calls = r.list(|r| Ok((r.node_id()?, r.node_id()?, r.list(Reader::value)?)))?;
    let limit = core.scenario.server.limits.max_nodes_per_method_call;
    counted(core, from, calls.len(), limit)?;
    w.length(calls.len());
    for (object, method, arguments) in calls {
        let outcome = call_one(core, &object, &method, &arguments, now);
        let (status, wrong, outputs) = match outcome {
            Ok(outputs) => (StatusCode::GOOD, Vec::new(), outputs),
            Err((status, wrong)) => (status, wrong, Vec::new()),
        };
        w.status(status);
        w.list(&wrong, |w, status| w.status(*status));
        w.length(0);
        w.list(&outputs, Writer::value);
    }
    w.length(0);
    Ok(())
}

/// The results, or the status and what is wrong with each argument.
fn call_one(
    core: &mut Core,
    object: &NodeId,
    id: &NodeId,
    arguments: &[Value],
    now: Now,
) -> Result<Vec<Value>, (StatusCode, Vec<StatusCode>)> {
    let refuse = |status| (status, Vec::new());
    let Some(place) = core.space.node(object) else {
        return Err(refuse(StatusCode::BAD_NODE_ID_UNKNOWN));
    };
    let belongs = place
        .references
        .iter()
        .any(|r| r.forward && r.target == *id);
    let Some(method) = core.space.method(id).filter(|_| belongs) else {
        return Err(refuse(StatusCode::BAD_METHOD_INVALID));
    };
    check(method, arguments)?;
    let outputs = carry_out(method, &core.space.world, arguments).map_err(refuse)?;
    let json = |value: &Value| value.to_json(&|scalar| core.space.types.to_json(scalar));
    let call = Called {
        method: core.name_of(id),
        arguments: arguments.iter().map(json).collect::<Vec<Json>>(),
        at_ms: core.at(now),
    };
    core.record.called(call);
    Ok(outputs)
}

fn check(method: &Method, arguments: &[Value]) -> Result<(), (StatusCode, Vec<StatusCode>)> {
    if arguments.len() < method.inputs.len() {
        return Err((StatusCode::BAD_ARGUMENTS_MISSING, Vec::new()));
    }
    if arguments.len() > method.inputs.len() {
        return Err((StatusCode::BAD_TOO_MANY_ARGUMENTS, Vec::new()));
    }
    let statuses: Vec<StatusCode> = method
        .inputs
        .iter()
        .zip(arguments)
        .map(|((_, kind, _), value)| match value {
            Value::One(scalar) if scalar.kind() == *kind => StatusCode::GOOD,
            _ => StatusCode::BAD_TYPE_MISMATCH,
        })
        .collect();
    match statuses.iter().all(|s| s.is_good()) {
        true => Ok(()),
        false => Err((StatusCode::BAD_INVALID_ARGUMENT, statuses)),
    }
}

/// Sets the signals, then reckons the results.
fn carry_out(
    method: &Method,
    world: &World,
    arguments: &[Value],
) -> Result<Vec<Value>, StatusCode> {
    if !method.status.is_good() {
        return Err(method.status);
    }
    let numbers: Vec<f64> = arguments
        .iter()
        .map(|value| match value {
            Value::One(scalar) => scalar.as_number().unwrap_or(0.0),
            _ => 0.0,
        })
        .collect();
    let by_inputs = method
        .inputs
        .iter()
        .zip(&numbers)
        .filter_map(|((_, _, signal), number)| signal.map(|s| (s, *number)));
    let settings: Vec<_> = by_inputs.chain(method.set.iter().copied()).collect();
    // All or nothing.
    for (signal, number) in &settings {
        if world.is_settable(*signal) && world.check(*signal, *number).is_err() {
            return Err(StatusCode::BAD_OUT_OF_RANGE);
        }
    }
    for (signal, number) in settings {
        if world.set_id(signal, number).is_err() {
            // Let go at once, a signal with a memory goes on from there.
            world.force_id(signal, Some(number));
            world.force_id(signal, None);
        }
    }
    let pick = |places: &[usize]| -> Vec<f64> { places.iter().map(|at| numbers[*at]).collect() };
    let one = |kind: Kind, number: f64| Value::One(Scalar::from_number(kind, number));
    Ok(method
        .outputs
        .iter()
        .map(|(kind, output)| match output {
            Output::Value(value) => value.clone(),
            Output::Signal(signal) => one(*kind, world.values().get(*signal)),
            Output::Product(places) => one(*kind, pick(places).iter().product()),
            Output::Sum(places) => one(*kind, pick(places).iter().sum()),
        })
        .collect())
}

//! Methods of the server.

use longshore_sdk::{MethodConfig, RequestError, config::Section};
use opcua::types::{
    Argument, BrowsePath, CallMethodRequest, NodeId, QualifiedName, ReadValueId, RelativePath,
    RelativePathElement, StatusCode, Variant,
};
use serde_json::{Map, Value};

use crate::{
    config::namespace,
    driver::OperationError,
    encode::{self, Target},
    keys,
    node::{NodeName, Place},
    server::Server,
    wire::{Wire, WireError, status_text},
    write::scalar_of,
};

/// The `HasProperty` type (Part 6, annex A).
const HAS_PROPERTY: u32 = 46;

/// An object and its method.
pub(crate) struct Method {
    object: Place,
    method: Place,
}

/// Reads a method's configuration: `object` and `method`, by id or by path.
pub(crate) fn parse(section: &Section<'_>) -> Option<Method> {
    let namespace = namespace(section);
    let place = |key| {
        let text = section.text(key)?;
        let place = match text.starts_with('/') {
            true => Place::path(text, None, &namespace),
            false => NodeName::parse(text, &namespace).map(Place::node),
        };
        place.map_err(|message| section.fault(key, message)).ok()
    };
    let (object, method) = (place("object"), place("method"));
    Some(Method {
        object: object?,
        method: method?,
    })
}

/// Calls a method; arguments by name or in their order, results by name.
pub(crate) async fn call(
    server: &Server,
    method: &MethodConfig,
    arguments: &Value,
) -> Result<Value, OperationError> {
    let section = Section::new(&keys::METHOD, "config", &method.config);
    let parsed = parse(&section);
    let (faults, _) = section.finish();
    let Some(parsed) = parsed.filter(|_| faults.is_empty()) else {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        return Err(RequestError::InvalidValue(faults.join("; ")).into());
    };
    let nodes = server.nodes(&[&parsed.object, &parsed.method]).await?;
    let mut found = Vec::new();
    for node in nodes {
        found.push(node.map_err(|refusal| RequestError::Refused(refusal.message))?);
    }
    let [object_id, method_id] = &found[..] else {
        return Err(RequestError::Refused("no method".to_owned()).into());
    };
    let [inputs, outputs] = signature(&server.wire, method_id).await?;
    let types = inputs.iter().map(|argument| argument.data_type.clone());
    server
        .types
        .load_types(&server.wire, types.collect())
        .await?;
    let input = inputs_of(server, &inputs, arguments).map_err(RequestError::InvalidValue)?;
    let request = CallMethodRequest {
        object_id: object_id.clone(),
        method_id: method_id.clone(),
        input_arguments: Some(input),
    };
    let result = server.wire.call(request).await?;
    if result.status_code.is_bad() {
        let which = result.input_argument_results.iter().flatten();
        let which: Vec<_> = which
            .zip(&inputs)
            .filter(|(status, _)| status.is_bad())
            .map(|(status, argument)| format!("{}: {}", argument.name, status_text(*status)))
            .collect();
        let status = status_text(result.status_code);
        let message = match which.is_empty() {
            true => format!("`{}`: {status}", method.name),
            false => format!("`{}`: {status}: {}", method.name, which.join("; ")),
        };
        return Err(match result.status_code {
            StatusCode::BadInvalidArgument
            | StatusCode::BadArgumentsMissing
            | StatusCode::BadTooManyArguments => RequestError::InvalidValue(message),
            _ => RequestError::Refused(message),
        }
        .into());
    }
    let results = result.output_arguments.unwrap_or_default();
    let carried: Vec<_> = results
        .iter()
        .map(|value| opcua::types::DataValue::value_only(value.clone()))
        .collect();
    server.load_types(carried.iter()).await?;
    let decoder = server.decoder();
    let mut object = Map::new();
    for (index, value) in results.iter().enumerate() {
        let name = outputs.get(index).map(|argument| argument.name.to_string());
        let name = name.unwrap_or_else(|| format!("result{index}"));
        object.insert(name, decoder.json(value));
    }
    Ok(Value::Object(object))
}

/// The input and output arguments; a method without them has no such property.
async fn signature(wire: &Wire, method: &NodeId) -> Result<[Vec<Argument>; 2], WireError> {
    let path = |name: &str| BrowsePath {
        starting_node: method.clone(),
        relative_path: RelativePath {
            elements: Some(vec![RelativePathElement {
                reference_type_id: NodeId::new(0, HAS_PROPERTY),
                is_inverse: false,
                include_subtypes: true,
                target_name: QualifiedName::new(0, name),
            }]),
        },
    };
    let found = wire
        .translate(&[path("InputArguments"), path("OutputArguments")])
        .await?;
    let mut all = [Vec::new(), Vec::new()];
    for (arguments, found) in all.iter_mut().zip(found) {
        let Some(target) = found.targets.into_iter().flatten().next() else {
            continue;
        };
        let values = wire
            .read(&[ReadValueId::from(target.target_id.node_id)])
            .await?;
        let value = values.into_iter().next().and_then(|value| value.value);
        let Some(Variant::Array(array)) = value else {
            continue;
        };
        let objects = array.values.iter().filter_map(|value| match value {
            Variant::ExtensionObject(object) => object.inner_as::<Argument>().cloned(),
            _ => None,
        });
        *arguments = objects.collect();
    }
    Ok(all)
}

/// The arguments in their order and types; all faults at once.
fn inputs_of(
    server: &Server,
    inputs: &[Argument],
    arguments: &Value,
) -> Result<Vec<Variant>, String> {
    let (mut values, mut faults) = (Vec::new(), Vec::new());
    let empty = Map::new();
    let given = match arguments {
        Value::Null => Ok(&empty),
        Value::Object(map) => Ok(map),
        Value::Array(list) => Err(list),
        _ => return Err("arguments: expected an object by name, or an array".to_owned()),
    };
    let names = || {
        let names: Vec<_> = inputs.iter().map(|input| input.name.to_string()).collect();
        match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        }
    };
    for (index, input) in inputs.iter().enumerate() {
        let name = input.name.as_ref();
        let value = match given {
            Ok(map) => map.get(name),
            Err(list) => list.get(index),
        };
        let Some(value) = value else {
            faults.push(format!("arguments.{name}: missing"));
            continue;
        };
        let Some(scalar) = server.types.scalar_of(&input.data_type).and_then(scalar_of) else {
            faults.push(format!(
                "arguments.{name}: values of type {} cannot be written",
                input.data_type
            ));
            continue;
        };
        let target = Target {
            scalar,
            is_array: input.value_rank >= 0,
        };
        // As the host has it: a list is a text with JSON in it.
        let list = match value {
            Value::String(text) if target.is_array => serde_json::from_str::<Value>(text).ok(),
            _ => None,
        };
        match encode::json(list.as_ref().unwrap_or(value), target) {
            Ok(value) => values.push(value),
            Err(error) => faults.push(format!("arguments.{name}: {error}")),
        }
    }
    let unknown = match given {
        Ok(map) => map
            .keys()
            .filter(|key| {
                !inputs
                    .iter()
                    .any(|input| input.name.as_ref() == key.as_str())
            })
            .map(|key| format!("arguments.{key}: unknown; the method takes {}", names()))
            .collect(),
        Err(list) if list.len() > inputs.len() => {
            vec![format!(
                "arguments: {} are too many; the method takes {}",
                list.len(),
                names()
            )]
        }
        Err(_) => Vec::new(),
    };
    faults.extend(unknown);
    match faults.is_empty() {
        true => Ok(values),
        false => Err(faults.join("; ")),
    }
}

//! Writing one value in the type that its node has.

use longshore_sdk::{RequestError, SampleValue};
use opcua::types::{
    Array, AttributeId, DataValue, NodeId, NumericRange, ReadValueId, StatusCode, Variant,
    VariantScalarTypeId as Type, VariantTypeId, WriteValue,
};

use crate::{
    driver::{ByNode, OperationError},
    encode::{self, Target},
    point::{Field, Step, VALUE},
    range,
    server::{Server, is_gone},
    wire::status_text,
};

/// The types of nodes that were written before.
#[derive(Default)]
pub(crate) struct Targets(ByNode<Target>);

/// Writes one value.
pub(crate) async fn write(
    server: &Server,
    targets: &mut Targets,
    field: &Field,
    value: &SampleValue,
) -> Result<(), OperationError> {
    let invalid = |message: String| RequestError::InvalidValue(message);
    if field.attribute != VALUE {
        return Err(invalid("only the Value attribute can be written".to_owned()).into());
    }
    let (part, is_one) = part(field).ok_or_else(|| {
        invalid(
            "a part of a structure cannot be written; write the whole or name its own node"
                .to_owned(),
        )
    })?;
    let nodes = server.nodes(&[&field.place]).await?;
    let node = match nodes.into_iter().next() {
        Some(Ok(node)) => node,
        Some(Err(refusal)) => return Err(RequestError::Refused(refusal.message).into()),
        None => return Err(RequestError::Refused("no node".to_owned()).into()),
    };
    let known = match targets.0.get(&node) {
        Some(known) => *known,
        None => {
            let known = target(server, &node, field.raw_type).await?;
            targets.0.insert(node.clone(), known);
            known
        }
    };
    let wanted = Target {
        scalar: field.raw_type.unwrap_or(known.scalar),
        // One element of an array, or one character of a text.
        is_array: known.is_array && !is_one,
    };
    let encoded = encode::sample(value, wanted).map_err(|error| invalid(error.to_string()))?;
    let encoded = match (is_one && known.is_array, encoded) {
        // Part 4, section 5.11.4: an element is written as an array of one.
        (true, one) => {
            let sizes = vec![1; range::dimensions(&part)];
            let array = match sizes.len() {
                1 => Array::new(wanted.scalar, vec![one]),
                _ => Array::new_multi(wanted.scalar, vec![one], sizes),
            };
            let array = array.map_err(|error| invalid(error.to_string()))?;
            Variant::Array(Box::new(array))
        }
        (false, encoded) => encoded,
    };
    let (part, encoded) = match known.is_array && !part.is_none() {
        true => placed(server, &node, part, encoded).await?,
        false => (part, encoded),
    };
    let request = WriteValue {
        node_id: node.clone(),
        attribute_id: VALUE,
        index_range: part,
        // Without times: most servers refuse to have theirs set.
        value: DataValue {
            value: Some(encoded),
            ..DataValue::default()
        },
    };
    let status = server.wire.write(&[request]).await?;
    let status = status.first().copied().unwrap_or(StatusCode::Bad);
    if status.is_bad() {
        targets.0.remove(&node);
        if is_gone(status) {
            server.forget(&field.place);
        }
        let message = format!("{}: {}", field.place, status_text(status));
        return Err(RequestError::Refused(message).into());
    }
    Ok(())
}

/// The range to write, and whether it is a single element; `None` for a place in a structure.
fn part(field: &Field) -> Option<(NumericRange, bool)> {
    if field.element.is_empty() {
        return Some((field.range.clone(), range::is_one(&field.range)));
    }
    let indexes = field.element.iter().map(|step| match step {
        Step::Index(index) => u32::try_from(*index).ok().map(NumericRange::Index),
        Step::Field(_) => None,
    });
    let mut indexes = indexes.collect::<Option<Vec<_>>>()?;
    Some(match indexes.len() {
        1 => (indexes.remove(0), true),
        _ => (NumericRange::MultipleRanges(indexes), true),
    })
}

/// What to write into a part of an array: the part, or, on a server that does not look
/// at ranges and would put the part in the place of all, the whole with it in it.
async fn placed(
    server: &Server,
    node: &NodeId,
    part: NumericRange,
    value: Variant,
) -> Result<(NumericRange, Variant), OperationError> {
    let mut asked = ReadValueId::new(node.clone(), AttributeId::Value);
    asked.index_range = part.clone();
    let now = server.wire.read(&[asked]).await?.into_iter().next();
    let Some(Variant::Array(mut whole)) = now.and_then(|now| now.value) else {
        return Ok((part, value));
    };
    if !range::is_ignored(&whole, &part) {
        return Ok((part, value));
    }
    let values = match value {
        Variant::Array(array) => array.values,
        one => vec![one],
    };
    if !range::put(&mut whole, &part, values) {
        let message =
            format!("the server takes whole arrays only, and {part} does not fit into this one");
        return Err(RequestError::InvalidValue(message).into());
    }
    Ok((NumericRange::None, Variant::Array(whole)))
}

/// The type of a node: that of its value, else that of its DataType.
async fn target(
    server: &Server,
    node: &NodeId,
    raw_type: Option<Type>,
) -> Result<Target, OperationError> {
    let attribute = |attribute| ReadValueId::new(node.clone(), attribute);
    let asked = [
        attribute(AttributeId::Value),
        attribute(AttributeId::DataType),
        attribute(AttributeId::ValueRank),
    ];
    let mut values = server.wire.read(&asked).await?.into_iter();
    let mut next = || values.next().unwrap_or_default();
    let (value, data_type, rank) = (next(), next(), next());
    match value.value.as_ref().map(Variant::type_id) {
        Some(VariantTypeId::Scalar(scalar)) => {
            return Ok(Target {
                scalar,
                is_array: false,
            });
        }
        Some(VariantTypeId::Array(scalar, _)) => {
            return Ok(Target {
                scalar,
                is_array: true,
            });
        }
        Some(VariantTypeId::Empty) | None => {}
    }
    // Part 3, section 5.6.2: 0 and above are arrays, -1 is none, -2 and -3 may be.
    let is_array = rank
        .value
        .as_ref()
        .and_then(Variant::as_f64)
        .unwrap_or(-1.0)
        >= 0.0;
    if let Some(scalar) = raw_type {
        return Ok(Target { scalar, is_array });
    }
    let status = data_type.status.unwrap_or(StatusCode::Good);
    let Some(Variant::NodeId(id)) = data_type.value else {
        let message = format!(
            "the type of the node cannot be read: {}",
            status_text(status)
        );
        return Err(RequestError::Refused(message).into());
    };
    server
        .types
        .load_types(&server.wire, vec![(*id).clone()])
        .await?;
    let scalar = server.types.scalar_of(&id).and_then(scalar_of);
    let scalar = scalar.ok_or_else(|| {
        RequestError::InvalidValue(format!(
            "the node is of type {id}, which cannot be written; rawType says another"
        ))
    })?;
    Ok(Target { scalar, is_array })
}

/// The variant that carries a built-in type, by its number.
pub(crate) fn scalar_of(number: u32) -> Option<Type> {
    let scalar = match number {
        1 => Type::Boolean,
        2 => Type::SByte,
        3 => Type::Byte,
        4 => Type::Int16,
        5 => Type::UInt16,
        // An enumeration is an Int32 on the wire.
        6 | 29 => Type::Int32,
        7 => Type::UInt32,
        8 => Type::Int64,
        9 => Type::UInt64,
        10 => Type::Float,
        // Of an abstract number, the widest.
        11 | 26 => Type::Double,
        27 => Type::Int64,
        28 => Type::UInt64,
        12 => Type::String,
        13 => Type::DateTime,
        14 => Type::Guid,
        15 => Type::ByteString,
        17 => Type::NodeId,
        19 => Type::StatusCode,
        20 => Type::QualifiedName,
        21 => Type::LocalizedText,
        _ => return None,
    };
    Some(scalar)
}

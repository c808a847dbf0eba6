//! One property of a device, merged with that of its model.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Bound, DEFAULT_COLLECT_CYCLE, Desired, EffectiveProperty};
use crate::{
    device::{
        AccessMode, Device, DeviceModel, DeviceProperty, FreeObject, ModelProperty, PropertyType,
        VisitorConfig,
    },
    expression::{Expression, Type},
    fault::Fault,
    policy::PropertyPolicy,
    unit,
    value::Value,
};

/// Where a property's keys stand, below its own path.
const CONFIG: &str = ".visitors.configData";
/// Longer cycles are taken for a slip of the unit.
const LONG_CYCLE: Duration = Duration::from_secs(24 * 3600);

pub(super) fn protocol_of(device: &Device, model: &DeviceModel, faults: &mut Vec<Fault>) -> String {
    let of_device = device
        .spec
        .protocol
        .protocol_name
        .trim()
        .to_ascii_lowercase();
    let of_model = model.spec.protocol.trim().to_ascii_lowercase();
    if of_device.is_empty() {
        return of_model;
    }
    if !of_model.is_empty() && of_model != of_device {
        faults.push(Fault::warning(
            "spec.protocol.protocolName",
            format!(
                "the device speaks `{of_device}` but its model `{}` says `{of_model}`",
                model.metadata.name
            ),
        ));
    }
    of_device
}

/// A property is read by its device's protocol, whatever it says itself.
pub(super) fn other_protocol(
    visitors: &VisitorConfig,
    protocol: &str,
    path: impl Fn() -> String,
) -> Option<Fault> {
    let named = visitors.protocol_name.trim();
    (!named.is_empty() && !named.eq_ignore_ascii_case(protocol)).then(|| {
        Fault::warning(
            format!("{}.visitors.protocolName", path()),
            format!("`{named}` does not count, the device speaks `{protocol}`"),
        )
    })
}

pub(super) fn one(
    index: usize,
    property: &DeviceProperty,
    of_model: Option<(usize, &ModelProperty)>,
    model: &DeviceModel,
    faults: &mut Vec<Fault>,
) -> EffectiveProperty {
    let path = format!("spec.properties[{index}]");
    let in_model = of_model.map_or_else(String::new, |(index, _)| {
        format!("model.spec.properties[{index}]")
    });
    let of_model = of_model.map(|(_, of_model)| of_model);
    let mut broken = Vec::new();
    if of_model.is_none() {
        broken.push(Fault::error(
            format!("{path}.name"),
            format!(
                "model `{}` has no property `{}`",
                model.metadata.name, property.name
            ),
        ));
    }
    let value_type = of_model.map_or(PropertyType::String, |of_model| {
        type_of(of_model, model, &in_model, &mut broken)
    });
    let (minimum, maximum) = of_model.map_or((None, None), |of_model| {
        range(of_model, value_type, &in_model, &mut broken)
    });
    let visitor = overlay(
        of_model
            .and_then(|of_model| of_model.visitors.as_ref())
            .map(|visitors| &visitors.config_data),
        &property.visitors.config_data,
    );
    let visitor_path = format!("{path}{CONFIG}");
    let (policy, config, policy_faults) = PropertyPolicy::parse(&visitor, &visitor_path);
    let (errors, mut warnings): (Vec<_>, Vec<_>) =
        policy_faults.into_iter().partition(Fault::is_error);
    let hides_more = !errors.is_empty() && !config.is_empty();
    broken.extend(errors);
    if let Some(last) = broken.last_mut().filter(|_| hides_more) {
        // A property with a fault never reaches its mapper.
        last.message
            .push_str(" (its mapper may find more once this is mended)");
    }
    if policy.names.is_some() && !matches!(value_type, PropertyType::String | PropertyType::Int) {
        broken.push(Fault::error(
            format!("{visitor_path}.enum"),
            format!("names need a property of type STRING or INT, not {value_type}"),
        ));
    }
    let access = of_model
        .and_then(|of_model| of_model.access_mode)
        .unwrap_or_default();
    if policy.history && !property.reports_to_cloud() {
        warnings.push(Fault::warning(
            format!("{visitor_path}.report.history"),
            "has no effect, since `reportToCloud` is false",
        ));
    }
    broken.extend(
        check_policy(&policy, &config, value_type, access, (minimum, maximum))
            .map(|(key, message)| Fault::error(format!("{visitor_path}.{key}"), message)),
    );
    if let Some((key, message)) = lost_fraction(&policy, &config, value_type) {
        warnings.push(Fault::warning(format!("{visitor_path}.{key}"), message));
    }
    if let Some(of_model) = of_model
        && let Some(code) = unit::near_miss(&of_model.unit)
    {
        faults.push(Fault::warning(
            format!("{in_model}.unit"),
            format!(
                "unit `{}` of property `{}` in model `{}` is not a code of UCUM, write `{code}`",
                of_model.unit, property.name, model.metadata.name
            ),
        ));
    }
    let cycle = |key: &str, value: i64, faults: &mut Vec<Fault>| match u64::try_from(value) {
        Ok(ms) => Duration::from_millis(ms),
        Err(_) => {
            faults.push(Fault::warning(
                format!("{path}.{key}"),
                "must not be negative, 0 is taken",
            ));
            Duration::ZERO
        }
    };
    let collect = cycle("collectCycle", property.collect_cycle, faults);
    if collect > LONG_CYCLE {
        faults.push(Fault::warning(
            format!("{path}.collectCycle"),
            format!(
                "{} ms are more than a day; cycles are milliseconds, while old KubeEdge samples have nanoseconds",
                collect.as_millis()
            ),
        ));
    }
    if property.push_method.is_some() {
        faults.push(Fault::warning(
            format!("{path}.pushMethod"),
            "not carried out by this version",
        ));
    }
    let effective = EffectiveProperty {
        name: property.name.clone(),
        index,
        value_type,
        access,
        minimum,
        maximum,
        unit: of_model
            .map(|of_model| of_model.unit.clone())
            .unwrap_or_default(),
        collect_cycle: Some(collect)
            .filter(|own| !own.is_zero())
            .or(policy.collect_cycle)
            .filter(|cycle| !cycle.is_zero())
            .unwrap_or(DEFAULT_COLLECT_CYCLE),
        policy: Arc::new(policy),
        config: Arc::new(config),
        report_cycle: cycle("reportCycle", property.report_cycle, faults),
        report_to_cloud: property.reports_to_cloud(),
        desired: Desired::None,
        desired_metadata: BTreeMap::new(),
        broken: broken.first().map(with_key),
        kind: None,
    };
    let found = broken.into_iter().chain(warnings);
    faults.extend(found.map(|fault| at_its_place(fault, property, of_model, &path, &in_model)));
    effective
}

/// A fault of a key that only the model has stands there.
fn at_its_place(
    mut fault: Fault,
    property: &DeviceProperty,
    of_model: Option<&ModelProperty>,
    path: &str,
    in_model: &str,
) -> Fault {
    let visitors = of_model.and_then(|of_model| of_model.visitors.as_ref());
    let of_model = |key: &&str| {
        visitors.is_some_and(|visitors| stands(&visitors.config_data, key))
            && !stands(&property.visitors.config_data, key)
    };
    let key = fault
        .path
        .strip_prefix(path)
        .and_then(|rest| rest.strip_prefix(CONFIG)?.strip_prefix('.'));
    if let Some(key) = key.filter(of_model) {
        fault.path = format!("{in_model}{CONFIG}.{key}");
        fault.message = format!("property `{}`: {}", property.name, fault.message);
    }
    fault
}

/// Whether a key, such as `write.timeout`, stands in the object. A list counts
/// as a whole.
fn stands(object: &FreeObject, key: &str) -> bool {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let first = first.split('[').next().unwrap_or(first);
    match object.get(first) {
        None => false,
        Some(serde_json::Value::Object(inner)) if !rest.is_empty() => stands(inner, rest),
        Some(_) => true,
    }
}

/// What people see of a property that cannot be used: the key that is to blame as well.
fn with_key(fault: &Fault) -> String {
    match fault.path.split_once(CONFIG) {
        Some((_, key)) => format!("{}: {}", key.trim_start_matches('.'), fault.message),
        None => fault.message.clone(),
    }
}

/// What a property's type makes of its number, where that is less than it was.
fn lost_fraction(
    policy: &PropertyPolicy,
    config: &FreeObject,
    value_type: PropertyType,
) -> Option<(&'static str, String)> {
    let loses = match value_type {
        PropertyType::Int => "drops the fraction",
        PropertyType::Boolean => "is true for every number but 0",
        _ => return None,
    };
    if policy.calculation.is_some() || policy.names.is_some() || !policy.bits.is_none() {
        return None;
    }
    let transform = &policy.transform;
    let hint = format!(
        "the type {value_type} {loses}; write FLOAT, or say with `expression` what is meant"
    );
    for (key, number) in [("scale", transform.scale()), ("offset", transform.offset())] {
        if number.fract() != 0.0 {
            return Some((key, format!("{number} gives fractions, and {hint}")));
        }
    }
    let raw_type = config.get("rawType").and_then(|raw_type| raw_type.as_str());
    let is_float =
        raw_type.is_some_and(|raw_type| raw_type.to_ascii_lowercase().starts_with("float"));
    (is_float && transform.is_identity()).then(|| {
        let raw_type = raw_type.unwrap_or_default();
        ("rawType", format!("{raw_type} has fractions, and {hint}"))
    })
}

/// What is wrong with a policy for a property of this kind: key and message.
fn check_policy(
    policy: &PropertyPolicy,
    config: &FreeObject,
    value_type: PropertyType,
    access: AccessMode,
    (minimum, maximum): (Option<Bound>, Option<Bound>),
) -> Option<(&'static str, String)> {
    let raw_type = config.get("rawType").and_then(|v| v.as_str());
    let whole = raw_type.is_none_or(|t| t.starts_with("int") || t.starts_with("uint"));
    if !policy.bits.is_none() && !whole {
        let raw_type = raw_type.unwrap_or_default();
        return Some((
            "mask",
            format!("`mask` and `shift` need a whole raw value, not rawType {raw_type}"),
        ));
    }
    if let Some(message) = wrong_condition(policy.bad_when.as_ref()) {
        return Some(("badWhen", message));
    }
    let calculation = policy.calculation.as_ref()?;
    match calculation.expression.infer(&|_| Type::Any) {
        Ok(of) if gives(of, value_type) => {}
        Ok(of) => {
            let message = format!("gives {}, which cannot be {value_type}", of.kind());
            return Some(("expression", message));
        }
        Err(error) => return Some(("expression", error.to_string())),
    }
    if calculation.inverse.is_none() && access == AccessMode::ReadWrite {
        return Some((
            "expression",
            "a property that is written needs `inverse` as well, or accessMode ReadOnly".to_owned(),
        ));
    }
    let example = calculation.counter_example(
        value_type,
        minimum.map(Bound::as_f64),
        maximum.map(Bound::as_f64),
    )?;
    Some((
        "inverse",
        format!("does not invert `expression`: {example}"),
    ))
}

/// Why a condition on a raw value is none.
fn wrong_condition(condition: Option<&Expression>) -> Option<String> {
    match condition?.infer(&|_| Type::Any) {
        Ok(Type::Bool | Type::Any) => None,
        Ok(other) => Some(format!(
            "expected a condition, true or false, got {}",
            other.kind()
        )),
        Err(error) => Some(error.to_string()),
    }
}

/// Whether an expression of this type can be a property's value.
fn gives(of: Type, value_type: PropertyType) -> bool {
    match value_type {
        PropertyType::Int | PropertyType::Float | PropertyType::Double => {
            matches!(of, Type::Any | Type::Int | Type::Double)
        }
        PropertyType::Boolean => !matches!(of, Type::Text | Type::Null | Type::List),
        PropertyType::String => !matches!(of, Type::Null | Type::List),
        PropertyType::Bytes | PropertyType::Stream => false,
    }
}

pub(super) fn desired(
    property: &DeviceProperty,
    effective: &EffectiveProperty,
    path: &str,
    faults: &mut Vec<Fault>,
) -> Desired {
    let Some(text) = property.desired_value() else {
        return Desired::None;
    };
    let refused = match &effective.broken {
        // The fault stands already; nothing to add to it.
        Some(message) => {
            return Desired::Refused {
                text: text.to_owned(),
                message: message.clone(),
            };
        }
        None => effective.check_text(text),
    };
    match refused {
        Ok(value) => Desired::Value(value),
        Err(error) => {
            let message = error.to_string();
            faults.push(Fault::error(
                format!("{path}.desired.value"),
                message.clone(),
            ));
            Desired::Refused {
                text: text.to_owned(),
                message,
            }
        }
    }
}

fn type_of(
    of_model: &ModelProperty,
    model: &DeviceModel,
    path: &str,
    broken: &mut Vec<Fault>,
) -> PropertyType {
    let place = |what: &str| {
        format!(
            "{what} of property `{}` in model `{}`",
            of_model.name, model.metadata.name
        )
    };
    match of_model.value_type {
        Some(PropertyType::Stream) => {
            broken.push(Fault::error(
                format!("{path}.type"),
                format!("{} is STREAM, which is not supported", place("the type")),
            ));
            PropertyType::Stream
        }
        Some(value_type) => value_type,
        None => {
            broken.push(Fault::error(
                format!("{path}.type"),
                format!("{} is missing", place("the type")),
            ));
            PropertyType::String
        }
    }
}

/// Bounds of a model are texts; on anything but numbers they mean nothing.
fn range(
    of_model: &ModelProperty,
    value_type: PropertyType,
    path: &str,
    broken: &mut Vec<Fault>,
) -> (Option<Bound>, Option<Bound>) {
    if !value_type.is_number() {
        return (None, None);
    }
    let mut bound = |text: &str, what: &str| {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        match (
            value_type,
            text.parse::<i128>(),
            Value::parse_as(PropertyType::Double, text),
        ) {
            (_, Ok(whole), _) => Some(Bound::Int(whole)),
            (_, _, Ok(Value::Float(number))) => Some(Bound::Float(number)),
            _ => {
                broken.push(Fault::error(
                    format!("{path}.{what}"),
                    format!(
                        "{what} `{text}` of property `{}` in the model is not a number",
                        of_model.name
                    ),
                ));
                None
            }
        }
    };
    let (minimum, maximum) = (
        bound(&of_model.minimum, "minimum"),
        bound(&of_model.maximum, "maximum"),
    );
    if let (Some(min), Some(max)) = (minimum, maximum)
        && min.as_f64() > max.as_f64()
    {
        broken.push(Fault::error(
            format!("{path}.minimum"),
            format!(
                "minimum {min} of property `{}` in the model is above its maximum {max}",
                of_model.name
            ),
        ));
        return (None, None);
    }
    (minimum, maximum)
}

/// The device's keys over the model's; objects inside are merged.
pub(super) fn overlay(below: Option<&FreeObject>, above: &FreeObject) -> FreeObject {
    let Some(below) = below else {
        return above.clone();
    };
    let mut merged = below.clone();
    for (key, value) in above {
        match (merged.get_mut(key), value) {
            (Some(serde_json::Value::Object(old)), serde_json::Value::Object(new)) => {
                *old = overlay(Some(old), new)
            }
            _ => {
                merged.insert(key.clone(), value.clone());
            }
        }
    }
    merged
}

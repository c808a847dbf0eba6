//! Groups, methods and events: the keys of a whole device, taken out of what
//! the mapper gets. A wrong method or event costs itself only.

mod reader;

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::Value as Json;

use self::reader::{Entry, Names, take, unquoted};
use super::{Bound, EffectiveProperty};
use crate::{
    device::{AccessMode, DeviceMethod, FreeObject, ModelProperty, PropertyType},
    event::{EventRule, Severity},
    expression::{Expression, Type},
    fault::Fault,
    method::{
        Confirmation, DEFAULT_CALL_TIMEOUT, DEFAULT_CONFIRM_TIMEOUT, Method, Parameter, Step, typed,
    },
    policy::kind,
    value::Value,
};

/// What the device's keys come to.
#[derive(Debug, Default)]
pub(super) struct Behavior {
    pub(super) methods: Vec<Method>,
    pub(super) events: Vec<EventRule>,
}

/// The model's and the device's free object, without the keys that are read here.
pub(super) struct Layers {
    groups: Vec<Entry>,
    methods: Vec<Entry>,
    events: Vec<Entry>,
}

impl Layers {
    /// Takes the keys out of both objects. An entry of the device replaces the
    /// model's entry of the same name.
    pub(super) fn take(
        model: Option<&mut FreeObject>,
        device: &mut FreeObject,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let mut layers = Self {
            groups: Vec::new(),
            methods: Vec::new(),
            events: Vec::new(),
        };
        let mut both = [
            (model, "model.spec.protocolConfigData"),
            (Some(device), "spec.protocol.configData"),
        ];
        for (object, path) in &mut both {
            let Some(object) = object else { continue };
            take(object, path, "groups", &mut layers.groups, faults);
            take(object, path, "methods", &mut layers.methods, faults);
            take(object, path, "events", &mut layers.events, faults);
        }
        layers
    }

    /// Reads the entries and brings groups into the properties.
    pub(super) fn read(
        self,
        of_api: &[DeviceMethod],
        of_model: &[ModelProperty],
        properties: &mut [EffectiveProperty],
        faults: &mut Vec<Fault>,
    ) -> Behavior {
        let used: HashSet<&str> = properties
            .iter()
            .map(|property| property.name.as_str())
            .collect();
        let unused: Vec<String> = of_model
            .iter()
            .filter(|known| !used.contains(known.name.as_str()))
            .map(|known| known.name.clone())
            .collect();
        for group in self.groups {
            apply_group(group, properties, faults);
        }
        let mut behavior = Behavior::default();
        for entry in self.methods {
            behavior
                .methods
                .extend(method(entry.with_unused(&unused), properties, faults));
        }
        for (index, method) in of_api.iter().enumerate() {
            let taken = behavior
                .methods
                .iter()
                .any(|known| *known.name == *method.name);
            match api_method(method, index, taken, properties) {
                Ok(method) => behavior.methods.push(method),
                Err(fault) => faults.push(fault),
            }
        }
        for entry in self.events {
            behavior
                .events
                .extend(event(entry.with_unused(&unused), properties, faults));
        }
        behavior
    }
}

fn apply_group(mut entry: Entry, properties: &mut [EffectiveProperty], faults: &mut Vec<Fault>) {
    let interval = entry.duration("interval");
    for (index, name) in entry.names("properties").into_iter().enumerate() {
        let Some(property) = properties.iter_mut().find(|known| known.name == name) else {
            // A model's group may name properties that this device does not use.
            if !entry.of_model() {
                entry.fault(
                    &format!("properties[{index}]"),
                    format!("the device has no property `{name}`"),
                );
            }
            continue;
        };
        match &property.policy.group {
            Some(group) if **group != *entry.name => {
                let message = format!("`{name}` is in group `{group}` already, which counts");
                entry.warn(&format!("properties[{index}]"), message);
                continue;
            }
            Some(_) => {}
            None => {
                let policy = Arc::make_mut(&mut property.policy);
                policy.group = Some(Arc::from(&*entry.name));
                property.kind = None;
            }
        }
        if let Some(interval) = interval.filter(|interval| !interval.is_zero()) {
            property.collect_cycle = interval;
            property.kind = None;
        }
    }
    entry.finish(faults);
}

fn method(
    mut entry: Entry,
    properties: &[EffectiveProperty],
    faults: &mut Vec<Fault>,
) -> Option<Method> {
    let objects = entry.objects("parameters", "methods[].parameters[]");
    let (parameters, names) = parameters(&mut entry, &objects);
    let mut steps = Vec::new();
    for (place, object) in entry.objects("steps", "methods[].steps[]") {
        let property = target(&mut entry, &place, &object, "write", properties, true);
        let value = entry.formula(&object, &place, "value", &names);
        if let (Some(property), Some(value)) = (property, value) {
            steps.push(Step { property, value });
        }
    }
    let confirm = entry
        .object("confirm", "methods[].confirm")
        .and_then(|object| {
            let property = target(
                &mut entry, "confirm", &object, "property", properties, false,
            );
            let value = entry.formula(&object, "confirm", "value", &names);
            let timeout = entry.duration_in(&object, "confirm", "timeout");
            Some(Confirmation {
                property: property?,
                value: value?,
                timeout: timeout.unwrap_or(DEFAULT_CONFIRM_TIMEOUT),
            })
        });
    let call = entry.free("call");
    if steps.is_empty() && call.is_none() && !entry.is_faulty() {
        entry.fault(
            "steps",
            "a method needs `steps`, or a `call` of the protocol".to_owned(),
        );
    }
    let method = Method {
        name: entry.name.as_str().into(),
        path: entry.path().into(),
        description: entry.text("description").unwrap_or_default(),
        parameters,
        steps,
        call,
        confirm,
        timeout: entry
            .duration("timeout")
            .filter(|timeout| !timeout.is_zero())
            .unwrap_or(DEFAULT_CALL_TIMEOUT),
    };
    entry.finish(faults).then_some(method)
}

/// The parameters, and the names that expressions may use.
fn parameters<'a>(
    entry: &mut Entry,
    objects: &'a [(String, FreeObject)],
) -> (Vec<Parameter>, Names<'a>) {
    let mut parameters: Vec<Parameter> = Vec::with_capacity(objects.len());
    let mut names = Names(Vec::with_capacity(objects.len()));
    for object in objects {
        let read = parameter(entry, object);
        // One with a fault is a name all the same, or each use would be a fault too.
        let name = object.1.get("name").and_then(Json::as_str);
        names.0.extend(name.map(|name| {
            let of = read.as_ref().map(|read| Type::from(read.value_type));
            (name, of.unwrap_or(Type::Any))
        }));
        parameters.extend(read);
    }
    (parameters, names)
}

/// The property that `key` names.
fn target(
    entry: &mut Entry,
    place: &str,
    object: &FreeObject,
    key: &str,
    properties: &[EffectiveProperty],
    written: bool,
) -> Option<Box<str>> {
    let place = format!("{place}.{key}");
    let Some(name) = object.get(key).and_then(Json::as_str) else {
        entry.fault(&place, "expected the name of a property".to_owned());
        return None;
    };
    let message = match properties.iter().find(|known| known.name == name) {
        None if entry.is_unused(name) => return None,
        None => format!("the device has no property `{name}`"),
        Some(property) if property.broken.is_some() => {
            format!("property `{name}` cannot be used, see its own fault")
        }
        Some(property) if written && property.access != AccessMode::ReadWrite => {
            format!("property `{name}` is read-only")
        }
        Some(_) => return Some(name.into()),
    };
    entry.fault(&place, message);
    None
}

fn parameter(entry: &mut Entry, (place, object): &(String, FreeObject)) -> Option<Parameter> {
    let name = object
        .get("name")
        .and_then(Json::as_str)
        .unwrap_or_default();
    if name.is_empty() {
        let message = match object.get("name") {
            Some(Json::Bool(read)) => unquoted(*read),
            _ => "a parameter needs a name".to_owned(),
        };
        entry.fault(&format!("{place}.name"), message);
        return None;
    }
    let wanted = object
        .get("type")
        .and_then(Json::as_str)
        .unwrap_or_default();
    let value_type = PropertyType::ALL
        .into_iter()
        .find(|known| known.as_str() == wanted.to_ascii_uppercase())
        .filter(|known| !matches!(known, PropertyType::Stream | PropertyType::Bytes));
    let Some(value_type) = value_type else {
        let got = object
            .get("type")
            .map_or_else(|| "nothing".to_owned(), kind);
        entry.fault(
            &format!("{place}.type"),
            format!("expected INT, FLOAT, DOUBLE, STRING or BOOLEAN, got {got}"),
        );
        return None;
    };
    let mut bound = |key: &str| {
        let value = object.get(key)?;
        let bound = match (value.as_i64(), value.as_f64()) {
            (Some(whole), _) => Some(Bound::Int(whole.into())),
            (None, number) => number.map(Bound::Float),
        };
        if bound.is_none() || !value_type.is_number() {
            entry.fault(
                &format!("{place}.{key}"),
                "expected a number, for a parameter that is one".to_owned(),
            );
        }
        bound
    };
    let mut parameter = Parameter {
        name: name.into(),
        value_type,
        minimum: bound("minimum"),
        maximum: bound("maximum"),
        choices: Vec::new(),
        default: None,
    };
    if let (Some(least), Some(most)) = (parameter.minimum, parameter.maximum)
        && least.as_f64() > most.as_f64()
    {
        entry.fault(
            &format!("{place}.minimum"),
            format!("{least} is above the maximum {most}"),
        );
        (parameter.minimum, parameter.maximum) = (None, None);
    }
    match object.get("enum") {
        None => {}
        Some(Json::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                match typed(value_type, item) {
                    Some(value) => parameter.choices.push(value),
                    None => entry.fault(
                        &format!("{place}.enum[{index}]"),
                        format!("expected {value_type}; quote texts such as \"On\""),
                    ),
                }
            }
        }
        Some(_) => entry.fault(
            &format!("{place}.enum"),
            "expected a list of values".to_owned(),
        ),
    }
    if let Some(default) = object.get("default") {
        match parameter.check(default) {
            Ok(value) => parameter.default = Some(value),
            Err(message) => entry.fault(&format!("{place}.default"), message),
        }
    }
    Some(parameter)
}

/// A method of the API: the properties that it names are its parameters.
fn api_method(
    method: &DeviceMethod,
    index: usize,
    taken: bool,
    properties: &[EffectiveProperty],
) -> Result<Method, Fault> {
    let path = format!("spec.methods[{index}]");
    if method.name.is_empty() {
        return Err(Fault::error(
            format!("{path}.name"),
            "a method needs a name",
        ));
    }
    if taken {
        return Err(Fault::error(
            format!("{path}.name"),
            format!("there is another method `{}`, which counts", method.name),
        ));
    }
    let (mut parameters, mut steps) = (Vec::new(), Vec::new());
    for (at, name) in method.property_names.iter().enumerate() {
        let place = format!("{path}.propertyNames[{at}]");
        let property = properties.iter().find(|known| known.name == *name);
        let property = property
            .ok_or_else(|| Fault::error(&place, format!("the device has no property `{name}`")))?;
        if property.access != AccessMode::ReadWrite {
            return Err(Fault::error(
                &place,
                format!("property `{name}` is read-only"),
            ));
        }
        let value = Expression::parse(name, &[name]).map_err(|_| {
            Fault::error(
                &place,
                format!("`{name}` cannot be a parameter: letters, digits and _ only"),
            )
        })?;
        parameters.push(of_property(property));
        steps.push(Step {
            property: name.as_str().into(),
            value,
        });
    }
    if steps.is_empty() {
        return Err(Fault::error(
            format!("{path}.propertyNames"),
            "a method needs the properties that it writes",
        ));
    }
    Ok(Method {
        name: method.name.as_str().into(),
        path: path.into(),
        description: method.description.clone(),
        parameters,
        steps,
        call: None,
        confirm: None,
        timeout: DEFAULT_CALL_TIMEOUT,
    })
}

fn of_property(property: &EffectiveProperty) -> Parameter {
    let names = property.policy.names.iter().flat_map(|names| names.iter());
    let choices = match property.value_type {
        PropertyType::String => names.map(|(_, name)| Value::String(name.into())).collect(),
        _ => names.map(|(number, _)| Value::Int(number)).collect(),
    };
    Parameter {
        name: property.name.as_str().into(),
        value_type: property.value_type,
        minimum: property.minimum,
        maximum: property.maximum,
        choices,
        default: None,
    }
}

fn event(
    mut entry: Entry,
    properties: &[EffectiveProperty],
    faults: &mut Vec<Fault>,
) -> Option<EventRule> {
    let names = properties
        .iter()
        .map(|known| (known.name.as_str(), type_of(known)));
    let names = Names(names.collect());
    let object = entry.object_itself();
    let when = entry.condition(&object, "when", &names);
    if !object.contains_key("when") {
        entry.fault("when", "an event needs a condition".to_owned());
    }
    let clear = entry.condition(&object, "clear", &names);
    let severity = match object
        .get("severity")
        .map(|v| v.as_str().and_then(Severity::from_name))
    {
        None => Severity::default(),
        Some(Some(severity)) => severity,
        Some(None) => {
            entry.fault(
                "severity",
                "expected info, minor, major or critical".to_owned(),
            );
            Severity::default()
        }
    };
    let message = entry.text("message").unwrap_or_default();
    for name in placeholders(&message) {
        if !names.has(name) && !entry.is_of_unused(name) {
            let hint = format!("the device has no property `{name}`, the text stays as it is");
            entry.warn("message", hint);
        }
    }
    let delay = entry.duration("delay").unwrap_or(Duration::ZERO);
    let name = entry.name.as_str().into();
    let complete = entry.finish(faults);
    Some(EventRule {
        name,
        when: when.filter(|_| complete)?,
        clear,
        severity,
        message,
        delay,
    })
}

/// What a property is in a condition; one with a fault has no value anyhow.
fn type_of(property: &EffectiveProperty) -> Type {
    if property.broken.is_some() {
        return Type::Any;
    }
    property.value_type.into()
}

/// The names in braces of a message.
fn placeholders(message: &str) -> impl Iterator<Item = &str> {
    let parts = message.split('{').skip(1);
    parts.filter_map(|part| Some(part.split_once('}')?.0.trim()))
}

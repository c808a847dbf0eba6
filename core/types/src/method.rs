//! Methods of a device: what can be called, and with what.

use std::time::Duration;

use serde_json::Value as Json;

use crate::{
    bound::Bound,
    device::{FreeObject, PropertyType},
    expression::{Expression, ExpressionError, Term},
    fault::Fault,
    policy::kind,
    value::Value,
};

/// Time for a call if the method says nothing.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the value of `confirm` to be read if it says nothing.
pub const DEFAULT_CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// Something that can be called.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    /// Its name.
    pub name: Box<str>,
    /// Where it stands: `model.spec.protocolConfigData.methods[0]`.
    pub path: Box<str>,
    /// For people.
    pub description: String,
    /// What it is called with.
    pub parameters: Vec<Parameter>,
    /// What is written, in this order.
    pub steps: Vec<Step>,
    /// The protocol's own call, after the steps; its keys are the mapper's.
    pub call: Option<FreeObject>,
    /// What has to be read at the end.
    pub confirm: Option<Confirmation>,
    /// Time for the whole call.
    pub timeout: Duration,
}

/// What a method is called with.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: Box<str>,
    /// Its type.
    pub value_type: PropertyType,
    /// Least value, for numbers.
    pub minimum: Option<Bound>,
    /// Greatest value, for numbers.
    pub maximum: Option<Bound>,
    /// The only values; any if there are none.
    pub choices: Vec<Value>,
    /// Taken where the caller leaves it out.
    pub default: Option<Value>,
}

/// One write of a method.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The property.
    pub property: Box<str>,
    /// The value, of the parameters.
    pub value: Expression,
}

/// What has to be read at the end of a method.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirmation {
    /// The property.
    pub property: Box<str>,
    /// The value that it must show, of the parameters.
    pub value: Expression,
    /// How long that may take.
    pub timeout: Duration,
}

/// Checked arguments, in the order of the parameters.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Arguments(Vec<(Box<str>, Value)>);

impl Method {
    /// Checks what a caller gives: an object, or nothing at all. All that is
    /// wrong is told at once, at key paths below `arguments`.
    ///
    /// # Errors
    /// An argument is missing, unknown, of a wrong type or out of its range.
    pub fn arguments(&self, given: &Json) -> Result<Arguments, Vec<Fault>> {
        let nothing = FreeObject::new();
        let given = match given {
            Json::Null => &nothing,
            Json::Object(given) => given,
            other => {
                return Err(vec![Fault::error(
                    "arguments",
                    format!("expected an object, got {}", kind(other)),
                )]);
            }
        };
        let mut faults = Vec::new();
        let mut arguments = Vec::with_capacity(self.parameters.len());
        for parameter in &self.parameters {
            match parameter.argument(given.get(&*parameter.name)) {
                Ok(value) => arguments.push((parameter.name.clone(), value)),
                Err(message) => {
                    faults.push(Fault::error(
                        format!("arguments.{}", parameter.name),
                        message,
                    ));
                }
            }
        }
        for name in given.keys() {
            if !self.parameters.iter().any(|known| *known.name == **name) {
                faults.push(Fault::error(format!("arguments.{name}"), self.unknown()));
            }
        }
        if faults.is_empty() {
            Ok(Arguments(arguments))
        } else {
            Err(faults)
        }
    }

    fn unknown(&self) -> String {
        let names: Vec<&str> = self.parameters.iter().map(|known| &*known.name).collect();
        if names.is_empty() {
            format!("`{}` takes no arguments", self.name)
        } else {
            format!("unknown, `{}` takes {}", self.name, names.join(", "))
        }
    }
}

impl Parameter {
    fn argument(&self, given: Option<&Json>) -> Result<Value, String> {
        let Some(given) = given else {
            return self
                .default
                .clone()
                .ok_or_else(|| format!("missing, expected {}", self.value_type));
        };
        self.check(given)
    }

    /// A JSON value as one of this parameter.
    ///
    /// # Errors
    /// It is of another type, or out of the range.
    pub fn check(&self, given: &Json) -> Result<Value, String> {
        let value = typed(self.value_type, given)
            .ok_or_else(|| format!("expected {}, got {}", self.value_type, kind(given)))?;
        if let Some(least) = self.minimum.filter(|bound| bound.is_above(value.borrow())) {
            return Err(format!("{value} is below {least}"));
        }
        if let Some(most) = self.maximum.filter(|bound| bound.is_below(value.borrow())) {
            return Err(format!("{value} is above {most}"));
        }
        if !self.choices.is_empty() && !self.choices.contains(&value) {
            let choices: Vec<_> = self.choices.iter().map(ToString::to_string).collect();
            return Err(format!("`{value}` is not one of {}", choices.join(", ")));
        }
        Ok(value)
    }
}

/// A JSON value as one of the twin's types; a text is not a number.
pub(crate) fn typed(wanted: PropertyType, given: &Json) -> Option<Value> {
    match wanted {
        PropertyType::Int => given
            .as_i64()
            .map(Value::Int)
            .or_else(|| given.as_u64().map(Value::Uint))
            .or_else(|| {
                let whole = given.as_f64()?;
                (whole.fract() == 0.0 && whole.abs() < 9e15).then_some(Value::Int(whole as i64))
            }),
        PropertyType::Float | PropertyType::Double => given.as_f64().map(Value::Float),
        PropertyType::Boolean => given.as_bool().map(Value::Bool),
        // Lists, matrices and structures are JSON in a text.
        PropertyType::String => match given {
            Json::String(text) => Some(Value::String(text.as_str().into())),
            Json::Array(_) | Json::Object(_) => Some(Value::String(given.to_string().into())),
            _ => None,
        },
        PropertyType::Bytes => Value::parse_as(wanted, given.as_str()?).ok(),
        PropertyType::Stream => None,
    }
}

impl Arguments {
    /// The value of an expression of them.
    ///
    /// # Errors
    /// As [`Expression::evaluate`].
    pub fn evaluate(&self, expression: &Expression) -> Result<Term, ExpressionError> {
        expression.evaluate(&|name| {
            let (_, value) = self.0.iter().find(|(known, _)| **known == *name)?;
            Some(Term::from(value.borrow()))
        })
    }

    /// As a JSON object.
    pub fn to_json(&self) -> Json {
        let entries = self
            .0
            .iter()
            .map(|(name, value)| (name.to_string(), json(value)));
        Json::Object(entries.collect())
    }
}

/// A value as JSON; bytes are base64.
pub fn json(value: &Value) -> Json {
    match value {
        Value::Bool(v) => (*v).into(),
        Value::Int(v) => (*v).into(),
        Value::Uint(v) => (*v).into(),
        Value::Float(v) => (*v).into(),
        Value::String(v) => (**v).into(),
        bytes @ Value::Bytes(_) => bytes.to_string().into(),
    }
}

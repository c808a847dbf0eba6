//! From the free object to a [`PropertyPolicy`].

use std::time::Duration;

use serde_json::Value as Json;

mod more;
mod write;

use self::more::{OLD_MODE, OLD_MODE_OF_YAML};
use super::{Deadband, Names, OnViolation, PropertyPolicy, Transform};
use crate::{
    device::FreeObject,
    fault::Fault,
    vocabulary::{self, PROPERTY_PATHS},
};

/// Beside one of these `offset` is the address of a register.
const ADDRESS_KEYS: [&str; 3] = ["register", "table", "limit"];

pub(super) fn parse(config: &FreeObject, path: &str) -> (PropertyPolicy, FreeObject, Vec<Fault>) {
    let mut rest = config.clone();
    let mut reader = Reader {
        path,
        faults: Vec::new(),
    };
    let report = reader.report(&mut rest);
    let calculated = rest.contains_key("expression");
    let beside: Vec<_> = ["scale", "offset", "transform", "enum"]
        .into_iter()
        .filter(|key| rest.contains_key(*key))
        .collect();
    let mut policy = PropertyPolicy {
        bits: reader.bits(&mut rest),
        transform: reader.transform(&mut rest),
        names: rest
            .shift_remove("enum")
            .and_then(|value| reader.names(&value)),
        calculation: reader.calculation(&mut rest),
        deadband: rest
            .shift_remove("deadband")
            .and_then(|value| reader.deadband(&value))
            .unwrap_or_default(),
        min_interval: reader
            .duration_of(&mut rest, "minInterval")
            .unwrap_or_default(),
        max_interval: reader.duration_of(&mut rest, "maxInterval"),
        stale_after: reader.duration_of(&mut rest, "staleAfter"),
        collect_cycle: reader.duration_of(&mut rest, "collectCycle"),
        on_violation: rest
            .shift_remove("onViolation")
            .and_then(|value| reader.on_violation(&value))
            .unwrap_or_default(),
        bad_when: reader.expression_of(&mut rest, "badWhen"),
        report_always: report.always,
        history: report.history,
        sampling: reader.sampling(&mut rest),
        group: reader.group(&mut rest),
        write: rest
            .shift_remove("write")
            .and_then(|value| reader.write(&value))
            .unwrap_or_default(),
    };
    reader.fit_raw(&mut policy, &rest);
    // An `offset` that was left to the mapper is an address.
    let beside: Vec<_> = beside
        .into_iter()
        .filter(|key| !rest.contains_key(*key))
        .collect();
    if calculated && !beside.is_empty() {
        let keys = beside.join("`, `");
        reader.fault(
            "expression",
            format!("cannot stand beside `{keys}`: put all of it into the expression"),
        );
    }
    if let Some(max) = policy.max_interval
        && (max < policy.min_interval || max.is_zero())
    {
        reader.fault(
            "maxInterval",
            "must be greater than 0 and not below minInterval",
        );
    }
    (policy, rest, reader.faults)
}

struct Reader<'a> {
    path: &'a str,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, key: &str, message: impl Into<String>) {
        self.faults
            .push(Fault::error(format!("{}.{key}", self.path), message));
    }

    fn transform(&mut self, rest: &mut FreeObject) -> Transform {
        let mut scale = rest
            .shift_remove("scale")
            .and_then(|value| self.number(&value, "scale"));
        let mut offset = None;
        if !ADDRESS_KEYS.iter().any(|key| rest.contains_key(*key)) {
            offset = rest
                .shift_remove("offset")
                .and_then(|value| self.number(&value, "offset"));
        }
        if let Some(value) = rest.shift_remove("transform")
            && let Some(object) = self.object(&value, "transform")
        {
            scale = object
                .get("scale")
                .and_then(|v| self.number(v, "transform.scale"))
                .or(scale);
            offset = object
                .get("offset")
                .and_then(|v| self.number(v, "transform.offset"))
                .or(offset);
        }
        let scale = match scale {
            Some(0.0) => {
                self.fault("scale", "must not be 0");
                1.0
            }
            other => other.unwrap_or(1.0),
        };
        Transform::new(scale, offset.unwrap_or(0.0))
    }

    fn names(&mut self, value: &Json) -> Option<Names> {
        let Json::Object(object) = value else {
            self.fault(
                "enum",
                format!(
                    "expected names of raw numbers such as {{0: Off, 1: On}}, got {}",
                    kind(value)
                ),
            );
            return None;
        };
        let mut names = Names::default();
        for (raw, name) in object {
            let key = format!("enum.{raw}");
            let Some(number) = whole(raw) else {
                self.fault(&key, "the key must be a whole number, the raw value");
                continue;
            };
            let name: Box<str> = match name {
                Json::String(name) => name.as_str().into(),
                // YAML reads an unquoted On, Off, Yes or No as a truth value.
                Json::Bool(name) => {
                    self.fault(
                        &key,
                        format!("the name was read as the truth value {name}, write it in quotes"),
                    );
                    continue;
                }
                Json::Number(name) => name.to_string().into(),
                other => {
                    self.fault(&key, format!("expected a name, got {}", kind(other)));
                    continue;
                }
            };
            if names.raw(&name).is_some() {
                self.fault(
                    &key,
                    format!(
                        "the name `{name}` stands twice, so that writing it would be ambiguous"
                    ),
                );
                continue;
            }
            names.by_raw.insert(number, name);
        }
        (!names.by_raw.is_empty()).then_some(names)
    }

    fn deadband(&mut self, value: &Json) -> Option<Deadband> {
        if value.is_object() {
            let object = self.object(value, "deadband")?;
            let abs = object
                .get("abs")
                .and_then(|v| self.not_negative(v, "deadband.abs"));
            let percent = object
                .get("percent")
                .and_then(|v| self.not_negative(v, "deadband.percent"));
            return Some(Deadband { abs, percent });
        }
        Some(Deadband {
            abs: Some(self.not_negative(value, "deadband")?),
            percent: None,
        })
    }

    fn on_violation(&mut self, value: &Json) -> Option<OnViolation> {
        match value.as_str() {
            Some("flagBad") => Some(OnViolation::FlagBad),
            Some("clamp") => Some(OnViolation::Clamp),
            Some("reject") => Some(OnViolation::Reject),
            _ => {
                self.fault(
                    "onViolation",
                    format!("expected flagBad, clamp or reject, got {}", kind(value)),
                );
                None
            }
        }
    }

    fn object<'v>(&mut self, value: &'v Json, key: &str) -> Option<&'v FreeObject> {
        let known = vocabulary::below(&PROPERTY_PATHS, key);
        let Json::Object(object) = value else {
            self.fault(
                key,
                format!(
                    "expected an object with {}, got {}",
                    known.join(", "),
                    kind(value)
                ),
            );
            return None;
        };
        let old = |name: &str| key == "report" && [OLD_MODE, OLD_MODE_OF_YAML].contains(&name);
        let unknown = |name: &&String| !known.contains(&name.as_str()) && !old(name);
        for unknown in object.keys().filter(unknown) {
            self.faults.push(Fault::warning(
                format!("{}.{key}.{unknown}", self.path),
                format!("unknown key, expected one of {}", known.join(", ")),
            ));
        }
        Some(object)
    }

    fn number(&mut self, value: &Json, key: &str) -> Option<f64> {
        // Texts too: KubeEdge's own samples write numbers both ways.
        let number = match value {
            Json::Number(number) => number.as_f64(),
            Json::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number: &f64| number.is_finite());
        if number.is_none() {
            self.fault(key, format!("expected a number, got {}", kind(value)));
        }
        number
    }

    fn not_negative(&mut self, value: &Json, key: &str) -> Option<f64> {
        let number = self.number(value, key)?;
        if number < 0.0 {
            self.fault(key, "must not be negative");
            return None;
        }
        Some(number)
    }

    fn duration_of(&mut self, rest: &mut FreeObject, key: &str) -> Option<Duration> {
        let value = rest.shift_remove(key)?;
        self.duration(&value, key)
    }

    fn duration(&mut self, value: &Json, key: &str) -> Option<Duration> {
        let duration = match value {
            Json::Number(number) => number
                .as_f64()
                .and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()),
            Json::String(text) => duration(text),
            _ => None,
        };
        if duration.is_none() {
            self.fault(
                key,
                format!(
                    "expected milliseconds or a time such as 500ms, 5s or 1m30s, got {}",
                    kind(value)
                ),
            );
        }
        duration
    }
}

/// Decimal, or hexadecimal as manuals have it.
fn whole(text: &str) -> Option<i64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            i64::from_str_radix(digits, 16).ok()
        }
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// `500ms`, `5s`, `1m30s`, `1.5h`; a bare number is milliseconds.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if let Ok(ms) = rest.parse::<f64>() {
        return Duration::try_from_secs_f64(ms / 1000.0).ok();
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let (unit, seconds) = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)]
            .into_iter()
            .find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        total += number * seconds;
    }
    (!text.trim().is_empty())
        .then(|| Duration::try_from_secs_f64(total).ok())
        .flatten()
}

/// A value as a message quotes it.
pub(crate) fn kind(value: &Json) -> String {
    match value {
        Json::Null => "nothing".to_owned(),
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
        Json::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

//! Bits, expressions, and what is the mapper's or stands below `report`.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{Reader, kind};
use crate::{
    device::FreeObject,
    expression::Expression,
    policy::{Bits, Calculation, Names, PropertyPolicy, RawRange, Sampling},
};

const MOST_SHIFT: i64 = 63;
/// What `report.mode` was called at first.
pub(super) const OLD_MODE: &str = "on";
/// What a reader of YAML 1.1, such as kubectl, makes of the key `on`.
pub(super) const OLD_MODE_OF_YAML: &str = "true";

/// What stands below `report` and nowhere else.
#[derive(Default)]
pub(super) struct Report {
    /// Each reading is reported.
    pub(super) always: bool,
    /// What is reported is kept for the hub's history.
    pub(super) history: bool,
}

impl Reader<'_> {
    /// Brings what stands below `report` to the top, where it has the same
    /// meaning, and reads what stands nowhere else.
    pub(super) fn report(&mut self, rest: &mut FreeObject) -> Report {
        let Some(value) = rest.shift_remove("report") else {
            return Report::default();
        };
        let Some(object) = self.object(&value, "report") else {
            return Report::default();
        };
        for key in ["deadband", "minInterval", "maxInterval"] {
            let Some(value) = object.get(key) else {
                continue;
            };
            if rest.insert(key.to_owned(), value.clone()).is_some() {
                self.faults.push(crate::fault::Fault::warning(
                    format!("{}.{key}", self.path),
                    format!("`report.{key}` says it as well, which counts"),
                ));
            }
        }
        Report {
            always: self.report_mode(object),
            history: self.history(object),
        }
    }

    fn report_mode(&mut self, report: &FreeObject) -> bool {
        let spelt = ["mode", OLD_MODE, OLD_MODE_OF_YAML];
        let Some((key, mode)) = spelt
            .into_iter()
            .find_map(|key| Some((key, report.get(key)?)))
        else {
            return false;
        };
        match mode.as_str() {
            Some("change") => false,
            Some("always") => true,
            _ => {
                self.fault(
                    &format!("report.{key}"),
                    format!("expected change or always, got {}", kind(mode)),
                );
                false
            }
        }
    }

    fn history(&mut self, report: &FreeObject) -> bool {
        let Some(value) = report.get("history") else {
            return false;
        };
        value.as_bool().unwrap_or_else(|| {
            self.fault(
                "report.history",
                format!("expected true or false, got {}", kind(value)),
            );
            false
        })
    }

    pub(super) fn bits(&mut self, rest: &mut FreeObject) -> Bits {
        let mask = rest.shift_remove("mask").and_then(|value| {
            let mask = mask(&value).filter(|mask| *mask != 0);
            if mask.is_none() {
                self.fault(
                    "mask",
                    format!(
                        "expected bits such as 240 or \"0x00F0\", not 0, got {}",
                        kind(&value)
                    ),
                );
            }
            mask
        });
        let shift = rest.shift_remove("shift").and_then(|value| {
            let shift = value
                .as_i64()
                .or_else(|| value.as_str()?.trim().parse().ok())
                .filter(|shift| (-MOST_SHIFT..=MOST_SHIFT).contains(shift));
            if shift.is_none() {
                self.fault(
                    "shift",
                    format!(
                        "expected a whole number from -63 to 63, got {}",
                        kind(&value)
                    ),
                );
            }
            shift.and_then(|shift| i32::try_from(shift).ok())
        });
        Bits::new(mask, shift.unwrap_or(0))
    }

    /// Constants of `badWhen` and numbers of `enum` that a raw value of this type
    /// cannot have; bit patterns of signed types become the numbers that they are.
    pub(super) fn fit_raw(&mut self, policy: &mut PropertyPolicy, rest: &FreeObject) {
        let raw_type = rest.get("rawType").and_then(Json::as_str);
        let Some(range) = raw_type.and_then(RawRange::of) else {
            return;
        };
        // Some bits of it have another range; the mapper knows which.
        let address = rest.get("address");
        let has_bits = |text: &str| text.contains('.');
        let takes_bits = rest.contains_key("bit")
            || address.is_some_and(|address| {
                address.get("bit").is_some() || address.as_str().is_some_and(has_bits)
            });
        if takes_bits {
            return;
        }
        if let Some(condition) = &policy.bad_when {
            match condition.over_raw(&range) {
                Ok(fitted) => policy.bad_when = Some(fitted),
                Err(error) => self.fault("badWhen", error.to_string()),
            }
        }
        if !policy.bits.is_none() {
            return;
        }
        let Some(names) = policy.names.take() else {
            return;
        };
        let mut fitted = Names::default();
        for (raw, name) in names.by_raw {
            let number = Some(raw).filter(|raw| range.holds(*raw));
            match number.or_else(|| range.by_pattern(raw)) {
                Some(number) if fitted.by_raw.contains_key(&number) => self.fault(
                    &format!("enum.{raw}"),
                    format!("{raw} is {number} as {range}, which has a name already"),
                ),
                Some(number) => {
                    fitted.by_raw.insert(number, name);
                }
                None => self.fault(
                    &format!("enum.{raw}"),
                    format!("{raw} is outside of {range}: no value has it"),
                ),
            }
        }
        policy.names = (!fitted.by_raw.is_empty()).then_some(fitted);
    }

    pub(super) fn calculation(&mut self, rest: &mut FreeObject) -> Option<Calculation> {
        let without = rest.contains_key("inverse") && !rest.contains_key("expression");
        let expression = self.expression_of(rest, "expression");
        let inverse = self.expression_of(rest, "inverse");
        if without {
            self.fault("inverse", "there is no `expression` that it inverts");
        }
        Some(Calculation {
            expression: expression?,
            inverse,
        })
    }

    pub(super) fn expression_of(&mut self, rest: &mut FreeObject, key: &str) -> Option<Expression> {
        let value = rest.shift_remove(key)?;
        let parsed = match &value {
            Json::String(source) => Expression::parse(source, &["x"]),
            // A constant needs no quotes.
            Json::Number(_) | Json::Bool(_) => Expression::parse(&value.to_string(), &["x"]),
            other => {
                self.fault(
                    key,
                    format!("expected an expression of `x`, got {}", kind(other)),
                );
                return None;
            }
        };
        match parsed {
            Ok(expression) => Some(expression),
            Err(error) => {
                self.fault(key, error.to_string());
                None
            }
        }
    }

    pub(super) fn sampling(&mut self, rest: &mut FreeObject) -> Sampling {
        match rest.shift_remove("sampling") {
            None => Sampling::Auto,
            Some(value) => match value.as_str() {
                Some("poll") => Sampling::Poll,
                Some("subscribe" | "notify") => Sampling::Push,
                _ => {
                    self.fault(
                        "sampling",
                        format!("expected poll, subscribe or notify, got {}", kind(&value)),
                    );
                    Sampling::Auto
                }
            },
        }
    }

    pub(super) fn group(&mut self, rest: &mut FreeObject) -> Option<Arc<str>> {
        let value = rest.shift_remove("group")?;
        match value.as_str().map(str::trim) {
            Some(name) if !name.is_empty() => Some(name.into()),
            _ => {
                self.fault(
                    "group",
                    format!("expected the name of a group, got {}", kind(&value)),
                );
                None
            }
        }
    }
}

fn mask(value: &Json) -> Option<u64> {
    if let Some(mask) = value.as_u64() {
        return Some(mask);
    }
    let text = value.as_str()?.trim();
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok();
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return radix(digits, 16);
    }
    match text.strip_prefix("0b").or_else(|| text.strip_prefix("0B")) {
        Some(digits) => radix(digits, 2),
        None => text.parse().ok(),
    }
}

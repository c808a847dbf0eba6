//! Checks configurations against the schema that a mapper carries.
//!
//! A mapper's schema is JSON Schema draft 2020-12, generated from Rust types or
//! written by hand. This is the part of it that such schemas use, small enough
//! for the edge: so faults in a device show although its mapper is not there.
//! While the mapper runs, its own word counts.
//!
//! # What is looked at
//!
//! `type`, `enum`, `const`, `minimum`, `maximum`, `exclusiveMinimum`,
//! `exclusiveMaximum`, `multipleOf`, `minLength`, `maxLength`, `items`,
//! `prefixItems`, `minItems`, `maxItems`, `properties`, `required`,
//! `additionalProperties`, `minProperties`, `maxProperties`, `anyOf`, `oneOf`,
//! `allOf`, `not`, `$ref` into the same document (`#`, `#/$defs/…`) and the
//! schemas `true` and `false`; of `format` what the SDK's tables say of texts that
//! stand for a number (`integer`, `number`, `milliseconds`, `boolean`). Everything
//! else passes: `pattern` in particular, which would cost the edge a library of
//! regular expressions.
//!
//! # Guarantees
//!
//! - Pure; ends soon for every schema, also for one that refers to itself. What
//!   it would look at after 100,000 steps passes.
//! - All faults at once, each at its key path.
//! - A key that no part of the schema knows is a warning, never an error, even
//!   under `additionalProperties: false`: manifests of others load unchanged.
//!
//! ```
//! use longshore_types::schema_check::check;
//!
//! let schema = serde_json::json!({
//!     "type": "object",
//!     "properties": {"unit": {"type": "integer", "maximum": 255}},
//!     "required": ["unit"]
//! });
//! let faults = check(&schema, &serde_json::json!({"unti": 300}), "protocol");
//! assert_eq!(faults[0].to_string(), "protocol.unit: is missing");
//! assert_eq!(
//!     faults[1].to_string(),
//!     "protocol.unti: unknown key; did you mean `unit`?"
//! );
//! ```

mod known;
mod text;

use std::cell::Cell;

use serde_json::{Map, Value};

use crate::{Fault, policy::duration};

/// References that are followed within each other; more is a circle.
const MAX_DEPTH: usize = 64;
/// Schemas that are gone through for one value. Those of real mappers take
/// hundreds; one that refers to itself twice would double with each level.
const MAX_STEPS: u32 = 100_000;
/// Faults of one document; more help nobody.
const MAX_FAULTS: usize = 100;

/// A mapper's schema, by the places where its parts hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    parts: Map<String, Value>,
}

/// A place where a mapper's own vocabulary stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `protocol.configData` of a Device, over `protocolConfigData` of its model.
    Device,
    /// `visitors.configData` of a property, without the keys of the twin engine.
    Property,
    /// A method's own keys.
    Method,
    /// A request to look for devices.
    Discovery,
    /// The mapper's configuration in that of the edge.
    Mapper,
}

/// The text is no schema of a mapper.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is not JSON.
    #[error("the schema is not JSON")]
    Json(#[source] serde_json::Error),
    /// It is no object.
    #[error("the schema is not a JSON object")]
    NoObject,
}

impl Document {
    /// Reads what `longshore_host::schema` gives.
    ///
    /// # Errors
    /// The text is not a JSON object.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        match serde_json::from_str(text).map_err(DocumentError::Json)? {
            Value::Object(parts) => Ok(Self { parts }),
            _ => Err(DocumentError::NoObject),
        }
    }

    /// The JSON Schema of a part; `None` when the mapper says nothing of it.
    pub fn part(&self, part: Part) -> Option<&Value> {
        self.parts.get(match part {
            Part::Device => "device",
            Part::Property => "property",
            Part::Method => "method",
            Part::Discovery => "discovery",
            Part::Mapper => "mapper",
        })
    }

    /// Checks a configuration; its key paths begin with `at`. A part that the
    /// schema does not have allows everything.
    pub fn check(&self, part: Part, value: &Value, at: &str) -> Vec<Fault> {
        self.part(part)
            .map_or_else(Vec::new, |schema| check(schema, value, at))
    }

    /// Checks the configuration of a device as a mapper gets it
    /// (`COMMAND_CONFIGURE`); key paths are those of a mapper:
    /// `protocol.…`, `points[3].config.…`, `methods[0].config.…`.
    pub fn check_device(&self, configuration: &Value) -> Vec<Fault> {
        let nothing = Value::Object(Map::new());
        let protocol = configuration.get("protocol").unwrap_or(&nothing);
        let mut faults = self.check(Part::Device, protocol, "protocol");
        for (list, part) in [("points", Part::Property), ("methods", Part::Method)] {
            let items = configuration.get(list).and_then(Value::as_array);
            for (i, item) in items.into_iter().flatten().enumerate() {
                let config = item.get("config").unwrap_or(&nothing);
                faults.extend(self.check(part, config, &format!("{list}[{i}].config")));
            }
        }
        faults
    }
}

/// All that is wrong with `value`, at key paths that begin with `at`.
pub fn check(schema: &Value, value: &Value, at: &str) -> Vec<Fault> {
    let steps = Cell::new(MAX_STEPS);
    let mut checker = Checker {
        root: schema,
        findings: Vec::new(),
        depth: 0,
        steps: &steps,
    };
    checker.check(schema, value, at, true);
    let mut faults: Vec<Fault> = Vec::new();
    for Finding { fault, .. } in checker.findings {
        let told = fault.message.is_empty() || faults.contains(&fault);
        if !told && faults.len() < MAX_FAULTS {
            faults.push(fault);
        }
    }
    faults
}

/// Whether `value` is valid as JSON Schema has it: here a key that
/// `additionalProperties: false` forbids counts.
pub fn is_valid(schema: &Value, value: &Value) -> bool {
    let steps = Cell::new(MAX_STEPS);
    let mut checker = Checker {
        root: schema,
        findings: Vec::new(),
        depth: 0,
        steps: &steps,
    };
    checker.check(schema, value, "", false);
    checker.is_valid()
}

struct Finding {
    /// Without a message: nothing to tell, or told by another one.
    fault: Fault,
    /// JSON Schema says no, too.
    invalid: bool,
    /// How much it speaks against this form being the one that was meant.
    weight: u32,
}

struct Checker<'a> {
    root: &'a Value,
    findings: Vec<Finding>,
    depth: usize,
    /// What is left of [`MAX_STEPS`], for all attempts together.
    steps: &'a Cell<u32>,
}

/// The value is of another kind than this form: surely not what was meant.
const OTHER_FORM: u32 = 1000;
const PLAIN: u32 = 10;

impl<'a> Checker<'a> {
    fn is_valid(&self) -> bool {
        !self.findings.iter().any(|finding| finding.invalid)
    }

    fn add(&mut self, at: &str, message: String, weight: u32) {
        self.findings.push(Finding {
            fault: Fault::error(at, message),
            invalid: true,
            weight,
        });
    }

    /// `outermost`: no other schema speaks of this value, so unknown keys are known.
    fn check(&mut self, schema: &'a Value, value: &Value, at: &str, outermost: bool) {
        let Some(schema) = schema.as_object() else {
            if schema == &Value::Bool(false) {
                self.add(at, "is not allowed here".to_owned(), OTHER_FORM);
            }
            return;
        };
        let steps = self.steps.get();
        if self.depth >= MAX_DEPTH || steps == 0 {
            return;
        }
        self.steps.set(steps - 1);
        self.depth += 1;
        let before = self.findings.len();
        self.check_kind(schema, value, at);
        // What is of another kind has no other faults that would help.
        if self.findings.len() == before {
            match value {
                Value::Number(_) => self.check_number(schema, value, at),
                Value::String(text) => self.check_text(schema, text, at),
                Value::Array(items) => self.check_items(schema, items, at),
                Value::Object(keys) => self.check_keys(schema, keys, at),
                Value::Null | Value::Bool(_) => {}
            }
            self.check_combinations(schema, value, at);
        }
        if outermost && let Value::Object(keys) = value {
            self.check_unknown(schema, keys, at);
        }
        self.depth -= 1;
    }

    fn check_kind(&mut self, schema: &'a Map<String, Value>, value: &Value, at: &str) {
        if let Some(kinds) = schema.get("type") {
            let kinds: Vec<&str> = match kinds {
                Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
                one => one.as_str().into_iter().collect(),
            };
            if !kinds.is_empty() && !kinds.iter().any(|kind| is_of_kind(value, kind)) {
                return self.add(at, text::wrong_kind(&kinds, value), OTHER_FORM);
            }
        }
        if let Some(allowed) = schema.get("const")
            && !same(allowed, value)
        {
            return self.add(at, text::wrong_word(&[allowed], value), OTHER_FORM);
        }
        if let Some(Value::Array(allowed)) = schema.get("enum")
            && !allowed.iter().any(|allowed| same(allowed, value))
        {
            let allowed: Vec<_> = allowed.iter().collect();
            self.add(at, text::wrong_word(&allowed, value), OTHER_FORM);
        }
    }

    fn check_number(&mut self, schema: &Map<String, Value>, value: &Value, at: &str) {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let bounds = [
            ("minimum", Less, false, "at least"),
            ("exclusiveMinimum", Less, true, "greater than"),
            ("maximum", Greater, false, "at most"),
            ("exclusiveMaximum", Greater, true, "less than"),
        ];
        for (key, wrong, or_equal, words) in bounds {
            let Some(bound) = schema.get(key).filter(|bound| bound.is_number()) else {
                continue;
            };
            let order = order(value, bound);
            if order == Some(wrong) || (or_equal && order == Some(Equal)) {
                self.add(at, format!("must be {words} {bound}, found {value}"), PLAIN);
            }
        }
        if let Some(step) = schema.get("multipleOf").and_then(Value::as_f64)
            && let Some(number) = value.as_f64()
            && step > 0.0
            && (number / step).fract() != 0.0
        {
            self.add(
                at,
                format!("must be a multiple of {step}, found {value}"),
                PLAIN,
            );
        }
    }

    fn check_text(&mut self, schema: &Map<String, Value>, text: &str, at: &str) {
        let length = text.chars().count() as u64;
        self.check_size(schema, length, ["minLength", "maxLength"], "characters", at);
        // A number may stand as a text, but not any text is a number.
        let number = match schema.get("format").and_then(Value::as_str) {
            Some("integer") => text.trim().parse().ok().map(|whole: i64| whole.into()),
            Some("number") => text
                .trim()
                .parse::<f64>()
                .ok()
                .and_then(|number| serde_json::Number::from_f64(number).map(Value::Number)),
            Some("milliseconds") => {
                duration(text).and_then(|time| Some(u64::try_from(time.as_millis()).ok()?.into()))
            }
            Some("boolean") => {
                let word = text.to_ascii_lowercase();
                ["true", "false"].contains(&&*word).then_some(Value::Null)
            }
            _ => return,
        };
        match number {
            Some(number) => self.check_number(schema, &number, at),
            None => {
                let expected = text::format_of(schema);
                self.add(
                    at,
                    format!("expected {expected}, found `{text}`"),
                    OTHER_FORM,
                );
            }
        }
    }

    fn check_size(
        &mut self,
        schema: &Map<String, Value>,
        size: u64,
        [least, most]: [&str; 2],
        things: &str,
        at: &str,
    ) {
        let bound = |key| schema.get(key).and_then(whole);
        if let Some(least) = bound(least).filter(|least| size < *least) {
            self.add(
                at,
                format!("must have at least {least} {things}, has {size}"),
                PLAIN,
            );
        }
        if let Some(most) = bound(most).filter(|most| size > *most) {
            self.add(
                at,
                format!("must have at most {most} {things}, has {size}"),
                PLAIN,
            );
        }
    }

    fn check_items(&mut self, schema: &'a Map<String, Value>, items: &[Value], at: &str) {
        let size = items.len() as u64;
        self.check_size(schema, size, ["minItems", "maxItems"], "items", at);
        let first = schema.get("prefixItems").and_then(Value::as_array);
        let first = first.map_or(&[][..], Vec::as_slice);
        let others = schema.get("items");
        for (i, item) in items.iter().enumerate() {
            if let Some(schema) = first.get(i).or(others) {
                self.check(schema, item, &format!("{at}[{i}]"), true);
            }
        }
    }

    fn check_keys(&mut self, schema: &'a Map<String, Value>, keys: &Map<String, Value>, at: &str) {
        let size = keys.len() as u64;
        self.check_size(schema, size, ["minProperties", "maxProperties"], "keys", at);
        let required = schema.get("required").and_then(Value::as_array);
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            if !keys.contains_key(key) {
                self.add(&text::at(at, key), "is missing".to_owned(), 2 * PLAIN);
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let patterns = schema.get("patternProperties").is_some();
        for (key, value) in keys {
            let path = text::at(at, key);
            if let Some(schema) = properties.and_then(|properties| properties.get(key)) {
                self.check(schema, value, &path, true);
                continue;
            }
            match schema.get("additionalProperties") {
                // Which keys a pattern takes is not known here.
                _ if patterns => {}
                Some(Value::Bool(false)) => self.findings.push(Finding {
                    // Told by `check_unknown`, which knows what was meant.
                    fault: Fault::warning(path, ""),
                    invalid: true,
                    weight: PLAIN,
                }),
                Some(other) => self.check(other, value, &path, true),
                None => {}
            }
        }
    }

    fn check_combinations(&mut self, schema: &'a Map<String, Value>, value: &Value, at: &str) {
        if let Some(target) = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| known::resolve(self.root, reference))
        {
            self.check(target, value, at, false);
        }
        let list = |key| schema.get(key).and_then(Value::as_array);
        for part in list("allOf").into_iter().flatten() {
            self.check(part, value, at, false);
        }
        if let Some(forms) = list("anyOf") {
            self.check_forms(forms, value, at, false);
        }
        if let Some(forms) = list("oneOf") {
            self.check_forms(forms, value, at, true);
        }
        if let Some(not) = schema.get("not")
            && self.attempt(not, value, at).is_valid()
        {
            self.add(at, "is not allowed here".to_owned(), OTHER_FORM);
        }
    }

    fn attempt(&self, schema: &'a Value, value: &Value, at: &str) -> Self {
        let mut attempt = Self {
            root: self.root,
            findings: Vec::new(),
            depth: self.depth,
            steps: self.steps,
        };
        attempt.check(schema, value, at, false);
        attempt
    }

    fn check_forms(&mut self, forms: &'a [Value], value: &Value, at: &str, one: bool) {
        let attempts: Vec<_> = forms
            .iter()
            .map(|form| self.attempt(form, value, at))
            .collect();
        let fitting = attempts.iter().filter(|attempt| attempt.is_valid()).count();
        if fitting > 1 && one {
            return self.add(
                at,
                "fits more than one of the possible forms".to_owned(),
                PLAIN,
            );
        }
        if fitting > 0 || forms.is_empty() {
            // What is doubtful in the form that was meant: a misspelt key.
            let mut fitting: Vec<_> = attempts.into_iter().filter(Self::is_valid).collect();
            fitting.sort_by_key(|attempt| attempt.findings.iter().map(|f| f.weight).sum::<u32>());
            self.findings.extend(
                fitting
                    .into_iter()
                    .next()
                    .into_iter()
                    .flat_map(|form| form.findings),
            );
            return;
        }
        if let Some(words) = known::words(self.root, forms) {
            return self.add(at, text::wrong_word(&words, value), OTHER_FORM);
        }
        // The form that was meant is the one with the least against it.
        let weight = |attempt: &Self| attempt.findings.iter().map(|f| f.weight).sum::<u32>();
        let least = attempts.iter().map(weight).min().unwrap_or_default();
        let mut nearest = attempts
            .into_iter()
            .filter(|attempt| weight(attempt) == least);
        match (nearest.next(), nearest.next()) {
            (Some(meant), None) => self.findings.extend(meant.findings),
            (first, second) => {
                let all = first.into_iter().chain(second).chain(nearest);
                let messages = all.filter_map(|attempt| {
                    let mut told = attempt
                        .findings
                        .into_iter()
                        .filter(|f| !f.fault.message.is_empty());
                    let finding = told.next()?;
                    Some(text::relative(&finding.fault, at))
                });
                self.add(at, text::none_fits(messages), least.max(PLAIN));
            }
        }
    }

    /// Keys of which no part of the schema speaks.
    fn check_unknown(
        &mut self,
        schema: &'a Map<String, Value>,
        keys: &Map<String, Value>,
        at: &str,
    ) {
        let mut known = known::Keys::default();
        known.collect(self.root, schema, 0);
        if known.open || (known.names.is_empty() && !known.closed) {
            return;
        }
        for key in keys
            .keys()
            .filter(|key| !known.names.contains(key.as_str()))
        {
            let message = text::unknown_key(key, &known.names);
            self.findings.push(Finding {
                fault: Fault::warning(text::at(at, key), message),
                invalid: false,
                weight: 1,
            });
        }
    }
}

fn is_of_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => is_whole(value),
        // A kind that is to come.
        _ => true,
    }
}

/// 5.0 is a whole number too (JSON Schema Core, section 4.2.3).
fn is_whole(value: &Value) -> bool {
    value.is_i64()
        || value.is_u64()
        || value
            .as_f64()
            .is_some_and(|number| number.is_finite() && number.fract() == 0.0)
}

/// A size, which may be written 2.0.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        value
            .as_f64()
            .filter(|size| *size >= 0.0 && size.fract() == 0.0)
            .map(|size| size as u64)
    })
}

/// Equal as JSON Schema has it: numbers by their value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => order(a, b) == Some(std::cmp::Ordering::Equal),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// Whole numbers exactly, others as floating point numbers.
fn order(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    let exact = |value: &Value| {
        let whole = value.as_i64().map(i128::from);
        whole.or_else(|| value.as_u64().map(i128::from))
    };
    match (exact(a), exact(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

//! Label and field selectors.

use serde_json::Value;

use super::status::ApiError;
use crate::registry::Selectable;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
    Greater(i64),
    Less(i64),
}

/// A parsed label selector. The empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels(Vec<(String, Test)>);

impl Labels {
    pub(crate) fn parse(text: &str) -> Result<Labels, ApiError> {
        let mut tests = Vec::new();
        for part in split(text) {
            tests.push(requirement(part.trim()).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "unable to parse requirement: {part:?} in label selector {text:?}"
                ))
            })?);
        }
        Ok(Labels(tests))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0.iter().all(|(key, test)| {
            let value = labels.get(key).and_then(Value::as_str);
            match test {
                Test::In(list) => value.is_some_and(|value| list.iter().any(|item| item == value)),
                Test::NotIn(list) => {
                    value.is_none_or(|value| list.iter().all(|item| item != value))
                }
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
                Test::Greater(least) => value
                    .and_then(|value| value.parse().ok())
                    .is_some_and(|n: i64| n > *least),
                Test::Less(most) => value
                    .and_then(|value| value.parse().ok())
                    .is_some_and(|n: i64| n < *most),
            }
        })
    }
}

/// Splits at commas that stand outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn requirement(text: &str) -> Option<(String, Test)> {
    let key = |text: &str| {
        let key = text.trim();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        (!key.is_empty() && key.chars().all(fits)).then(|| key.to_owned())
    };
    if let Some(rest) = text.strip_prefix('!') {
        return Some((key(rest)?, Test::Missing));
    }
    if let Some(end) = text.strip_suffix(')') {
        let (head, list) = end.split_once('(')?;
        let values = list
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        let mut words = head.split_whitespace();
        let name = key(words.next()?)?;
        return match (words.next()?, words.next()) {
            ("in", None) => Some((name, Test::In(values))),
            ("notin", None) => Some((name, Test::NotIn(values))),
            _ => None,
        };
    }
    let one = |value: &str| vec![value.trim().to_owned()];
    for (sign, negative) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((name, value)) = text.split_once(sign) {
            let test = if negative {
                Test::NotIn(one(value))
            } else {
                Test::In(one(value))
            };
            return Some((key(name)?, test));
        }
    }
    if let Some((name, value)) = text.split_once('>') {
        return Some((key(name)?, Test::Greater(value.trim().parse().ok()?)));
    }
    if let Some((name, value)) = text.split_once('<') {
        return Some((key(name)?, Test::Less(value.trim().parse().ok()?)));
    }
    Some((key(text)?, Test::Exists))
}

/// A parsed field selector.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<Field>);

/// One condition of it.
#[derive(Clone, Debug)]
struct Field {
    of: Selectable,
    value: String,
    negated: bool,
}

impl Fields {
    /// `known` are the fields that the resource can be selected by.
    pub(crate) fn parse(text: &str, known: &[Selectable]) -> Result<Fields, ApiError> {
        let mut tests = Vec::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (path, value, negated) = [("!=", true), ("==", false), ("=", false)]
                .into_iter()
                .find_map(|(sign, negated)| {
                    part.split_once(sign)
                        .map(|(path, value)| (path, value, negated))
                })
                .ok_or_else(|| {
                    ApiError::bad_request(format!(
                        "invalid selector: '{text}'; can't understand '{part}'"
                    ))
                })?;
            let path = path.trim();
            let found = known.iter().find(|field| field.label == path).cloned();
            let of = match path {
                "metadata.name" | "metadata.namespace" => Some(Selectable::plain(path)),
                _ => found,
            };
            tests.push(Field {
                of: of.ok_or_else(|| {
                    ApiError::bad_request(format!("field label not supported: {path}"))
                })?,
                value: value.trim().to_owned(),
                negated,
            });
        }
        Ok(Fields(tests))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name, when the selector asks for exactly one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0
            .iter()
            .find(|test| test.of.label == "metadata.name" && !test.negated)
            .map(|test| test.value.as_str())
    }

    /// Whether an object's own fields decide, which can change, and not only its name.
    pub(crate) fn mutable(&self) -> bool {
        self.0
            .iter()
            .any(|test| !test.of.label.starts_with("metadata."))
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|test| test.holds(object))
    }
}

impl Field {
    fn holds(&self, object: &Value) -> bool {
        let mut places = self.of.places.iter();
        let found = places.find_map(|place| {
            let found = place.split('.').fold(object, |at, name| &at[name]);
            (!found.is_null() && found != "").then_some(found)
        });
        let same = match found {
            None => self.value == self.of.absent,
            Some(Value::String(text)) => *text == self.value,
            Some(other) => self.value.parse().is_ok_and(|value: Value| value == *other),
        };
        same != self.negated
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selects(selector: &str, object: &Value) -> bool {
        Labels::parse(selector).expect(selector).matches(object)
    }

    #[test]
    fn label_selectors() {
        let object = json!({"metadata": {"labels": {"app": "x", "tier": "web", "n": "5"}}});
        for yes in [
            "",
            "app",
            "app=x",
            "app==x",
            "app in (x, y)",
            "app in (x,y),!z",
            "tier!=db",
            "z notin (a)",
            "n>4",
        ] {
            assert!(selects(yes, &object), "{yes}");
        }
        for no in [
            "z",
            "!app",
            "app=y",
            "app notin (x)",
            "tier=web,app=y",
            "n<5",
        ] {
            assert!(!selects(no, &object), "{no}");
        }
        for bad in ["app in x)", "a b", "=x", "app foo (x)", "n>x"] {
            assert!(Labels::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn field_selectors() {
        let known = ["involvedObject.name", "spec.unschedulable"].map(Selectable::plain);
        let object = json!({"metadata": {"name": "a"}, "involvedObject": {"name": "n"}, "spec": {"unschedulable": true}});
        let parse = |text: &str| Fields::parse(text, &known).expect("parses");
        assert!(
            parse("metadata.name=a,involvedObject.name==n,spec.unschedulable=true")
                .matches(&object)
        );
        assert!(!parse("metadata.name!=a").matches(&object));
        assert_eq!(parse("metadata.name=a").name(), Some("a"));
        assert!(Fields::parse("spec.other=x", &known).is_err());
    }

    #[test]
    fn an_absent_field_is_what_it_is_by_default() {
        let known = [
            Selectable {
                absent: "false",
                ..Selectable::plain("spec.unschedulable")
            },
            Selectable {
                places: vec!["source.component".into(), "reportingComponent".into()],
                ..Selectable::plain("source")
            },
        ];
        let is = |text: &str, object: Value| {
            let fields = Fields::parse(text, &known).expect("parses");
            fields.matches(&object)
        };
        for (text, wanted) in [
            ("spec.unschedulable=false", true),
            ("spec.unschedulable!=false", false),
            ("spec.unschedulable=true", false),
            ("spec.unschedulable!=true", true),
            ("spec.unschedulable=", false),
            ("source=", true),
        ] {
            assert_eq!(is(text, json!({})), wanted, "{text}");
        }
        assert!(is("source=a", json!({"source": {"component": "a"}})));
        assert!(is(
            "source=b",
            json!({"source": {}, "reportingComponent": "b"})
        ));
    }
}

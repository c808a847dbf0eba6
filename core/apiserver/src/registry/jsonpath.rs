//! The part of JSONPath that printer columns use: fields, indices, `[*]` and
//! filters on equality such as `.status.conditions[?(@.type=="Ready")].status`.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Filter {
        path: Vec<String>,
        equal: bool,
        value: Value,
    },
}

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonPath(Vec<Step>);

impl JsonPath {
    /// Reads a path; `None` when it uses something that is not supported.
    pub(crate) fn parse(text: &str) -> Option<JsonPath> {
        let mut rest = text
            .trim()
            .trim_start_matches('{')
            .trim_end_matches('}')
            .trim_start_matches('$');
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix('[') {
                let end = closing(tail)?;
                steps.push(bracket(&tail[..end])?);
                rest = &tail[end + 1..];
            } else {
                let tail = rest.strip_prefix('.').unwrap_or(rest);
                let (name, tail) = word(tail)?;
                steps.push(if name == "*" {
                    Step::All
                } else {
                    Step::Field(name)
                });
                rest = tail;
            }
        }
        Some(JsonPath(steps))
    }

    /// All values that the path leads to.
    pub(crate) fn find<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![root];
        for step in &self.0 {
            found = found
                .into_iter()
                .flat_map(|value| follow(step, value))
                .collect();
        }
        found
    }
}

fn follow<'a>(step: &Step, value: &'a Value) -> Vec<&'a Value> {
    match step {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Index(index) => {
            let Some(items) = value.as_array() else {
                return Vec::new();
            };
            let at = if *index < 0 {
                items.len() as i64 + index
            } else {
                *index
            };
            usize::try_from(at)
                .ok()
                .and_then(|at| items.get(at))
                .into_iter()
                .collect()
        }
        Step::All => match value {
            Value::Array(items) => items.iter().collect(),
            Value::Object(map) => map.values().collect(),
            _ => Vec::new(),
        },
        Step::Filter {
            path,
            equal,
            value: wanted,
        } => value
            .as_array()
            .into_iter()
            .flatten()
            .filter(|item| {
                (path.iter().fold(*item, |at, name| &at[name.as_str()]) == wanted) == *equal
            })
            .collect(),
    }
}

/// The name up to the next `.` or `[`; a backslash quotes the character behind it.
fn word(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => name.push(characters.next()?.1),
            '.' | '[' => return (!name.is_empty()).then(|| (name, &text[index..])),
            _ => name.push(character),
        }
    }
    (!name.is_empty()).then_some((name, ""))
}

/// Where the bracket that was opened before `text` closes.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (index, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(index),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(inner: &str) -> Option<Step> {
    let inner = inner.trim();
    if inner == "*" {
        return Some(Step::All);
    }
    if let Ok(index) = inner.parse() {
        return Some(Step::Index(index));
    }
    if let Value::String(name) = literal(inner)? {
        return Some(Step::Field(name));
    }
    let condition = inner.strip_prefix("?(")?.strip_suffix(')')?;
    let (left, right, equal) = match condition.split_once("==") {
        Some((left, right)) => (left, right, true),
        None => condition
            .split_once("!=")
            .map(|(left, right)| (left, right, false))?,
    };
    let path = left
        .trim()
        .strip_prefix('@')?
        .trim_start_matches('.')
        .split('.')
        .map(str::to_owned)
        .collect();
    Some(Step::Filter {
        path,
        equal,
        value: literal(right.trim()).filter(|value| !value.is_null())?,
    })
}

/// A quoted string, number or boolean; null for anything else.
fn literal(text: &str) -> Option<Value> {
    let quoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(text) = quoted('\'').or_else(|| quoted('"')) {
        return Some(Value::String(text.to_owned()));
    }
    Some(
        serde_json::from_str(text)
            .ok()
            .filter(|value: &Value| !value.is_string())
            .unwrap_or(Value::Null),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_printer_columns() {
        let object = json!({
            "spec": {"a": 1, "list": [{"n": "x"}, {"n": "y"}]},
            "metadata": {"labels": {"a.b/c": "v"}},
            "status": {"conditions": [{"type": "Up", "status": "False"}, {"type": "Ready", "status": "True"}]},
        });
        let find = |path: &str| -> Vec<Value> {
            JsonPath::parse(path)
                .expect(path)
                .find(&object)
                .into_iter()
                .cloned()
                .collect()
        };
        assert_eq!(find(".spec.a"), [json!(1)]);
        assert_eq!(find("{.spec.list[*].n}"), [json!("x"), json!("y")]);
        assert_eq!(find(".spec.list[-1].n"), [json!("y")]);
        assert_eq!(find(".metadata.labels['a.b/c']"), [json!("v")]);
        assert_eq!(find(r".metadata.labels.a\.b/c"), [json!("v")]);
        assert_eq!(
            find(r#".status.conditions[?(@.type=="Ready")].status"#),
            [json!("True")]
        );
        assert_eq!(find(".nothing.here"), Vec::<Value>::new());
        assert_eq!(JsonPath::parse(".a[?(@.b"), None);
    }
}

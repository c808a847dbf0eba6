//! A tree against a schema: unknown, doubled, missing and ill-typed fields.

use std::collections::HashMap;

use super::tree::{Key, Node, Tree};
use crate::schema::{Field, Schema, Shape};

/// Texts of an object's metadata that a file may hold. What the server fills
/// in is there too: files are often written by `kubectl get -o yaml`.
const METADATA: [&str; 15] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "finalizers",
    "ownerReferences",
    "managedFields",
    "selfLink",
];

/// Something wrong at a line.
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) path: String,
    pub(super) message: String,
}

/// All that is wrong in `tree`.
pub(super) fn check(tree: &Tree, schema: &Schema) -> Vec<Wrong> {
    let mut checker = Checker {
        path: Vec::new(),
        wrong: Vec::new(),
    };
    checker.value(tree, schema);
    checker.wrong
}

struct Checker {
    path: Vec<String>,
    wrong: Vec<Wrong>,
}

impl Checker {
    fn fault(&mut self, line: usize, message: String) {
        let mut path = String::new();
        for part in &self.path {
            if !path.is_empty() && !part.starts_with('[') {
                path.push('.');
            }
            path.push_str(part);
        }
        self.wrong.push(Wrong {
            line,
            path,
            message,
        });
    }

    fn within(&mut self, part: String, check: impl FnOnce(&mut Self)) {
        self.path.push(part);
        check(self);
        self.path.pop();
    }

    fn value(&mut self, tree: &Tree, schema: &Schema) {
        // `null` is the same as absent, as for the API server.
        if tree.value == Node::Null {
            return;
        }
        match (&schema.shape, &tree.value) {
            (Shape::Object(fields), Node::Object(found)) => self.object(tree, found, fields),
            (Shape::Free, Node::Object(found)) => self.free(found),
            (Shape::Metadata, Node::Object(found)) => self.metadata(tree, found),
            (Shape::Map, Node::Object(found)) => self.map(found),
            (Shape::List(items), Node::List(found)) => {
                for (index, item) in found.iter().enumerate() {
                    self.within(format!("[{index}]"), |checker| checker.value(item, items));
                }
            }
            (Shape::Enum(values), Node::Text(text)) if !values.contains(&text.as_str()) => {
                self.fault(
                    tree.line,
                    format!("`{text}` is not one of {}", values.join(", ")),
                );
            }
            (Shape::Text | Shape::Enum(_), Node::Text(_)) | (Shape::Bool, Node::Bool(_)) => {}
            (Shape::Int64 | Shape::Int, Node::Number(number)) if number.is_i64() => {}
            (Shape::Int32, Node::Number(number))
                if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {}
            (shape, node) => self.fault(tree.line, mismatch(shape, node)),
        }
    }

    fn object(&mut self, tree: &Tree, found: &[(Key, Tree)], fields: &[Field]) {
        self.duplicates(found);
        for (key, value) in found {
            self.within(key.name.clone(), |checker| {
                match fields.iter().find(|field| field.name == key.name) {
                    Some(field) => checker.value(value, &field.schema),
                    None => {
                        let near = fields
                            .iter()
                            .map(|field| field.name)
                            .min_by_key(|name| distance(name, &key.name));
                        let hint = match near {
                            Some(name) if distance(name, &key.name) <= 1 + key.name.len() / 4 => {
                                format!(", did you mean `{name}`?")
                            }
                            _ => format!(
                                ", expected one of {}",
                                fields.iter().map(|f| f.name).collect::<Vec<_>>().join(", ")
                            ),
                        };
                        checker.fault(key.line, format!("unknown field{hint}"));
                    }
                }
            });
        }
        for field in fields.iter().filter(|field| field.required) {
            if !found
                .iter()
                .any(|(key, value)| key.name == field.name && value.value != Node::Null)
            {
                self.within(field.name.to_owned(), |checker| {
                    checker.fault(tree.line, "missing".to_owned())
                });
            }
        }
    }

    fn free(&mut self, found: &[(Key, Tree)]) {
        self.duplicates(found);
        for (key, value) in found {
            self.within(key.name.clone(), |checker| checker.any(value));
        }
    }

    fn any(&mut self, tree: &Tree) {
        match &tree.value {
            Node::Object(found) => self.free(found),
            Node::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.within(format!("[{index}]"), |checker| checker.any(item));
                }
            }
            _ => {}
        }
    }

    fn map(&mut self, found: &[(Key, Tree)]) {
        self.duplicates(found);
        let text = Schema {
            description: "",
            shape: Shape::Text,
        };
        for (key, value) in found {
            self.within(key.name.clone(), |checker| checker.value(value, &text));
        }
    }

    fn metadata(&mut self, tree: &Tree, found: &[(Key, Tree)]) {
        self.duplicates(found);
        for (key, value) in found {
            self.within(key.name.clone(), |checker| match key.name.as_str() {
                "name" | "namespace" => checker.value(
                    value,
                    &Schema {
                        description: "",
                        shape: Shape::Text,
                    },
                ),
                "labels" | "annotations" => checker.value(
                    value,
                    &Schema {
                        description: "",
                        shape: Shape::Map,
                    },
                ),
                known if METADATA.contains(&known) => {}
                _ => checker.fault(key.line, "unknown field".to_owned()),
            });
        }
        if tree.text("name").is_none_or(str::is_empty) {
            self.within("name".into(), |checker| {
                checker.fault(tree.line, "missing".to_owned())
            });
        }
    }

    fn duplicates(&mut self, found: &[(Key, Tree)]) {
        let mut first: HashMap<&str, usize> = HashMap::with_capacity(found.len());
        for (key, _) in found {
            match first.get(key.name.as_str()) {
                Some(line) => {
                    let message = format!("stands twice, first in line {line}");
                    self.within(key.name.clone(), |checker| checker.fault(key.line, message));
                }
                None => {
                    first.insert(&key.name, key.line);
                }
            }
        }
    }
}

fn mismatch(shape: &Shape, node: &Node) -> String {
    let expected = match shape {
        Shape::Object(_) | Shape::Free | Shape::Metadata | Shape::Map => "an object",
        Shape::List(_) => "a list",
        Shape::Text | Shape::Enum(_) => "a text",
        Shape::Int64 | Shape::Int => "a whole number",
        Shape::Int32 => "a whole number of 32 bits",
        Shape::Bool => "true or false",
    };
    match (shape, node) {
        // The most frequent one: `value: 30` where the API has a text.
        (Shape::Text, Node::Number(number)) => {
            format!("expected {expected}, got the number {number}; write \"{number}\"")
        }
        (Shape::Text, Node::Bool(value)) => {
            format!("expected {expected}, got {value}; write \"{value}\"")
        }
        (_, Node::Number(number)) => format!("expected {expected}, got {number}"),
        (_, Node::Bool(value)) => format!("expected {expected}, got {value}"),
        (_, Node::Text(text)) => format!("expected {expected}, got `{text}`"),
        (_, Node::List(_)) => format!("expected {expected}, got a list"),
        (_, Node::Object(_) | Node::Null) => format!("expected {expected}, got an object"),
    }
}

/// Edit distance, for "did you mean".
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(!ca.eq_ignore_ascii_case(cb));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

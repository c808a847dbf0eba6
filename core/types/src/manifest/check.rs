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

/// So few keys are compared with each other.
const FEW: usize = 12;

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

/// A step to where the checker is; its text is made for faults alone.
enum Step<'t> {
    Key(&'t str),
    Item(usize),
}

struct Checker<'t> {
    path: Vec<Step<'t>>,
    wrong: Vec<Wrong>,
}

impl<'t> Checker<'t> {
    fn fault(&mut self, line: usize, message: String) {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
                Step::Item(index) => path.push_str(&format!("[{index}]")),
            }
        }
        self.wrong.push(Wrong {
            line,
            path,
            message,
        });
    }

    fn within(&mut self, step: Step<'t>, check: impl FnOnce(&mut Self)) {
        self.path.push(step);
        check(self);
        self.path.pop();
    }

    fn value(&mut self, tree: &'t Tree, schema: &Schema) {
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
                    self.within(Step::Item(index), |checker| checker.value(item, items));
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

    fn object(&mut self, tree: &'t Tree, found: &'t [(Key, Tree)], fields: &[Field]) {
        self.duplicates(found);
        for (key, value) in found {
            self.within(Step::Key(&key.name), |checker| {
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
                self.within(Step::Key(field.name), |checker| {
                    checker.fault(tree.line, "missing".to_owned())
                });
            }
        }
    }

    fn free(&mut self, found: &'t [(Key, Tree)]) {
        self.duplicates(found);
        for (key, value) in found {
            self.within(Step::Key(&key.name), |checker| checker.any(value));
        }
    }

    fn any(&mut self, tree: &'t Tree) {
        match &tree.value {
            Node::Object(found) => self.free(found),
            Node::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.within(Step::Item(index), |checker| checker.any(item));
                }
            }
            _ => {}
        }
    }

    fn map(&mut self, found: &'t [(Key, Tree)]) {
        self.duplicates(found);
        let text = Schema {
            description: "",
            shape: Shape::Text,
        };
        for (key, value) in found {
            self.within(Step::Key(&key.name), |checker| checker.value(value, &text));
        }
    }

    fn metadata(&mut self, tree: &'t Tree, found: &'t [(Key, Tree)]) {
        self.duplicates(found);
        for (key, value) in found {
            self.within(Step::Key(&key.name), |checker| match key.name.as_str() {
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
                other => {
                    let hint = crate::near::nearest(other, METADATA)
                        .map_or_else(String::new, |known| format!(", did you mean `{known}`?"));
                    checker.fault(key.line, format!("unknown field{hint}"));
                }
            });
        }
        if tree.text("name").is_none_or(str::is_empty) {
            self.within(Step::Key("name"), |checker| {
                checker.fault(tree.line, "missing".to_owned())
            });
        }
    }

    fn duplicates(&mut self, found: &'t [(Key, Tree)]) {
        let mut twice = |key: &'t Key, line: usize| {
            let message = format!("stands twice, first in line {line}");
            self.within(Step::Key(&key.name), |checker| {
                checker.fault(key.line, message)
            });
        };
        if found.len() <= FEW {
            for (index, (key, _)) in found.iter().enumerate() {
                let first = found[..index]
                    .iter()
                    .find(|(first, _)| first.name == key.name);
                if let Some((first, _)) = first {
                    twice(key, first.line);
                }
            }
            return;
        }
        let mut first: HashMap<&str, usize> = HashMap::with_capacity(found.len());
        for (key, _) in found {
            match first.get(key.name.as_str()) {
                Some(line) => twice(key, *line),
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

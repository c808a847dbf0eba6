//! YAML as a tree that knows its lines and still has its duplicates.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::Number;
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

/// A value and its line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    pub(super) line: usize,
    pub(super) value: Node,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(Key, Tree)>),
}

/// A key and its line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) line: usize,
    pub(super) name: String,
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
    }
}

/// One document, whose first line has this number in its file, with the parser of
/// the whole language.
pub(super) fn parse(text: &str, first_line: usize) -> Result<Option<Tree>, (usize, String)> {
    let offset = first_line - 1;
    match serde_saphyr::from_str_with_options::<Raw>(text, options()) {
        Ok(raw) => Ok(Some(raw.tree(offset)).filter(|tree| tree.value != Node::Null)),
        Err(error) => {
            let line = error
                .location()
                .map_or(first_line, |location| location.line() as usize + offset);
            Err((line, one_line(&error.to_string())))
        }
    }
}

/// A scalar that stands for itself, if it is one.
pub(super) fn scalar(text: &str) -> Option<Node> {
    match serde_saphyr::from_str_with_options::<RawNode>(text, options()) {
        Ok(RawNode::Leaf(node)) => Some(node),
        _ => None,
    }
}

/// The parser's message without its place, which stands before it already.
fn one_line(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let first = first.split(" at line ").next().unwrap_or(first);
    let first = first.trim_start_matches("error: ");
    let rest = match first.strip_prefix("line ") {
        Some(rest) => rest.split_once(": ").map_or(first, |(_, text)| text),
        None => first,
    };
    rest.to_owned()
}

impl Tree {
    /// A field, the first one of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Node::Object(fields) = &self.value else {
            return None;
        };
        fields
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(_, value)| value)
    }

    /// A field's text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match &self.get(name)?.value {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A field's line, or the object's own.
    pub(super) fn line_of(&self, name: &str) -> usize {
        self.get(name).map_or(self.line, |field| field.line)
    }

    /// An object's field; made with the value of `otherwise` where it is missing.
    pub(super) fn field_or(&mut self, name: &str, otherwise: Node) -> Option<&mut Self> {
        let line = self.line;
        let Node::Object(fields) = &mut self.value else {
            return None;
        };
        let at = match fields.iter().position(|(key, _)| key.name == name) {
            Some(at) => at,
            None => {
                let key = Key {
                    line,
                    name: name.to_owned(),
                };
                let value = Self {
                    line,
                    value: otherwise,
                };
                fields.push((key, value));
                fields.len() - 1
            }
        };
        fields.get_mut(at).map(|(_, value)| value)
    }
}

/// As the parser gives it: with places relative to the document.
struct Raw(Spanned<RawNode>);

enum RawNode {
    Leaf(Node),
    List(Vec<Raw>),
    Object(Vec<(Spanned<RawKey>, Raw)>),
}

/// A key: numbers and truth values are keys too (`enum: {0: Off}`).
struct RawKey(String);

impl Raw {
    fn tree(self, offset: usize) -> Tree {
        let line = self.0.referenced.line() as usize + offset;
        let value = match self.0.value {
            RawNode::Leaf(node) => node,
            RawNode::List(items) => {
                Node::List(items.into_iter().map(|item| item.tree(offset)).collect())
            }
            RawNode::Object(fields) => {
                let field = |(key, value): (Spanned<RawKey>, Raw)| {
                    let line = key.referenced.line() as usize + offset;
                    (
                        Key {
                            line,
                            name: key.value.0,
                        },
                        value.tree(offset),
                    )
                };
                Node::Object(fields.into_iter().map(field).collect())
            }
        };
        Tree { line, value }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for RawKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match RawNode::deserialize(deserializer)? {
            RawNode::Leaf(Node::Text(text)) => Ok(Self(text)),
            RawNode::Leaf(Node::Number(number)) => Ok(Self(number.to_string())),
            RawNode::Leaf(Node::Bool(value)) => Ok(Self(value.to_string())),
            _ => Err(serde::de::Error::custom("a key must be a text")),
        }
    }
}

impl<'de> Deserialize<'de> for RawNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = RawNode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML that JSON can hold")
    }

    fn visit_unit<E>(self) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Node::Null))
    }

    fn visit_none<E>(self) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Node::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawNode, D::Error> {
        RawNode::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Node::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Node::Number(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Node::Number(value.into())))
    }

    /// JSON has no infinity; as a text it is refused wherever a number belongs.
    fn visit_f64<E>(self, value: f64) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Number::from_f64(value).map_or_else(
            || Node::Text(value.to_string()),
            Node::Number,
        )))
    }

    fn visit_str<E>(self, value: &str) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Node::Text(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<RawNode, E> {
        Ok(RawNode::Leaf(Node::Text(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<RawNode, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(RawNode::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<RawNode, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        Ok(RawNode::Object(fields))
    }
}

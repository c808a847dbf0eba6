//! Where in a file a key stands.

use super::{
    Place,
    read::read,
    split,
    tree::{Node, Tree},
};
use crate::files;

/// A document whose keys can be looked up.
#[derive(Debug)]
pub struct Lines(Tree);

/// How far a key path leads in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The line of the last key that is there.
    pub line: usize,
    /// What is left of the path, in bytes: 0 if all of it is there.
    pub left: usize,
}

impl Lines {
    /// Reads the document of a place again; nothing if it is gone or no YAML.
    pub fn read(place: &Place) -> Option<Self> {
        let text = files::read_text(&place.file, files::MANIFEST).ok()?;
        let (first, document) = split(&text).into_iter().nth(place.document - 1)?;
        Some(Self(read(&document, first).ok()??))
    }

    /// Follows a path such as `spec.properties[2].visitors`. In a list, a name
    /// stands for the item that has it: `methods[reset]`.
    pub fn find(&self, path: &str) -> Found {
        let (mut tree, mut line, mut rest) = (&self.0, self.0.line, path);
        while !rest.is_empty() {
            let Some((inner, at, left)) = step(tree, rest) else {
                break;
            };
            (tree, line, rest) = (inner, at, left);
        }
        Found {
            line,
            left: rest.len(),
        }
    }
}

/// What the first part of a path leads to, its line, and the rest of the path.
fn step<'t, 'p>(tree: &'t Tree, path: &'p str) -> Option<(&'t Tree, usize, &'p str)> {
    match &tree.value {
        Node::Object(fields) => {
            let path = path.trim_start_matches('.');
            let behind = |name: &str| {
                let rest = path.strip_prefix(name)?;
                (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
            };
            // A key may hold dots itself: the longest one counts.
            let known = fields.iter().filter(|(key, _)| !key.name.is_empty());
            let found = known.filter_map(|(key, value)| Some((key, value, behind(&key.name)?)));
            let (key, value, rest) = found.max_by_key(|(key, ..)| key.name.len())?;
            Some((value, key.line, rest))
        }
        Node::List(items) => {
            let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
            let item = match index.parse::<usize>() {
                Ok(index) => items.get(index)?,
                Err(_) => items.iter().find(|item| item.text("name") == Some(index))?,
            };
            Some((item, item.line, rest))
        }
        _ => None,
    }
}

//! A document as a tree: by the quick reader where that is sure, else by the whole one.

use super::{
    quick,
    tree::{Tree, parse},
};

/// Reads one document whose first line has this number in its file.
pub(super) fn read(text: &str, first_line: usize) -> Result<Option<Tree>, (usize, String)> {
    match quick::read(text, first_line) {
        Some(tree) => Ok(Some(tree)),
        None => parse(text, first_line),
    }
}

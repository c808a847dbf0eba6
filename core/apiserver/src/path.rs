//! Where something stands in an object.
//!
//! A path is a chain of borrowed steps, as long as the object is deep. Its text is
//! made for faults alone: made for every element, it would cost the square of the
//! body's size, since each element has the keys of all above it in its text.

use std::fmt;

/// Characters of one name that are told; a key of a megabyte is cut.
const NAME: usize = 256;

/// A place in an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'a> {
    above: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    /// A key of a map that is told in brackets, as in `properties[name]`.
    Key(&'a str),
    /// What stands here is checked as an object of its own.
    Body,
}

impl<'a> Path<'a> {
    /// The object itself.
    pub(crate) const ROOT: Path<'static> = Path {
        above: None,
        step: Step::Root,
    };

    /// A field of what stands here.
    pub(crate) fn field<'b>(&'b self, name: &'b str) -> Path<'b> {
        self.and(Step::Field(name))
    }

    /// An item of what stands here.
    pub(crate) fn index<'b>(&'b self, index: usize) -> Path<'b> {
        self.and(Step::Index(index))
    }

    /// An entry of what stands here, in brackets.
    pub(crate) fn key<'b>(&'b self, key: &'b str) -> Path<'b> {
        self.and(Step::Key(key))
    }

    /// The same place, for what is checked as an object of its own there.
    pub(crate) fn body(&self) -> Path<'_> {
        self.and(Step::Body)
    }

    /// The way from the object that is checked to here.
    pub(crate) fn in_body(&self) -> InBody<'_> {
        InBody(self)
    }

    fn and<'b>(&'b self, step: Step<'b>) -> Path<'b> {
        Path {
            above: Some(self),
            step,
        }
    }
}

/// [`Path::in_body`]
pub(crate) struct InBody<'a>(&'a Path<'a>);

impl fmt::Display for InBody<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, |step| matches!(step, Step::Body))
    }
}

/// `spec.items[3].name`; nothing for the root.
impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, |_| false)
    }
}

impl Path<'_> {
    /// Writes the steps behind the last one that `begins` it.
    fn write(&self, f: &mut fmt::Formatter<'_>, begins: fn(Step<'_>) -> bool) -> fmt::Result {
        let mut steps = Vec::new();
        let mut at = Some(self);
        while let Some(path) = at.filter(|path| !begins(path.step)) {
            steps.push(path.step);
            at = path.above;
        }
        let mut first = true;
        for step in steps.into_iter().rev() {
            match step {
                Step::Root | Step::Body => continue,
                Step::Field(name) if first => f.write_str(cut(name))?,
                Step::Field(name) => write!(f, ".{}", cut(name))?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => write!(f, "[{}]", cut(key))?,
            }
            first = false;
        }
        Ok(())
    }
}

fn cut(text: &str) -> &str {
    begin(text, NAME)
}

/// The beginning of a text, of so many bytes at most.
pub(crate) fn begin(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_people_write_it() {
        let spec = Path::ROOT.field("spec");
        let items = spec.field("items");
        let third = items.index(3);
        assert_eq!(third.field("name").to_string(), "spec.items[3].name");
        assert_eq!(spec.key("a b").to_string(), "spec[a b]");
        assert_eq!(Path::ROOT.to_string(), "");
        let default = spec.field("default");
        let body = default.body();
        assert_eq!(body.to_string(), "spec.default");
        assert_eq!(body.field("a").to_string(), "spec.default.a");
        assert_eq!(body.field("a").in_body().to_string(), "a");
        let long = "é".repeat(1_000_000);
        assert_eq!(spec.field(&long).to_string().len(), "spec.".len() + NAME);
    }
}

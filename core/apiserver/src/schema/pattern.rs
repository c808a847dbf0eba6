//! Regular expressions of definitions: from strangers, so with a bound.
//!
//! Matching takes no more steps than the product of the pattern's size, once its
//! repetitions are written out, and the text's. The first has a bound of its own, and
//! the product counts as what a check costs.

use regex_lite::{Error, Regex, RegexBuilder};

/// Sizes in bytes that are tried; a pattern has the first that is enough.
const SIZES: &[usize] = &[4 << 10, 32 << 10, Pattern::LARGEST];

/// Bytes that one state of the compiled pattern takes, about.
const STATE: usize = 64;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    size: usize,
}

impl Pattern {
    /// The largest that there is.
    pub(crate) const LARGEST: usize = 256 << 10;

    /// Compiles it.
    ///
    /// # Errors
    /// It is none, or larger than any of [`SIZES`].
    pub(crate) fn new(text: &str) -> Result<Pattern, Error> {
        let with = |size: usize| {
            let regex = RegexBuilder::new(text).size_limit(size).build()?;
            Ok(Pattern { regex, size })
        };
        let (last, smaller) = SIZES.split_last().unwrap_or((&STATE, &[]));
        let small = smaller.iter().find_map(|size| with(*size).ok());
        small.map_or_else(|| with(*last), Ok)
    }

    /// Bytes that it takes, at most.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Steps that it takes to match `text`, at most.
    pub(crate) fn cost(&self, text: &str) -> usize {
        text.len().saturating_mul(self.size / STATE)
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_a_size_and_the_size_a_bound() {
        let name = Pattern::new("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").expect("is one");
        assert!(name.is_match("boiler-1") && !name.is_match("Boiler"));
        assert_eq!(name.size(), SIZES[0]);
        let label = Pattern::new("^(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?$");
        assert!(label.is_ok_and(|label| label.is_match("x")));
        assert!(Pattern::new("((a{1000}){1000}){1000}").is_err());
        assert!(Pattern::new("(").is_err());
    }
}

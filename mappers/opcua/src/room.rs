//! How much one value may come to, whatever its server says of it.
//!
//! A type says what lies in it, and a body may have none of it: thirty types that
//! hold two of the next one are a billion values in no bytes.

use opcua::types::Error;

/// How deep structures may lie in one another, in their types or in their bodies.
const DEPTH: usize = 32;
/// Values of all kinds.
const VALUES: usize = 500_000;
/// So much of a name counts as another value.
const NAME: usize = 32;

/// What is left of it.
pub(crate) struct Room {
    depth: usize,
    values: usize,
}

impl Room {
    /// All of it.
    pub(crate) fn new() -> Self {
        Self {
            depth: DEPTH,
            values: VALUES,
        }
    }

    /// One more value, and what lies in it.
    pub(crate) fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.values(1)?;
        let deeper = self.depth.checked_sub(1);
        self.depth = deeper.ok_or_else(|| Error::decoding("the structure is too deep"))?;
        let value = inner(self);
        self.depth += 1;
        value
    }

    /// The name of a field, which comes again with each structure.
    pub(crate) fn name(&mut self, name: &str) -> Result<(), Error> {
        self.values(name.len() / NAME)
    }

    fn values(&mut self, count: usize) -> Result<(), Error> {
        let left = self.values.checked_sub(count);
        self.values = left.ok_or_else(|| {
            Error::decoding(format!("the structure is larger than {VALUES} values"))
        })?;
        Ok(())
    }
}

//! How far the hub has taken an edge's records.

use crate::{Epoch, UpRecord};

/// The last record of an edge that the hub holds. Kept with what the records
/// said, in the same transaction: that is what makes "once" true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UpPosition {
    /// The outbox that the sequence belongs to.
    pub epoch: Epoch,
    /// The last sequence taken from it; 0 before the first.
    pub sequence: u64,
}

/// What to do with a batch of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// So many records at the beginning are known already.
    pub skip: usize,
    /// The position once the rest is stored.
    pub position: UpPosition,
}

/// Records that do not follow what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("records begin after {after}, but the last one held is {held}")]
pub struct Gap {
    /// The record before the first one of the batch.
    pub after: u64,
    /// The last one held.
    pub held: u64,
}

impl UpPosition {
    /// The position to tell an edge that says hello.
    ///
    /// Another epoch begins at 0. So does an edge whose outbox never reached
    /// the sequence that is held: its database was put back to an older state,
    /// and its new records must not pass for old ones.
    pub fn greet(self, epoch: Epoch, last_sequence: u64) -> Self {
        if self.epoch == epoch && self.sequence <= last_sequence {
            self
        } else {
            Self { epoch, sequence: 0 }
        }
    }

    /// Decides over a batch: which records are new, and the position after it.
    ///
    /// # Errors
    /// The batch does not follow what is held: a record would be lost.
    pub fn admit(self, epoch: Epoch, after: u64, records: &[UpRecord]) -> Result<Admitted, Gap> {
        let held = if self.epoch == epoch {
            self.sequence
        } else {
            0
        };
        if after > held {
            return Err(Gap { after, held });
        }
        let skip = records.iter().take_while(|r| r.sequence <= held).count();
        let sequence = records.last().map_or(held, |r| r.sequence.max(held));
        Ok(Admitted {
            skip,
            position: Self { epoch, sequence },
        })
    }
}

//! Ids that lead nowhere are told, never passed over in silence.
//!
//! Some lead nowhere by right: a reading, a completion or a returned command
//! was on its way while its device was removed. Where that can be, the code
//! says so and goes on. Everywhere else it is a bug, in the engine or in a
//! mapper; it is counted, and the log says which id, and where.

use std::{
    panic::Location,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// See the module. Counts from places that only look at the engine as well,
/// hence the atomics.
#[derive(Debug, Default)]
pub(super) struct Dangling {
    ours: AtomicU64,
    of_mappers: AtomicU64,
}

impl Dangling {
    /// An id of the engine's own leads nowhere: a bug in the engine.
    #[cold]
    #[track_caller]
    pub(super) fn ours(&self, what: &'static str, id: u64) {
        let at = Location::caller();
        if let Some(times) = count(&self.ours) {
            tracing::error!(what, id, %at, times, "an id of the twin engine leads nowhere: a bug, please report it");
        }
    }

    /// The edge speaks of a mapper that it never made known: a bug in the edge.
    #[cold]
    pub(super) fn unknown_mapper(&self, mapper: &str) {
        if let Some(times) = count(&self.ours) {
            tracing::error!(
                mapper,
                times,
                "an event of a mapper that is not known: a bug, please report it"
            );
        }
    }

    /// A mapper speaks of something that it was never given.
    #[cold]
    pub(super) fn of_mapper(&self, mapper: &str, what: &'static str, id: u64) {
        if let Some(times) = count(&self.of_mappers) {
            tracing::warn!(
                mapper,
                what,
                id,
                times,
                "a mapper names what it was never given, or ended already: a bug in the mapper"
            );
        }
    }

    /// How often an id of the engine's own led nowhere.
    pub(super) fn count(&self) -> u64 {
        self.ours.load(Relaxed)
    }

    /// How often a mapper named what it was never given.
    pub(super) fn count_of_mappers(&self) -> u64 {
        self.of_mappers.load(Relaxed)
    }
}

/// The number of times so far, where it is to be logged: the first time, and
/// whenever it has doubled, so that a log of years does not fill with one bug.
fn count(counter: &AtomicU64) -> Option<u64> {
    let times = counter.fetch_add(1, Relaxed).wrapping_add(1);
    times.is_power_of_two().then_some(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_logged_less_and_less_but_counted_each_time() {
        let dangling = Dangling::default();
        let logged: Vec<u64> = (0..100).filter_map(|_| count(&dangling.ours)).collect();
        assert_eq!(logged, [1, 2, 4, 8, 16, 32, 64]);
        assert_eq!((dangling.count(), dangling.count_of_mappers()), (100, 0));
        dangling.of_mapper("modbus", "point", 7);
        dangling.ours("device", 7);
        assert_eq!((dangling.count(), dangling.count_of_mappers()), (101, 1));
        dangling.unknown_mapper("nobody");
        assert_eq!((dangling.count(), dangling.count_of_mappers()), (102, 1));
    }
}

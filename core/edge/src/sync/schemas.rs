//! Which schemas of its mappers the node sends: those that the hub does not hold.

use std::collections::HashSet;

use longshore_link::MapperReport;

/// The schemas that a hub said it holds; none when it keeps none.
pub(super) type Held = Option<Vec<u64>>;

/// What is still to be sent to the hub of this session. A schema has tens of
/// kilobytes, so it goes once, and not with each change of a mapper's state.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Held by the hub, or on its way there; none: nothing is wanted.
    known: Option<HashSet<u64>>,
}

impl Wanted {
    /// At the begin of a session.
    pub(super) fn of_hub(held: Held) -> Self {
        Self {
            known: held.map(HashSet::from_iter),
        }
    }

    /// Schemas of these mappers that are to be sent now; each is given once.
    pub(super) fn take(&mut self, mappers: &[MapperReport]) -> Vec<u64> {
        let Some(known) = &mut self.known else {
            return Vec::new();
        };
        let schemas = mappers.iter().map(|mapper| mapper.schema);
        schemas
            .filter(|schema| *schema != 0 && known.insert(*schema))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapper(schema: u64) -> MapperReport {
        MapperReport {
            name: "m".to_owned(),
            protocol: "p".to_owned(),
            version: "1".to_owned(),
            state: "Running".to_owned(),
            message: String::new(),
            schema,
        }
    }

    #[test]
    fn a_schema_is_sent_once_and_only_to_a_hub_that_does_not_hold_it() {
        let mappers = [mapper(1), mapper(2), mapper(0), mapper(2)];
        assert!(Wanted::default().take(&mappers).is_empty(), "no hub yet");
        assert!(Wanted::of_hub(None).take(&mappers).is_empty(), "an old hub");
        let mut wanted = Wanted::of_hub(Some(vec![1]));
        assert_eq!(wanted.take(&mappers), [2]);
        assert!(wanted.take(&mappers).is_empty(), "it is on its way");
        assert_eq!(wanted.take(&[mapper(3)]), [3], "another version");
    }
}

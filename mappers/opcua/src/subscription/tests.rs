//! Whatever happens in whatever order: what is wanted is watched in the end, and nothing else.

use std::sync::Arc;

use opcua::types::NumericRange;
use proptest::prelude::*;

use super::*;
use crate::{
    node::{NodeName, Place},
    point::{Field, VALUE, Watch},
};

fn watching(place: u32, publishing_ms: u32) -> Watching {
    let field = Field {
        place: Place::node(NodeName::standard(place)),
        attribute: VALUE,
        range: NumericRange::None,
        element: Vec::new(),
        raw_type: None,
        watch: Watch {
            queue_size: 1,
            deadband: None,
            sampling_ms: None,
            publishing_ms: None,
        },
        polled: false,
    };
    Watching {
        field: Arc::new(field),
        publishing_ms,
        sampling_ms: publishing_ms,
        queue_size: 1,
    }
}

/// A server that does as it is told, and what it has.
#[derive(Default)]
struct Model {
    under_test: Subscriptions,
    now: Option<Instant>,
    /// Item ids at the server, with the handle and point that they were made for.
    items: HashMap<u32, (u32, u32)>,
    open: Vec<Attempt>,
    wanted: HashMap<u32, Watching>,
    next_id: u32,
}

#[derive(Debug, Clone)]
enum Step {
    Want(Vec<(u32, u32, bool)>),
    Due,
    Grant(prop::sample::Index),
    Refuse(prop::sample::Index),
    Poll(prop::sample::Index),
    Lose(u32),
    DropSubscription(bool),
    Cut,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        prop::collection::vec((0..8_u32, 0..3_u32, any::<bool>()), 0..8).prop_map(Step::Want),
        Just(Step::Due),
        index().prop_map(Step::Grant),
        index().prop_map(Step::Grant),
        index().prop_map(Step::Refuse),
        index().prop_map(Step::Poll),
        (0..8_u32).prop_map(Step::Lose),
        any::<bool>().prop_map(Step::DropSubscription),
        Just(Step::Cut),
        (1..40_000_u64).prop_map(Step::Wait),
    ]
}

impl Model {
    fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }

    fn forget(&mut self, gone: impl IntoIterator<Item = u32>) {
        for id in gone {
            assert!(
                self.items.remove(&id).is_some(),
                "{id} is not at the server"
            );
        }
    }

    /// The subscription of an interval; the server keeps it under the interval's number.
    fn subscription(&mut self, publishing_ms: u32) -> u32 {
        if self.under_test.subscription(publishing_ms).is_none() {
            let keep_alive = Duration::from_secs(3);
            self.under_test
                .add_subscription(publishing_ms, publishing_ms, keep_alive);
        }
        publishing_ms
    }

    fn due(&mut self) {
        let now = self.now();
        loop {
            let due = self.under_test.due(now);
            let first = due.attempts.first().map(|of| of.watching.publishing_ms);
            let same = |of: &Attempt| Some(of.watching.publishing_ms) == first;
            assert!(due.attempts.iter().all(same), "one subscription at a time");
            for (point, field) in &due.polls {
                assert_eq!(Some(field), self.wanted.get(point).map(|of| &of.field));
            }
            if due.attempts.is_empty() {
                break;
            }
            self.open.extend(due.attempts);
        }
    }

    fn grant(&mut self, index: usize) {
        let attempt = self.open.swap_remove(index);
        let subscription = self.subscription(attempt.watching.publishing_ms);
        self.next_id += 1;
        let id = self.next_id;
        if self.under_test.watched(attempt.handle, subscription, id) {
            self.items.insert(id, (attempt.handle, attempt.point));
        }
    }

    fn step(&mut self, step: Step) {
        let now = self.now();
        match step {
            Step::Want(set) => {
                self.wanted = set
                    .into_iter()
                    .map(|(point, place, slow)| {
                        (point, watching(place, if slow { 1000 } else { 200 }))
                    })
                    .collect();
                let wanted = self.wanted.clone();
                let gone = self.under_test.replace(wanted.into_iter(), now);
                self.forget(gone.into_values().flatten());
                self.under_test.take_empty();
            }
            Step::Due => self.due(),
            Step::Grant(index) if !self.open.is_empty() => self.grant(index.index(self.open.len())),
            Step::Refuse(index) if !self.open.is_empty() => {
                let attempt = self.open.swap_remove(index.index(self.open.len()));
                self.under_test.refused(attempt.handle, now);
            }
            Step::Poll(index) if !self.open.is_empty() => {
                let attempt = self.open.swap_remove(index.index(self.open.len()));
                self.under_test.poll_instead(attempt.handle, now);
            }
            Step::Grant(_) | Step::Refuse(_) | Step::Poll(_) => {}
            Step::Lose(point) => {
                let lost = self.under_test.lost(point, now);
                self.forget(lost.map(|(_, id)| id));
            }
            Step::DropSubscription(slow) => {
                let gone = if slow { 1000 } else { 200 };
                self.under_test.drop_subscription(gone, now);
                let wanted = &self.wanted;
                self.items
                    .retain(|_, (_, point)| wanted[point].publishing_ms != gone);
            }
            Step::Cut => {
                // Answers that were on their way never come.
                self.open.clear();
                self.under_test.resumed(now, now + Duration::from_secs(5));
            }
            Step::Wait(millis) => self.now = Some(now + Duration::from_millis(millis)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_wanted_is_watched_in_the_end(steps in prop::collection::vec(step(), 0..60)) {
        let mut model = Model::default();
        for step in steps {
            model.step(step);
            for (handle, point) in model.items.values() {
                // A notification of each item finds its point, and the right one.
                let found = model.under_test.point_of(*handle);
                let wanted = model.wanted.get(point).map(|of| &of.field);
                prop_assert_eq!(found, wanted.map(|field| (*point, field)));
            }
        }
        // From now on the server grants everything.
        for _ in 0..3 {
            let later = model.now() + RETRY_LAST;
            model.now = Some(later);
            model.due();
            while !model.open.is_empty() {
                model.grant(0);
            }
        }
        let polled = |state: &State| matches!(state, State::Polled(_));
        let items = &model.under_test.items;
        prop_assert_eq!(items.len(), model.wanted.len());
        for (point, item) in items {
            prop_assert_eq!(Some(&item.watching), model.wanted.get(point));
            let is_watched = model.items.values().any(|(_, of)| of == point);
            prop_assert!(is_watched || polled(&item.state), "{:?}", item);
        }
        let watched = items.values().filter(|item| !polled(&item.state)).count();
        prop_assert_eq!(model.items.len(), watched);
        prop_assert_eq!(model.under_test.handles.len(), watched);
    }
}

#[test]
fn a_refused_node_waits_alone_and_longer_each_time() {
    let mut under_test = Subscriptions::default();
    let start = Instant::now();
    under_test.replace([(1, watching(1, 200))].into_iter(), start);
    let (mut now, mut pauses) = (start, Vec::new());
    for _ in 0..7 {
        let due = under_test.due(now);
        assert!(under_test.refused(due.attempts[0].handle, now));
        let next = under_test.next_wake().expect("tried again");
        pauses.push((next - now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
}

#[test]
fn gaps_in_the_sequence_are_seen_also_by_a_keep_alive() {
    let mut under_test = Subscriptions::default();
    under_test.add_subscription(7, 200, Duration::from_secs(3));
    // A keep-alive before the first notification names its number.
    assert!(under_test.sequence(7, 1, false).is_empty());
    assert!(under_test.sequence(7, 1, true).is_empty());
    assert_eq!(under_test.sequence(7, 4, true), [2, 3]);
    // The next would be 7, so 5 and 6 were missed.
    assert_eq!(under_test.sequence(7, 7, false), [5, 6]);
    assert!(under_test.sequence(7, 7, true).is_empty());
    under_test.republished(7, 5);
    let acknowledged: Vec<_> = under_test
        .take_acknowledgements()
        .iter()
        .map(|one| (one.subscription_id, one.sequence_number))
        .collect();
    assert_eq!(acknowledged, [(7, 1), (7, 4), (7, 7), (7, 5)]);
    assert!(under_test.take_acknowledgements().is_empty());
}

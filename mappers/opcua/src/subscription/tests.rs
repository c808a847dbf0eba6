//! Whatever happens in whatever order: what is wanted is watched in the end, and nothing else.

use std::sync::Arc;

use opcua::types::NumericRange;
use proptest::prelude::*;

use super::{silence::Silent, *};
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
        let now = self.now();
        if self.under_test.subscription(publishing_ms).is_none() {
            let keep_alive = Duration::from_secs(3);
            self.under_test
                .add_subscription(publishing_ms, publishing_ms, keep_alive, now);
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
    under_test.add_subscription(7, 200, Duration::from_secs(3), Instant::now());
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

/// One watched point in each of the subscriptions 7 (200 ms) and 8 (1 s).
fn two_watched(now: Instant) -> (Subscriptions, [u32; 2]) {
    let mut under_test = Subscriptions::default();
    under_test.replace(
        [(1, watching(1, 200)), (2, watching(2, 1000))].into_iter(),
        now,
    );
    under_test.add_subscription(7, 200, Duration::from_secs(3), now);
    under_test.add_subscription(8, 1000, Duration::from_secs(3), now);
    let handles = [7, 8].map(|id| {
        let attempt = under_test.due(now).attempts.remove(0);
        assert!(under_test.watched(attempt.handle, id, id + 100));
        attempt.handle
    });
    (under_test, handles)
}

#[test]
fn a_subscription_that_is_not_published_is_made_anew_and_then_given_up() {
    let margin = Duration::from_secs(4);
    let after = |seconds| Duration::from_secs(seconds);
    let start = Instant::now();
    let (mut under_test, _) = two_watched(start);
    assert_eq!(under_test.silent_at(margin), Some(start + after(7)));
    // Only one of them is published.
    under_test.published(8, start + after(5));
    let silent = under_test.silent(start + after(7), margin);
    let seven = |again| Silent {
        id: 7,
        time: after(7),
        again,
    };
    assert_eq!(silent, [seven(false)]);
    let now = start + after(7);
    assert_eq!(under_test.renew(7, now), [1]);
    assert!(!under_test.has(7) && under_test.has(8));
    // Time in which nobody took what came does not count.
    under_test.add_subscription(7, 200, after(3), now);
    under_test.unattended(after(10));
    assert_eq!(under_test.silent(now + after(10), margin), []);
    let silent = under_test.silent(now + after(17), margin);
    assert!(silent.contains(&seven(true)), "{silent:?}");
    // A keep-alive is enough.
    under_test.published(7, now + after(17));
    let silent = under_test.silent(now + after(24), margin);
    assert!(silent.contains(&seven(false)), "{silent:?}");
}

#[test]
fn a_foreign_subscription_is_never_taken_for_ours() {
    let now = Instant::now();
    let (mut under_test, [first, second]) = two_watched(now);
    let (other, _) = two_watched(now);
    assert!(!other.handles.contains_key(&first));
    // One that we made ourselves is ours, whatever comes late.
    assert!(under_test.is_ours(7, [first.wrapping_sub(1)]));
    under_test.resumed(now, now + Duration::from_secs(5));
    under_test.taken_over(7);
    under_test.taken_over(8);
    assert!(!under_test.is_ours(7, [first.wrapping_sub(1)]));
    assert!(under_test.is_ours(8, [first.wrapping_sub(1), second]));
    assert!(under_test.take_unproven(now).is_empty());
    let later = now + Duration::from_secs(5);
    assert_eq!(under_test.take_unproven(later), vec![7_u32]);
    assert!(under_test.take_unproven(later).is_empty());
}

/// An order that failed may have been carried out all the same, or be carried out by
/// the next attempt: the first values have come then before the bus takes any of
/// these points, and a value that stands still comes once.
#[test]
fn what_was_watched_before_its_order_succeeded_is_read_once() {
    let now = Instant::now();
    let mut subscriptions = Subscriptions::default();
    let mut order = |wanted: &[u32]| {
        let all = wanted.iter().map(|point| (*point, watching(*point, 100)));
        subscriptions.replace(all, now);
        let early: Vec<_> = subscriptions.untold().iter().map(|of| of.0).collect();
        for (attempt, id) in subscriptions.due(now).attempts.iter().zip(1..) {
            assert!(subscriptions.watched(attempt.handle, 7, id));
        }
        early
    };
    // It fails after the server has carried it out, and is given once more.
    assert!(order(&[1, 2]).is_empty());
    assert_eq!(order(&[1, 2]), [1, 2]);
    subscriptions.told();
    assert_eq!(subscriptions.untold().len(), 0);
    // Another point beside them: only it is new.
    subscriptions.replace([1, 2, 3].map(|of| (of, watching(of, 100))).into_iter(), now);
    assert_eq!(subscriptions.untold().len(), 0);
    let attempts = subscriptions.due(now).attempts;
    assert!(subscriptions.watched(attempts[0].handle, 7, 9));
    let early: Vec<_> = subscriptions.untold().iter().map(|of| of.0).collect();
    assert_eq!(early, [3]);
}

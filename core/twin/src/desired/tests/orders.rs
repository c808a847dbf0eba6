//! Events in any order.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Move {
    Tick(u64),
    Ready(bool),
    Complete(u8, bool, bool),
    Reading(bool),
    Announced,
    Back,
    Interrupted(bool),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        (0..5_000_u64).prop_map(Move::Tick),
        any::<bool>().prop_map(Move::Ready),
        (0..5_u8, any::<bool>(), any::<bool>())
            .prop_map(|(outcome, last, matches)| Move::Complete(outcome, last, matches)),
        any::<bool>().prop_map(Move::Reading),
        Just(Move::Announced),
        Just(Move::Back),
        any::<bool>().prop_map(Move::Interrupted),
    ];
    proptest::collection::vec(one, 0..200)
}

impl Bench {
    /// Plays one move; gives what came of a write if it was one's end.
    fn play(&mut self, one: Move) -> Option<Outcome<'static>> {
        match one {
            Move::Tick(ms) => {
                self.now_ms += ms;
                self.step(Event::Tick);
            }
            Move::Ready(ready) => self.ready = ready,
            Move::Complete(outcome, newest, matches) => {
                let outcome = [
                    Outcome::Done,
                    Outcome::Refused("no"),
                    Outcome::Line("bad"),
                    Outcome::NotSent("away"),
                    Outcome::Busy,
                ][usize::from(outcome)];
                let last = (self.writes.iter().chain(&self.reads)).copied().max();
                let last = last.unwrap_or(0);
                let of = if newest { last } else { last.wrapping_sub(3) };
                self.ended(of, outcome, matches);
                return (self.writes.last() == Some(&of)).then_some(outcome);
            }
            Move::Reading(matches) => {
                self.step(Event::Reading { matches });
            }
            Move::Announced => {
                self.step(Event::Announced);
            }
            Move::Back => {
                self.step(Event::Back);
            }
            Move::Interrupted(true) => {
                self.step(Event::Interrupted);
            }
            Move::Interrupted(false) => {
                self.step(Event::HandedOver);
            }
        }
        None
    }
}

proptest! {
    /// Whatever happens in whatever order: one command at a time; nothing is written
    /// once it is refused, confirmed or unknown; and what was seen not to be there is
    /// written again as often as `retries` says, no more.
    #[test]
    fn any_order_of_events(moves in moves()) {
        let mut bench = Bench::new();
        let (mut done, mut not_sent) = (false, 0);
        for one in moves {
            let writes = bench.writes.len();
            let outcome = bench.play(one);
            not_sent += usize::from(matches!(outcome, Some(Outcome::NotSent(_) | Outcome::Busy)));
            prop_assert!(bench.writes.len() <= writes + 1);
            prop_assert!(!done || bench.writes.len() == writes, "written after its end");
            prop_assert!(bench.writes.len() <= 3 + not_sent, "more than the retries");
            done |= bench.desired.shown() != WriteState::Pending;
        }
        bench.ready = true;
        for _ in 0..10_000 {
            bench.now_ms += 50;
            bench.step(Event::Tick);
            match bench.desired.state {
                State::Writing { token, .. } => { bench.completed(token, Outcome::Done); }
                State::Settling { read: Some((token, _)), .. } => { bench.ended(token, Outcome::Done, false); }
                State::Confirming { .. } => { bench.step(Event::Reading { matches: true }); }
                _ => {}
            }
        }
        prop_assert!(bench.desired.is_settled(), "a good line settles it: {:?}", bench.desired);
    }

    /// A command reaches the wire at most once, after the disk knows, and its outcome
    /// never changes.
    #[test]
    fn a_command_happens_once(moves in moves()) {
        let mut bench = Bench::command();
        let (mut went, mut told) = (0, None);
        for one in moves {
            let writes = bench.writes.len();
            let outcome = bench.play(one);
            // What did not go out may go later.
            if matches!(outcome, Some(Outcome::NotSent(_) | Outcome::Busy)) && told.is_none() {
                went = 0;
            }
            went += bench.writes.len() - writes;
            prop_assert!(went <= 1, "twice on the wire");
            prop_assert!(bench.writes.is_empty() || bench.desired.handed);
            prop_assert!(bench.reads.is_empty());
            if let Some(told) = told {
                prop_assert_eq!(bench.desired.shown(), told);
            }
            told = Some(bench.desired.shown()).filter(|shown| *shown != WriteState::Pending);
        }
    }
}

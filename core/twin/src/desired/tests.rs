use proptest::prelude::*;

use super::*;

fn desired() -> DesiredValue {
    DesiredValue::new("60", Ok(Value::Int(60)), false, 0, 1)
}

/// A harness that hands out tokens and remembers what was asked for.
struct Bench {
    desired: DesiredValue,
    now_ms: u64,
    token: u64,
    ready: bool,
    read_back: bool,
    writes: Vec<u64>,
    reads: Vec<u64>,
}

impl Bench {
    fn new() -> Self {
        let (writes, reads) = (Vec::new(), Vec::new());
        Self {
            desired: desired(),
            now_ms: 1_000,
            token: 0,
            ready: true,
            read_back: true,
            writes,
            reads,
        }
    }

    fn step(&mut self, event: Event<'_>) -> bool {
        self.token += 1;
        let context = Context {
            now_ms: self.now_ms,
            unix_ms: self.now_ms as i64,
            ready: self.ready,
            timeout_ms: 3_000,
            retries: 2,
            read_back: self.read_back,
            token: self.token,
        };
        let (action, changed) = self.desired.step(&event, &context);
        match action {
            Action::Write => self.writes.push(self.token),
            Action::Read => self.reads.push(self.token),
            Action::Nothing => {}
        }
        changed
    }

    fn completed(&mut self, token: u64, outcome: Outcome<'_>) -> bool {
        self.step(Event::Completed {
            token,
            outcome,
            seen: "59",
        })
    }

    /// Ticks until the next write, and tells how long that took.
    fn wait_for_write(&mut self) -> u64 {
        let (before, from) = (self.writes.len(), self.now_ms);
        while self.writes.len() == before {
            assert!(self.now_ms < from + 200_000, "no write: {:?}", self.desired);
            self.now_ms += 10;
            self.step(Event::Tick);
        }
        self.now_ms - from
    }
}

#[test]
fn written_read_back_and_confirmed() {
    let mut bench = Bench::new();
    bench.step(Event::Tick);
    assert_eq!(bench.writes.len(), 1);
    bench.completed(bench.writes[0], Outcome::Done);
    assert_eq!(bench.reads.len(), 1, "read back at once");
    bench.step(Event::Reading { matches: false });
    assert_eq!(
        bench.desired.shown(),
        WriteState::Pending,
        "the device may need a moment"
    );
    assert!(bench.step(Event::Reading { matches: true }));
    assert_eq!(bench.desired.state, State::Confirmed);
    bench.step(Event::Tick);
    assert_eq!(bench.writes.len(), 1);
}

#[test]
fn without_read_back_the_devices_word_counts() {
    let mut bench = Bench {
        read_back: false,
        ..Bench::new()
    };
    bench.step(Event::Tick);
    bench.completed(bench.writes[0], Outcome::Done);
    assert_eq!(bench.desired.state, State::Confirmed);
    assert!(bench.reads.is_empty());
}

#[test]
fn a_refusal_is_final() {
    let mut bench = Bench::new();
    bench.step(Event::Tick);
    assert!(bench.completed(bench.writes[0], Outcome::Refused("illegal data value")));
    assert_eq!(
        (bench.desired.shown(), &*bench.desired.message),
        (WriteState::Failed, "illegal data value")
    );
    for _ in 0..100 {
        bench.now_ms += 1_000;
        bench.step(Event::Tick);
        bench.step(Event::Back);
        bench.step(Event::Interrupted);
    }
    assert_eq!(bench.writes.len(), 1);
}

#[test]
fn a_bad_line_is_tried_again_with_growing_pauses() {
    let mut bench = Bench::new();
    bench.step(Event::Tick);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        let last = *bench.writes.last().unwrap();
        bench.completed(last, Outcome::Line("connection lost"));
        pauses.push(bench.wait_for_write());
        // Failed only after the retries are used up.
        let failed = pauses.len() > 2;
        assert_eq!(&*bench.desired.message, "connection lost");
        if failed {
            assert_eq!(pauses[pauses.len() - 1], pauses[pauses.len() - 2] * 2);
        }
    }
    let last = *bench.writes.last().unwrap();
    bench.completed(last, Outcome::Line("connection lost"));
    assert_eq!(bench.desired.shown(), WriteState::Failed);
    bench.step(Event::Back);
    assert_eq!(bench.wait_for_write(), 10, "the device is back: no pause");
}

#[test]
fn a_full_queue_is_no_attempt() {
    let mut bench = Bench::new();
    bench.step(Event::Tick);
    for _ in 0..50 {
        let last = *bench.writes.last().unwrap();
        bench.completed(last, Outcome::Busy);
        assert_eq!(bench.wait_for_write(), 50);
    }
    assert_eq!(bench.desired.shown(), WriteState::Pending);
}

#[test]
fn a_device_that_does_not_keep_the_value_fails_with_what_was_read() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.wait_for_write();
        let write = *bench.writes.last().unwrap();
        bench.completed(write, Outcome::Done);
        let deadline = bench.now_ms + 3_000;
        while bench.now_ms <= deadline {
            let read = *bench.reads.last().unwrap();
            bench.completed(read, Outcome::Done);
            bench.now_ms += 100;
            bench.step(Event::Tick);
        }
        let read = *bench.reads.last().unwrap();
        bench.completed(read, Outcome::Done);
    }
    assert_eq!(bench.desired.state, State::Refused);
    assert_eq!(&*bench.desired.message, "written 60, but read back 59");
}

#[test]
fn after_a_restart_a_confirmed_value_is_written_only_when_it_is_gone() {
    for (matches, writes) in [(true, 0), (false, 1)] {
        let mut bench = Bench::new();
        bench.desired.resume(WriteState::Confirmed, false, "", 5);
        bench.step(Event::Tick);
        assert_eq!(bench.writes.len(), 0, "nothing is written before a reading");
        assert_eq!(bench.desired.shown(), WriteState::Confirmed);
        bench.step(Event::Reading { matches });
        bench.step(Event::Tick);
        assert_eq!(bench.writes.len(), writes);
    }
}

#[test]
fn drift_is_left_alone_until_the_device_comes_back() {
    let mut bench = Bench {
        read_back: false,
        ..Bench::new()
    };
    bench.step(Event::Tick);
    bench.completed(bench.writes[0], Outcome::Done);
    bench.step(Event::Reading { matches: false });
    bench.step(Event::Tick);
    assert_eq!(
        bench.writes.len(),
        1,
        "somebody turned the knob at the device"
    );
    bench.step(Event::Back);
    bench.step(Event::Reading { matches: false });
    bench.step(Event::Tick);
    assert_eq!(bench.writes.len(), 2);
}

#[test]
fn an_unanswered_write_is_a_line_error() {
    let mut bench = Bench::new();
    bench.step(Event::Tick);
    bench.now_ms += 3_000 + GRACE_MS;
    bench.step(Event::Tick);
    assert_eq!(&*bench.desired.message, "the mapper did not answer in time");
    bench.wait_for_write();
    bench.completed(bench.writes[0], Outcome::Done);
    assert!(
        bench.reads.is_empty(),
        "the answer of a write that was given up means nothing"
    );
}

#[derive(Debug, Clone)]
enum Move {
    Tick(u64),
    Ready(bool),
    Complete(u8, bool),
    Reading(bool),
    Back,
    Interrupted,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        (0..5_000_u64).prop_map(Move::Tick),
        any::<bool>().prop_map(Move::Ready),
        (0..4_u8, any::<bool>()).prop_map(|(outcome, last)| Move::Complete(outcome, last)),
        any::<bool>().prop_map(Move::Reading),
        Just(Move::Back),
        Just(Move::Interrupted),
    ];
    proptest::collection::vec(one, 0..200)
}

proptest! {
    /// Whatever happens in whatever order: one command at a time, nothing is
    /// written after a refusal, nothing is confirmed that was not read, and in
    /// the end a good line brings every value home.
    #[test]
    fn any_order_of_events(moves in moves()) {
        let mut bench = Bench::new();
        let (mut refused, mut seen) = (false, false);
        for one in moves {
            let writes = bench.writes.len();
            let last = bench.writes.iter().chain(&bench.reads).copied().max().unwrap_or(0);
            match one {
                Move::Tick(ms) => { bench.now_ms += ms; bench.step(Event::Tick); }
                Move::Ready(ready) => bench.ready = ready,
                Move::Complete(outcome, newest) => {
                    let outcome = [Outcome::Done, Outcome::Refused("no"), Outcome::Line("bad"), Outcome::Busy][usize::from(outcome)];
                    bench.completed(if newest { last } else { last.wrapping_sub(3) }, outcome);
                }
                Move::Reading(matches) => { seen |= matches; bench.step(Event::Reading { matches }); }
                Move::Back => { bench.step(Event::Back); }
                Move::Interrupted => { bench.step(Event::Interrupted); }
            }
            prop_assert!(bench.writes.len() <= writes + 1);
            prop_assert!(!refused || bench.writes.len() == writes, "written after a refusal");
            refused |= bench.desired.state == State::Refused;
            prop_assert!(bench.desired.shown() != WriteState::Confirmed || seen, "confirmed without a reading");
        }
        if !refused {
            bench.ready = true;
            for _ in 0..10_000 {
                bench.now_ms += 50;
                bench.step(Event::Tick);
                match bench.desired.state {
                    State::Writing { token, .. } => { bench.completed(token, Outcome::Done); }
                    State::Confirming { .. } | State::Checking => { bench.step(Event::Reading { matches: true }); }
                    _ => {}
                }
            }
            prop_assert_eq!(bench.desired.state, State::Confirmed);
        }
    }
}

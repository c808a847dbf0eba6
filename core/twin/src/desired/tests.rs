use std::collections::BTreeMap;

use super::*;

mod orders;

fn desired() -> DesiredValue {
    DesiredValue::new("60", Ok(Value::Int(60)), false, 1_000, 1)
}

/// A harness that hands out tokens and remembers what was asked for.
struct Bench {
    desired: DesiredValue,
    now_ms: u64,
    token: u64,
    ready: bool,
    read_back: bool,
    command: bool,
    restore: bool,
    repeat_ms: Option<u64>,
    announced: u32,
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
            command: false,
            restore: false,
            repeat_ms: None,
            announced: 0,
            writes,
            reads,
        }
    }

    fn command() -> Self {
        Self {
            command: true,
            ..Self::new()
        }
    }

    fn step(&mut self, event: Event<'_>) -> bool {
        self.token += 1;
        let context = Context {
            now_ms: self.now_ms,
            unix_ms: self.now_ms as i64,
            ready: self.ready,
            away: if self.ready { "" } else { "it is switched off" },
            timeout_ms: 3_000,
            retries: 2,
            read_back: self.read_back,
            command: self.command,
            expires_ms: 120_000,
            restore: self.restore,
            repeat_ms: self.repeat_ms,
            token: self.token,
        };
        let (action, changed) = self.desired.step(&event, &context);
        match action {
            Action::Write => self.writes.push(self.token),
            Action::Read => self.reads.push(self.token),
            Action::Announce => self.announced += 1,
            Action::Nothing => {}
        }
        changed
    }

    /// A command ended; the device then shows what is wanted, or not.
    fn ended(&mut self, token: u64, outcome: Outcome<'_>, matches: bool) -> bool {
        self.step(Event::Completed {
            token,
            outcome,
            seen: if matches { "60" } else { "59" },
            matches,
        })
    }

    fn completed(&mut self, token: u64, outcome: Outcome<'_>) -> bool {
        self.ended(token, outcome, false)
    }

    fn last_write(&self) -> u64 {
        *self.writes.last().unwrap()
    }

    fn last_read(&self) -> u64 {
        *self.reads.last().unwrap()
    }

    fn tick_until(&mut self, done: impl Fn(&Self) -> bool) -> u64 {
        let from = self.now_ms;
        while !done(self) {
            assert!(self.now_ms < from + 400_000, "stuck in {:?}", self.desired);
            self.now_ms += 10;
            self.step(Event::Tick);
        }
        self.now_ms - from
    }

    /// Ticks until the next write, and tells how long that took.
    fn wait_for_write(&mut self) -> u64 {
        let before = self.writes.len();
        self.tick_until(|bench| bench.writes.len() > before)
    }

    fn wait_for_read(&mut self) -> u64 {
        let before = self.reads.len();
        self.tick_until(|bench| bench.reads.len() > before)
    }

    /// A long time with everything that may happen to a device, which never shows
    /// the value.
    fn a_rough_week(&mut self) {
        for _ in 0..100 {
            self.now_ms += 6_000_000;
            for event in [
                Event::Tick,
                Event::Interrupted,
                Event::HandedOver,
                Event::Back,
                Event::Reading { matches: false },
                Event::Tick,
            ] {
                self.step(event);
            }
        }
    }

    fn resumed(&self, kept: &Kept) -> Self {
        let mut after = Self {
            command: self.command,
            restore: self.restore,
            ..Self::new()
        };
        after.desired.local = self.desired.local;
        after.desired.resume(kept, self.command, self.restore);
        after
    }
}

fn kept(write: WriteState, command: Option<bool>, handed: bool) -> Kept {
    Kept {
        write,
        command,
        handed,
        refused: false,
        message: String::new(),
        since_ms: 5,
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
    bench.a_rough_week();
    assert_eq!(bench.writes.len(), 1, "confirmed once, it is done");
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
    bench.a_rough_week();
    assert_eq!(bench.writes.len(), 1);
}

#[test]
fn in_doubt_a_reading_tells_before_anything_is_written_again() {
    let mut bench = Bench::new();
    bench.step(Event::Tick);
    bench.completed(bench.last_write(), Outcome::Line("connection lost"));
    assert_eq!(bench.wait_for_read(), 10);
    assert_eq!(bench.writes.len(), 1);
    assert!(bench.ended(bench.last_read(), Outcome::Done, true));
    assert_eq!(
        (bench.desired.state, bench.writes.len()),
        (State::Confirmed, 1),
        "it had arrived"
    );
}

#[test]
fn what_the_device_was_seen_not_to_have_is_written_again_and_retries_bound_it() {
    let mut bench = Bench::new();
    bench.step(Event::Tick);
    let mut pauses = Vec::new();
    for _ in 0..2 {
        bench.completed(bench.last_write(), Outcome::Line("connection lost"));
        bench.wait_for_read();
        bench.completed(bench.last_read(), Outcome::Done);
        assert_eq!(&*bench.desired.message, "connection lost");
        pauses.push(bench.wait_for_write());
    }
    assert_eq!(pauses, [200, 400]);
    bench.completed(bench.last_write(), Outcome::Line("connection lost"));
    bench.wait_for_read();
    bench.completed(bench.last_read(), Outcome::Done);
    assert_eq!(
        (bench.desired.shown(), &*bench.desired.message),
        (
            WriteState::Failed,
            "not confirmed after 3 tries: connection lost"
        )
    );
    bench.a_rough_week();
    assert_eq!(bench.writes.len(), 3);
}

#[test]
fn a_line_that_is_down_costs_no_tries() {
    let mut bench = Bench::new();
    bench.step(Event::Tick);
    bench.completed(bench.last_write(), Outcome::Line("connection lost"));
    for _ in 0..50 {
        bench.wait_for_read();
        bench.completed(bench.last_read(), Outcome::Line("connection lost"));
    }
    assert_eq!(
        (bench.writes.len(), bench.desired.shown()),
        (1, WriteState::Pending)
    );
    bench.step(Event::Back);
    assert_eq!(bench.wait_for_read(), 10, "the device is back: no pause");
    bench.completed(bench.last_read(), Outcome::Done);
    bench.wait_for_write();
    bench.completed(bench.last_write(), Outcome::Done);
    bench.step(Event::Reading { matches: true });
    assert_eq!(bench.desired.state, State::Confirmed);
}

#[test]
fn what_did_not_go_out_is_no_attempt() {
    let mut bench = Bench::new();
    bench.step(Event::Tick);
    for _ in 0..50 {
        bench.completed(bench.last_write(), Outcome::Busy);
        assert_eq!(bench.wait_for_write(), 50);
    }
    for _ in 0..50 {
        bench.completed(bench.last_write(), Outcome::NotSent("no connection"));
        assert!(bench.wait_for_write() <= MAX_WAIT_MS);
    }
    assert_eq!(bench.desired.shown(), WriteState::Pending);
}

#[test]
fn what_the_device_made_of_it_is_told_and_not_fought() {
    for (before, why) in [
        (Some("20"), "written 60, but the device took 59"),
        (Some("59"), "written 60, but the device still has 59"),
        (None, "written 60, but the device took 59"),
    ] {
        let mut bench = Bench::new();
        bench.step(Event::Tick);
        bench.desired.before = before.map(Into::into);
        bench.completed(bench.last_write(), Outcome::Done);
        while bench.desired.state != State::Refused {
            bench.completed(bench.last_read(), Outcome::Done);
            bench.now_ms += 100;
            bench.step(Event::Tick);
        }
        assert_eq!(&*bench.desired.message, why);
        bench.a_rough_week();
        assert_eq!(bench.writes.len(), 1);
    }
}

#[test]
fn what_cannot_be_read_back_counts_as_the_device_accepted_it() {
    let mut bench = Bench::new();
    bench.step(Event::Tick);
    bench.completed(bench.last_write(), Outcome::Done);
    bench.completed(bench.last_read(), Outcome::Refused("illegal data address"));
    assert_eq!(bench.desired.state, State::Confirmed);

    let mut bench = Bench::new();
    bench.step(Event::Tick);
    bench.completed(bench.last_write(), Outcome::Line("connection lost"));
    bench.wait_for_read();
    bench.completed(bench.last_read(), Outcome::Refused("illegal data address"));
    assert_eq!(
        (bench.desired.shown(), &*bench.desired.message),
        (
            WriteState::Unknown,
            "connection lost; whether the device has it cannot be read: illegal data address"
        )
    );
    bench.a_rough_week();
    assert_eq!(bench.writes.len(), 1);
}

#[test]
fn what_a_former_life_left_goes_on_where_it_was() {
    use WriteState::{Confirmed, Failed, Pending, Unknown};
    for (command, left, shown, writes) in [
        (false, kept(Confirmed, Some(false), false), Confirmed, 0),
        (false, kept(Pending, Some(false), false), Pending, 1),
        // It may be there: a reading tells first.
        (false, kept(Pending, Some(false), true), Pending, 0),
        (false, kept(Unknown, Some(false), false), Unknown, 0),
        (true, kept(Confirmed, Some(true), true), Confirmed, 0),
        (true, kept(Pending, Some(true), false), Pending, 0),
        (true, kept(Pending, Some(true), true), Unknown, 0),
        (true, kept(Unknown, Some(true), true), Unknown, 0),
        // Rows of a version that did not know commands.
        (false, kept(Pending, None, false), Pending, 0),
        (false, kept(Failed, None, false), Pending, 0),
        (false, kept(Confirmed, None, false), Confirmed, 0),
        (true, kept(Pending, None, false), Unknown, 0),
        (true, kept(Confirmed, None, false), Confirmed, 0),
    ] {
        let mut bench = Bench {
            command,
            ..Bench::new()
        }
        .resumed(&left);
        assert_eq!(bench.desired.shown(), shown, "{left:?}");
        bench.step(Event::Tick);
        assert_eq!(bench.writes.len(), writes, "{left:?}");
    }
    // Steps of methods were local values once: none of them starts anything now.
    let mut of_client = Bench::new();
    of_client.desired.local = true;
    let bench = of_client.resumed(&kept(Pending, None, false));
    assert_eq!(bench.desired.shown(), Unknown);
}

#[test]
fn a_device_that_forgets_gets_its_value_back_where_that_is_wished() {
    for (restore, writes) in [(false, 1), (true, 2)] {
        let mut bench = Bench {
            read_back: false,
            restore,
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
        bench.step(Event::Tick);
        assert_eq!(bench.writes.len(), 1, "a reading tells");
        bench.step(Event::Reading { matches: false });
        bench.step(Event::Tick);
        assert_eq!(bench.writes.len(), writes, "restore: {restore}");
    }
}

#[test]
fn a_watchdog_is_fed_whatever_happens() {
    let mut bench = Bench {
        repeat_ms: Some(5_000),
        ..Bench::new()
    };
    bench.step(Event::Tick);
    bench.completed(bench.last_write(), Outcome::Done);
    bench.step(Event::Reading { matches: true });
    assert!(!bench.desired.is_settled());
    for outcome in [Outcome::Done, Outcome::Line("lost"), Outcome::Busy] {
        assert_eq!(bench.wait_for_write(), 5_000);
        assert!(
            !bench.completed(bench.last_write(), outcome),
            "nobody need know"
        );
        assert_eq!(bench.desired.shown(), WriteState::Confirmed);
    }
    bench.ready = false;
    bench.now_ms += 60_000;
    let writes = bench.writes.len();
    bench.step(Event::Tick);
    assert_eq!(bench.writes.len(), writes, "not while the device is away");
    bench.ready = true;
    bench.wait_for_write();
    bench.completed(bench.last_write(), Outcome::Refused("not in this mode"));
    assert_eq!(bench.desired.shown(), WriteState::Failed);
    bench.a_rough_week();
    assert_eq!(bench.writes.len(), writes + 1);
}

#[test]
fn an_unanswered_write_is_in_doubt() {
    let mut bench = Bench::new();
    bench.step(Event::Tick);
    bench.now_ms += 3_000 + GRACE_MS;
    bench.step(Event::Tick);
    assert_eq!(&*bench.desired.message, "the mapper did not answer in time");
    bench.completed(bench.writes[0], Outcome::Done);
    assert_eq!(
        bench.desired.shown(),
        WriteState::Pending,
        "the answer of a write that was given up means nothing"
    );
    bench.wait_for_read();
    assert_eq!(bench.writes.len(), 1);
}

#[test]
fn a_command_is_announced_and_goes_out_once() {
    for (outcome, shown) in [
        (Outcome::Done, WriteState::Confirmed),
        (Outcome::Refused("not now"), WriteState::Failed),
        (Outcome::Line("connection lost"), WriteState::Unknown),
    ] {
        let mut bench = Bench::command();
        bench.step(Event::Tick);
        assert_eq!((bench.announced, bench.writes.len()), (1, 0));
        bench.step(Event::Tick);
        bench.step(Event::Announced);
        assert_eq!((bench.announced, bench.writes.len()), (1, 1));
        bench.completed(bench.last_write(), outcome);
        assert_eq!(bench.desired.shown(), shown);
        bench.a_rough_week();
        bench.step(Event::Announced);
        assert_eq!((bench.writes.len(), bench.reads.len()), (1, 0));
        assert_eq!(bench.desired.shown(), shown, "told once");
    }
}

#[test]
fn a_command_that_was_interrupted_is_unknown_and_one_that_did_not_go_out_waits() {
    for event in [Event::Interrupted, Event::HandedOver] {
        let mut bench = Bench::command();
        bench.step(Event::Tick);
        bench.step(Event::Announced);
        bench.step(event);
        assert_eq!(
            &*bench.desired.message,
            "it may have been carried out or not: the mapper went down meanwhile"
        );
    }
    let mut bench = Bench::command();
    bench.step(Event::Tick);
    bench.step(Event::Announced);
    bench.completed(bench.last_write(), Outcome::NotSent("no connection"));
    assert_eq!(bench.desired.shown(), WriteState::Pending);
    bench.wait_for_write();
    assert_eq!(bench.announced, 1, "the disk knows it already");
    // Reading first what it is a part of is no write.
    bench.desired.reads_first = true;
    bench.step(Event::Interrupted);
    assert_eq!(bench.desired.shown(), WriteState::Pending);
}

#[test]
fn a_command_for_a_device_that_is_away_is_given_up() {
    let mut bench = Bench::command();
    bench.ready = false;
    let waited = bench.tick_until(|bench| bench.desired.state == State::Refused);
    assert_eq!(waited, 120_000);
    assert_eq!(
        &*bench.desired.message,
        "not sent, and given up after 120 s: it is switched off"
    );
    bench.ready = true;
    bench.a_rough_week();
    assert_eq!((bench.writes.len(), bench.announced), (0, 0));
    // One that lay elsewhere for long is as old as it is.
    let mut bench = Bench::command();
    bench.now_ms += 3_600_000;
    bench.step(Event::Tick);
    assert_eq!(
        (bench.desired.state, bench.writes.len()),
        (State::Refused, 0)
    );
}

#[test]
fn a_value_is_as_old_as_its_giver_says() {
    let said = |text: &str| BTreeMap::from([("timestamp".to_owned(), text.to_owned())]);
    let now = 1_700_000_000_000;
    assert_eq!(given_at(&said("1699999990000"), now), 1_699_999_990_000);
    // From the future, in seconds, or no time at all.
    for none in ["1700000009999", "1699999990", "yesterday"] {
        assert_eq!(given_at(&said(none), now), now, "{none}");
    }
    assert_eq!(given_at(&BTreeMap::new(), now), now);
}

//! When a mapper is started, killed and given up: a pure state machine.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How patient the supervisor is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Time to load the library and make the instance.
    pub(crate) start: Duration,
    /// Pause before the second restart of a row; doubles with each.
    pub(crate) backoff_first: Duration,
    /// The longest pause.
    pub(crate) backoff_most: Duration,
    /// An instance that lived this long starts a new row.
    pub(crate) stable: Duration,
    /// Time that a stop may take beyond its budget.
    pub(crate) stop_grace: Duration,
    /// Pause between two looks at a file that was refused.
    pub(crate) look_again: Duration,
    /// Whether the mapper can be killed: it has a process of its own.
    pub(crate) killable: bool,
}

/// Where the mapper is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Not there. At `until` it is spawned and `Starting`.
    Waiting { until: Instant },
    /// Loading. `Ready` enters `Running`; the deadline counts as a hang.
    Starting { deadline: Instant },
    /// At work. `Gone` and `Hung` enter `Waiting`, `Stop` enters `Stopping`.
    Running { since: Instant },
    /// Asked to stop. `Stopped`, `Gone` or the deadline enter `Ended`.
    Stopping { deadline: Instant },
    /// There is no instance, for a reason that lies in the file or in the
    /// configuration. At `until` the file is looked at; when it is another one
    /// than before, the mapper is `Starting` again.
    Refused { until: Instant },
    /// Will not come back: stopped, or (with a reason) given up.
    Ended { failed: Option<Arc<str>> },
}

/// What happens to a mapper.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// Time passed.
    Tick,
    /// The instance stands.
    Ready,
    /// There is no instance, and trying again with the same file cannot help.
    Refused(Arc<str>),
    /// The file is not the one that was refused.
    Replaced,
    /// It crashed, ended by itself, broke the contract or failed to start.
    Gone(Arc<str>),
    /// It does not answer.
    Hung(Arc<str>),
    /// The edge wants it to end within this time.
    Stop(Duration),
    /// It did.
    Stopped,
}

/// What the driver does about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Start the process or thread.
    Spawn,
    /// See whether the file is another one; if so, `Replaced`.
    Look,
    /// Tell the edge that the mapper is up.
    Up,
    /// Get rid of the process or thread, whatever it does.
    Discard,
    /// Tell the edge that the mapper, which was up, is down.
    Down(Arc<str>),
    /// Ask the mapper to stop.
    AskStop(Duration),
}

/// The state and what it remembers.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) state: State,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Why it is not running, while it is not.
    pub(crate) reason: Option<Arc<str>>,
    patience: Patience,
    random: fastrand::Rng,
}

impl Supervisor {
    pub(crate) fn new(patience: Patience, now: Instant, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self {
            state: State::Waiting { until: now },
            failures: 0,
            reason: None,
            patience,
            random,
        }
    }

    /// When `Tick` has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until: at }
            | State::Starting { deadline: at }
            | State::Refused { until: at }
            | State::Stopping { deadline: at } => Some(at),
            State::Running { .. } | State::Ended { .. } => None,
        }
    }

    pub(crate) fn step(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        match (&self.state, input) {
            (State::Waiting { until }, Input::Tick) if *until <= now => {
                self.state = State::Starting {
                    deadline: now + self.patience.start,
                };
                vec![Effect::Spawn]
            }
            (State::Starting { deadline }, Input::Tick) if *deadline <= now => {
                let took = self.patience.start.as_secs_f32();
                self.hung(format!("did not start within {took} s").into(), now)
            }
            (State::Starting { .. }, Input::Ready) => {
                self.state = State::Running { since: now };
                self.reason = None;
                vec![Effect::Up]
            }
            (State::Starting { .. }, Input::Refused(reason)) => {
                self.reason = Some(reason);
                self.state = State::Refused {
                    until: now + self.patience.look_again,
                };
                vec![Effect::Discard]
            }
            (State::Refused { until }, Input::Tick) if *until <= now => {
                self.state = State::Refused {
                    until: now + self.patience.look_again,
                };
                vec![Effect::Look]
            }
            (State::Refused { .. }, Input::Replaced) => {
                self.state = State::Starting {
                    deadline: now + self.patience.start,
                };
                vec![Effect::Spawn]
            }
            (State::Starting { .. } | State::Running { .. }, Input::Gone(reason)) => {
                self.failed(reason, now)
            }
            (State::Starting { .. } | State::Running { .. }, Input::Hung(reason)) => {
                self.hung(reason, now)
            }
            (State::Running { .. }, Input::Stop(budget)) => {
                self.state = State::Stopping {
                    deadline: now + budget + self.patience.stop_grace,
                };
                vec![Effect::AskStop(budget)]
            }
            (
                State::Waiting { .. } | State::Starting { .. } | State::Refused { .. },
                Input::Stop(_),
            ) => self.end(None),
            (State::Stopping { .. }, Input::Stopped | Input::Gone(_)) => {
                let mut effects = self.end(None);
                effects.push(Effect::Down("stopped".into()));
                effects
            }
            (State::Stopping { deadline }, Input::Tick) if *deadline <= now => {
                let mut effects = self.end(None);
                effects.push(Effect::Down("killed: it did not stop in time".into()));
                effects
            }
            _ => Vec::new(),
        }
    }

    fn end(&mut self, failed: Option<Arc<str>>) -> Vec<Effect> {
        self.reason.clone_from(&failed);
        self.state = State::Ended { failed };
        vec![Effect::Discard]
    }

    fn hung(&mut self, reason: Arc<str>, now: Instant) -> Vec<Effect> {
        if self.patience.killable {
            return self.failed(reason, now);
        }
        // A second instance beside one that hangs would share its devices.
        let was_up = matches!(self.state, State::Running { .. });
        let reason: Arc<str> = format!("{reason}; it runs in-process and cannot be killed").into();
        let mut effects = self.end(Some(reason.clone()));
        if was_up {
            effects.push(Effect::Down(reason));
        }
        effects
    }

    fn failed(&mut self, reason: Arc<str>, now: Instant) -> Vec<Effect> {
        let mut effects = vec![Effect::Discard];
        if let State::Running { since } = self.state {
            effects.push(Effect::Down(reason.clone()));
            if now.duration_since(since) >= self.patience.stable {
                self.failures = 0;
            }
        }
        self.failures += 1;
        self.reason = Some(reason);
        self.state = State::Waiting {
            until: now + self.pause(),
        };
        effects
    }

    /// None for the first failure of a row, then growing, with jitter downwards
    /// so that "back within a second" holds at its longest.
    fn pause(&mut self) -> Duration {
        let Some(doublings) = self.failures.checked_sub(2) else {
            return Duration::ZERO;
        };
        let longest = self.patience.backoff_most;
        let pause = self
            .patience
            .backoff_first
            .saturating_mul(1 << doublings.min(16))
            .min(longest);
        pause.mul_f64(0.75 + self.random.f64() * 0.25)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        start: Duration::from_secs(10),
        backoff_first: Duration::from_millis(100),
        backoff_most: Duration::from_secs(1),
        stable: Duration::from_secs(10),
        stop_grace: Duration::from_secs(1),
        look_again: Duration::from_secs(2),
        killable: true,
    };

    fn running(patience: Patience, now: Instant) -> Supervisor {
        let mut supervisor = Supervisor::new(patience, now, 7);
        assert_eq!(supervisor.step(Input::Tick, now), [Effect::Spawn]);
        assert_eq!(supervisor.step(Input::Ready, now), [Effect::Up]);
        supervisor
    }

    #[test]
    fn comes_back_at_once_and_then_within_a_second() {
        let mut now = Instant::now();
        let mut supervisor = running(PATIENCE, now);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let effects = supervisor.step(Input::Gone("signal 6".into()), now);
            assert_eq!(effects, [Effect::Discard, Effect::Down("signal 6".into())]);
            let until = supervisor.deadline().expect("waiting");
            pauses.push(until - now);
            assert_eq!(supervisor.step(Input::Tick, until), [Effect::Spawn]);
            assert_eq!(supervisor.step(Input::Ready, until), [Effect::Up]);
            now = until;
        }
        assert_eq!(pauses[0], Duration::ZERO);
        assert!(
            pauses[1] >= Duration::from_millis(75) && pauses[1] <= Duration::from_millis(100),
            "{pauses:?}"
        );
        assert!(
            pauses.iter().all(|pause| *pause <= Duration::from_secs(1)),
            "{pauses:?}"
        );
        assert!(pauses[11] >= Duration::from_millis(750), "{pauses:?}");

        // After a quiet while the row is forgotten.
        now += PATIENCE.stable;
        supervisor.step(Input::Gone("signal 6".into()), now);
        assert_eq!(supervisor.deadline(), Some(now));
    }

    #[test]
    fn a_start_that_hangs_is_killed_and_one_that_is_refused_waits_for_another_file() {
        let now = Instant::now();
        let mut supervisor = Supervisor::new(PATIENCE, now, 7);
        supervisor.step(Input::Tick, now);
        let deadline = supervisor.deadline().expect("starting");
        assert_eq!(supervisor.step(Input::Tick, deadline), [Effect::Discard]);
        assert_eq!(
            supervisor.reason.as_deref(),
            Some("did not start within 10 s")
        );
        supervisor.step(Input::Tick, deadline);
        assert_eq!(
            supervisor.step(Input::Refused("no".into()), deadline),
            [Effect::Discard]
        );
        assert_eq!(supervisor.reason.as_deref(), Some("no"));
        assert_eq!(supervisor.step(Input::Tick, deadline), []);
        let look = supervisor.deadline().expect("looks again");
        assert_eq!(look, deadline + PATIENCE.look_again);
        assert_eq!(supervisor.step(Input::Tick, look), [Effect::Look]);
        assert_eq!(supervisor.step(Input::Replaced, look), [Effect::Spawn]);
        assert_eq!(supervisor.step(Input::Ready, look), [Effect::Up]);
        assert_eq!(supervisor.reason, None);
    }

    #[test]
    fn what_cannot_be_killed_is_given_up() {
        let now = Instant::now();
        let mut supervisor = running(
            Patience {
                killable: false,
                ..PATIENCE
            },
            now,
        );
        let effects = supervisor.step(Input::Hung("silent".into()), now);
        assert!(matches!(
            effects.as_slice(),
            [Effect::Discard, Effect::Down(_)]
        ));
        assert!(matches!(supervisor.state, State::Ended { failed: Some(_) }));
    }

    #[test]
    fn no_order_of_inputs_breaks_the_pairs() {
        let mut random = fastrand::Rng::with_seed(1);
        for round in 0..2000 {
            let mut now = Instant::now();
            let mut supervisor = Supervisor::new(
                Patience {
                    killable: round % 2 == 0,
                    ..PATIENCE
                },
                now,
                round,
            );
            let (mut spawned, mut up) = (false, false);
            for _ in 0..50 {
                now += Duration::from_millis(random.u64(0..3000));
                let input = match random.u8(0..20) {
                    0..8 => Input::Tick,
                    8..13 => Input::Ready,
                    13 => Input::Refused("refused".into()),
                    14..16 => Input::Gone("gone".into()),
                    16..18 => Input::Hung("hung".into()),
                    18 if round % 3 == 0 => Input::Replaced,
                    18 => Input::Stopped,
                    _ => Input::Stop(Duration::from_secs(1)),
                };
                for effect in supervisor.step(input, now) {
                    match effect {
                        Effect::Spawn => {
                            assert!(!std::mem::replace(&mut spawned, true), "two at once")
                        }
                        Effect::Discard => spawned = false,
                        Effect::Look => assert!(!spawned, "it runs"),
                        Effect::Up => {
                            assert!(spawned && !std::mem::replace(&mut up, true), "up twice")
                        }
                        Effect::Down(_) => {
                            assert!(std::mem::replace(&mut up, false), "down without up")
                        }
                        Effect::AskStop(_) => assert!(spawned && up, "nobody to ask"),
                    }
                }
                let alive = matches!(
                    supervisor.state,
                    State::Running { .. } | State::Stopping { .. }
                );
                assert_eq!(up, alive, "{:?}", supervisor.state);
                assert_eq!(
                    spawned,
                    alive || matches!(supervisor.state, State::Starting { .. })
                );
            }
        }
    }

    #[test]
    fn stops_in_time_or_is_killed() {
        let (now, budget) = (Instant::now(), Duration::from_secs(2));
        for (input, at) in [
            (Input::Stopped, now),
            (Input::Gone("exit".into()), now),
            (Input::Tick, now + Duration::from_secs(3)),
        ] {
            let mut supervisor = running(PATIENCE, now);
            assert_eq!(
                supervisor.step(Input::Stop(budget), now),
                [Effect::AskStop(budget)]
            );
            assert_eq!(supervisor.step(Input::Tick, now + budget), []);
            assert!(matches!(
                supervisor.step(input, at).as_slice(),
                [Effect::Discard, Effect::Down(_)]
            ));
            assert_eq!(supervisor.state, State::Ended { failed: None });
        }
    }
}

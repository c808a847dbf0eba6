//! When a mapper is started, replaced, killed and given up: a pure state machine.
//!
//! # How a new edition takes over
//!
//! The new one (the *candidate*) is loaded beside the one that runs. Only when
//! it stands is the old one stopped, and the edge then hears `Down` and `Up` in
//! one go. From then on the new one is on *trial*: if it fails in that time, or
//! refuses what the old one accepted, the old one is back. A candidate that
//! does not come to stand costs nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use longshore_types::backoff::Backoff;

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
    /// Time that an edition has to live to have proved itself.
    pub(crate) trial: Duration,
    /// Budget of the stop that makes room for another edition.
    pub(crate) replace: Duration,
}

/// Another edition, loaded beside the one that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// Loading. `CandidateReady` begins the replacing; the deadline refuses it.
    Loading { deadline: Instant },
    /// Stands, and waits for the old one to end.
    Ready,
}

/// An edition that has not proved itself yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trial {
    /// There is a way back.
    pub(crate) fallback: bool,
    /// Known once it is up.
    until: Option<Instant>,
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
    /// Asked to make room for the candidate. `Stopped`, `Gone` or the deadline
    /// enter `Running` with the candidate, or `Waiting` if that was lost.
    Replacing { deadline: Instant },
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
    /// There is another edition, to be loaded beside this one.
    Candidate,
    /// The candidate stands.
    CandidateReady,
    /// The candidate does not, or not any more.
    CandidateFailed(Arc<str>),
    /// It refuses what the edition before it accepted.
    Unfit(Arc<str>),
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
    /// The same, but another edition takes over at once: nothing broke.
    HandOver(Arc<str>),
    /// Start the candidate's process or thread.
    SpawnCandidate,
    /// Get rid of the candidate.
    DiscardCandidate,
    /// The candidate is the mapper from now on.
    Promote,
    /// The file is not to be tried again, for this reason.
    Refuse(Arc<str>),
    /// The same, and the edition before is the mapper again.
    RollBack(Arc<str>),
    /// The edition proved itself: the way back is not needed any more.
    Settle,
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
    pub(crate) candidate: Option<Candidate>,
    pub(crate) trial: Option<Trial>,
    patience: Patience,
    backoff: Backoff,
    random: fastrand::Rng,
}

impl Supervisor {
    pub(crate) fn new(patience: Patience, now: Instant, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self {
            state: State::Waiting { until: now },
            failures: 0,
            reason: None,
            candidate: None,
            trial: None,
            patience,
            backoff: Backoff::new(patience.backoff_first, patience.backoff_most),
            random,
        }
    }

    /// When `Tick` has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until: at }
            | State::Starting { deadline: at }
            | State::Refused { until: at }
            | State::Replacing { deadline: at }
            | State::Stopping { deadline: at } => Some(at),
            State::Running { .. } => {
                let trial = self.trial.and_then(|trial| trial.until);
                let candidate = match self.candidate {
                    Some(Candidate::Loading { deadline }) => Some(deadline),
                    _ => None,
                };
                trial.into_iter().chain(candidate).min()
            }
            State::Ended { .. } => None,
        }
    }

    /// The start begins only now.
    pub(crate) fn begins(&mut self, now: Instant) {
        if let State::Starting { deadline } = &mut self.state {
            *deadline = now + self.patience.start;
        }
    }

    /// The next start is one of an edition that has not proved itself.
    pub(crate) fn on_trial(&mut self, fallback: bool) {
        self.trial = Some(Trial {
            fallback,
            until: None,
        });
    }

    /// Whether what runs could be replaced by what was there before it.
    pub(crate) fn has_way_back(&self) -> bool {
        self.trial.is_some_and(|trial| trial.fallback)
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
                self.up(now);
                vec![Effect::Up]
            }
            (State::Starting { .. }, Input::Refused(reason)) if self.has_way_back() => {
                self.failed(reason, now)
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
                let mut effects = self.drop_candidate();
                self.state = State::Stopping {
                    deadline: now + budget + self.patience.stop_grace,
                };
                effects.push(Effect::AskStop(budget));
                effects
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
            (_, input) => self.step_renewal(input, now),
        }
    }

    /// What has to do with another edition.
    fn step_renewal(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        match (&self.state, input) {
            (State::Running { .. }, Input::Tick) => self.tick_running(now),
            (State::Running { .. }, Input::Candidate) if self.candidate.is_none() => {
                self.candidate = Some(Candidate::Loading {
                    deadline: now + self.patience.start,
                });
                vec![Effect::SpawnCandidate]
            }
            (State::Running { .. }, Input::CandidateReady) if self.candidate.is_some() => {
                self.candidate = Some(Candidate::Ready);
                self.state = State::Replacing {
                    deadline: now + self.patience.replace + self.patience.stop_grace,
                };
                vec![Effect::AskStop(self.patience.replace)]
            }
            (State::Running { .. } | State::Replacing { .. }, Input::CandidateFailed(reason))
                if self.candidate.is_some() =>
            {
                self.candidate = None;
                vec![Effect::DiscardCandidate, Effect::Refuse(reason)]
            }
            (State::Running { .. }, Input::Unfit(reason)) if self.has_way_back() => {
                self.failed(reason, now)
            }
            (State::Replacing { .. }, Input::Stopped | Input::Gone(_)) => self.replaced(now),
            (State::Replacing { deadline }, Input::Tick) if *deadline <= now => self.replaced(now),
            // It is asked already.
            (State::Replacing { .. }, Input::Stop(budget)) => {
                self.state = State::Stopping {
                    deadline: now + budget + self.patience.stop_grace,
                };
                self.drop_candidate()
            }
            _ => Vec::new(),
        }
    }

    fn up(&mut self, now: Instant) {
        self.state = State::Running { since: now };
        self.reason = None;
        let until = now + self.patience.trial;
        self.trial = self.trial.map(|trial| Trial {
            until: Some(until),
            ..trial
        });
    }

    fn tick_running(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self
            .trial
            .and_then(|trial| trial.until)
            .is_some_and(|until| until <= now)
        {
            self.trial = None;
            effects.push(Effect::Settle);
        }
        if let Some(Candidate::Loading { deadline }) = self.candidate
            && deadline <= now
        {
            let took = self.patience.start.as_secs_f32();
            self.candidate = None;
            effects.push(Effect::DiscardCandidate);
            effects.push(Effect::Refuse(
                format!("did not start within {took} s").into(),
            ));
        }
        effects
    }

    /// The old one is gone: the candidate's turn.
    fn replaced(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = vec![Effect::Discard];
        if self.candidate.take() == Some(Candidate::Ready) {
            effects.push(Effect::HandOver("makes room for another version".into()));
            self.failures = 0;
            self.on_trial(true);
            self.up(now);
            effects.extend([Effect::Promote, Effect::Up]);
        } else {
            let reason: Arc<str> = "made room for another version that then was lost".into();
            effects.push(Effect::Down(reason.clone()));
            self.reason = Some(reason);
            self.state = State::Waiting { until: now };
        }
        effects
    }

    fn drop_candidate(&mut self) -> Vec<Effect> {
        let candidate = self.candidate.take();
        candidate
            .map(|_| Effect::DiscardCandidate)
            .into_iter()
            .collect()
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
        let mut effects = self.drop_candidate();
        effects.extend(self.end(Some(reason.clone())));
        if was_up {
            effects.push(Effect::Down(reason));
        }
        effects
    }

    fn failed(&mut self, reason: Arc<str>, now: Instant) -> Vec<Effect> {
        // The next start looks at the file anyway, and finds it there.
        let mut effects = self.drop_candidate();
        effects.push(Effect::Discard);
        if let State::Running { since } = self.state {
            effects.push(Effect::Down(reason.clone()));
            if now.duration_since(since) >= self.patience.stable {
                self.failures = 0;
            }
        }
        if self.has_way_back() {
            self.trial = None;
            self.failures = 0;
            self.reason = Some(reason.clone());
            self.state = State::Waiting { until: now };
            effects.push(Effect::RollBack(reason));
            return effects;
        }
        self.failures += 1;
        self.reason = Some(reason);
        self.state = State::Waiting {
            until: now + self.pause(),
        };
        effects
    }

    /// None for the first failure of a row, then growing.
    fn pause(&mut self) -> Duration {
        if self.failures <= 1 {
            self.backoff.reset();
            return Duration::ZERO;
        }
        self.backoff.next(self.random.f64())
    }
}

#[cfg(test)]
mod tests;

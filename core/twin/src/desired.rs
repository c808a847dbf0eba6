//! One desired value on its way into a device: write, read back, confirm.
//!
//! # When a value is written
//!
//! - when it changes;
//! - again while the line is bad, with growing pauses;
//! - again when the device, its mapper or the edge comes back and the first
//!   reading afterwards differs. A value that was confirmed before is not
//!   written merely because somebody restarted; and where another version of
//!   the mapper takes over without an outage, nothing came back at all.
//!
//! In between, a change made at the device itself stands: reported and desired
//! then differ for all to see, and nobody fights the operator at the panel.
//! What the device refused is not tried again until the desired value changes.

use std::collections::BTreeMap;

use longshore_types::Value;

use longshore_types::device::WriteState;

/// A mapper answers within the write's budget; this much more and it is lost.
const GRACE_MS: u64 = 2_000;
/// Pause between two reads back while a device still shows the old value.
const READ_AGAIN_MS: u64 = 100;
/// First pause after a line error; it doubles up to [`MAX_BACKOFF_MS`].
const BACKOFF_MS: u64 = 200;
const MAX_BACKOFF_MS: u64 = 60_000;
/// Pause before offering a write again to a mapper whose queue was full.
const BUSY_MS: u64 = 50;

/// A desired value and how far it has come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DesiredValue {
    /// As given.
    pub(crate) text: Box<str>,
    /// As the twin's type has it, or why it must not be written.
    pub(crate) target: Result<Value, Box<str>>,
    /// Given by a local client, not by the Device.
    pub(crate) local: bool,
    /// The Device's own desired text and metadata at that time ([`of_device`]);
    /// when either changes, the Device wins.
    pub(crate) of_device: Option<Box<str>>,
    /// When it was given.
    pub(crate) given_ms: i64,
    /// Counts the changes of the desired value since start.
    pub(crate) version: u32,
    /// Where it is.
    pub(crate) state: State,
    /// Since when the state that people see is what it is.
    pub(crate) since_ms: i64,
    /// Why it failed or waits.
    pub(crate) message: Box<str>,
    /// What is so of it is on the disk. Until then its outcome is nobody's business.
    pub(crate) kept: bool,
    /// The command under way only reads, so that the write can follow.
    pub(crate) reads_first: bool,
    attempts: u32,
    /// What the last read back showed, or why it failed.
    seen: Option<Result<Box<str>, Box<str>>>,
}

/// Where a desired value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// To be written once the device is ready and the time has come. → `Writing`.
    Pending { not_before: u64 },
    /// Handed to the mapper. Done → `Confirming` (or `Confirmed`), refused →
    /// `Refused`, line error → `Pending` or `Failed`.
    Writing { token: u64, deadline: u64 },
    /// Written; a reading must show it. `token` is the read under way.
    Confirming {
        token: Option<u64>,
        again_at: u64,
        deadline: u64,
    },
    /// The device has it. Device or mapper comes back → `Checking`.
    Confirmed,
    /// Confirmed once; the next reading tells whether it still is. → `Confirmed` or `Pending`.
    Checking,
    /// Not tried again until the desired value changes.
    Refused,
    /// The line is bad; tried again at `retry_at`. → `Writing`.
    Failed { retry_at: u64 },
}

/// What happens to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event<'a> {
    /// Time passes.
    Tick,
    /// A command ended; `seen` is the property's value now.
    Completed {
        token: u64,
        outcome: Outcome<'a>,
        seen: &'a str,
    },
    /// A good reading came.
    Reading { matches: bool },
    /// The device came back.
    Back,
    /// The mapper died or the device is configured anew: what was under way is lost.
    Interrupted,
    /// Another version of the mapper takes over: the same, but the device was
    /// there all the time.
    HandedOver,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    Done,
    /// The device or mapper said no.
    Refused(&'a str),
    /// The line broke, or no answer in time.
    Line(&'a str),
    /// The mapper's queue was full; nothing was tried.
    Busy,
}

/// What the state machine has to know besides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context {
    pub(crate) now_ms: u64,
    pub(crate) unix_ms: i64,
    /// Mapper up and device configured.
    pub(crate) ready: bool,
    /// Time for one try.
    pub(crate) timeout_ms: u64,
    /// Further tries after a line error before it counts as failed.
    pub(crate) retries: u32,
    /// Whether a reading must show the value.
    pub(crate) read_back: bool,
    /// Token of the command that the returned action will be.
    pub(crate) token: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Nothing,
    /// Write the target, with [`Context::token`].
    Write,
    /// Read the property, with [`Context::token`].
    Read,
}

/// A Device's desired text with its metadata, as one key to compare.
pub(crate) fn of_device(text: &str, metadata: &BTreeMap<String, String>) -> Box<str> {
    let pairs = metadata
        .iter()
        .map(|(key, value)| format!("\n{key}={value}"));
    std::iter::once(text.to_owned())
        .chain(pairs)
        .collect::<String>()
        .into()
}

impl DesiredValue {
    /// A new desired value: to be written, or refused from the start.
    pub(crate) fn new(
        text: &str,
        target: Result<Value, Box<str>>,
        local: bool,
        unix_ms: i64,
        version: u32,
    ) -> Self {
        let (state, message) = match &target {
            Ok(_) => (State::Pending { not_before: 0 }, Box::default()),
            Err(why) => (State::Refused, why.clone()),
        };
        Self {
            text: text.into(),
            target,
            local,
            of_device: None,
            given_ms: unix_ms,
            version,
            state,
            since_ms: unix_ms,
            message,
            kept: true,
            reads_first: false,
            attempts: 0,
            seen: None,
        }
    }

    /// What was read first is there; the write itself is under way now.
    pub(crate) fn written_as(&mut self, token: u64, deadline_ms: u64) {
        self.state = State::Writing {
            token,
            deadline: deadline_ms + GRACE_MS,
        };
    }

    /// Picks up where a former edgecore left it.
    pub(crate) fn resume(
        &mut self,
        write: WriteState,
        refused: bool,
        message: &str,
        since_ms: i64,
    ) {
        if self.target.is_err() {
            return;
        }
        self.state = match write {
            WriteState::Confirmed => State::Checking,
            WriteState::Failed if refused => State::Refused,
            WriteState::Failed | WriteState::Pending => State::Pending { not_before: 0 },
        };
        if self.shown() == write {
            self.message = message.into();
            self.since_ms = since_ms;
        }
    }

    /// What people see.
    pub(crate) fn shown(&self) -> WriteState {
        match self.state {
            State::Pending { .. } | State::Writing { .. } | State::Confirming { .. } => {
                WriteState::Pending
            }
            State::Confirmed | State::Checking => WriteState::Confirmed,
            State::Refused | State::Failed { .. } => WriteState::Failed,
        }
    }

    /// Whether time or events have to bring it further.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(
            self.state,
            State::Confirmed | State::Checking | State::Refused
        )
    }

    /// When time brings it further; none while only something else does. `ready`
    /// as in [`Context`].
    pub(crate) fn due(&self, ready: bool) -> Option<u64> {
        match self.state {
            State::Pending { not_before: at } | State::Failed { retry_at: at } => {
                ready.then_some(at)
            }
            State::Writing { deadline, .. } => Some(deadline),
            State::Confirming {
                token: Some(_),
                deadline,
                ..
            } => Some(deadline + GRACE_MS),
            State::Confirming {
                token: None,
                again_at,
                deadline,
            } => Some(if ready {
                again_at.min(deadline)
            } else {
                deadline
            }),
            State::Confirmed | State::Checking | State::Refused => None,
        }
    }

    /// One step. True when what people see has changed.
    pub(crate) fn step(&mut self, event: &Event<'_>, context: &Context) -> (Action, bool) {
        let before = (self.shown(), self.message.clone());
        let action = match event {
            Event::Tick => self.tick(context),
            Event::Completed {
                token,
                outcome,
                seen,
            } => self.completed(*token, *outcome, seen, context),
            Event::Reading { matches } => self.reading(*matches),
            Event::Back => self.back(),
            Event::Interrupted => self.interrupted(true),
            Event::HandedOver => self.interrupted(false),
        };
        let shown = self.shown();
        if shown != before.0 {
            self.since_ms = context.unix_ms;
        }
        (action, shown != before.0 || self.message != before.1)
    }

    fn tick(&mut self, context: &Context) -> Action {
        let now = context.now_ms;
        match self.state {
            State::Pending { not_before: at } | State::Failed { retry_at: at }
                if context.ready && now >= at =>
            {
                self.state = State::Writing {
                    token: context.token,
                    deadline: now + context.timeout_ms + GRACE_MS,
                };
                Action::Write
            }
            State::Writing { deadline, .. } if now >= deadline => {
                self.line_failure("the mapper did not answer in time", context);
                Action::Nothing
            }
            State::Confirming {
                deadline, token, ..
            } if now >= deadline + if token.is_some() { GRACE_MS } else { 0 } => {
                self.not_confirmed(context);
                Action::Nothing
            }
            State::Confirming {
                token: None,
                again_at,
                deadline,
            } if context.ready && now >= again_at => {
                self.state = State::Confirming {
                    token: Some(context.token),
                    again_at,
                    deadline,
                };
                Action::Read
            }
            _ => Action::Nothing,
        }
    }

    fn completed(
        &mut self,
        of: u64,
        outcome: Outcome<'_>,
        seen: &str,
        context: &Context,
    ) -> Action {
        let now = context.now_ms;
        match self.state {
            State::Writing { token, .. } if token == of => self.written(outcome, context),
            State::Confirming {
                token: Some(token),
                deadline,
                ..
            } if token == of => {
                self.seen = match outcome {
                    Outcome::Done => Some(Ok(seen.into())),
                    Outcome::Line(why) | Outcome::Refused(why) => Some(Err(why.into())),
                    Outcome::Busy => self.seen.take(),
                };
                if now < deadline {
                    self.state = State::Confirming {
                        token: None,
                        again_at: now + READ_AGAIN_MS,
                        deadline,
                    };
                } else {
                    self.not_confirmed(context);
                }
                Action::Nothing
            }
            // Of a value that was replaced meanwhile.
            _ => Action::Nothing,
        }
    }

    fn written(&mut self, outcome: Outcome<'_>, context: &Context) -> Action {
        let now = context.now_ms;
        match outcome {
            Outcome::Done if !context.read_back => self.confirm(),
            Outcome::Done => {
                let deadline = now + context.timeout_ms;
                self.seen = None;
                self.state = State::Confirming {
                    token: Some(context.token),
                    again_at: now,
                    deadline,
                };
                return Action::Read;
            }
            Outcome::Refused(why) => {
                self.state = State::Refused;
                self.message = why.into();
            }
            Outcome::Line(why) => self.line_failure(why, context),
            Outcome::Busy => {
                self.state = State::Pending {
                    not_before: now + BUSY_MS,
                }
            }
        }
        Action::Nothing
    }

    fn reading(&mut self, matches: bool) -> Action {
        match self.state {
            State::Confirming { .. } | State::Checking | State::Failed { .. } if matches => {
                self.confirm()
            }
            State::Checking => self.state = State::Pending { not_before: 0 },
            _ => {}
        }
        Action::Nothing
    }

    fn back(&mut self) -> Action {
        match self.state {
            State::Confirmed => self.state = State::Checking,
            State::Failed { .. } => self.state = State::Pending { not_before: 0 },
            _ => {}
        }
        Action::Nothing
    }

    fn interrupted(&mut self, doubtful: bool) -> Action {
        match self.state {
            State::Writing { .. } | State::Confirming { .. } => {
                self.state = State::Pending { not_before: 0 }
            }
            State::Confirmed if doubtful => self.state = State::Checking,
            _ => {}
        }
        Action::Nothing
    }

    fn confirm(&mut self) {
        self.state = State::Confirmed;
        self.message = Box::default();
        self.attempts = 0;
    }

    fn line_failure(&mut self, why: &str, context: &Context) {
        let at = context.now_ms + self.count_attempt();
        self.message = why.into();
        self.state = if self.attempts <= context.retries {
            State::Pending { not_before: at }
        } else {
            State::Failed { retry_at: at }
        };
    }

    /// No reading showed the value in time. A device that shows another one is
    /// given up in the end; one that shows nothing may only have a bad line.
    fn not_confirmed(&mut self, context: &Context) {
        let seen = match self.seen.take() {
            Some(Ok(seen)) => seen,
            Some(Err(why)) => {
                return self.line_failure(&format!("written, but not read back: {why}"), context);
            }
            None => return self.line_failure("written, but not read back in time", context),
        };
        let at = context.now_ms + self.count_attempt();
        self.message = format!("written {}, but read back {seen}", self.text).into();
        self.state = if self.attempts <= context.retries {
            State::Pending { not_before: at }
        } else {
            State::Refused
        };
    }

    /// The pause before the next try.
    fn count_attempt(&mut self) -> u64 {
        let pause = (BACKOFF_MS << self.attempts.min(16)).min(MAX_BACKOFF_MS);
        self.attempts += 1;
        pause
    }
}

#[cfg(test)]
mod tests;

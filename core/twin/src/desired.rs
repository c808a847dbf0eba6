//! One desired value on its way into a device: written, read back, settled.
//!
//! # A state and a command
//!
//! A **state** is what a device should be. It is written when it changes (a new
//! *revision*: the value or its metadata), and tried again until that revision
//! is confirmed or refused. Once it is confirmed it is done: a change made at the
//! device itself stands, reported and desired then differ for all to see, and
//! nobody fights the operator at the panel. Only `write.onReturn: restore` writes
//! it again, when the device, its mapper or the edge comes back and the first
//! reading differs, and `write.repeat` for a watchdog.
//!
//! A **command** is something that a device should do. It goes to the mapper once
//! at most, whatever breaks, restarts or is upgraded. The disk knows before the
//! mapper does that it may be on the wire ([`DesiredValue::handed`]), so that a
//! crash in between makes it unknown, never again. One that waits for a device that
//! is away is given up after a while, since nobody expects it any more.
//!
//! # In doubt
//!
//! An answer that is missing or was not understood says nothing: the device may
//! have the value or not. Of a state a reading tells, before anything is written
//! again; so each write beyond the first is one that the device was seen not to
//! have taken, and `retries` bounds them. Of a command nothing tells: it is unknown.
//! What a device accepts and then shows otherwise it has refused: one that clamps,
//! or a register that clears itself, is not written twice.

mod given;
mod step;

use longshore_types::{Value, device::WriteState};

pub(crate) use self::given::{Kept, given_at, of_device};

/// A mapper answers within the write's budget; this much more and it is lost.
const GRACE_MS: u64 = 2_000;
/// Pause between two reads back while a device still shows the old value.
const READ_AGAIN_MS: u64 = 100;
/// First pause before another try; it doubles up to [`MAX_BACKOFF_MS`].
const BACKOFF_MS: u64 = 200;
const MAX_BACKOFF_MS: u64 = 60_000;
/// The same where nothing went out: a device that is back is found soon.
const MAX_WAIT_MS: u64 = 5_000;
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
    /// It goes out as a command; known once it is about to.
    pub(crate) command: bool,
    /// The row on the disk says that it may be on the wire.
    pub(crate) handed: bool,
    /// Since when the state that people see is what it is.
    pub(crate) since_ms: i64,
    /// Why it failed or waits.
    pub(crate) message: Box<str>,
    /// What is so of it is on the disk. Until then its outcome is nobody's business.
    pub(crate) kept: bool,
    /// The command under way only reads, so that the write can follow.
    pub(crate) reads_first: bool,
    /// What the twin showed when it was written.
    pub(crate) before: Option<Box<str>>,
    /// When a confirmed value is written again; none where nobody asked for that.
    pub(crate) repeat_at: Option<u64>,
    /// Writes of this revision that the device did not take over.
    attempts: u32,
    /// Times in a row that nothing went out, or nothing could be read.
    waits: u32,
    /// What the last read back showed, or why it failed.
    seen: Option<Result<Box<str>, Box<str>>>,
}

/// Where a desired value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// To be written once the device is ready and the time has come. A state →
    /// `Writing`; a command → `Announcing`, or `Refused` when its time is over.
    Pending { not_before: u64 },
    /// A command: the disk is told that it may be on the wire. Stored → `Writing`.
    Announcing,
    /// Handed to the mapper. Done → `Confirming` (or `Confirmed`), refused →
    /// `Refused`; no answer → `Settling`, or for a command `Unknown`.
    Writing { token: u64, deadline: u64 },
    /// Accepted; a reading must show it. `token` is the read under way.
    Confirming {
        token: Option<u64>,
        again_at: u64,
        deadline: u64,
    },
    /// The device may have it or not: a reading tells. → `Confirmed`, `Pending`
    /// (the next try), `Refused` (that was the last one), or `Unknown` where
    /// nothing can be read. `read` is the one under way and its deadline.
    Settling {
        read: Option<(u64, u64)>,
        again_at: u64,
    },
    /// The device has it. Restored values: device or mapper comes back → `Checking`.
    Confirmed,
    /// Confirmed, and written again for a watchdog. → `Confirmed`, or `Refused`.
    Repeating { token: u64, deadline: u64 },
    /// Confirmed once; the next reading tells whether it still is. → `Confirmed` or `Pending`.
    Checking,
    /// Refused or given up: not tried again until there is another revision.
    Refused,
    /// It may have reached the device or not, and nothing will tell. Of a state
    /// a reading still may: → `Confirmed`.
    Unknown,
}

/// What happens to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event<'a> {
    /// Time passes.
    Tick,
    /// The disk knows that it may be on the wire.
    Announced,
    /// A command ended; `seen` is the property's value now, and `matches` says
    /// whether that is the desired one.
    Completed {
        token: u64,
        outcome: Outcome<'a>,
        seen: &'a str,
        matches: bool,
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
    /// The line broke, or no answer in time: it may be done or not.
    Line(&'a str),
    /// Nothing of it went out, since the device is away.
    NotSent(&'a str),
    /// The mapper's queue was full; nothing was tried.
    Busy,
}

/// What the state machine has to know besides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) now_ms: u64,
    pub(crate) unix_ms: i64,
    /// Mapper up, device configured and not known to be away.
    pub(crate) ready: bool,
    /// Why not, for people.
    pub(crate) away: &'a str,
    /// Time for one try.
    pub(crate) timeout_ms: u64,
    /// Further tries of a state.
    pub(crate) retries: u32,
    /// Whether a reading must show the value.
    pub(crate) read_back: bool,
    /// The property takes commands.
    pub(crate) command: bool,
    /// How long a command may wait.
    pub(crate) expires_ms: u64,
    /// A confirmed value is brought back to a device that comes back without it.
    pub(crate) restore: bool,
    /// Time between two writes of a confirmed value.
    pub(crate) repeat_ms: Option<u64>,
    /// Token of the command that the returned action will be.
    pub(crate) token: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Nothing,
    /// Tell the disk that it may be on the wire, then come with [`Event::Announced`].
    Announce,
    /// Write the target, with [`Context::token`].
    Write,
    /// Read the property, with [`Context::token`].
    Read,
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
            command: false,
            handed: false,
            since_ms: unix_ms,
            message,
            kept: true,
            reads_first: false,
            before: None,
            repeat_at: None,
            attempts: 0,
            waits: 0,
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

    /// What people see.
    pub(crate) fn shown(&self) -> WriteState {
        match self.state {
            State::Pending { .. }
            | State::Announcing
            | State::Writing { .. }
            | State::Confirming { .. }
            | State::Settling { .. } => WriteState::Pending,
            State::Confirmed | State::Repeating { .. } | State::Checking => WriteState::Confirmed,
            State::Refused => WriteState::Failed,
            State::Unknown => WriteState::Unknown,
        }
    }

    /// Whether a reading may bring it further.
    pub(crate) fn listens(&self) -> bool {
        matches!(
            self.state,
            State::Confirming { .. } | State::Settling { .. } | State::Checking | State::Unknown
        )
    }

    /// Whether this command reads back what was written.
    pub(crate) fn reads_back(&self, of: u64) -> bool {
        match self.state {
            State::Confirming { token, .. } => token == Some(of),
            State::Settling { read, .. } => read.is_some_and(|(token, _)| token == of),
            _ => false,
        }
    }

    /// Whether time or events have to bring it further.
    pub(crate) fn is_settled(&self) -> bool {
        match self.state {
            State::Confirmed => self.repeat_at.is_none(),
            State::Checking | State::Refused | State::Unknown => true,
            _ => false,
        }
    }

    /// When time brings it further; none while only something else does. `ready`
    /// and `expires_ms` as in [`Context`].
    pub(crate) fn due(&self, context: &Context<'_>) -> Option<u64> {
        let when_ready = |at: u64| context.ready.then_some(at);
        match self.state {
            State::Pending { not_before: at } => {
                let times = [when_ready(at), self.expires_at(context)];
                times.into_iter().flatten().min()
            }
            State::Announcing => self.expires_at(context),
            State::Writing { deadline, .. } | State::Repeating { deadline, .. } => Some(deadline),
            State::Confirming {
                token: Some(_),
                deadline,
                ..
            } => Some(deadline + GRACE_MS),
            State::Confirming {
                token: None,
                again_at,
                deadline,
            } => Some(when_ready(again_at).map_or(deadline, |at| at.min(deadline))),
            State::Settling {
                read: Some((_, deadline)),
                ..
            } => Some(deadline),
            State::Settling {
                read: None,
                again_at,
            } => when_ready(again_at),
            State::Confirmed => self.repeat_at.and_then(when_ready),
            State::Checking | State::Refused | State::Unknown => None,
        }
    }

    /// When a command that waits is given up.
    fn expires_at(&self, context: &Context<'_>) -> Option<u64> {
        if !context.command {
            return None;
        }
        let age = u64::try_from(context.unix_ms.saturating_sub(self.given_ms)).unwrap_or(0);
        let left = context.expires_ms.saturating_sub(age);
        Some(context.now_ms.saturating_add(left))
    }
}

#[cfg(test)]
mod tests;

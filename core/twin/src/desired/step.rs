//! What follows from an event: the transitions of [`State`].

use super::{
    Action, BACKOFF_MS, BUSY_MS, Context, DesiredValue, Event, GRACE_MS, MAX_BACKOFF_MS,
    MAX_WAIT_MS, Outcome, READ_AGAIN_MS, State,
};

impl DesiredValue {
    /// One step. True when what people see has changed.
    pub(crate) fn step(&mut self, event: &Event<'_>, context: &Context<'_>) -> (Action, bool) {
        let before = (self.shown(), self.message.clone());
        let action = match event {
            Event::Tick => self.tick(context),
            Event::Announced => self.announced(context),
            Event::Completed {
                token,
                outcome,
                seen,
                matches,
            } => self.completed(*token, *outcome, (seen, *matches), context),
            Event::Reading { matches } => {
                self.reading(*matches, context);
                Action::Nothing
            }
            Event::Back => {
                self.back(context);
                Action::Nothing
            }
            Event::Interrupted => {
                self.interrupted(context, true);
                Action::Nothing
            }
            Event::HandedOver => {
                self.interrupted(context, false);
                Action::Nothing
            }
        };
        let shown = self.shown();
        if shown != before.0 {
            self.since_ms = context.unix_ms;
        }
        (action, shown != before.0 || self.message != before.1)
    }

    fn tick(&mut self, context: &Context<'_>) -> Action {
        let now = context.now_ms;
        match self.state {
            State::Pending { .. } | State::Announcing
                if (self.expires_at(context)).is_some_and(|at| now >= at) =>
            {
                self.give_up(context);
            }
            State::Pending { not_before: at } if context.ready && now >= at => {
                self.command = context.command;
                if self.command && !self.handed {
                    self.state = State::Announcing;
                    return Action::Announce;
                }
                return self.write(context);
            }
            State::Writing { deadline, .. } if now >= deadline => {
                self.no_answer("the mapper did not answer in time", context);
            }
            State::Repeating { deadline, .. } if now >= deadline => self.repeat_later(context),
            State::Confirming {
                deadline, token, ..
            } if now >= deadline + if token.is_some() { GRACE_MS } else { 0 } => {
                self.not_shown(context);
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
                return Action::Read;
            }
            State::Settling {
                read: Some((_, deadline)),
                ..
            } if now >= deadline => self.settle_later(context),
            State::Settling {
                read: None,
                again_at,
            } if context.ready && now >= again_at => {
                let deadline = now + context.timeout_ms + GRACE_MS;
                self.state = State::Settling {
                    read: Some((context.token, deadline)),
                    again_at,
                };
                return Action::Read;
            }
            State::Confirmed if context.ready && self.repeat_at.is_some_and(|at| now >= at) => {
                self.state = State::Repeating {
                    token: context.token,
                    deadline: now + context.timeout_ms + GRACE_MS,
                };
                return Action::Write;
            }
            _ => {}
        }
        Action::Nothing
    }

    fn announced(&mut self, context: &Context<'_>) -> Action {
        if self.state != State::Announcing {
            return Action::Nothing;
        }
        self.handed = true;
        if context.ready {
            return self.write(context);
        }
        self.state = State::Pending { not_before: 0 };
        Action::Nothing
    }

    fn write(&mut self, context: &Context<'_>) -> Action {
        self.state = State::Writing {
            token: context.token,
            deadline: context.now_ms + context.timeout_ms + GRACE_MS,
        };
        Action::Write
    }

    fn completed(
        &mut self,
        of: u64,
        outcome: Outcome<'_>,
        (seen, matches): (&str, bool),
        context: &Context<'_>,
    ) -> Action {
        let now = context.now_ms;
        match self.state {
            State::Writing { token, .. } if token == of => return self.written(outcome, context),
            State::Repeating { token, .. } if token == of => match outcome {
                Outcome::Refused(why) => self.refuse(why),
                _ => self.repeat_later(context),
            },
            State::Confirming {
                token: Some(token),
                deadline,
                ..
            } if token == of => {
                self.seen = match outcome {
                    Outcome::Done => Some(Ok(seen.into())),
                    // It took the value, and lets nobody see it.
                    Outcome::Refused(_) => {
                        self.confirm(context);
                        return Action::Nothing;
                    }
                    Outcome::Line(why) | Outcome::NotSent(why) => Some(Err(why.into())),
                    Outcome::Busy => self.seen.take(),
                };
                if now < deadline {
                    self.state = State::Confirming {
                        token: None,
                        again_at: now + READ_AGAIN_MS,
                        deadline,
                    };
                } else {
                    self.not_shown(context);
                }
            }
            State::Settling {
                read: Some((token, _)),
                ..
            } if token == of => match outcome {
                Outcome::Done if matches => self.confirm(context),
                Outcome::Done => self.try_again(context),
                Outcome::Refused(why) => {
                    self.message = format!(
                        "{}; whether the device has it cannot be read: {why}",
                        self.message
                    )
                    .into();
                    self.state = State::Unknown;
                }
                Outcome::Line(_) | Outcome::NotSent(_) | Outcome::Busy => {
                    self.settle_later(context);
                }
            },
            // Of a value that was replaced meanwhile.
            _ => {}
        }
        Action::Nothing
    }

    fn written(&mut self, outcome: Outcome<'_>, context: &Context<'_>) -> Action {
        let now = context.now_ms;
        let only_read = std::mem::take(&mut self.reads_first);
        match outcome {
            Outcome::Done if self.command || !context.read_back => self.confirm(context),
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
            Outcome::Refused(why) => self.refuse(why),
            Outcome::Line(why) if only_read => self.nothing_went(why, context),
            Outcome::Line(why) => self.no_answer(why, context),
            Outcome::NotSent(why) => self.nothing_went(why, context),
            Outcome::Busy => {
                self.state = State::Pending {
                    not_before: now + BUSY_MS,
                }
            }
        }
        Action::Nothing
    }

    fn reading(&mut self, matches: bool, context: &Context<'_>) {
        match self.state {
            State::Confirming { .. } | State::Settling { .. } | State::Checking if matches => {
                self.confirm(context);
            }
            State::Unknown if matches && !self.command => self.confirm(context),
            State::Checking => {
                self.attempts = 0;
                self.state = State::Pending { not_before: 0 };
            }
            _ => {}
        }
    }

    fn back(&mut self, context: &Context<'_>) {
        self.waits = 0;
        match &mut self.state {
            State::Confirmed if context.restore => self.state = State::Checking,
            State::Pending { not_before: at }
            | State::Settling {
                read: None,
                again_at: at,
            } => *at = 0,
            _ => {}
        }
    }

    fn interrupted(&mut self, context: &Context<'_>, doubtful: bool) {
        match self.state {
            State::Writing { .. } => self.no_answer("the mapper went down meanwhile", context),
            State::Confirming { .. } | State::Settling { .. } => self.in_doubt(context.now_ms),
            State::Repeating { .. } => self.repeat_later(context),
            State::Confirmed if doubtful && context.restore => self.state = State::Checking,
            _ => {}
        }
    }

    fn confirm(&mut self, context: &Context<'_>) {
        self.state = State::Confirmed;
        self.message = Box::default();
        self.repeat_later(context);
        (self.attempts, self.waits) = (0, 0);
    }

    /// Confirmed, and the watchdog was fed, or could not be.
    fn repeat_later(&mut self, context: &Context<'_>) {
        self.state = State::Confirmed;
        let repeat = context.repeat_ms.filter(|_| !self.command);
        self.repeat_at = repeat.map(|pause| context.now_ms + pause);
    }

    fn refuse(&mut self, why: &str) {
        self.state = State::Refused;
        self.message = why.into();
    }

    /// The write was handed out, and nothing says what became of it.
    fn no_answer(&mut self, why: &str, context: &Context<'_>) {
        if std::mem::take(&mut self.reads_first) {
            // Only what stands there was asked for.
            return self.nothing_went(why, context);
        }
        if self.command {
            self.state = State::Unknown;
            self.message = format!("it may have been carried out or not: {why}").into();
            return;
        }
        if context.repeat_ms.is_some() {
            // It is written again anyway.
            return self.nothing_went(why, context);
        }
        self.message = why.into();
        self.in_doubt(context.now_ms);
    }

    fn in_doubt(&mut self, again_at: u64) {
        self.state = State::Settling {
            read: None,
            again_at,
        };
    }

    fn nothing_went(&mut self, why: &str, context: &Context<'_>) {
        self.message = why.into();
        let not_before = context.now_ms + self.wait();
        self.state = State::Pending { not_before };
    }

    fn settle_later(&mut self, context: &Context<'_>) {
        let again_at = context.now_ms + self.wait();
        self.in_doubt(again_at);
    }

    /// Nobody expects a command any more whose device was away for so long.
    fn give_up(&mut self, context: &Context<'_>) {
        let why = match (context.away, &*self.message) {
            ("", "") => "the device was not ready",
            ("", said) => said,
            (away, _) => away,
        };
        let seconds = context.expires_ms as f64 / 1_000.0;
        self.message = format!("not sent, and given up after {seconds} s: {why}").into();
        self.state = State::Refused;
    }

    /// The device took it and shows something else, or nothing was read in time.
    fn not_shown(&mut self, context: &Context<'_>) {
        match self.seen.take() {
            Some(Ok(seen)) => {
                let text = &self.text;
                let why = match self.before.as_deref() == Some(&*seen) {
                    true => format!("written {text}, but the device still has {seen}"),
                    false => format!("written {text}, but the device took {seen}"),
                };
                self.refuse(&why);
            }
            Some(Err(why)) => {
                self.message = format!("written, but not read back: {why}").into();
                self.settle_later(context);
            }
            None => {
                self.message = "written, but not read back in time".into();
                self.settle_later(context);
            }
        }
    }

    /// The device was seen not to have what was written.
    fn try_again(&mut self, context: &Context<'_>) {
        let pause = (BACKOFF_MS << self.attempts.min(16)).min(MAX_BACKOFF_MS);
        self.attempts += 1;
        if self.attempts > context.retries {
            let tries = self.attempts;
            let times = if tries == 1 { "try" } else { "tries" };
            let why = format!("not confirmed after {tries} {times}: {}", self.message);
            return self.refuse(&why);
        }
        self.state = State::Pending {
            not_before: context.now_ms + pause,
        };
    }

    /// The pause after something that did not go out.
    fn wait(&mut self) -> u64 {
        let pause = (BACKOFF_MS << self.waits.min(16)).min(MAX_WAIT_MS);
        self.waits = self.waits.saturating_add(1);
        pause
    }
}

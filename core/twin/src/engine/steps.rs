//! One step of a method: a value that goes to the device once.
//!
//! It is no desired value: nothing of it is kept, and nothing brings it back. What the
//! device accepts is read back like any write. Where no answer came, a reading may tell
//! that it is done all the same; else the call ends with "it may have been carried out
//! or not", and that is all that anybody knows.

use std::time::Duration;

use longshore_types::{
    Quality,
    command::{CommandKind, Status},
    policy::Confirm,
};

use super::{
    Engine, Now,
    calls::{Call, Phase, Progress, Step},
    links::What,
    methods::{refuse, unknown},
    writes::{outcome, status_text},
};
use crate::desired::Outcome;

/// Pause before a step is offered again that had no room.
const AGAIN_MS: u64 = 50;
/// Pause between two reads back.
const READ_AGAIN_MS: u64 = 100;

impl Engine {
    pub(super) fn begin_step(
        &mut self,
        call: &mut Call,
        step: usize,
        number: u64,
        now: Now,
    ) -> Progress {
        let Some(Step { point, is_part, .. }) = call.steps().get(step) else {
            call.is_to_be_called();
            return Progress::Goes;
        };
        let (point, is_part) = (*point, *is_part);
        let place = call.place(step);
        // The device may have been given other properties meanwhile.
        if self.fleet.point(point).device != call.device {
            return Progress::Ends(refuse(404, format!("{place}: the property is gone")));
        }
        let Some(mapper) = self.ready(call.device) else {
            return match self.cannot_be_sent(call.device) {
                Some(why) => Progress::Ends(refuse(503, format!("{place}: not sent: {why}"))),
                None => Progress::Waits,
            };
        };
        if is_part && self.part_is_busy(call.device, point) {
            let not_before = now.ms + AGAIN_MS;
            return call.turns(Phase::Step { step, not_before });
        }
        if !is_part {
            return self.send_step(call, (step, mapper), number, now);
        }
        let token = self.links.token();
        let kind = CommandKind::Read { point };
        let budget = self.budget(call, step, now);
        self.send(mapper, token, call.device, budget, kind, What::Step(number));
        call.turns(Phase::Preparing {
            step,
            mapper,
            token,
        })
    }

    /// Hands the value to the mapper. This happens once.
    fn send_step(
        &mut self,
        call: &mut Call,
        (step, mapper): (usize, usize),
        number: u64,
        now: Now,
    ) -> Progress {
        let Some(Step { point, value, .. }) = call.steps().get(step) else {
            return Progress::Waits;
        };
        let of = self.fleet.point(*point);
        let raw = of.rules.invert(value, of.raw_whole);
        let raw = match (of.rules.is_part, of.raw.as_deref()) {
            (false, _) => raw,
            (true, Some(former)) => raw.and_then(|raw| of.rules.among(raw, *former)),
            (true, None) => {
                Err("the register that it is a part of was read without a value".to_owned())
            }
        };
        let kind = match raw {
            Ok(value) => CommandKind::Write {
                point: *point,
                value,
            },
            Err(why) => {
                let place = call.place(step);
                return Progress::Ends(refuse(502, format!("{place}: {why}")));
            }
        };
        let token = self.links.token();
        let budget = self.budget(call, step, now);
        self.send(mapper, token, call.device, budget, kind, What::Step(number));
        call.turns(Phase::Writing {
            step,
            mapper,
            token,
        })
    }

    /// Time for a command of a step.
    fn budget(&self, call: &Call, step: usize, now: Now) -> Duration {
        let point = call.steps().get(step).map(|step| step.point);
        let timeout = point.map(|point| self.fleet.point(point).rules.policy.write.timeout);
        let left = call.left(now).max(Duration::from_millis(1));
        timeout.unwrap_or(left).min(left)
    }

    /// The mapper has answered a command of a step.
    pub(super) fn step_completed(
        &mut self,
        number: u64,
        of: u64,
        (status, message): (Status, &str),
        now: Now,
    ) {
        // It may have run out of time meanwhile.
        let Some(mut call) = self.calls.take(number) else {
            return;
        };
        let why = match message {
            "" => status_text(status),
            said => said,
        };
        let ended = outcome(status, why);
        let progress = match call.phase() {
            Phase::Preparing {
                step,
                mapper,
                token,
            } if token == of => self.prepared(&mut call, (step, mapper), ended, number, now),
            Phase::Writing { step, token, .. } if token == of => {
                self.step_written(&mut call, step, ended, now)
            }
            Phase::Showing {
                step,
                read: Some((_, token)),
                until,
                ..
            } if token == of => self.step_read(&mut call, (step, until), ended, now),
            _ => Progress::Waits,
        };
        if self.settle(number, call, progress) {
            self.advance(number, now);
        }
    }

    fn prepared(
        &mut self,
        call: &mut Call,
        at: (usize, usize),
        ended: Outcome<'_>,
        number: u64,
        now: Now,
    ) -> Progress {
        let (step, _) = at;
        let place = call.place(step);
        match ended {
            Outcome::Done => self.send_step(call, at, number, now),
            Outcome::Busy => {
                let not_before = now.ms + AGAIN_MS;
                call.turns(Phase::Step { step, not_before })
            }
            Outcome::Refused(why) => Progress::Ends(refuse(502, format!("{place}: {why}"))),
            Outcome::Line(why) | Outcome::NotSent(why) => {
                Progress::Ends(refuse(503, format!("{place}: not sent: {why}")))
            }
        }
    }

    fn step_written(
        &mut self,
        call: &mut Call,
        step: usize,
        ended: Outcome<'_>,
        now: Now,
    ) -> Progress {
        let Some(Step { point, value, .. }) = call.steps().get(step) else {
            return Progress::Waits;
        };
        let (point, value) = (*point, value.clone());
        let of = self.fleet.point(point);
        let read_back = of.rules.policy.write.confirm == Confirm::Readback;
        match ended {
            Outcome::Done if of.takes_commands() => {
                self.commanded(point, value, (Quality::Good, ""), now);
                call.wrote(step)
            }
            Outcome::Done if !read_back => call.wrote(step),
            Outcome::Done => self.shows(call, step, now),
            Outcome::Refused(why) => {
                let place = call.place(step);
                Progress::Ends(refuse(502, format!("{place}: {why}")))
            }
            Outcome::NotSent(why) => {
                let place = call.place(step);
                Progress::Ends(refuse(503, format!("{place}: not sent: {why}")))
            }
            Outcome::Busy => call.turns(Phase::Step {
                step,
                not_before: now.ms + AGAIN_MS,
            }),
            Outcome::Line(why) => self.step_in_doubt(call, step, why, now),
        }
    }

    /// It went out, and no answer came.
    pub(super) fn step_in_doubt(
        &mut self,
        call: &mut Call,
        step: usize,
        why: &str,
        now: Now,
    ) -> Progress {
        let Some(Step { point, value, .. }) = call.steps().get(step) else {
            return Progress::Waits;
        };
        let (point, value) = (*point, value.clone());
        let of = self.fleet.point(point);
        if of.device == call.device && of.takes_commands() {
            let text = format!("it may have been carried out or not: {why}");
            self.commanded(point, value, (Quality::Uncertain, &text), now);
            return Progress::Ends(unknown(&call.place(step), why));
        }
        call.doubt = Some(why.to_owned());
        self.shows(call, step, now)
    }

    /// A reading has to show it.
    fn shows(&mut self, call: &mut Call, step: usize, now: Now) -> Progress {
        let budget = self.budget(call, step, now);
        let budget_ms = u64::try_from(budget.as_millis()).unwrap_or(u64::MAX);
        let until = now.ms.saturating_add(budget_ms);
        call.turns(Phase::Showing {
            step,
            read: None,
            again_at: now.ms,
            until,
        });
        Progress::Goes
    }

    pub(super) fn look_at_step(&mut self, call: &mut Call, number: u64, now: Now) -> Progress {
        let Phase::Showing {
            step,
            read,
            again_at,
            until,
        } = call.phase()
        else {
            return Progress::Waits;
        };
        let under_way = read.is_some_and(|(mapper, token)| self.links.awaits(mapper, token));
        if now.ms >= until {
            return self.not_shown(call, step);
        }
        let Some(mapper) = self.ready(call.device).filter(|_| !under_way) else {
            return Progress::Waits;
        };
        if now.ms < again_at {
            return Progress::Waits;
        }
        let Some(point) = call.steps().get(step).map(|step| step.point) else {
            return Progress::Waits;
        };
        let token = self.links.token();
        let kind = CommandKind::Read { point };
        let budget = self.budget(call, step, now);
        self.send(mapper, token, call.device, budget, kind, What::Step(number));
        call.turns(Phase::Showing {
            step,
            read: Some((mapper, token)),
            again_at,
            until,
        })
    }

    fn step_read(
        &mut self,
        call: &mut Call,
        (step, until): (usize, u64),
        ended: Outcome<'_>,
        now: Now,
    ) -> Progress {
        let Some(Step { point, value, .. }) = call.steps().get(step) else {
            return Progress::Waits;
        };
        let (id, target) = (*point, value.clone());
        let point = self.fleet.point(id);
        let ended = match ended {
            Outcome::Done if point.write_only => Outcome::Refused("it can only be written"),
            ended => ended,
        };
        let shown = point
            .value
            .as_ref()
            .filter(|_| point.quality != Quality::Bad);
        let matches = shown.is_some_and(|value| point.rules.matches(value, &target));
        let seen = match (&point.error, shown) {
            (Some(error), _) => error.to_string(),
            (None, Some(value)) => value.to_string(),
            (None, None) => "nothing".to_owned(),
        };
        match ended {
            Outcome::Done if matches => return call.wrote(step),
            Outcome::Done => call.seen = Some(Ok(seen)),
            // Accepted, and the device lets nobody see it.
            Outcome::Refused(_) if call.doubt.is_none() => {
                self.fleet.point_mut(id).write_only = true;
                self.commanded(id, target, (Quality::Good, ""), now);
                return call.wrote(step);
            }
            Outcome::Refused(why) => {
                call.seen = Some(Err(why.to_owned()));
                return self.not_shown(call, step);
            }
            Outcome::Line(why) | Outcome::NotSent(why) => call.seen = Some(Err(why.to_owned())),
            Outcome::Busy => {}
        }
        call.turns(Phase::Showing {
            step,
            read: None,
            again_at: now.ms + READ_AGAIN_MS,
            until,
        });
        Progress::Goes
    }

    /// No reading showed it in time.
    fn not_shown(&self, call: &mut Call, step: usize) -> Progress {
        let place = call.place(step);
        let text = call.steps().get(step).map(|step| step.text.clone());
        let text = text.unwrap_or_default();
        Progress::Ends(match (call.doubt.take(), call.seen.take()) {
            (Some(doubt), Some(Ok(seen))) => {
                unknown(&place, &format!("{doubt}; the device shows {seen}"))
            }
            (Some(doubt), _) => unknown(&place, &doubt),
            (None, Some(Ok(seen))) => {
                let why = format!("{place}: written {text}, but the device took {seen}");
                refuse(502, why)
            }
            (None, Some(Err(why))) => {
                unknown(&place, &format!("written, but not read back: {why}"))
            }
            (None, None) => unknown(&place, "written, but not read back in time"),
        })
    }
}

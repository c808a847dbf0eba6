//! Methods are called: arguments checked, steps written one by one ([`super::steps`]),
//! the protocol's own call, and what has to be read at the end.
//!
//! A method is a command. Nothing of it is kept: what a crash or a restart interrupts
//! is not taken up again, and what was sent is sent once.

use std::time::Duration;

use longshore_types::{
    DeviceName, Fault, Quality, Value,
    command::{CommandKind, Status},
    expression::ExpressionError,
    method::{Arguments, Method, json},
};
use serde_json::{Map, Value as Json};

use super::{
    Engine, Now,
    calls::{Call, Phase, Progress, Step, too_many},
    links::What,
    standing::Reach,
    view::shortened,
};
use crate::{desired::Outcome, outputs::UpdateError};

/// The steps, and the point and value that have to be read at the end.
type Prepared = (Vec<Step>, Option<(u32, Value)>);

pub(super) fn refuse<T>(code: u16, reason: impl Into<String>) -> Result<T, UpdateError> {
    Err(UpdateError {
        code,
        reason: reason.into(),
    })
}

impl Engine {
    /// Begins a call. Its end is among the outputs, under the number that this gives.
    pub fn call(
        &mut self,
        name: &DeviceName,
        method: &str,
        given: &Json,
        now: Now,
    ) -> Result<u64, UpdateError> {
        let id = self.known(name)?;
        let behavior = self.fleet.device(id).and_then(|d| d.behavior.as_ref());
        let methods = behavior
            .map(|behavior| behavior.methods.as_slice())
            .unwrap_or_default();
        let Some(method) = methods.iter().find(|known| *known.name == *method).cloned() else {
            let names: Vec<&str> = methods.iter().map(|known| &*known.name).collect();
            let known = match names.is_empty() {
                true => "it has none".to_owned(),
                false => format!("it has {}", names.join(", ")),
            };
            return refuse(
                404,
                format!("device `{name}` has no method `{method}`, {known}"),
            );
        };
        if let Some(fault) = self.fault_of_call(id, &method) {
            return refuse(409, format!("`{}` cannot be called: {fault}", method.name));
        }
        if let Some(why) = self.cannot_be_sent(id) {
            return refuse(503, format!("nothing was sent: {why}"));
        }
        if self.calls.is_full(id) {
            return refuse(429, too_many(name));
        }
        let arguments = method
            .arguments(given)
            .or_else(|faults| refuse(400, texts(&faults)))?;
        let checked = self.prepare(id, &method, &arguments)?;
        let device = (id, name.clone());
        let call = Call::new(device, (method, arguments), checked, now);
        let number = self.links.token();
        self.counters.calls += 1;
        self.calls.put(number, call);
        self.advance(number, now);
        Ok(number)
    }

    /// What the mapper found wrong with the protocol's part of a method.
    fn fault_of_call(&self, id: u32, method: &Method) -> Option<&Fault> {
        method.call.as_ref()?;
        let mut faults = self.fleet.device(id)?.manifest.get().faults().iter();
        faults.find(|fault| {
            let rest = fault.path.strip_prefix(&*method.path);
            fault.is_error() && rest.is_some_and(|rest| rest.starts_with(".call"))
        })
    }

    /// Why nothing will reach the device for a while. Nobody waits for that: what is
    /// asked for now is not wanted any more when the device is back.
    pub(super) fn cannot_be_sent(&self, id: u32) -> Option<String> {
        if self.ready(id).is_some() {
            return None;
        }
        let device = self.fleet.device_if_there(id)?;
        let is_down = |mapper: usize| self.links.is_down(mapper);
        let away =
            matches!(device.reach.get(), Reach::Down { .. }) || device.mapper.is_none_or(is_down);
        away.then(|| self.why_away(id))
    }

    /// All values that will be written, and all that is wrong with them.
    fn prepare(
        &self,
        id: u32,
        method: &Method,
        arguments: &Arguments,
    ) -> Result<Prepared, UpdateError> {
        let mut faults = Vec::new();
        let mut steps = Vec::with_capacity(method.steps.len());
        for (index, step) in method.steps.iter().enumerate() {
            let place = format!("steps[{index}]");
            let text = text(arguments.evaluate(&step.value));
            match text.and_then(|text| self.checked(id, &step.property, text, true)) {
                Ok((point, text, value)) => steps.push(Step {
                    point,
                    text,
                    value,
                    is_part: self.fleet.point(point).rules.is_part,
                }),
                Err(why) => faults.push(Fault::error(place, why)),
            }
        }
        let mut confirm = None;
        if let Some(wanted) = &method.confirm {
            let text = text(arguments.evaluate(&wanted.value));
            match text.and_then(|text| self.checked(id, &wanted.property, text, false)) {
                Ok((point, _, value)) => confirm = Some((point, value)),
                Err(why) => faults.push(Fault::error("confirm", why)),
            }
        }
        if faults.is_empty() {
            Ok((steps, confirm))
        } else {
            refuse(400, texts(&faults))
        }
    }

    fn checked(
        &self,
        id: u32,
        property: &str,
        text: String,
        written: bool,
    ) -> Result<(u32, String, Value), String> {
        let device = self.fleet.device(id);
        let point = device
            .and_then(|device| device.point(property))
            .ok_or_else(|| format!("there is no property `{property}`"))?;
        let rules = &self.fleet.point(point).rules;
        if let Some(why) = &rules.broken {
            return Err(format!("property `{property}` cannot be used: {why}"));
        }
        let mut checker = rules.as_property(property);
        if !written {
            checker.access = longshore_types::device::AccessMode::ReadWrite;
        }
        let value = checker
            .check_text(&text)
            .map_err(|error| error.to_string())?;
        Ok((point, value.to_string(), value))
    }

    /// Looks at each call that runs.
    pub(super) fn pump_calls(&mut self, now: Now) {
        for number in self.calls.numbers() {
            self.advance(number, now);
        }
    }

    /// Brings a call as far as it comes now.
    pub(super) fn advance(&mut self, number: u64, now: Now) {
        while let Some(mut call) = self.calls.take(number) {
            let progress = self.progress(&mut call, number, now);
            if !self.settle(number, call, progress) {
                return;
            }
        }
    }

    /// Puts a call back or ends it; whether it goes on at once.
    pub(super) fn settle(&mut self, number: u64, call: Call, progress: Progress) -> bool {
        let goes = matches!(progress, Progress::Goes);
        if let Progress::Ends(result) = progress {
            self.counters.calls_failed += u64::from(result.is_err());
            self.out.calls.push((number, result));
        } else {
            self.calls.put(number, call);
        }
        goes
    }

    fn progress(&mut self, call: &mut Call, number: u64, now: Now) -> Progress {
        // It may have gone meanwhile, and another one may have its id.
        let there = self
            .fleet
            .device_if_there(call.device)
            .is_some_and(|device| device.name == call.name);
        if !there {
            return Progress::Ends(refuse(404, format!("device `{}` is gone", call.name)));
        }
        if call.left(now) == Duration::ZERO {
            let (waits, why) = self.whereabouts(call);
            let why = if why.is_empty() {
                why
            } else {
                format!(": {why}")
            };
            let seconds = call.method.timeout.as_secs_f64();
            let text = format!("not done within {seconds} s, it waits for {waits}{why}");
            return Progress::Ends(match call.phase() {
                Phase::Step { .. } | Phase::Preparing { .. } | Phase::Calling => refuse(503, text),
                _ => refuse(504, text),
            });
        }
        match call.phase() {
            Phase::Step { step, not_before } if now.ms >= not_before => {
                self.begin_step(call, step, number, now)
            }
            Phase::Step { .. } => Progress::Waits,
            Phase::Preparing {
                step,
                mapper,
                token,
            } if !self.links.awaits(mapper, token) => call.turns(Phase::Step {
                step,
                not_before: 0,
            }),
            Phase::Writing {
                step,
                mapper,
                token,
            } if !self.links.awaits(mapper, token) => {
                self.step_in_doubt(call, step, "the mapper went down meanwhile", now)
            }
            Phase::Preparing { .. } | Phase::Writing { .. } => Progress::Waits,
            Phase::Showing { .. } => self.look_at_step(call, number, now),
            Phase::Calling => self.send_call(call, number, now),
            Phase::Called { mapper, token } if !self.links.awaits(mapper, token) => {
                Progress::Ends(unknown("call", "the mapper went down"))
            }
            Phase::Called { .. } => Progress::Waits,
            Phase::Confirming { since, until } => {
                self.look_at_confirmation(call, since, until, now)
            }
        }
    }

    fn send_call(&mut self, call: &mut Call, number: u64, now: Now) -> Progress {
        let Some(config) = &call.method.call else {
            let written = self.written(call);
            return call.answered(written, now);
        };
        let Some(mapper) = self.ready(call.device) else {
            return match self.cannot_be_sent(call.device) {
                Some(why) => Progress::Ends(refuse(503, format!("call: not sent: {why}"))),
                None => Progress::Waits,
            };
        };
        let mut text = Map::new();
        text.insert("name".into(), (*call.method.name).into());
        text.insert("config".into(), Json::Object(config.clone()));
        text.insert("arguments".into(), call.arguments.to_json());
        let kind = CommandKind::Call(Json::Object(text).to_string());
        let budget = call.left(now).max(Duration::from_millis(1));
        let token = self.links.token();
        self.send(mapper, token, call.device, budget, kind, What::Call(number));
        call.is_called(mapper, token);
        Progress::Waits
    }

    /// The mapper has answered a call.
    pub(super) fn call_completed(
        &mut self,
        number: u64,
        token: u64,
        status: Status,
        message: &str,
        now: Now,
    ) {
        // It may have run out of time meanwhile.
        let Some(mut call) = self.calls.take(number) else {
            return;
        };
        if !matches!(call.phase(), Phase::Called { token: of, .. } if of == token) {
            self.dangling.ours("call that the mapper answered", number);
            return self.calls.put(number, call);
        }
        let progress = if status == Status::Ok {
            let result = serde_json::from_str(message).unwrap_or_else(|_| message.into());
            call.answered(result, now)
        } else {
            let why = match message {
                "" => super::writes::status_text(status),
                said => said,
            };
            match super::writes::outcome(status, why) {
                Outcome::Busy => {
                    call.is_to_be_called();
                    Progress::Waits
                }
                Outcome::NotSent(why) => {
                    Progress::Ends(refuse(503, format!("call: not sent: {why}")))
                }
                Outcome::Line(why) => Progress::Ends(unknown("call", why)),
                Outcome::Refused(_) | Outcome::Done => {
                    Progress::Ends(refuse(502, format!("call: {why}")))
                }
            }
        };
        self.settle(number, call, progress);
    }

    fn look_at_confirmation(&self, call: &mut Call, since: u64, until: u64, now: Now) -> Progress {
        let Some((id, wanted)) = call.confirm() else {
            return call.confirmed();
        };
        let point = self.fleet.point(*id);
        // The reading has to be of the time after the steps.
        let seen = self.fleet.is_read_since(*id, since as u32);
        let shown = point
            .value
            .as_ref()
            .filter(|_| seen && point.device == call.device && point.quality != Quality::Bad);
        if shown.is_some_and(|value| point.rules.matches(value, wanted)) {
            return call.confirmed();
        }
        if now.ms < until {
            return Progress::Waits;
        }
        let (waits, why) = self.whereabouts(call);
        let why = if why.is_empty() {
            "nothing was read".to_owned()
        } else {
            why
        };
        Progress::Ends(refuse(504, format!("{waits}: {why}")))
    }

    /// What a call waits for, and what is known of that.
    fn whereabouts(&self, call: &Call) -> (String, String) {
        match call.phase() {
            Phase::Step { step, .. } | Phase::Preparing { step, .. } => {
                (call.place(step), self.why_not_ready(call.device))
            }
            Phase::Writing { step, .. } => (call.place(step), String::new()),
            Phase::Showing { step, .. } => {
                let seen = match (&call.doubt, &call.seen) {
                    (Some(doubt), _) => doubt.clone(),
                    (None, Some(Ok(seen))) => format!("it shows {seen}"),
                    (None, Some(Err(why))) => why.clone(),
                    (None, None) => String::new(),
                };
                (format!("{} to be read back", call.place(step)), seen)
            }
            Phase::Calling => ("the mapper to be ready".to_owned(), String::new()),
            Phase::Called { .. } => ("the answer of the mapper".to_owned(), String::new()),
            Phase::Confirming { .. } => {
                let (property, wanted, shown) = match (&call.method.confirm, call.confirm()) {
                    (Some(confirm), Some((id, wanted))) => {
                        let value = self.fleet.point(*id).value.as_ref();
                        let shown = value.map(|value| format!("it shows {value}"));
                        (
                            &*confirm.property,
                            wanted.to_string(),
                            shown.unwrap_or_default(),
                        )
                    }
                    _ => ("", String::new(), String::new()),
                };
                (format!("`{property}` to show {wanted}"), shown)
            }
        }
    }

    fn why_not_ready(&self, device: u32) -> String {
        match self.ready(device) {
            Some(_) => String::new(),
            None => self.why_away(device),
        }
    }

    /// What was written: the twins as they are now.
    fn written(&self, call: &Call) -> Json {
        let mut written = Map::new();
        for (step, target) in call.steps().iter().zip(&call.method.steps) {
            let point = self.fleet.point(step.point);
            let value = point.value.as_ref().unwrap_or(&step.value);
            let value = json(&shortened(value, point.rules.single));
            written.insert(target.property.to_string(), value);
        }
        Json::Object(written)
    }
}

/// Something went out, and nobody knows what became of it.
pub(super) fn unknown<T>(place: &str, why: &str) -> Result<T, UpdateError> {
    let reason = format!("{place}: it may have been carried out or not: {why}");
    Err(UpdateError { code: 504, reason })
}

fn text(
    term: Result<longshore_types::expression::Term, ExpressionError>,
) -> Result<String, String> {
    let value = term.map_err(|error| error.to_string())?.into_value();
    value
        .map(|value| value.to_string())
        .ok_or_else(|| "the expression gives no value".to_owned())
}

fn texts(faults: &[Fault]) -> String {
    let texts: Vec<_> = faults.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

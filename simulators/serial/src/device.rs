//! The devices of a line without their input and output: bytes in, steps out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use longshore_sim_world::{Fault, Faults, Problem, SignalId, World};
use serde::Serialize;

use crate::scenario::UnitSpec;
use crate::text::Text;
use crate::unit::{Answer, Fit, Unit, Value};

/// Longer than any request.
const MOST_INPUT: usize = 4096;
/// Requests and writes that are remembered of each line.
const REMEMBERED: usize = 256;

/// What a line is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send these bytes so much later than usual.
    Send(Vec<u8>, Duration),
    /// The port goes, and comes back after a while.
    Vanish,
}

/// What a device has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    /// Requests that it has understood.
    pub requests: u64,
    /// Faults that have hit it.
    pub faults: u64,
    /// Messages that it has sent by itself.
    pub sent: u64,
}

/// A setpoint that a request has set.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// The device.
    pub unit: u8,
    /// The setpoint.
    pub signal: String,
    /// Its new value.
    pub value: f64,
}

/// The devices of one line.
#[derive(Debug)]
pub(crate) struct Devices {
    pub(crate) name: String,
    units: Vec<Unit>,
    world: World,
    faults: std::sync::Arc<Faults>,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    counts: BTreeMap<u8, Count>,
    requests: VecDeque<String>,
    writes: VecDeque<Write>,
    /// Bytes that were no request of any device.
    dropped: u64,
}

/// What a request has asked for.
struct Match<'a> {
    unit: &'a Unit,
    answer: &'a Answer,
    sets: Vec<(SignalId, String, f64)>,
}

impl Devices {
    pub(crate) fn new(
        name: &str,
        specs: &[UnitSpec],
        world: &World,
        faults: &std::sync::Arc<Faults>,
        path: &str,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut units = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            units.push(Unit::new(
                spec,
                world,
                &format!("{path}[{index}]"),
                problems,
            ));
        }
        let binary = units.iter().filter(|unit| unit.binary.is_some()).count();
        if binary != 0 && binary != units.len() {
            problems.push(Problem::new(
                path,
                "devices that speak in bytes and such that speak in lines are not on one line",
            ));
        }
        Self {
            name: name.to_owned(),
            units,
            world: world.clone(),
            faults: faults.clone(),
            record: Mutex::default(),
        }
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, unit: u8) -> Count {
        self.record().counts.get(&unit).copied().unwrap_or_default()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.record().dropped
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.record().requests.iter().cloned().collect()
    }

    pub(crate) fn writes(&self) -> Vec<Write> {
        self.record().writes.iter().cloned().collect()
    }

    pub(crate) fn forget(&self) {
        *self.record() = Record::default();
    }

    pub(crate) fn units(&self) -> impl Iterator<Item = (u8, &str)> {
        self.units.iter().map(|unit| (unit.id, unit.name.as_str()))
    }

    /// Deals with what has come, and takes it off the input.
    pub(crate) fn hear(&self, input: &mut Vec<u8>, now: Instant) -> Vec<Step> {
        let is_binary = self.units.iter().any(|unit| unit.binary.is_some());
        let mut steps = Vec::new();
        if is_binary {
            self.hear_bytes(input, now, &mut steps);
        } else {
            self.hear_lines(input, now, &mut steps);
        }
        if input.len() > MOST_INPUT {
            self.record().dropped += input.len() as u64;
            input.clear();
        }
        steps
    }

    fn hear_lines(&self, input: &mut Vec<u8>, now: Instant, steps: &mut Vec<Step>) {
        let last = self.units.first().and_then(|unit| unit.ends.last());
        let last = last.copied().unwrap_or(b'\n');
        while let Some(end) = input.iter().position(|byte| *byte == last) {
            let line: Vec<u8> = input.drain(..=end).collect();
            let line = line[..end].strip_suffix(b"\r").unwrap_or(&line[..end]);
            if line.is_empty() {
                continue;
            }
            self.remember(line);
            let values = self.world.values();
            let found = self.units.iter().find_map(|unit| {
                let mut answers = unit.answers.iter().filter(|a| a.holds(|id| values.get(id)));
                answers.find_map(|answer| {
                    let sets = answer.fits_line(line)?;
                    Some(Match { unit, answer, sets })
                })
            });
            drop(values);
            match found {
                Some(found) => self.serve(&found, now, steps),
                None => self.unknown(line, now, steps),
            }
        }
    }

    fn hear_bytes(&self, input: &mut Vec<u8>, now: Instant, steps: &mut Vec<Step>) {
        while !input.is_empty() {
            let mut may_come = false;
            let values = self.world.values();
            let mut found = None;
            'units: for unit in &self.units {
                for answer in unit.answers.iter().filter(|a| a.holds(|id| values.get(id))) {
                    match answer.fits_bytes(unit, input) {
                        Fit::Whole(length, sets) => {
                            found = Some((length, Match { unit, answer, sets }));
                            break 'units;
                        }
                        Fit::Begun => may_come = true,
                        Fit::Not => {}
                    }
                }
            }
            drop(values);
            match found {
                Some((length, found)) => {
                    let request: Vec<u8> = input.drain(..length).collect();
                    self.remember(&request);
                    self.serve(&found, now, steps);
                }
                None if may_come => break,
                None => {
                    input.remove(0);
                    self.record().dropped += 1;
                }
            }
        }
    }

    fn remember(&self, request: &[u8]) {
        let mut record = self.record();
        if record.requests.len() >= REMEMBERED {
            record.requests.pop_front();
        }
        let is_text = request.iter().all(|byte| (0x20..0x7F).contains(byte));
        let text = if is_text {
            String::from_utf8_lossy(request).into_owned()
        } else {
            let digits: Vec<_> = request.iter().map(|byte| format!("{byte:02X}")).collect();
            digits.join(" ")
        };
        record.requests.push_back(text);
    }

    fn unknown(&self, line: &[u8], now: Instant, steps: &mut Vec<Step>) {
        self.record().dropped += line.len() as u64;
        let answers = |unit: &&Unit| unit.unknown.is_some();
        if let Some(unit) = self.units.iter().find(answers)
            && let Some(text) = &unit.unknown
        {
            let strike = self.faults.strike_unit(unit.id, now);
            self.send(unit, text, Duration::ZERO, strike, steps);
        }
    }

    fn serve(&self, found: &Match<'_>, now: Instant, steps: &mut Vec<Step>) {
        let (unit, answer) = (found.unit, found.answer);
        let strike = self.faults.strike_unit(unit.id, now);
        {
            let mut record = self.record();
            let count = record.counts.entry(unit.id).or_default();
            count.requests += 1;
            count.faults += u64::from(strike.is_some());
        }
        match strike {
            Some(Fault::Unresponsive) => return,
            Some(Fault::DropConnection) => {
                steps.push(Step::Vanish);
                return;
            }
            Some(Fault::Exception(_)) => {
                if let Some(refusal) = &unit.refusal {
                    self.send(unit, refusal, answer.after, None, steps);
                }
                return;
            }
            _ => {}
        }
        let values = self.world.values();
        let fixed = answer.set.iter().map(|(id, name, value)| {
            let number = match value {
                Value::Number(number) => *number,
                Value::Signal(of) => values.get(*of),
            };
            (*id, name.clone(), number)
        });
        let sets: Vec<_> = found.sets.iter().cloned().chain(fixed).collect();
        drop(values);
        if sets
            .iter()
            .any(|(id, _, value)| self.world.check(*id, *value).is_err())
        {
            if let Some(refusal) = &unit.refusal {
                self.send(unit, refusal, answer.after, strike, steps);
            }
            return;
        }
        for (id, signal, value) in sets {
            // It was checked above, and nothing takes a setpoint away.
            let _ = self.world.set_id(id, value);
            let mut record = self.record();
            if record.writes.len() >= REMEMBERED {
                record.writes.pop_front();
            }
            let unit = unit.id;
            record.writes.push_back(Write {
                unit,
                signal,
                value,
            });
        }
        if let Some(response) = &answer.response {
            self.send(unit, response, answer.after, strike, steps);
        }
    }

    fn send(
        &self,
        unit: &Unit,
        text: &Text,
        after: Duration,
        fault: Option<Fault>,
        steps: &mut Vec<Step>,
    ) {
        let mut bytes = unit.message(text, &self.world);
        let mut after = after;
        match fault {
            Some(Fault::Unresponsive | Fault::DropConnection) => return,
            Some(Fault::Slow(by)) => after += by,
            Some(Fault::WrongCrc) => garble(&mut bytes),
            Some(Fault::HalfFrame) => bytes.truncate(bytes.len() / 2),
            Some(Fault::Exception(_)) | None => {}
        }
        steps.push(Step::Send(bytes, after));
    }

    /// When the next message of each stream is due, counted from the start.
    pub(crate) fn streams(&self) -> Vec<(usize, usize, Duration)> {
        let units = self.units.iter().enumerate();
        units
            .flat_map(|(unit, of)| {
                let streams = of.streams.iter().enumerate();
                streams.map(move |(stream, of)| (unit, stream, of.every))
            })
            .collect()
    }

    /// The messages of one stream.
    pub(crate) fn speak(&self, unit: usize, stream: usize, now: Instant) -> Vec<Step> {
        let unit = &self.units[unit];
        let stream = &unit.streams[stream];
        let mut steps = Vec::new();
        if stream
            .when
            .is_some_and(|when| self.world.values().get(when) == 0.0)
        {
            return steps;
        }
        for text in &stream.say {
            let fault = self.faults.strike_unit(unit.id, now);
            let mut bytes = stream.message(unit, text, &self.world);
            let mut after = Duration::ZERO;
            let mut record = self.record();
            let count = record.counts.entry(unit.id).or_default();
            count.sent += 1;
            count.faults += u64::from(fault.is_some());
            drop(record);
            match fault {
                Some(Fault::Unresponsive) => continue,
                Some(Fault::DropConnection) => {
                    steps.push(Step::Vanish);
                    return steps;
                }
                Some(Fault::Slow(by)) => after = by,
                Some(Fault::WrongCrc | Fault::Exception(_)) => garble(&mut bytes),
                Some(Fault::HalfFrame) => bytes.truncate(bytes.len() / 2),
                None => {}
            }
            steps.push(Step::Send(bytes, after));
        }
        steps
    }
}

/// Turns a bit over in the middle of a message, as a disturbed line does.
fn garble(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 0x01;
    }
}

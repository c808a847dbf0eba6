//! One simulated device: what it understands, and how it puts a message on the line.

use std::time::Duration;

use longshore_sim_world::{Problem, SignalId, Source, World};

use crate::checksum::{ChecksumKind, xor};
use crate::scenario::{AnswerSpec, BinarySpec, StreamSpec, UnitSpec};
use crate::text::{Raw, Text, find, hex, split};

#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) id: u8,
    pub(crate) name: String,
    pub(crate) ends: Vec<u8>,
    pub(crate) binary: Option<Binary>,
    pub(crate) refusal: Option<Text>,
    pub(crate) unknown: Option<Text>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) streams: Vec<Stream>,
}

#[derive(Debug)]
pub(crate) struct Binary {
    start: Vec<u8>,
    end: Vec<u8>,
    checksum: Option<ChecksumKind>,
    covers_start: bool,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) request: Vec<Expect>,
    pub(crate) response: Option<Text>,
    pub(crate) set: Vec<(SignalId, String, Value)>,
    pub(crate) when: Option<SignalId>,
    pub(crate) after: Duration,
}

#[derive(Debug)]
pub(crate) enum Value {
    Number(f64),
    Signal(SignalId),
}

#[derive(Debug)]
pub(crate) enum Expect {
    Bytes(Vec<u8>),
    /// A number that sets a setpoint.
    Number(SignalId, String),
    Binary(SignalId, String, Raw, f64),
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) every: Duration,
    pub(crate) say: Vec<Text>,
    pub(crate) nmea: bool,
    pub(crate) when: Option<SignalId>,
}

pub(crate) enum Fit {
    Whole(usize, Vec<(SignalId, String, f64)>),
    Begun,
    Not,
}

impl Answer {
    pub(crate) fn holds(&self, value: impl Fn(SignalId) -> f64) -> bool {
        self.when.is_none_or(|when| value(when) != 0.0)
    }

    pub(crate) fn fits_line(&self, line: &[u8]) -> Option<Vec<(SignalId, String, f64)>> {
        let mut rest = line;
        let mut sets = Vec::new();
        for (index, expect) in self.request.iter().enumerate() {
            match expect {
                Expect::Bytes(text) => {
                    let (head, tail) = rest.split_at_checked(text.len())?;
                    // Devices of this kind do not mind the case of a command.
                    head.eq_ignore_ascii_case(text).then_some(())?;
                    rest = tail;
                }
                Expect::Number(id, name) => {
                    let end = match self.request.get(index + 1) {
                        Some(Expect::Bytes(next)) => {
                            rest.windows(next.len()).position(|w| w == &next[..])?
                        }
                        _ => rest.len(),
                    };
                    let text = std::str::from_utf8(&rest[..end]).ok()?;
                    sets.push((*id, name.clone(), text.trim().parse().ok()?));
                    rest = &rest[end..];
                }
                Expect::Binary(..) => return None,
            }
        }
        rest.is_empty().then_some(sets)
    }

    pub(crate) fn fits_bytes(&self, unit: &Unit, input: &[u8]) -> Fit {
        let Some(binary) = &unit.binary else {
            return Fit::Not;
        };
        let mut at = 0;
        let mut sets = Vec::new();
        let literal = |at: &mut usize, wanted: &[u8]| {
            let there = &input[*at..input.len().min(*at + wanted.len())];
            *at += there.len();
            if !wanted.starts_with(there) {
                Some(Fit::Not)
            } else if there.len() < wanted.len() {
                Some(Fit::Begun)
            } else {
                None
            }
        };
        if let Some(fit) = literal(&mut at, &binary.start) {
            return fit;
        }
        for expect in &self.request {
            match expect {
                Expect::Bytes(bytes) => {
                    if let Some(fit) = literal(&mut at, bytes) {
                        return fit;
                    }
                }
                Expect::Binary(id, name, raw, times) => {
                    let Some(bytes) = input.get(at..at + raw.size()) else {
                        return Fit::Begun;
                    };
                    sets.push((*id, name.clone(), raw.read(bytes) / times));
                    at += raw.size();
                }
                Expect::Number(..) => return Fit::Not,
            }
        }
        let from = if binary.covers_start {
            0
        } else {
            binary.start.len()
        };
        if let Some(kind) = binary.checksum {
            let checksum = kind.of(&input[from..at]);
            debug_assert_eq!(checksum.len(), kind.size());
            if let Some(fit) = literal(&mut at, &checksum) {
                return fit;
            }
        }
        if let Some(fit) = literal(&mut at, &binary.end) {
            return fit;
        }
        Fit::Whole(at, sets)
    }

    fn new(
        spec: &AnswerSpec,
        binary: bool,
        world: &World,
        path: &str,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut note = |key: &str, message: String| {
            problems.push(Problem::new(format!("{path}.{key}"), message));
        };
        let request = expectations(&spec.request, binary, world).unwrap_or_else(|message| {
            note("request", message);
            Vec::new()
        });
        let response = spec.response.as_ref().and_then(|text| {
            let text = Text::parse(text, binary, world);
            text.map_err(|message| note("response", message)).ok()
        });
        let mut set = Vec::new();
        for (name, value) in &spec.set {
            let id = match settable(name, world) {
                Ok(id) => id,
                Err(message) => {
                    note("set", message);
                    continue;
                }
            };
            match value {
                Source::Number(number) => set.push((id, name.clone(), Value::Number(*number))),
                Source::Signal(of) => match find(of, world) {
                    Ok(of) => set.push((id, name.clone(), Value::Signal(of))),
                    Err(message) => note("set", message),
                },
            }
        }
        let when = spec.when.as_ref().and_then(|name| {
            find(name, world)
                .map_err(|message| note("when", message))
                .ok()
        });
        Self {
            request,
            response,
            set,
            when,
            after: Duration::from_millis(spec.after_ms),
        }
    }
}

fn settable(name: &str, world: &World) -> Result<SignalId, String> {
    let id = find(name, world)?;
    if world.is_settable(id) {
        Ok(id)
    } else {
        Err(format!("signal `{name}` is no setpoint"))
    }
}

fn expectations(text: &str, binary: bool, world: &World) -> Result<Vec<Expect>, String> {
    let parts = split(text)?.into_iter().map(|part| match part {
        Ok(literal) if binary => Ok(Expect::Bytes(hex(&literal)?)),
        Ok(literal) => Ok(Expect::Bytes(literal.into_bytes())),
        Err(field) if binary => {
            let mut words = field.split(':');
            let name = words.next().unwrap_or_default();
            let raw = words.next().and_then(Raw::parse);
            let raw = raw.ok_or_else(|| format!("`{field}` has no known type"))?;
            let times = words.next().map_or(Ok(1.0), str::parse);
            let times = times.map_err(|_| format!("`{field}`: the factor is no number"))?;
            Ok(Expect::Binary(
                settable(name, world)?,
                name.to_owned(),
                raw,
                times,
            ))
        }
        Err(field) => Ok(Expect::Number(settable(&field, world)?, field)),
    });
    parts.collect()
}

impl Unit {
    pub(crate) fn new(
        spec: &UnitSpec,
        world: &World,
        path: &str,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let is_binary = spec.binary.is_some();
        let binary = spec
            .binary
            .as_ref()
            .map(|spec| Binary::new(spec, &format!("{path}.binary"), problems));
        let mut text = |key: &str, text: &Option<String>| {
            let parsed = text
                .as_ref()
                .map(|text| Text::parse(text, is_binary, world));
            match parsed {
                Some(Err(message)) => {
                    problems.push(Problem::new(format!("{path}.{key}"), message));
                    None
                }
                Some(Ok(text)) => Some(text),
                None => None,
            }
        };
        let refusal = text("refusal", &spec.refusal);
        let unknown = text("unknown", &spec.unknown);
        if spec.ends.is_empty() {
            problems.push(Problem::new(
                format!("{path}.ends"),
                "something has to end a line",
            ));
        }
        let answers = spec.answers.iter().enumerate();
        let answers = answers
            .map(|(i, answer)| {
                let path = format!("{path}.answers[{i}]");
                Answer::new(answer, is_binary, world, &path, problems)
            })
            .collect();
        let streams = spec.stream.iter().enumerate();
        let streams = streams
            .map(|(i, stream)| {
                let path = format!("{path}.stream[{i}]");
                Stream::new(stream, is_binary, world, &path, problems)
            })
            .collect();
        Self {
            id: spec.unit,
            name: spec.name.clone(),
            ends: spec.ends.clone().into_bytes(),
            binary,
            refusal,
            unknown,
            answers,
            streams,
        }
    }

    /// A message as it goes over the line.
    pub(crate) fn message(&self, text: &Text, world: &World) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Some(binary) = &self.binary else {
            text.write(&world.values(), &mut bytes);
            bytes.extend_from_slice(&self.ends);
            return bytes;
        };
        bytes.extend_from_slice(&binary.start);
        text.write(&world.values(), &mut bytes);
        let from = if binary.covers_start {
            0
        } else {
            binary.start.len()
        };
        if let Some(checksum) = binary.checksum {
            let sum = checksum.of(&bytes[from..]);
            bytes.extend(sum);
        }
        bytes.extend_from_slice(&binary.end);
        bytes
    }
}

impl Binary {
    fn new(spec: &BinarySpec, path: &str, problems: &mut Vec<Problem>) -> Self {
        let mut mark = |key: &str, text: &str| {
            hex(text).unwrap_or_else(|message| {
                problems.push(Problem::new(format!("{path}.{key}"), message));
                Vec::new()
            })
        };
        Self {
            start: mark("start", &spec.start),
            end: mark("end", &spec.end),
            checksum: spec.checksum,
            covers_start: spec.covers_start,
        }
    }
}

impl Stream {
    fn new(
        spec: &StreamSpec,
        binary: bool,
        world: &World,
        path: &str,
        problems: &mut Vec<Problem>,
    ) -> Self {
        if spec.every_ms == 0 {
            problems.push(Problem::new(format!("{path}.everyMs"), "0 is not above 0"));
        }
        let mut say = Vec::new();
        for (i, text) in spec.say.iter().enumerate() {
            match Text::parse(text, binary, world) {
                Ok(text) => say.push(text),
                Err(message) => problems.push(Problem::new(format!("{path}.say[{i}]"), message)),
            }
        }
        let when = spec.when.as_ref().and_then(|name| {
            let found = find(name, world);
            found
                .map_err(|message| problems.push(Problem::new(format!("{path}.when"), message)))
                .ok()
        });
        Self {
            every: Duration::from_millis(spec.every_ms.max(1)),
            say,
            nmea: spec.nmea,
            when,
        }
    }

    pub(crate) fn message(&self, unit: &Unit, text: &Text, world: &World) -> Vec<u8> {
        if !self.nmea {
            return unit.message(text, world);
        }
        let mut bytes = b"$".to_vec();
        text.write(&world.values(), &mut bytes);
        let sum = xor(&bytes[1..]);
        bytes.extend_from_slice(format!("*{sum:02X}\r\n").as_bytes());
        bytes
    }
}

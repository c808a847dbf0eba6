//! Devices that talk by themselves: who listens to which messages, how often a
//! value is passed on, and when silence means that the device is gone. Pure.

use std::time::Duration;

use longshore_sdk::{Reason, Samples, WatchPoint};
use tokio::time::Instant;

use crate::{bus::Unit, pattern::shown, point::Point};

/// Samples that wait until somebody takes them; more are thrown away.
const MOST_WAITING: usize = 4096;

/// All devices of a line that talk by themselves.
#[derive(Default)]
pub(crate) struct Streams {
    watches: Vec<Watch>,
    /// What came while a request had the line.
    waiting: Samples,
    /// Samples that nobody took in time.
    thrown: u64,
}

struct Watch {
    unit: Unit,
    points: Vec<Listener>,
    /// When the device last said something of use.
    heard: Instant,
    /// Messages with a wrong checksum that came since.
    spoiled: u64,
    /// It was reported as lost and has said nothing since.
    lost: bool,
    /// The last message that was of no use, to be shown.
    other: Vec<u8>,
}

struct Listener {
    id: u32,
    point: Point,
    interval: Option<Duration>,
    due: Instant,
    /// When a message with its value last came.
    heard: Instant,
    /// The silence after which its value is not known any more.
    silent_after: Option<Duration>,
    /// It was told that no such message comes.
    missed: bool,
    /// The device refused it last, and that was told.
    refused: bool,
}

impl Streams {
    /// Replaces what is listened to of a unit.
    pub(crate) fn set(&mut self, unit: &Unit, points: &[WatchPoint<'_, Point>], now: Instant) {
        self.watches.retain(|watch| watch.unit != *unit);
        if points.is_empty() {
            return;
        }
        let listener = |of: &WatchPoint<'_, Point>| Listener {
            id: of.id,
            point: of.point.clone(),
            interval: of.interval.filter(|interval| !interval.is_zero()),
            due: now,
            heard: now,
            silent_after: of.point.silent_after(&unit.link),
            missed: false,
            refused: false,
        };
        self.watches.push(Watch {
            unit: unit.clone(),
            points: points.iter().map(listener).collect(),
            heard: now,
            spoiled: 0,
            lost: false,
            other: Vec::new(),
        });
    }

    /// The unit whose framing is that of the stream: all on a line have the same.
    pub(crate) fn speaker(&self) -> Option<&Unit> {
        self.watches.first().map(|watch| &watch.unit)
    }

    /// Gives a message to those who listen to such; `false` if nobody does.
    pub(crate) fn deliver(&mut self, message: &[u8], now: Instant, time_ns: i64) -> bool {
        let mut taken = false;
        for watch in &mut self.watches {
            let refused = watch.unit.link.refused(message);
            let mut used = refused.is_some();
            for listener in &mut watch.points {
                let holds = listener.point.answer().accepts(message);
                used |= holds;
                let reason = match &refused {
                    // A word such as `OL` is what a text property is for; a
                    // number in a refusal is none.
                    Some(reason) if !(holds && listener.point.answer().is_text()) => Some(reason),
                    _ if holds => None,
                    _ => continue,
                };
                listener.heard = now;
                listener.missed = false;
                // The first refusal is told at once, and so is the value after it.
                let turned = listener.refused != reason.is_some();
                if !listener.is_due(now) && !turned {
                    continue;
                }
                if self.waiting.len() >= MOST_WAITING {
                    self.thrown += 1;
                    continue;
                }
                listener.refused = reason.is_some();
                match reason {
                    Some(reason) => {
                        self.waiting
                            .push_bad(listener.id, Reason::Refused, reason, time_ns);
                    }
                    None => {
                        let answer = listener.point.answer();
                        answer.sample(listener.id, message, time_ns, &mut self.waiting);
                    }
                }
            }
            if used {
                taken = true;
                watch.heard = now;
                watch.spoiled = 0;
                watch.lost = false;
            } else {
                watch.other.clear();
                watch
                    .other
                    .extend_from_slice(&message[..message.len().min(64)]);
            }
        }
        taken
    }

    /// A message came whose checksum was wrong: it may be anyone's.
    pub(crate) fn spoil(&mut self) {
        for watch in &mut self.watches {
            watch.spoiled += 1;
        }
    }

    /// Moves what waits into `samples`; `false` if nothing does.
    pub(crate) fn take(&mut self, samples: &mut Samples) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        samples.append(&mut self.waiting);
        true
    }

    /// When the next device will have been silent for too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let present = self.watches.iter().filter(|watch| !watch.lost);
        let points = |watch: &Watch| watch.points.iter().filter_map(Listener::deadline).min();
        present
            .flat_map(|watch| [Some(watch.deadline()), points(watch)])
            .flatten()
            .min()
    }

    /// Properties of which nothing came for too long, while their device said
    /// other things. Each is told once.
    pub(crate) fn miss(&mut self, now: Instant, time_ns: i64) {
        for watch in self.watches.iter_mut().filter(|watch| !watch.lost) {
            for listener in &mut watch.points {
                if listener.deadline().is_none_or(|deadline| deadline > now) {
                    continue;
                }
                listener.missed = true;
                let seconds = listener.silent_after.unwrap_or_default().as_secs_f64();
                let other = match &watch.other[..] {
                    [] => "others do".to_owned(),
                    other => format!("`{}` comes and is none", shown(other)),
                };
                let message = format!(
                    "no message that holds it has come for {seconds} s; {other} (see `response`, `match`, `silentAfter`)"
                );
                self.waiting
                    .push_bad(listener.id, Reason::Timeout, &message, time_ns);
            }
        }
    }

    /// A device that has been silent for too long, and how many spoiled messages
    /// came in that time. It is told once, and is still listened to.
    pub(crate) fn lost(&mut self, now: Instant) -> Option<(Unit, u64)> {
        let silent = |watch: &&mut Watch| !watch.lost && watch.deadline() <= now;
        let watch = self.watches.iter_mut().find(silent)?;
        watch.lost = true;
        Some((watch.unit.clone(), watch.spoiled))
    }

    /// Samples that were thrown away because nobody took them.
    pub(crate) fn thrown(&self) -> u64 {
        self.thrown
    }
}

impl Watch {
    fn deadline(&self) -> Instant {
        self.heard + self.unit.link.silent_after
    }
}

impl Listener {
    fn deadline(&self) -> Option<Instant> {
        let silent_after = self.silent_after.filter(|_| !self.missed)?;
        Some(self.heard + silent_after)
    }

    /// Whether enough time has passed since the last value. A tenth of the
    /// interval is allowed for: a device that talks once a second does not do
    /// so on the dot, and none of its messages is to be lost.
    fn is_due(&mut self, now: Instant) -> bool {
        let Some(interval) = self.interval else {
            return true;
        };
        if now + interval / 10 < self.due {
            return false;
        }
        self.due = (self.due + interval).max(now);
        true
    }
}

//! One of a unit's four tables: a sparse array of registers or bits, some of
//! which follow signals of the world.

use std::time::Duration;

use longshore_sim_world::{SetError, SignalId, Values, World};
use serde::{Deserialize, Serialize};

use crate::encoding::Encoding;

/// The four tables of the data model (Modbus Application Protocol V1.1b3, section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Bits that can be written.
    Coil,
    /// Bits that can only be read.
    Discrete,
    /// Registers that can only be read.
    Input,
    /// Registers that can be written.
    Holding,
}

impl Kind {
    /// Splits a reference of the long form, like 40001 or 400001, into table and address.
    ///
    /// The leading digit names the table (0 coils, 1 discrete inputs, 3 input
    /// registers, 4 holding registers), the rest counts from 1.
    #[must_use]
    pub fn from_reference(reference: u32) -> Option<(Self, u16)> {
        let (table, number) = match reference {
            1..=9_999 => (Self::Coil, reference),
            10_001..=19_999 => (Self::Discrete, reference - 10_000),
            30_001..=39_999 => (Self::Input, reference - 30_000),
            40_001..=49_999 => (Self::Holding, reference - 40_000),
            100_001..=165_536 => (Self::Discrete, reference - 100_000),
            300_001..=365_536 => (Self::Input, reference - 300_000),
            400_001..=465_536 => (Self::Holding, reference - 400_000),
            _ => return None,
        };
        u16::try_from(number - 1)
            .ok()
            .map(|address| (table, address))
    }

    pub(crate) const ALL: [Self; 4] = [Self::Coil, Self::Discrete, Self::Input, Self::Holding];

    /// Whether its items are bits.
    #[must_use]
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }

    /// Its key in a scenario file.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Coil => "coils",
            Self::Discrete => "discrete",
            Self::Input => "input",
            Self::Holding => "holding",
        }
    }
}

/// When the values of a range change (see `Builder::changing_floats`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// At each request that reads one of them.
    EachRead,
    /// After so many milliseconds.
    EveryMs(u64),
}

/// A range in which every value changes; a function of the place and of how
/// often it has changed, so that it costs neither memory nor a task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fill {
    pub(crate) address: u16,
    pub(crate) count: u16,
    pub(crate) encoding: Encoding,
    pub(crate) change: Change,
    pub(crate) generation: u64,
}

/// The values of a fill begin again after so many changes.
pub(crate) const FILL_ROUND: u64 = 30_000;

impl Fill {
    fn end(&self) -> usize {
        usize::from(self.address) + usize::from(self.count) * self.encoding.words()
    }

    /// The value at a place: quarters, so that a float32 holds them exactly.
    pub(crate) fn quantity(index: usize, generation: u64) -> f64 {
        ((generation + index as u64) % FILL_ROUND) as f64 * 0.25
    }
}

/// Registers that show a signal, and set it when they are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) address: u16,
    pub(crate) signal: SignalId,
    pub(crate) settable: bool,
    pub(crate) encoding: Encoding,
}

impl Point {
    fn end(&self) -> usize {
        usize::from(self.address) + self.encoding.words()
    }
}

#[derive(Debug)]
struct Segment {
    start: usize,
    words: Vec<u16>,
    read_only: Vec<bool>,
}

impl Segment {
    fn end(&self) -> usize {
        self.start + self.words.len()
    }
}

/// Why a write is not carried out; each has its exception code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such register, or it is not writable.
    Address,
    /// The signal behind it does not take the value.
    Value,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// In order, with a gap between each two.
    segments: Vec<Segment>,
    /// In order of addresses, not overlapping.
    points: Vec<Point>,
    fills: Vec<Fill>,
}

impl Table {
    /// Makes registers exist; those that existed keep their values.
    pub(crate) fn ensure(&mut self, address: u16, count: usize) {
        let (start, end) = (usize::from(address), usize::from(address) + count);
        let mut merged = Segment {
            start,
            words: vec![0; count],
            read_only: vec![false; count],
        };
        let mut kept = Vec::with_capacity(self.segments.len() + 1);
        for segment in self.segments.drain(..) {
            if segment.end() < start || segment.start > end {
                kept.push(segment);
            } else {
                merged = join(merged, segment);
            }
        }
        kept.push(merged);
        kept.sort_by_key(|s| s.start);
        self.segments = kept;
    }

    /// Puts initial values in.
    pub(crate) fn put(&mut self, address: u16, words: &[u16]) {
        self.ensure(address, words.len());
        if let Some(place) = self.words_mut(usize::from(address), words.len()) {
            place.copy_from_slice(words);
        }
    }

    /// Refuses writes to registers.
    pub(crate) fn protect(&mut self, address: u16, count: usize) {
        let start = usize::from(address);
        if let Some(segment) = self
            .segments
            .iter_mut()
            .find(|s| s.start <= start && start < s.end())
        {
            let from = start - segment.start;
            segment
                .read_only
                .iter_mut()
                .skip(from)
                .take(count)
                .for_each(|r| *r = true);
        }
    }

    /// Binds registers to a signal.
    pub(crate) fn bind(&mut self, point: Point) {
        self.ensure(point.address, point.encoding.words());
        let at = self.points.partition_point(|p| p.address < point.address);
        self.points.insert(at, point);
    }

    pub(crate) fn add_fill(&mut self, fill: Fill) {
        self.ensure(
            fill.address,
            usize::from(fill.count) * fill.encoding.words(),
        );
        self.fills.push(fill);
    }

    /// How many registers or bits there are.
    pub(crate) fn len(&self) -> usize {
        self.segments.iter().map(|s| s.words.len()).sum()
    }

    /// The present values of a range, or none if a part of it does not exist.
    pub(crate) fn read(&mut self, address: u16, count: usize, world: &World) -> Option<&[u16]> {
        let (start, end) = (usize::from(address), usize::from(address) + count);
        let index = self.segments.partition_point(|s| s.end() <= start);
        let segment = self.segments.get_mut(index)?;
        if segment.start > start || segment.end() < end {
            return None;
        }
        for fill in &mut self.fills {
            refresh_fill(fill, segment, start, end, world.clock().elapsed());
        }
        refresh_points(&self.points, segment, start, end, world);
        Some(&segment.words[start - segment.start..end - segment.start])
    }

    /// Writes registers as a client does: all of them or none.
    pub(crate) fn write(
        &mut self,
        address: u16,
        words: &[u16],
        world: &World,
    ) -> Result<(), Refusal> {
        let (start, end) = (usize::from(address), usize::from(address) + words.len());
        self.read(address, words.len(), world)
            .ok_or(Refusal::Address)?;
        let index = self.segments.partition_point(|s| s.end() <= start);
        let segment = &self.segments[index];
        let range = start - segment.start..end - segment.start;
        if segment.read_only[range.clone()].contains(&true) {
            return Err(Refusal::Address);
        }
        let first = self.points.partition_point(|p| p.end() <= start);
        let touched = self.points[first..]
            .iter()
            .take_while(|p| usize::from(p.address) < end);
        for point in touched.clone() {
            if !point.settable {
                return Err(Refusal::Address);
            }
            let quantity = written(point, segment, start, words).ok_or(Refusal::Value)?;
            world
                .check(point.signal, quantity)
                .map_err(|_| Refusal::Value)?;
        }
        for point in touched {
            // Checked above, and the limits of a setpoint never change.
            let set = written(point, segment, start, words)
                .map(|quantity| world.set_id(point.signal, quantity));
            debug_assert!(matches!(set, Some(Ok(()))));
        }
        self.segments[index].words[range].copy_from_slice(words);
        Ok(())
    }

    /// Changes registers from the device's side; `None` if they do not exist.
    pub(crate) fn set(
        &mut self,
        address: u16,
        words: &[u16],
        world: &World,
    ) -> Option<Result<(), SetError>> {
        let (start, end) = (usize::from(address), usize::from(address) + words.len());
        // Brings those of a point that are not set up to date.
        self.read(address, words.len(), world)?;
        let segment = &self.segments[self.segments.partition_point(|s| s.end() <= start)];
        let first = self.points.partition_point(|p| p.end() <= start);
        for point in self.points[first..]
            .iter()
            .take_while(|p| usize::from(p.address) < end)
        {
            let quantity = written(point, segment, start, words).unwrap_or(0.0);
            let set = if world.is_settable(point.signal) {
                world.set_id(point.signal, quantity)
            } else {
                world.force_id(point.signal, Some(quantity));
                Ok(())
            };
            if set.is_err() {
                return Some(set);
            }
        }
        self.words_mut(start, words.len())?.copy_from_slice(words);
        Some(Ok(()))
    }

    fn words_mut(&mut self, start: usize, count: usize) -> Option<&mut [u16]> {
        let segment = self
            .segments
            .iter_mut()
            .find(|s| s.start <= start && start < s.end())?;
        let from = start - segment.start;
        segment.words.get_mut(from..from + count)
    }
}

/// What a point holds after a write that may cover only a part of it.
fn written(point: &Point, segment: &Segment, start: usize, words: &[u16]) -> Option<f64> {
    let mut all = [0u16; 4];
    let address = usize::from(point.address);
    let all = &mut all[..point.encoding.words()];
    for (i, word) in all.iter_mut().enumerate() {
        let at = address + i;
        *word = match at.checked_sub(start).and_then(|offset| words.get(offset)) {
            Some(new) => *new,
            None => segment.words[at - segment.start],
        };
    }
    point.encoding.read(all)
}

fn join(a: Segment, b: Segment) -> Segment {
    let start = a.start.min(b.start);
    let end = a.end().max(b.end());
    let mut joined = Segment {
        start,
        words: vec![0; end - start],
        read_only: vec![false; end - start],
    };
    // The old one comes last: what existed keeps its value.
    for part in [a, b] {
        let at = part.start - start;
        joined.words[at..at + part.words.len()].copy_from_slice(&part.words);
        joined.read_only[at..at + part.words.len()].copy_from_slice(&part.read_only);
    }
    joined
}

fn refresh_fill(fill: &mut Fill, segment: &mut Segment, start: usize, end: usize, now: Duration) {
    let address = usize::from(fill.address);
    if address >= end || fill.end() <= start {
        return;
    }
    fill.generation = match fill.change {
        Change::EachRead => fill.generation + 1,
        Change::EveryMs(every) => now.as_millis() as u64 / every.max(1),
    };
    let words = fill.encoding.words();
    let first = start.saturating_sub(address) / words;
    let last = (end - address).div_ceil(words).min(usize::from(fill.count));
    for index in first..last {
        let at = address + index * words - segment.start;
        let quantity = Fill::quantity(index, fill.generation);
        fill.encoding
            .write(quantity, &mut segment.words[at..at + words]);
    }
}

fn refresh_points(
    points: &[Point],
    segment: &mut Segment,
    start: usize,
    end: usize,
    world: &World,
) {
    let first = points.partition_point(|p| p.end() <= start);
    let mut values: Option<Values<'_>> = None;
    for point in points[first..]
        .iter()
        .take_while(|p| usize::from(p.address) < end)
    {
        let values = values.get_or_insert_with(|| world.values());
        let at = usize::from(point.address) - segment.start;
        let words = &mut segment.words[at..at + point.encoding.words()];
        point.encoding.write(values.get(point.signal), words);
    }
}

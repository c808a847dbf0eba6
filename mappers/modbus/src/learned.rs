//! What the mapper finds out about the units of a bus. It outlives connections,
//! because what a device cannot do does not change when it hangs up. Pure.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{bus::Bus, plan::Request, point::Table};

/// How long a block that stays silent is left alone, at first and at last.
const QUIET_FIRST: Duration = Duration::from_secs(60);
const QUIET_LAST: Duration = Duration::from_secs(3600);
/// Blocks that are remembered for one bus; more than any device has.
const MOST_BLOCKS: usize = 4096;
/// Buses of which something is remembered.
const MOST_BUSES: usize = 1024;
/// Connections in a row that ended behind their first answer: that is the device's manner.
const HANGS_UP: u8 = 2;

/// A read request by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Block {
    unit: u8,
    table: Table,
    address: u16,
    count: u16,
}

impl Block {
    pub(crate) fn of(unit: u8, request: &Request) -> Self {
        Self {
            unit,
            table: request.table,
            address: request.address,
            count: request.count,
        }
    }
}

/// A block that brought no answer.
#[derive(Debug, Clone, Copy)]
struct Silent {
    /// How long it is left alone.
    pause: Duration,
    /// Until when it is not asked for; `None`: it was silent once, which may be chance.
    until: Option<Instant>,
}

/// What is known of one unit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OfUnit {
    /// The smallest read that it has answered: table, address, count.
    pub(crate) answers: Option<(Table, u16, u16)>,
    /// It keeps silent where others refuse.
    keeps_silent: bool,
    /// It does not know function 22.
    pub(crate) without_mask: bool,
    /// It does not know function 5 or 6.
    pub(crate) without_single: bool,
    /// That its answers bear another unit was told.
    pub(crate) told_unit: bool,
}

/// What is known of one bus.
#[derive(Debug)]
pub(crate) struct Learned {
    units: Box<[OfUnit; 256]>,
    silent: HashMap<Block, Silent>,
    /// Something on it has answered once.
    pub(crate) answered: bool,
    /// Its adapter hears itself.
    pub(crate) echoes: bool,
    /// Connections in a row that ended behind their first answer.
    hang_ups: u8,
}

impl Default for Learned {
    fn default() -> Self {
        Self {
            units: Box::new([OfUnit::default(); 256]),
            silent: HashMap::new(),
            answered: false,
            echoes: false,
            hang_ups: 0,
        }
    }
}

impl Learned {
    pub(crate) fn unit(&mut self, unit: u8) -> &mut OfUnit {
        &mut self.units[usize::from(unit)]
    }

    /// A block was read.
    pub(crate) fn was_read(&mut self, unit: u8, request: &Request) {
        let smallest = &mut self.units[usize::from(unit)].answers;
        if smallest.is_none_or(|(.., count)| request.count < count) {
            *smallest = Some((request.table, request.address, request.count));
        }
        if !self.silent.is_empty() {
            self.silent.remove(&Block::of(unit, request));
        }
    }

    /// Whether a block is known to bring no answer and is not to be asked for now.
    pub(crate) fn is_left_alone(&self, block: Block, now: Instant) -> bool {
        self.silent
            .get(&block)
            .is_some_and(|silent| silent.until.is_some_and(|until| now < until))
    }

    /// A block brought no answer. `true`: not for the first time, or not of the first
    /// block of the unit, so that it is worth while to find out whether the unit is there.
    pub(crate) fn missed(&mut self, block: Block) -> bool {
        let keeps_silent = self.units[usize::from(block.unit)].keeps_silent;
        if self.silent.contains_key(&block) {
            return true;
        }
        if self.silent.len() >= MOST_BLOCKS {
            self.silent.clear();
        }
        let once = Silent {
            pause: QUIET_FIRST / 2,
            until: None,
        };
        self.silent.insert(block, once);
        keeps_silent
    }

    /// A block brings no answer though its unit is there.
    pub(crate) fn keeps_silent(&mut self, block: Block, now: Instant) {
        self.units[usize::from(block.unit)].keeps_silent = true;
        if let Some(silent) = self.silent.get_mut(&block) {
            silent.pause = (silent.pause * 2).min(QUIET_LAST);
            silent.until = Some(now + silent.pause);
        }
    }

    /// A connection has ended with no answer under way, after so many answers.
    pub(crate) fn hung_up(&mut self, answers: u32) {
        self.hang_ups = if answers == 1 {
            self.hang_ups.saturating_add(1)
        } else {
            0
        };
    }

    /// Whether the device closes the connection after each answer.
    pub(crate) fn hangs_up(&self) -> bool {
        self.hang_ups >= HANGS_UP
    }
}

/// Where it lies while a bus has no connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shelf(Arc<Mutex<HashMap<Bus, Learned>>>);

impl Shelf {
    pub(crate) fn take(&self, bus: &Bus) -> Learned {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(bus).unwrap_or_default()
    }

    pub(crate) fn put(&self, bus: &Bus, learned: Learned) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_BUSES {
            all.clear();
        }
        all.insert(bus.clone(), learned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(address: u16, count: u16) -> Request {
        Request {
            table: Table::HoldingRegisters,
            address,
            count,
            fields: Vec::new(),
        }
    }

    #[test]
    fn a_silent_block_is_left_alone_for_longer_and_longer() {
        let mut learned = Learned::default();
        let (block, other) = (
            Block::of(1, &request(0, 20)),
            Block::of(1, &request(40, 20)),
        );
        let mut now = Instant::now();
        assert!(!learned.missed(block), "once may be chance");
        assert!(!learned.is_left_alone(block, now));
        assert!(learned.missed(block));
        learned.keeps_silent(block, now);
        assert!(learned.is_left_alone(block, now + QUIET_FIRST / 2));
        assert!(!learned.is_left_alone(block, now + QUIET_FIRST));
        assert!(learned.missed(other), "a unit that keeps silent does so");
        for _ in 0..20 {
            now += QUIET_LAST;
            assert!(!learned.is_left_alone(block, now), "it is tried again");
            assert!(learned.missed(block));
            learned.keeps_silent(block, now);
        }
        learned.was_read(1, &request(0, 20));
        assert!(!learned.is_left_alone(block, now));
        assert!(!learned.missed(Block::of(2, &request(40, 20))));
    }

    #[test]
    fn hanging_up_is_a_manner_when_it_comes_behind_each_answer() {
        let mut learned = Learned::default();
        learned.hung_up(1);
        learned.hung_up(7);
        learned.hung_up(1);
        assert!(!learned.hangs_up());
        learned.hung_up(1);
        assert!(learned.hangs_up());
    }
}

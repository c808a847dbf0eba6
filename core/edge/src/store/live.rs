//! Records of what is so now, on their way to the hub: in memory, and nowhere else.
//!
//! Each of them can be made again of what the store keeps (objects, twins, desired
//! values and how far they came), so writing them to the disk would wear flash for
//! nothing: it was most of what a node with a link wrote. A report that was lost
//! with the process is made anew by the next one, which reports every device.
//!
//! What must survive is the numbering, for the hub drops what it holds already by
//! it. So each start takes a range of numbers of its own ([`RANGE`]), written down
//! before the first one is used: a new record never looks like an old one, however
//! the process ended. The hub knows a batch by the record before it, so the gap
//! between two ranges is none.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use longshore_sqlite::{Connection, SqlError};

use super::records::{OutboxRecord, fits};

/// Numbers of one start: at 10,000 records a second they last for three years, and
/// eight million starts use up all that there are.
pub(super) const RANGE: u64 = 1 << 40;
/// More need not wait here: who makes reports makes newer ones later.
const ROOM_BYTES: usize = 256 * 1024;

/// Takes the range of numbers of this start; gives the last one before it.
pub(super) fn begin(connection: &Connection) -> Result<u64, SqlError> {
    let last = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'sequence'";
    let last: i64 = connection.query_row(last, [], |row| row.get(0))?;
    connection.execute(
        "UPDATE meta SET value = ?1 WHERE key = 'sequence'",
        [(last.saturating_add(RANGE as i64)).to_string()],
    )?;
    Ok(last as u64)
}

/// See the module.
pub(super) struct Live(Mutex<Records>);

struct Records {
    /// Those without a number, by the turn in which they came.
    waiting: BTreeMap<u64, (String, Bytes)>,
    /// The turn of each key that waits.
    turns: HashMap<String, u64>,
    next_turn: u64,
    waiting_bytes: usize,
    /// Those that were handed out and not acknowledged.
    numbered: VecDeque<OutboxRecord>,
    numbered_bytes: usize,
    last: u64,
}

impl Live {
    /// Numbers begin after `last`.
    pub(super) fn after(last: u64) -> Self {
        Self(Mutex::new(Records {
            waiting: BTreeMap::new(),
            turns: HashMap::new(),
            next_turn: 0,
            waiting_bytes: 0,
            numbered: VecDeque::new(),
            numbered_bytes: 0,
            last,
        }))
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        // Nothing in here panics halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a record. One of its key that still waits makes way for it, and it
    /// has that one's turn.
    pub(super) fn put(&self, key: String, payload: Bytes) {
        let records = &mut *self.records();
        records.waiting_bytes += payload.len();
        let turn = *records.turns.entry(key.clone()).or_insert_with(|| {
            records.next_turn += 1;
            records.next_turn
        });
        if let Some((_, former)) = records.waiting.insert(turn, (key, payload)) {
            records.waiting_bytes -= former.len();
        }
    }

    /// Whether more may wait.
    pub(super) fn has_room(&self) -> bool {
        self.records().waiting_bytes < ROOM_BYTES
    }

    /// Records and bytes, handed out or not.
    pub(super) fn size(&self) -> (usize, usize) {
        let records = self.records();
        (
            records.waiting.len() + records.numbered.len(),
            records.waiting_bytes + records.numbered_bytes,
        )
    }

    /// Hands out those with a number above `after`; those that wait get theirs.
    pub(super) fn take(
        &self,
        after: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Vec<OutboxRecord> {
        let records = &mut *self.records();
        let mut fits = fits(max_records, max_bytes);
        let mut taken = Vec::new();
        let again = records
            .numbered
            .partition_point(|record| record.sequence <= after);
        for record in records.numbered.iter().skip(again) {
            if !fits(&record.payload, taken.len()) {
                return taken;
            }
            taken.push(record.clone());
        }
        while let Some(first) = records.waiting.first_entry() {
            if !fits(&first.get().1, taken.len()) {
                break;
            }
            let (key, payload) = first.remove();
            records.turns.remove(&key);
            records.waiting_bytes -= payload.len();
            records.numbered_bytes += payload.len();
            records.last += 1;
            let record = OutboxRecord {
                sequence: records.last,
                payload,
            };
            records.numbered.push_back(record.clone());
            taken.push(record);
        }
        taken
    }

    /// The hub has those up to and with this number.
    pub(super) fn acknowledge(&self, through: u64) {
        let records = &mut *self.records();
        while let Some(first) = records.numbered.front()
            && first.sequence <= through
        {
            records.numbered_bytes -= first.payload.len();
            records.numbered.pop_front();
        }
    }

    /// The last number that was handed out.
    pub(super) fn last(&self) -> u64 {
        self.records().last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(live: &Live, key: &str, text: &str) {
        live.put(key.to_owned(), Bytes::copy_from_slice(text.as_bytes()));
    }

    fn texts(records: &[OutboxRecord]) -> Vec<(u64, String)> {
        let text = |record: &OutboxRecord| String::from_utf8_lossy(&record.payload).into_owned();
        records
            .iter()
            .map(|record| (record.sequence, text(record)))
            .collect()
    }

    fn told(numbers: &[(u64, &str)]) -> Vec<(u64, String)> {
        numbers
            .iter()
            .map(|(number, text)| (*number, (*text).to_owned()))
            .collect()
    }

    #[test]
    fn a_newer_one_takes_the_turn_of_one_that_waits_and_leaves_one_that_was_handed_out() {
        let live = Live::after(RANGE);
        put(&live, "a", "a1");
        put(&live, "b", "b1");
        put(&live, "a", "a2");
        let first = live.take(RANGE, 1, 1 << 20);
        assert_eq!(texts(&first), told(&[(RANGE + 1, "a2")]));
        put(&live, "a", "a3");
        // The connection broke: the same number has the same content.
        let all = live.take(RANGE, 10, 1 << 20);
        let expected = told(&[(RANGE + 1, "a2"), (RANGE + 2, "b1"), (RANGE + 3, "a3")]);
        assert_eq!(texts(&all), expected);
        assert_eq!((live.size(), live.last()), ((3, 6), RANGE + 3));
        live.acknowledge(RANGE + 2);
        assert_eq!(texts(&live.take(RANGE, 10, 1 << 20)), expected[2..]);
        live.acknowledge(RANGE + 3);
        assert_eq!(live.size(), (0, 0));
    }

    #[test]
    fn the_first_fits_always_and_the_others_as_far_as_there_is_room() {
        let live = Live::after(0);
        for key in ["a", "b", "c"] {
            put(&live, key, "1234");
        }
        assert_eq!(live.take(0, 10, 1).len(), 1);
        assert_eq!(live.take(1, 10, 8).len(), 2);
        assert!(live.take(3, 10, 8).is_empty());
        assert!(live.has_room());
        put(&live, "large", &"x".repeat(ROOM_BYTES));
        assert!(!live.has_room());
        put(&live, "large", "small");
        assert!(live.has_room());
    }
}

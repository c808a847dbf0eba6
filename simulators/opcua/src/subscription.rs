//! Subscriptions and their monitored items (OPC 10000-4, 5.13 and 5.14): what to
//! look at, how often, and what waits to be told. Pure: the time is an argument,
//! and what is to be sent is given back.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::binary::{Times, Writer};
use crate::node_id::NodeId;
use crate::space::Space;
use crate::status::{OVERFLOW, StatusCode};
use crate::time::Now;
use crate::value::{DataValue, Value};

/// Items that are due within this time are looked at together.
const TOGETHER: Duration = Duration::from_millis(5);

/// So many sent notifications are kept until they are acknowledged.
const KEPT: usize = 100;

/// What must differ for a value to be told (DataChangeTrigger, 7.22.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trigger {
    Status,
    StatusValue,
    StatusValueTimestamp,
}

/// How a client wants an item.
#[derive(Debug, Clone)]
pub(crate) struct Parameters {
    pub(crate) client_handle: u32,
    pub(crate) sampling: Duration,
    pub(crate) queue_size: usize,
    pub(crate) discard_oldest: bool,
    pub(crate) trigger: Trigger,
    /// In the unit of the value; percentages are reckoned before.
    pub(crate) deadband: f64,
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) node: NodeId,
    pub(crate) attribute: u32,
    pub(crate) range: String,
    pub(crate) times: Times,
    pub(crate) parameters: Parameters,
    /// 0 disabled, 1 sampling, 2 reporting.
    pub(crate) mode: i32,
    pub(crate) due: Instant,
    last: Option<DataValue>,
    queue: VecDeque<DataValue>,
    /// Whether it stands in the subscription's `ready`.
    listed: bool,
    /// The node's slot, true while the space is of this generation.
    slot: (u64, Option<usize>),
    /// Its node was deleted. One that comes back is another to it, as with
    /// controllers whose program is loaded anew.
    orphaned: bool,
}

impl Item {
    pub(crate) fn new(
        node: NodeId,
        (attribute, range): (u32, String),
        times: Times,
        parameters: Parameters,
        mode: i32,
        now: Instant,
    ) -> Self {
        Self {
            node,
            attribute,
            range,
            times,
            parameters,
            mode,
            due: now,
            last: None,
            queue: VecDeque::new(),
            listed: false,
            slot: (0, None),
            orphaned: false,
        }
    }

    fn look(&mut self, space: &mut Space, now: Now) -> DataValue {
        if self.slot.0 != space.generation {
            self.slot = (space.generation, space.slot(&self.node));
            self.orphaned |= self.slot.1.is_none();
        }
        match self.slot.1.filter(|_| !self.orphaned) {
            Some(slot) => space.read(slot, self.attribute, &self.range, now),
            None => DataValue::bad(StatusCode::BAD_NODE_ID_UNKNOWN),
        }
    }

    fn differs(&self, new: &DataValue) -> bool {
        let Some(old) = &self.last else {
            return true;
        };
        if old.status != new.status {
            return true;
        }
        match self.parameters.trigger {
            Trigger::Status => false,
            Trigger::StatusValueTimestamp if old.source_time != new.source_time => true,
            _ => moved(&old.value, &new.value, self.parameters.deadband),
        }
    }

    /// Puts a value into the queue; true when another was lost for it.
    fn push(&mut self, data: DataValue) -> bool {
        let size = self.parameters.queue_size.max(1);
        let full = self.queue.len() >= size;
        if full && self.parameters.discard_oldest {
            self.queue.pop_front();
        } else if full {
            self.queue.pop_back();
        }
        self.queue.push_back(data);
        // With a queue of one, the loss is what the client asked for (5.13.1.5).
        if full && size > 1 {
            let marked = match self.parameters.discard_oldest {
                true => self.queue.front_mut(),
                false => self.queue.back_mut(),
            };
            if let Some(data) = marked {
                data.status.0 |= OVERFLOW;
            }
        }
        full && size > 1
    }

    /// The next look tells the value in any case.
    pub(crate) fn forget(&mut self, now: Instant) {
        self.last = None;
        self.due = now;
    }
}

/// Whether a value has left the deadband around the one that was told.
fn moved(old: &Value, new: &Value, deadband: f64) -> bool {
    if deadband > 0.0
        && let (Value::One(old), Value::One(new)) = (old, new)
        && let (Some(old), Some(new)) = (old.as_number(), new.as_number())
    {
        return (new - old).abs() > deadband;
    }
    old != new
}

/// What came of looking at items.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) looks: u64,
    /// Values that full queues lost.
    pub(crate) lost: u64,
}

/// What a subscription has to say at the end of a publishing interval.
#[derive(Debug)]
pub(crate) enum Due {
    Nothing,
    /// A notification or a sign of life is ready for a publish request.
    Say,
    /// Nobody asked for too long: it ends.
    Expired,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    /// The number of the session.
    pub(crate) session: u32,
    pub(crate) interval: Duration,
    pub(crate) lifetime: u32,
    pub(crate) keep_alive: u32,
    pub(crate) most: usize,
    pub(crate) enabled: bool,
    pub(crate) items: BTreeMap<u32, Item>,
    /// Notifications that were sent and not acknowledged.
    pub(crate) sent: VecDeque<(u32, Vec<u8>)>,
    /// Items with values in their queues.
    ready: VecDeque<u32>,
    sequence: u32,
    cycle: Instant,
    next_sample: Instant,
    /// Publishing intervals without a word.
    idle: u32,
    /// Publishing intervals without a request to answer.
    unheard: u32,
    /// Whether something waits for the next publish request.
    pub(crate) late: bool,
    first: bool,
}

impl Subscription {
    pub(crate) fn new(session: u32, interval: Duration, now: Instant) -> Self {
        Self {
            session,
            interval,
            lifetime: 0,
            keep_alive: 0,
            most: 0,
            enabled: true,
            items: BTreeMap::new(),
            sent: VecDeque::new(),
            ready: VecDeque::new(),
            sequence: 1,
            cycle: now + interval,
            next_sample: now,
            idle: 0,
            unheard: 0,
            late: false,
            first: true,
        }
    }

    /// When there is something to do next.
    pub(crate) fn next(&self) -> Instant {
        match self.items.is_empty() {
            true => self.cycle,
            false => self.cycle.min(self.next_sample),
        }
    }

    /// Items changed: look anew for the earliest.
    pub(crate) fn rearrange(&mut self, now: Instant) {
        self.next_sample = now;
    }

    /// Looks at the items that are due.
    pub(crate) fn sample(&mut self, space: &mut Space, now: Now) -> Seen {
        let mut seen = Seen::default();
        if now.instant < self.next_sample {
            return seen;
        }
        let mut next = now.instant + Duration::from_secs(3600);
        for (id, item) in &mut self.items {
            if item.mode == 0 {
                continue;
            }
            if item.due <= now.instant + TOGETHER / 2 {
                let data = item.look(space, now);
                seen.looks += 1;
                if item.differs(&data) {
                    item.last = Some(data.clone());
                    seen.lost += u64::from(item.push(data));
                    if item.mode == 2 && !item.listed {
                        item.listed = true;
                        self.ready.push_back(*id);
                    }
                }
                // In step, unless it is a whole interval behind.
                let sampling = item.parameters.sampling;
                item.due = (item.due + sampling).max(now.instant + sampling / 2);
            }
            next = next.min(item.due);
        }
        self.next_sample = next.max(now.instant + TOGETHER);
        seen
    }

    /// Ends the publishing interval if it is over.
    pub(crate) fn turn(&mut self, now: Instant) -> Due {
        if now < self.cycle {
            return Due::Nothing;
        }
        self.cycle = (self.cycle + self.interval).max(now);
        self.unheard += 1;
        if self.unheard > self.lifetime {
            return Due::Expired;
        }
        self.idle += 1;
        let news = self.enabled && !self.ready.is_empty();
        if news || self.first || self.idle >= self.keep_alive {
            self.late = true;
        }
        if self.late { Due::Say } else { Due::Nothing }
    }

    /// A client spoke of this subscription: it lives.
    pub(crate) fn heard(&mut self) {
        self.unheard = 0;
    }

    pub(crate) fn has_news(&self) -> bool {
        self.enabled && !self.ready.is_empty()
    }

    /// The next NotificationMessage (7.26), and how many values are in it; a
    /// sign of life where there is none.
    pub(crate) fn say(&mut self, ticks: i64) -> (Vec<u8>, u64) {
        self.idle = 0;
        self.first = false;
        self.unheard = 0;
        let mut w = Writer::default();
        w.u32(self.sequence);
        w.i64(ticks);
        if !self.has_news() {
            // It has the number that the next notification will have.
            w.length(0);
            self.late = false;
            return (w.bytes, 0);
        }
        let mut count = 0;
        w.length(1);
        w.structure(&NodeId::standard(811), |w| {
            let at = w.bytes.len();
            w.length(0);
            while (count as usize) < self.most
                && let Some(id) = self.ready.front()
            {
                let item = self.items.get_mut(id);
                let next = item.and_then(|item| {
                    let data = item.queue.pop_front();
                    item.listed = !item.queue.is_empty();
                    data.map(|data| (item.parameters.client_handle, data, item.times, item.listed))
                });
                let Some((handle, data, times, more)) = next else {
                    self.ready.pop_front();
                    continue;
                };
                w.u32(handle);
                w.data_value(&data, times);
                count += 1;
                if !more {
                    self.ready.pop_front();
                }
            }
            w.bytes[at..at + 4].copy_from_slice(&(count as u32).to_le_bytes());
            w.length(0);
        });
        self.late = self.has_news();
        if self.sent.len() == KEPT {
            self.sent.pop_front();
        }
        self.sent.push_back((self.sequence, w.bytes.clone()));
        // 0 is never used (7.26).
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        (w.bytes, count)
    }

    /// A StatusChangeNotification: the last word of a subscription.
    pub(crate) fn last_word(&self, status: StatusCode, ticks: i64) -> Vec<u8> {
        let mut w = Writer::default();
        w.u32(self.sequence);
        w.i64(ticks);
        w.length(1);
        w.structure(&NodeId::standard(820), |w| {
            w.status(status);
            w.u8(0);
        });
        w.bytes
    }

    pub(crate) fn acknowledge(&mut self, sequence: u32) -> bool {
        let before = self.sent.len();
        self.sent.retain(|(number, _)| *number != sequence);
        before != self.sent.len()
    }

    pub(crate) fn available(&self) -> Vec<u32> {
        self.sent.iter().map(|(number, _)| *number).collect()
    }
}

//! What the judge may write to a device, what it did write, and that all of it
//! is put back.
//!
//! A device that somebody names may be a machine at work. So the judge writes
//! nothing to it unless it was told that it may; then only to points that say
//! they are writable, only the value that was read from the point just before;
//! and what is another at the end is written back, however a rule ended. What
//! was written stands in a journal of the rule's process before it is handed
//! to the mapper, so that a process that dies leaves nothing untold.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use longshore_abi as abi;
use longshore_host::bare::{Order, OrderValue};
use longshore_types::ValueRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{child::Context, devices::Device, rules::Finding, session::Session};

/// Points of a device that are written at most.
const POINTS: usize = 3;
/// A point that no device has: its writes reach nobody.
const NOWHERE: u32 = 9_999;

/// What may be written to the devices of the judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Writes {
    /// Nothing: nobody allowed it.
    #[default]
    Never,
    /// What was read before, to points that are writable; put back at the end.
    PutBack,
    /// Whatever a rule likes: the device is simulated.
    Anything,
}

impl Writes {
    /// What a rule says that would have to write.
    pub(crate) fn allowed(self) -> Result<(), Finding> {
        match self {
            Self::Never => Err(Finding::NotJudged(
                "needs --allow-writes: the rule writes to the device (only to points that are writable, only values that were read from them, which are put back)".to_owned(),
            )),
            Self::PutBack | Self::Anything => Ok(()),
        }
    }

    /// Where a value goes that no device has given.
    pub(crate) fn point(self, point: u32) -> u32 {
        match self {
            Self::Anything => point,
            Self::Never | Self::PutBack => NOWHERE,
        }
    }
}

/// A value as it was read, to the bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Kept {
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// The bits: a text of digits may be another number.
    Float(u64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Kept {
    /// Nothing for what is no value to write, such as NaN.
    pub(crate) fn of(value: ValueRef<'_>) -> Option<Self> {
        Some(match value {
            ValueRef::Bool(value) => Self::Bool(value),
            ValueRef::Int(value) => Self::Int(value),
            ValueRef::Uint(value) => Self::Uint(value),
            ValueRef::Float(value) if !value.is_finite() => return None,
            ValueRef::Float(value) => Self::Float(value.to_bits()),
            ValueRef::String(text) => Self::Text(text.to_owned()),
            ValueRef::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
        })
    }

    pub(crate) fn order(&self) -> OrderValue {
        match self {
            Self::Bool(value) => OrderValue::Bool(*value),
            Self::Int(value) => OrderValue::Int(*value),
            Self::Uint(value) => OrderValue::Uint(*value),
            Self::Float(bits) => OrderValue::Float(f64::from_bits(*bits)),
            Self::Text(text) => OrderValue::Text(text.clone().into_bytes()),
            Self::Bytes(bytes) => OrderValue::Bytes(bytes.clone()),
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Uint(value) => value.fmt(f),
            Self::Float(bits) => f64::from_bits(*bits).fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// A point that was written, with the value that it had before.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Written {
    /// The device as it was given.
    pub(crate) device: Value,
    /// The point's name.
    pub(crate) point: String,
    pub(crate) before: Kept,
    pub(crate) times: usize,
    /// When it was written first.
    at: SystemTime,
}

/// What was written in one rule's process, in a file that outlives it.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    file: PathBuf,
    written: Vec<Written>,
}

impl Journal {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self {
            file,
            written: Vec::new(),
        }
    }

    /// What a process left behind.
    pub(crate) fn read(file: &Path) -> Vec<Written> {
        let bytes = fs::read(file).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Notes a write before it is made; what cannot be noted is not written.
    fn note(&mut self, device: &Value, point: &str, before: &Kept) -> bool {
        let known = self
            .written
            .iter_mut()
            .find(|written| written.point == point && written.device == *device);
        match known {
            Some(written) => written.times += 1,
            None => self.written.push(Written {
                device: device.clone(),
                point: point.to_owned(),
                before: before.clone(),
                times: 1,
                at: SystemTime::now(),
            }),
        }
        let text = serde_json::to_vec(&self.written).unwrap_or_default();
        let draft = self.file.with_extension("draft");
        fs::write(&draft, text)
            .and_then(|()| fs::rename(&draft, &self.file))
            .is_ok()
    }
}

/// Adds what one rule wrote: the earliest value is the one to put back.
pub(crate) fn merge(all: &mut Vec<Written>, more: Vec<Written>) {
    for one in more {
        let known = all
            .iter_mut()
            .find(|known| known.point == one.point && known.device == one.device);
        match known {
            Some(known) => {
                let times = known.times + one.times;
                if one.at < known.at {
                    *known = one;
                }
                known.times = times;
            }
            None => all.push(one),
        }
    }
}

/// The points of a device, as it was given, that may be written.
pub(crate) fn writable(device: &Value) -> Vec<String> {
    let points = Device::new(device, 0, 0).writable();
    points
        .into_iter()
        .take(POINTS)
        .map(|(_, name)| name)
        .collect()
}

/// The name of a device, as it was given.
pub(crate) fn name(device: &Value) -> String {
    device["device"].as_str().unwrap_or("the device").to_owned()
}

/// What may be written to one device, for a rule that has to.
pub(crate) struct Pen {
    writes: Writes,
    /// Points that may be written, by id: name, and the value that is theirs.
    known: Vec<(u32, String, Kept)>,
    base: Value,
}

impl Pen {
    /// Reads what is to be written, where something may be.
    pub(crate) fn take(
        session: &mut Session,
        context: &Context,
        device: &Device,
    ) -> Result<Self, Finding> {
        let mut pen = Self {
            writes: context.writes,
            known: Vec::new(),
            base: context.devices.any(),
        };
        if context.writes == Writes::PutBack && context.devices.was_given() {
            let writable = device.writable();
            let writable: Vec<_> = writable.into_iter().take(POINTS).collect();
            if !writable.is_empty() {
                session.configure(device)?;
            }
            for (point, name) in writable {
                if let Some(value) = session.read(device.id, point)? {
                    pen.known.push((point, name, value));
                }
            }
        }
        Ok(pen)
    }

    /// Writes of a point, each with one of the values that a rule would like:
    /// as it is, with what the point has instead, or to nobody.
    pub(crate) fn writes(
        &self,
        session: &mut Session,
        device: u32,
        point: u32,
        values: impl IntoIterator<Item = OrderValue>,
    ) -> Vec<Order> {
        let mut orders = Vec::new();
        for value in values {
            let mut order = session.order(abi::COMMAND_WRITE, device, point);
            order.value = value;
            order.point = self.writes.point(point);
            orders.push(order);
        }
        if let Some((point, name, kept)) = self.known.iter().find(|(known, ..)| *known == point)
            && session.journal.note(&self.base, name, kept)
        {
            let mut order = session.order(abi::COMMAND_WRITE, device, *point);
            order.value = kept.order();
            orders.push(order);
        }
        orders
    }

    /// Writes of a point with the value that was read from it, which a rule
    /// needs: so many.
    pub(crate) fn same(
        session: &mut Session,
        context: &Context,
        (device, point, name): (u32, u32, &str),
        kept: &Kept,
    ) -> Result<Order, Finding> {
        let base = context.devices.any();
        if context.writes == Writes::PutBack && !session.journal.note(&base, name, kept) {
            return Err(Finding::NotJudged(
                "what would be written could not be noted: is the disk full?".to_owned(),
            ));
        }
        let mut order = session.order(abi::COMMAND_WRITE, device, point);
        order.value = kept.order();
        Ok(order)
    }

    /// The device of a call that nobody knows: one that is there only where
    /// anything may be done to it.
    pub(crate) fn called(&self, device: u32) -> u32 {
        match self.writes {
            Writes::Anything => device,
            Writes::Never | Writes::PutBack => 999,
        }
    }
}

/// How a point stands at the end of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Ending {
    /// As it was.
    Unchanged,
    /// It had another value, and was written back.
    PutBack {
        /// What was found.
        found: String,
    },
    /// It has another value, or cannot be read.
    Lost {
        /// What is known.
        why: String,
    },
}

/// Looks at each point that was written, and puts back what is another.
pub(crate) fn put_back(context: &Context, written: &[Written]) -> Vec<Ending> {
    written
        .iter()
        .map(|one| {
            put_one_back(context, one).unwrap_or_else(|finding| match finding {
                Finding::Broken(why) | Finding::NotJudged(why) => Ending::Lost { why },
            })
        })
        .collect()
}

fn put_one_back(context: &Context, written: &Written) -> Result<Ending, Finding> {
    let lost = |why: String| Ok(Ending::Lost { why });
    let device = Device::new(&written.device, 0, 0);
    let writable = device.writable();
    let Some((point, _)) = writable.iter().find(|(_, name)| *name == written.point) else {
        return lost("the device has no such point".to_owned());
    };
    let mut session = Session::start(context)?;
    session.configure(&device)?;
    let Some(found) = session.read_patiently(device.id, *point)? else {
        return lost("it gives no value any more".to_owned());
    };
    let mut ending = Ending::Unchanged;
    if found != written.before {
        let mut order = session.order(abi::COMMAND_WRITE, device.id, *point);
        order.value = written.before.order();
        let done = session.carry_out(order)?;
        match session.read(device.id, *point)? {
            Some(now) if now == written.before => {
                ending = Ending::PutBack {
                    found: found.to_string(),
                };
            }
            now => {
                let now = now.map_or_else(|| "no value".to_owned(), |now| now.to_string());
                return lost(format!(
                    "it has {now}; writing the former value ended with {:?} {}",
                    done.status, done.message
                ));
            }
        }
    }
    session.instance.stop(crate::session::BUDGET);
    Ok(ending)
}

//! The way to the disk and back: what the store is given, and what follows once
//! it has answered.
//!
//! Nothing that is answered, told or written to a device overtakes its row. An
//! update becomes part of the twin here, when the store has it. An outcome that
//! is not stored yet shows as pending; one that the store refuses shows why.

use std::sync::Arc;

use longshore_types::{DeviceName, Quality, Reason, Value, device::WriteState};

use super::{
    Engine, Now,
    desires::json,
    saving::{Ask, Change, Key},
};
use crate::{
    blob,
    desired::{DesiredValue, Event, State},
    outputs::{Row, RowKind, Save, UpdateError},
    point::Reading,
};

/// Devices whose twins go with one save.
const TWINS: usize = 256;

impl Engine {
    /// Whether another update or call may come; who asks waits until then.
    pub fn takes_requests(&self) -> bool {
        self.saving.has_room()
    }

    /// What the store is to do next, as one; with `all` also what is not due.
    /// None while it has something, and when there is nothing. It answers with
    /// [`Engine::stored`].
    pub fn next_save(&mut self, now: Now, all: bool) -> Option<Save> {
        if !self.saving.is_free() {
            return None;
        }
        let facts = all || self.saving.takes_facts(now.ms);
        let twins = match facts {
            true => self.due_snapshots(now, TWINS, all),
            false => Vec::new(),
        };
        let (ids, twins) = twins.into_iter().unzip();
        let batch = self.saving.begin(ids, facts)?;
        let (asked, facts) = (batch.asked.clone(), batch.facts.clone());
        let forgotten = batch.forgotten.clone();
        let mut rows: Vec<Row> = Vec::with_capacity(asked.len() + facts.len());
        rows.extend(asked.into_iter().map(|(key, json)| row(&key, Some(json))));
        rows.extend(facts.iter().map(|key| row(key, self.fact(key))));
        Some(Save {
            forgotten,
            rows,
            twins,
        })
    }

    /// When there is something for the store again that waits for its time; none
    /// while nothing does.
    pub fn saves_at(&self) -> Option<u64> {
        self.saving.due()
    }

    /// The store has answered what [`Engine::next_save`] gave it: all of it is on
    /// the disk, or nothing is.
    pub fn stored(&mut self, result: Result<(), String>, now: Now) {
        let result = result.map_err(Arc::from);
        let Some(batch) = self.saving.end(&result, now.ms) else {
            self.dangling.ours("answer of the store", 0);
            return;
        };
        if result.is_err() {
            self.snapshot_again(&batch.twins, now);
        }
        for key in &batch.facts {
            self.fact_ended(key, result.is_ok(), now);
        }
        let mut written = Vec::new();
        for ask in batch.asks {
            match &result {
                Ok(()) => self.granted(ask, now, &mut written),
                Err(why) => self.denied(&ask, why),
            }
        }
        // Once all are in: of two values of one property the device gets the last.
        written.sort_unstable();
        written.dedup();
        for point in written {
            self.step_desired(point, &Event::Tick, now);
        }
        self.pump_calls(now);
    }

    /// What is so of a key now; none where there is nothing to keep.
    fn fact(&self, key: &Key) -> Option<String> {
        let id = self.fleet.id(&key.device)?;
        let device = self.fleet.device(id)?;
        match key.kind {
            RowKind::Desired => {
                let point = device.point(&key.name)?;
                self.fleet.point(point).desired.as_deref().map(json)
            }
            // Kept as it was asked for; as a fact it is gone.
            RowKind::Actual => None,
            RowKind::Event => {
                let event = self.saved_event(id, &key.name)?;
                Some(blob::pack_event(&device.uid, &event))
            }
        }
    }

    /// The store took a fact, or will not for a while: whoever waited for that
    /// goes on. An alarm is no answer: a full disk does not hold it back.
    fn fact_ended(&mut self, key: &Key, stored: bool, now: Now) {
        // It went on since the store got it: that has a turn of its own.
        if stored && self.saving.is_dirty(key) {
            return;
        }
        let Some(id) = self.fleet.id(&key.device) else {
            return;
        };
        match key.kind {
            RowKind::Desired => {
                let device = self.fleet.device(id);
                let Some(point) = device.and_then(|device| device.point(&key.name)) else {
                    return;
                };
                let Some(desired) = self.fleet.point_mut(point).desired.as_deref_mut() else {
                    return;
                };
                desired.kept = stored;
                let ended = desired.shown() != WriteState::Pending;
                if stored && desired.state == State::Announcing {
                    self.step_desired(point, &Event::Announced, now);
                }
                match stored && ended {
                    // Somebody waits for it.
                    true => self.touch_soon(id, now),
                    false => self.touch(id, now),
                }
            }
            RowKind::Actual => {}
            RowKind::Event => self.release_event(id, &key.name, now),
        }
    }

    /// An ask is on the disk: now it is so.
    fn granted(&mut self, ask: Ask, now: Now, written: &mut Vec<u32>) {
        let Ask {
            number,
            device: id,
            name,
            changes,
        } = ask;
        // It may have gone meanwhile, and another one may have its id.
        let there = self.fleet.device_if_there(id);
        if there.is_none_or(|device| device.name != name) {
            for change in changes {
                self.unkeep(&name, &change);
            }
            let reason = format!("device `{name}` is gone");
            return self.answer(number, Err(UpdateError { code: 404, reason }));
        }
        for change in changes {
            // The device may have been given other properties meanwhile.
            if self.fleet.point(change.point).device != id {
                self.unkeep(&name, &change);
                continue;
            }
            if let Some((value, time_ns)) = &change.actual {
                self.take_actual(change.point, value, *time_ns, now);
            }
            if let Some(value) = change.expected {
                let key = Key {
                    device: name.clone(),
                    kind: RowKind::Desired,
                    name: change.property,
                };
                // Checked by rules that are no more: the same text may mean
                // something else now, or nothing.
                let rules = &self.fleet.point(change.point).rules;
                let value = match Arc::ptr_eq(rules, &change.rules) {
                    true => value,
                    false => again(&value, rules.check(&key.name, &value.text)),
                };
                if self.take_local_desired(id, change.point, value, now) {
                    self.saving.settle(&key);
                    written.push(change.point);
                } else {
                    // What the disk has is not what counts.
                    self.saving.fact(key);
                }
            }
        }
        self.answer(number, Ok(id));
    }

    /// The store did not keep it: nothing of it happened.
    fn denied(&mut self, ask: &Ask, why: &str) {
        let reason = format!("not kept, nothing has changed: {why}");
        self.answer(ask.number, Err(UpdateError { code: 500, reason }));
    }

    fn answer(&mut self, number: u64, result: Result<u32, UpdateError>) {
        let twin = result.and_then(|id| {
            self.device_twin(id).ok_or_else(|| UpdateError {
                code: 404,
                reason: "the device is gone".to_owned(),
            })
        });
        self.out.updates.push((number, twin));
    }

    /// The store has a row of something that is no more.
    fn unkeep(&mut self, device: &DeviceName, change: &Change) {
        let kinds = [
            change.expected.is_some().then_some(RowKind::Desired),
            change.actual.is_some().then_some(RowKind::Actual),
        ];
        for kind in kinds.into_iter().flatten() {
            self.saving.fact(Key {
                device: device.clone(),
                kind,
                name: Arc::clone(&change.property),
            });
        }
    }

    /// A client measured by itself.
    fn take_actual(&mut self, id: u32, value: &Value, time_ns: i64, now: Now) {
        // The point takes raw values; a client speaks of the twin.
        let point = self.fleet.point(id);
        let raw = point
            .rules
            .invert(value, point.raw_whole)
            .and_then(|raw| {
                let former = point.raw.as_deref().copied().unwrap_or(0);
                point.rules.among(raw, former)
            })
            .unwrap_or_else(|_| value.clone());
        let reading = Reading {
            quality: Quality::Good,
            reason: Reason::None,
            source_time_ns: time_ns,
            value: Some(raw.borrow()),
            message: "",
        };
        self.one_reading(id, &reading, now);
    }
}

/// A desired value, judged anew.
fn again(value: &DesiredValue, target: Result<Value, Box<str>>) -> Box<DesiredValue> {
    let mut again = DesiredValue::new(&value.text, target, true, value.given_ms, value.version);
    again.of_device.clone_from(&value.of_device);
    Box::new(again)
}

fn row(key: &Key, json: Option<String>) -> Row {
    Row {
        kind: key.kind,
        device: key.device.to_string(),
        name: key.name.to_string(),
        json,
    }
}

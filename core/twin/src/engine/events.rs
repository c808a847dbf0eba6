//! Events of devices: looked at when readings came, told on the bus, kept.

use bytes::Bytes;
use longshore_types::{
    DeviceName, EffectiveDevice, Quality, Reason, Timestamp, Topic,
    device::EventReport,
    event::EventRule,
    expression::Term,
    method::{Method, json},
};
use serde_json::{Map, Value as Json};

use std::sync::Arc;

use super::{Engine, Now, saving::Key, view::shortened};
use crate::{
    blob::SavedEvent,
    events::{Event, Verdict, fill},
    outputs::{Retained, RowKind},
};

/// What a device can do beside its properties.
#[derive(Debug, Default)]
pub(super) struct Behavior {
    pub(super) events: Vec<Event>,
    pub(super) methods: Vec<Arc<Method>>,
}

impl Engine {
    /// Takes over a device's rules; an event that is still there stays as it is.
    pub(super) fn set_behavior(
        &mut self,
        id: u32,
        effective: &EffectiveDevice,
        mut saved: Vec<SavedEvent>,
        now: Now,
    ) {
        let Some(device) = self.fleet.device_mut(id) else {
            return;
        };
        let name = device.name.clone();
        let former = device.behavior.take().map(|b| b.events).unwrap_or_default();
        let (kept, gone): (Vec<_>, Vec<_>) = former.into_iter().partition(|event| {
            effective
                .events
                .iter()
                .any(|rule| rule.name == event.rule.name)
        });
        let mut kept = kept;
        let events: Vec<Event> = effective
            .events
            .iter()
            .map(|rule| same_event(rule, &mut kept, &mut saved))
            .collect();
        // Former versions kept them elsewhere.
        for event in events.iter().filter(|event| event.is_active()) {
            self.saving.fact(event_key(&name, &event.rule.name));
        }
        if !(events.is_empty() && effective.methods.is_empty()) {
            device.behavior = Some(Box::new(Behavior {
                events,
                methods: effective.methods.iter().cloned().map(Arc::new).collect(),
            }));
        }
        // What is retained of an event that is no more would stand for ever.
        for event in gone.iter().map(|event| &*event.rule.name) {
            self.forget_event(&name, event);
        }
        for event in &saved {
            self.forget_event(&name, &event.name);
        }
        self.look_at_events(id, now);
    }

    pub(super) fn forget_event(&mut self, device: &DeviceName, event: &str) {
        self.saving.fact(event_key(device, event));
        let topic = event_topic(device, event);
        self.out.retained.push(Retained {
            topic,
            payload: Bytes::new(),
            event: None,
        });
    }

    /// Evaluates the conditions of a device.
    pub(super) fn look_at_events(&mut self, id: u32, now: Now) {
        let Some(device) = self.fleet.device_mut(id) else {
            return;
        };
        let Some(mut behavior) = device.behavior.take() else {
            self.due.set_events(id, false);
            return;
        };
        let name = device.name.clone();
        let mut open = false;
        for event in &mut behavior.events {
            let lookup = |name: &str| self.known_value(id, name);
            let verdict = Verdict {
                when: event.rule.when.holds(&lookup).ok(),
                clear: event
                    .rule
                    .clear
                    .as_ref()
                    .and_then(|clear| clear.holds(&lookup).ok()),
            };
            if event.step(verdict, now) {
                self.counters.events += 1;
                self.saving.fact(event_key(&name, &event.rule.name));
                event.values = self.values_of(id, &event.rule).to_string();
                event.message = fill(&event.rule.message, |name| self.value_text(id, name));
            }
            if !event.held && std::mem::take(&mut event.unsent) {
                self.tell_event(id, event);
            }
            open |= event.is_waiting();
        }
        if let Some(device) = self.fleet.device_mut(id) {
            device.behavior = Some(behavior);
        }
        self.due.set_events(id, open);
    }

    /// The store has answered about an event: it may be told.
    pub(super) fn release_event(&mut self, id: u32, name: &str, now: Now) {
        let device = self.fleet.device_mut(id);
        let behavior = device.and_then(|device| device.behavior.as_mut());
        let mut events = behavior.into_iter().flat_map(|b| b.events.iter_mut());
        // It may have gone meanwhile.
        if let Some(event) = events.find(|event| *event.rule.name == *name) {
            event.held = false;
            self.look_at_events(id, now);
            self.touch_soon(id, now);
        }
    }

    /// Delays that pass, and what the bus did not take at once.
    pub(super) fn tick_events(&mut self, now: Now) {
        for id in self.due.events() {
            self.look_at_events(id, now);
        }
    }

    /// Whether clients can use the bus now. When it is there (again), what it
    /// keeps may be of another time, so each event is told anew.
    pub fn set_bus_ready(&mut self, ready: bool) {
        if ready && !std::mem::replace(&mut self.bus_was_ready, ready) {
            self.tell_all_events();
        }
        self.bus_was_ready = ready;
    }

    /// The bus had no room for this one: it is told again with the next tick.
    pub fn not_retained(&mut self, retained: Retained) {
        let Some((id, name)) = retained.event else {
            return;
        };
        // It may have gone between its event and the bus.
        let device = self.fleet.device_mut_if_there(id);
        let behavior = device.and_then(|device| device.behavior.as_mut());
        let mut events = behavior.into_iter().flat_map(|b| b.events.iter_mut());
        if let Some(event) = events.find(|event| *event.rule.name == *name) {
            event.unsent = true;
            self.due.set_events(id, true);
        }
    }

    /// Whether a device has events, of which the bus may have to be told again.
    pub fn has_events(&self) -> bool {
        let behaviors = self
            .fleet
            .devices()
            .filter_map(|(_, d)| d.behavior.as_ref());
        behaviors
            .into_iter()
            .any(|behavior| !behavior.events.is_empty())
    }

    fn tell_all_events(&mut self) {
        for (id, device) in self.fleet.devices_mut() {
            let behavior = device.behavior.as_mut();
            for event in behavior.into_iter().flat_map(|b| b.events.iter_mut()) {
                if event.since_ms != 0 {
                    event.unsent = true;
                    self.due.set_events(id, true);
                }
            }
        }
    }

    fn tell_event(&mut self, id: u32, event: &Event) {
        let Some(device) = self.fleet.device(id) else {
            return;
        };
        let mut payload = Map::new();
        payload.insert("timestamp".into(), event.since_ms.into());
        payload.insert("event".into(), (*event.rule.name).into());
        payload.insert("active".into(), event.is_active().into());
        payload.insert("severity".into(), event.rule.severity.as_str().into());
        payload.insert("message".into(), event.message.as_str().into());
        payload.insert(
            "values".into(),
            serde_json::from_str(&event.values).unwrap_or_default(),
        );
        let payload = Json::Object(payload).to_string();
        let topic = event_topic(&device.name, &event.rule.name);
        self.out.retained.push(Retained {
            topic,
            payload: payload.into(),
            event: Some((id, event.rule.name.as_ref().into())),
        });
    }

    /// A property's value, if it can be trusted so far that a condition may
    /// depend on it: neither bad nor of a former life.
    fn known_value(&self, id: u32, property: &str) -> Option<Term> {
        let point = self.fleet.property(id, property)?;
        let known = point.quality != Quality::Bad && point.reason != Reason::Stale;
        let value = point.value.as_ref().filter(|_| known)?;
        Some(Term::from(shortened(value, point.rules.single).borrow()))
    }

    fn value_text(&self, id: u32, property: &str) -> Option<String> {
        let point = self.fleet.property(id, property)?;
        let value = point.value.as_ref()?;
        Some(shortened(value, point.rules.single).to_string())
    }

    fn values_of(&self, id: u32, rule: &EventRule) -> Json {
        let mut values = Map::new();
        for name in rule.properties() {
            let value = self
                .known_value(id, name)
                .and_then(Term::into_value)
                .map_or(Json::Null, |value| json(&value));
            values.insert(name.to_owned(), value);
        }
        Json::Object(values)
    }

    /// The events that are or were active.
    pub(super) fn event_twins(&self, id: u32) -> Vec<EventReport> {
        let behavior = self.fleet.device(id).and_then(|d| d.behavior.as_ref());
        let events = behavior.into_iter().flat_map(|behavior| &behavior.events);
        events
            .filter(|event| event.since_ms != 0 && !event.held)
            .map(|event| EventReport {
                name: event.rule.name.to_string(),
                active: event.is_active(),
                severity: event.rule.severity,
                message: event.message.clone(),
                since: Some(Timestamp::from_millis(event.since_ms)),
            })
            .collect()
    }

    /// An event for the store; none where it is not active.
    pub(super) fn saved_event(&self, id: u32, name: &str) -> Option<SavedEvent> {
        let behavior = self.fleet.device(id)?.behavior.as_ref()?;
        let mut events = behavior.events.iter();
        let event = events.find(|event| event.is_active() && *event.rule.name == *name)?;
        Some(SavedEvent {
            name: event.rule.name.to_string(),
            since_ms: event.since_ms,
            message: event.message.clone(),
            values: event.values.clone(),
        })
    }
}

fn event_key(device: &DeviceName, event: &str) -> Key {
    Key {
        device: device.clone(),
        kind: RowKind::Event,
        name: event.into(),
    }
}

/// The event of this rule as it stood before, if it did.
fn same_event(rule: &EventRule, kept: &mut Vec<Event>, saved: &mut Vec<SavedEvent>) -> Event {
    if let Some(at) = kept.iter().position(|event| event.rule.name == rule.name) {
        let mut event = kept.swap_remove(at);
        event.rule = rule.clone();
        return event;
    }
    let mut event = Event::new(rule.clone());
    if let Some(at) = saved.iter().position(|saved| *saved.name == *rule.name) {
        let saved = saved.swap_remove(at);
        event.restore(saved.since_ms, saved.message, saved.values);
    }
    event
}

fn event_topic(device: &DeviceName, event: &str) -> Arc<str> {
    let topic = Topic::Event {
        device: device.clone(),
        event: event.into(),
    };
    topic.to_string().into()
}

//! What was really asked for: the simulator's evidence for tests.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::Value as Json;

use crate::service::Service;

/// So many writes and calls are remembered.
const REMEMBERED: usize = 10_000;

/// What happened at one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    /// Requests that came, answered or not.
    pub requests: u64,
    /// What they asked for: nodes, items, acknowledgements.
    pub operations: u64,
    /// The most operations in one request.
    pub largest: u64,
    /// Requests that were refused as a whole.
    pub refused: u64,
    /// Requests that a fault kept from a right answer.
    pub faults: u64,
}

/// One write that was carried out.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// The node, as the scenario names it.
    pub node: String,
    /// The new value.
    pub value: Json,
    /// When, since the simulator's start.
    pub at_ms: u64,
}

/// One call of a method.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Called {
    /// The method's node, as the scenario names it.
    pub method: String,
    /// Its arguments.
    pub arguments: Vec<Json>,
    /// When, since the simulator's start.
    pub at_ms: u64,
}

/// What is there now, and how often things began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Connections that are open.
    pub open: u64,
    /// Connections that were ever made.
    pub connections: u64,
    /// Sessions that are there, connected or not.
    pub sessions: u64,
    /// Sessions that were ever begun.
    pub sessions_created: u64,
    /// Subscriptions that are there.
    pub subscriptions: u64,
    /// Items that are there, in all subscriptions.
    pub monitored_items: u64,
    /// Notifications of values that were sent.
    pub notifications: u64,
    /// Values that a full queue lost.
    pub overflows: u64,
    /// How often an item was looked at, changed or not.
    pub looks: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) counts: BTreeMap<Service, Count>,
    pub(crate) writes: VecDeque<Write>,
    pub(crate) calls: VecDeque<Called>,
    pub(crate) connections: u64,
    pub(crate) sessions_created: u64,
    pub(crate) notifications: u64,
    pub(crate) overflows: u64,
    pub(crate) looks: u64,
}

impl Record {
    pub(crate) fn at(&mut self, service: Service) -> &mut Count {
        self.counts.entry(service).or_default()
    }

    pub(crate) fn operations(&mut self, service: Service, count: usize) {
        let row = self.at(service);
        row.operations += count as u64;
        row.largest = row.largest.max(count as u64);
    }

    pub(crate) fn wrote(&mut self, write: Write) {
        push(&mut self.writes, write);
    }

    pub(crate) fn called(&mut self, call: Called) {
        push(&mut self.calls, call);
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == REMEMBERED {
        queue.pop_front();
    }
    queue.push_back(item);
}

//! The simulator's own small HTTP face: look at the state, put faults in, move signals.
//!
//! Beside what all simulators have (`longshore_sim_world::control`):
//!
//! | request | does |
//! |---|---|
//! | `PUT /registers` | body: `{"unit": 1, "table": "holding", "address": 0, "values": [1, 2]}`. Sets registers or bits |

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use axum::{Router, extract::State, routing::put};
use longshore_sim_world::{
    FaultRule, World,
    control::{self, Body, Controlled, DONE, Done, Refusal},
};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::{table::Kind, unit::Devices};

pub(crate) fn router(devices: Arc<Devices>) -> Router {
    control::router()
        .route("/registers", put(set_registers))
        .with_state(devices)
}

impl Controlled for Devices {
    type Rule = FaultRule;

    fn world(&self) -> World {
        self.world.clone()
    }

    fn state(&self) -> Map<String, Json> {
        let unit = |unit: &crate::unit::Unit| {
            let sizes: BTreeMap<_, _> = unit.sizes().map(|(kind, n)| (kind.key(), n)).collect();
            json!({"unit": unit.id, "name": unit.name, "registers": sizes})
        };
        let units: Vec<_> = self.units().map(|guard| unit(&guard)).collect();
        Map::from_iter([
            ("units".to_owned(), json!(units)),
            ("counters".to_owned(), json!(self.counters())),
            ("line".to_owned(), json!(self.line_counters())),
            ("faults".to_owned(), json!(self.faults.list(Instant::now()))),
            ("writes".to_owned(), json!(self.writes())),
        ])
    }

    fn fault(&self, rule: FaultRule) {
        self.faults.add(rule, Instant::now());
    }

    fn clear_faults(&self) {
        self.faults.clear();
    }

    fn forget(&self) {
        Devices::forget(self);
    }
}

/// Registers as the device itself would change them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registers {
    unit: u8,
    table: Kind,
    address: u16,
    values: Vec<u16>,
}

async fn set_registers(State(devices): State<Arc<Devices>>, Body(wanted): Body<Registers>) -> Done {
    let unit = devices.unit(wanted.unit);
    let mut unit = unit.ok_or_else(|| Refusal::not_found(format!("no unit {}", wanted.unit)))?;
    let table = unit.table(wanted.table);
    let set = table.set(wanted.address, &wanted.values, &devices.world);
    set.ok_or_else(|| Refusal::not_found("no such registers"))??;
    Ok(DONE)
}

//! The simulator's own small HTTP face: look at the state, put faults in, move signals.
//!
//! Beside what all simulators have (`longshore_sim_world::control`):
//!
//! | request | does |
//! |---|---|
//! | `POST /noise` | body: `{"hex": "00 ff"}`, bytes that appear on all lines |
//! | `POST /vanish` | body: `{"forMs": 500}`: the ports go and come back |

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use longshore_sim_world::{
    FaultRule, Faults, World,
    control::{self, Body, DONE, Done, Refusal},
};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::server::{Order, Shared, order};
use crate::text;

/// What can be looked at and steered.
#[derive(Debug, Clone)]
pub(crate) struct Controlled {
    pub(crate) lines: Vec<Shared>,
    pub(crate) world: World,
    pub(crate) faults: Arc<Faults>,
}

pub(crate) fn router(state: Controlled) -> Router {
    control::router()
        .route("/noise", post(noise))
        .route("/vanish", post(vanish))
        .with_state(Arc::new(state))
}

impl control::Controlled for Controlled {
    type Rule = FaultRule;

    fn world(&self) -> World {
        self.world.clone()
    }

    fn state(&self) -> Map<String, Json> {
        let line = |line: &Shared| {
            let devices = &line.devices;
            let unit = |(unit, name): (u8, &str)| json!({"unit": unit, "name": name, "counters": devices.count(unit)});
            json!({
                "name": devices.name,
                "units": devices.units().map(unit).collect::<Vec<_>>(),
                "droppedBytes": devices.dropped(),
                "requests": devices.requests(),
                "writes": devices.writes(),
            })
        };
        let faults = self.faults.list(Instant::now());
        Map::from_iter([
            ("lines".to_owned(), self.lines.iter().map(line).collect()),
            ("faults".to_owned(), json!(faults)),
        ])
    }

    fn fault(&self, rule: FaultRule) {
        self.faults.add(rule, Instant::now());
    }

    fn clear_faults(&self) {
        self.faults.clear();
    }

    fn forget(&self) {
        for line in &self.lines {
            line.devices.forget();
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Noise {
    hex: String,
}

async fn noise(State(state): State<Arc<Controlled>>, Body(noise): Body<Noise>) -> Done {
    let bytes = text::hex(&noise.hex).map_err(Refusal::bad_request)?;
    order(&state.lines, &Order::Noise(bytes));
    Ok(DONE)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Vanish {
    for_ms: u64,
}

async fn vanish(State(state): State<Arc<Controlled>>, Body(vanish): Body<Vanish>) -> StatusCode {
    let away = Duration::from_millis(vanish.for_ms);
    order(&state.lines, &Order::Vanish(away));
    DONE
}

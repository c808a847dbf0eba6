//! The simulator's own small HTTP face: look at the state, put faults in, move signals.
//!
//! | request | does |
//! |---|---|
//! | `GET /state` | signals, units, counters, faults in force, latest writes |
//! | `GET /signals` | all signals with their values |
//! | `PUT /signals/NAME` | body: a number. Sets a setpoint, holds any other signal |
//! | `DELETE /signals/NAME` | lets a held signal go |
//! | `PUT /registers` | body: `{"unit": 1, "table": "holding", "address": 0, "values": [1, 2]}`. Sets registers or bits |
//! | `POST /faults` | body: a fault rule, like `{"fault": "unresponsive", "unit": 1}` |
//! | `DELETE /faults` | ends all faults |
//! | `DELETE /counters` | forgets counters and writes |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use longshore_sim_world::{FaultRule, SetError};
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::table::Kind;
use crate::unit::Devices;

type Shared = State<Arc<Devices>>;

/// Serves until the simulator stops.
pub(crate) async fn serve(
    listener: TcpListener,
    devices: Arc<Devices>,
    mut stop: watch::Receiver<bool>,
) {
    let router = Router::new()
        .route("/state", get(state))
        .route("/signals", get(signals))
        .route("/signals/{name}", put(set_signal).delete(release_signal))
        .route("/registers", put(set_registers))
        .route("/faults", post(add_fault).delete(clear_faults))
        .route("/counters", delete(forget))
        .with_state(devices);
    tokio::select! {
        _ = stop.changed() => {}
        ended = axum::serve(listener, router).into_future() => {
            if let Err(error) = ended {
                tracing::error!(%error, "the control listener broke");
            }
        }
    }
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn refuse(status: StatusCode, reason: &impl ToString) -> Response {
    answer(status, &json!({"error": reason.to_string()}))
}

async fn state(State(devices): Shared) -> Response {
    let signals: BTreeMap<String, f64> = devices
        .world
        .signals()
        .into_iter()
        .map(|s| (s.name, s.value))
        .collect();
    let units: Vec<_> = devices
        .units()
        .map(|unit| {
            let sizes: BTreeMap<_, _> = unit.sizes().map(|(kind, n)| (kind.key(), n)).collect();
            json!({"unit": unit.id, "name": unit.name, "registers": sizes})
        })
        .collect();
    answer(
        StatusCode::OK,
        &json!({
            "signals": signals,
            "units": units,
            "counters": devices.counters(),
            "line": devices.line_counters(),
            "faults": devices.faults.list(Instant::now()),
            "writes": devices.writes(),
        }),
    )
}

async fn signals(State(devices): Shared) -> Response {
    answer(StatusCode::OK, &devices.world.signals())
}

async fn set_signal(State(devices): Shared, Path(name): Path<String>, body: Bytes) -> Response {
    let value: f64 = match serde_json::from_slice(&body) {
        Ok(value) => value,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    let world = &devices.world;
    let result = match world.set(&name, value) {
        Err(SetError::NotSettable(_)) => world.force(&name, Some(value)),
        result => result,
    };
    set_result(result)
}

async fn release_signal(State(devices): Shared, Path(name): Path<String>) -> Response {
    set_result(devices.world.force(&name, None))
}

/// Registers as the device itself would change them.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Registers {
    unit: u8,
    table: Kind,
    address: u16,
    values: Vec<u16>,
}

async fn set_registers(State(devices): Shared, body: Bytes) -> Response {
    let wanted: Registers = match serde_json::from_slice(&body) {
        Ok(wanted) => wanted,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    let Some(mut unit) = devices.unit(wanted.unit) else {
        return refuse(StatusCode::NOT_FOUND, &format!("no unit {}", wanted.unit));
    };
    match unit
        .table(wanted.table)
        .set(wanted.address, &wanted.values, &devices.world)
    {
        Some(result) => set_result(result),
        None => refuse(StatusCode::NOT_FOUND, &"no such registers"),
    }
}

fn set_result(result: Result<(), SetError>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error @ SetError::Unknown(_)) => refuse(StatusCode::NOT_FOUND, &error),
        Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &error),
    }
}

async fn add_fault(State(devices): Shared, body: Bytes) -> Response {
    match serde_json::from_slice::<FaultRule>(&body) {
        Ok(rule) => {
            devices.faults.add(rule, Instant::now());
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error),
    }
}

async fn clear_faults(State(devices): Shared) -> Response {
    devices.faults.clear();
    StatusCode::NO_CONTENT.into_response()
}

async fn forget(State(devices): Shared) -> Response {
    devices.forget();
    StatusCode::NO_CONTENT.into_response()
}

//! The simulator's own small HTTP face: look at the state, put faults in, move signals.
//!
//! | request | does |
//! |---|---|
//! | `GET /state` | signals, units, counters, faults in force, latest requests and writes |
//! | `GET /signals` | all signals with their values |
//! | `PUT /signals/NAME` | body: a number. Sets a setpoint, holds any other signal |
//! | `DELETE /signals/NAME` | lets a held signal go |
//! | `POST /faults` | body: a fault rule, like `{"fault": "unresponsive", "unit": 1}` |
//! | `DELETE /faults` | ends all faults |
//! | `POST /noise` | body: `{"hex": "00 ff"}`, bytes that appear on all lines |
//! | `POST /vanish` | body: `{"forMs": 500}`: the ports go and come back |
//! | `DELETE /counters` | forgets counters, requests and writes |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use longshore_sim_world::{FaultRule, Faults, SetError, World};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::server::{Order, Shared};
use crate::text;

/// What can be looked at and steered.
#[derive(Debug, Clone)]
pub(crate) struct Controlled {
    pub(crate) lines: Vec<Shared>,
    pub(crate) world: World,
    pub(crate) faults: Arc<Faults>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Noise {
    hex: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Vanish {
    for_ms: u64,
}

/// Serves until the simulator stops.
pub(crate) async fn serve(
    listener: TcpListener,
    state: Controlled,
    mut stop: watch::Receiver<bool>,
) {
    let router = Router::new()
        .route("/state", get(show))
        .route("/signals", get(signals))
        .route("/signals/{name}", put(set_signal).delete(release_signal))
        .route("/faults", post(add_fault).delete(clear_faults))
        .route("/noise", post(noise))
        .route("/vanish", post(vanish))
        .route("/counters", delete(forget))
        .with_state(state);
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
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

async fn show(State(state): State<Controlled>) -> Response {
    let signals: BTreeMap<_, _> = state
        .world
        .signals()
        .into_iter()
        .map(|signal| (signal.name, signal.value))
        .collect();
    let lines: Vec<_> = state
        .lines
        .iter()
        .map(|line| {
            let devices = &line.devices;
            let units: Vec<_> = devices
                .units()
                .map(|(unit, name)| {
                    json!({"unit": unit, "name": name, "counters": devices.count(unit)})
                })
                .collect();
            json!({
                "name": devices.name,
                "units": units,
                "droppedBytes": devices.dropped(),
                "requests": devices.requests(),
                "writes": devices.writes(),
            })
        })
        .collect();
    let faults = state.faults.list(Instant::now());
    answer(
        StatusCode::OK,
        &json!({"signals": signals, "lines": lines, "faults": faults}),
    )
}

async fn signals(State(state): State<Controlled>) -> Response {
    answer(StatusCode::OK, &state.world.signals())
}

async fn set_signal(
    State(state): State<Controlled>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let value: f64 = match serde_json::from_slice(&body) {
        Ok(value) => value,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    let result = match state.world.set(&name, value) {
        Err(SetError::NotSettable(_)) => state.world.force(&name, Some(value)),
        result => result,
    };
    set_result(result)
}

async fn release_signal(State(state): State<Controlled>, Path(name): Path<String>) -> Response {
    set_result(state.world.force(&name, None))
}

fn set_result(result: Result<(), SetError>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error @ SetError::Unknown(_)) => refuse(StatusCode::NOT_FOUND, &error),
        Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &error),
    }
}

async fn add_fault(State(state): State<Controlled>, body: Bytes) -> Response {
    match serde_json::from_slice::<FaultRule>(&body) {
        Ok(rule) => {
            state.faults.add(rule, Instant::now());
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error),
    }
}

async fn clear_faults(State(state): State<Controlled>) -> Response {
    state.faults.clear();
    StatusCode::NO_CONTENT.into_response()
}

async fn noise(State(state): State<Controlled>, body: Bytes) -> Response {
    let noise = serde_json::from_slice::<Noise>(&body).map_err(|error| error.to_string());
    match noise.and_then(|noise| text::hex(&noise.hex)) {
        Ok(bytes) => order(&state, &Order::Noise(bytes)),
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error),
    }
}

async fn vanish(State(state): State<Controlled>, body: Bytes) -> Response {
    match serde_json::from_slice::<Vanish>(&body) {
        Ok(vanish) => order(&state, &Order::Vanish(Duration::from_millis(vanish.for_ms))),
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error),
    }
}

fn order(state: &Controlled, order: &Order) -> Response {
    for line in &state.lines {
        // A line that nobody serves has nobody to hear it.
        let _ = line.orders.send(order.clone());
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn forget(State(state): State<Controlled>) -> Response {
    for line in &state.lines {
        line.devices.forget();
    }
    StatusCode::NO_CONTENT.into_response()
}

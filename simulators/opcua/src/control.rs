//! The simulator's own small HTTP face: look at the state, put faults in, move
//! signals and nodes. What it has in common with the other simulators has the
//! same words there.
//!
//! | request | does |
//! |---|---|
//! | `GET /state` | signals, values, counters, faults in force, latest writes and calls |
//! | `GET /signals` | all signals with their values |
//! | `PUT /signals/NAME` | body: a number. Sets a setpoint, holds any other signal |
//! | `DELETE /signals/NAME` | lets a held signal go |
//! | `POST /faults` | body: a fault rule, like `{"fault": "unresponsive", "service": "read"}` |
//! | `DELETE /faults` | ends all faults |
//! | `DELETE /counters` | forgets counters, writes and calls |
//! | `GET /nodes/ID` | the value of a variable, named as in the scenario |
//! | `PUT /nodes/ID` | body: its new value |
//! | `PUT /nodes/ID/status` | body: a status, like `"BadSensorFailure"`; `"Good"` takes it back |
//! | `DELETE /nodes/ID` | takes the node away |
//! | `POST /nodes/ID` | brings it back |
//! | `DELETE /connections` | drops all connections; sessions stay |
//! | `DELETE /sessions` | forgets all sessions and subscriptions; connections stay |
//! | `POST /restart` | body: `{}`, or `downMs` and `namespaces` in their new order |

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use longshore_sim_world::SetError;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::fault::FaultRule;
use crate::simulator::{Handle, NodeError};
use crate::status::StatusCode as UaStatus;
use crate::time::Now;

/// More values than these are too many to look at; ask for one by its id.
const VALUES_SHOWN: usize = 1000;

/// Serves until the simulator stops.
pub(crate) async fn serve(listener: TcpListener, handle: Handle, mut stop: watch::Receiver<bool>) {
    let router = Router::new()
        .route("/state", get(state))
        .route("/signals", get(signals))
        .route("/signals/{name}", put(set_signal).delete(release_signal))
        .route("/faults", post(add_fault).delete(clear_faults))
        .route("/counters", delete(forget))
        .route(
            "/nodes/{id}",
            get(value)
                .put(set_value)
                .delete(delete_node)
                .post(create_node),
        )
        .route("/nodes/{id}/status", put(set_status))
        .route("/connections", delete(drop_connections))
        .route("/sessions", delete(drop_sessions))
        .route("/restart", post(restart))
        .with_state(handle);
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

fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// The body of a request as JSON, or the refusal.
fn body<T: for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, Box<Response>> {
    serde_json::from_slice(body).map_err(|error| Box::new(refuse(StatusCode::BAD_REQUEST, &error)))
}

async fn state(State(handle): State<Handle>) -> Response {
    let signals: BTreeMap<String, f64> = handle
        .world
        .signals()
        .into_iter()
        .map(|s| (s.name, s.value))
        .collect();
    let totals = handle.totals();
    let mut core = handle.shared.core();
    let names: Vec<_> = core.space.names.clone().into_iter().collect();
    let mut values = serde_json::Map::new();
    for (name, id) in names.into_iter().take(VALUES_SHOWN) {
        if let Some(value) = core.space.peek(&id, Now::read()) {
            let json = value.to_json(&|scalar| core.space.types.to_json(scalar));
            values.insert(name, json);
        }
    }
    answer(
        StatusCode::OK,
        &json!({
            "signals": signals,
            "namespaces": core.space.namespaces,
            "values": values,
            "totals": totals,
            "counters": core.record.counts,
            "faults": core.faults.list(Instant::now()),
            "writes": core.record.writes,
            "calls": core.record.calls,
        }),
    )
}

async fn signals(State(handle): State<Handle>) -> Response {
    answer(StatusCode::OK, &handle.world.signals())
}

async fn set_signal(
    State(handle): State<Handle>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Response {
    let number: f64 = match body(&bytes) {
        Ok(number) => number,
        Err(refusal) => return *refusal,
    };
    let result = match handle.world.set(&name, number) {
        Err(SetError::NotSettable(_)) => handle.world.force(&name, Some(number)),
        result => result,
    };
    signal_result(result)
}

async fn release_signal(State(handle): State<Handle>, Path(name): Path<String>) -> Response {
    signal_result(handle.world.force(&name, None))
}

fn signal_result(result: Result<(), SetError>) -> Response {
    match result {
        Ok(()) => nothing(),
        Err(error @ SetError::Unknown(_)) => refuse(StatusCode::NOT_FOUND, &error),
        Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &error),
    }
}

async fn add_fault(State(handle): State<Handle>, bytes: Bytes) -> Response {
    match body::<FaultRule>(&bytes) {
        Ok(rule) => {
            handle.fault(rule);
            nothing()
        }
        Err(refusal) => *refusal,
    }
}

async fn clear_faults(State(handle): State<Handle>) -> Response {
    handle.shared.with(|core| core.faults.clear());
    nothing()
}

async fn forget(State(handle): State<Handle>) -> Response {
    handle.shared.core().record = Default::default();
    nothing()
}

fn node_result(result: Result<(), NodeError>) -> Response {
    match result {
        Ok(()) => nothing(),
        Err(error @ NodeError::Unknown(_)) => refuse(StatusCode::NOT_FOUND, &error),
        Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &error),
    }
}

async fn value(State(handle): State<Handle>, Path(id): Path<String>) -> Response {
    match handle.value(&id) {
        Ok(value) => answer(StatusCode::OK, &value),
        Err(error) => refuse(StatusCode::NOT_FOUND, &error),
    }
}

async fn set_value(State(handle): State<Handle>, Path(id): Path<String>, bytes: Bytes) -> Response {
    match body::<Json>(&bytes) {
        Ok(value) => node_result(handle.set(&id, &value)),
        Err(refusal) => *refusal,
    }
}

async fn set_status(
    State(handle): State<Handle>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Response {
    match body::<UaStatus>(&bytes) {
        Ok(status) => node_result(handle.status(&id, status)),
        Err(refusal) => *refusal,
    }
}

async fn delete_node(State(handle): State<Handle>, Path(id): Path<String>) -> Response {
    node_result(handle.delete(&id))
}

async fn create_node(State(handle): State<Handle>, Path(id): Path<String>) -> Response {
    node_result(handle.create(&id))
}

async fn drop_connections(State(handle): State<Handle>) -> Response {
    handle.drop_connections();
    nothing()
}

async fn drop_sessions(State(handle): State<Handle>) -> Response {
    handle.drop_sessions();
    nothing()
}

/// How to restart.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Restart {
    down_ms: u64,
    namespaces: Option<Vec<String>>,
}

async fn restart(State(handle): State<Handle>, bytes: Bytes) -> Response {
    let Restart {
        down_ms,
        namespaces,
    } = match body(&bytes) {
        Ok(restart) => restart,
        Err(refusal) => return *refusal,
    };
    let down = Duration::from_millis(down_ms);
    match handle.restart(down, namespaces).await {
        Ok(()) => nothing(),
        Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &error),
    }
}

//! The simulator's own small HTTP face: look at the state, put faults in, move signals.
//!
//! | request | does |
//! |---|---|
//! | `GET /state` | signals, devices, adapters, counters, faults in force, writes |
//! | `GET /signals` | all signals with their values |
//! | `PUT /signals/NAME` | body: a number. Sets a setpoint, holds any other signal |
//! | `DELETE /signals/NAME` | lets a held signal go |
//! | `POST /faults` | body: a fault rule, like `{"fault": "unresponsive", "device": "A4:C1:38:00:00:01"}` |
//! | `DELETE /faults` | ends all faults |
//! | `POST /actions` | body: `{"do": "disconnect", "device": …}`, also `forget` and `changeServices`; `{"do": "plug", "adapter": "hci0"}`, also `pull`, `powerOn` and `powerOff`; `{"do": "end"}` and `begin` of bluetoothd |
//! | `DELETE /counters` | forgets counters and writes |

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use longshore_sim_world::SetError;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use crate::{fault::FaultRule, model::Counters, server::Server, simulator::DeviceState};

type Shared = State<Arc<Server>>;

/// Serves until the simulator stops.
pub(crate) async fn serve(
    listener: TcpListener,
    server: Arc<Server>,
    mut stop: watch::Receiver<bool>,
) {
    let router = Router::new()
        .route("/state", get(state))
        .route("/signals", get(signals))
        .route("/signals/{name}", put(set_signal).delete(release_signal))
        .route("/faults", post(add_fault).delete(clear_faults))
        .route("/actions", post(act))
        .route("/counters", delete(forget))
        .with_state(server);
    tokio::select! {
        _ = stop.changed() => {}
        ended = axum::serve(listener, router).into_future() => {
            if let Err(error) = ended {
                tracing::error!(%error, "the control listener broke");
            }
        }
    }
}

pub(crate) fn devices(server: &Server) -> Vec<DeviceState> {
    let model = server.model();
    model
        .devices
        .iter()
        .map(|device| {
            let all = device
                .services
                .iter()
                .flat_map(|service| &service.characteristics);
            DeviceState {
                address: device.spec.address.clone(),
                name: device.spec.name.clone(),
                known: device.known,
                connected: device.connected,
                paired: device.paired,
                notifying: all
                    .filter(|characteristic| !characteristic.subscribers.is_empty())
                    .map(|characteristic| characteristic.uuid.clone())
                    .collect(),
            }
        })
        .collect()
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

async fn state(State(server): Shared) -> Response {
    let devices = devices(&server);
    let faults = server.faults.list();
    let model = server.model();
    let signals: BTreeMap<String, f64> = model
        .world
        .signals()
        .into_iter()
        .map(|signal| (signal.name, signal.value))
        .collect();
    let adapters: BTreeMap<_, _> = model
        .adapters
        .values()
        .map(|adapter| {
            let state = json!({
                "present": adapter.present,
                "powered": adapter.powered,
                "discovering": !adapter.sessions.is_empty(),
            });
            (adapter.spec.name.clone(), state)
        })
        .collect();
    let body = json!({
        "signals": signals,
        "adapters": adapters,
        "devices": devices,
        "counters": model.counters,
        "faults": faults,
        "writes": model.writes,
    });
    drop(model);
    answer(StatusCode::OK, &body)
}

async fn signals(State(server): Shared) -> Response {
    let world = server.model().world.clone();
    answer(StatusCode::OK, &world.signals())
}

async fn set_signal(State(server): Shared, Path(name): Path<String>, body: Bytes) -> Response {
    let value: f64 = match serde_json::from_slice(&body) {
        Ok(value) => value,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    let world = server.model().world.clone();
    let result = match world.set(&name, value) {
        Err(SetError::NotSettable(_)) => world.force(&name, Some(value)),
        result => result,
    };
    set_result(result)
}

async fn release_signal(State(server): Shared, Path(name): Path<String>) -> Response {
    let world = server.model().world.clone();
    set_result(world.force(&name, None))
}

fn set_result(result: Result<(), SetError>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error @ SetError::Unknown(_)) => refuse(StatusCode::NOT_FOUND, &error),
        Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &error),
    }
}

async fn add_fault(State(server): Shared, body: Bytes) -> Response {
    match serde_json::from_slice::<FaultRule>(&body) {
        Ok(rule) => {
            server.faults.add(rule, Instant::now());
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error),
    }
}

async fn clear_faults(State(server): Shared) -> Response {
    server.faults.clear();
    StatusCode::NO_CONTENT.into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Action {
    #[serde(rename = "do")]
    what: What,
    #[serde(default)]
    device: Option<String>,
    #[serde(default)]
    adapter: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum What {
    Disconnect,
    Forget,
    ChangeServices,
    Plug,
    Pull,
    PowerOn,
    PowerOff,
    End,
    Begin,
}

async fn act(State(server): Shared, body: Bytes) -> Response {
    let action: Action = match serde_json::from_slice(&body) {
        Ok(action) => action,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error),
    };
    let device = action.device.as_ref().and_then(|name| {
        let model = server.model();
        let index = model.devices.iter().position(|device| device.is(name))?;
        Some((index, model.devices[index].path.clone()))
    });
    let adapter = format!("/org/bluez/{}", action.adapter.as_deref().unwrap_or("hci0"));
    match (action.what, device) {
        (What::Disconnect, Some((index, _))) => server.disconnect(index).await,
        (What::ChangeServices, Some((index, _))) => server.change_services(index).await,
        (What::Forget, Some((_, path))) => server.forget(&path).await,
        (What::Disconnect | What::ChangeServices | What::Forget, None) => {
            return refuse(StatusCode::NOT_FOUND, &"no such device");
        }
        (What::Plug, _) => server.plug(&adapter, true).await,
        (What::Pull, _) => server.plug(&adapter, false).await,
        (What::PowerOn, _) => server.power(&adapter, true).await,
        (What::PowerOff, _) => server.power(&adapter, false).await,
        (What::End, _) => server.end().await,
        (What::Begin, _) => server.begin().await,
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn forget(State(server): Shared) -> Response {
    let mut model = server.model();
    model.counters = Counters::default();
    model.writes.clear();
    StatusCode::NO_CONTENT.into_response()
}

//! The simulator's own small HTTP face: look at the state, put faults in, move
//! signals and nodes.
//!
//! Beside what all simulators have (`longshore_sim_world::control`):
//!
//! | request | does |
//! |---|---|
//! | `GET /nodes/ID` | the value of a variable, named as in the scenario |
//! | `PUT /nodes/ID` | body: its new value |
//! | `PUT /nodes/ID/status` | body: a status, like `"BadSensorFailure"`; `"Good"` takes it back |
//! | `DELETE /nodes/ID` | takes the node away |
//! | `POST /nodes/ID` | brings it back |
//! | `DELETE /connections` | drops all connections; sessions stay |
//! | `DELETE /sessions` | forgets all sessions and subscriptions; connections stay |
//! | `POST /restart` | body: `{}`, or `downMs` and `namespaces` in their new order |

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::{delete, get, post, put},
};
use longshore_sim_world::{
    World,
    control::{self, Body, Controlled, DONE, Done, Refusal, answer},
};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::fault::FaultRule;
use crate::simulator::{Handle, NodeError};
use crate::status::StatusCode as UaStatus;
use crate::time::Now;

/// More values than these are too many to look at; ask for one by its id.
const VALUES_SHOWN: usize = 1000;

pub(crate) fn router(handle: Handle) -> Router {
    control::router()
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
        .with_state(Arc::new(handle))
}

impl Controlled for Handle {
    type Rule = FaultRule;

    fn world(&self) -> World {
        self.world.clone()
    }

    fn state(&self) -> Map<String, Json> {
        let totals = self.totals();
        let mut core = self.shared.core();
        let names: Vec<_> = core.space.names.clone().into_iter().collect();
        let mut values = Map::new();
        for (name, id) in names.into_iter().take(VALUES_SHOWN) {
            if let Some(value) = core.space.peek(&id, Now::read()) {
                let json = value.to_json(&|scalar| core.space.types.to_json(scalar));
                values.insert(name, json);
            }
        }
        Map::from_iter([
            ("namespaces".to_owned(), json!(core.space.namespaces)),
            ("values".to_owned(), Json::Object(values)),
            ("totals".to_owned(), json!(totals)),
            ("counters".to_owned(), json!(core.record.counts)),
            ("faults".to_owned(), json!(core.faults.list(Instant::now()))),
            ("writes".to_owned(), json!(core.record.writes)),
            ("calls".to_owned(), json!(core.record.calls)),
        ])
    }

    fn fault(&self, rule: FaultRule) {
        Handle::fault(self, rule);
    }

    fn clear_faults(&self) {
        self.shared.with(|core| core.faults.clear());
    }

    fn forget(&self) {
        self.shared.core().record = Default::default();
    }
}

impl From<NodeError> for Refusal {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Unknown(_) => Self::not_found(error),
            NodeError::Value { .. } => Self::unprocessable(error),
        }
    }
}

async fn value(
    State(handle): State<Arc<Handle>>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    Ok(answer(&handle.value(&id)?))
}

async fn set_value(
    State(handle): State<Arc<Handle>>,
    Path(id): Path<String>,
    Body(value): Body<Json>,
) -> Done {
    handle.set(&id, &value)?;
    Ok(DONE)
}

async fn set_status(
    State(handle): State<Arc<Handle>>,
    Path(id): Path<String>,
    Body(status): Body<UaStatus>,
) -> Done {
    handle.status(&id, status)?;
    Ok(DONE)
}

async fn delete_node(State(handle): State<Arc<Handle>>, Path(id): Path<String>) -> Done {
    handle.delete(&id)?;
    Ok(DONE)
}

async fn create_node(State(handle): State<Arc<Handle>>, Path(id): Path<String>) -> Done {
    handle.create(&id)?;
    Ok(DONE)
}

async fn drop_connections(State(handle): State<Arc<Handle>>) -> StatusCode {
    handle.drop_connections();
    DONE
}

async fn drop_sessions(State(handle): State<Arc<Handle>>) -> StatusCode {
    handle.drop_sessions();
    DONE
}

/// How to restart.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Restart {
    down_ms: u64,
    namespaces: Option<Vec<String>>,
}

async fn restart(State(handle): State<Arc<Handle>>, Body(how): Body<Restart>) -> Done {
    let down = Duration::from_millis(how.down_ms);
    let restarted = handle.restart(down, how.namespaces).await;
    restarted.map_err(Refusal::unprocessable)?;
    Ok(DONE)
}

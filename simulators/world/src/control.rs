//! The small HTTP face of every simulator: look at its state, put faults in,
//! move signals.
//!
//! | request | does |
//! |---|---|
//! | `GET /state` | signals, and what the simulator tells of itself |
//! | `GET /signals` | all signals with their values |
//! | `PUT /signals/NAME` | body: a number. Sets a setpoint, holds any other signal |
//! | `DELETE /signals/NAME` | lets a held signal go |
//! | `POST /faults` | body: a fault rule, like `{"fault": "unresponsive", "unit": 1}` |
//! | `DELETE /faults` | ends all faults |
//! | `DELETE /counters` | forgets what was counted and recorded |
//!
//! A simulator adds routes for what only its protocol has.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequest, Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value as Json, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{SetError, World};

/// What can be looked at and steered.
pub trait Controlled: Send + Sync + 'static {
    /// A fault with its limits.
    type Rule: DeserializeOwned + Send;

    /// Its signals.
    fn world(&self) -> World;

    /// What it tells of itself beside its signals.
    fn state(&self) -> Map<String, Json>;

    /// Puts a fault into force.
    fn fault(&self, rule: Self::Rule);

    /// Ends all faults.
    fn clear_faults(&self);

    /// Forgets counters and records; values and faults stay.
    fn forget(&self);
}

/// The routes that all simulators have.
pub fn router<C: Controlled>() -> Router<Arc<C>> {
    Router::new()
        .route("/state", get(state::<C>))
        .route("/signals", get(signals::<C>))
        .route(
            "/signals/{name}",
            put(set_signal::<C>).delete(release_signal::<C>),
        )
        .route("/faults", post(add_fault::<C>).delete(clear_faults::<C>))
        .route("/counters", delete(forget::<C>))
}

/// A refused request: a status, and the reason in the body.
#[derive(Debug)]
pub struct Refusal(StatusCode, String);

impl Refusal {
    /// What the request names is not there.
    pub fn not_found(reason: impl ToString) -> Self {
        Self(StatusCode::NOT_FOUND, reason.to_string())
    }

    /// The request cannot be read.
    pub fn bad_request(reason: impl ToString) -> Self {
        Self(StatusCode::BAD_REQUEST, reason.to_string())
    }

    /// It can be read, but what it asks for does not work.
    pub fn unprocessable(reason: impl ToString) -> Self {
        Self(StatusCode::UNPROCESSABLE_ENTITY, reason.to_string())
    }
}

impl From<SetError> for Refusal {
    fn from(error: SetError) -> Self {
        match error {
            SetError::Unknown(_) => Self::not_found(error),
            _ => Self::unprocessable(error),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = answer(&json!({"error": self.1}));
        *response.status_mut() = self.0;
        response
    }
}

/// What a request that gives nothing back comes to: 204, or a refusal.
pub type Done = Result<StatusCode, Refusal>;

/// It is done, and there is nothing to say.
pub const DONE: StatusCode = StatusCode::NO_CONTENT;

/// An answer in JSON.
pub fn answer(body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The body of a request, JSON whatever its head says: so `curl -d` is enough.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(IntoResponse::into_response)?;
        let body = serde_json::from_slice(&bytes);
        body.map(Self)
            .map_err(|error| Refusal::bad_request(error).into_response())
    }
}

async fn state<C: Controlled>(State(of): State<Arc<C>>) -> Response {
    let signals: BTreeMap<String, f64> = of
        .world()
        .signals()
        .into_iter()
        .map(|signal| (signal.name, signal.value))
        .collect();
    let mut body = Map::new();
    body.insert("signals".to_owned(), json!(signals));
    body.append(&mut of.state());
    answer(&body)
}

async fn signals<C: Controlled>(State(of): State<Arc<C>>) -> Response {
    answer(&of.world().signals())
}

async fn set_signal<C: Controlled>(
    State(of): State<Arc<C>>,
    Path(name): Path<String>,
    Body(value): Body<f64>,
) -> Done {
    let world = of.world();
    match world.set(&name, value) {
        Err(SetError::NotSettable(_)) => world.force(&name, Some(value))?,
        result => result?,
    }
    Ok(DONE)
}

async fn release_signal<C: Controlled>(State(of): State<Arc<C>>, Path(name): Path<String>) -> Done {
    of.world().force(&name, None)?;
    Ok(DONE)
}

async fn add_fault<C: Controlled>(
    State(of): State<Arc<C>>,
    Body(rule): Body<C::Rule>,
) -> StatusCode {
    of.fault(rule);
    DONE
}

async fn clear_faults<C: Controlled>(State(of): State<Arc<C>>) -> StatusCode {
    of.clear_faults();
    DONE
}

async fn forget<C: Controlled>(State(of): State<Arc<C>>) -> StatusCode {
    of.forget();
    DONE
}

/// One request to such a face, as tests make it: status and body, `null` where
/// that is no JSON.
///
/// # Errors
/// Nobody answers, or what comes is no HTTP.
pub async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> io::Result<(u16, Json)> {
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: sim\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "the answer is no HTTP");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(strange)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let body = serde_json::from_str(body).unwrap_or(Json::Null);
    Ok((status.ok_or_else(strange)?, body))
}

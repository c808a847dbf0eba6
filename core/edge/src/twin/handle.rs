//! How the rest of `edgecore` talks to the twin engine: a bounded queue of
//! requests, each answered once.

use std::sync::Arc;

use longshore_types::{DeviceName, Fault, Quality, Reason, Value, event::Severity};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait for the engine; callers wait when it is full.
const QUEUE: usize = 64;

/// A device with all of its twins, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceTwin {
    /// Namespace and name.
    pub name: DeviceName,
    /// The Device object's uid, if the API server gave one.
    pub uid: String,
    /// Tells which objects the edge has made up its mind about, for the hub.
    pub fingerprint: u64,
    /// Whether it answers.
    pub state: DeviceState,
    /// When it last gave a good reading (ms since the epoch).
    pub last_online_ms: Option<i64>,
    /// What an operator should know.
    pub conditions: Vec<Condition>,
    /// Faults of its configuration, and doubts about it, at their key paths.
    pub warnings: Vec<Fault>,
    /// Events that are active, and those that were.
    pub events: Vec<EventTwin>,
    /// The properties, in the order of the Device.
    pub properties: Vec<PropertyTwin>,
}

/// An event of a device that is active, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTwin {
    /// Its name.
    pub name: String,
    /// Whether it is active.
    pub active: bool,
    /// How bad it is.
    pub severity: Severity,
    /// For people, as it was when it turned.
    pub message: String,
    /// When it turned (ms since the epoch).
    pub since_ms: i64,
}

/// One property of a device at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct PropertyTwin {
    /// Name of the property.
    pub name: Arc<str>,
    /// The model's type: `INT`, `FLOAT`, `DOUBLE`, `STRING`, `BOOLEAN`, `BYTES`.
    pub kind: &'static str,
    /// Whether it may be written.
    pub writable: bool,
    /// Whether the cloud wants it.
    pub report_to_cloud: bool,
    /// The last usable value.
    pub value: Option<Value>,
    /// How far to trust it.
    pub quality: Quality,
    /// Why it is not good.
    pub reason: Reason,
    /// When the value was true at its source (ms since the epoch).
    pub source_time_ms: Option<i64>,
    /// The last good reading (ms since the epoch).
    pub last_read_ms: Option<i64>,
    /// The last error, gone after a good reading.
    pub last_error: Option<String>,
    /// What it should be.
    pub desired: Option<DesiredTwin>,
    /// How many times the value changed since start, for `actual_version`.
    pub version: u64,
}

/// What a property should be, and how far that has come.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredTwin {
    /// The text as given.
    pub value: String,
    /// When it was given (ms since the epoch).
    pub time_ms: i64,
    /// By the Device object, or by a local client.
    pub local: bool,
    /// How far the write has come.
    pub write: WriteState,
    /// Why it failed or is not done yet; empty otherwise.
    pub message: String,
    /// When `write` became what it is (ms since the epoch).
    pub since_ms: i64,
    /// How many times the desired value changed since start, for `expected_version`.
    pub version: u64,
}

/// How far a desired value has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteState {
    /// Waits, is being written, or is being read back.
    Pending,
    /// The device has it.
    Confirmed,
    /// Refused, or given up for now; the message says why.
    Failed,
}

impl WriteState {
    /// `pending`, `confirmed` or `failed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
        }
    }
}

/// Whether a device answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceState {
    /// Not known yet.
    #[default]
    Unknown,
    /// It answers.
    Online,
    /// It does not answer.
    Offline,
}

impl DeviceState {
    /// `unknown`, `online` or `offline`, as in KubeEdge.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }
}

/// A condition of a device, in the manner of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `Reachable`, `ConfigValid` or `Served`.
    pub kind: &'static str,
    /// True, false or (for `None`) unknown.
    pub status: Option<bool>,
    /// One word in CamelCase.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// When `status` became what it is (ms since the epoch).
    pub since_ms: i64,
}

/// A change that a local client asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalUpdate {
    /// The property.
    pub property: String,
    /// What it should be; kept over restarts until the Device's desired value changes.
    pub expected: Option<String>,
    /// What it is, from a client that measures by itself.
    pub actual: Option<String>,
}

/// A local update was refused and nothing of it was applied, or a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct UpdateError {
    /// 400, 404, 409 or 500, as in KubeEdge; calls also know 429, 502 and 504.
    pub code: u16,
    /// Why.
    pub reason: String,
}

/// What the engine counted since start, and what it holds now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Devices served.
    pub devices: u64,
    /// Their properties.
    pub properties: u64,
    /// Desired values that are neither confirmed nor refused.
    pub unsettled: u64,
    /// Desired values and outcomes that are not on the disk yet.
    pub unsaved: u64,
    /// Readings taken.
    pub samples: u64,
    /// Readings of points that are not there any more.
    pub strays: u64,
    /// Reported changes, heartbeats included.
    pub changes: u64,
    /// Batch messages handed to the bus.
    pub payloads: u64,
    /// Desired values that were confirmed.
    pub writes_confirmed: u64,
    /// Desired values that were refused or failed.
    pub writes_failed: u64,
    /// Commands sent to mappers.
    pub commands: u64,
    /// Events that became active or were over.
    pub events: u64,
    /// Methods called.
    pub calls: u64,
    /// Calls that failed.
    pub calls_failed: u64,
}

/// What the engine's task gets from [`TwinHandle`]s.
#[derive(Debug)]
pub(crate) enum Request {
    Get {
        device: DeviceName,
        reply: oneshot::Sender<Option<DeviceTwin>>,
    },
    List {
        reply: oneshot::Sender<Vec<DeviceTwin>>,
    },
    Update {
        device: DeviceName,
        updates: Vec<LocalUpdate>,
        reply: oneshot::Sender<Result<DeviceTwin, UpdateError>>,
    },
    SetState {
        device: DeviceName,
        state: DeviceState,
        reply: oneshot::Sender<Result<(), UpdateError>>,
    },
    Call {
        device: DeviceName,
        method: String,
        arguments: serde_json::Value,
        reply: oneshot::Sender<Result<serde_json::Value, UpdateError>>,
    },
    Stats {
        reply: oneshot::Sender<EngineStats>,
    },
}

/// The twin engine, for everybody else. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TwinHandle(mpsc::Sender<Request>);

/// The other end of a [`TwinHandle`], for the engine's task.
#[derive(Debug)]
pub struct TwinInbox(pub(crate) mpsc::Receiver<Request>);

/// A handle and its inbox. The bus is built with the handle before the engine runs.
pub fn channel() -> (TwinHandle, TwinInbox) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (TwinHandle(sender), TwinInbox(receiver))
}

impl TwinHandle {
    /// One device; `None` when this node does not serve it.
    pub async fn get(&self, device: DeviceName) -> Option<DeviceTwin> {
        self.ask(|reply| Request::Get { device, reply })
            .await
            .flatten()
    }

    /// All devices of the node, by name.
    pub async fn list(&self) -> Vec<DeviceTwin> {
        self.ask(|reply| Request::List { reply })
            .await
            .unwrap_or_default()
    }

    /// Applies all of `updates` or none. The answer shows the desired values
    /// as accepted; whether the device took them shows later.
    pub async fn update(
        &self,
        device: DeviceName,
        updates: Vec<LocalUpdate>,
    ) -> Result<DeviceTwin, UpdateError> {
        self.ask(|reply| Request::Update {
            device,
            updates,
            reply,
        })
        .await
        .unwrap_or_else(|| Err(stopping()))
    }

    /// A client says whether a device is there (KubeEdge's `state/update`).
    pub async fn set_state(
        &self,
        device: DeviceName,
        state: DeviceState,
    ) -> Result<(), UpdateError> {
        self.ask(|reply| Request::SetState {
            device,
            state,
            reply,
        })
        .await
        .unwrap_or_else(|| Err(stopping()))
    }

    /// Calls a method and waits for its end, which the method's time-out bounds.
    ///
    /// # Errors
    /// The method is not there, an argument is wrong, or a step failed; the
    /// reason names it.
    pub async fn call(
        &self,
        device: DeviceName,
        method: String,
        arguments: serde_json::Value,
    ) -> Result<serde_json::Value, UpdateError> {
        self.ask(|reply| Request::Call {
            device,
            method,
            arguments,
            reply,
        })
        .await
        .unwrap_or_else(|| Err(stopping()))
    }

    /// What the engine counted; `None` when it is stopping.
    pub async fn stats(&self) -> Option<EngineStats> {
        self.ask(|reply| Request::Stats { reply }).await
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.0.send(request(reply)).await.ok()?;
        answer.await.ok()
    }
}

fn stopping() -> UpdateError {
    UpdateError {
        code: 500,
        reason: "the edge is stopping".to_owned(),
    }
}

//! How the rest of `edgecore` talks to the twin engine: a bounded queue of
//! requests, each answered once.

use longshore_types::{
    DeviceName,
    report::{DeviceReport, DeviceState},
};
use tokio::sync::{mpsc, oneshot};

use longshore_twin::{EngineStats, LocalUpdate, UpdateError};

/// Requests that may wait for the engine; callers wait when it is full.
const QUEUE: usize = 64;

/// What the engine's task gets from [`TwinHandle`]s.
#[derive(Debug)]
pub(crate) enum Request {
    Get {
        device: DeviceName,
        reply: oneshot::Sender<Option<DeviceReport>>,
    },
    List {
        reply: oneshot::Sender<Vec<DeviceReport>>,
    },
    Update {
        device: DeviceName,
        updates: Vec<LocalUpdate>,
        reply: oneshot::Sender<Result<DeviceReport, UpdateError>>,
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
    pub async fn get(&self, device: DeviceName) -> Option<DeviceReport> {
        self.ask(|reply| Request::Get { device, reply })
            .await
            .flatten()
    }

    /// All devices of the node, by name.
    pub async fn list(&self) -> Vec<DeviceReport> {
        self.ask(|reply| Request::List { reply })
            .await
            .unwrap_or_default()
    }

    /// Applies all of `updates` or none. The answer comes once they are on the
    /// disk and shows the desired values as accepted; whether the device took
    /// them shows later.
    ///
    /// # Errors
    /// Something is wrong with them, or the store did not keep them.
    pub async fn update(
        &self,
        device: DeviceName,
        updates: Vec<LocalUpdate>,
    ) -> Result<DeviceReport, UpdateError> {
        self.begin_update(device, updates).await.ended().await
    }

    /// The same in two steps, so that many may be under way: the disk is waited
    /// for once for all of them. They are applied and answered in the order in
    /// which they began.
    pub async fn begin_update(&self, device: DeviceName, updates: Vec<LocalUpdate>) -> Updating {
        let (reply, answer) = oneshot::channel();
        let request = Request::Update {
            device,
            updates,
            reply,
        };
        // A queue that is closed drops the request, and the answer says so.
        let _ = self.0.send(request).await;
        Updating(answer)
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

/// An update that is under way.
#[derive(Debug)]
pub struct Updating(oneshot::Receiver<Result<DeviceReport, UpdateError>>);

impl Updating {
    /// Waits for its answer.
    ///
    /// # Errors
    /// As [`TwinHandle::update`].
    pub async fn ended(self) -> Result<DeviceReport, UpdateError> {
        self.0.await.unwrap_or_else(|_| Err(stopping()))
    }
}

fn stopping() -> UpdateError {
    UpdateError {
        code: 500,
        reason: "the edge is stopping".to_owned(),
    }
}

//! An open session: reads, writes, and what comes by itself.
//!
//! Requests under way live in the link ([`flight`]), not in the call that waits
//! for them: a `receive` that is given up loses nothing. What they bring is
//! taken in without waiting ([`answers`]).

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use longshore_sdk::{
    Connection, MethodConfig, Received, RequestError, SampleValue, Samples, WatchPoint, Watched,
};
use serde_json::Value;

use self::flight::{Answer, PUBLISH_MOST, VERIFY, build};
use crate::{
    bus::{Bus, Unit},
    channel::Transport,
    config::Opcua,
    method,
    plan::Request,
    point::Point,
    server::Server,
    session::{self, Login, Shared},
    subscription::{Subscriptions, Watching},
    wire::WireError,
    write::{self, Targets},
};

mod answers;
mod flight;
mod silence;

/// Between two notifications of a point that is to come with each change.
const EACH_CHANGE_MS: u32 = 250;
/// Values that are kept of such a point.
const EACH_CHANGE_QUEUE: u32 = 10;
/// The shortest publishing interval that is asked for.
const PUBLISHING_LEAST_MS: u32 = 10;
/// Samples that are given at once, about.
const BATCH: usize = 4000;
/// Requests in a row without an answer after which a session is taken for dead.
const SILENT: u8 = 2;

/// An open session with a server.
pub struct Link {
    shared: Arc<Shared>,
    bus: Bus,
    login: Login,
    server: Server,
    transport: Option<Transport>,
    subscriptions: Subscriptions,
    flight: FuturesUnordered<BoxFuture<'static, Answer>>,
    targets: Targets,
    publishing: usize,
    /// Requests for notifications that were missed; nothing newer is asked for before.
    republishing: usize,
    publish_most: usize,
    publish_from: Instant,
    building: bool,
    /// Points that are being read.
    reading: HashSet<u32>,
    keeping: bool,
    /// Something is published no more: whether the server still answers is being asked.
    doubting: bool,
    /// When somebody last waited for what comes.
    looked: Arc<Mutex<Instant>>,
    last_heard: Instant,
    /// When to verify next, and behind which point; `None` while it is under way.
    verify_at: Option<Instant>,
    verified: u32,
    silent: u8,
    broken: bool,
    /// The server answers and publishes nothing: the session is of no use.
    mute: bool,
    /// An exchange is under way: whoever drops the link then gives it up.
    busy: bool,
    warned: bool,
}

impl Link {
    /// Connects and logs on, to the former session where the server has it.
    ///
    /// # Errors
    /// `Line`, with what the server or the system says and what to do.
    pub async fn open(shared: Arc<Shared>, bus: Bus) -> Result<Self, RequestError> {
        let opened = session::open(&shared, &bus).await?;
        let now = Instant::now();
        let mut link = Self {
            server: Server::new(opened.wire, opened.namespaces),
            login: opened.login,
            transport: Some(opened.transport),
            subscriptions: opened.subscriptions,
            flight: FuturesUnordered::new(),
            targets: Targets::default(),
            publishing: 0,
            republishing: 0,
            publish_most: PUBLISH_MOST,
            publish_from: now,
            building: false,
            reading: HashSet::new(),
            keeping: false,
            doubting: false,
            looked: Arc::new(Mutex::new(now)),
            last_heard: now,
            verify_at: Some(now + VERIFY),
            verified: 0,
            silent: 0,
            broken: false,
            mute: false,
            busy: false,
            warned: false,
            shared,
            bus,
        };
        let settle = link.subscriptions.keep_alive() + link.bus.timeout;
        link.subscriptions.resumed(now, now + settle);
        for (subscription, sequence) in link.subscriptions.sequences() {
            // What the server had sent when the line was cut comes before
            // anything new.
            link.republish(subscription, sequence.wrapping_add(1), true);
        }
        Ok(link)
    }

    /// A failed exchange: what it means for the session.
    fn fail(&mut self, error: WireError) -> RequestError {
        self.broken |= error.ends_session();
        match error {
            WireError::Timeout { .. } => self.silent = self.silent.saturating_add(1),
            _ => self.silent = 0,
        }
        error.into()
    }

    fn heard(&mut self) {
        self.last_heard = Instant::now();
        self.silent = 0;
    }

    async fn watch_all(
        &mut self,
        points: &[WatchPoint<'_, Point>],
        samples: &mut Samples,
    ) -> Result<Watched, RequestError> {
        let wanted = points.iter().map(|of| (of.id, watching(of)));
        let forget = self.subscriptions.replace(wanted, Instant::now());
        let early = self.subscriptions.untold();
        let server = self.server.clone();
        for (subscription, ids) in forget {
            match server.wire.delete_items(subscription, &ids).await {
                Err(error) if error.ends_session() => return Err(self.fail(error)),
                // They are gone already, or go with the subscription.
                _ => {}
            }
        }
        let empty = self.subscriptions.take_empty();
        if !empty.is_empty() {
            match server.wire.delete_subscriptions(empty).await {
                Err(error) if error.ends_session() => return Err(self.fail(error)),
                _ => {}
            }
        }
        let mut answered = Watched::Waiting;
        loop {
            let due = self.subscriptions.due(Instant::now());
            self.begin_read(due.polls);
            let Some(first) = due.attempts.first() else {
                break;
            };
            let subscription = self
                .subscriptions
                .subscription(first.watching.publishing_ms);
            let result = build(server.clone(), self.bus.clone(), subscription, due.attempts).await;
            self.built(result, samples)?;
            answered = Watched::Answered;
        }
        if !points.is_empty() && answered == Watched::Waiting {
            // All are watched already, on a session that was picked up again.
            let alive = server.wire.keep_alive().await;
            alive.map_err(|error| self.fail(error))?;
            self.heard();
            answered = Watched::Answered;
        }
        self.begin_read(early);
        self.subscriptions.told();
        Ok(answered)
    }

    async fn read_points(
        &mut self,
        request: &Request,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        let values = self.server.read(&request.0).await;
        let values = values.map_err(|error| self.fail(error))?;
        self.heard();
        let all = request.0.iter().zip(&values);
        let all = all.map(|((point, field), value)| (*point, field, value));
        self.server.decode(all, samples);
        Ok(())
    }

    async fn next(&mut self, samples: &mut Samples) -> Result<Received<Unit>, RequestError> {
        let closed = || RequestError::Line("the server closed the connection".to_owned());
        if self.broken {
            return Err(closed());
        }
        let looking = Looking(self.looked.clone());
        // What waited meanwhile was not silent, and with no request for more
        // under way the server could not say anything.
        self.subscriptions.unattended(looking.since());
        loop {
            let now = Instant::now();
            self.start(now);
            let wake = tokio::time::Instant::from_std(self.wake());
            let answer = tokio::select! {
                biased;
                Some(answer) = self.flight.next(), if !self.flight.is_empty() => Some(answer),
                () = ended(&mut self.transport) => {
                    self.broken = true;
                    return Err(closed());
                }
                () = tokio::time::sleep_until(wake) => None,
            };
            let Some(answer) = answer else {
                self.doubt(Instant::now());
                continue;
            };
            self.take(answer, samples)?;
            // What else is there already goes into the same batch.
            while samples.len() < BATCH {
                let Some(Some(answer)) = self.flight.next().now_or_never() else {
                    break;
                };
                self.take(answer, samples)?;
            }
            if !samples.is_empty() {
                self.start(Instant::now());
                return Ok(Received::Samples);
            }
        }
    }
}

/// Notes until when somebody waited, also when the wait is given up.
struct Looking(Arc<Mutex<Instant>>);

impl Looking {
    fn since(&self) -> Duration {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// The end of the transport; never, when it is gone already.
async fn ended(transport: &mut Option<Transport>) {
    match transport {
        Some(running) => {
            running.await;
            // A task that has ended must not be asked again.
            *transport = None;
        }
        None => std::future::pending().await,
    }
}

/// How a point is to be watched.
fn watching(of: &WatchPoint<'_, Point>) -> Watching {
    let watch = &of.point.watch;
    let interval = of
        .interval
        .map(|interval| u32::try_from(interval.as_millis()).unwrap_or(u32::MAX));
    let queue_size = match interval {
        Some(_) => watch.queue_size,
        None => watch.queue_size.max(EACH_CHANGE_QUEUE),
    };
    // A queue of five between two notifications is filled by five looks.
    let sampling = interval.map_or(0, |interval| interval / queue_size);
    let publishing = watch.publishing_ms.or(interval).unwrap_or(EACH_CHANGE_MS);
    Watching {
        field: of.point.clone(),
        publishing_ms: publishing.max(PUBLISHING_LEAST_MS),
        sampling_ms: watch.sampling_ms.unwrap_or(sampling),
        queue_size,
    }
}

impl Connection<Opcua> for Link {
    async fn read(
        &mut self,
        _unit: &Unit,
        request: &Request,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        self.busy = true;
        let result = self.read_points(request, samples).await;
        self.busy = false;
        result
    }

    async fn write(
        &mut self,
        _unit: &Unit,
        point: &Point,
        value: &SampleValue,
    ) -> Result<(), RequestError> {
        self.busy = true;
        let result = write::write(&self.server, &mut self.targets, point, value).await;
        self.busy = false;
        self.told(result)
    }

    async fn watch(
        &mut self,
        _unit: &Unit,
        points: &[WatchPoint<'_, Point>],
        samples: &mut Samples,
    ) -> Result<Watched, RequestError> {
        self.busy = true;
        let result = self.watch_all(points, samples).await;
        self.busy = false;
        result
    }

    async fn receive(&mut self, samples: &mut Samples) -> Result<Received<Unit>, RequestError> {
        self.next(samples).await
    }

    async fn call(
        &mut self,
        _unit: &Unit,
        method: &MethodConfig,
        arguments: &Value,
    ) -> Result<Value, RequestError> {
        self.busy = true;
        let result = method::call(&self.server, method, arguments).await;
        self.busy = false;
        self.told(result)
    }

    fn usable(&self) -> bool {
        !self.broken && self.silent < SILENT
    }
}

/// Why an operation failed: the request, or its one operation.
pub(crate) enum OperationError {
    /// The request as a whole.
    Wire(WireError),
    /// The server refused the operation, or it was never sent.
    Operation(RequestError),
}

impl From<WireError> for OperationError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<RequestError> for OperationError {
    fn from(error: RequestError) -> Self {
        Self::Operation(error)
    }
}

impl Link {
    fn told<T>(&mut self, result: Result<T, OperationError>) -> Result<T, RequestError> {
        match result {
            Ok(value) => {
                self.silent = 0;
                Ok(value)
            }
            Err(OperationError::Operation(error)) => Err(error),
            Err(OperationError::Wire(error)) => Err(self.fail(error)),
        }
    }
}

impl Drop for Link {
    /// A session whose line was cut is kept for the next connection; one that
    /// nobody needs any more is closed, so that the server has room.
    fn drop(&mut self) {
        let subscriptions = std::mem::take(&mut self.subscriptions);
        if !self.mute && (self.broken || self.busy || self.silent > 0) {
            self.shared
                .keep(&self.bus, self.login.clone(), subscriptions);
            return;
        }
        let wire = self.server.wire.clone();
        if let (Some(transport), Ok(runtime)) =
            (self.transport.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(session::close(wire, transport));
        }
    }
}

/// The targets of writes by node, as they are met.
pub(crate) type ByNode<T> = HashMap<opcua::types::NodeId, T>;

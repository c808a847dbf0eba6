//! An open session: reads, writes, and what comes by itself. The only file
//! besides the log-on that awaits.
//!
//! Requests under way live in the link, not in the call that waits for them:
//! a `receive` that is given up loses nothing.

use std::{
    collections::HashMap,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use longshore_sdk::{
    Connection, MethodConfig, Received, RequestError, SampleValue, Samples, WatchPoint, Watched,
};
use opcua::types::{
    DataChangeNotification, DataValue, NotificationMessage, PublishResponse,
    StatusChangeNotification, StatusCode,
};
use serde_json::Value;

use crate::{
    bus::{Bus, Unit},
    config::Opcua,
    method,
    plan::Request,
    point::Point,
    server::{Built, Refusal, Server, is_gone},
    session::{self, Login, Shared, Transport},
    subscription::{Attempt, Subscriptions, Watching},
    wire::WireError,
    write::{self, Targets},
};

/// How often a subscription says that it is alive: a dead line is noticed
/// after twice that.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Between two notifications of a point that is to come with each change.
const EACH_CHANGE_MS: u32 = 250;
/// Values that are kept of such a point.
const EACH_CHANGE_QUEUE: u32 = 10;
/// The shortest publishing interval that is asked for.
const PUBLISHING_LEAST_MS: u32 = 10;
/// Publish requests under way at most: enough for a line of 100 ms at 10 ms.
const PUBLISH_MOST: usize = 10;
/// Pause after a Publish that the server refused.
const PUBLISH_PAUSE: Duration = Duration::from_secs(1);
/// How often some watched nodes are looked at: not every server tells that a
/// node was deleted.
const VERIFY: Duration = Duration::from_secs(5);
/// How many at once: a hundred a second cost no server anything.
const VERIFY_MOST: usize = 500;
/// Samples that are given at once, about.
const BATCH: usize = 4000;
/// Requests in a row without an answer after which a session is taken for dead.
const SILENT: u8 = 2;

/// What a request under way brought.
enum Answer {
    Published(Result<PublishResponse, WireError>),
    /// A notification that was missed, and whether the next one may be too.
    Republished(Missed, Result<NotificationMessage, WireError>),
    Built(Result<(u32, Option<NewSubscription>, Built), BuildError>),
    Read(
        Vec<(u32, Point)>,
        Result<Vec<Result<DataValue, Refusal>>, WireError>,
    ),
    /// Values whose structures are known by now.
    Ready(
        Vec<(u32, Point, Result<DataValue, Refusal>)>,
        Result<(), WireError>,
    ),
    KeptAlive(Result<(), WireError>),
    /// Whether watched nodes are still there: those that are not.
    Verified(Result<Vec<(u32, Point, Refusal)>, WireError>),
    /// Nobody waits for what it did.
    Done(Result<(), WireError>),
}

#[derive(Clone, Copy)]
struct Missed {
    subscription: u32,
    sequence: u32,
    and_on: bool,
}

struct NewSubscription {
    id: u32,
    publishing_ms: u32,
    keep_alive: Duration,
}

/// Nothing of these attempts came to be.
struct BuildError {
    attempts: Vec<Attempt>,
    error: WireError,
    /// There is no subscription to be had.
    no_subscription: bool,
}

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
    keeping: bool,
    last_heard: Instant,
    /// When to verify next, and behind which point; `None` while it is under way.
    verify_at: Option<Instant>,
    verified: u32,
    silent: u8,
    broken: bool,
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
            keeping: false,
            last_heard: now,
            verify_at: Some(now + VERIFY),
            verified: 0,
            silent: 0,
            broken: false,
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

    /// Begins whatever is due.
    fn start(&mut self, now: Instant) {
        let wanted = match self.subscriptions.len() {
            0 => 0,
            _ if self.republishing > 0 => 0,
            count => (count + 1).min(self.publish_most),
        };
        while self.publishing < wanted && now >= self.publish_from {
            self.publish();
        }
        if !self.building {
            let due = self.subscriptions.due(now);
            if !due.attempts.is_empty() {
                self.building = true;
                let publishing_ms = due.attempts[0].watching.publishing_ms;
                let subscription = self.subscriptions.subscription(publishing_ms);
                let (server, bus) = (self.server.clone(), self.bus.clone());
                self.flight.push(
                    async move { Answer::Built(build(server, bus, subscription, due.attempts).await) }
                        .boxed(),
                );
            }
            self.begin_read(due.polls);
        }
        let unheard = self.subscriptions.take_unheard(now);
        self.begin_read(unheard);
        if self.verify_at.is_some_and(|at| at <= now) {
            self.verify(now);
        }
        if self.subscriptions.is_empty() && !self.keeping && now >= self.keep_from() {
            self.keeping = true;
            let server = self.server.clone();
            self.flight
                .push(async move { Answer::KeptAlive(server.wire.keep_alive().await) }.boxed());
        }
    }

    /// Asks whether some of the watched nodes are still there.
    fn verify(&mut self, now: Instant) {
        let some = self.subscriptions.some_watched(self.verified, VERIFY_MOST);
        let Some((last, _)) = some.last() else {
            self.verify_at = Some(now + VERIFY);
            return;
        };
        self.verified = *last;
        self.verify_at = None;
        let server = self.server.clone();
        self.flight
            .push(async move { Answer::Verified(server.missing(some).await) }.boxed());
    }

    /// When a session without subscriptions is to show that it is alive.
    fn keep_from(&self) -> Instant {
        self.last_heard + (self.bus.session_timeout / 3).min(Duration::from_secs(20))
    }

    fn begin_read(&mut self, points: Vec<(u32, Point)>) {
        if points.is_empty() {
            return;
        }
        let server = self.server.clone();
        self.flight.push(
            async move {
                let values = server.read(&points).await;
                Answer::Read(points, values)
            }
            .boxed(),
        );
    }

    fn publish(&mut self) {
        self.publishing += 1;
        let acknowledgements = self.subscriptions.take_acknowledgements();
        let server = self.server.clone();
        // It waits at the server; who is silent for too long is noticed by `wake`.
        let timeout = self.bus.session_timeout.max(self.silence() * 2);
        self.flight.push(
            async move { Answer::Published(server.wire.publish(acknowledgements, timeout).await) }
                .boxed(),
        );
    }

    fn republish(&mut self, subscription: u32, sequence: u32, and_on: bool) {
        self.republishing += 1;
        let missed = Missed {
            subscription,
            sequence,
            and_on,
        };
        let server = self.server.clone();
        self.flight.push(
            async move {
                let message = server.wire.republish(subscription, sequence).await;
                Answer::Republished(missed, message)
            }
            .boxed(),
        );
    }

    /// How long a server with subscriptions may be silent.
    fn silence(&self) -> Duration {
        self.subscriptions.keep_alive() * 2 + self.bus.timeout
    }

    /// When to look again, should nothing come.
    fn wake(&self) -> Instant {
        let limit = match self.subscriptions.is_empty() {
            true if self.keeping => self.last_heard + self.bus.session_timeout,
            true => self.keep_from(),
            false => self.last_heard + self.silence(),
        };
        let timer = self.subscriptions.next_wake().filter(|_| !self.building);
        let publish = (self.publishing + self.republishing == 0 && !self.subscriptions.is_empty())
            .then_some(self.publish_from);
        timer
            .into_iter()
            .chain(publish)
            .chain(self.verify_at)
            .fold(limit, Instant::min)
    }

    /// Takes what a request under way has brought.
    fn take(&mut self, answer: Answer, samples: &mut Samples) -> Result<(), RequestError> {
        match answer {
            Answer::Published(answer) => {
                self.publishing -= 1;
                return self.published(answer, samples);
            }
            Answer::Republished(missed, answer) => {
                self.republishing -= 1;
                return self.republished(missed, answer, samples);
            }
            Answer::Built(result) => {
                self.building = false;
                self.built(result, samples)?;
            }
            Answer::Read(points, Ok(values)) => {
                self.heard();
                let all = points.iter().zip(&values);
                let all = all.map(|((point, field), value)| (*point, field, value));
                // An id may be another place by now.
                let all =
                    all.filter(|(point, field, _)| self.subscriptions.is_still(*point, field));
                self.server.decode(all, samples);
            }
            Answer::Ready(values, Ok(())) => {
                let all = values
                    .iter()
                    .map(|(point, field, value)| (*point, field, value));
                let all =
                    all.filter(|(point, field, _)| self.subscriptions.is_still(*point, field));
                self.server.decode(all, samples);
            }
            Answer::KeptAlive(result) => {
                self.keeping = false;
                match result {
                    Ok(()) => self.heard(),
                    Err(error) => {
                        self.broken = true;
                        return Err(RequestError::Line(error.to_string()));
                    }
                }
            }
            Answer::Verified(result) => {
                self.verify_at = Some(Instant::now() + VERIFY);
                let gone = match result {
                    Ok(gone) => gone,
                    Err(error) if error.ends_session() => return Err(self.fail(error)),
                    Err(_) => return Ok(()),
                };
                self.heard();
                let time = crate::codec::now_ns();
                for (point, field, refusal) in gone {
                    if self.subscriptions.is_still(point, &field) {
                        self.lose(point, &field);
                        samples.push_bad(point, refusal.reason, &refusal.message, time);
                    }
                }
            }
            Answer::Done(Ok(())) => self.heard(),
            Answer::Read(_, Err(error))
            | Answer::Ready(_, Err(error))
            | Answer::Done(Err(error)) => {
                let ends = error.ends_session();
                let error = self.fail(error);
                if ends {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn republished(
        &mut self,
        missed: Missed,
        answer: Result<NotificationMessage, WireError>,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        match answer {
            // Some servers answer with nothing where they should say
            // that there is nothing.
            Ok(message) if message.sequence_number == missed.sequence => {
                let Missed {
                    subscription,
                    sequence,
                    and_on,
                } = missed;
                self.heard();
                self.subscriptions.republished(subscription, sequence);
                if and_on {
                    self.republish(subscription, sequence.wrapping_add(1), true);
                }
                self.notified(message, subscription, samples);
                Ok(())
            }
            Err(error) if error.ends_session() => Err(self.fail(error)),
            // The server does not have it (any more).
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn published(
        &mut self,
        answer: Result<PublishResponse, WireError>,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        let error = match answer {
            Ok(answer) => {
                self.heard();
                let message = answer.notification_message;
                let has_data = message
                    .notification_data
                    .as_ref()
                    .is_some_and(|data| !data.is_empty());
                let id = answer.subscription_id;
                let missed = self
                    .subscriptions
                    .sequence(id, message.sequence_number, has_data);
                for sequence in missed {
                    self.republish(id, sequence, false);
                }
                self.notified(message, id, samples);
                return Ok(());
            }
            Err(error) => error,
        };
        if error.ends_session() {
            return Err(self.fail(error));
        }
        match error.status() {
            Some(StatusCode::BadNoSubscription) => {
                for id in self.subscriptions.server_ids() {
                    self.subscriptions.drop_subscription(id);
                }
            }
            Some(StatusCode::BadTooManyPublishRequests) => {
                self.publish_most = self.publishing.max(1);
            }
            // One that waited for too long at a server that is alive.
            Some(StatusCode::BadTimeout) | None => {}
            Some(_) => self.publish_from = Instant::now() + PUBLISH_PAUSE,
        }
        Ok(())
    }

    /// A notification: values in the order in which the server had them.
    fn notified(&mut self, message: NotificationMessage, subscription: u32, samples: &mut Samples) {
        let (mut values, mut is_known) = (Vec::new(), true);
        for data in message.notification_data.into_iter().flatten() {
            if let Some(change) = data.inner_as::<StatusChangeNotification>() {
                if change.status.is_bad() {
                    self.subscriptions.drop_subscription(subscription);
                }
                continue;
            }
            let Some(changes) = data.into_inner_as::<DataChangeNotification>() else {
                continue;
            };
            for item in changes.monitored_items.into_iter().flatten() {
                let Some((point, field)) = self.subscriptions.point_of(item.client_handle) else {
                    continue;
                };
                is_known &= self.server.types.missing(&item.value).is_empty();
                values.push((point, field.clone(), item.value));
            }
        }
        for (point, field, value) in &values {
            if value.status.is_some_and(is_gone) {
                self.lose(*point, field);
            } else {
                self.subscriptions.heard(*point);
            }
        }
        if is_known {
            let decoder = self.server.decoder();
            for (point, field, value) in &values {
                decoder.push(*point, field, value, samples);
            }
            return;
        }
        let server = self.server.clone();
        self.flight.push(
            async move {
                let loaded = server
                    .load_types(values.iter().map(|(.., value)| value))
                    .await;
                let values = values.into_iter();
                let values = values.map(|(point, field, value)| (point, field, Ok(value)));
                Answer::Ready(values.collect(), loaded)
            }
            .boxed(),
        );
    }

    /// A watched node is gone: look for it again, from its name on.
    fn lose(&mut self, point: u32, field: &Point) {
        self.server.forget(&field.place);
        if let Some((subscription, id)) = self.subscriptions.lost(point, Instant::now()) {
            self.delete_later(subscription, vec![id]);
        }
    }

    fn delete_later(&mut self, subscription: u32, ids: Vec<u32>) {
        let server = self.server.clone();
        self.flight.push(
            async move { Answer::Done(server.wire.delete_items(subscription, &ids).await) }.boxed(),
        );
    }

    fn built(
        &mut self,
        result: Result<(u32, Option<NewSubscription>, Built), BuildError>,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        let now = Instant::now();
        match result {
            Ok((subscription, new, built)) => {
                self.heard();
                if let Some(new) = new {
                    let NewSubscription {
                        id,
                        publishing_ms,
                        keep_alive,
                    } = new;
                    self.subscriptions
                        .add_subscription(id, publishing_ms, keep_alive);
                }
                self.settle(subscription, built, samples);
                Ok(())
            }
            Err(failed) if failed.error.ends_session() => Err(self.fail(failed.error)),
            Err(failed) => {
                if failed.no_subscription {
                    self.warn(&failed.error.to_string());
                }
                let message = failed.error.to_string();
                let time = crate::codec::now_ns();
                for attempt in failed.attempts {
                    if failed.no_subscription {
                        self.subscriptions.poll_instead(attempt.handle, now);
                    } else if self.subscriptions.refused(attempt.handle, now) {
                        let reason = longshore_sdk::Reason::Refused;
                        samples.push_bad(attempt.point, reason, &message, time);
                    }
                }
                match failed.no_subscription {
                    true => Ok(()),
                    // As a whole: perhaps the server has no such subscription any more.
                    false => {
                        if failed.error.status() == Some(StatusCode::BadSubscriptionIdInvalid) {
                            for id in self.subscriptions.server_ids() {
                                self.subscriptions.drop_subscription(id);
                            }
                        }
                        match failed.error {
                            WireError::Timeout { .. } => Err(self.fail(failed.error)),
                            _ => Ok(()),
                        }
                    }
                }
            }
        }
    }

    /// What came of each attempt.
    fn settle(&mut self, subscription: u32, built: Built, samples: &mut Samples) {
        let now = Instant::now();
        let time = crate::codec::now_ns();
        let mut orphans = Vec::new();
        for (attempt, result) in built.results {
            match result {
                Ok(created) => {
                    let id = created.monitored_item_id;
                    if !self.subscriptions.watched(attempt.handle, subscription, id) {
                        orphans.push(id);
                    }
                }
                Err(refusal) if refusal.status == Some(StatusCode::BadTooManyMonitoredItems) => {
                    self.warn(&refusal.message);
                    self.subscriptions.poll_instead(attempt.handle, now);
                }
                Err(refusal) => {
                    if self.subscriptions.refused(attempt.handle, now) {
                        samples.push_bad(attempt.point, refusal.reason, &refusal.message, time);
                    }
                }
            }
        }
        if !orphans.is_empty() {
            self.delete_later(subscription, orphans);
        }
    }

    /// Once for each connection: the values come, but not as they were ordered.
    fn warn(&mut self, why: &str) {
        if !std::mem::replace(&mut self.warned, true) {
            let line = format!(
                "{}: the server watches no more nodes ({why}); they are read instead\n",
                self.bus
            );
            // The host's log; who has none misses a warning.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    async fn watch_all(
        &mut self,
        points: &[WatchPoint<'_, Point>],
        samples: &mut Samples,
    ) -> Result<Watched, RequestError> {
        let wanted = points.iter().map(|of| (of.id, watching(of)));
        let forget = self.subscriptions.replace(wanted, Instant::now());
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
                if !self.subscriptions.is_empty() && self.last_heard.elapsed() >= self.silence() {
                    self.broken = true;
                    return Err(RequestError::Line(format!(
                        "nothing was heard of the server for {} ms",
                        self.last_heard.elapsed().as_millis()
                    )));
                }
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

/// Lets the server watch points, with a new subscription where there is none.
async fn build(
    server: Server,
    bus: Bus,
    subscription: Option<u32>,
    attempts: Vec<Attempt>,
) -> Result<(u32, Option<NewSubscription>, Built), BuildError> {
    let publishing_ms = attempts
        .first()
        .map_or(EACH_CHANGE_MS, |first| first.watching.publishing_ms);
    let (id, new) = match subscription {
        Some(id) => (id, None),
        None => {
            // Part 4, section 5.13.1: the lifetime is three times the keep-alive
            // at least; it is to outlast a cut as the session does.
            let count = |time: Duration| {
                (time.as_millis() as u32)
                    .div_ceil(publishing_ms.max(1))
                    .max(1)
            };
            let keep_alive = count(KEEP_ALIVE);
            let lifetime = count(bus.session_timeout).max(keep_alive * 3);
            let created = server
                .wire
                .create_subscription(publishing_ms, keep_alive, lifetime)
                .await;
            match created {
                Ok(created) => {
                    let interval = created.revised_publishing_interval.clamp(1.0, 86_400_000.0);
                    let count = f64::from(created.revised_max_keep_alive_count.max(1));
                    let new = NewSubscription {
                        id: created.subscription_id,
                        publishing_ms,
                        keep_alive: Duration::from_secs_f64(
                            (interval * count / 1000.0).min(86_400.0),
                        ),
                    };
                    (created.subscription_id, Some(new))
                }
                Err(error) => {
                    return Err(BuildError {
                        no_subscription: is_unable(&error),
                        attempts,
                        error,
                    });
                }
            }
        }
    };
    match server.build(id, attempts.clone()).await {
        Ok(built) => Ok((id, new, built)),
        Err(error) => {
            if new.is_some() {
                // It would be without items for ever.
                let _ = server.wire.delete_subscriptions(vec![id]).await;
            }
            Err(BuildError {
                no_subscription: false,
                attempts,
                error,
            })
        }
    }
}

/// Whether a server has no subscriptions (left).
fn is_unable(error: &WireError) -> bool {
    let unable = [
        StatusCode::BadTooManySubscriptions,
        StatusCode::BadServiceUnsupported,
        StatusCode::BadNotImplemented,
        StatusCode::BadNotSupported,
    ];
    error
        .status()
        .is_some_and(|status| unable.contains(&status))
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
        if self.broken || self.busy || self.silent > 0 {
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

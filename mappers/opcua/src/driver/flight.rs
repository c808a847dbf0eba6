//! Requests under way: what is begun, and when.

use std::time::{Duration, Instant};

use futures::FutureExt;
use opcua::types::{DataValue, NotificationMessage, PublishResponse, StatusCode};

use super::{EACH_CHANGE_MS, Link};
use crate::{
    bus::Bus,
    point::Point,
    server::{Built, Refusal, Server},
    subscription::Attempt,
    wire::WireError,
};

/// How often a subscription says that it is alive: a dead line is noticed
/// after twice that, at least.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// Publish requests under way at most: enough for a line of 100 ms at 10 ms.
pub(super) const PUBLISH_MOST: usize = 10;
/// How often some watched nodes are looked at: not every server tells that a
/// node was deleted.
pub(super) const VERIFY: Duration = Duration::from_secs(5);
/// How many at once: a hundred a second cost no server anything.
pub(super) const VERIFY_MOST: usize = 500;

/// What a request under way brought.
pub(super) enum Answer {
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
    /// Whether a server that publishes no more still answers.
    Doubted(Result<(), WireError>),
    /// Whether watched nodes are still there: those that are not.
    Verified(Result<Vec<(u32, Point, Refusal)>, WireError>),
    /// Nobody waits for what it did.
    Done(Result<(), WireError>),
}

#[derive(Clone, Copy)]
pub(super) struct Missed {
    pub(super) subscription: u32,
    pub(super) sequence: u32,
    pub(super) and_on: bool,
}

pub(super) struct NewSubscription {
    pub(super) id: u32,
    pub(super) publishing_ms: u32,
    pub(super) keep_alive: Duration,
}

/// Nothing of these attempts came to be.
pub(super) struct BuildError {
    pub(super) attempts: Vec<Attempt>,
    pub(super) error: WireError,
    /// There is no subscription to be had.
    pub(super) no_subscription: bool,
}

impl Link {
    /// Begins whatever is due.
    pub(super) fn start(&mut self, now: Instant) {
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
        self.give_up_unproven(now);
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
    pub(super) fn verify(&mut self, now: Instant) {
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
    pub(super) fn keep_from(&self) -> Instant {
        self.last_heard + (self.bus.session_timeout / 3).min(Duration::from_secs(20))
    }

    /// Reads those points that are not being read: a slow server is not asked
    /// again before it has answered.
    pub(super) fn begin_read(&mut self, mut points: Vec<(u32, Point)>) {
        points.retain(|(point, _)| self.reading.insert(*point));
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

    pub(super) fn publish(&mut self) {
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

    pub(super) fn republish(&mut self, subscription: u32, sequence: u32, and_on: bool) {
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

    pub(super) fn delete_later(&mut self, subscription: u32, ids: Vec<u32>) {
        let server = self.server.clone();
        self.flight.push(
            async move { Answer::Done(server.wire.delete_items(subscription, &ids).await) }.boxed(),
        );
    }

    /// How long each subscription may be silent.
    pub(super) fn silence(&self) -> Duration {
        let keep_alive = self.subscriptions.keep_alive();
        keep_alive + self.bus.timeout.max(keep_alive)
    }

    /// When to look again, should nothing come.
    pub(super) fn wake(&self) -> Instant {
        let limit = match self.subscriptions.is_empty() {
            // It has a timeout of its own.
            true if self.keeping => Instant::now() + self.bus.session_timeout,
            true => self.keep_from(),
            // So has the question whether it still answers.
            false if self.doubting => Instant::now() + self.bus.session_timeout,
            false => self
                .subscriptions
                .silent_at(self.bus.timeout)
                .unwrap_or_else(|| self.keep_from()),
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
}

/// Lets the server watch points, with a new subscription where there is none.
pub(super) async fn build(
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
            let (keep_alive, lifetime) = counts(publishing_ms, bus.session_timeout);
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

/// The keep-alive and the lifetime in publishing intervals. The lifetime is three
/// times the keep-alive at least (Part 4, section 5.13.2.2), and is to outlast a
/// cut as the session does.
fn counts(publishing_ms: u32, session_timeout: Duration) -> (u32, u32) {
    let count = |time: Duration| {
        (time.as_millis() as u32)
            .div_ceil(publishing_ms.max(1))
            .max(1)
    };
    let keep_alive = count(KEEP_ALIVE);
    (keep_alive, count(session_timeout).max(keep_alive * 3))
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

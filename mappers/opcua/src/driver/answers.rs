//! What requests under way have brought.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use futures::FutureExt;
use longshore_sdk::{RequestError, Samples};
use opcua::types::{
    DataChangeNotification, DataValue, NotificationMessage, PublishResponse,
    StatusChangeNotification, StatusCode,
};

use super::{
    Link,
    flight::{Answer, BuildError, Missed, NewSubscription, VERIFY},
};
use crate::{
    point::Point,
    server::{Built, Refusal, is_gone},
    wire::WireError,
};

/// Pause after a Publish that the server refused.
const PUBLISH_PAUSE: Duration = Duration::from_secs(1);

impl Link {
    /// Takes what a request under way has brought.
    pub(super) fn take(
        &mut self,
        answer: Answer,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
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
            Answer::Read(points, values) => return self.polled(&points, values, samples),
            Answer::Doubted(result) => return self.doubted(result, samples),
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
                if let Err(error) = result {
                    self.broken = true;
                    return Err(RequestError::Line(error.to_string()));
                }
                self.heard();
            }
            Answer::Verified(result) => return self.verified(result, samples),
            Answer::Done(Ok(())) => self.heard(),
            Answer::Ready(_, Err(error)) | Answer::Done(Err(error)) => {
                let ends = error.ends_session();
                let error = self.fail(error);
                if ends {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// What the server does not watch was read.
    fn polled(
        &mut self,
        points: &[(u32, Point)],
        values: Result<Vec<Result<DataValue, Refusal>>, WireError>,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        for (point, _) in points {
            self.reading.remove(point);
        }
        let values = match values {
            Ok(values) => values,
            Err(error) if error.ends_session() => return Err(self.fail(error)),
            Err(error) => {
                self.fail(error);
                return Ok(());
            }
        };
        self.heard();
        for ((point, field), value) in points.iter().zip(&values) {
            let is_unreadable = value.as_ref().is_err_and(|refusal| refusal.is_unreadable);
            if is_unreadable && self.subscriptions.is_still(*point, field) {
                let gone = self.subscriptions.rest(*point, Instant::now());
                if let Some((subscription, id)) = gone {
                    self.delete_later(subscription, vec![id]);
                }
            }
        }
        let all = points.iter().zip(&values);
        let all = all.map(|((point, field), value)| (*point, field, value));
        // An id may be another place by now.
        let all = all.filter(|(point, field, _)| self.subscriptions.is_still(*point, field));
        self.server.decode(all, samples);
        Ok(())
    }

    /// Nodes that are gone though nobody said so are looked for again.
    fn verified(
        &mut self,
        result: Result<Vec<(u32, Point, Refusal)>, WireError>,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
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
        Ok(())
    }

    pub(super) fn republished(
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
            // It would come the same way each time: what was in it is read.
            Err(error) if error.is_unreadable() => {
                let Missed {
                    subscription,
                    sequence,
                    and_on,
                } = missed;
                self.subscriptions.republished(subscription, sequence);
                if and_on {
                    self.republish(subscription, sequence.wrapping_add(1), true);
                }
                self.search();
                Ok(())
            }
            // The server does not have it (any more).
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// A notification came that nobody can read: all that is watched is read, which
    /// finds the one that is to blame and the values that came with it.
    fn search(&mut self) {
        let watched = self.subscriptions.some_watched(0, usize::MAX);
        self.begin_read(watched);
    }

    pub(super) fn published(
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
                self.subscriptions.published(id, Instant::now());
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
        if error.is_unreadable() {
            self.heard();
            self.publish_from = Instant::now() + PUBLISH_PAUSE;
            self.search();
            return Ok(());
        }
        match error.status() {
            Some(StatusCode::BadNoSubscription) => {
                for id in self.subscriptions.server_ids() {
                    self.subscriptions.drop_subscription(id, Instant::now());
                }
            }
            Some(StatusCode::BadTooManyPublishRequests) => {
                self.publish_most = self.publishing.max(1);
            }
            // One that waited for too long at a server that is alive.
            Some(StatusCode::BadTimeout) => {}
            None if matches!(error, WireError::Timeout { .. }) => {}
            _ => self.publish_from = Instant::now() + PUBLISH_PAUSE,
        }
        Ok(())
    }

    /// A notification: values in the order in which the server had them.
    pub(super) fn notified(
        &mut self,
        message: NotificationMessage,
        subscription: u32,
        samples: &mut Samples,
    ) {
        let (mut values, mut is_known) = (Vec::new(), true);
        for data in message.notification_data.into_iter().flatten() {
            if let Some(change) = data.inner_as::<StatusChangeNotification>() {
                // Another session has it now; that is no bad status.
                let is_taken = change.status == StatusCode::GoodSubscriptionTransferred;
                if change.status.is_bad() || is_taken {
                    self.subscriptions
                        .drop_subscription(subscription, Instant::now());
                }
                continue;
            }
            let Some(changes) = data.into_inner_as::<DataChangeNotification>() else {
                continue;
            };
            let items = changes.monitored_items.unwrap_or_default();
            let handles = items.iter().map(|item| item.client_handle);
            if !items.is_empty() && !self.subscriptions.is_ours(subscription, handles) {
                self.subscriptions
                    .drop_subscription(subscription, Instant::now());
            }
            for item in items {
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
    pub(super) fn lose(&mut self, point: u32, field: &Point) {
        self.server.forget(&field.place);
        if let Some((subscription, id)) = self.subscriptions.lost(point, Instant::now()) {
            self.delete_later(subscription, vec![id]);
        }
    }

    pub(super) fn built(
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
                        .add_subscription(id, publishing_ms, keep_alive, now);
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
                                self.subscriptions.drop_subscription(id, Instant::now());
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
    pub(super) fn settle(&mut self, subscription: u32, built: Built, samples: &mut Samples) {
        let now = Instant::now();
        let time = crate::codec::now_ns();
        let mut orphans = Vec::new();
        for (attempt, result) in built.results {
            match result {
                Ok(_) if !self.subscriptions.has(subscription) => {
                    // Dropped while it was being filled.
                    self.subscriptions.refused(attempt.handle, now);
                }
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
    pub(super) fn warn(&mut self, why: &str) {
        if !std::mem::replace(&mut self.warned, true) {
            let line = format!(
                "{}: the server watches no more nodes ({why}); they are read instead\n",
                self.bus
            );
            // The host's log; who has none misses a warning.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}

//! A server that publishes no more: what is done about it.
//!
//! A dead line and a server that answers but has forgotten to publish look the
//! same from a subscription's clock. So the server is asked: the session of a
//! dead line is kept, for what is queued in it; a subscription that a living
//! server does not publish is made anew, and when that does not help, the
//! session.

use std::time::Instant;

use futures::FutureExt;
use longshore_sdk::{Reason, RequestError, Samples};

use super::{Link, flight::Answer};
use crate::wire::WireError;

impl Link {
    /// Asks whether the server answers, when something is published no more.
    pub(super) fn doubt(&mut self, now: Instant) {
        if self.doubting || self.subscriptions.silent(now, self.bus.timeout).is_empty() {
            return;
        }
        self.doubting = true;
        let server = self.server.clone();
        self.flight
            .push(async move { Answer::Doubted(server.wire.keep_alive().await) }.boxed());
    }

    /// What the server says, or that it says nothing.
    pub(super) fn doubted(
        &mut self,
        result: Result<(), WireError>,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        self.doubting = false;
        let now = Instant::now();
        // What was published meanwhile is not silent any more.
        let silent = self.subscriptions.silent(now, self.bus.timeout);
        let longest = silent.iter().map(|one| one.time).max();
        let Some(longest) = longest.map(|time| time.as_millis()) else {
            return Ok(());
        };
        let dead = result.is_err();
        let message = match dead {
            true => format!("nothing was heard of the server for {longest} ms"),
            false => format!("the server answers, but has published nothing for {longest} ms"),
        };
        let reason = if dead { Reason::Line } else { Reason::Timeout };
        let time = crate::codec::now_ns();
        let of = |id| self.subscriptions.points_of(id);
        for point in silent.iter().flat_map(|one| of(one.id)) {
            samples.push_bad(point, reason, &message, time);
        }
        if dead {
            self.broken = true;
            return Err(RequestError::Line(message));
        }
        self.heard();
        if silent.iter().any(|one| one.again) {
            self.broken = true;
            self.mute = true;
            return Err(RequestError::Line(message));
        }
        let ids: Vec<_> = silent.iter().map(|one| one.id).collect();
        for id in &ids {
            self.subscriptions.renew(*id, now);
        }
        self.delete_subscriptions_later(ids);
        Ok(())
    }

    /// Subscriptions that were taken over and are somebody else's are let go.
    pub(super) fn give_up_unproven(&mut self, now: Instant) {
        let ids = self.subscriptions.take_unproven(now);
        for id in &ids {
            self.subscriptions.drop_subscription(*id, now);
        }
        self.delete_subscriptions_later(ids);
    }

    fn delete_subscriptions_later(&mut self, ids: Vec<u32>) {
        if ids.is_empty() {
            return;
        }
        let server = self.server.clone();
        self.flight
            .push(async move { Answer::Done(server.wire.delete_subscriptions(ids).await) }.boxed());
    }
}

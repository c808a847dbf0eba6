//! Who wants what.

use std::{sync::Arc, time::Instant};

use super::{Answer, Core};
use crate::{
    codec::{Filter, QoS, Retention, Subscribe, Unsubscribe, WireError, code},
    limits::Limits,
    session::{ConnectionId, Entry, SUBSCRIPTION},
    subscriptions::{Options, SessionId, Subscriber},
    topic::{self, Parsed},
};

impl Core {
    /// 3.8.4
    pub(super) fn subscribe(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        subscribe: Subscribe,
        now: Instant,
    ) -> Result<(), WireError> {
        let mut codes = Vec::with_capacity(subscribe.filters.len());
        let mut waits = false;
        for filter in &subscribe.filters {
            let options = Options {
                qos: filter.qos,
                no_local: filter.no_local,
                as_published: filter.as_published,
                identifier: subscribe.identifier,
            };
            let code = match topic::parse(&filter.filter) {
                None => code::TOPIC_FILTER,
                // 3.8.3.1
                Some(parsed) if parsed.group.is_some() && filter.no_local => {
                    return Err(WireError::protocol("no local for a shared subscription"));
                }
                Some(parsed) => match self.subscribe_one(session, filter, parsed, options, now) {
                    Ok(kept) => {
                        waits |= kept;
                        filter.qos as u8
                    }
                    Err(code) => code,
                },
            };
            codes.push(code);
        }
        let batch = waits.then(|| self.journal.next());
        let answer = Answer::Filters {
            first: 0x90,
            id: subscribe.id,
            codes,
        };
        self.answer(connection, answer, batch);
        self.effects.wake.push(connection);
        Ok(())
    }

    /// Whether it is to be on the disk before it counts.
    fn subscribe_one(
        &mut self,
        id: SessionId,
        filter: &Filter,
        parsed: Parsed<'_>,
        options: Options,
        now: Instant,
    ) -> Result<bool, u8> {
        let who = self.who(id).ok_or(code::UNSPECIFIED)?;
        if !self.access.may_subscribe(who, parsed.filter) {
            return Err(code::NOT_AUTHORIZED);
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return Err(code::UNSPECIFIED);
        };
        let (kept, key) = (session.is_kept(), session.key);
        let known = session.filters.get(filter.filter.as_str());
        let same = known == Some(&options);
        let new = known.is_none();
        if kept && self.failing && !same {
            return Err(code::QUOTA);
        }
        let cost = SUBSCRIPTION + 2 * filter.filter.len();
        if new {
            let many = session.filters.len() >= self.limits.client_subscriptions
                || self.subscriptions.len() >= self.limits.subscriptions;
            if many || self.memory() + cost > Limits::shared(self.limits.memory, false) {
                return Err(code::QUOTA);
            }
            self.overhead += cost;
        }
        let name: Arc<str> = filter.filter.as_str().into();
        if let Some(session) = self.sessions.get_mut(id) {
            session.filters.insert(Arc::clone(&name), options);
        }
        let session = id;
        self.subscriptions
            .insert(parsed, Subscriber { session, options });
        if new {
            self.version += 1;
        }
        let wanted = match filter.retention {
            Retention::Always => true,
            Retention::IfNew => new,
            Retention::Never => false,
        };
        // 4.8.2: a shared subscription gets none.
        if wanted && parsed.group.is_none() {
            self.send_retained(id, parsed.filter, options, now);
        }
        if kept && !same {
            self.journal.filter(key, name, Some(options));
            self.effects.write = true;
        }
        Ok(kept && !same)
    }

    fn send_retained(&mut self, id: SessionId, filter: &str, options: Options, now: Instant) {
        for (topic, entry) in self.retained.matching(filter) {
            let Some(message) = self.shelf.get(entry.message) else {
                continue;
            };
            if message.expires.is_some_and(|expires| expires <= now) {
                if let Some(entry) = self.retained.remove(&topic) {
                    self.let_go(entry.message, false);
                    self.journal.retained(topic, 0);
                    self.effects.write = true;
                }
                continue;
            }
            let (qos, size) = (message.qos.min(options.qos), message.size);
            self.push(
                id,
                Entry {
                    seq: 0,
                    message: Some(entry.message),
                    size,
                    qos,
                    retain: true,
                    identifiers: options.identifier.into_iter().collect(),
                    // It comes from the disk when its turn is.
                    live: false,
                    stored: false,
                    dirty: false,
                },
            );
        }
    }

    /// 3.10.4
    pub(super) fn unsubscribe(
        &mut self,
        connection: ConnectionId,
        id: SessionId,
        unsubscribe: Unsubscribe,
    ) {
        let mut codes = Vec::with_capacity(unsubscribe.filters.len());
        let mut waits = false;
        for filter in &unsubscribe.filters {
            let session = self.sessions.get_mut(id);
            let removed = session.and_then(|session| {
                let (name, _) = session.filters.remove_entry(filter.as_str())?;
                Some((name, session.is_kept(), session.key))
            });
            let Some((name, kept, key)) = removed else {
                codes.push(match topic::parse(filter) {
                    Some(_) => code::NO_SUBSCRIPTION,
                    None => code::TOPIC_FILTER,
                });
                continue;
            };
            if let Some(parsed) = topic::parse(filter) {
                self.subscriptions.remove(parsed, id);
            }
            self.overhead -= SUBSCRIPTION + 2 * filter.len();
            self.version += 1;
            if kept {
                self.journal.filter(key, name, None);
                self.effects.write = true;
                waits = true;
            }
            codes.push(code::SUCCESS);
        }
        // While the disk refuses, the row goes later; the client is told at once.
        let batch = (waits && !self.failing).then(|| self.journal.next());
        let answer = Answer::Filters {
            first: 0xb0,
            id: unsubscribe.id,
            codes,
        };
        self.answer(connection, answer, batch);
    }
}

/// Kept as a number beside the filter.
impl Options {
    pub(crate) fn bits(self) -> u8 {
        self.qos as u8 | u8::from(self.no_local) << 2 | u8::from(self.as_published) << 3
    }

    pub(crate) fn from_bits(bits: u8, identifier: Option<u32>) -> Self {
        Self {
            qos: QoS::new(bits & 3).unwrap_or(QoS::AtMostOnce),
            no_local: bits & 4 != 0,
            as_published: bits & 8 != 0,
            identifier,
        }
    }
}

//! A message goes to those who want it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Answer, Core, Heard, Place};
use crate::{
    codec::{Ack, AckKind, Content, Publish, QoS, Version, Will, WireError, code},
    retained,
    session::{ConnectionId, ENTRY, Entry},
    shelf::{self, MessageId},
    subscriptions::{SessionId, Subscriber},
    topic,
};

/// A message of the owner of the broker.
#[derive(Debug)]
pub struct Own {
    /// What and where.
    pub content: Content,
    /// How.
    pub qos: QoS,
    /// Whether it is kept; an empty one takes the kept one back.
    pub retain: bool,
}

/// A message on its way to the sessions.
struct Routed<'a> {
    content: Content,
    qos: QoS,
    retain: bool,
    expires: Option<Instant>,
    from: Option<SessionId>,
    own: bool,
    now: Instant,
    found: &'a mut Vec<Subscriber>,
}

/// What became of a message.
struct Outcome {
    /// Somebody gets it.
    found: bool,
    /// It is to be on the disk before it counts.
    waits: bool,
}

impl Core {
    /// The owner publishes. False when there is no room for it.
    pub(crate) fn publish_own(&mut self, own: Own, now: Instant) -> bool {
        if !topic::is_name(&own.content.topic) {
            return false;
        }
        self.route(own.content, own.qos, own.retain, None, None, true, now)
            .is_ok()
    }

    pub(super) fn publish_will(&mut self, will: Will, now: Instant) {
        let expires = will
            .expiry
            .map(|expiry| now + Duration::from_secs(expiry.into()));
        let routed = self.route(
            will.content,
            will.qos,
            will.retain,
            expires,
            None,
            false,
            now,
        );
        self.stats.refused += u64::from(routed.is_err());
    }

    /// A client publishes (3.3.4).
    pub(super) fn publish(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        mut publish: Publish,
        now: Instant,
    ) -> Result<(), WireError> {
        self.alias(connection, &mut publish)?;
        if !topic::is_name(&publish.content.topic) {
            return Err(WireError {
                code: code::TOPIC_NAME,
                what: "a topic that cannot be published on",
            });
        }
        self.stats.received += 1;
        let kind = match publish.qos {
            QoS::ExactlyOnce => AckKind::PubRec,
            _ => AckKind::PubAck,
        };
        let Some(known) = self.sessions.get_mut(session) else {
            return Ok(());
        };
        if let (QoS::ExactlyOnce, Some(id)) = (publish.qos, publish.id) {
            // 4.3.3: it came before and is not released.
            if known.received.contains(&id) {
                let code = code::SUCCESS;
                let batch = self.journal.last();
                self.answer(connection, Answer::Ack(Ack { kind, id, code }), batch);
                return Ok(());
            }
            // 3.3.4: no more at a time than was agreed.
            if known.received.len() >= usize::from(self.limits.inflight) * 4 {
                return Err(WireError {
                    code: code::RECEIVE_MAXIMUM,
                    what: "more messages of QoS 2 at a time than the broker takes",
                });
            }
        }
        let old = self.version_of(connection) == Version::V3;
        let (mut code, mut waits) = self.offer(session, &publish, now);
        let told = publish.qos != QoS::AtMostOnce && !old;
        if code == code::QUOTA && publish.retain && !told && !self.failing {
            (code, waits) = self.offer_unkept(session, &mut publish, now);
        }
        let Some(id) = publish.id else {
            return Ok(());
        };
        // A client of 3.1.1 cannot be told; it would take silence for success.
        if code == code::QUOTA && old {
            return Err(WireError {
                code,
                what: "a message that there is no room for, and MQTT 3.1.1 has no other answer",
            });
        }
        if publish.qos == QoS::ExactlyOnce
            && code < code::UNSPECIFIED
            && let Some(known) = self.sessions.get_mut(session)
        {
            known.received.insert(id);
            if waits && known.is_kept() {
                self.journal.session(session);
            }
        }
        let batch = waits.then(|| self.journal.next());
        self.answer(connection, Answer::Ack(Ack { kind, id, code }), batch);
        Ok(())
    }

    fn version_of(&self, connection: ConnectionId) -> Version {
        let known = self.connections.get(connection);
        known.map_or(Version::V5, |known| known.version)
    }

    /// 3.3.2.3.4
    fn alias(&mut self, connection: ConnectionId, publish: &mut Publish) -> Result<(), WireError> {
        const WRONG: WireError = WireError {
            code: code::TOPIC_ALIAS,
            what: "a topic alias that was not given",
        };
        let Some(alias) = publish.alias else {
            return Ok(());
        };
        let known = self.connections.get_mut(connection);
        let place = known
            .and_then(|known| known.aliases.get_mut(usize::from(alias).checked_sub(1)?))
            .ok_or(WRONG)?;
        if publish.content.topic.is_empty() {
            publish.content.topic = place.clone().ok_or(WRONG)?;
        } else {
            *place = Some(Arc::clone(&publish.content.topic));
        }
        Ok(())
    }

    /// How it goes, and whether that is so only when it is on the disk.
    fn offer(&mut self, session: SessionId, publish: &Publish, now: Instant) -> (u8, bool) {
        let topic = &publish.content.topic;
        let Some(who) = self.who(session) else {
            return (code::UNSPECIFIED, false);
        };
        if !self.access.may_publish(who, topic) {
            self.stats.refused += 1;
            return (code::NOT_AUTHORIZED, false);
        }
        let listens = self.access.listens(topic);
        let client = listens.then(|| Arc::from(who.client));
        let expires = publish
            .expiry
            .map(|expiry| now + Duration::from_secs(expiry.into()));
        let content = publish.content.clone();
        let routed = self.route(
            content,
            publish.qos,
            publish.retain,
            expires,
            Some(session),
            false,
            now,
        );
        match routed {
            Err(code) => {
                self.stats.refused += 1;
                (code, false)
            }
            Ok(outcome) => {
                if let Some(client) = client {
                    self.effects.heard.push(Heard {
                        client,
                        topic: Arc::clone(topic),
                        payload: publish.content.payload.clone(),
                    });
                }
                let code = match outcome.found || listens {
                    true => code::SUCCESS,
                    false => code::NO_SUBSCRIBERS,
                };
                (code, outcome.waits)
            }
        }
    }

    /// A message to be retained that there is no room for, of a client that no
    /// answer can tell: cut off, it would come back with the same message for ever.
    /// So those who listen get it, and it counts as refused. What was retained on its
    /// topic goes, since it is not so any more.
    fn offer_unkept(
        &mut self,
        session: SessionId,
        publish: &mut Publish,
        now: Instant,
    ) -> (u8, bool) {
        publish.retain = false;
        let (code, mut waits) = self.offer(session, publish, now);
        if code < code::UNSPECIFIED {
            waits |= self.retain(Arc::clone(&publish.content.topic), None, false);
        }
        (code, waits)
    }

    #[allow(clippy::too_many_arguments)]
    fn route(
        &mut self,
        content: Content,
        qos: QoS,
        retain: bool,
        expires: Option<Instant>,
        from: Option<SessionId>,
        own: bool,
        now: Instant,
    ) -> Result<Outcome, u8> {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let outcome = self.route_to(Routed {
            content,
            qos,
            retain,
            expires,
            from,
            own,
            now,
            found: &mut found,
        });
        self.found = found;
        outcome
    }

    fn route_to(&mut self, message: Routed<'_>) -> Result<Outcome, u8> {
        let Routed {
            content,
            qos,
            retain,
            expires,
            from,
            own,
            now,
            found,
        } = message;
        let size = content.size();
        // What a client publishes is bounded by what a packet may be.
        let sessions = &self.sessions;
        let here = |id: SessionId| sessions.get(id).is_some_and(|s| s.connection.is_some());
        self.subscriptions
            .each(&content.topic, &here, &mut |subscriber| {
                if !(subscriber.options.no_local && from == Some(subscriber.session)) {
                    found.push(*subscriber);
                }
            });
        // A client that subscribed twice gets one message, with the higher QoS.
        found.sort_by_key(|subscriber| subscriber.session);
        let keeps = retain && !content.payload.is_empty();
        let to_disk = |subscriber: &&Subscriber| {
            subscriber.options.qos.min(qos) > QoS::AtMostOnce && !here(subscriber.session)
        };
        let away = found.iter().filter(to_disk).count();
        if self.failing && !own && (keeps || away > 0) {
            return Err(code::QUOTA);
        }
        if found.is_empty() && !retain {
            return Ok(Outcome {
                found: false,
                waits: false,
            });
        }
        let entries = found.len() * ENTRY;
        if !self.make_room(size + shelf::COST + entries, own, now) {
            return Err(code::QUOTA);
        }
        if keeps && !self.may_retain(&content.topic, size, own) {
            return Err(code::QUOTA);
        }
        let disk = size + shelf::COST + away * ENTRY;
        if away > 0 && !self.make_room_on_disk(disk, own) {
            return Err(code::QUOTA);
        }
        let topic = Arc::clone(&content.topic);
        let id = self.shelf.put(content, qos, expires);
        let mut waits = self.deliver(id, size, qos, retain, found);
        if retain {
            waits |= self.retain(topic, keeps.then_some((id, size)), own);
        }
        self.let_go(id, true);
        Ok(Outcome {
            found: !found.is_empty(),
            waits,
        })
    }

    /// Puts a message into the sessions' queues; whether one of them is away.
    fn deliver(
        &mut self,
        message: MessageId,
        size: usize,
        qos: QoS,
        retain: bool,
        found: &[Subscriber],
    ) -> bool {
        let mut waits = false;
        for group in found.chunk_by(|a, b| a.session == b.session) {
            let options = group.iter().map(|subscriber| subscriber.options);
            let most = options.clone().map(|options| options.qos).max();
            let identifiers = options.clone().filter_map(|options| options.identifier);
            let entry = Entry {
                seq: 0,
                message: Some(message),
                size,
                qos: most.unwrap_or(QoS::AtMostOnce).min(qos),
                retain: retain && options.clone().any(|options| options.as_published),
                identifiers: identifiers.collect(),
                live: true,
                stored: false,
                dirty: false,
            };
            waits |= self.push(group[0].session, entry);
        }
        waits
    }

    /// A message for a session; whether it has to be on the disk.
    pub(super) fn push(&mut self, id: SessionId, mut entry: Entry) -> bool {
        let Some(session) = self.sessions.get(id) else {
            return false;
        };
        let connection = session.connection;
        // Nobody waits for QoS 0.
        if connection.is_none() && entry.qos == QoS::AtMostOnce {
            return false;
        }
        if !self.make_room_in(id, entry.size, entry.live) {
            return false;
        }
        let Some(message) = entry.message else {
            return false;
        };
        entry.live &= connection.is_some();
        entry.stored = false;
        entry.dirty = connection.is_none();
        self.shelf.hold(message, entry.live);
        self.overhead += ENTRY;
        let Some(session) = self.sessions.get_mut(id) else {
            return false;
        };
        let idle = session.queue.is_empty();
        let (key, size) = (session.key, entry.size);
        let seq = session.push(entry);
        match connection {
            Some(connection) => {
                if idle {
                    self.effects.wake.push(connection);
                }
                false
            }
            None => {
                self.shelf.book(message);
                let kept = self.shelf.get(message);
                let refusable = kept.is_some_and(|kept| kept.qos == QoS::AtLeastOnce);
                self.journal.entry(Place { id, key, seq }, size, refusable);
                self.effects.write = true;
                true
            }
        }
    }

    /// Keeps the latest message of a topic, or keeps none any more; whether that is
    /// to be on the disk.
    fn retain(&mut self, topic: Arc<str>, kept: Option<(MessageId, usize)>, own: bool) -> bool {
        let former = match kept {
            Some((message, size)) => {
                self.shelf.hold(message, false);
                self.shelf.book(message);
                let entry = retained::Entry { message, size, own };
                self.retained.insert(Arc::clone(&topic), entry)
            }
            None => match self.retained.remove(&topic) {
                None => return false,
                former => former,
            },
        };
        if let Some(former) = former {
            self.let_go(former.message, false);
        }
        self.journal
            .retained(topic, kept.map_or(0, |(_, size)| size));
        self.effects.write = true;
        true
    }
}

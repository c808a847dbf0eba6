//! Clients come, and go as they said.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{ALIASES, Answer, Connection, Core, Restored};
use crate::{
    access::Who,
    codec::{ConnAck, Connect, Version, Will, WireError, code},
    limits::Limits,
    session::{self, ConnectionId, Session},
    shelf::MessageId,
    subscriptions::{SessionId, Subscriber},
    topic,
};

/// The longest id of a client.
const LONGEST_ID: usize = 1024;
/// A client of MQTT 5 that wants none gets this keep-alive; the system looks after
/// the connections of the others.
const KEEP_ALIVE: u16 = 3600;

impl Connection {
    fn new(version: Version) -> Self {
        Self {
            version,
            session: None,
            answers: VecDeque::new(),
            closing: None,
            will: None,
            receive_maximum: 1,
            maximum_packet: usize::MAX,
            aliases: Vec::new(),
            writing: Vec::new(),
            loaded: Vec::new(),
            unanswered: 0,
            accepted: false,
        }
    }
}

impl Core {
    /// A connection says who it is, and has shown that it is. Whether it is
    /// accepted or not, the answer waits in the connection that this gives.
    pub(crate) fn connect(&mut self, connect: Connect, now: Instant) -> ConnectionId {
        let version = connect.version;
        let connection = self.connections.insert(Connection {
            receive_maximum: connect.receive_maximum.min(self.limits.inflight),
            maximum_packet: usize::try_from(connect.maximum_packet).unwrap_or(usize::MAX),
            ..Connection::new(version)
        });
        if let Err(reason) = self.accept(connection, connect, now) {
            self.reject(connection, reason);
        }
        connection
    }

    /// A connection that is refused before anything is known of it.
    pub(crate) fn rejected(&mut self, version: Version, reason: u8) -> ConnectionId {
        let connection = self.connections.insert(Connection::new(version));
        self.reject(connection, reason);
        connection
    }

    pub(super) fn reject(&mut self, connection: ConnectionId, reason: u8) {
        self.stats.rejected += 1;
        let refused = Answer::ConnAck(Box::new(ConnAck::refused(reason)));
        self.answer(connection, refused, None);
        if let Some(known) = self.connections.get_mut(connection) {
            known.closing = Some(code::SUCCESS);
        }
    }

    fn accept(
        &mut self,
        connection: ConnectionId,
        mut connect: Connect,
        now: Instant,
    ) -> Result<(), u8> {
        if connect.has_method {
            return Err(code::AUTH_METHOD);
        }
        if self.connections.len() > self.limits.connections {
            return Err(code::QUOTA);
        }
        let asked = connect.expiry;
        let most = u32::try_from(self.limits.session_expiry.as_secs()).unwrap_or(u32::MAX);
        connect.expiry = asked.min(most);
        let client = self.client_id(&connect)?;
        let chosen = connect.client.is_empty();
        let who = Who {
            client: &client,
            user: connect.user.as_deref(),
        };
        if let Some(will) = &connect.will {
            check_will(will)?;
            if !self.access.may_publish(who, &will.content.topic) {
                return Err(code::NOT_AUTHORIZED);
            }
        }
        let (id, present) = self.session(&client, &connect, now)?;
        let mut waits = None;
        if let Some(session) = self.sessions.get_mut(id) {
            session.connection = Some(connection);
            session.expiry = Duration::from_secs(connect.expiry.into());
            session.ends = None;
            session.will = None;
            session.sent.iter_mut().for_each(|sent| sent.again = true);
            if session.is_kept() {
                if !session.stored {
                    session.stored = true;
                    waits = Some(self.journal.next());
                }
                self.journal.session(id);
                self.effects.write = true;
            }
        }
        if let Some(known) = self.connections.get_mut(connection) {
            known.session = Some(id);
            known.will = connect.will;
            known.aliases = vec![None; usize::from(ALIASES)];
        }
        let answer = ConnAck {
            code: code::SUCCESS,
            present,
            client: chosen.then_some(client),
            expiry: (connect.expiry != asked).then_some(connect.expiry),
            keep_alive: (connect.keep_alive == 0).then_some(KEEP_ALIVE),
            receive_maximum: self.limits.inflight,
            maximum_packet: u32::try_from(self.limits.packet).unwrap_or(u32::MAX),
            aliases: ALIASES,
        };
        self.answer(connection, Answer::ConnAck(Box::new(answer)), waits);
        self.effects.wake.push(connection);
        Ok(())
    }

    fn client_id(&self, connect: &Connect) -> Result<Arc<str>, u8> {
        if connect.client.len() > LONGEST_ID {
            return Err(code::CLIENT_ID);
        }
        if !connect.client.is_empty() {
            return Ok(connect.client.as_str().into());
        }
        // 3: 3.1.3.1: a session that is kept needs a name.
        if connect.version == Version::V3 && !connect.clean {
            return Err(code::CLIENT_ID);
        }
        let name = || format!("auto-{:016x}", fastrand::u64(..));
        Ok(std::iter::repeat_with(name)
            .find(|name| !self.clients.contains_key(name.as_str()))
            .unwrap_or_default()
            .into())
    }

    /// The client's session, made if it is not there, and whether it was.
    fn session(
        &mut self,
        client: &Arc<str>,
        connect: &Connect,
        now: Instant,
    ) -> Result<(SessionId, bool), u8> {
        if let Some(id) = self.clients.get(client).copied()
            && let Some(session) = self.sessions.get(id)
        {
            // A session is its user's, whoever knows its name.
            if session.user.as_deref() != connect.user.as_deref() {
                return Err(code::NOT_AUTHORIZED);
            }
            if let Some(former) = session.connection {
                // 3.1.4: the one that was there goes.
                self.close(former, code::TAKEN_OVER, now);
            }
            if connect.clean {
                self.end(id, now);
            } else if self.sessions.contains(id) {
                return Ok((id, true));
            }
        }
        if connect.expiry > 0 && self.failing {
            return Err(code::UNAVAILABLE);
        }
        let cost = Session::cost(client);
        let memory = Limits::shared(self.limits.memory, false);
        if self.sessions.len() >= self.limits.sessions || self.memory() + cost > memory {
            tracing::warn!(
                client = &**client,
                sessions = self.sessions.len(),
                "MQTT client refused: there are as many sessions as bus.limits allows"
            );
            return Err(code::QUOTA);
        }
        self.next_key += 1;
        let user = connect.user.as_deref().map(Into::into);
        let session = Session::new(Arc::clone(client), user, self.next_key);
        let id = self.sessions.insert(session);
        self.clients.insert(Arc::clone(client), id);
        self.overhead += cost;
        Ok((id, false))
    }

    /// The client goes as it wants to (3.14).
    pub(super) fn disconnected(
        &mut self,
        connection: ConnectionId,
        id: SessionId,
        reason: u8,
        expiry: Option<u32>,
        now: Instant,
    ) -> Result<(), WireError> {
        if let (Some(expiry), Some(session)) = (expiry, self.sessions.get_mut(id)) {
            if !session.is_kept() && expiry > 0 {
                return Err(WireError::protocol("a session that was not to be kept"));
            }
            let expiry = Duration::from_secs(expiry.into());
            session.expiry = expiry.min(self.limits.session_expiry);
        }
        self.detach(connection, reason != code::SUCCESS, now);
        if let Some(known) = self.connections.get_mut(connection) {
            known.closing = Some(code::SUCCESS);
            self.effects.wake.push(connection);
        }
        Ok(())
    }

    /// Takes up what was on the disk.
    pub(super) fn put_back(&mut self, restored: Restored, now: Instant) {
        let mut places = std::collections::HashMap::new();
        for (row, size, qos, left) in restored.messages {
            let expires = left.map(|left| now + left);
            places.insert(row, self.shelf.restore(row, size, qos, expires));
        }
        let place = |row| places.get(&row).copied();
        for (topic, row, own) in restored.retained {
            let Some(message) = place(row) else { continue };
            self.shelf.hold(message, false);
            let size = self.shelf.get(message).map_or(0, |message| message.size);
            let entry = crate::retained::Entry { message, size, own };
            self.retained.insert(topic, entry);
        }
        for kept in restored.sessions {
            self.put_session_back(kept, &place, now);
        }
        // Those that nobody refers to were left by a crash.
        for message in places.into_values() {
            self.let_go(message, false);
        }
    }

    fn put_session_back(
        &mut self,
        kept: super::RestoredSession,
        place: &impl Fn(u64) -> Option<MessageId>,
        now: Instant,
    ) {
        let mut session = Session::new(kept.client, kept.user, kept.key);
        session.expiry = kept.expiry;
        session.stored = true;
        session.ends = Some(now + kept.left);
        session.received = kept.received.into_iter().collect();
        session.received_stored = !session.received.is_empty();
        self.overhead += Session::cost(&session.client);
        let mut sent = Vec::new();
        for row in kept.entries {
            let message = row.message.and_then(place);
            let size = message.and_then(|message| self.shelf.get(message));
            let entry = session::Entry {
                seq: row.seq,
                message,
                size: size.map_or(0, |message| message.size),
                qos: row.qos,
                retain: row.retain,
                identifiers: row.identifiers,
                live: false,
                stored: true,
                dirty: false,
            };
            // Only what was released may be without its message.
            if message.is_none() && row.id.is_none() {
                continue;
            }
            if let Some(message) = message {
                self.shelf.hold(message, false);
            }
            self.overhead += session::ENTRY;
            self.entries_on_disk += 1;
            session.next_seq = session.next_seq.max(row.seq + 1);
            match row.id {
                Some(id) => sent.push((id, entry)),
                None => {
                    session.next_seq = row.seq;
                    session.push(entry);
                }
            }
        }
        for (id, entry) in sent {
            session.next_seq = session.next_seq.max(entry.seq + 1);
            session.send(id, entry);
        }
        let client = Arc::clone(&session.client);
        let filters = kept.filters;
        let id = self.sessions.insert(session);
        self.clients.insert(client, id);
        for (filter, options) in filters {
            let Some(parsed) = topic::parse(&filter) else {
                continue;
            };
            let subscriber = Subscriber {
                session: id,
                options,
            };
            self.subscriptions.insert(parsed, subscriber);
            self.overhead += session::SUBSCRIPTION + 2 * filter.len();
            if let Some(session) = self.sessions.get_mut(id) {
                session.filters.insert(filter, options);
            }
        }
        self.wait_until(now + kept.left);
    }
}

fn check_will(will: &Will) -> Result<(), u8> {
    match topic::is_name(&will.content.topic) {
        true => Ok(()),
        false => Err(code::TOPIC_NAME),
    }
}

//! The broker without sockets, files and clocks.
//!
//! Whoever drives it tells what came ([`Core::connect`], [`Core::packet`],
//! [`Core::lost`], [`Core::tick`]), asks what to write to a connection
//! ([`Core::pull`]) and what to write to the disk ([`Core::batch`]), and looks into
//! the [`Effects`] for whom to wake. Messages wait here and nowhere else, so that
//! every bound is one comparison.

mod connect;
mod deliver;
mod journal;
mod publish;
mod room;
mod subscribe;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use slab::Slab;

use crate::{
    access::{Access, Who},
    codec::{Ack, ConnAck, Packet, Version, Will, WireError, code},
    limits::Limits,
    retained::Retained,
    session::{ConnectionId, Entry, Session},
    shelf::{MessageId, Row, Shelf},
    stats::Stats,
    subscriptions::{SessionId, Subscriptions},
};

pub use self::publish::Own;
pub(crate) use self::{
    deliver::Pulled,
    journal::{Batch, Change, Journal, Place},
};

/// A number for a topic, of a client of MQTT 5.
const ALIASES: u16 = 16;

/// What a change asks its driver to do.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Connections that have something to write, or to end for.
    pub(crate) wake: Vec<ConnectionId>,
    /// Messages for the owner of the broker.
    pub(crate) heard: Vec<Heard>,
    /// Somebody waits for what is to be written to the disk.
    pub(crate) urgent: bool,
    /// Something is to be written, and nobody waits for it.
    pub(crate) write: bool,
    /// [`Core::due`] is sooner than it was.
    pub(crate) sooner: bool,
}

/// A message that the owner of the broker listens to.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Who published it.
    pub client: Arc<str>,
    /// Where.
    pub topic: Arc<str>,
    /// What.
    pub payload: Bytes,
}

/// An answer to a client, in its turn.
#[derive(Debug)]
enum Answer {
    ConnAck(Box<ConnAck>),
    Ack(Ack),
    /// SUBACK or UNSUBACK.
    Filters {
        first: u8,
        id: u16,
        codes: Vec<u8>,
    },
    Pong,
}

/// An answer is given when the batch is on the disk that it promises.
#[derive(Debug)]
struct Waiting {
    answer: Answer,
    batch: Option<u64>,
}

#[derive(Debug)]
struct Connection {
    version: Version,
    /// None once it has ended, or another connection has taken it.
    session: Option<SessionId>,
    answers: VecDeque<Waiting>,
    /// The rest is only to write what is left, and this.
    closing: Option<u8>,
    will: Option<Will>,
    receive_maximum: u16,
    maximum_packet: usize,
    aliases: Vec<Option<Arc<str>>>,
    /// Messages whose bytes are being written to the socket.
    writing: Vec<MessageId>,
    /// Messages that were brought from the disk for it.
    loaded: Vec<MessageId>,
    /// Publishes that wait for the disk.
    unanswered: usize,
    accepted: bool,
}

/// The broker.
pub(crate) struct Core {
    limits: Limits,
    access: Arc<dyn Access>,
    shelf: Shelf,
    sessions: Slab<Session>,
    clients: HashMap<Arc<str>, SessionId>,
    connections: Slab<Connection>,
    subscriptions: Subscriptions,
    retained: Retained,
    journal: Journal,
    /// Changes with each change of the subscriptions.
    version: u64,
    /// What sessions, entries and subscriptions cost.
    overhead: usize,
    /// Rows of entries.
    entries_on_disk: usize,
    due: Option<Instant>,
    effects: Effects,
    stats: Stats,
    next_key: u64,
    /// The disk refuses what is written.
    failing: bool,
    found: Vec<crate::subscriptions::Subscriber>,
}

/// What was on the disk.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) sessions: Vec<RestoredSession>,
    /// Row, size, QoS, time left.
    pub(crate) messages: Vec<(Row, usize, crate::codec::QoS, Option<Duration>)>,
    /// Topic, row, and whether it is the owner's.
    pub(crate) retained: Vec<(Arc<str>, Row, bool)>,
    pub(crate) next_row: Row,
    pub(crate) next_key: u64,
}

#[derive(Debug)]
pub(crate) struct RestoredSession {
    pub(crate) key: u64,
    pub(crate) client: Arc<str>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) expiry: Duration,
    pub(crate) left: Duration,
    pub(crate) received: Vec<u16>,
    pub(crate) filters: Vec<(Arc<str>, crate::subscriptions::Options)>,
    pub(crate) entries: Vec<RestoredEntry>,
}

#[derive(Debug)]
pub(crate) struct RestoredEntry {
    pub(crate) seq: u64,
    pub(crate) message: Option<Row>,
    pub(crate) id: Option<u16>,
    pub(crate) qos: crate::codec::QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: Box<[u32]>,
}

impl Core {
    #[cfg(test)]
    pub(crate) fn new(limits: Limits, access: Arc<dyn Access>) -> Self {
        Self::restore(limits, access, Restored::default(), Instant::now())
    }

    /// With what was on the disk.
    pub(crate) fn restore(
        limits: Limits,
        access: Arc<dyn Access>,
        restored: Restored,
        now: Instant,
    ) -> Self {
        let mut core = Self {
            limits,
            access,
            shelf: Shelf::new(restored.next_row),
            sessions: Slab::new(),
            clients: HashMap::new(),
            connections: Slab::new(),
            subscriptions: Subscriptions::default(),
            retained: Retained::default(),
            journal: Journal::default(),
            version: 1,
            overhead: 0,
            entries_on_disk: 0,
            due: None,
            effects: Effects::default(),
            stats: Stats::default(),
            next_key: restored.next_key,
            failing: false,
            found: Vec::new(),
        };
        core.put_back(restored, now);
        core
    }

    /// What the driver has to do after a change.
    pub(crate) fn effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// When [`Core::tick`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn wanted(&self, topic: &str) -> bool {
        self.subscriptions.any(topic)
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            connections: self.connections.len() as u64,
            sessions: self.sessions.len() as u64,
            subscriptions: self.subscriptions.len() as u64,
            retained: self.retained.len() as u64,
            memory_bytes: self.memory() as u64,
            disk_bytes: self.disk() as u64,
            ..self.stats.clone()
        }
    }

    /// A packet of a connection that was accepted.
    pub(crate) fn packet(&mut self, connection: ConnectionId, packet: Packet, now: Instant) {
        let Some(known) = self.connections.get(connection) else {
            return;
        };
        let (Some(session), None) = (known.session, known.closing) else {
            return;
        };
        let done = match packet {
            Packet::Publish(publish) => self.publish(connection, session, publish, now),
            Packet::Ack(ack) => self.acknowledged(connection, session, ack),
            Packet::Subscribe(subscribe) => self.subscribe(connection, session, subscribe, now),
            Packet::Unsubscribe(unsubscribe) => {
                self.unsubscribe(connection, session, unsubscribe);
                Ok(())
            }
            Packet::Ping => {
                self.answer(connection, Answer::Pong, None);
                Ok(())
            }
            Packet::Disconnect { code, expiry } => {
                self.disconnected(connection, session, code, expiry, now)
            }
            Packet::Connect(_) => Err(WireError::protocol("a second CONNECT")),
            Packet::Auth => Err(WireError::protocol("AUTH without a method")),
        };
        if let Err(error) = done {
            self.refuse(connection, error, now);
        }
    }

    /// What came was wrong: the connection ends.
    pub(crate) fn refuse(&mut self, connection: ConnectionId, error: WireError, now: Instant) {
        if let Some(known) = self.connections.get(connection) {
            let client = known.session.and_then(|session| self.sessions.get(session));
            let client = client.map_or("", |session| &session.client);
            tracing::info!(
                client,
                code = format_args!("{:#04x}", error.code),
                reason = error.what,
                "MQTT client disconnected"
            );
        }
        self.close(connection, error.code, now);
    }

    /// Ends a connection after what it is still told; the client is lost.
    pub(crate) fn close(&mut self, connection: ConnectionId, code: u8, now: Instant) {
        if let Some(known) = self.connections.get_mut(connection)
            && known.closing.is_none()
        {
            known.closing = Some(code);
            self.effects.wake.push(connection);
            self.detach(connection, true, now);
        }
    }

    /// The socket is gone, or is about to be closed.
    pub(crate) fn lost(&mut self, connection: ConnectionId, now: Instant) {
        self.detach(connection, true, now);
        if let Some(gone) = self.connections.try_remove(connection) {
            for message in gone.writing.into_iter().chain(gone.loaded) {
                self.let_go(message, true);
            }
        }
    }

    /// The broker stops: all clients are told, and what they leave is kept.
    pub(crate) fn stop(&mut self, now: Instant) {
        let all: Vec<_> = self.connections.iter().map(|(id, _)| id).collect();
        for connection in all {
            self.close(connection, code::SHUTTING_DOWN, now);
        }
    }

    /// Does what is due: ends sessions, publishes wills.
    pub(crate) fn tick(&mut self, now: Instant) {
        let ended: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.ends.is_some_and(|ends| ends <= now))
            .map(|(id, _)| id)
            .collect();
        for session in ended {
            self.end(session, now);
        }
        let mut wills = Vec::new();
        for (_, session) in &mut self.sessions {
            if session.will.as_ref().is_some_and(|(due, _)| *due <= now) {
                wills.extend(session.will.take());
            }
        }
        for (_, will) in wills {
            self.publish_will(will, now);
        }
        let sessions = self.sessions.iter().map(|(_, session)| session);
        let due = |session: &Session| {
            let will = session.will.as_ref().map(|(due, _)| *due);
            [session.ends, will].into_iter().flatten().min()
        };
        self.due = sessions.filter_map(due).min();
    }

    fn wait_until(&mut self, due: Instant) {
        if self.due.is_none_or(|known| due < known) {
            self.due = Some(due);
            self.effects.sooner = true;
        }
    }

    /// Parts a session from its connection.
    fn detach(&mut self, connection: ConnectionId, lost: bool, now: Instant) {
        let Some(known) = self.connections.get_mut(connection) else {
            return;
        };
        let will = known.will.take().filter(|_| lost);
        let Some(id) = known.session.take() else {
            return;
        };
        let loaded = std::mem::take(&mut known.loaded);
        for message in loaded {
            self.let_go(message, true);
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.connection = None;
        let kept = session.is_kept();
        let mut at_once = None;
        if let Some(will) = will {
            let delay = Duration::from_secs(will.delay.into()).min(session.expiry);
            if delay.is_zero() || !kept {
                at_once = Some(will);
            } else {
                session.will = Some((now + delay, will));
                self.wait_until(now + delay);
            }
        }
        if kept {
            self.leave(id, now);
        } else {
            self.end(id, now);
        }
        if let Some(will) = at_once {
            self.publish_will(will, now);
        }
    }

    /// The client of a session that is kept has left: what waits for it goes to the
    /// disk.
    fn leave(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let ends = now + session.expiry;
        session.ends = Some(ends);
        let zeros = session.take_zeros();
        session.live = 0;
        let sent = session.sent.iter_mut().map(|sent| &mut sent.entry);
        let mut messages = Vec::new();
        let mut dirty = Vec::new();
        for (entry, on_its_way) in sent
            .map(|entry| (entry, true))
            .chain(session.queue.iter_mut().map(|entry| (entry, false)))
        {
            if std::mem::take(&mut entry.live) {
                messages.extend(entry.message);
            }
            // Those on the way have a packet id that the row does not know.
            if on_its_way || !entry.stored {
                entry.dirty = true;
                dirty.push((entry.seq, entry.size));
            }
        }
        let key = session.key;
        for (seq, size) in dirty {
            self.journal.entry(Place { id, key, seq }, size, false);
        }
        self.journal.session(id);
        self.effects.write = true;
        self.wait_until(ends);
        for entry in zeros {
            self.drop_entry(id, &entry);
        }
        for message in messages {
            self.shelf.book(message);
            self.shelf.set_live(message, false);
        }
        self.keep_away_bound(id);
    }

    /// A session is forgotten.
    fn end(&mut self, id: SessionId, now: Instant) {
        let Some(mut session) = self.sessions.try_remove(id) else {
            return;
        };
        self.clients.remove(&session.client);
        self.overhead -= Session::cost(&session.client);
        for filter in session.filters.keys() {
            if let Some(parsed) = crate::topic::parse(filter) {
                self.subscriptions.remove(parsed, id);
            }
            self.overhead -= crate::session::SUBSCRIPTION + 2 * filter.len();
        }
        if !session.filters.is_empty() {
            self.version += 1;
        }
        let sent = session.sent.drain(..).map(|sent| sent.entry);
        for entry in sent.chain(session.queue.drain(..)) {
            self.forget(&entry, None);
        }
        if session.stored {
            self.journal.ended(session.key);
            self.effects.write = true;
        }
        if let Some((_, will)) = session.will.take() {
            self.publish_will(will, now);
        }
    }

    /// An entry of a session goes without having arrived, or has arrived.
    fn drop_entry(&mut self, session: SessionId, entry: &Entry) {
        let key = self.sessions.get(session).map(|session| session.key);
        self.forget(entry, key);
    }

    /// `key` where the row is to go by itself, and not with the whole session.
    fn forget(&mut self, entry: &Entry, key: Option<u64>) {
        self.overhead -= crate::session::ENTRY;
        if entry.stored {
            self.entries_on_disk -= 1;
            if let Some(key) = key {
                self.journal.unqueue(key, entry.seq);
                self.effects.write = true;
            }
        }
        if let Some(message) = entry.message {
            self.let_go(message, entry.live);
        }
    }

    fn let_go(&mut self, message: MessageId, live: bool) {
        if let Some(gone) = self.shelf.release(message, live) {
            self.journal.gone(gone.0);
            self.effects.write = true;
        }
    }

    fn answer(&mut self, connection: ConnectionId, answer: Answer, batch: Option<u64>) {
        if let Some(known) = self.connections.get_mut(connection) {
            known.answers.push_back(Waiting { answer, batch });
            if let Some(batch) = batch {
                known.unanswered += 1;
                self.journal.awaited(connection, batch);
                self.effects.urgent = true;
            } else {
                self.effects.wake.push(connection);
            }
        }
    }

    fn who(&self, session: SessionId) -> Option<Who<'_>> {
        let session = self.sessions.get(session)?;
        Some(Who {
            client: &session.client,
            user: session.user.as_deref(),
        })
    }

    /// Whether more may be read from a connection: not while too much of what it
    /// sent waits for the disk.
    pub(crate) fn may_read(&self, connection: ConnectionId) -> bool {
        let within = |known: &Connection| known.unanswered < usize::from(self.limits.inflight);
        // While the disk refuses, nothing waits for it.
        let room = self.failing || self.journal.has_room();
        room && self.connections.get(connection).is_none_or(within)
    }
}

/// How long a message is still worth something, in whole seconds; `None` when it
/// is not.
fn left(expires: Instant, now: Instant) -> Option<u32> {
    let left = expires.checked_duration_since(now)?;
    (!left.is_zero()).then(|| u32::try_from(left.as_secs().max(1)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;

//! What is written to a connection, and what its client says of it.

use std::time::Instant;

use super::{Answer, Core, left};
use crate::{
    codec::{Ack, AckKind, Content, Out, WireError, code, publish_size},
    session::ConnectionId,
    shelf::{MessageId, Row},
    subscriptions::SessionId,
};

/// Bytes that are taken out for one connection at a time.
const BUDGET: usize = 64 * 1024;
/// Bytes of QoS 1 and 2 that one client need not have acknowledged. One message
/// may be larger.
const ON_THE_WAY: usize = 256 * 1024;

/// What [`Core::pull`] gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pulled {
    /// All that there is now.
    All,
    /// There is more.
    More,
    /// These are to be brought from the disk first, by [`Core::loaded`].
    Load(Vec<(MessageId, Row)>),
    /// There is no memory to bring something from the disk: again in a moment.
    Later,
    /// The connection ends when this is written.
    Close,
}

/// What is next for a client.
enum Next {
    Nothing,
    Released(u16),
    Message {
        message: MessageId,
        /// It is sent again, as this packet.
        again: Option<u16>,
    },
}

impl Core {
    /// Fills `out`, which must be empty: all that was pulled before is written.
    pub(crate) fn pull(&mut self, connection: ConnectionId, out: &mut Out, now: Instant) -> Pulled {
        let Some(known) = self.connections.get_mut(connection) else {
            return Pulled::Close;
        };
        let written = std::mem::take(&mut known.writing);
        for message in written {
            self.let_go(message, true);
        }
        self.give_answers(connection, out);
        let Some(known) = self.connections.get(connection) else {
            return Pulled::Close;
        };
        if let Some(reason) = known.closing {
            if known.accepted && reason != code::SUCCESS {
                out.disconnect(known.version, reason);
            }
            return Pulled::Close;
        }
        if !known.accepted {
            return Pulled::All;
        }
        let pulled = self.give_messages(connection, out, now);
        if !matches!(pulled, Pulled::Load(_))
            && let Some(known) = self.connections.get_mut(connection)
        {
            for message in std::mem::take(&mut known.loaded) {
                self.let_go(message, true);
            }
        }
        pulled
    }

    fn give_answers(&mut self, connection: ConnectionId, out: &mut Out) {
        let Some(known) = self.connections.get_mut(connection) else {
            return;
        };
        let version = known.version;
        // 4.6: in the order of what they answer.
        while known
            .answers
            .front()
            .is_some_and(|next| next.batch.is_none())
            && let Some(waiting) = known.answers.pop_front()
        {
            match waiting.answer {
                Answer::ConnAck(answer) => {
                    known.accepted = answer.code == code::SUCCESS;
                    out.connack(version, &answer);
                }
                Answer::Ack(ack) => out.ack(version, ack),
                Answer::Filters { first, id, codes } => out.filters(version, first, id, &codes),
                Answer::Pong => out.pong(),
            }
        }
        if known.answers.is_empty() {
            known.answers.shrink_to(4);
        }
    }

    fn give_messages(&mut self, connection: ConnectionId, out: &mut Out, now: Instant) -> Pulled {
        loop {
            if out.len() >= BUDGET {
                return Pulled::More;
            }
            let Some(known) = self.connections.get(connection) else {
                return Pulled::Close;
            };
            let Some(id) = known.session else {
                return Pulled::All;
            };
            let (version, window) = (known.version, known.receive_maximum);
            match self.next(id, window, now) {
                Next::Nothing => return Pulled::All,
                Next::Released(packet) => {
                    let ack = Ack {
                        kind: AckKind::PubRel,
                        id: packet,
                        code: code::SUCCESS,
                    };
                    out.ack(version, ack);
                }
                Next::Message { message, again } => {
                    if self.shelf.content(message).is_none() {
                        let known = self.connections.get(connection);
                        if !known.is_some_and(|known| known.loaded.contains(&message)) {
                            // What is there is written before what is waited for.
                            return match out.is_empty() {
                                true => self.load(connection, id),
                                false => Pulled::More,
                            };
                        }
                        // It was looked for and is not there.
                        self.lose(id, again);
                        continue;
                    }
                    self.give(connection, id, message, again, out, now);
                }
            }
        }
    }

    /// What is next, once what has expired is gone.
    fn next(&mut self, id: SessionId, window: u16, now: Instant) -> Next {
        loop {
            let Some(session) = self.sessions.get_mut(id) else {
                return Next::Nothing;
            };
            let (count, bytes) = session.on_their_way();
            let room = count < usize::from(window) && (bytes < ON_THE_WAY || count == 0);
            if let Some(sent) = session.sent.iter_mut().find(|sent| sent.again) {
                if sent.is_released() {
                    sent.again = false;
                    return Next::Released(sent.id);
                }
                return match (room, sent.entry.message) {
                    (true, Some(message)) => Next::Message {
                        message,
                        again: Some(sent.id),
                    },
                    _ => Next::Nothing,
                };
            }
            let Some(entry) = session.queue.front() else {
                return Next::Nothing;
            };
            let Some(message) = entry.message else {
                return Next::Nothing;
            };
            let expires = self.shelf.get(message).and_then(|message| message.expires);
            if expires.is_some_and(|expires| expires <= now) {
                if let Some(entry) = session.pop() {
                    self.drop_entry(id, &entry);
                }
                continue;
            }
            if entry.qos as u8 > 0 && !room {
                return Next::Nothing;
            }
            return Next::Message {
                message,
                again: None,
            };
        }
    }

    /// Writes a message that is in memory.
    fn give(
        &mut self,
        connection: ConnectionId,
        id: SessionId,
        message: MessageId,
        again: Option<u16>,
        out: &mut Out,
        now: Instant,
    ) {
        let (Some(session), Some(known), Some(kept)) = (
            self.sessions.get_mut(id),
            self.connections.get_mut(connection),
            self.shelf.get(message),
        ) else {
            return;
        };
        let Some(content) = self.shelf.content(message) else {
            return;
        };
        let expiry = kept.expires.and_then(|expires| left(expires, now));
        let version = known.version;
        if let Some(packet) = again {
            let Some(sent) = session.sent.iter_mut().find(|sent| sent.id == packet) else {
                return;
            };
            sent.again = false;
            let entry = &sent.entry;
            let (qos, retain) = (entry.qos, entry.retain);
            let identifiers = &entry.identifiers;
            let size = publish_size(version, content, true, expiry, identifiers);
            if size > known.maximum_packet {
                self.lose(id, again);
                return;
            }
            let packet = Some(packet);
            if out.publish(
                version,
                content,
                packet,
                qos,
                retain,
                true,
                expiry,
                identifiers,
            ) {
                known.writing.push(message);
                self.shelf.hold(message, true);
            }
            self.stats.sent += 1;
            return;
        }
        let Some(entry) = session.pop() else { return };
        let with_id = entry.qos as u8 > 0;
        let size = publish_size(version, content, with_id, expiry, &entry.identifiers);
        if size > known.maximum_packet {
            // 3.1.2.11.4: as if it had been sent.
            self.drop_entry(id, &entry);
            self.note_lost(id);
            return;
        }
        let packet = with_id.then(|| session.packet_id());
        let (qos, retain) = (entry.qos, entry.retain);
        let identifiers = &entry.identifiers;
        if out.publish(
            version,
            content,
            packet,
            qos,
            retain,
            false,
            expiry,
            identifiers,
        ) {
            known.writing.push(message);
            self.shelf.hold(message, true);
        }
        self.stats.sent += 1;
        match packet {
            Some(packet) => session.send(packet, entry),
            None => self.drop_entry(id, &entry),
        }
    }

    /// A message that cannot be sent, though it should.
    fn lose(&mut self, id: SessionId, again: Option<u16>) {
        let session = self.sessions.get_mut(id);
        let entry = session.and_then(|session| match again {
            Some(packet) => session.arrived(packet),
            None => session.pop(),
        });
        if let Some(entry) = entry {
            self.drop_entry(id, &entry);
            self.note_lost(id);
        }
    }

    /// What is to be brought from the disk for what comes next.
    fn load(&mut self, connection: ConnectionId, id: SessionId) -> Pulled {
        let Some(session) = self.sessions.get(id) else {
            return Pulled::All;
        };
        let again = session.sent.iter().filter(|sent| sent.again);
        let entries = again.map(|sent| &sent.entry).chain(session.queue.iter());
        let mut bytes = 0;
        let mut wanted: Vec<(MessageId, Row)> = Vec::new();
        for entry in entries {
            let Some(message) = entry.message else {
                continue;
            };
            let Some(kept) = self.shelf.get(message) else {
                continue;
            };
            if self.shelf.content(message).is_some() || wanted.iter().any(|(id, _)| *id == message)
            {
                continue;
            }
            bytes += kept.size;
            if !wanted.is_empty() && bytes > BUDGET {
                break;
            }
            wanted.extend(kept.row.map(|row| (message, row)));
        }
        let size = |(id, _): &(MessageId, Row)| self.shelf.get(*id).map_or(0, |kept| kept.size);
        let needed: usize = wanted.iter().map(size).sum();
        if self.memory() + needed > self.limits.memory {
            return Pulled::Later;
        }
        let Some(known) = self.connections.get_mut(connection) else {
            return Pulled::Close;
        };
        for (message, _) in &wanted {
            self.shelf.hold(*message, true);
            known.loaded.push(*message);
        }
        Pulled::Load(wanted)
    }

    /// What was asked for, as far as it was there.
    pub(crate) fn loaded(&mut self, found: Vec<(MessageId, Row, Content)>) {
        for (message, row, content) in found {
            self.shelf.load(message, row, content);
        }
    }

    /// A client acknowledges (4.3).
    pub(super) fn acknowledged(
        &mut self,
        connection: ConnectionId,
        id: SessionId,
        ack: Ack,
    ) -> Result<(), WireError> {
        let Some(session) = self.sessions.get_mut(id) else {
            return Ok(());
        };
        match ack.kind {
            AckKind::PubRec if ack.code < code::UNSPECIFIED => {
                let released = session.received(ack.id);
                let code = match released {
                    Some(_) => code::SUCCESS,
                    None => code::NO_PACKET_ID,
                };
                if let Some(Some((message, live))) = released {
                    self.let_go(message, live);
                }
                let ack = Ack {
                    kind: AckKind::PubRel,
                    id: ack.id,
                    code,
                };
                self.answer(connection, Answer::Ack(ack), None);
            }
            AckKind::PubAck | AckKind::PubRec | AckKind::PubComp => {
                // One that is not known was acknowledged before the connection broke.
                if let Some(entry) = session.arrived(ack.id) {
                    let more = !session.queue.is_empty() || session.sent.iter().any(|s| s.again);
                    self.drop_entry(id, &entry);
                    if more {
                        self.effects.wake.push(connection);
                    }
                }
            }
            AckKind::PubRel => {
                let code = match session.received.remove(&ack.id) {
                    true => code::SUCCESS,
                    false => code::NO_PACKET_ID,
                };
                // The id may come again for another message, so the disk must not
                // remember it.
                let batch = session.received_stored.then(|| {
                    self.journal.session(id);
                    self.effects.write = true;
                    self.journal.next()
                });
                let ack = Ack {
                    kind: AckKind::PubComp,
                    id: ack.id,
                    code,
                };
                self.answer(connection, Answer::Ack(ack), batch);
            }
        }
        Ok(())
    }
}

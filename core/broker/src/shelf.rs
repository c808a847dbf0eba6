//! Messages, each kept once, however many sessions wait for it.
//!
//! A message lives as long as somebody refers to it. Its bytes are in memory until
//! they are on the disk and nobody who is connected is about to get them; then only
//! its size is. The shelf counts both, exactly.

use std::time::Instant;

use slab::Slab;

use crate::codec::{Content, QoS};

/// A message, by its place.
pub(crate) type MessageId = usize;
/// A message on the disk.
pub(crate) type Row = u64;

/// Bytes that a message costs beside its own.
pub(crate) const COST: usize = 160;
/// What is no larger than this stays in memory for as long as it lives.
const SMALL: usize = 256;

/// How far a message is on its way to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Nobody needs it there.
    No,
    /// In the batch that is being written.
    Writing,
    /// There.
    Yes,
}

#[derive(Debug)]
pub(crate) struct Message {
    content: Option<Content>,
    /// Topic, properties and payload.
    pub(crate) size: usize,
    pub(crate) qos: QoS,
    pub(crate) expires: Option<Instant>,
    pub(crate) row: Option<Row>,
    pub(crate) kept: Kept,
    refs: usize,
    /// Of `refs`, those for which the bytes must be in memory.
    live: usize,
    /// Counted as on the disk, or about to be.
    on_disk: bool,
}

/// What is told when a message is on the disk and nobody needs it any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone(pub(crate) Row);

/// All messages.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    messages: Slab<Message>,
    memory: usize,
    disk: usize,
    next_row: Row,
}

impl Shelf {
    pub(crate) fn new(next_row: Row) -> Self {
        Self {
            next_row,
            ..Self::default()
        }
    }

    /// Bytes in memory.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// Bytes on the disk, or about to be.
    pub(crate) fn disk(&self) -> usize {
        self.disk
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Puts a message up, with one live reference.
    pub(crate) fn put(
        &mut self,
        content: Content,
        qos: QoS,
        expires: Option<Instant>,
    ) -> MessageId {
        let size = content.size();
        self.memory += size + COST;
        self.messages.insert(Message {
            content: Some(content),
            size,
            qos,
            expires,
            row: None,
            kept: Kept::No,
            refs: 1,
            live: 1,
            on_disk: false,
        })
    }

    /// A message that is on the disk, with one reference.
    pub(crate) fn restore(
        &mut self,
        row: Row,
        size: usize,
        qos: QoS,
        expires: Option<Instant>,
    ) -> MessageId {
        self.memory += COST;
        self.disk += size + COST;
        self.messages.insert(Message {
            content: None,
            size,
            qos,
            expires,
            row: Some(row),
            kept: Kept::Yes,
            refs: 1,
            live: 0,
            on_disk: true,
        })
    }

    pub(crate) fn get(&self, id: MessageId) -> Option<&Message> {
        self.messages.get(id)
    }

    pub(crate) fn content(&self, id: MessageId) -> Option<&Content> {
        self.messages.get(id)?.content.as_ref()
    }

    /// Another reference.
    pub(crate) fn hold(&mut self, id: MessageId, live: bool) {
        if let Some(message) = self.messages.get_mut(id) {
            message.refs += 1;
            message.live += usize::from(live);
        }
    }

    /// A reference ends.
    pub(crate) fn release(&mut self, id: MessageId, live: bool) -> Option<Gone> {
        let message = self.messages.get_mut(id)?;
        message.refs = message.refs.saturating_sub(1);
        message.live = message.live.saturating_sub(usize::from(live));
        if message.refs > 0 {
            self.settle(id);
            return None;
        }
        let message = self.messages.remove(id);
        self.memory -= COST + message.content.map_or(0, |content| content.size());
        if message.on_disk {
            self.disk -= message.size + COST;
        }
        message.row.map(Gone)
    }

    /// A reference needs the bytes no more, or needs them from now on.
    pub(crate) fn set_live(&mut self, id: MessageId, live: bool) {
        if let Some(message) = self.messages.get_mut(id) {
            message.live = match live {
                true => message.live + 1,
                false => message.live.saturating_sub(1),
            };
            self.settle(id);
        }
    }

    /// It is to be on the disk: what it will take there counts from now on.
    pub(crate) fn book(&mut self, id: MessageId) {
        if let Some(message) = self.messages.get_mut(id)
            && !message.on_disk
        {
            message.on_disk = true;
            self.disk += message.size + COST;
        }
    }

    /// It is about to be written, as this row.
    pub(crate) fn writing(&mut self, id: MessageId) -> Option<Row> {
        let message = self.messages.get_mut(id)?;
        if message.kept != Kept::No {
            return None;
        }
        message.kept = Kept::Writing;
        let row = *message.row.get_or_insert_with(|| {
            self.next_row += 1;
            self.next_row
        });
        self.book(id);
        Some(row)
    }

    /// It was written, or could not be. The row says whether the place still holds
    /// the same message.
    pub(crate) fn written(&mut self, id: MessageId, row: Row, done: bool) {
        if let Some(message) = self.messages.get_mut(id)
            && message.row == Some(row)
        {
            message.kept = if done { Kept::Yes } else { Kept::No };
            self.settle(id);
        }
    }

    /// The bytes of a message that are only on the disk.
    pub(crate) fn load(&mut self, id: MessageId, row: Row, content: Content) {
        if let Some(message) = self.messages.get_mut(id)
            && message.row == Some(row)
            && message.content.is_none()
        {
            self.memory += content.size();
            message.content = Some(content);
        }
    }

    /// Forgets bytes that nobody needs in memory.
    fn settle(&mut self, id: MessageId) {
        if let Some(message) = self.messages.get_mut(id)
            && message.kept == Kept::Yes
            && message.live == 0
            && message.size > SMALL
            && let Some(content) = message.content.take()
        {
            self.memory -= content.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(shelf: &mut Shelf, size: usize) -> MessageId {
        shelf.put(Content::new("a", vec![0; size - 1]), QoS::AtLeastOnce, None)
    }

    #[test]
    fn a_message_is_counted_once_and_until_nobody_needs_it() {
        let mut shelf = Shelf::default();
        let id = put(&mut shelf, 1000);
        shelf.hold(id, true);
        shelf.hold(id, false);
        assert_eq!((shelf.memory(), shelf.disk()), (1000 + COST, 0));
        assert_eq!(shelf.release(id, true), None);
        assert_eq!(shelf.release(id, false), None);
        assert_eq!(shelf.release(id, true), None, "it was never on the disk");
        assert_eq!((shelf.memory(), shelf.disk(), shelf.len()), (0, 0, 0));
    }

    #[test]
    fn what_is_on_the_disk_leaves_the_memory_when_nobody_is_about_to_get_it() {
        let mut shelf = Shelf::default();
        let id = put(&mut shelf, 1000);
        shelf.hold(id, false);
        let row = shelf.writing(id).unwrap();
        assert_eq!(shelf.writing(id), None, "once is enough");
        shelf.written(id, row, true);
        assert!(shelf.content(id).is_some(), "a live reference is left");
        shelf.release(id, true);
        assert_eq!(shelf.content(id), None);
        assert_eq!((shelf.memory(), shelf.disk()), (COST, 1000 + COST));
        shelf.set_live(id, true);
        shelf.load(id, row, Content::new("a", vec![0; 999]));
        assert_eq!(shelf.memory(), 1000 + COST);
        shelf.set_live(id, false);
        assert_eq!(shelf.memory(), COST);
        assert_eq!(shelf.release(id, false), Some(Gone(row)));
        assert_eq!((shelf.memory(), shelf.disk()), (0, 0));
    }

    #[test]
    fn what_could_not_be_written_stays_in_memory_and_is_tried_again() {
        let mut shelf = Shelf::default();
        let id = put(&mut shelf, 1000);
        shelf.hold(id, false);
        let row = shelf.writing(id).unwrap();
        shelf.release(id, true);
        shelf.written(id, row, false);
        assert!(shelf.content(id).is_some());
        assert_eq!(shelf.writing(id), Some(row));
    }
}

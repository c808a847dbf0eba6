//! What the engine wants to be carried out goes to bus, mappers, store and callers.

use longshore_twin::Message;
use longshore_types::command::Command;

use super::Driver;

/// Devices that came or went of which the bus is told at once: each is a message
/// with all of its twins.
const MEMBERS: usize = 64;

impl Driver {
    /// Takes to the bus what the engine has for it.
    pub(super) fn publish(&mut self) {
        for message in self.engine.messages() {
            self.parts.bus.send(message);
        }
    }

    /// Tells the bus who came and who went, as far as it has room. The rest waits.
    fn tell_members(&mut self) {
        if !self.engine.has_members_to_tell() {
            return;
        }
        if !self.parts.bus.wanted(&self.membership) {
            return self.engine.forget_members();
        }
        for _ in 0..MEMBERS {
            if !self.parts.bus.has_room() {
                return;
            }
            let Some(change) = self.engine.member_to_tell() else {
                return;
            };
            if !self.parts.bus.try_send(Message::Membership(change)) {
                return;
            }
            self.engine.member_told();
        }
    }

    /// Gives bus, store and callers what is for them; what is for the mappers
    /// comes back.
    pub(super) fn hand_out(&mut self) -> Vec<(usize, Command)> {
        self.tell_members();
        self.publish();
        let outputs = self.engine.take_outputs();
        for retained in outputs.retained {
            let (topic, payload) = (retained.topic.clone(), retained.payload.clone());
            if !self.parts.bus.retain(topic, payload) {
                self.engine.not_retained(retained);
            }
        }
        self.saver.queue(outputs.samples);
        for (number, result) in outputs.updates {
            if let Some(reply) = self.updates.remove(&number) {
                // Whoever asked may not wait any more.
                let _ = reply.send(result);
            }
        }
        for (number, result) in outputs.calls {
            if let Some(reply) = self.calls.remove(&number) {
                // Whoever called may not wait any more.
                let _ = reply.send(result);
            }
        }
        outputs.commands
    }

    /// Carries out what the engine asks for.
    pub(super) fn flush(&mut self) {
        // Giving commands back may ask for more.
        for _ in 0..4 {
            let mut commands = self.hand_out();
            if commands.is_empty() {
                return;
            }
            commands.sort_by_key(|(mapper, _)| *mapper);
            let mut commands = commands.into_iter().peekable();
            while let Some((mapper, first)) = commands.next() {
                let mut group = vec![first];
                while let Some((_, command)) = commands.next_if(|(next, _)| *next == mapper) {
                    group.push(command);
                }
                let tokens: Vec<u64> = group.iter().map(|command| command.token).collect();
                if let Err(error) = self.parts.mappers.submit(mapper, group) {
                    tracing::debug!(%error, mapper, "commands were not taken; tried again");
                    let now = self.now();
                    self.engine.not_submitted(&tokens, now);
                }
            }
        }
    }
}

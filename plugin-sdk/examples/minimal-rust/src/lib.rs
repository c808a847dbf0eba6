//! The smallest Rust mapper: every point is a counter that counts its reads
//! and can be set.
//!
//! A mapper for devices on a polled bus implements `Protocol` instead and
//! leaves the schedule to the SDK; this one shows the actor itself.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use longshore_sdk::{
    Command, CommandKind, Completion, CreateError, Event, Host, Mapper, SampleValue, Status,
    SubmitError,
};

longshore_sdk::export_mapper!(Counter, name: "minimal", protocol: "counter", capabilities: READ | WRITE);

struct Counter {
    host: Host,
    counters: Mutex<HashMap<u32, i64>>,
}

impl Mapper for Counter {
    fn create(host: Host, _: &serde_json::Value) -> Result<Self, CreateError> {
        Ok(Self {
            host,
            counters: Mutex::default(),
        })
    }

    fn submit(&self, commands: Vec<Command>) -> Result<(), SubmitError> {
        // All of this is quick. A mapper that waits for a device hands the
        // commands to a thread of its own, because `submit` must not block.
        let mut event = Event::default();
        for command in commands {
            let (status, message) = self.carry_out(command.kind, &mut event);
            event.completions.push(Completion {
                token: command.token,
                status,
                message: message.to_owned(),
            });
        }
        self.host.emit(&event).map_err(|_| SubmitError::Stopped)
    }

    fn stop(&self, _: Duration) {}
}

impl Counter {
    fn carry_out(&self, command: CommandKind, event: &mut Event) -> (Status, &'static str) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        match command {
            CommandKind::Configure(_) | CommandKind::Remove => (Status::Ok, ""),
            CommandKind::Read { point } => {
                let counter = counters.entry(point).or_default();
                *counter += 1;
                event.samples.push_i64(point, *counter, now());
                (Status::Ok, "")
            }
            CommandKind::Write {
                point,
                value: SampleValue::Int(value),
            } => {
                counters.insert(point, value);
                (Status::Ok, "")
            }
            CommandKind::Write { .. } => {
                (Status::InvalidArgument, "a counter takes a signed integer")
            }
            CommandKind::Call(_) | CommandKind::Discover(_) | CommandKind::Unknown(_) => {
                (Status::Unsupported, "")
            }
        }
    }
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as i64)
}

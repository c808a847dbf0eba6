//! What stands below `write`.

use std::time::Duration;

use serde_json::Value as Json;

use super::{Reader, kind};
use crate::{
    device::FreeObject,
    policy::{Confirm, LEAST_WRITE_REPEAT, OnReturn, WritePolicy},
};

impl Reader<'_> {
    pub(super) fn write(&mut self, value: &Json) -> Option<WritePolicy> {
        let object = self.object(value, "write")?;
        let mut write = WritePolicy {
            confirm: self
                .word(object, "confirm", "readback or none", |word| match word {
                    "readback" => Some(Confirm::Readback),
                    "none" => Some(Confirm::None),
                    _ => None,
                })
                .unwrap_or_default(),
            on_return: self
                .word(object, "onReturn", "keep or restore", |word| match word {
                    "keep" => Some(OnReturn::Keep),
                    "restore" => Some(OnReturn::Restore),
                    _ => None,
                })
                .unwrap_or_default(),
            command: self.command(object),
            ..WritePolicy::default()
        };
        if let Some(tolerance) = object
            .get("tolerance")
            .and_then(|v| self.not_negative(v, "write.tolerance"))
        {
            write.tolerance = tolerance;
        }
        for key in ["timeoutMs", "timeout"] {
            if let Some(timeout) = self.some_time(object, key) {
                write.timeout = timeout;
            }
        }
        if let Some(expires) = self.some_time(object, "expires") {
            write.expires = expires;
        }
        write.repeat = self.repeat(object);
        if let Some(priority) = object.get("priority") {
            write.priority = self.priority(priority);
        }
        if let Some(retries) = object.get("retries") {
            match retries.as_u64().and_then(|n| u32::try_from(n).ok()) {
                Some(retries) => write.retries = retries,
                None => self.fault(
                    "write.retries",
                    format!("expected a whole number, got {}", kind(retries)),
                ),
            }
        }
        if write.command {
            self.not_of_commands(object, &mut write);
        }
        Some(write)
    }

    fn command(&mut self, write: &FreeObject) -> bool {
        let Some(value) = write.get("command") else {
            return false;
        };
        value.as_bool().unwrap_or_else(|| {
            self.fault(
                "write.command",
                format!("expected true or false, got {}", kind(value)),
            );
            false
        })
    }

    /// A command is written once, and nothing brings it back.
    fn not_of_commands(&mut self, object: &FreeObject, write: &mut WritePolicy) {
        for key in ["onReturn", "repeat"] {
            if object.contains_key(key) {
                self.fault(
                    &format!("write.{key}"),
                    "cannot stand beside `command: true`: a command is written once, only a state is written again",
                );
            }
        }
        (write.on_return, write.repeat) = (OnReturn::Keep, None);
    }

    fn repeat(&mut self, write: &FreeObject) -> Option<Duration> {
        let repeat = self.duration(write.get("repeat")?, "write.repeat")?;
        if repeat < LEAST_WRITE_REPEAT {
            let least = LEAST_WRITE_REPEAT.as_millis();
            self.fault("write.repeat", format!("must be at least {least}ms"));
            return None;
        }
        Some(repeat)
    }

    fn some_time(&mut self, write: &FreeObject, key: &str) -> Option<Duration> {
        let place = format!("write.{key}");
        let time = self.duration(write.get(key)?, &place)?;
        if time.is_zero() {
            self.fault(&place, "must be greater than 0");
            return None;
        }
        Some(time)
    }

    fn word<T>(
        &mut self,
        write: &FreeObject,
        key: &str,
        words: &str,
        meaning: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = write.get(key)?;
        let found = value.as_str().and_then(meaning);
        if found.is_none() {
            let message = format!("expected {words}, got {}", kind(value));
            self.fault(&format!("write.{key}"), message);
        }
        found
    }

    fn priority(&mut self, value: &Json) -> i32 {
        match value.as_str() {
            Some("high") => 1,
            Some("normal") => 0,
            Some("low") => -1,
            _ => {
                self.fault(
                    "write.priority",
                    format!("expected high, normal or low, got {}", kind(value)),
                );
                0
            }
        }
    }
}

//! Characteristics: read, written, subscribed.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use zbus::{OwnedVariant, Variant};

use super::{Answer, Call, Refusal, Server, unknown};
use crate::{
    bytes::{self, WriteError},
    fault::{Act, Fault},
    model::{CHARACTERISTIC, Properties, Write},
};

/// How many writes are remembered.
const WRITES: usize = 10_000;
/// The longest value (Core 5.4, volume 3, part F, section 3.2.9).
const LONGEST: usize = 512;

type Place = (usize, usize, usize);

impl Server {
    pub(super) async fn characteristic(&self, call: &Call) -> Result<Answer, Refusal> {
        let place = {
            let model = self.model();
            let place = model
                .characteristic(&call.path)
                .ok_or_else(|| unknown(call))?;
            if !model.devices[place.0].known {
                return Err(unknown(call));
            }
            if !model.devices[place.0].connected {
                return Err(Refusal("Failed", "Not connected".to_owned()));
            }
            place
        };
        if call.member == "StopNotify" {
            return self.unsubscribe(call, place).await;
        }
        let fault = {
            let model = self.model();
            let names = model.devices[place.0].names();
            self.faults.strike(&names, Act::Exchange, Instant::now())
        };
        match fault {
            Some(Fault::Unresponsive) => return Ok(Answer::Silence),
            Some(Fault::Slow(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Some(Fault::AttError(code)) => return Err(att_error(code)),
            Some(Fault::Disconnect) => {
                self.disconnect(place.0).await;
                return Err(Refusal("Failed", "Not connected".to_owned()));
            }
            _ => {}
        }
        {
            let model = self.model();
            let device = &model.devices[place.0];
            if device.services[place.1].characteristics[place.2].secure && !device.paired {
                // Insufficient authentication.
                return Err(att_error(0x05));
            }
        }
        match &call.member[..] {
            "ReadValue" => self.read(place),
            "WriteValue" => self.write(call, place),
            "StartNotify" => self.subscribe(call, place).await,
            _ => Err(unknown(call)),
        }
    }

    fn can(&self, (d, s, c): Place, flags: &[&str]) -> bool {
        let model = self.model();
        let characteristic = &model.devices[d].services[s].characteristics[c];
        characteristic
            .flags
            .iter()
            .any(|flag| flags.contains(&&flag[..]))
    }

    fn read(&self, place: Place) -> Result<Answer, Refusal> {
        if !self.can(place, &["read"]) {
            return Err(att_error(0x02));
        }
        let mut model = self.model();
        model.counters.reads += 1;
        Ok(Answer::Bytes(model.value(place)))
    }

    fn write(&self, call: &Call, place: Place) -> Result<Answer, Refusal> {
        let (bytes, options): (Vec<u8>, HashMap<String, OwnedVariant>) = call.argument()?;
        let kind = match options.get("type").map(|value| &**value) {
            Some(Variant::Str(kind)) => kind.as_str().to_owned(),
            _ if self.can(place, &["write"]) => "request".to_owned(),
            _ => "command".to_owned(),
        };
        let flag = match &kind[..] {
            "request" | "reliable" => "write",
            "command" => "write-without-response",
            _ => {
                return Err(Refusal(
                    "InvalidArguments",
                    "Invalid arguments in method call".to_owned(),
                ));
            }
        };
        if !self.can(place, &[flag]) {
            return Err(Refusal(
                "NotSupported",
                "Operation is not supported".to_owned(),
            ));
        }
        let mut model = self.model();
        let (d, s, c) = place;
        let room = match flag {
            "write" => LONGEST,
            _ => usize::from(model.devices[d].spec.mtu.saturating_sub(3)),
        };
        if bytes.len() > room {
            return Err(att_error(0x0D));
        }
        let world = model.world.clone();
        let characteristic = &mut model.devices[d].services[s].characteristics[c];
        if bytes::is_bound(&characteristic.fields) {
            match bytes::write(&characteristic.fields, &world, &bytes) {
                Ok(()) => {}
                Err(WriteError::Length) => return Err(att_error(0x0D)),
                // Out of range (Core Specification Supplement, part B, section 1.2).
                Err(WriteError::Set) => return Err(att_error(0xFF)),
                Err(WriteError::Fixed) => return Err(att_error(0x03)),
            }
        } else {
            characteristic.written = Some(bytes.clone());
        }
        let write = Write {
            characteristic: characteristic.uuid.clone(),
            device: model.devices[d].spec.address.clone(),
            kind,
            bytes: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        model.counters.writes += 1;
        if model.writes.len() < WRITES {
            model.writes.push(write);
        }
        Ok(Answer::Nothing)
    }

    async fn subscribe(&self, call: &Call, place: Place) -> Result<Answer, Refusal> {
        if !self.can(place, &["notify", "indicate"]) {
            return Err(Refusal(
                "NotSupported",
                "Operation is not supported".to_owned(),
            ));
        }
        let (d, s, c) = place;
        let is_new = {
            let mut model = self.model();
            let subscribers = &mut model.devices[d].services[s].characteristics[c].subscribers;
            subscribers.insert(call.sender.clone())
        };
        if is_new {
            let notifying = Properties::from([("Notifying", Variant::from(true))]);
            self.changed(&call.path, CHARACTERISTIC, notifying).await;
        }
        Ok(Answer::Nothing)
    }

    async fn unsubscribe(&self, call: &Call, (d, s, c): Place) -> Result<Answer, Refusal> {
        {
            let mut model = self.model();
            let subscribers = &mut model.devices[d].services[s].characteristics[c].subscribers;
            if !subscribers.remove(&call.sender) {
                return Err(Refusal("Failed", "No notify session started".to_owned()));
            }
        }
        let notifying = Properties::from([("Notifying", Variant::from(false))]);
        self.changed(&call.path, CHARACTERISTIC, notifying).await;
        Ok(Answer::Nothing)
    }
}

/// How BlueZ tells an error of the attribute protocol (Core 5.4, volume 3, part
/// F, section 3.4.1.1, and src/gatt-client.c of BlueZ).
fn att_error(code: u8) -> Refusal {
    let (name, text) = match code {
        0x02 => ("NotPermitted", "Read not permitted"),
        0x03 => ("NotPermitted", "Write not permitted"),
        0x05 | 0x0C | 0x0F => ("NotPermitted", "Not paired"),
        0x06 => ("NotSupported", "Operation is not supported"),
        0x07 => ("InvalidOffset", "Invalid offset"),
        0x08 => ("NotAuthorized", "Operation Not Authorized"),
        0x0D => ("InvalidValueLength", "Invalid Length"),
        _ => {
            let text = format!("Operation failed with ATT error: 0x{code:02x}");
            return Refusal("Failed", text);
        }
    };
    Refusal(name, text.to_owned())
}

//! Looks for devices beside the buses: a few at a time, each within its command's budget.

use std::{collections::HashMap, sync::Arc, time::Instant};

use serde_json::{Map, Value};
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::timeout_at,
};

use crate::{Completion, DiscoverError, Discovered, Protocol, Status, config};

use super::{
    codes::status_of,
    router::{finding, report},
};

/// Discoveries at one time; they share the thread, and often the wires.
const AT_ONCE: usize = 4;
/// Bytes of a result at most: a batch to the host has its limit.
const LONGEST: usize = 3 << 20;

/// How a discovery ended.
type Ended = (Status, String);

/// The discoveries that are under way. Those of one that is dropped end with it.
#[derive(Default)]
pub(super) struct Discoveries {
    tasks: JoinSet<Ended>,
    tokens: HashMap<Id, u64>,
}

impl Discoveries {
    /// Begins one; or says why not.
    pub(super) fn start<P: Protocol>(
        &mut self,
        protocol: Arc<P>,
        token: u64,
        deadline: Instant,
        text: &str,
    ) -> Result<(), Ended> {
        if self.tasks.len() >= AT_ONCE {
            let message = format!("{AT_ONCE} discoveries are under way already");
            return Err((Status::Busy, message));
        }
        let text = if text.is_empty() { "{}" } else { text };
        let request: Map<String, Value> = config::from_json("", text).map_err(|fault| {
            let message = report(&[finding(&fault, "error")]);
            (Status::InvalidArgument, message)
        })?;
        let task = async move {
            match timeout_at(deadline.into(), protocol.discover(&request)).await {
                Ok(result) => ended(result),
                Err(_) => {
                    let message = "nothing was found before the command's deadline";
                    (Status::Timeout, message.to_owned())
                }
            }
        };
        let id = self.tasks.spawn(task).id();
        self.tokens.insert(id, token);
        Ok(())
    }

    /// The next one that ends; `None` when none is under way. Cancel safe.
    pub(super) async fn ended(&mut self) -> Option<Completion> {
        let ended = self.tasks.join_next_with_id().await?;
        let (id, (status, message)) = match ended {
            Ok((id, ended)) => (id, ended),
            Err(error) => (error.id(), failed(&error)),
        };
        let token = self.tokens.remove(&id)?;
        Some(Completion {
            token,
            status,
            message,
        })
    }

    /// Ends them all.
    pub(super) fn stop(&mut self) -> Vec<Completion> {
        self.tasks.abort_all();
        self.tokens
            .drain()
            .map(|(_, token)| Completion {
                token,
                status: Status::Stopped,
                message: "the mapper is stopped".to_owned(),
            })
            .collect()
    }
}

fn failed(error: &JoinError) -> Ended {
    let what = if error.is_panic() {
        "panicked"
    } else {
        "was ended"
    };
    (Status::Internal, format!("the search {what}; see the log"))
}

fn ended(result: Result<Discovered, DiscoverError>) -> Ended {
    match result {
        Ok(found) => match bounded(found, LONGEST) {
            Ok(text) => (Status::Ok, text),
            Err(error) => (Status::Internal, error.to_string()),
        },
        Err(DiscoverError::Request(faults)) => {
            let findings: Vec<_> = faults.iter().map(|fault| finding(fault, "error")).collect();
            (Status::InvalidArgument, report(&findings))
        }
        Err(error @ DiscoverError::Unsupported) => (Status::Unsupported, error.to_string()),
        Err(DiscoverError::Bus(error)) => (status_of(&error), error.to_string()),
    }
}

/// What was found as JSON of at most `limit` bytes; what does not fit is
/// left out, and a note says so.
fn bounded(mut found: Discovered, limit: usize) -> Result<String, serde_json::Error> {
    let properties = |found: &Discovered| -> usize {
        let devices = found.devices.iter();
        devices.map(|device| device.properties.len()).sum()
    };
    let (all, devices, notes) = (properties(&found), found.devices.len(), found.notes.len());
    loop {
        let text = serde_json::to_string(&found)?;
        if text.len() <= limit {
            return Ok(text);
        }
        found.notes.truncate(notes);
        let of = |count: usize| {
            // A bit less than what should fit: entries differ in length.
            let share = (count as u128) * (limit as u128) * 9 / 10 / (text.len() as u128);
            usize::try_from(share).unwrap_or(0)
        };
        let had = properties(&found);
        if had > 0 {
            let mut left = of(had);
            for device in &mut found.devices {
                device.properties.truncate(left);
                left -= device.properties.len();
            }
        } else if !found.devices.is_empty() {
            let kept = of(found.devices.len());
            found.devices.truncate(kept);
        } else {
            found.notes.clear();
            continue;
        }
        found.notes.push(format!(
            "too much was found: {} of {devices} devices and {} of {all} properties are listed",
            found.devices.len(),
            properties(&found)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FoundDevice, FoundProperty};

    #[test]
    fn too_much_is_cut_and_says_so() {
        let property = |index| FoundProperty {
            name: format!("p{index}"),
            description: "x".repeat(100),
            ..FoundProperty::default()
        };
        let device = |index| FoundDevice {
            name: format!("d{index}"),
            properties: (0..1000).map(property).collect(),
            ..FoundDevice::default()
        };
        let found = Discovered {
            devices: (0..20).map(device).collect(),
            notes: vec!["first".to_owned()],
        };
        let text = bounded(found.clone(), 1 << 20).expect("JSON");
        assert!(text.len() <= 1 << 20);
        assert!(text.len() > 1 << 19, "as much as fits");
        let cut: Discovered = serde_json::from_str(&text).expect("still one");
        assert_eq!(cut.devices.len(), 20);
        assert_eq!(cut.notes.len(), 2);
        assert!(
            cut.notes[1].contains("of 20000 properties"),
            "{:?}",
            cut.notes
        );
        let tiny = bounded(found, 200).expect("JSON");
        assert!(tiny.len() <= 200, "{tiny}");
    }
}

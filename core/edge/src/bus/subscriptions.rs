//! Who listens to what, so that the edge formats nothing in vain.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// More clients than this are not told apart: everything is then wanted.
const MOST_CLIENTS: usize = 1024;

/// The subscriptions of the embedded broker's clients.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    version: AtomicU64,
    clients: RwLock<HashMap<Box<str>, Client>>,
}

#[derive(Debug, Default)]
struct Client {
    filters: Vec<Box<str>>,
    /// The broker may know subscriptions that were made before this process
    /// began; until the client ends its session, it may want anything.
    resumed: bool,
    /// The session ends with the connection.
    clean: bool,
}

impl Subscriptions {
    /// Changes with each change of the subscriptions.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// A client came.
    pub(super) fn connected(&self, client: &str, clean: bool) {
        self.change(|clients| {
            let known = clients.contains_key(client);
            let entry = clients.entry(client.into()).or_default();
            entry.clean = clean;
            if clean {
                entry.filters.clear();
                entry.resumed = false;
            } else {
                entry.resumed |= !known;
            }
        });
    }

    /// A client subscribed.
    pub(super) fn subscribed<'a>(&self, client: &str, filters: impl Iterator<Item = &'a str>) {
        self.change(|clients| {
            let entry = clients.entry(client.into()).or_default();
            for filter in filters {
                if !entry.filters.iter().any(|known| **known == *filter) {
                    entry.filters.push(filter.into());
                }
            }
        });
    }

    /// A client unsubscribed.
    pub(super) fn unsubscribed<'a>(&self, client: &str, filters: impl Iterator<Item = &'a str>) {
        self.change(|clients| {
            if let Some(entry) = clients.get_mut(client) {
                for filter in filters {
                    entry.filters.retain(|known| **known != *filter);
                }
            }
        });
    }

    /// A client left. Its subscriptions outlive it unless its session was clean.
    pub(super) fn disconnected(&self, client: &str) {
        self.change(|clients| {
            if clients.get(client).is_some_and(|entry| entry.clean) {
                clients.remove(client);
            }
        });
    }

    /// Whether any client's filter matches `topic`.
    pub(super) fn matches(&self, topic: &str) -> bool {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        clients.len() > MOST_CLIENTS
            || clients.values().any(|client| {
                client.resumed
                    || client
                        .filters
                        .iter()
                        .any(|filter| filter_matches(filter, topic))
            })
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<Box<str>, Client>)) {
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut clients);
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// Whether a topic filter matches a topic name (MQTT 5.0, section 4.7).
fn filter_matches(filter: &str, topic: &str) -> bool {
    // 4.8.2: `$share/{group}/{filter}`.
    let filter = match filter.strip_prefix("$share/") {
        Some(rest) => rest.split_once('/').map_or("", |(_, filter)| filter),
        None => filter,
    };
    // 4.7.2: wildcards at the beginning do not match topics that begin with `$`.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            // 4.7.1.2: `a/#` matches `a` as well.
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return filter_parent(filter, topic),
        }
    }
    levels.next().is_none()
}

fn filter_parent(filter: &str, topic: &str) -> bool {
    filter.strip_suffix("/#").is_some_and(|parent| {
        parent != filter && !parent.is_empty() && {
            parent.split('/').count() == topic.split('/').count() && filter_matches(parent, topic)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_specification_says() {
        for (filter, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/score/wimbledon",
                true,
            ),
            ("sport/#", "sport", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/x", true),
            (
                "$hw/events/device/+/+/twin/update/document",
                "$hw/events/device/default/boiler/twin/update/document",
                true,
            ),
            ("$share/g/a/+", "a/b", true),
            ("a/b/#", "a", false),
            ("a/+/#", "a/b", true),
        ] {
            assert_eq!(
                filter_matches(filter, topic),
                expected,
                "{filter} against {topic}"
            );
        }
    }

    #[test]
    fn a_clean_session_ends_with_its_connection_and_a_kept_one_does_not() {
        let subscriptions = Subscriptions::default();
        subscriptions.connected("clean", true);
        subscriptions.subscribed("clean", ["a/#"].into_iter());
        assert!(subscriptions.matches("a/b"));
        subscriptions.disconnected("clean");
        assert!(!subscriptions.matches("a/b"));

        subscriptions.connected("kept", false);
        assert!(
            subscriptions.matches("anything"),
            "its old subscriptions are not known"
        );
        subscriptions.connected("kept", true);
        subscriptions.subscribed("kept", ["b"].into_iter());
        subscriptions.connected("kept", false);
        subscriptions.disconnected("kept");
        assert!(subscriptions.matches("b") && !subscriptions.matches("anything"));
    }

    #[test]
    fn each_change_has_a_version() {
        let subscriptions = Subscriptions::default();
        let before = subscriptions.version();
        subscriptions.subscribed("a", ["x"].into_iter());
        assert_ne!(subscriptions.version(), before);
    }
}

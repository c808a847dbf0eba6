//! Who may use the embedded broker, and for what; and what the edge hears of it.

use longshore_broker::{
    Access, Heard, Own, Owner, Who,
    codec::{Content, QoS},
};
use subtle::Choice;

use super::{calls, kubeedge, requests::Incoming};
use crate::config::User;

/// The edge, as the broker sees it: checks users, keeps its own topics to itself, and
/// listens to requests.
pub(super) struct Edge {
    /// Empty means that anybody may connect.
    pub(super) users: Vec<User>,
    pub(super) incoming: Incoming,
}

fn admits(users: &[User], user: Option<&str>, password: Option<&[u8]>) -> bool {
    let name = user.unwrap_or_default();
    let password = password.unwrap_or_default();
    // Every user is compared, so that the time tells nothing of who exists.
    let mut admitted = Choice::from(u8::from(users.is_empty()));
    for user in users {
        admitted |= user.is(name, password);
    }
    admitted.into()
}

impl Access for Edge {
    fn admits(&self, user: Option<&str>, password: Option<&[u8]>) -> bool {
        admits(&self.users, user, password)
    }

    fn may_publish(&self, who: Who<'_>, topic: &str) -> bool {
        // What the edge says must come from the edge.
        let allowed = !kubeedge::is_edge_topic(topic);
        if !allowed {
            tracing::warn!(
                client = who.client,
                topic,
                "MQTT publish refused: only the edge speaks on this topic"
            );
        }
        allowed
    }

    fn may_subscribe(&self, _who: Who<'_>, _filter: &str) -> bool {
        true
    }

    fn listens(&self, topic: &str) -> bool {
        kubeedge::is_request(topic) || calls::is_request(topic)
    }
}

impl Owner for Edge {
    fn heard(&self, message: Heard) -> Option<Own> {
        let Heard {
            client,
            topic,
            payload,
        } = message;
        let busy = self.incoming.take(client, topic, payload)?;
        let (topic, payload) = busy.answer()?;
        Some(Own {
            content: Content::new(topic, payload),
            qos: QoS::AtLeastOnce,
            retain: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_need_their_own_password() {
        let users = vec![User::new("ada", "one"), User::new("bob", "two")];
        let admits = |user, password: Option<&str>| {
            admits(&users, user, password.map(|password| password.as_bytes()))
        };
        assert!(admits(Some("ada"), Some("one")));
        assert!(!admits(Some("ada"), Some("two")));
        assert!(!admits(Some("eve"), Some("one")));
        assert!(!admits(None, None));
        let told = format!("{users:?}");
        assert!(told.contains("ada") && !told.contains("one"), "{told}");
        assert!(super::admits(&[], None, None));
    }
}

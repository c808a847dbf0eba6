//! Who may use the embedded broker, and for what.

use std::{future::Future, net::SocketAddr, pin::Pin};

use mqtt5::{
    broker::auth::{AuthProvider, AuthResult},
    packet::connect::ConnectPacket,
    types::ReasonCode,
};

use super::kubeedge;

/// Checks users, and keeps the edge's own topics to the edge.
pub(super) struct Access {
    /// Names and passwords; empty means that anybody may connect.
    pub(super) users: Vec<(String, String)>,
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Access {
    fn admits(&self, connect: &ConnectPacket) -> Option<String> {
        let name = connect.username.as_deref().unwrap_or_default();
        if self.users.is_empty() {
            return Some(name.to_owned());
        }
        let password = connect.password.as_deref().unwrap_or_default();
        // Every user is compared, so that the time tells nothing of who exists.
        let mut admitted = false;
        for (user, secret) in &self.users {
            admitted |= (user == name) & same(secret.as_bytes(), password);
        }
        admitted.then(|| name.to_owned())
    }
}

/// Compares in a time that depends on the length only.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .fold(0, |difference, (x, y)| difference | (x ^ y))
            == 0
}

impl AuthProvider for Access {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        client: SocketAddr,
    ) -> Answer<'a, Result<AuthResult, mqtt5::MqttError>> {
        let result = match self.admits(connect) {
            Some(user) => AuthResult::success_with_user(user),
            None => {
                tracing::warn!(%client, client_id = connect.client_id, "MQTT client refused: wrong user or password");
                AuthResult::fail(ReasonCode::BadUsernameOrPassword)
            }
        };
        Box::pin(std::future::ready(Ok(result)))
    }

    fn authorize_publish<'a>(
        &'a self,
        client_id: &str,
        _user: Option<&'a str>,
        topic: &'a str,
    ) -> Answer<'a, bool> {
        // What the edge says must come from the edge.
        let allowed = !kubeedge::is_edge_topic(topic);
        if !allowed {
            tracing::warn!(
                client_id,
                topic,
                "MQTT publish refused: only the edge speaks on this topic"
            );
        }
        Box::pin(std::future::ready(allowed))
    }

    fn authorize_subscribe<'a>(
        &'a self,
        _client: &str,
        _user: Option<&'a str>,
        _filter: &'a str,
    ) -> Answer<'a, bool> {
        Box::pin(std::future::ready(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(user: Option<&str>, password: Option<&str>) -> ConnectPacket {
        let mut packet =
            ConnectPacket::new(mqtt5::types::ConnectOptions::new("c").protocol_options);
        packet.username = user.map(str::to_owned);
        packet.password = password.map(|p| p.as_bytes().to_vec());
        packet
    }

    #[test]
    fn users_need_their_own_password() {
        let access = Access {
            users: vec![("ada".into(), "one".into()), ("bob".into(), "two".into())],
        };
        assert!(access.admits(&connect(Some("ada"), Some("one"))).is_some());
        assert!(access.admits(&connect(Some("ada"), Some("two"))).is_none());
        assert!(access.admits(&connect(Some("eve"), Some("one"))).is_none());
        assert!(access.admits(&connect(None, None)).is_none());
        assert!(
            Access { users: vec![] }
                .admits(&connect(None, None))
                .is_some()
        );
    }
}

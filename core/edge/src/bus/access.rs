//! Who may use the embedded broker, and for what.

use std::{future::Future, net::SocketAddr, pin::Pin};

use mqtt5::{
    broker::auth::{AuthProvider, AuthResult},
    packet::connect::ConnectPacket,
    types::ReasonCode,
};
use subtle::Choice;

use super::kubeedge;
use crate::config::User;

/// Checks users, and keeps the edge's own topics to the edge.
pub(super) struct Access {
    /// Empty means that anybody may connect.
    pub(super) users: Vec<User>,
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
        let mut admitted = Choice::from(0);
        for user in &self.users {
            admitted |= user.is(name, password);
        }
        bool::from(admitted).then(|| name.to_owned())
    }
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
            users: vec![User::new("ada", "one"), User::new("bob", "two")],
        };
        assert!(access.admits(&connect(Some("ada"), Some("one"))).is_some());
        assert!(access.admits(&connect(Some("ada"), Some("two"))).is_none());
        assert!(access.admits(&connect(Some("eve"), Some("one"))).is_none());
        assert!(access.admits(&connect(None, None)).is_none());
        let told = format!("{:?}", access.users);
        assert!(told.contains("ada") && !told.contains("one"), "{told}");
        assert!(
            Access { users: vec![] }
                .admits(&connect(None, None))
                .is_some()
        );
    }
}

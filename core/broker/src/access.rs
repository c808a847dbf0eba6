//! Who may use the broker, and for what.

/// Who a client is.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The id of its session.
    pub client: &'a str,
    /// The user that it logged in as.
    pub user: Option<&'a str>,
}

/// The decisions of whoever owns the broker. They are asked for while the broker
/// is locked, so that none may wait for anything.
pub trait Access: Send + Sync + 'static {
    /// Whether this user and password may log in.
    fn admits(&self, user: Option<&str>, password: Option<&[u8]>) -> bool;

    /// Whether this client may publish there. What may not be is dropped, and said
    /// to clients of MQTT 5.
    fn may_publish(&self, who: Who<'_>, topic: &str) -> bool;

    /// Whether this client may subscribe to it.
    fn may_subscribe(&self, who: Who<'_>, filter: &str) -> bool;

    /// Whether the owner itself listens there, beside those who subscribed.
    fn listens(&self, topic: &str) -> bool;
}

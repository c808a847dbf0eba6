//! What can be said of the bus.

use std::{fmt, net::SocketAddr, path::PathBuf};

use longshore_broker::Limits;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// What the bus is.
#[derive(Debug, Clone)]
pub enum BusMode {
    /// No bus.
    Off,
    /// A broker in this process.
    Embedded(EmbeddedOptions),
    /// A broker somewhere else, such as mosquitto.
    External(ExternalOptions),
}

/// The embedded broker.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder of retained messages and sessions.
    pub state_dir: PathBuf,
    /// Who may use it; when empty, anybody who reaches the port.
    pub users: Vec<User>,
    /// What its clients may use.
    pub limits: Limits,
}

/// The connection to an external broker.
#[derive(Debug, Clone)]
pub struct ExternalOptions {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// PEM of the authority that signed the broker's certificate; none means no TLS.
    pub tls: Option<TlsOptions>,
    /// User and password.
    pub credentials: Option<(String, String)>,
}

/// TLS towards an external broker.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// The authorities to trust, PEM.
    pub ca: Vec<u8>,
    /// Our certificate chain and key, PEM, when the broker asks for them.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Whether KubeEdge's topics of changes are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KubeEdgeTopics {
    /// When somebody subscribes to them (embedded broker), or always (external broker).
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never; requests are still answered.
    Never,
}

/// Somebody who may connect. Of the password only a salted hash is kept, so that
/// a dump of the memory does not hold it. The hash is a quick one: the password
/// itself stands in a file of this machine, and each connection pays for it.
#[derive(Clone)]
pub struct User {
    name: String,
    salt: [u8; 16],
    digest: [u8; 32],
}

impl User {
    /// A user with this password.
    pub fn new(name: impl Into<String>, password: &str) -> Self {
        let salt = std::array::from_fn(|_| fastrand::u8(..));
        Self {
            name: name.into(),
            salt,
            digest: digest(&salt, password.as_bytes()),
        }
    }

    /// Whether it is this one, in a time that tells nothing of how much was right.
    pub(crate) fn is(&self, name: &str, password: &[u8]) -> Choice {
        let named = self.name.as_bytes().ct_eq(name.as_bytes());
        named & digest(&self.salt, password).ct_eq(&self.digest)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn digest(salt: &[u8], password: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .into()
}

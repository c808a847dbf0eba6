//! Buses: a server's endpoint, and how to log on to it.

use std::{fmt, path::PathBuf, time::Duration};

use opcua::{crypto::SecurityPolicy, types::MessageSecurityMode};

/// The port of OPC UA over TCP (Part 6, section 7.2).
const PORT: u16 = 4840;

/// A session with a server. Devices with equal buses share one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bus {
    /// Where the server is.
    pub url: Url,
    /// How messages are protected.
    pub security: Security,
    /// Who we say we are.
    pub user: User,
    /// Which server certificates are accepted beside those of the trusted folder.
    pub trust: Trust,
    /// Time until an answer must have come.
    pub timeout: Duration,
    /// How long the server keeps the session, and what it queues for it, while
    /// the line is cut.
    pub session_timeout: Duration,
    /// How much one answer may come to.
    pub bounds: Bounds,
}

/// How much one answer may come to, so that a mad server cannot fill the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Bytes of a message.
    pub message: u32,
    /// Bytes of a text or byte string.
    pub text: u32,
    /// Elements of an array.
    pub array: u32,
}

impl Default for Bounds {
    /// 1000 values of 16 KiB each; a text of 4 MiB; an array of a million.
    fn default() -> Self {
        Self {
            message: 16 << 20,
            text: 4 << 20,
            array: 1_000_000,
        }
    }
}

/// The only unit of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit;

/// `opc.tcp://host:port/path`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Begins with `/`, or is empty.
    pub path: String,
}

/// How messages are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Security {
    /// `None` is the best that the server offers.
    pub policy: Option<Policy>,
    /// `None` is sign and encrypt, or sign where the server has nothing better.
    pub mode: Option<Mode>,
}

/// The security policies (Part 7, section 6.6) that are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// No protection.
    None,
    /// The one that nearly every server has.
    Basic256Sha256,
    /// Its successor with AES-128.
    Aes128Sha256RsaOaep,
    /// Its successor with AES-256.
    Aes256Sha256RsaPss,
}

/// What a policy is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Nobody can change a message.
    Sign,
    /// Nobody can read it either.
    SignAndEncrypt,
}

/// Who we say we are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum User {
    /// Nobody in particular.
    Anonymous,
    /// A user name with a password.
    Name {
        /// The name.
        name: String,
        /// The password.
        password: Password,
        /// Whether it may be sent where nobody protects it: in the clear, or
        /// encrypted for a certificate that nobody has accepted.
        unprotected: bool,
    },
    /// A certificate with its private key (PEM), the certificate also as DER.
    Certificate {
        /// The certificate.
        file: PathBuf,
        /// Its key.
        key: PathBuf,
    },
}

/// Where the password is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Password {
    /// In the configuration.
    Text(String),
    /// In a file that is read at each log-on; a newline at its end does not count.
    File(PathBuf),
}

/// Which server certificates are accepted beside those of the trusted folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// None.
    Folder,
    /// The one with this SHA-1 thumbprint, 40 small hexadecimal digits.
    Thumbprint(String),
    /// Each: protects against listeners, not against a false server.
    All,
}

impl Url {
    /// Reads `opc.tcp://host[:port][/path]`.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.trim().strip_prefix("opc.tcp://") else {
            return Err(format!(
                "`{text}` does not begin with opc.tcp://, the only transport that is spoken"
            ));
        };
        let (place, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                match port.parse() {
                    Ok(port) if port > 0 => (host, port),
                    _ => return Err(format!("`{port}` is not a port")),
                }
            }
            _ => (place, PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(format!("`{text}` names no host"));
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }
}

impl Policy {
    /// The names of a configuration, ours first.
    pub(crate) const NAMES: &[(&str, Option<Policy>)] = &[
        ("auto", None),
        ("none", Some(Policy::None)),
        ("None", Some(Policy::None)),
        ("Basic256Sha256", Some(Policy::Basic256Sha256)),
        ("Aes128Sha256RsaOaep", Some(Policy::Aes128Sha256RsaOaep)),
        ("Aes256Sha256RsaPss", Some(Policy::Aes256Sha256RsaPss)),
        ("Aes128_Sha256_RsaOaep", Some(Policy::Aes128Sha256RsaOaep)),
        ("Aes256_Sha256_RsaPss", Some(Policy::Aes256Sha256RsaPss)),
    ];

    /// As the library has it.
    pub(crate) fn wire(self) -> SecurityPolicy {
        match self {
            Self::None => SecurityPolicy::None,
            Self::Basic256Sha256 => SecurityPolicy::Basic256Sha256,
            Self::Aes128Sha256RsaOaep => SecurityPolicy::Aes128Sha256RsaOaep,
            Self::Aes256Sha256RsaPss => SecurityPolicy::Aes256Sha256RsaPss,
        }
    }

    /// From the URI of an endpoint; `None` for one that is not spoken.
    pub(crate) fn of_uri(uri: &str) -> Option<Self> {
        [
            Self::None,
            Self::Basic256Sha256,
            Self::Aes128Sha256RsaOaep,
            Self::Aes256Sha256RsaPss,
        ]
        .into_iter()
        .find(|policy| policy.wire().to_uri() == uri)
    }
}

impl Mode {
    /// The names of a configuration.
    pub(crate) const NAMES: &[(&str, Option<Mode>)] = &[
        ("sign", Some(Mode::Sign)),
        ("Sign", Some(Mode::Sign)),
        ("signAndEncrypt", Some(Mode::SignAndEncrypt)),
        ("SignAndEncrypt", Some(Mode::SignAndEncrypt)),
        ("auto", None),
        ("none", None),
        ("None", None),
    ];

    /// As the library has it.
    pub(crate) fn wire(self) -> MessageSecurityMode {
        match self {
            Self::Sign => MessageSecurityMode::Sign,
            Self::SignAndEncrypt => MessageSecurityMode::SignAndEncrypt,
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, path } = self;
        match host.contains(':') {
            true => write!(f, "opc.tcp://[{host}]:{port}{path}"),
            false => write!(f, "opc.tcp://{host}:{port}{path}"),
        }
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            User::Name { name, .. } => write!(f, "{} as {name}", self.url),
            _ => self.url.fmt(f),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("server")
    }
}

impl fmt::Debug for User {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Name { name, .. } => write!(f, "user `{name}`"),
            Self::Certificate { file, .. } => write!(f, "certificate {}", file.display()),
        }
    }
}

//! Why there is no link.

use std::{
    io,
    path::{Path, PathBuf},
};

use longshore_link::{
    CloseReason, DecodeError,
    transport::{Answer, AskError, LineError},
};
use longshore_process::Explain;
use rustls::{AlertDescription, CertificateError};

use crate::store::StoreError;

/// Why a connection to the hub could not be made or ended. All are retried.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A file of the configuration cannot be read.
    #[error("cannot read `{path}`")]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("`{path}` holds no usable {what}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// Cause, if the file is not merely empty.
        #[source]
        source: Option<rustls_pki_types::pem::Error>,
    },
    /// Certificate and key do not fit together, or the like.
    #[error("cannot use certificate `{cert}` with key `{key}`")]
    Credentials {
        /// File of the certificate.
        cert: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// Cause.
        #[source]
        source: rustls::Error,
    },
    /// The host of the URL is no host.
    #[error("`{host}` is not a host name or address")]
    Host {
        /// As in the configuration.
        host: String,
    },
    /// No connection.
    #[error("cannot connect to {host}:{port}")]
    Connect {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// No answer.
    #[error("{host}:{port} does not answer within {seconds} s")]
    ConnectTimeout {
        /// Host.
        host: String,
        /// Port.
        port: u16,
        /// How long it was waited.
        seconds: u64,
    },
    /// The hub's certificate is of another CA.
    #[error(
        "the certificate of `{host}` is not signed by the CA in `{ca}`: this is another hub, or the hub has a new CA"
    )]
    HubUnknown {
        /// Host.
        host: String,
        /// File of the CA.
        ca: PathBuf,
    },
    /// The hub's certificate is for other names.
    #[error(
        "the hub's certificate is not for `{host}`: add the name to `link.names` of the hub, or correct `hub.url`"
    )]
    HubName {
        /// Host.
        host: String,
        /// Cause, which lists the names that it is for.
        #[source]
        source: rustls::Error,
    },
    /// The hub's certificate has expired, or this node's clock is wrong.
    #[error(
        "the certificate of `{host}` is not valid now: it has expired, or the clock of this node is wrong"
    )]
    HubExpired {
        /// Host.
        host: String,
        /// Cause.
        #[source]
        source: rustls::Error,
    },
    /// The hub does not accept this node's certificate.
    #[error("the hub refused the certificate `{cert}`: {why}")]
    NodeRefused {
        /// File of the certificate.
        cert: PathBuf,
        /// In words.
        why: &'static str,
    },
    /// Something else is wrong with TLS.
    #[error("TLS with `{host}` failed")]
    Tls {
        /// Host.
        host: String,
        /// Cause.
        #[source]
        source: rustls::Error,
    },
    /// The other side speaks TLS but is no hub.
    #[error("`{host}` does not answer as a hub")]
    Handshake {
        /// Host.
        host: String,
        /// Cause.
        #[source]
        source: AskError,
    },
    /// The hub, or what is in its place, does not grant the link.
    #[error("`{host}` answers {answer}")]
    Refused {
        /// Host.
        host: String,
        /// File of the certificate that was shown.
        cert: PathBuf,
        /// Status, and what it says.
        answer: Answer,
    },
    /// The connection ended.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The session ended the connection.
    #[error(transparent)]
    Session(CloseReason),
    /// The store refused what the hub sent, or to give its records.
    #[error("the store refuses")]
    Store(#[from] StoreError),
}

impl From<DecodeError> for LinkError {
    fn from(error: DecodeError) -> Self {
        Self::Session(CloseReason::Undecodable(error))
    }
}

impl Explain for LinkError {
    fn hint(&self) -> Option<String> {
        let Self::Refused { cert, answer, .. } = self else {
            return None;
        };
        let cert = cert.display();
        Some(match answer.status {
            401 => format!(
                "`{cert}` did not reach the hub: does something between here and there end TLS?"
            ),
            403 => format!("`{cert}` must be the certificate of a node (`hub.certFile`)"),
            404 => "does `hub.url` lead to a hub, and to one of this version?".to_owned(),
            426 => "does something between here and the hub not pass WebSockets on?".to_owned(),
            _ => return None,
        })
    }
}

/// Finds out what an I/O error of the handshake means for people.
pub(super) fn tls_error(
    error: io::Error,
    host: &str,
    port: u16,
    ca: &Path,
    cert: &Path,
) -> LinkError {
    let host = host.to_owned();
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .cloned();
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => match refusal(alert) {
            Some(why) => LinkError::NodeRefused {
                cert: cert.to_owned(),
                why,
            },
            None => LinkError::Tls {
                host,
                source: rustls::Error::AlertReceived(alert),
            },
        },
        Some(source) => match &source {
            rustls::Error::InvalidCertificate(reason) => match reason {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    LinkError::HubUnknown {
                        host,
                        ca: ca.to_owned(),
                    }
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    LinkError::HubName { host, source }
                }
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => {
                    LinkError::HubExpired { host, source }
                }
                _ => LinkError::Tls { host, source },
            },
            _ => LinkError::Tls { host, source },
        },
        None => LinkError::Connect {
            host,
            port,
            source: error,
        },
    }
}

fn refusal(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateRequired => "it asks for one and got none",
        AlertDescription::CertificateExpired => "it has expired, or a clock is wrong",
        AlertDescription::CertificateRevoked => "it was revoked",
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::DecryptError => "it is not signed by the hub's CA",
        AlertDescription::AccessDenied
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => "it is not a node's certificate",
        _ => return None,
    })
}

//! Who makes a request.

use axum::extract::FromRequestParts;
use http::{StatusCode, request::Parts};
use longshore_types::NodeName;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::refusal::Refused;
use crate::identity::{Peer, ends_ms, peer_of};

/// What TLS knows of the other end.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Verified: of this hub's CA, for clients, and valid now.
    certificate: Option<CertificateDer<'static>>,
}

/// The node whose certificate was shown. A handler that takes this is only reached
/// by nodes: others hear 401 if they show none, and 403 if theirs is not a node's.
#[derive(Debug)]
pub(crate) struct NodeIdentity {
    /// The node.
    pub(crate) name: NodeName,
    /// When its certificate ends (ms since 1970).
    pub(crate) ends_ms: Option<i64>,
}

impl Caller {
    pub(super) fn of(tls: &TlsStream<TcpStream>) -> Self {
        let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
        Self {
            certificate: chain.first().map(|of_peer| of_peer.clone().into_owned()),
        }
    }
}

impl Caller {
    /// Whose certificate was shown, if one was.
    pub(super) fn name(&self) -> Option<String> {
        Some(match peer_of(self.certificate.as_ref()?) {
            Peer::Node(node) => node.to_string(),
            // A node's name has no colon.
            Peer::Other(name) => format!("other:{name}"),
        })
    }
}

impl<S: Sync> FromRequestParts<S> for NodeIdentity {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refused> {
        let caller = parts.extensions.get::<Caller>();
        let Some(certificate) = caller.and_then(|caller| caller.certificate.as_ref()) else {
            return Err(Refused::new(
                StatusCode::UNAUTHORIZED,
                "no certificate: a node needs one of this hub (`cloudhub issue-node`)",
            ));
        };
        match peer_of(certificate) {
            Peer::Node(name) => Ok(Self {
                name,
                ends_ms: ends_ms(certificate),
            }),
            Peer::Other(name) => Err(Refused::new(
                StatusCode::FORBIDDEN,
                format!("the certificate is of `{name}`, which is not a node"),
            )),
        }
    }
}

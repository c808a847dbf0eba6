//! TLS of the hub's ports, and what a certificate says of its holder.

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use longshore_types::NodeName;
use rustls::{
    RootCertStore, ServerConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Authority, IdentityError, NODE_GROUP, NODE_USER_PREFIX, files, make_error};

/// A server's certificate is made anew when less than this is left of it.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// The certificate of the hub's ports. It is renewed while the hub runs.
#[derive(Debug)]
pub struct ServerIdentity {
    current: RwLock<Arc<CertifiedKey>>,
    names: Vec<String>,
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A node.
    Node(NodeName),
    /// Somebody with a certificate of this CA who is not a node.
    Other(String),
}

impl ServerIdentity {
    /// Loads `server.crt` and `server.key` of a folder, or makes them if they
    /// are not there, lack a name, or end soon.
    ///
    /// # Errors
    /// They cannot be made or written.
    pub fn open(
        authority: &Authority,
        folder: &Path,
        names: Vec<String>,
    ) -> Result<Arc<Self>, IdentityError> {
        let key = load_or_make(authority, folder, &names)?;
        Ok(Arc::new(Self {
            current: RwLock::new(Arc::new(key)),
            names,
        }))
    }

    /// Makes a new certificate if the present one ends soon.
    ///
    /// # Errors
    /// It cannot be made or written; the present one stays.
    pub fn renew(&self, authority: &Authority, folder: &Path) -> Result<(), IdentityError> {
        let key = load_or_make(authority, folder, &self.names)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
        Ok(())
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.current.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

/// TLS 1.3 with a certificate of the hub's CA. Clients may show one of the same CA;
/// one of another, or that is not valid now, ends the handshake.
///
/// # Errors
/// The CA's certificate cannot be used.
pub fn server_config(
    authority: &Authority,
    identity: Arc<ServerIdentity>,
) -> Result<ServerConfig, IdentityError> {
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.certificate().clone())
        .map_err(IdentityError::Tls)?;
    let provider = provider();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(IdentityError::Verifier)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(IdentityError::Tls)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(identity);
    config.max_early_data_size = 0;
    Ok(config)
}

/// When a certificate ends (ms since 1970); none if it cannot be read.
pub fn ends_ms(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    certificate
        .validity()
        .not_after
        .timestamp()
        .checked_mul(1000)
}

/// Reads the holder out of a certificate that TLS has verified.
pub fn peer_of(certificate: &CertificateDer<'_>) -> Peer {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Peer::Other("unreadable".to_owned());
    };
    let subject = certificate.subject();
    let common_name = subject
        .iter_common_name()
        .next()
        .and_then(|name| name.as_str().ok())
        .unwrap_or_default();
    let is_node = subject
        .iter_organization()
        .any(|name| name.as_str() == Ok(NODE_GROUP));
    let node = common_name
        .strip_prefix(NODE_USER_PREFIX)
        .and_then(|name| NodeName::new(name).ok());
    match node {
        Some(node) if is_node => Peer::Node(node),
        _ => Peer::Other(common_name.to_owned()),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn load_or_make(
    authority: &Authority,
    folder: &Path,
    names: &[String],
) -> Result<CertifiedKey, IdentityError> {
    let (certificate_path, key_path) = (folder.join("server.crt"), folder.join("server.key"));
    if let (Some(certificate), Some(key)) = (
        files::read_if_there(&certificate_path)?,
        files::read_if_there(&key_path)?,
    ) && let Some(key) = usable(authority, &certificate, &key, names)
    {
        return Ok(key);
    }
    let issued = authority.issue_server(names)?;
    issued.write(&certificate_path, &key_path)?;
    usable(authority, &issued.certificate_pem, &issued.key_pem, names).ok_or_else(|| {
        make_error(
            "the hub's own server",
            rcgen::Error::CouldNotParseCertificate,
        )
    })
}

fn usable(
    authority: &Authority,
    certificate_pem: &str,
    key_pem: &str,
    names: &[String],
) -> Option<CertifiedKey> {
    let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).ok()?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).ok()?;
    // As an edge would look at it, a month from now.
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let then = UnixTime::since_unix_epoch(now + RENEW_BEFORE);
    for name in names {
        let name = ServerName::try_from(name.as_str()).ok()?;
        verifier
            .verify_server_cert(&certificate, &[], &name, &[], then)
            .ok()?;
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).ok()?;
    CertifiedKey::from_der(vec![certificate], key, &provider()).ok()
}

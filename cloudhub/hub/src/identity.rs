//! The hub's certificate authority: who is a node, who is the administrator.
//!
//! The CA is made on first use, in the state folder, by the hub or by
//! `cloudhub issue-node`, whichever comes first. Its key never leaves the
//! folder and is readable by the owner only.

mod files;
mod tls;

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use longshore_process::{
    Explain,
    private::{PUBLIC, SECRET},
};
use longshore_types::NodeName;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};

pub use tls::{Peer, ServerIdentity, ends_ms, peer_of, server_config};

/// What Kubernetes calls a node's user is this and the node's name.
pub const NODE_USER_PREFIX: &str = "system:node:";
/// The group of all nodes.
pub const NODE_GROUP: &str = "system:nodes";
/// The group of administrators.
const ADMIN_GROUP: &str = "system:masters";

/// Ten years: the CA is the root of trust of a site and is not renewed by itself yet.
const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
/// A year for all others.
const LIFETIME: Duration = Duration::from_secs(365 * 86_400);
/// Edges without a battery-backed clock start in the past.
const BACKDATE: Duration = Duration::from_secs(86_400);

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("`{path}` holds no usable certificate or key")]
    Content {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate for `{name}`")]
    Make {
        /// Whose.
        name: String,
        /// Cause.
        #[source]
        source: rcgen::Error,
    },
    /// The folder holds what another node needs.
    #[error("`{path}` is the certificate of node `{holder}`, not of `{node}`")]
    OtherNode {
        /// The certificate.
        path: PathBuf,
        /// Whose it is.
        holder: String,
        /// Whose was to be made.
        node: NodeName,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// TLS cannot verify clients.
    #[error("cannot set up the check of certificates")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}

impl Explain for IdentityError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Content { .. } => {
                "restore it from a backup; if you remove ca.key and ca.crt a new CA is made, and every node needs a new certificate"
            }
            Self::OtherNode { .. } => "choose another folder",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// The hub's CA.
pub struct Authority {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    key_pem: String,
}

/// A certificate and its key.
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: String,
}

impl Authority {
    /// Opens the CA in a folder, or makes it. Safe against another process
    /// that does the same at the same time.
    ///
    /// # Errors
    /// Files cannot be read or written, or are not what they should be.
    pub fn open(folder: &Path) -> Result<Self, IdentityError> {
        let (key_path, certificate_path) = (folder.join("ca.key"), folder.join("ca.crt"));
        files::make_folder(folder)?;
        let key_pem = match files::read_if_there(&key_path)? {
            Some(pem) => pem,
            None => {
                let key = KeyPair::generate().map_err(|source| make_error("the CA", source))?;
                files::create_once(&key_path, &key.serialize_pem(), SECRET)?
            }
        };
        let key = KeyPair::from_pem(&key_pem).map_err(|source| IdentityError::Content {
            path: key_path.clone(),
            source,
        })?;
        // Whoever makes the certificate uses the key that stands there, so that two
        // that were made at once trust the same.
        let certificate_pem = match files::read_if_there(&certificate_path)? {
            Some(pem) => pem,
            None => files::create_once(&certificate_path, &ca_certificate(&key)?, PUBLIC)?,
        };
        let certificate =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|_| {
                IdentityError::Content {
                    path: certificate_path.clone(),
                    source: rcgen::Error::CouldNotParseCertificate,
                }
            })?;
        Issuer::from_ca_cert_der(&certificate, &key).map_err(|source| IdentityError::Content {
            path: certificate_path,
            source,
        })?;
        Ok(Self {
            certificate_pem,
            certificate,
            key_pem,
        })
    }

    /// The CA's certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The CA's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A certificate for a node.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn issue_node(&self, node: &NodeName) -> Result<Issued, IdentityError> {
        let user = format!("{NODE_USER_PREFIX}{node}");
        self.issue(
            params(&user, Some(NODE_GROUP), LIFETIME),
            ExtendedKeyUsagePurpose::ClientAuth,
        )
    }

    /// A certificate for the administrator of the embedded API server.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn issue_admin(&self) -> Result<Issued, IdentityError> {
        self.issue(
            params("longshore-admin", Some(ADMIN_GROUP), LIFETIME),
            ExtendedKeyUsagePurpose::ClientAuth,
        )
    }

    /// A certificate for a server of these names and addresses.
    ///
    /// # Errors
    /// It cannot be made, for example because a name is none.
    pub fn issue_server(&self, names: &[String]) -> Result<Issued, IdentityError> {
        let mut params = params("longshore-hub", None, LIFETIME);
        for name in names {
            let name = match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => {
                    let text = name.as_str().try_into();
                    SanType::DnsName(text.map_err(|source| make_error(name, source))?)
                }
            };
            params.subject_alt_names.push(name);
        }
        self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Issued, IdentityError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let failed = |source| make_error("a holder", source);
        let ca_key = KeyPair::from_pem(&self.key_pem).map_err(failed)?;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, ca_key).map_err(failed)?;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

impl Issued {
    /// Writes certificate and key; the key is for the owner only.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, certificate: &Path, key: &Path) -> Result<(), IdentityError> {
        files::replace(key, &self.key_pem, SECRET)?;
        files::replace(certificate, &self.certificate_pem, PUBLIC)
    }
}

/// Writes what an edge needs to reach the hub: `ca.crt`, `node.crt`, `node.key`.
///
/// # Errors
/// The certificate cannot be made or the files cannot be written.
pub fn write_node(
    authority: &Authority,
    node: &NodeName,
    folder: &Path,
) -> Result<(), IdentityError> {
    files::make_folder(folder)?;
    let path = folder.join("node.crt");
    let present = files::read_if_there(&path)?;
    let present = present.and_then(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).ok());
    let holder = match present.as_ref().map(peer_of) {
        Some(Peer::Node(holder)) if holder != *node => Some(holder.to_string()),
        Some(Peer::Other(holder)) => Some(holder),
        _ => None,
    };
    if let Some(holder) = holder {
        return Err(IdentityError::OtherNode {
            path,
            holder,
            node: node.clone(),
        });
    }
    files::replace(&folder.join("ca.crt"), authority.certificate_pem(), PUBLIC)?;
    authority
        .issue_node(node)?
        .write(&path, &folder.join("node.key"))
}

fn ca_certificate(key: &KeyPair) -> Result<String, IdentityError> {
    let mut params = params("longshore-hub-ca", None, CA_LIFETIME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params
        .self_signed(key)
        .map_err(|source| make_error("the CA", source))?;
    Ok(certificate.pem())
}

fn params(common_name: &str, organization: Option<&str>, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATE);
    params.not_after = epoch + now + lifetime;
    params
}

fn make_error(name: &str, source: rcgen::Error) -> IdentityError {
    IdentityError::Make {
        name: name.to_owned(),
        source,
    }
}

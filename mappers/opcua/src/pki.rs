//! Our own certificate, and which servers' certificates are trusted.
//!
//! ```text
//! PKI/own/cert.der           our certificate, for the servers' trust lists
//! PKI/private/private.pem    its key
//! PKI/trusted/*.der, *.pem   servers' certificates that are accepted, and those of
//!                            authorities whose servers all are
//! PKI/issuers/*.der, *.pem   authorities in between, which are not trusted by themselves
//! PKI/rejected/*.der         servers' certificates that were not
//! ```
//! Looked at anew at each log-on, so that a certificate is accepted by copying
//! one file, and nothing is to be restarted.

use std::{
    env, fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use longshore_sdk::files;
use opcua::{
    crypto::{CertificateStore, PrivateKey, X509, X509Data},
    sync::RwLock,
    types::{DateTime, UAString},
};
use tokio::sync::Mutex;

use crate::{bus::Trust, issuer};

/// Where the folder is when nobody says: beside the edge's own state, or that
/// of the user.
const SYSTEM: &str = "/var/lib/longshore";
/// Ten years: nobody renews what nobody looks at, and each server trusts this
/// very certificate rather than a name in it.
const VALID_DAYS: u32 = 3650;
/// Allowed by all policies that are spoken (2048 to 4096 bits).
const KEY_BITS: u32 = 2048;

/// The folder of certificates, and who we are.
#[derive(Debug)]
pub(crate) struct Pki {
    folder: PathBuf,
    application_uri: String,
    application_name: String,
    /// Held while the certificate is made, which takes seconds on small machines.
    making: Arc<Mutex<()>>,
}

/// Why certificates do not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PkiError {
    /// The folder or a file in it.
    #[error("failed to {what} {path}: {message}")]
    File {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: String,
        /// What the system says.
        message: String,
    },
    /// Our certificate could not be made.
    #[error("failed to make a certificate of our own: {0}")]
    Make(String),
    /// The server's certificate does not read.
    #[error("the server's certificate cannot be read: {0}")]
    Unreadable(String),
    /// The server's certificate is not trusted.
    #[error(
        "the server's certificate is not trusted: {subject}, SHA-1 thumbprint {thumbprint}\n\n\
         hint: if it is the right one, accept it with\n  cp '{rejected}' '{trusted}/'\n\
         or write trust: {{thumbprint: {thumbprint}}} into the device's protocol.configData; it is tried again by itself"
    )]
    Untrusted {
        /// Whom it names.
        subject: String,
        /// How it is known.
        thumbprint: String,
        /// Where it lies.
        rejected: String,
        /// Where it would be accepted.
        trusted: String,
    },
    /// The server shows another certificate than the one that was asked for.
    #[error(
        "the server shows another certificate than trust.thumbprint asks for: {subject}, SHA-1 thumbprint {thumbprint}"
    )]
    Other {
        /// Whom it names.
        subject: String,
        /// How it is known.
        thumbprint: String,
    },
    /// The server's certificate is too old or too young.
    #[error(
        "the server's certificate {subject} is not valid now: {message}\n\n\
         hint: set the clocks right, renew it, or pin it with trust: {{thumbprint: {thumbprint}}}"
    )]
    Time {
        /// Whom it names.
        subject: String,
        /// How it is known.
        thumbprint: String,
        /// What is wrong.
        message: String,
    },
}

impl Pki {
    /// With the defaults for what is not given. Touches nothing.
    pub(crate) fn new(
        folder: Option<PathBuf>,
        application_uri: Option<String>,
        application_name: Option<String>,
    ) -> Self {
        let host = opcua::crypto::hostname().unwrap_or_else(|_| "localhost".to_owned());
        Self {
            folder: folder.unwrap_or_else(default_folder),
            application_uri: application_uri
                .unwrap_or_else(|| format!("urn:{host}:longshore:opcua")),
            application_name: application_name.unwrap_or_else(|| "Longshore".to_owned()),
            making: Arc::default(),
        }
    }

    /// The URI in our certificate.
    pub(crate) fn application_uri(&self) -> &str {
        &self.application_uri
    }

    /// What servers show of us.
    pub(crate) fn application_name(&self) -> &str {
        &self.application_name
    }

    /// As the library wants it.
    pub(crate) fn store(&self) -> Arc<RwLock<CertificateStore>> {
        Arc::new(RwLock::new(CertificateStore::new(&self.folder)))
    }

    /// Our certificate and its key, made at the first use.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub(crate) async fn own(&self) -> Result<(X509, PrivateKey), PkiError> {
        let guard = self.making.clone().lock_owned().await;
        if self.own_certificate().exists() {
            return self.read_own();
        }
        self.make_folders()?;
        let data = self.data();
        let (certificate, key) = (self.own_certificate(), self.own_key());
        let lock = self.folder.join("private/lock");
        // The work goes on, and is not begun twice, when the caller gives up.
        let made = tokio::task::spawn_blocking(move || {
            let _guard = guard;
            let open = fs::OpenOptions::new().create(true).append(true).open(&lock);
            let held = open.and_then(|held| held.lock().map(|()| held));
            let _held = held.map_err(|error| file("lock", &lock, &error))?;
            // Another process may have been first.
            match certificate.exists() {
                true => Ok(()),
                false => make(&data, &certificate, &key),
            }
        });
        made.await
            .map_err(|error| PkiError::Make(error.to_string()))??;
        self.read_own()
    }

    fn data(&self) -> X509Data {
        let mut data = X509Data::sample_cert();
        data.key_size = KEY_BITS;
        data.common_name.clone_from(&self.application_name);
        data.organization = "Longshore".to_owned();
        data.organizational_unit = String::new();
        data.country = String::new();
        data.state = String::new();
        data.certificate_duration_days = VALID_DAYS;
        data.alt_host_names = Vec::new().into();
        data.alt_host_names.add_uri(&self.application_uri);
        if let Ok(host) = opcua::crypto::hostname() {
            data.alt_host_names.add_dns(host);
        }
        data
    }

    fn read_own(&self) -> Result<(X509, PrivateKey), PkiError> {
        Ok((
            read_certificate(&self.own_certificate())?,
            read_key(&self.own_key())?,
        ))
    }

    /// Whether the certificate of a server is one that we accept; one that is
    /// not is laid into the rejected folder.
    ///
    /// # Errors
    /// Why not, and what to do.
    ///
    /// `chain` is what the server shows of its issuers.
    pub(crate) fn check(
        &self,
        certificate: &X509,
        chain: &[X509],
        trust: &Trust,
    ) -> Result<(), PkiError> {
        let subject = certificate.subject_name();
        let thumbprint = certificate
            .thumbprint()
            .as_hex_string()
            .to_ascii_lowercase();
        match trust {
            Trust::All => return Ok(()),
            Trust::Thumbprint(wanted) if *wanted == thumbprint => return Ok(()),
            Trust::Thumbprint(_) => {
                return Err(PkiError::Other {
                    subject,
                    thumbprint,
                });
            }
            Trust::Folder => {}
        }
        let der = certificate
            .to_der()
            .map_err(|error| PkiError::Unreadable(error.to_string()))?;
        let trusted = self.certificates("trusted");
        let is_known = trusted
            .iter()
            .any(|known| known.to_der().is_ok_and(|known| known == der));
        let leads_up = || {
            let mut known = self.certificates("issuers");
            known.extend_from_slice(chain);
            issuer::leads_up(certificate, &known, &trusted)
        };
        if is_known || leads_up() {
            return certificate
                .is_time_valid(&DateTime::now().as_chrono())
                .map_err(|error| PkiError::Time {
                    subject,
                    thumbprint,
                    message: error.to_string(),
                });
        }
        self.make_folders()?;
        let rejected = self
            .folder
            .join("rejected")
            .join(format!("{thumbprint}.der"));
        fs::write(&rejected, &der).map_err(|error| file("write", &rejected, &error))?;
        Err(PkiError::Untrusted {
            subject,
            thumbprint,
            rejected: shown(&rejected),
            trusted: shown(&self.folder.join("trusted")),
        })
    }

    /// The certificates in a folder; one that is not there holds none.
    fn certificates(&self, folder: &str) -> Vec<X509> {
        let files = fs::read_dir(self.folder.join(folder)).into_iter().flatten();
        let read = |entry: fs::DirEntry| read_certificate(&entry.path()).ok();
        files.flatten().filter_map(read).collect()
    }

    fn make_folders(&self) -> Result<(), PkiError> {
        for name in ["own", "private", "trusted", "issuers", "rejected"] {
            let path = self.folder.join(name);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|error| file("make", &path, &error))?;
        }
        Ok(())
    }

    pub(crate) fn own_certificate(&self) -> PathBuf {
        self.folder.join("own/cert.der")
    }

    fn own_key(&self) -> PathBuf {
        self.folder.join("private/private.pem")
    }
}

fn default_folder() -> PathBuf {
    let system = Path::new(SYSTEM);
    if system.is_dir() {
        return system.join("opcua");
    }
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    state
        .or_else(home)
        .unwrap_or_else(env::temp_dir)
        .join("longshore/opcua")
}

/// The key first, so that a certificate that is there has its key.
fn make(data: &X509Data, certificate: &Path, key: &Path) -> Result<(), PkiError> {
    use opcua::types::ByteString;
    let (made, secret) = X509::cert_and_pkey(data).map_err(PkiError::Make)?;
    let secret = secret
        .to_der()
        .map_err(|error| PkiError::Make(error.to_string()))?;
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    let base64 = ByteString::from(secret.as_bytes()).as_base64();
    // Lines of 64 characters (RFC 7468, section 2).
    for (index, character) in base64.chars().enumerate() {
        pem.push(character);
        if index % 64 == 63 {
            pem.push('\n');
        }
    }
    pem.push_str("\n-----END PRIVATE KEY-----\n");
    let write = |path: &Path, content: &[u8]| {
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(content))
            .map_err(|error| file("write", path, &error))
    };
    write(key, pem.as_bytes())?;
    let der = made
        .to_der()
        .map_err(|error| PkiError::Make(error.to_string()))?;
    write(certificate, &der)
}

/// A certificate in PEM or DER, whatever the file's name.
pub(crate) fn read_certificate(path: &Path) -> Result<X509, PkiError> {
    let content = files::read(path).map_err(|error| file("read", path, &error))?;
    let is_pem = content.starts_with(b"-----BEGIN");
    let read = if is_pem {
        X509::from_pem(&content)
    } else {
        X509::from_der(&content)
    };
    read.map_err(|_| PkiError::File {
        what: "read",
        path: path.display().to_string(),
        message: "it is no certificate in PEM or DER".to_owned(),
    })
}

/// A private key in PEM.
pub(crate) fn read_key(path: &Path) -> Result<PrivateKey, PkiError> {
    let content = files::read(path).map_err(|error| file("read", path, &error))?;
    PrivateKey::from_pem(&content).map_err(|_| PkiError::File {
        what: "read",
        path: path.display().to_string(),
        message: "it is no RSA private key in PEM".to_owned(),
    })
}

/// The server's certificate out of its endpoint.
pub(crate) fn server_certificate(bytes: &opcua::types::ByteString) -> Result<X509, PkiError> {
    X509::from_byte_string(bytes).map_err(|error| PkiError::Unreadable(error.to_string()))
}

fn file(what: &'static str, path: &Path, error: &std::io::Error) -> PkiError {
    PkiError::File {
        what,
        path: shown(path),
        message: error.to_string(),
    }
}

/// The whole path, so that a command can be pasted from anywhere.
fn shown(path: &Path) -> String {
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_owned())
        .display()
        .to_string()
}

/// A text of the library.
pub(crate) fn text(text: &UAString) -> &str {
    text.as_ref()
}

//! From a URL and three files to a line.

use std::{io, path::Path, sync::Arc, time::Duration};

use longshore_link::transport::{self, AskError};
use longshore_types::files;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::error::{LinkError, tls_error};
use crate::config::HubConfig;

/// All of connecting: name, TCP, TLS, WebSocket.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) type Line = transport::Line<TlsStream<TcpStream>>;

/// Connects, or says in plain words why not.
pub(super) async fn dial(hub: &HubConfig) -> Result<Line, LinkError> {
    let config = client_config(hub)?;
    match tokio::time::timeout(TIMEOUT, connect(hub, config)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(LinkError::ConnectTimeout {
            host: hub.host.clone(),
            port: hub.port,
            seconds: TIMEOUT.as_secs(),
        }),
    }
}

async fn connect(hub: &HubConfig, config: ClientConfig) -> Result<Line, LinkError> {
    let host = hub.host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|_| LinkError::Host {
        host: hub.host.clone(),
    })?;
    let failed = |source| LinkError::Connect {
        host: hub.host.clone(),
        port: hub.port,
        source,
    };
    let tcp = TcpStream::connect((host, hub.port)).await.map_err(failed)?;
    tcp.set_nodelay(true).map_err(failed)?;
    let readable =
        |error: io::Error| tls_error(error, &hub.host, hub.port, &hub.ca_file, &hub.cert_file);
    let tls = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .map_err(readable)?;

    let line = transport::ask(tls, &hub.host, hub.port).await;
    line.map_err(|error| match error {
        // With TLS 1.3 the hub looks at our certificate when we are done with
        // the handshake: its refusal arrives with the first answer.
        AskError::Io(error) => readable(error),
        AskError::Refused(answer) => LinkError::Refused {
            host: hub.host.clone(),
            cert: hub.cert_file.clone(),
            answer,
        },
        source => LinkError::Handshake {
            host: hub.host.clone(),
            source,
        },
    })
}

fn client_config(hub: &HubConfig) -> Result<ClientConfig, LinkError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&hub.ca_file)? {
        roots.add(certificate).map_err(|_| LinkError::Pem {
            path: hub.ca_file.clone(),
            what: "certificate",
            source: None,
        })?;
    }
    let chain = certificates(&hub.cert_file)?;
    let key =
        PrivateKeyDer::from_pem_slice(&read(&hub.key_file)?).map_err(|source| LinkError::Pem {
            path: hub.key_file.clone(),
            what: "private key",
            source: Some(source),
        })?;
    let unusable = |source| LinkError::Credentials {
        cert: hub.cert_file.clone(),
        key: hub.key_file.clone(),
        source,
    };
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(unusable)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let bad = |source| LinkError::Pem {
        path: path.to_owned(),
        what: "certificate",
        source,
    };
    let text = read(path)?;
    let list = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| bad(Some(e)))?;
    if list.is_empty() {
        Err(bad(None))
    } else {
        Ok(list)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LinkError> {
    files::read(path, files::SMALL).map_err(|source| LinkError::ReadFile {
        path: path.to_owned(),
        source,
    })
}

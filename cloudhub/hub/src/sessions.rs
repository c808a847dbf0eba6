//! The port for the edges: TLS, who is it, WebSocket, session.
//!
//! Nobody gets further than the TLS handshake without a certificate of the
//! hub's CA, and nobody further than that without one of a node. Each refusal
//! is logged with its reason and the address, and counted.

mod connection;
mod outcome;
mod tables;
mod telemetry;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use longshore_link::{LINK_PATH, MAX_FRAME_BYTES, SUBPROTOCOL};
use longshore_process::Stop;
use longshore_types::NodeName;
use rustls::{CertificateError, ServerConfig};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        handshake::server::{ErrorResponse, Request, Response},
        http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};
use tracing::{info, warn};

pub(crate) use self::tables::Tables;
use crate::identity::{Peer, peer_of};

/// So many handshakes are under way at once, silent strangers included; each
/// ends within the timeout. The others wait in the
/// kernel's queue.
const HANDSHAKES: usize = 1024;

/// TLS and WebSocket together must be through within this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// At the end each session gets so long to say goodbye.
const DRAIN: Duration = Duration::from_secs(3);

/// Bytes of a socket's buffers: there may be thousands of sockets.
const BUFFER: usize = 16 * 1024;

pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Why a connection did not become a session.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no certificate: an edge needs one of this hub (`cloudhub issue-node`)")]
    NoCertificate,
    #[error("its certificate is not signed by this hub's CA")]
    ForeignCertificate,
    #[error("its certificate has expired, or its time has not come")]
    Expired,
    #[error("its certificate is of `{0}`, which is not a node")]
    NotANode(String),
    #[error("TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("WebSocket handshake failed")]
    WebSocket(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    #[error("handshake took longer than {} s", HANDSHAKE_TIMEOUT.as_secs())]
    Timeout,
}

/// Accepts edges until it is told to stop, then ends their sessions.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: ServerConfig,
    hub: Arc<Tables>,
    mut stop: Stop,
) {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.asked() => break,
        };
        while sessions.try_join_next().is_some() {}
        let (tcp, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: some will come free.
                warn!(%error, "cannot accept connections");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        hub.metrics.link_connections.increment();
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else {
            break;
        };
        let (acceptor, hub) = (acceptor.clone(), Arc::clone(&hub));
        sessions.spawn(async move {
            let outcome = tokio::time::timeout(HANDSHAKE_TIMEOUT, admit(acceptor, tcp)).await;
            drop(permit);
            match outcome.unwrap_or(Err(Refusal::Timeout)) {
                Ok((node, socket)) => connection::run(&hub, &node, socket, address).await,
                Err(refusal) => refused(&hub, address, &refusal),
            }
        });
    }
    drop(listener);
    hub.nodes.end_all();
    let drained = tokio::time::timeout(DRAIN, async {
        while sessions.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        info!("sessions did not end in time and are cut");
    }
}

fn refused(hub: &Tables, address: SocketAddr, refusal: &Refusal) {
    hub.metrics.link_refused.increment();
    let reason = longshore_process::chain(refusal);
    warn!(%address, reason, "connection refused");
}

async fn admit(acceptor: TlsAcceptor, tcp: TcpStream) -> Result<(NodeName, Socket), Refusal> {
    // Acks are small and wanted at once. Without the option they come late, no more.
    let _ = tcp.set_nodelay(true);
    let tls = acceptor.accept(tcp).await.map_err(refusal_of)?;
    let certificates = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let Some(certificate) = certificates.first() else {
        return Err(Refusal::NoCertificate);
    };
    let node = match peer_of(certificate) {
        Peer::Node(node) => node,
        Peer::Other(name) => return Err(Refusal::NotANode(name)),
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES));
    let socket = accept_hdr_async_with_config(tls, check_request, Some(config))
        .await
        .map_err(|error| Refusal::WebSocket(Box::new(error)))?;
    Ok((node, socket))
}

// The size of the error is the library's.
#[allow(clippy::result_large_err)]
fn check_request(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let refuse = |status| {
        let mut response = ErrorResponse::new(None);
        *response.status_mut() = status;
        Err(response)
    };
    if request.uri().path() != LINK_PATH {
        return refuse(StatusCode::NOT_FOUND);
    }
    let asked = request.headers().get(SEC_WEBSOCKET_PROTOCOL);
    let speaks = asked
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').any(|word| word.trim() == SUBPROTOCOL));
    if !speaks {
        return refuse(StatusCode::BAD_REQUEST);
    }
    response.headers_mut().insert(
        SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL),
    );
    Ok(response)
}

fn refusal_of(error: io::Error) -> Refusal {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::NoCertificatesPresented) => Refusal::NoCertificate,
        Some(rustls::Error::InvalidCertificate(reason)) => match reason {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Refusal::Expired,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Refusal::ForeignCertificate
            }
            _ => Refusal::Tls(error),
        },
        _ => Refusal::Tls(error),
    }
}

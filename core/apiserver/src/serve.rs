//! TLS and HTTP on a socket: who connects, and as whom.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use longshore_process::Group;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::identity::{Tokens, User, user_of_certificate};
use crate::rest::{self, Api};

/// A client that has not finished its handshake by then is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Connections at one time; more wait in the kernel's queue.
const CONNECTIONS: usize = 4096;

/// After a failure of accept (no file descriptors left) some may become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests may go on after the stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until the server stops.
pub(crate) async fn serve(
    api: Arc<Api>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    tokens: Tokens,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(tls);
    let tokens = Arc::new(tokens);
    let stopping = api.stopping.clone();
    let mut connections = Group::new("connection to the API server", CONNECTIONS);
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            () = connections.reap() => continue,
            accepted = listener.accept(), if !connections.is_full() => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                let (api, acceptor, tokens) = (api.clone(), acceptor.clone(), tokens.clone());
                connections.spawn(connection(api, socket, acceptor, tokens));
            }
            Err(error) => {
                tracing::warn!(error = %error, "the API server could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Whoever is not done by then is cut off.
    let _ = tokio::time::timeout(DRAIN, connections.finish()).await;
    Ok(())
}

async fn connection(api: Arc<Api>, socket: TcpStream, acceptor: TlsAcceptor, tokens: Arc<Tokens>) {
    let _ = socket.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(error = %error, "a TLS handshake with the API server failed");
            return;
        }
        Err(_) => return,
    };
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(<[_]>::first);
    let by_certificate = certificate.and_then(|certificate| user_of_certificate(certificate));
    let stopping: CancellationToken = api.stopping.clone();
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let (api, tokens, by_certificate) = (api.clone(), tokens.clone(), by_certificate.clone());
        async move {
            let user =
                by_certificate.or_else(|| bearer(&request).and_then(|token| tokens.user(token)));
            let mut request = request.map(Body::new);
            request.extensions_mut().remove::<User>();
            Ok::<_, std::convert::Infallible>(rest::handle(api, user, request).await)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(HANDSHAKE * 6);
    builder.http2().timer(hyper_util::rt::TokioTimer::new());
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => {}
        () = stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}

fn bearer<B>(request: &Request<B>) -> Option<&str> {
    let value = request
        .headers()
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

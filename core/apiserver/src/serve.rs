//! TLS and HTTP on a socket: who connects, and as whom.
//!
//! Who may be in at one time, and who waits too long, is the business of
//! [`Gate`]; how long a request may take is decided where it is read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::{Request, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use longshore_process::Group;
use longshore_process::http::{Busy, Gate, Limits, Visit};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::identity::{Tokens, User, user_of_certificate};
use crate::rest::{self, Api};

/// A client that has not finished its handshake by then is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The head of a request in HTTP/1 must be whole within this time.
const HEAD: Duration = Duration::from_secs(60);

/// After a failure of accept (no file descriptors left) some may become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long requests may go on after the stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Who is told to go may still say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// Requests of one connection at one time in HTTP/2: what Kubernetes allows, and
/// more than the watches of any controller.
const STREAMS: u32 = 250;

/// Bytes of all headers of a request. A label selector may be long.
const HEADERS: u32 = 64 * 1024;

/// Streams that a peer has opened and reset and that are not cleaned up yet. One who
/// goes beyond it is playing "rapid reset" and loses its connection.
const RESETS: usize = 20;

/// The same for streams that are reset because of the peer's own errors.
const ERRORS: usize = 100;

/// A peer that is asked so often whether it is there, and says nothing, is gone:
/// otherwise the watches of a machine that lost its power would stay for ever.
const PING: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves until the server stops.
pub(crate) async fn serve(
    api: Arc<Api>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    tokens: Tokens,
    limits: Limits,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(tls);
    let tokens = Arc::new(tokens);
    let stopping = api.stopping.clone();
    let gate = Gate::new(limits);
    // Whoever is told to go needs a moment, so there are a few more tasks than guests.
    let mut connections = Group::new("connection to the API server", limits.connections * 2);
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            () = connections.reap() => continue,
            accepted = gate.accept(&listener), if !connections.is_full() => accepted,
        };
        match accepted {
            Ok((socket, _, visit)) => {
                let (api, acceptor, tokens) = (api.clone(), acceptor.clone(), tokens.clone());
                connections.spawn(async move {
                    let handshake = handshake(socket, &acceptor);
                    let stream = tokio::select! {
                        () = visit.over() => return,
                        stream = handshake => stream,
                    };
                    if let Some(stream) = stream {
                        connection(api, stream, tokens, visit).await;
                    }
                });
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

async fn handshake(socket: TcpStream, acceptor: &TlsAcceptor) -> Option<TlsStream<TcpStream>> {
    let _ = socket.set_nodelay(true);
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(error = %error, "a TLS handshake with the API server failed");
            None
        }
        Err(_) => None,
    }
}

async fn connection(
    api: Arc<Api>,
    stream: TlsStream<TcpStream>,
    tokens: Arc<Tokens>,
    visit: Visit,
) {
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(<[_]>::first);
    let by_certificate = certificate.and_then(|certificate| user_of_certificate(certificate));
    match &by_certificate {
        Some(user) => visit.known(&user.name),
        None => visit.shook(),
    }
    let stopping: CancellationToken = api.stopping.clone();
    let guest = visit.clone();
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let (api, tokens, by_certificate) = (api.clone(), tokens.clone(), by_certificate.clone());
        let visit = guest.clone();
        async move {
            let user = by_certificate.or_else(|| {
                let user = tokens.user(bearer(&request)?)?;
                visit.known(&user.name);
                Some(user)
            });
            let busy = visit.busy();
            let known = user.is_some();
            let mut request = request.map(Body::new);
            request.extensions_mut().remove::<User>();
            let response = rest::handle_outside(api, user, request).await;
            // A stranger that does not take its answer still waits, and goes.
            let busy = known.then_some(busy);
            Ok::<_, std::convert::Infallible>(
                response.map(|body| Body::new(Answer { body, _busy: busy })),
            )
        }
    });
    let builder = builder();
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let goodbye = tokio::select! {
        _ = serving.as_mut() => return,
        () = stopping.cancelled() => DRAIN,
        () = visit.over() => GOODBYE,
    };
    serving.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(goodbye, serving).await;
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEADERS as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(ERRORS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
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

/// The body of an answer. Its request is under way until it is through, a watch's
/// as long as the watch.
struct Answer {
    body: Body,
    _busy: Option<Busy>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

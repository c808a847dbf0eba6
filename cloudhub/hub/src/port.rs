//! The port for the edges: TLS, then one HTTP request, and who makes it.
//!
//! TLS asks for a certificate but does not insist on one: a node that has none
//! comes to this port to get one. What a path asks of its caller it says itself, by
//! taking a [`NodeIdentity`]; the port only brings the certificate, verified, to the
//! request. A certificate that is shown and is not of this hub's CA, or not valid
//! now, ends in TLS: who shows one means it, and the alert says what is wrong with
//! it.
//!
//! A connection is one request. It is answered, or the answer gives the stream to
//! somebody for good, as the link's does ([`Upgrade`]). So that strangers cost
//! little, all up to there (TLS, head, answer) has one deadline, a head is at most
//! [`HEAD`] bytes, and so many such connections there are at one time. Who shows a
//! certificate counts no more among them; the one of the others that has been silent
//! longest makes room for the next, so that no number of silent ones keeps an edge
//! out.
//!
//! Each connection that is turned away is logged with the reason and the address,
//! and counted.

mod caller;
mod refusal;
mod routes;
#[cfg(test)]
mod tests;
mod upgrade;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use http::{HeaderValue, StatusCode, header::CONNECTION};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use longshore_process::{
    Group, Stop, chain,
    http::{self as pages, Gate, Visit},
};
use rustls::ServerConfig;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tracing::{info, warn};

use self::{caller::Caller, refusal::Refusal, upgrade::Continuation};
pub(crate) use self::{
    caller::NodeIdentity,
    refusal::Refused,
    routes::router,
    upgrade::{Upgrade, Upgraded},
};
use crate::metrics::Metrics;

/// Bytes of a request's head. Ours have some hundred.
const HEAD: usize = 16 * 1024;

/// Connections at one time, most of them sessions: more than a process has file
/// descriptors, and a bound nonetheless.
const CONNECTIONS: usize = 65_536;

/// Connections of one node: a session, one that takes its place, and what is asked
/// beside it.
const OF_A_NODE: usize = 16;

/// After a failure of accept (no file descriptors left) some may become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// At the end each session gets so long to say goodbye.
const DRAIN: Duration = Duration::from_secs(3);

/// What strangers may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// So many connections without a certificate are before their answer at one
    /// time, silent ones included.
    pub(crate) strangers: usize,
    /// Before that age a silent one does not have to make room.
    pub(crate) young: Duration,
    /// TLS, head and answer together must be through within this time.
    pub(crate) time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            strangers: 1024,
            // A handshake over a radio link takes a second or two.
            young: Duration::from_secs(2),
            time: Duration::from_secs(10),
        }
    }
}

impl Limits {
    fn doors(self) -> pages::Limits {
        pages::Limits {
            connections: CONNECTIONS,
            strangers: self.strangers,
            // A fleet may be behind one address.
            address: self.strangers,
            identity: OF_A_NODE,
            // Behind the deadline, which tells why.
            stranger_wait: self.time + Duration::from_secs(1),
            known_wait: self.time + Duration::from_secs(1),
            young: self.young,
        }
    }
}

/// The port, before it serves.
pub(crate) struct Port {
    tls: TlsAcceptor,
    router: Router,
    metrics: Arc<Metrics>,
    limits: Limits,
}

impl Port {
    pub(crate) fn new(
        tls: ServerConfig,
        router: Router,
        metrics: Arc<Metrics>,
        limits: Limits,
    ) -> Self {
        Self {
            tls: TlsAcceptor::from(Arc::new(tls)),
            router,
            metrics,
            limits,
        }
    }

    /// Answers until it is told to stop, then waits for those who have a stream.
    pub(crate) async fn serve(self, listener: TcpListener, mut stop: Stop) {
        let gate = Gate::new(self.limits.doors());
        let mut connections = Group::new("connection of the link's port", CONNECTIONS);
        let port = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                () = stop.asked() => break,
                () = connections.reap() => continue,
                accepted = gate.accept(&listener), if !connections.is_full() => accepted,
            };
            let (tcp, address, visit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: some will come free.
                    warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            port.metrics.link_connections.increment();
            let serving = Arc::clone(&port).connection(tcp, address, visit, stop.clone());
            connections.spawn(serving);
        }
        drop(listener);
        let drained = tokio::time::timeout(DRAIN, connections.finish());
        if drained.await.is_err() {
            info!("sessions did not end in time and are cut");
        }
    }

    async fn connection(
        self: Arc<Self>,
        tcp: TcpStream,
        address: SocketAddr,
        visit: Visit,
        mut stop: Stop,
    ) {
        let told = AtomicBool::new(false);
        // In a box, as a session should not keep the room that its handshake took.
        let answer = Box::pin(self.answer(tcp, address, &visit, &told, stop.clone()));
        let answered = tokio::time::timeout(self.limits.time, answer);
        let answered = tokio::select! {
            answered = answered => answered.unwrap_or(Err(Refusal::Timeout(self.limits.time))),
            () = visit.over() => Err(Refusal::Displaced),
            // Nothing was promised to it yet.
            () = stop.asked() => return,
        };
        match answered {
            Ok(Some(continuation)) => {
                let _busy = visit.busy();
                continuation.await;
            }
            Ok(None) => {}
            // One that breaks over the answer that turns it away is one refusal.
            Err(_) if told.into_inner() => {}
            Err(refusal) => self.refused(address, &chain(&refusal)),
        }
    }

    /// Answers the one request of a connection; gives what goes on with its stream,
    /// if anything does. When the answer turns it away, that is `told`.
    async fn answer(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        visit: &Visit,
        told: &AtomicBool,
        stop: Stop,
    ) -> Result<Option<Continuation>, Refusal> {
        // Acks are small and wanted at once. Without the option they come late, no more.
        let _ = tcp.set_nodelay(true);
        let tls = self.tls.accept(tcp).await.map_err(Refusal::of_tls)?;
        let caller = Caller::of(&tls);
        match caller.name() {
            Some(who) => visit.known(&who),
            None => visit.shook(),
        }
        let upgrade = Upgrade::default();
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(caller.clone());
            request.extensions_mut().insert(upgrade.clone());
            let answering = self.router.clone().oneshot(request);
            async move {
                let mut response = answering.await?;
                if let Some(reason) = refusal::reason(&response) {
                    told.store(true, Ordering::Relaxed);
                    self.refused(address, &reason);
                }
                // Said here, as hyper would say it of a switch of protocols, too.
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut http = http1::Builder::new();
        http.max_buf_size(HEAD)
            // The deadline of the whole is the one of the head, too.
            .header_read_timeout(None);
        let served = http.serve_connection(TokioIo::new(tls), service);
        let served = served.without_shutdown().await.map_err(Refusal::Http)?;
        let mut stream = served.io.into_inner();
        if let Some(continuation) = upgrade.take() {
            let upgraded = Upgraded {
                stream,
                read: served.read_buf,
                address,
                stop,
            };
            return Ok(Some(continuation(upgraded)));
        }
        // A peer that is gone already needs no goodbye.
        let _ = stream.shutdown().await;
        Ok(None)
    }

    fn refused(&self, address: SocketAddr, reason: &str) {
        self.metrics.link_refused.increment();
        warn!(%address, reason, "connection refused");
    }
}

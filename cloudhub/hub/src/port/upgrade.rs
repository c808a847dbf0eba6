//! The stream of a connection, for whoever goes on with it after the answer.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use longshore_process::Stop;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::tables::lock;

/// What goes on with a stream.
pub(super) type Continuation = BoxFuture<'static, ()>;

type Begin = Box<dyn FnOnce(Upgraded) -> Continuation + Send>;

/// By this a handler says what goes on with the connection when its answer (101
/// Switching Protocols) has been sent. It is an extension of each request.
///
/// hyper has a future for the same, which somebody would have to await in a task of
/// its own; this way the connection goes on in the task that it has.
#[derive(Clone, Default)]
pub(crate) struct Upgrade(Arc<Mutex<Option<Begin>>>);

/// A connection whose answer has been sent.
pub(crate) struct Upgraded {
    pub(crate) stream: TlsStream<TcpStream>,
    /// What came behind the request already.
    pub(crate) read: Bytes,
    pub(crate) address: SocketAddr,
    /// The port is to end.
    pub(crate) stop: Stop,
}

impl Upgrade {
    /// Goes on with this.
    pub(crate) fn then<F>(&self, begin: impl FnOnce(Upgraded) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        *lock(&self.0) = Some(Box::new(|upgraded| Box::pin(begin(upgraded))));
    }

    pub(super) fn take(&self) -> Option<Begin> {
        lock(&self.0).take()
    }
}

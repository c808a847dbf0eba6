//! A WebSocket whose messages are the frames of a session.

use std::{
    collections::VecDeque,
    future::poll_fn,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        protocol::{Role, WebSocketConfig},
    },
};

use crate::MAX_FRAME_BYTES;

/// Messages that may wait for the line. The windows of the session keep far fewer
/// under way; a queue that is full means that the line is dead.
pub const QUEUE: usize = 256;

/// What may remain to be sent at the end gets so long.
const GOODBYE: Duration = Duration::from_secs(1);

/// Bytes of a socket's buffers: a hub has thousands of sockets, an edge has little
/// memory.
const BUFFER: usize = 16 * 1024;

/// A connection with another end of the link.
#[derive(Debug)]
pub struct Line<S> {
    socket: WebSocketStream<S>,
    waiting: VecDeque<Bytes>,
    /// Something was handed to the socket and may still be in its buffer.
    unflushed: bool,
}

/// Why a line is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The other side ended it.
    #[error("the other side closed the connection")]
    Closed,
    /// It broke, or what came is no WebSocket.
    #[error("the connection broke")]
    Broken(#[source] Box<tungstenite::Error>),
    /// Messages wait, the line does not take them.
    #[error("the line does not take what is to be sent")]
    Congested,
}

impl<S> Line<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// The hub's end of a stream over which the link was granted. `read` is what
    /// came of it already.
    pub async fn granted(stream: S, read: Bytes) -> Self {
        let config = Some(config());
        let socket =
            WebSocketStream::from_partially_read(stream, read.into(), Role::Server, config);
        Self::new(socket.await)
    }

    pub(super) fn new(socket: WebSocketStream<S>) -> Self {
        Self {
            socket,
            waiting: VecDeque::new(),
            unflushed: false,
        }
    }

    /// Puts a message behind those that wait. It goes out in [`Line::receive`] or
    /// [`Line::close`].
    ///
    /// # Errors
    /// [`LineError::Congested`] when [`QUEUE`] messages wait already.
    pub fn send(&mut self, message: Bytes) -> Result<(), LineError> {
        if self.waiting.len() >= QUEUE {
            return Err(LineError::Congested);
        }
        self.waiting.push_back(message);
        Ok(())
    }

    /// Waits for the next message, and meanwhile sends what waits. Nothing is lost
    /// if it is dropped before it is done.
    ///
    /// # Errors
    /// The line has ended.
    pub async fn receive(&mut self) -> Result<Bytes, LineError> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Sends what waits, then says goodbye. It takes a second at most.
    pub async fn close(mut self) {
        let goodbye = async {
            poll_fn(|context| self.poll_send(context)).await?;
            SinkExt::close(&mut self.socket).await
        };
        // The other side may be gone: then nobody waits for a goodbye.
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, LineError>> {
        let sent = self.poll_send(context);
        // What came counts before a line that takes nothing any more: it may say why.
        loop {
            let came = match self.socket.poll_next_unpin(context) {
                Poll::Pending => break,
                Poll::Ready(came) => came,
            };
            return Poll::Ready(match came {
                Some(Ok(Message::Binary(message))) => Ok(message),
                Some(Ok(Message::Close(_))) | None => Err(LineError::Closed),
                // Pings of the WebSocket itself are answered by its library.
                Some(Ok(_)) => continue,
                Some(Err(error)) => Err(broken(error)),
            });
        }
        match sent {
            Poll::Ready(Err(error)) => Poll::Ready(Err(broken(error))),
            _ => Poll::Pending,
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), tungstenite::Error>> {
        while !self.waiting.is_empty() {
            ready!(self.socket.poll_ready_unpin(context))?;
            if let Some(message) = self.waiting.pop_front() {
                self.unflushed = true;
                self.socket.start_send_unpin(Message::Binary(message))?;
            }
        }
        if self.unflushed {
            ready!(self.socket.poll_flush_unpin(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES))
}

fn broken(error: tungstenite::Error) -> LineError {
    LineError::Broken(Box::new(error))
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// An edge and a hub, and so many bytes on the way.
    async fn ends(bytes: usize) -> (Line<DuplexStream>, Line<DuplexStream>) {
        let (edge, hub) = duplex(bytes);
        let edge = WebSocketStream::from_raw_socket(edge, Role::Client, Some(config()));
        (
            Line::new(edge.await),
            Line::granted(hub, Bytes::new()).await,
        )
    }

    #[tokio::test]
    async fn what_waits_goes_out_in_order_and_at_the_end() {
        let (mut edge, mut hub) = ends(64).await;
        let all: Vec<Bytes> = (0..QUEUE)
            .map(|n| Bytes::from(format!("message {n}")))
            .collect();
        for message in &all {
            edge.send(message.clone()).unwrap();
        }
        let one_more = edge.send(Bytes::new()).unwrap_err();
        assert!(matches!(one_more, LineError::Congested), "{one_more}");
        let receiving = async {
            let mut came = Vec::new();
            loop {
                match hub.receive().await {
                    Ok(message) => came.push(message),
                    Err(end) => return (came, end),
                }
            }
        };
        let ((came, end), ()) = tokio::join!(receiving, edge.close());
        assert_eq!(came, all);
        assert!(matches!(end, LineError::Closed), "{end}");
    }

    #[tokio::test]
    async fn a_message_above_the_bound_breaks_the_line() {
        let (mut edge, mut hub) = ends(64 * 1024).await;
        edge.send(Bytes::from(vec![0; MAX_FRAME_BYTES])).unwrap();
        edge.send(Bytes::from(vec![0; MAX_FRAME_BYTES + 1]))
            .unwrap();
        let receiving = async {
            let first = hub.receive().await.unwrap();
            assert_eq!(first.len(), MAX_FRAME_BYTES);
            hub.receive().await.unwrap_err()
        };
        let end = tokio::select! {
            end = receiving => end,
            end = edge.receive() => panic!("the edge hears of nothing: {end:?}"),
        };
        assert!(matches!(end, LineError::Broken(_)), "{end}");
    }

    #[tokio::test]
    async fn what_the_other_side_said_last_comes_before_the_line_is_broken() {
        let (mut edge, mut hub) = ends(1024).await;
        hub.send(Bytes::from_static(b"why")).unwrap();
        hub.close().await;
        edge.send(Bytes::from(vec![0; 64 * 1024])).unwrap();
        assert_eq!(edge.receive().await.unwrap(), "why");
        let end = edge.receive().await.unwrap_err();
        assert!(
            matches!(end, LineError::Closed | LineError::Broken(_)),
            "{end}"
        );
    }
}

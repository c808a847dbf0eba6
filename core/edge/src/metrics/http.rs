//! As much of HTTP/1.1 as `curl` and Prometheus need.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};

/// Connections at a time; more wait.
const CONNECTIONS: usize = 16;
/// Bytes of a request's head.
const HEAD: usize = 8 * 1024;
/// Time for a request and its answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// The head of a request.
pub(super) struct Request {
    method: String,
    target: String,
}

/// An answer.
pub(super) struct Response {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Request {
    fn parse(head: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(head).ok()?.lines().next()?;
        let mut words = line.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let sound =
            words.next().is_none() && version.starts_with("HTTP/1.") && target.starts_with('/');
        sound.then(|| Self {
            method: method.to_owned(),
            target: target.to_owned(),
        })
    }

    /// The path without the query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, percent signs decoded.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(key, _)| *key == name)
            .map(|(_, value)| decode(value))
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl Response {
    /// Plain text.
    pub(super) fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into().into_bytes(),
        }
    }

    /// JSON.
    pub(super) fn json(body: Vec<u8>) -> Self {
        Self {
            status: 200,
            content_type: "application/json",
            body,
        }
    }

    /// Prometheus' text format.
    pub(super) fn metrics(body: String) -> Self {
        Self {
            status: 200,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: body.into_bytes(),
        }
    }

    fn head(&self) -> String {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            _ => "Service Unavailable",
        };
        format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.status,
            self.content_type,
            self.body.len()
        )
    }
}

/// Serves until `stop` is true.
pub(super) async fn serve<F, A>(listener: TcpListener, answer: F, mut stop: watch::Receiver<bool>)
where
    F: Fn(Request) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let stream = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Some((stream, permit)) = stream else {
            continue;
        };
        let answer = answer.clone();
        tokio::spawn(async move {
            let done = tokio::time::timeout(DEADLINE, one(stream, answer)).await;
            if let Ok(Err(error)) = done {
                tracing::debug!(%error, "metrics connection ended early");
            }
            drop(permit);
        });
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            // Out of file descriptors, most likely: others need a moment to give some back.
            tracing::warn!(%error, "metrics connection not accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn one<F, A>(mut stream: TcpStream, answer: F) -> std::io::Result<()>
where
    F: Fn(Request) -> A,
    A: Future<Output = Response>,
{
    let mut head = Vec::with_capacity(512);
    let whole = loop {
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            break true;
        }
        if head.len() >= HEAD || stream.read_buf(&mut head).await? == 0 {
            break false;
        }
    };
    let request = Request::parse(&head).filter(|_| whole);
    let response = match request {
        None => Response::text(400, "not an HTTP request\n"),
        Some(request) if request.method != "GET" => Response::text(405, "only GET\n"),
        Some(request) => answer(request).await,
    };
    stream.write_all(response.head().as_bytes()).await?;
    stream.write_all(&response.body).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_taken_apart() {
        let request =
            Request::parse(b"GET /twins?x=1&device=default%2Fboiler HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(
            (request.path(), request.query("device").as_deref()),
            ("/twins", Some("default/boiler"))
        );
        assert_eq!(request.query("y"), None);
        for wrong in [
            "",
            "GET /",
            "GET / FTP/1",
            "GET x HTTP/1.1",
            "GET / HTTP/1.1 more",
        ] {
            assert!(Request::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert_eq!(decode("%zz%4"), "%zz%4");
    }
}

//! The pages.

use std::{borrow::Cow, io, net::SocketAddr, time::Duration};

use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    FIELDS, HEAD,
    doors::Limits,
    gate::{Gate, Visit},
};
use crate::{Explain, Group, Stop};

/// Connections at a time. The one that has been without a whole request longest makes
/// room for the next: half requests silence no page.
const CONNECTIONS: usize = 16;
/// A client on this machine has sent its request within this time.
const YOUNG: Duration = Duration::from_millis(100);
/// Time for a request and its answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Time for others to give file descriptors back.
const PAUSE: Duration = Duration::from_millis(100);

/// The port cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address}")]
pub struct ListenError {
    address: SocketAddr,
    key: &'static str,
    #[source]
    source: io::Error,
}

impl Explain for ListenError {
    fn hint(&self) -> Option<String> {
        Some(format!(
            "another process may have the port; set `{}` to another one, port 0 takes a free one",
            self.key
        ))
    }
}

/// Binds a port; `key` is the configuration's name for it. Gives the address too,
/// which is another one where the port was 0.
///
/// # Errors
/// The port is taken, or may not be used.
pub async fn listen(
    address: SocketAddr,
    key: &'static str,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    let bind = async {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bind.await.map_err(|source| ListenError {
        address,
        key,
        source,
    })
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    method: String,
    target: String,
}

impl Request {
    /// The request of a whole head; none while more of it must come.
    pub(super) fn parse(head: &[u8]) -> Result<Option<Self>, httparse::Error> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        if request.parse(head)?.is_partial() {
            return Ok(None);
        }
        let (method, target) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
        if !target.starts_with('/') {
            return Err(httparse::Error::Token);
        }
        Ok(Some(Self {
            method: method.to_owned(),
            target: target.to_owned(),
        }))
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, percent signs decoded.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, query) = self.target.split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| *key == name)?;
        Some(percent_decode_str(value).decode_utf8_lossy())
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Response {
    /// Plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into().into_bytes(),
        }
    }

    /// JSON.
    pub fn json(body: Vec<u8>) -> Self {
        Self {
            status: 200,
            content_type: "application/json",
            body,
        }
    }

    /// Prometheus' text format.
    pub fn metrics(body: String) -> Self {
        Self {
            status: 200,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: body.into_bytes(),
        }
    }

    /// There is no such page; says which there are.
    pub fn not_found(pages: &[&str]) -> Self {
        Self::text(404, format!("not found; try {}\n", pages.join(", ")))
    }

    /// `/readyz`: ready without faults. `notes` are told either way.
    pub fn ready(faults: &[String], notes: &str) -> Self {
        if faults.is_empty() {
            return Self::text(200, format!("ready\n{notes}"));
        }
        Self::text(503, format!("not ready\n{}\n{notes}", faults.join("\n")))
    }

    fn head(&self) -> String {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        let allow = if self.status == 405 {
            "Allow: GET, HEAD\r\n"
        } else {
            ""
        };
        format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
            self.status,
            self.content_type,
            self.body.len()
        )
    }
}

/// Serves pages until the end is asked for.
pub async fn serve<F, A>(listener: TcpListener, answer: F, mut stop: Stop)
where
    F: Fn(Request) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    // Who is told to go may take a moment to.
    let mut connections = Group::new("connection to a page", 2 * CONNECTIONS);
    let gate = Gate::new(Limits {
        connections: CONNECTIONS,
        strangers: CONNECTIONS,
        address: CONNECTIONS,
        identity: CONNECTIONS,
        stranger_wait: DEADLINE,
        known_wait: DEADLINE,
        young: YOUNG,
    });
    loop {
        let accepted = tokio::select! {
            () = stop.asked() => return,
            () = connections.reap() => continue,
            accepted = gate.accept(&listener), if !connections.is_full() => accepted,
        };
        match accepted {
            Ok((stream, _, visit)) => {
                let answer = answer.clone();
                connections.spawn(async move {
                    let answered = tokio::time::timeout(DEADLINE, one(stream, &visit, answer));
                    tokio::select! {
                        done = answered => if let Ok(Err(error)) = done {
                            tracing::debug!(%error, "connection to a page ended early");
                        },
                        () = visit.over() => {}
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely.
                tracing::warn!(%error, "connection to a page not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn one<F, A>(mut stream: TcpStream, visit: &Visit, answer: F) -> io::Result<()>
where
    F: Fn(Request) -> A,
    A: Future<Output = Response>,
{
    let mut head = Vec::with_capacity(512);
    let _busy;
    let (response, with_body) = loop {
        let end = stream.read_buf(&mut head).await? == 0;
        match Request::parse(&head) {
            Ok(Some(request)) => {
                _busy = visit.busy();
                break respond(request, &answer).await;
            }
            Ok(None) if head.len() >= HEAD => {
                break (Response::text(431, "too long a head\n"), true);
            }
            Ok(None) if !end => {}
            Ok(None) | Err(_) => break (Response::text(400, "not an HTTP request\n"), true),
        }
    };
    stream.write_all(response.head().as_bytes()).await?;
    if with_body {
        stream.write_all(&response.body).await?;
    }
    stream.shutdown().await
}

/// The answer, and whether its body is wanted.
async fn respond<F, A>(request: Request, answer: &F) -> (Response, bool)
where
    F: Fn(Request) -> A,
    A: Future<Output = Response>,
{
    match request.method.as_str() {
        "GET" => (answer(request).await, true),
        "HEAD" => (answer(request).await, false),
        _ => (Response::text(405, "only GET and HEAD\n"), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_taken_apart() {
        let head = b"GET /twins?x=1&device=default%2Fboiler HTTP/1.1\r\n\r\n";
        let request = Request::parse(head).unwrap().unwrap();
        assert_eq!(
            (request.path(), request.query("device").as_deref()),
            ("/twins", Some("default/boiler"))
        );
        assert_eq!(request.query("y"), None);
        assert_eq!(Request::parse(b"GET / HTTP/1.1\r\n"), Ok(None));
        for wrong in ["GET / FTP/1\r\n\r\n", "GET x HTTP/1.1\r\n\r\n"] {
            assert!(Request::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

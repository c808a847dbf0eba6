//! One request at a time, for the loopback pages of our own processes: a client
//! library would be larger than all else that reads them.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::FIELDS;
use crate::Explain;

/// Time for a whole exchange; what listens on this machine answers at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer: the twins of 100,000 points fit, a runaway does not.
const LIMIT: u64 = 256 * 1024 * 1024;

/// Status and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// For example 200.
    pub status: u16,
    /// What it is about.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// There is no answer, or not the one that is wanted.
#[derive(Debug, thiserror::Error)]
#[error("failed to {method} http://{address}{path}")]
pub struct HttpError {
    method: &'static str,
    address: SocketAddr,
    path: String,
    #[source]
    cause: Cause,
}

impl Explain for HttpError {}

#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("no answer in {} s", PATIENCE.as_secs())]
    Silent,
    #[error("the answer is not HTTP")]
    NotHttp,
    #[error("the answer is not JSON")]
    NotJson(#[from] serde_json::Error),
    #[error("answered with status {status}: {text}")]
    Status { status: u16, text: String },
}

/// Gets a page, whatever its status.
///
/// # Errors
/// Nobody answers, or not in HTTP.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer, HttpError> {
    let wrap = |cause| error("get", address, path, cause);
    exchange("GET", address, path, None).await.map_err(wrap)
}

/// Gets a page that answers with JSON; none if there is no such page.
///
/// # Errors
/// As [`get`]; or the page answers with another status, or not in JSON.
pub async fn get_json(address: SocketAddr, path: &str) -> Result<Option<Value>, HttpError> {
    let wrap = |cause| error("get", address, path, cause);
    let answer = get(address, path).await?;
    match answer.status {
        200 => match serde_json::from_slice(&answer.body) {
            Ok(json) => Ok(Some(json)),
            Err(cause) => Err(wrap(cause.into())),
        },
        404 => Ok(None),
        _ => Err(wrap(unwanted(&answer))),
    }
}

/// Puts JSON to a page that answers with nothing.
///
/// # Errors
/// As [`get`]; or the page refuses it.
pub async fn put_json(address: SocketAddr, path: &str, body: &Value) -> Result<(), HttpError> {
    let wrap = |cause| error("put to", address, path, cause);
    let body = body.to_string();
    let answer = exchange("PUT", address, path, Some(&body)).await;
    let answer = answer.map_err(wrap)?;
    match answer.status {
        200 | 204 => Ok(()),
        _ => Err(wrap(unwanted(&answer))),
    }
}

fn error(method: &'static str, address: SocketAddr, path: &str, cause: Cause) -> HttpError {
    HttpError {
        method,
        address,
        path: path.to_owned(),
        cause,
    }
}

fn unwanted(answer: &Answer) -> Cause {
    Cause::Status {
        status: answer.status,
        text: answer.text().trim().to_owned(),
    }
}

/// HTTP/1.0: the answer ends with the connection, and comes in one piece.
async fn exchange(
    method: &str,
    address: SocketAddr,
    path: &str,
    body: Option<&str>,
) -> Result<Answer, Cause> {
    let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n");
    if let Some(body) = body {
        let length = body.len();
        request.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {length}\r\n"
        ));
    }
    request.push_str("\r\n");
    request.push_str(body.unwrap_or_default());
    let whole = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LIMIT).read_to_end(&mut answer).await?;
        parse(answer)
    };
    tokio::time::timeout(PATIENCE, whole)
        .await
        .unwrap_or(Err(Cause::Silent))
}

pub(super) fn parse(mut answer: Vec<u8>) -> Result<Answer, Cause> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let (status, end) = match response.parse(&answer) {
        Ok(httparse::Status::Complete(end)) => (response.code.unwrap_or_default(), end),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Cause::NotHttp),
    };
    let body = answer.split_off(end);
    Ok(Answer { status, body })
}

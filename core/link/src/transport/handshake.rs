//! From an HTTP request to a line, at both ends.

use std::{fmt, io};

use http::{HeaderValue, Request, Response, StatusCode, header::SEC_WEBSOCKET_PROTOCOL};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        self, client::IntoClientRequest, error::ProtocolError,
        handshake::server::create_response_with_body,
    },
};

use super::line::{Line, config};
use crate::{LINK_PATH, SUBPROTOCOL};

/// Bytes that are kept of what a refusal says: two long sentences.
const MAX_TEXT: usize = 512;

/// Why a hub was asked in vain.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The stream broke. With TLS 1.3 this is also how a server refuses a
    /// certificate: it looks at it when the client is done with its handshake.
    #[error("the connection broke before there was an answer")]
    Io(#[source] io::Error),
    /// The answer is not that it may speak.
    #[error("{0}")]
    Refused(Answer),
    /// The answer is none of a WebSocket, or the host of the URL is none.
    #[error(transparent)]
    Handshake(Box<tungstenite::Error>),
}

/// An answer that does not grant the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status, such as 401.
    pub status: u16,
    /// The beginning of its body, fit for one line; may be empty.
    pub text: String,
}

/// What is wrong with a request for the link.
#[derive(Debug, thiserror::Error)]
pub enum RequestFault {
    /// Not a GET.
    #[error("the link is asked for with GET")]
    Method,
    /// A plain request.
    #[error("this is the link of a hub, which is a WebSocket: edgecore speaks to it")]
    NoWebSocket,
    /// A WebSocket of another version.
    #[error("the link is a WebSocket of version 13")]
    Version,
    /// Another subprotocol, or none.
    #[error("the link's subprotocol is `{SUBPROTOCOL}`, and the request does not offer it")]
    Subprotocol,
    /// Anything else.
    #[error("the request is not one for a WebSocket")]
    Malformed(#[source] Box<tungstenite::Error>),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match StatusCode::from_u16(self.status) {
            // With its name, as in `401 Unauthorized`.
            Ok(status) => status.fmt(f)?,
            Err(_) => self.status.fmt(f)?,
        }
        match self.text.as_str() {
            "" => Ok(()),
            text => write!(f, ": {text}"),
        }
    }
}

impl RequestFault {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoWebSocket | Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Subprotocol | Self::Malformed(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// Asks for the link over a stream that reaches a hub, and waits for the answer.
///
/// # Errors
/// See [`AskError`]. The caller bounds the time.
pub async fn ask<S>(stream: S, host: &str, port: u16) -> Result<Line<S>, AskError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let url = format!("wss://{host}:{port}{LINK_PATH}");
    let mut request = url.into_client_request().map_err(ask_error)?;
    request
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, protocol());
    let asked = client_async_with_config(request, stream, Some(config()));
    let (socket, _) = asked.await.map_err(ask_error)?;
    Ok(Line::new(socket))
}

/// The answer that grants the link, with an empty body. When it has been sent, the
/// stream below is a [`Line::granted`].
///
/// # Errors
/// See [`RequestFault`]; nothing is granted then.
pub fn grant<A, B: Default>(request: &Request<A>) -> Result<Response<B>, RequestFault> {
    let mut response = create_response_with_body(request, B::default).map_err(request_fault)?;
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let mut offered = offered
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    if !offered.any(|name| name.trim() == SUBPROTOCOL) {
        return Err(RequestFault::Subprotocol);
    }
    response
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, protocol());
    Ok(response)
}

fn protocol() -> HeaderValue {
    HeaderValue::from_static(SUBPROTOCOL)
}

fn ask_error(error: tungstenite::Error) -> AskError {
    match error {
        tungstenite::Error::Io(error) => AskError::Io(error),
        tungstenite::Error::Http(answer) => AskError::Refused(Answer {
            status: answer.status().as_u16(),
            // What came with the head. A hub sends its sentence in the same record.
            text: one_line(answer.body().as_deref().unwrap_or_default()),
        }),
        error => AskError::Handshake(Box::new(error)),
    }
}

fn request_fault(error: tungstenite::Error) -> RequestFault {
    match error {
        tungstenite::Error::Protocol(fault) => match fault {
            ProtocolError::WrongHttpMethod => RequestFault::Method,
            ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader => RequestFault::NoWebSocket,
            ProtocolError::MissingSecWebSocketVersionHeader => RequestFault::Version,
            fault => RequestFault::Malformed(Box::new(fault.into())),
        },
        error => RequestFault::Malformed(Box::new(error)),
    }
}

/// The beginning of a text that somebody else wrote, fit for one line of a log.
fn one_line(text: &[u8]) -> String {
    let text = &text[..text.len().min(MAX_TEXT)];
    let text = String::from_utf8_lossy(text);
    let mut line = String::new();
    for character in text.trim().chars() {
        match character {
            '\'' | '"' => line.push(character),
            _ => line.extend(character.escape_debug()),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use http::header::SEC_WEBSOCKET_VERSION;

    use super::*;

    fn request(change: impl FnOnce(&mut Request<()>)) -> Request<()> {
        let mut request = "wss://hub/v1/link".into_client_request().unwrap();
        request
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, protocol());
        change(&mut request);
        request
    }

    #[test]
    fn each_fault_of_a_request_has_its_status() {
        let faults = [
            (
                request(|r| *r.method_mut() = http::Method::POST),
                405,
                "with GET",
            ),
            (Request::new(()), 426, "which is a WebSocket"),
            (
                request(|r| drop(r.headers_mut().remove("upgrade"))),
                426,
                "which is a WebSocket",
            ),
            (
                request(|r| {
                    let version = HeaderValue::from_static("8");
                    r.headers_mut().insert(SEC_WEBSOCKET_VERSION, version);
                }),
                426,
                "version 13",
            ),
            (
                request(|r| drop(r.headers_mut().remove(SEC_WEBSOCKET_PROTOCOL))),
                400,
                "`longshore.link.v1`",
            ),
            (
                request(|r| {
                    let key = HeaderValue::from_static("short");
                    r.headers_mut().insert("sec-websocket-key", key);
                }),
                400,
                "not one for a WebSocket",
            ),
        ];
        for (request, status, text) in faults {
            let fault = grant::<_, ()>(&request).unwrap_err();
            assert_eq!(fault.status().as_u16(), status, "{fault}");
            assert!(fault.to_string().contains(text), "{fault}");
        }
    }

    #[test]
    fn the_subprotocol_may_be_one_of_several() {
        let names = HeaderValue::from_static("other, longshore.link.v1");
        let request = request(|r| {
            r.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, names);
        });
        let response = grant::<_, ()>(&request).unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], SUBPROTOCOL);
    }

    #[test]
    fn what_a_refusal_says_is_one_bounded_line() {
        assert_eq!(one_line(b" it's \"no\"\n"), "it's \"no\"");
        assert_eq!(
            one_line(b"a\x1b[31m\nb\r\xff"),
            "a\\u{1b}[31m\\nb\\r\u{fffd}"
        );
        assert_eq!(one_line("\u{202e}x".as_bytes()), "\\u{202e}x");
        assert_eq!(one_line(&[b'x'; 4096]).len(), MAX_TEXT);
    }

    #[test]
    fn an_answer_is_told_with_the_name_of_its_status() {
        let told = |status, text: &str| {
            let text = text.to_owned();
            AskError::Refused(Answer { status, text }).to_string()
        };
        assert_eq!(told(401, "no"), "401 Unauthorized: no");
        assert_eq!(told(401, ""), "401 Unauthorized");
        assert_eq!(told(799, "no"), "799 <unknown status code>: no");
    }
}

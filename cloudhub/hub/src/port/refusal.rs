//! Why a connection is turned away, below HTTP and in it.

use std::{borrow::Cow, io, sync::Arc, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use longshore_link::transport::RequestFault;
use longshore_process::chain;
use rustls::CertificateError;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("its certificate is not signed by this hub's CA")]
    ForeignCertificate,
    #[error("its certificate has expired, or its time has not come")]
    Expired,
    #[error("TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("the request cannot be read, or the answer not be sent")]
    Http(#[source] hyper::Error),
    #[error("handshake, request and answer took longer than {} s", .0.as_secs_f32())]
    Timeout(Duration),
    #[error("it was silent while others waited for its place")]
    Displaced,
}

impl Refusal {
    pub(super) fn of_tls(error: io::Error) -> Self {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(reason)) => match reason {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Self::ForeignCertificate
                }
                _ => Self::Tls(error),
            },
            _ => Self::Tls(error),
        }
    }
}

/// An answer that turns a request away, with one sentence for whoever reads it.
#[derive(Debug)]
pub(crate) struct Refused {
    status: StatusCode,
    reason: Cow<'static, str>,
}

/// The sentence again, beside the response, for the log.
#[derive(Debug, Clone)]
struct Reason(Arc<str>);

impl Refused {
    pub(crate) fn new(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Self {
        let reason = reason.into();
        Self { status, reason }
    }
}

impl From<RequestFault> for Refused {
    fn from(fault: RequestFault) -> Self {
        Self::new(fault.status(), chain(&fault))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(format!("{}\n", self.reason)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(CONTENT_TYPE, text);
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        let reason = Reason(self.reason.into());
        response.extensions_mut().insert(reason);
        response
    }
}

/// Why a response turns its request away; none if it does not.
pub(super) fn reason(response: &Response) -> Option<String> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    Some(match response.extensions().get::<Reason>() {
        Some(Reason(reason)) => format!("{status}: {reason}"),
        None => status.to_string(),
    })
}

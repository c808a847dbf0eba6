//! Why a request failed, and what that means for the session.

use std::time::Duration;

use longshore_sdk::RequestError;
use opcua::types::StatusCode;

/// Why a request failed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// No answer came.
    #[error("{service}: none within {} ms", .timeout.as_millis())]
    Timeout {
        service: &'static str,
        timeout: Duration,
    },
    /// The channel is closed.
    #[error("{service}: {message}")]
    Line {
        service: &'static str,
        message: String,
    },
    /// The server refused it.
    #[error("{service}: {}", status_text(*.status))]
    Service {
        service: &'static str,
        status: StatusCode,
    },
    /// A node has more references than anybody needs.
    #[error(
        "{service}: the references of a node do not end, after {references} of them in {pages} answers"
    )]
    Endless {
        service: &'static str,
        references: usize,
        pages: usize,
    },
    /// An answer came that is beyond the bounds, or no answer at all.
    #[error(
        "{service}: the answer cannot be read: {message}\n\nhint: bounds in the device's protocol.configData say how large a message, a text and an array may be"
    )]
    Unreadable {
        service: &'static str,
        message: String,
    },
    /// The answer is not one to the request.
    #[error("{service}: the answer does not belong to it")]
    Unexpected { service: &'static str },
}

impl WireError {
    /// Whether nothing more can be done with this session.
    pub(crate) fn ends_session(&self) -> bool {
        match self {
            Self::Line { .. } => true,
            Self::Service { status, .. } => is_end(*status),
            Self::Timeout { .. }
            | Self::Endless { .. }
            | Self::Unreadable { .. }
            | Self::Unexpected { .. } => false,
        }
    }

    /// Whether less of it at once may succeed.
    pub(crate) fn is_of_size(&self) -> bool {
        self.is_unreadable() || self.status().is_some_and(is_of_size)
    }

    /// Whether the server has answered, but nobody can read it.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self, Self::Unreadable { .. })
    }

    /// The server's status, if it refused.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Service { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl From<WireError> for RequestError {
    fn from(error: WireError) -> Self {
        let ends = error.ends_session();
        let message = error.to_string();
        match error {
            _ if ends => Self::Line(message),
            WireError::Timeout { .. } => Self::Timeout(message),
            WireError::Service { .. } => Self::Refused(message),
            WireError::Line { .. }
            | WireError::Endless { .. }
            | WireError::Unreadable { .. }
            | WireError::Unexpected { .. } => Self::Garbled(message),
        }
    }
}

/// Statuses of a session or channel that is no more, or of a server that goes.
fn is_end(status: StatusCode) -> bool {
    [
        StatusCode::BadSessionIdInvalid,
        StatusCode::BadSessionClosed,
        StatusCode::BadSessionNotActivated,
        StatusCode::BadSecureChannelClosed,
        StatusCode::BadSecureChannelIdInvalid,
        StatusCode::BadSecureChannelTokenUnknown,
        StatusCode::BadConnectionClosed,
        StatusCode::BadCommunicationError,
        StatusCode::BadNotConnected,
        StatusCode::BadServerNotConnected,
        StatusCode::BadServerHalted,
        StatusCode::BadShutdown,
        StatusCode::BadSequenceNumberInvalid,
        StatusCode::BadTcpSecureChannelUnknown,
    ]
    .contains(&status)
}

/// Statuses of a request that is too much, or of which one part is.
fn is_of_size(status: StatusCode) -> bool {
    [
        StatusCode::BadTooManyOperations,
        StatusCode::BadInternalError,
        StatusCode::BadUnexpectedError,
        StatusCode::BadEncodingError,
        StatusCode::BadEncodingLimitsExceeded,
        StatusCode::BadRequestTooLarge,
        StatusCode::BadResponseTooLarge,
        StatusCode::BadTcpMessageTooLarge,
        StatusCode::BadTcpNotEnoughResources,
        StatusCode::BadOutOfMemory,
        StatusCode::BadResourceUnavailable,
    ]
    .contains(&status)
}

/// A status as people look it up: its name and what it means.
pub(crate) fn status_text(status: StatusCode) -> String {
    let name = status.sub_code();
    match name.description().trim().trim_end_matches('.') {
        "" => status.to_string(),
        description => format!("{status} ({description})"),
    }
}

//! What a failed exchange is called in a completion and in a sample.

use crate::{Reason, RequestError, Status};

/// How a command ends that failed so.
pub(super) fn status_of(error: &RequestError) -> Status {
    match error {
        RequestError::InvalidValue(_) => Status::InvalidArgument,
        RequestError::Timeout(_) => Status::Timeout,
        RequestError::Refused(_) | RequestError::RefusedTogether(_) => Status::Refused,
        RequestError::Garbled(_) | RequestError::Line(_) => Status::Line,
    }
}

/// What the sample of a point says, beside its reason.
pub(super) fn message_of(error: &RequestError) -> String {
    match error {
        RequestError::Refused(message)
        | RequestError::RefusedTogether(message)
        | RequestError::InvalidValue(message) => message.clone(),
        other => other.to_string(),
    }
}

pub(super) fn reason_of(error: &RequestError) -> Reason {
    match error {
        RequestError::Refused(_) | RequestError::RefusedTogether(_) => Reason::Refused,
        RequestError::Timeout(_) => Reason::Timeout,
        RequestError::Garbled(_) | RequestError::Line(_) => Reason::Line,
        RequestError::InvalidValue(_) => Reason::Decode,
    }
}

//! The contract's codes of how a command ended.

use longshore_abi as abi;
pub use longshore_types::command::{Command, CommandKind, Status};

const CODES: [(i32, Status); 12] = [
    (abi::STATUS_OK, Status::Ok),
    (abi::STATUS_INVALID_ARGUMENT, Status::InvalidArgument),
    (abi::STATUS_INVALID_CONFIG, Status::InvalidConfig),
    (abi::STATUS_UNSUPPORTED, Status::Unsupported),
    (abi::STATUS_TIMEOUT, Status::Timeout),
    (abi::STATUS_LINE, Status::Line),
    (abi::STATUS_REFUSED, Status::Refused),
    (abi::STATUS_PANIC, Status::Panic),
    (abi::STATUS_STOPPED, Status::Stopped),
    (abi::STATUS_BUSY, Status::Busy),
    (abi::STATUS_INTERNAL, Status::Internal),
    (abi::STATUS_NOT_SENT, Status::NotSent),
];

/// The status with this code.
pub(crate) fn status_of(code: i32) -> Status {
    let known = CODES.iter().find(|(known, _)| *known == code);
    known.map_or(Status::Unknown(code), |(_, status)| *status)
}

/// The code of a status.
pub(crate) fn code_of(status: Status) -> i32 {
    match status {
        Status::Unknown(code) => code,
        status => CODES
            .iter()
            .find(|(_, known)| *known == status)
            .map_or(abi::STATUS_INTERNAL, |(code, _)| *code),
    }
}

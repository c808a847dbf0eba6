//! Status codes as data: by name in files, as numbers on the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codes::CODES;

/// A status code, such as `BadSensorFailure`: of a value, an operation or a service.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StatusCode(pub u32);

/// A text that names no status code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no status code: expected a name like `BadSensorFailure` or a number")]
pub struct UnknownStatus(pub String);

macro_rules! codes {
    ($($name:ident = $code:literal,)*) => {
        impl StatusCode {
            $(pub(crate) const $name: Self = Self($code);)*
        }
    };
}

// Those that the server gives by itself. The names are in `CODES`.
codes! {
    GOOD = 0x0000_0000,
    BAD_TIMEOUT = 0x800A_0000,
    BAD_DECODING_ERROR = 0x8007_0000,
    BAD_SERVICE_UNSUPPORTED = 0x800B_0000,
    BAD_NOTHING_TO_DO = 0x800F_0000,
    BAD_TOO_MANY_OPERATIONS = 0x8010_0000,
    BAD_USER_ACCESS_DENIED = 0x801F_0000,
    BAD_IDENTITY_TOKEN_INVALID = 0x8020_0000,
    BAD_IDENTITY_TOKEN_REJECTED = 0x8021_0000,
    BAD_SECURE_CHANNEL_ID_INVALID = 0x8022_0000,
    BAD_SESSION_ID_INVALID = 0x8025_0000,
    BAD_SESSION_NOT_ACTIVATED = 0x8027_0000,
    BAD_SUBSCRIPTION_ID_INVALID = 0x8028_0000,
    BAD_NODE_ID_UNKNOWN = 0x8034_0000,
    BAD_ATTRIBUTE_ID_INVALID = 0x8035_0000,
    BAD_INDEX_RANGE_INVALID = 0x8036_0000,
    BAD_INDEX_RANGE_NO_DATA = 0x8037_0000,
    BAD_NOT_READABLE = 0x803A_0000,
    BAD_NOT_WRITABLE = 0x803B_0000,
    BAD_OUT_OF_RANGE = 0x803C_0000,
    BAD_MONITORED_ITEM_ID_INVALID = 0x8042_0000,
    BAD_MONITORED_ITEM_FILTER_UNSUPPORTED = 0x8044_0000,
    BAD_CONTINUATION_POINT_INVALID = 0x804A_0000,
    BAD_REFERENCE_TYPE_ID_INVALID = 0x804C_0000,
    BAD_SECURITY_POLICY_REJECTED = 0x8055_0000,
    BAD_TOO_MANY_SESSIONS = 0x8056_0000,
    BAD_BROWSE_NAME_INVALID = 0x8060_0000,
    BAD_NO_MATCH = 0x806F_0000,
    BAD_WRITE_NOT_SUPPORTED = 0x8073_0000,
    BAD_TYPE_MISMATCH = 0x8074_0000,
    BAD_METHOD_INVALID = 0x8075_0000,
    BAD_ARGUMENTS_MISSING = 0x8076_0000,
    BAD_TOO_MANY_SUBSCRIPTIONS = 0x8077_0000,
    BAD_TOO_MANY_PUBLISH_REQUESTS = 0x8078_0000,
    BAD_NO_SUBSCRIPTION = 0x8079_0000,
    BAD_SEQUENCE_NUMBER_UNKNOWN = 0x807A_0000,
    BAD_MESSAGE_NOT_AVAILABLE = 0x807B_0000,
    BAD_TCP_MESSAGE_TYPE_INVALID = 0x807E_0000,
    BAD_TCP_SECURE_CHANNEL_UNKNOWN = 0x807F_0000,
    BAD_TCP_MESSAGE_TOO_LARGE = 0x8080_0000,
    BAD_FILTER_NOT_ALLOWED = 0x8045_0000,
    BAD_DEADBAND_FILTER_INVALID = 0x808E_0000,
    BAD_INVALID_ARGUMENT = 0x80AB_0000,
    BAD_TOO_MANY_MONITORED_ITEMS = 0x80DB_0000,
    BAD_TOO_MANY_ARGUMENTS = 0x80E5_0000,
}

/// In the low bits: the value is one of a queue that lost others (OPC 10000-4, 7.39.1).
pub(crate) const OVERFLOW: u32 = 0x480;

impl StatusCode {
    /// Whether nothing is wrong: the top two bits are 00.
    #[must_use]
    pub fn is_good(self) -> bool {
        self.0 >> 30 == 0
    }

    /// Whether there is no usable value: the top bit is 1.
    #[must_use]
    pub fn is_bad(self) -> bool {
        self.0 >> 31 == 1
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = CODES.iter().find(|(_, code)| *code == self.0);
        match known {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "0x{:08X}", self.0),
        }
    }
}

impl fmt::Debug for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for StatusCode {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        if let Some((_, code)) = CODES.iter().find(|(name, _)| *name == text) {
            return Ok(Self(*code));
        }
        let number = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.map(Self).map_err(|_| UnknownStatus(text.to_owned()))
    }
}

impl Serialize for StatusCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StatusCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(u32),
            Name(String),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Number(code) => Ok(Self(code)),
            Raw::Name(name) => name.parse().map_err(serde::de::Error::custom),
        }
    }
}

//! Something wrong in a configuration, at its place.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something wrong in a configuration, at its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Key path, for example `spec.properties[2].desired.value`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
    /// How bad it is.
    #[serde(default)]
    pub level: Level,
}

/// How bad a [`Fault`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The thing at `path` is not used.
    #[default]
    Error,
    /// It is used, but it may not do what its author thinks.
    Warning,
}

impl Fault {
    /// Something that is not used because of this.
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            level: Level::Error,
        }
    }

    /// A doubt.
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            level: Level::Warning,
        }
    }

    /// Whether the thing at `path` is not used.
    pub fn is_error(&self) -> bool {
        self.level == Level::Error
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

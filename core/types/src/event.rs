//! Events of a device: conditions that somebody should know of.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::expression::Expression;

/// A condition of a device's properties.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRule {
    /// Its name.
    pub name: Box<str>,
    /// Sets the event.
    pub when: Expression,
    /// Clears it, unless `when` holds as well; without it the event is over
    /// when `when` does not hold.
    pub clear: Option<Expression>,
    /// How bad it is.
    pub severity: Severity,
    /// For people; `{property}` becomes its value.
    pub message: String,
    /// `when` has to hold for so long.
    pub delay: Duration,
}

/// How bad an event is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Something is not as it should be.
    #[default]
    Minor,
    /// Somebody has to act.
    Major,
    /// Somebody has to act now.
    Critical,
}

impl EventRule {
    /// The properties that it depends on, each once.
    pub fn properties(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.when.variables().collect();
        for name in self.clear.iter().flat_map(Expression::variables) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

impl Severity {
    /// The spelling of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Critical => "critical",
        }
    }

    /// The severity of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Info, Self::Minor, Self::Major, Self::Critical]
            .into_iter()
            .find(|severity| severity.as_str() == name)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

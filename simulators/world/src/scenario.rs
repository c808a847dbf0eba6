//! Reading scenario files: YAML with errors that name the file and the key.

use std::{fmt, io, path::Path};

use serde::de::DeserializeOwned;

/// A scenario that cannot be used. The text names the file and each wrong key.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read scenario `{file}`")]
    Read {
        /// The file.
        file: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The text is not YAML, or a field is unknown, missing, doubled or of a wrong type.
    #[error("scenario `{file}` is wrong at `{path}`")]
    Syntax {
        /// The file, as it was named by the caller.
        file: String,
        /// The key path, `.` for the whole document.
        path: String,
        /// What the parser says, with line and column.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// The fields are well-formed, but what they say does not work.
    #[error("scenario `{file}` does not work: {}", list(problems))]
    Content {
        /// The file, as it was named by the caller.
        file: String,
        /// All that is wrong.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong in a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key path, like `world.signals.flow.lag.of`.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl Problem {
    /// A problem at a key path.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path, self.message)
    }
}

/// Problems in one line.
#[must_use]
pub fn list(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// Reads a scenario file with a simulator's own `parse`, which gets the file's
/// name and its text.
///
/// # Errors
/// The file cannot be read, or what `parse` says of it.
pub fn read<T>(
    path: &Path,
    parse: impl FnOnce(&str, &str) -> Result<T, ScenarioError>,
) -> Result<T, ScenarioError> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&file, &text),
        Err(source) => Err(ScenarioError::Read { file, source }),
    }
}

/// Fails when there are problems.
///
/// # Errors
/// [`ScenarioError::Content`] with all of them.
pub fn check(file: &str, problems: Vec<Problem>) -> Result<(), ScenarioError> {
    if problems.is_empty() {
        return Ok(());
    }
    Err(ScenarioError::Content {
        file: file.to_owned(),
        problems,
    })
}

/// Reads a scenario, or a part of one, from YAML. `file` only serves the error's text.
///
/// # Errors
/// [`ScenarioError::Syntax`] with the key path of the first fault.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, ScenarioError> {
    let mut track = serde_path_to_error::Track::new();
    // An excerpt of the file would spread the message over many lines.
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| {
        T::deserialize(serde_path_to_error::Deserializer::new(yaml, &mut track))
    })
    .map_err(|source| ScenarioError::Syntax {
        file: file.to_owned(),
        path: track.path().to_string(),
        source: Box::new(source),
    })
}

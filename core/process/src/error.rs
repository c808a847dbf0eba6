//! How a process tells why it ends: the chain of causes, then what to do.

use std::{
    error::Error,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

/// An error that may know what to do about it.
///
/// The hint is a method, not a part of the text, so that a log line has the text
/// alone and a person gets the hint where it can be read. An error that only
/// wraps another one hands its hint (and its exit code) on:
///
/// ```
/// use longshore_process::{Explain, report};
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("`{0}` is in use by another process")]
/// struct InUse(&'static str);
///
/// impl Explain for InUse {
///     fn hint(&self) -> Option<String> {
///         Some("is another edgecore running with the same `stateDir`".to_owned())
///     }
/// }
///
/// #[derive(Debug, thiserror::Error)]
/// enum StartError {
///     #[error("failed to open the store")]
///     Store(#[source] InUse),
/// }
///
/// impl Explain for StartError {
///     fn hint(&self) -> Option<String> {
///         match self {
///             Self::Store(source) => source.hint(),
///         }
///     }
/// }
///
/// assert_eq!(
///     report(&StartError::Store(InUse("edge.db"))),
///     "failed to open the store\n\
///      caused by: `edge.db` is in use by another process\n\n\
///      hint: is another edgecore running with the same `stateDir`"
/// );
/// ```
pub trait Explain: Error {
    /// What to do: lower case, one sentence, without a period.
    fn hint(&self) -> Option<String> {
        None
    }

    /// How the process ends that fails of it.
    fn exit(&self) -> Exit {
        Exit::Failure
    }
}

impl Explain for io::Error {}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something failed; starting again may help.
    Failure,
    /// Arguments or configuration are wrong: starting again will not help.
    Configuration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Failure => 1,
            Exit::Configuration => 2,
        })
    }
}

/// Any error that ends a process; `?` makes it of each that can [`Explain`] itself.
pub struct Failure(Box<dyn Explain + Send + Sync>);

impl<E: Explain + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl Failure {
    /// The error itself.
    pub fn error(&self) -> &(dyn Explain + Send + Sync) {
        &*self.0
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&report(self.error()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An error with its causes in one line, for a log.
pub fn chain(error: &dyn Error) -> String {
    join(error, ": ")
}

/// An error with its causes and its hint, for a person.
pub fn report(error: &dyn Explain) -> String {
    let mut text = join(error, "\ncaused by: ");
    if let Some(hint) = error.hint() {
        text.push_str("\n\nhint: ");
        text.push_str(&hint);
    }
    text
}

fn join(error: &dyn Error, between: &str) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries repeat the cause in their own message.
        if !text.ends_with(&next) {
            text.push_str(between);
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// Ends `main`: what failed is printed to standard error, and the exit code says
/// which kind of failure it was.
pub fn conclude(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = crate::printable::lines(&report(failure.error()));
            // A closed terminal is no reason to fail in another way.
            let _ = writeln!(io::stderr(), "error: {text}");
            failure.error().exit().into()
        }
    }
}

/// Prints what was asked for, such as a version.
pub fn tell(text: &str) {
    // A reader that went away (`| head`) is no fault.
    let _ = writeln!(io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer: inner")]
    struct Repeats(#[source] io::Error);
    impl Explain for Repeats {}

    #[test]
    fn a_cause_that_is_in_the_text_is_not_repeated() {
        let error = Repeats(io::Error::other("inner"));
        assert_eq!(chain(&error), "outer: inner");
        assert_eq!(report(&error), "outer: inner");
    }

    #[test]
    fn exit_codes_tell_what_was_wrong() {
        let failure = Failure::from(io::Error::other("full"));
        assert_eq!(failure.error().exit(), Exit::Failure);
        assert_eq!(
            format!("{:?}", ExitCode::from(Exit::Configuration)),
            format!("{:?}", ExitCode::from(2))
        );
    }
}

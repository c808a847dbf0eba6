//! How a command ends: what it prints, and how it says what went wrong.

use std::{future::Future, io::Write, process::ExitCode};

use longshore_process::{Explain, chain, runtime};

/// An error that people can do something about.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Advised {
    message: String,
    hint: String,
}

impl Explain for Advised {
    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

/// An error with what to do next.
pub(crate) fn advised(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Advised {
        message: message.into(),
        hint: hint.into(),
    }
    .into()
}

/// The line that says what to do next, below what was told.
pub(crate) fn hint(text: &str) -> String {
    format!("\nhint: {text}\n")
}

/// Runs a command to its end. `Ok(false)` is a failure that has been told.
pub(crate) fn block_on(command: impl Future<Output = anyhow::Result<bool>>) -> ExitCode {
    match runtime::small()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(command))
    {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to do where even this cannot be written.
            let _ = std::io::stderr().write_all(explain(&error).as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// The error with its causes, and the hint after a blank line.
pub(crate) fn explain(error: &anyhow::Error) -> String {
    let mut causes = error.chain();
    let advised = causes.find_map(|cause| cause.downcast_ref::<Advised>());
    let advice = advised.and_then(Advised::hint);
    let advice = advice.map_or_else(String::new, |advice| hint(&advice));
    format!("error: {}\n{advice}", chain(&**error))
}

/// A command whose kind was left out, as in `describe boiler`.
pub(crate) fn misspelt(command: &str, words: &[String]) -> ExitCode {
    let hint = match words {
        [kind, names @ ..] if ["model", "models", "node", "nodes"].contains(&kind.as_str()) => {
            let name = names.first().map_or("", |name| name.as_str());
            let text = format!(
                "longshore get {}s {name} -o yaml",
                kind.trim_end_matches('s')
            );
            format!(
                "{command} is for devices; did you mean: {}",
                text.replace("  ", " ")
            )
        }
        words => format!(
            "did you mean: longshore {command} device {}",
            words.join(" ")
        ),
    };
    let error = advised(
        format!(
            "`{}` is not a kind, expected `device`",
            words.first().map_or("", |word| word)
        ),
        hint,
    );
    let _ = std::io::stderr().write_all(explain(&error).as_bytes());
    ExitCode::from(2)
}

/// Prints. A reader that went away (`| head`) is no fault.
pub(crate) fn say(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_ok()
}

//! How a command ends: what it prints, and how it says what went wrong.
//!
//! Nothing reaches a terminal but through here, so that the text of a device, of
//! a mapper or of the API does nothing there but stand.

use std::{future::Future, io::Write, process::ExitCode};

use longshore_process::{Explain, chain, printable, runtime};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value as Json;

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
            complain(&error);
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
    complain(&error);
    ExitCode::from(2)
}

fn complain(error: &anyhow::Error) {
    let text = printable::lines(&explain(error));
    // Nothing is left to do where even this cannot be written.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Prints for people: what would act on the terminal is spelt out, line breaks
/// excepted. A reader that went away (`| head`) is no fault.
pub(crate) fn say(text: &str) -> bool {
    hand_out(&printable::lines(text))
}

/// A value of others within a text for people: its line breaks are spelt out too,
/// or they would make lines that look like ours.
pub(crate) fn shown<T: Serialize + DeserializeOwned>(value: &T) -> anyhow::Result<T> {
    fn spell_out(json: &mut Json) {
        match json {
            Json::String(text) if text.contains(printable::acts) => *text = printable::line(text),
            Json::Array(items) => items.iter_mut().for_each(spell_out),
            Json::Object(map) => {
                let entries = std::mem::take(map).into_iter();
                *map = entries
                    .map(|(key, mut value)| {
                        spell_out(&mut value);
                        (printable::line(&key), value)
                    })
                    .collect();
            }
            _ => {}
        }
    }
    let mut json = serde_json::to_value(value)?;
    spell_out(&mut json);
    Ok(serde_json::from_value(json)?)
}

/// Prints for programs, as it is.
pub(crate) fn emit(text: &str) -> bool {
    hand_out(text)
}

fn hand_out(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_says_stands_in_its_place_and_does_nothing() {
        let mut view = crate::describe::tests::boiler();
        let foreign = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31mFAKE\r\nState:        online";
        let status = view.status.as_mut().unwrap();
        status.status.state = "offline".to_owned();
        status.status.twins[0].reported.as_mut().unwrap().value = foreign.to_owned();
        let view = view.shown().unwrap();
        let now = longshore_types::Timestamp::from_millis(1_732_000_000_000);
        let text = crate::describe::render(&view, now);
        let acts = text.chars().find(|c| *c != '\n' && printable::acts(*c));
        assert_eq!(acts, None, "{text}");
        let states = text.lines().filter(|line| line.starts_with("State:"));
        assert_eq!(states.collect::<Vec<_>>(), ["State:        offline"]);
        assert!(text.contains(r"FAKE\r\nState:"), "{text}");
        // Where nothing acts, nothing is another.
        let plain = crate::describe::tests::boiler();
        assert_eq!(
            crate::describe::render(&plain.shown().unwrap(), now),
            crate::describe::render(&plain, now)
        );
    }

    #[test]
    fn a_cell_of_a_table_stays_one() {
        let rows = [vec!["a\nb\u{1b}[31m".to_owned(), "c".to_owned()]];
        let text = crate::table::render(&["NAME", "X"], &rows);
        assert_eq!(text, "NAME             X\na\\nb\\u{1b}[31m   c\n");
    }
}

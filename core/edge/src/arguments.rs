//! The command line of `edgecore`, read by hand: two options do not need a
//! library of 300 kB in a program that is to be small.

use std::{ffi::OsString, path::PathBuf};

use longshore_process::{Exit, Explain};

/// Where the configuration is looked for.
const DEFAULT_CONFIG: &str = "/etc/longshore/edgecore.yaml";

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Keeps the devices of an edge node and their twins in step.

Usage: edgecore [OPTIONS]

Options:
      --config <FILE>  The configuration file [default: /etc/longshore/edgecore.yaml]
      --check-config   Checks the configuration and ends
  -h, --help           Prints this
  -V, --version        Prints the version";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// Run.
    Run {
        /// The configuration file.
        config: PathBuf,
    },
    /// Check the configuration and end.
    Check {
        /// The configuration file.
        config: PathBuf,
    },
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// The command line makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ArgumentError {
    #[error("`--config` needs a file")]
    NoFile,
    #[error("unknown argument `{0}`")]
    Unknown(String),
}

impl Explain for ArgumentError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoFile => format!("edgecore --config {DEFAULT_CONFIG}"),
            Self::Unknown(_) => "edgecore --help".to_owned(),
        })
    }

    fn exit(&self) -> Exit {
        Exit::Configuration
    }
}

impl Arguments {
    /// Reads the arguments behind the program's name.
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, ArgumentError> {
        let (mut config, mut check) = (PathBuf::from(DEFAULT_CONFIG), false);
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--config") => {
                    config = arguments.next().ok_or(ArgumentError::NoFile)?.into();
                }
                Some("--check-config") => check = true,
                Some("-h" | "--help") => return Ok(Self::Help),
                Some("-V" | "--version") => return Ok(Self::Version),
                Some(text) if text.starts_with("--config=") => {
                    config = text["--config=".len()..].into();
                }
                _ => {
                    let text = argument.to_string_lossy().into_owned();
                    return Err(ArgumentError::Unknown(text));
                }
            }
        }
        Ok(if check {
            Self::Check { config }
        } else {
            Self::Run { config }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, ArgumentError> {
        Arguments::parse(arguments.iter().map(OsString::from))
    }

    fn run(config: &str) -> Result<Arguments, ArgumentError> {
        let config = config.into();
        Ok(Arguments::Run { config })
    }

    #[test]
    fn options_in_any_order() {
        assert_eq!(parse(&[]), run(DEFAULT_CONFIG));
        assert_eq!(parse(&["--config", "a.yaml"]), run("a.yaml"));
        assert_eq!(
            parse(&["--check-config", "--config=b.yaml"]),
            Ok(Arguments::Check {
                config: "b.yaml".into()
            })
        );
        assert_eq!(parse(&["-V"]), Ok(Arguments::Version));
        assert_eq!(parse(&["--config", "a", "--help"]), Ok(Arguments::Help));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(parse(&["--config"]), Err(ArgumentError::NoFile));
        let unknown = ArgumentError::Unknown("--confg".to_owned());
        assert_eq!(parse(&["--confg", "a"]), Err(unknown));
    }

    #[test]
    fn the_help_names_the_default() {
        assert!(HELP.contains(DEFAULT_CONFIG));
    }
}

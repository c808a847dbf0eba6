//! The demo on one machine.

use std::process::ExitCode;

/// Arguments of `longshore up`.
#[derive(Debug, clap::Args)]
pub struct UpArgs {}

/// Arguments of `longshore status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {}

/// Runs the demo.
pub fn up(_: UpArgs) -> ExitCode {
    ExitCode::FAILURE
}

/// Shows what runs.
pub fn status(_: StatusArgs) -> ExitCode {
    ExitCode::FAILURE
}

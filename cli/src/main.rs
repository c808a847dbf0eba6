//! `longshore`, the command line.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    longshore_cli::run(longshore_cli::args::Args::parse())
}

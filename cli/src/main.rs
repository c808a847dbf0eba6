//! `longshore`, the command line.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // `mapper check` judges each rule in a process of its own: this program.
    longshore_conformance::run_if_asked();
    longshore_cli::run(longshore_cli::args::Args::parse())
}

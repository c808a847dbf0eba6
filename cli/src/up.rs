//! The demo on one machine: a simulator, an edge node and the hub, kept alive
//! until Ctrl-C.
//!
//! Everything lives in one folder, `.longshore/`. Addresses are chosen once
//! and kept, processes that end are started again, and `status` tells what
//! runs where, so that no script has to guess.

mod cluster;
mod demo;
mod guide;
pub(crate) mod home;
mod ports;
mod process;
mod run;
mod status;

use std::process::ExitCode;

use self::home::Home;

/// Arguments of `longshore up`.
#[derive(Debug, clap::Args)]
pub struct UpArgs {}

/// Arguments of `longshore status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For scripts
    Json,
}

const NO_HOME: &str = "no .longshore folder here or above\n\nhint: run `make up` in a checkout, or set LONGSHORE_HOME";

/// Runs the demo.
pub fn up(_: UpArgs) -> ExitCode {
    let Some(home) = Home::find() else {
        return fail(NO_HOME);
    };
    match live(run::run(&home)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}")),
    }
}

/// Shows what runs. The exit code tells scripts whether the demo is up.
pub fn status(args: StatusArgs) -> ExitCode {
    let Some(home) = Home::find() else {
        return fail(NO_HOME);
    };
    let Some(written) = status::Written::read(&home) else {
        return fail("longshore has not been started here\n\nhint: make up");
    };
    let status = match live(async { Ok(status::collect(&written).await) }) {
        Ok(status) => status,
        Err(error) => return fail(&format!("{error:#}")),
    };
    match args.output {
        Output::Table => say(&status::table(&status)),
        Output::Json => say(&format!("{status:#}\n")),
    }
    if status["state"] == "running" {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn live<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    longshore_process::runtime::small()?.block_on(work)
}

#[allow(clippy::print_stdout, reason = "this is the command's output")]
fn say(text: &str) {
    use std::io::Write;
    // A reader that went away (`| head`) is no fault.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[allow(clippy::print_stderr, reason = "this is the command's error")]
fn fail(text: &str) -> ExitCode {
    eprintln!("error: {text}");
    ExitCode::FAILURE
}

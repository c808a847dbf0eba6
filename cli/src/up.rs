//! The demo on one machine: a simulator, an edge node and the hub, kept alive
//! until Ctrl-C.
//!
//! Everything lives in one folder, `.longshore/`. Addresses are chosen once
//! and kept, processes that end are started again, and `status` tells what
//! runs where, so that no script has to guess.

mod cluster;
mod demo;
mod extras;
mod guide;
mod ports;
mod process;
mod run;
mod status;

use anyhow::Result;

use crate::{
    home::Home,
    output::{advised, emit, say},
};

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

/// Runs the demo.
pub(crate) async fn up(_: UpArgs) -> Result<bool> {
    run::run(&home()?).await?;
    Ok(true)
}

/// Shows what runs. The exit code tells scripts whether the demo is up.
pub(crate) async fn status(args: StatusArgs) -> Result<bool> {
    let written = status::Written::read(&home()?)
        .ok_or_else(|| advised("longshore has not been started here", "make up"))?;
    let status = status::collect(&written).await;
    match args.output {
        Output::Table => say(&status::table(&status)),
        Output::Json => emit(&format!("{status:#}\n")),
    };
    Ok(status["state"] == "running")
}

fn home() -> Result<Home> {
    Home::find().ok_or_else(|| {
        advised(
            "no .longshore folder here or above",
            "run `make up` in a checkout, or set LONGSHORE_HOME",
        )
    })
}

//! `longshore-bench`: one command that prints the budgets and what was reached.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use longshore_bench::{args::Args, measure, programs::Programs, report::Report};

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if even this cannot be written.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let programs = Programs::find(args.programs.as_deref())?;
    let report: Report = measure::all(args, &programs)?;
    io::stdout().write_all(report.text().as_bytes())?;
    if let Some(file) = &args.json {
        report.save(file)?;
    }
    Ok(())
}

//! `longshore sim`: simulated devices as a process of their own.
//!
//! The simulators are a program by themselves (`longshore-sim`); this becomes
//! it, so that nothing stands between it and its signals.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};

use crate::{libraries, output::advised};

/// Arguments of `longshore sim`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct SimArgs {
    /// Which: modbus, opcua, serial or bluetooth
    #[arg(value_name = "PROTOCOL", allow_hyphen_values = true)]
    protocol: OsString,
    /// The scenario file and the simulator's own arguments; --help shows them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "SCENARIO"
    )]
    arguments: Vec<OsString>,
}

/// Becomes the simulator; comes back only when there is none.
pub(crate) async fn run(args: SimArgs) -> Result<bool> {
    let program = libraries::program_folder()?.join(libraries::SIMULATOR);
    if !program.is_file() {
        return Err(advised(
            format!("{} is missing", program.display()),
            "`make build` brings the simulators",
        ));
    }
    let error = Command::new(&program)
        // Its help then shows what was typed.
        .arg0("longshore sim")
        .arg(args.protocol)
        .args(&args.arguments)
        .exec();
    Err(error).with_context(|| format!("failed to start {}", program.display()))
}

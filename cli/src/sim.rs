//! `longshore sim`: simulated devices as a process of their own.
//!
//! The simulators are programs by themselves (`sim-modbus` and so on); this
//! becomes one of them, so that nothing stands between it and its signals.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};

use crate::{
    libraries,
    output::{advised, say},
};

/// Arguments of `longshore sim`.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "The simulator has options of its own: longshore sim PROTOCOL --help"
)]
pub struct SimArgs {
    /// Which: modbus, opcua, serial or bluetooth
    #[arg(value_name = "PROTOCOL", allow_hyphen_values = true)]
    protocol: String,
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
    // The flag is the simulator's where one is named, so clap must not take it.
    if ["--help", "-h"].contains(&args.protocol.as_str()) {
        let mut command = <crate::args::Args as clap::CommandFactory>::command();
        command.build();
        let own = command.find_subcommand_mut("sim");
        let text = own.map(|own| own.render_help().to_string());
        return Ok(say(&text.unwrap_or_default()));
    }
    let folder = libraries::program_folder()?;
    let program = folder.join(format!("sim-{}", args.protocol));
    // A name and no path: nothing else than a sister program is ever run.
    let is_name = args
        .protocol
        .chars()
        .all(|letter| letter.is_ascii_lowercase());
    if !is_name || !program.is_file() {
        let mut known: Vec<String> = std::fs::read_dir(&folder)
            .with_context(|| format!("failed to read folder {}", folder.display()))?
            .flatten()
            .filter_map(|entry| {
                entry
                    .file_name()
                    .into_string()
                    .ok()?
                    .strip_prefix("sim-")
                    .map(str::to_owned)
            })
            .filter(|name| name.chars().all(|letter| letter.is_ascii_lowercase()))
            .collect();
        known.sort();
        return Err(advised(
            format!("no simulator `{}` in {}", args.protocol, folder.display()),
            if known.is_empty() {
                "`make build` brings the simulators".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            },
        ));
    }
    let error = Command::new(&program).args(&args.arguments).exec();
    Err(error).with_context(|| format!("failed to start {}", program.display()))
}

//! `longshore new profile`: a model, a device and its offline test to start from.

use std::path::PathBuf;

use anyhow::{Context, Result};
use longshore_types::near::nearest;

use crate::output::{advised, say};

/// Arguments of `longshore new profile`.
#[derive(Debug, clap::Args)]
pub struct ProfileArgs {
    /// The protocol: modbus, opcua, serial or bluetooth
    protocol: String,
    /// Name of the model, and of the files [default: my-PROTOCOL-device]
    #[arg(long)]
    name: Option<String>,
    /// The folder to write into
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
}

/// A protocol, its profile and the test of it.
const PROFILES: &[(&str, &str, &str)] = &[
    (
        "modbus",
        include_str!("profile/modbus.yaml.in"),
        include_str!("profile/modbus.test.yaml.in"),
    ),
    (
        "opcua",
        include_str!("profile/opcua.yaml.in"),
        include_str!("profile/opcua.test.yaml.in"),
    ),
    (
        "serial",
        include_str!("profile/serial.yaml.in"),
        include_str!("profile/serial.test.yaml.in"),
    ),
    (
        "bluetooth",
        include_str!("profile/bluetooth.yaml.in"),
        include_str!("profile/bluetooth.test.yaml.in"),
    ),
];

/// Runs the command.
pub(crate) async fn run(args: ProfileArgs) -> Result<bool> {
    let protocol = args.protocol.to_ascii_lowercase();
    let found = PROFILES.iter().find(|(known, ..)| *known == protocol);
    let Some((_, profile, test)) = found else {
        let names = PROFILES.iter().map(|(known, ..)| *known);
        let meant = nearest(&protocol, names.clone())
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(advised(
            format!("there is no profile to start from for protocol `{protocol}`{meant}"),
            format!(
                "there are {}; for a protocol of your own, `longshore new mapper` writes one beside the mapper",
                names.collect::<Vec<_>>().join(", ")
            ),
        ));
    };
    let name = match args.name {
        Some(name) => {
            longshore_types::DeviceName::new("default", &name)?;
            name
        }
        None => format!("my-{protocol}-device"),
    };
    let files = [
        (args.path.join(format!("{name}.yaml")), profile),
        (args.path.join(format!("{name}.test.yaml")), test),
    ];
    if let Some((file, _)) = files.iter().find(|(file, _)| file.exists()) {
        return Err(advised(
            format!("{} exists already", file.display()),
            "name another one with --name NAME, or another folder with --path DIR",
        ));
    }
    for (file, text) in &files {
        std::fs::write(file, text.replace("{{name}}", &name))
            .with_context(|| format!("failed to write {}", file.display()))?;
    }
    let [profile, test] = files.map(|(file, _)| file.display().to_string());
    say(&format!(
        "wrote {profile}: a model and a device\nwrote {test}: what the device holds, and what shall come of it\n\nnext:\n  longshore test profile {test}\n  longshore validate {profile}\n"
    ));
    Ok(true)
}

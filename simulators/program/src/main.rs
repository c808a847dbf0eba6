//! `longshore-sim`: simulated devices as a process of their own, one command
//! for each protocol.
//!
//! One program and not four, because what they share is most of it: a newcomer
//! builds it once. Called `sim-modbus` and so on, by a link of that name, it is
//! that command.

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::Parser;
use longshore_sim_world::run;

/// Simulates devices: what they are stands in a scenario.
#[derive(Debug, Parser)]
#[command(name = "longshore-sim", version)]
enum Protocol {
    Modbus(longshore_sim_modbus::Program),
    Opcua(longshore_sim_opcua::Program),
    Serial(longshore_sim_serial::Program),
    Bluetooth(longshore_sim_bluetooth::Program),
}

fn main() -> ExitCode {
    match Protocol::parse_from(arguments(std::env::args_os())) {
        Protocol::Modbus(program) => run::main(program),
        Protocol::Opcua(program) => run::main(program),
        Protocol::Serial(program) => run::main(program),
        Protocol::Bluetooth(program) => run::main(program),
    }
}

/// The arguments, with the command that stands in the program's name.
fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut given: Vec<OsString> = given.collect();
    let name = given.first().map(Path::new).and_then(Path::file_name);
    let protocol = name
        .and_then(|name| name.to_str()?.strip_prefix("sim-"))
        .map(str::to_owned);
    if let Some(protocol) = protocol {
        given.splice(0..1, ["longshore-sim".into(), protocol.into()]);
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Vec<OsString> {
        arguments(words.iter().map(OsString::from))
    }

    #[test]
    fn a_links_name_is_the_command() {
        let plain = ["/opt/bin/longshore-sim", "opcua", "a.yaml"];
        assert_eq!(of(&plain), plain);
        let linked = of(&["/opt/bin/sim-opcua", "a.yaml"]);
        assert_eq!(linked, ["longshore-sim", "opcua", "a.yaml"]);
    }
}

//! What the demo consists of: configurations, scenario and devices.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{
    super::libraries,
    ports::{Ports, Service},
    process::Program,
};
use crate::home::Home;

/// The node of the demo.
pub(crate) const NODE: &str = "edge-1";

/// A protocol of the demo: its simulator and the devices on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// The protocol, and the mapper's name.
    pub(crate) protocol: &'static str,
    /// The process's name.
    pub(crate) simulator: &'static str,
    scenario: &'static str,
    devices: &'static [&'static str],
    control: Service,
}

macro_rules! scenario {
    ($protocol:literal) => {
        include_str!(concat!(
            "../../../simulators/",
            $protocol,
            "/scenarios/demo.yaml"
        ))
    };
}

macro_rules! device {
    ($name:literal) => {
        include_str!(concat!("../../../devices/demo/", $name, ".yaml"))
    };
}

/// All that the demo can show.
pub(crate) const PARTS: [Part; 4] = [
    Part {
        protocol: "modbus",
        simulator: "sim-modbus",
        scenario: scenario!("modbus"),
        devices: &[device!("boiler"), device!("meter")],
        control: Service::SimulatorControl,
    },
    Part {
        protocol: "opcua",
        simulator: "sim-opcua",
        scenario: scenario!("opcua"),
        devices: &[device!("press")],
        control: Service::OpcUaControl,
    },
    Part {
        protocol: "serial",
        simulator: "sim-serial",
        scenario: scenario!("serial"),
        devices: &[device!("gps"), device!("supply")],
        control: Service::SerialControl,
    },
    Part {
        protocol: "bluetooth",
        simulator: "sim-bluetooth",
        scenario: scenario!("bluetooth"),
        devices: &[device!("thermometer"), device!("room")],
        control: Service::BluetoothControl,
    },
];

/// The lines of the serial simulator; each is a port in the run folder.
const LINES: [&str; 3] = ["gps", "supply", "scale"];
/// Addresses in the example devices, replaced by those of the simulators.
const EXAMPLE_MODBUS: &str = "tcp://127.0.0.1:5020";
const EXAMPLE_OPCUA: &str = "opc.tcp://127.0.0.1:4840";
/// The longest path of a socket (unix(7): 108 bytes with the NUL).
const MAX_SOCKET: usize = 107;

/// Writes what the processes read, and says how to start them.
pub(crate) struct Demo<'a> {
    pub(crate) home: &'a Home,
    pub(crate) ports: &'a Ports,
    /// What of [`PARTS`] can run here.
    pub(crate) parts: Vec<Part>,
    /// Protocol and file of further mappers.
    pub(crate) mappers: Vec<(String, PathBuf)>,
}

impl Demo<'_> {
    /// Where the devices of a part are.
    pub(crate) fn place(&self, part: &Part) -> String {
        match part.protocol {
            "modbus" => format!("tcp://{}", self.address(Service::Simulator)),
            "opcua" => format!("opc.tcp://{}", self.address(Service::OpcUa)),
            "serial" => text(&self.port("*")),
            _ => format!("unix:path={}", self.socket().display()),
        }
    }

    pub(crate) fn control(&self, part: &Part) -> String {
        format!("http://{}", self.address(part.control))
    }

    pub(crate) fn address(&self, service: Service) -> String {
        format!("127.0.0.1:{}", self.ports.get(service))
    }

    /// A line of the serial simulator.
    fn port(&self, line: &str) -> PathBuf {
        self.home.run(line)
    }

    /// The D-Bus of the Bluetooth simulator.
    fn socket(&self) -> PathBuf {
        let usual = self.home.run("bluetooth.bus");
        if usual.as_os_str().len() <= MAX_SOCKET {
            return usual;
        }
        // The folder of this checkout is too deep for a socket.
        std::env::temp_dir().join(format!(
            "longshore-{}.bus",
            self.ports.get(Service::BluetoothControl)
        ))
    }

    /// The device manifests with the simulators' addresses.
    pub(crate) fn manifests(&self) -> Vec<String> {
        let all = self.parts.iter().flat_map(|part| part.devices);
        all.map(|yaml| {
            let mut yaml = yaml
                .replace(
                    EXAMPLE_OPCUA,
                    &format!("opc.tcp://{}", self.address(Service::OpcUa)),
                )
                .replace(
                    &format!(" {EXAMPLE_MODBUS}"),
                    &format!(" tcp://{}", self.address(Service::Simulator)),
                );
            for line in LINES {
                yaml = yaml.replace(&format!("/run/longshore/{line}"), &quoted(&self.port(line)));
            }
            yaml
        })
        .collect()
    }

    /// The names of the devices.
    pub(crate) fn devices(&self) -> Vec<String> {
        let documents = self.manifests().into_iter().flat_map(|text| {
            serde_saphyr::from_multiple::<serde_json::Value>(&text).unwrap_or_default()
        });
        let devices = documents.filter(|found| found["kind"] == "Device");
        devices
            .filter_map(|found| found["metadata"]["name"].as_str().map(str::to_owned))
            .collect()
    }

    pub(crate) fn simulator(&self, part: &Part) -> Result<Program> {
        let scenario = self.home.run(&format!("{}.yaml", part.simulator));
        fs::write(&scenario, part.scenario)?;
        let mut arguments = vec![
            part.protocol.to_owned(),
            text(&scenario),
            "--control".into(),
            self.address(part.control),
        ];
        match part.protocol {
            "modbus" => arguments.extend(["--tcp".into(), self.address(Service::Simulator)]),
            "opcua" => arguments.extend(["--listen".into(), self.address(Service::OpcUa)]),
            "serial" => {
                for line in LINES {
                    arguments.push("--port-link".into());
                    arguments.push(format!("{line}={}", self.port(line).display()));
                }
            }
            _ => arguments.extend(["--socket".into(), text(&self.socket())]),
        }
        self.program(part.simulator, libraries::SIMULATOR, arguments)
    }

    pub(crate) fn hub(&self) -> Result<Program> {
        let config = self.home.run("cloudhub.yaml");
        fs::write(&config, self.hub_config())?;
        self.program(
            "cloudhub",
            "cloudhub",
            vec!["--config".into(), text(&config)],
        )
    }

    pub(crate) fn hub_config(&self) -> String {
        format!(
            "stateDir: {state}\n\
             link:\n  listen: {link}\n  names: [127.0.0.1, localhost]\n\
             apiServer:\n  listen: {api}\n  kubeconfig: {kubeconfig}\n\
             metrics:\n  listen: {metrics}\n",
            state = quoted(&self.home.state("cloudhub")),
            link = self.address(Service::Link),
            api = self.address(Service::Api),
            kubeconfig = quoted(&self.home.kubeconfig()),
            metrics = self.address(Service::HubMetrics),
        )
    }

    pub(crate) fn edge(&self) -> Result<Program> {
        let config = self.write_edge_config(&self.mappers)?;
        self.program(
            "edgecore",
            "edgecore",
            vec!["--config".into(), text(&config)],
        )
    }

    /// Writes what the edge core reads at its start; gives the file.
    pub(crate) fn write_edge_config(&self, more: &[(String, PathBuf)]) -> Result<PathBuf> {
        let config = self.home.run("edgecore.yaml");
        fs::write(&config, self.edge_config(more))?;
        Ok(config)
    }

    fn edge_config(&self, more: &[(String, PathBuf)]) -> String {
        let certificates = self.home.state("certificates");
        format!(
            "node: {NODE}\n\
             stateDir: {state}\n\
             mappers:\n{mappers}\
             bus:\n  mode: embedded\n  listen: {bus}\n\
             hub:\n  url: wss://{link}\n  caFile: {ca}\n  certFile: {cert}\n  keyFile: {key}\n\
             metrics:\n  listen: {metrics}\n",
            state = quoted(&self.home.state(NODE)),
            mappers = self
                .parts
                .iter()
                // One that people bring goes before ours.
                .filter(|part| !more.iter().any(|(protocol, _)| protocol == part.protocol))
                .map(|part| self.mapper(part))
                .chain(more.iter().map(|(protocol, file)| {
                    format!("  - name: {protocol}\n    file: {}\n", quoted(file))
                }))
                .collect::<String>(),
            bus = self.address(Service::Bus),
            link = self.address(Service::Link),
            ca = quoted(&certificates.join("ca.crt")),
            cert = quoted(&certificates.join("node.crt")),
            key = quoted(&certificates.join("node.key")),
            metrics = self.address(Service::EdgeMetrics),
        )
    }

    /// A mapper in the edge core's configuration.
    fn mapper(&self, part: &Part) -> String {
        let mut entry = format!(
            "  - name: {}\n    file: {}\n",
            part.protocol,
            quoted(&self.home.mapper(part.protocol))
        );
        match part.protocol {
            "opcua" => {
                let pki = quoted(&self.home.state("opcua-pki"));
                entry.push_str(&format!("    config: {{pki: {pki}}}\n"));
            }
            "bluetooth" => {
                let bus = serde_json::Value::from(self.place(part));
                entry.push_str(&format!("    config: {{bus: {bus}}}\n"));
            }
            _ => {}
        }
        entry
    }

    fn program(&self, name: &'static str, binary: &str, arguments: Vec<String>) -> Result<Program> {
        Ok(Program {
            name,
            binary: self.home.binary(binary)?,
            arguments,
            log: self.home.log(name),
        })
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A path as a YAML scalar: JSON strings are YAML.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(text(path)).to_string()
}

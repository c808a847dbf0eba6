//! What the demo consists of: configurations, scenario and devices.

use std::{fs, io, path::Path};

use super::{
    home::Home,
    ports::{Ports, Service},
    process::Program,
};

/// The node of the demo.
pub(crate) const NODE: &str = "edge-1";

const SCENARIO: &str = include_str!("../../../simulators/modbus/scenarios/demo.yaml");
const DEVICES: [&str; 2] = [
    include_str!("../../../devices/demo/boiler.yaml"),
    include_str!("../../../devices/demo/meter.yaml"),
];
/// The address in the example devices, replaced by that of the simulator.
const EXAMPLE_URL: &str = "tcp://127.0.0.1:5020";

/// Writes what the processes read, and says how to start them.
pub(crate) struct Demo<'a> {
    pub(crate) home: &'a Home,
    pub(crate) ports: &'a Ports,
}

impl Demo<'_> {
    pub(crate) fn simulator_url(&self) -> String {
        format!("tcp://{}", self.address(Service::Simulator))
    }

    pub(crate) fn address(&self, service: Service) -> String {
        format!("127.0.0.1:{}", self.ports.get(service))
    }

    /// The device manifests with the simulator's address.
    pub(crate) fn manifests(&self) -> Vec<String> {
        DEVICES
            .iter()
            .map(|yaml| yaml.replace(EXAMPLE_URL, &self.simulator_url()))
            .collect()
    }

    pub(crate) fn simulator(&self) -> io::Result<Program> {
        let scenario = self.home.run("simulator.yaml");
        fs::write(&scenario, SCENARIO)?;
        self.program(
            "simulator",
            "sim-modbus",
            [
                text(&scenario),
                "--tcp".into(),
                self.address(Service::Simulator),
                "--control".into(),
                self.address(Service::SimulatorControl),
            ],
        )
    }

    pub(crate) fn hub(&self) -> io::Result<Program> {
        let config = self.home.run("cloudhub.yaml");
        fs::write(&config, self.hub_config())?;
        self.program("cloudhub", "cloudhub", ["--config".into(), text(&config)])
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

    pub(crate) fn edge(&self) -> io::Result<Program> {
        let config = self.home.run("edgecore.yaml");
        fs::write(&config, self.edge_config())?;
        self.program("edgecore", "edgecore", ["--config".into(), text(&config)])
    }

    fn edge_config(&self) -> String {
        let certificates = self.home.state("certificates");
        format!(
            "node: {NODE}\n\
             stateDir: {state}\n\
             mappers:\n  - name: modbus\n    file: {mapper}\n\
             bus:\n  mode: embedded\n  listen: {bus}\n\
             hub:\n  url: wss://{link}\n  caFile: {ca}\n  certFile: {cert}\n  keyFile: {key}\n\
             metrics:\n  listen: {metrics}\n",
            state = quoted(&self.home.state(NODE)),
            mapper = quoted(&self.home.mapper("modbus")),
            bus = self.address(Service::Bus),
            link = self.address(Service::Link),
            ca = quoted(&certificates.join("ca.crt")),
            cert = quoted(&certificates.join("node.crt")),
            key = quoted(&certificates.join("node.key")),
            metrics = self.address(Service::EdgeMetrics),
        )
    }

    fn program<const N: usize>(
        &self,
        name: &'static str,
        binary: &str,
        arguments: [String; N],
    ) -> io::Result<Program> {
        Ok(Program {
            name,
            binary: self.home.binary(binary)?,
            arguments: arguments.into(),
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

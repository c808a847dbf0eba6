//! Ports of the demo: the usual ones, or the next that are free.

use std::{
    collections::{BTreeMap, HashSet},
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

/// How many ports after the usual one are tried.
const TRIES: u16 = 100;

/// What listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Bus,
    Api,
    Link,
    EdgeMetrics,
    HubMetrics,
    Simulator,
    SimulatorControl,
    OpcUa,
    OpcUaControl,
    SerialControl,
    BluetoothControl,
}

impl Service {
    pub(crate) const ALL: [Self; 11] = [
        Self::Bus,
        Self::Api,
        Self::Link,
        Self::EdgeMetrics,
        Self::HubMetrics,
        Self::Simulator,
        Self::SimulatorControl,
        Self::OpcUa,
        Self::OpcUaControl,
        Self::SerialControl,
        Self::BluetoothControl,
    ];

    /// The key in the remembered choice, and the word for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bus => "MQTT bus",
            Self::Api => "Kubernetes API",
            Self::Link => "cloud-edge link",
            Self::EdgeMetrics => "edge metrics",
            Self::HubMetrics => "hub metrics",
            Self::Simulator => "Modbus simulator",
            Self::SimulatorControl => "control of the Modbus simulator",
            Self::OpcUa => "OPC UA simulator",
            Self::OpcUaControl => "control of the OPC UA simulator",
            Self::SerialControl => "control of the serial simulator",
            Self::BluetoothControl => "control of the Bluetooth simulator",
        }
    }

    fn usual(self) -> u16 {
        match self {
            Self::Bus => 1883,
            Self::Api => 6443,
            Self::Link => 10000,
            Self::EdgeMetrics => 10350,
            Self::HubMetrics => 9091,
            Self::Simulator => 5020,
            Self::SimulatorControl => 5021,
            Self::OpcUa => 4840,
            Self::OpcUaControl => 4841,
            Self::SerialControl => 5031,
            Self::BluetoothControl => 5041,
        }
    }
}

/// Whether a simulator of some run may have been at `url`.
pub(crate) fn is_simulator(url: &str) -> bool {
    let at = |start: &str, service: Service| {
        let usual = service.usual();
        url.strip_prefix(start)
            .and_then(|port| port.parse().ok())
            .is_some_and(|port: u16| (usual..=usual + TRIES).contains(&port))
    };
    at("tcp://127.0.0.1:", Service::Simulator)
        || at("opc.tcp://127.0.0.1:", Service::OpcUa)
        || url.contains("/.longshore/run/")
}

/// The chosen ports, and what is to be said about the choice.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ports {
    chosen: BTreeMap<&'static str, u16>,
    /// One line for each port that is not the usual one.
    pub(crate) notes: Vec<String>,
}

/// No port is free for a service.
#[derive(Debug, thiserror::Error)]
#[error("no free port for the {service}: {first} to {last} are all taken")]
pub(crate) struct NoPort {
    service: &'static str,
    first: u16,
    last: u16,
}

impl Ports {
    pub(crate) fn get(&self, service: Service) -> u16 {
        self.chosen[service.name()]
    }

    /// Takes the usual ports where they are free; else those of the last run,
    /// so that addresses that people have pasted somewhere stay true.
    pub(crate) fn choose(remembered: &Path) -> Result<Self, NoPort> {
        Self::choose_from(remembered, Service::usual)
    }

    fn choose_from(remembered: &Path, usual: fn(Service) -> u16) -> Result<Self, NoPort> {
        let former: BTreeMap<String, u16> = std::fs::read(remembered)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let mut ports = Self::default();
        // Nobody gets what is the usual port of another one.
        let mut taken: HashSet<u16> = Service::ALL.map(usual).into();
        for service in Service::ALL {
            let wanted = usual(service);
            let last = wanted.saturating_add(TRIES);
            let others = former.get(service.name()).copied().into_iter();
            let port = if is_free(wanted) {
                wanted
            } else {
                others
                    .chain(wanted..=last)
                    .find(|port| !taken.contains(port) && is_free(*port))
                    .ok_or(NoPort {
                        service: service.name(),
                        first: wanted,
                        last,
                    })?
            };
            if port != wanted {
                let owner = owner(wanted)
                    .map(|owner| format!(" by {owner}"))
                    .unwrap_or_default();
                ports.notes.push(format!(
                    "port {wanted} is taken{owner}: the {} listens on {port}",
                    service.name()
                ));
            }
            taken.insert(port);
            ports.chosen.insert(service.name(), port);
        }
        Ok(ports)
    }

    /// Keeps the choice for the next run.
    pub(crate) fn remember(&self, file: &Path) -> std::io::Result<()> {
        std::fs::write(file, serde_json::to_vec_pretty(&self.chosen)?)
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The process that listens on a port of this machine, as `name (pid)`.
/// Source: proc(5), `/proc/net/tcp` and `/proc/[pid]/fd`.
fn owner(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|table| {
            let table = std::fs::read_to_string(table).ok()?;
            table.lines().skip(1).find_map(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let local_port =
                    u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
                // 0A is LISTEN.
                (local_port == port && *fields.get(3)? == "0A")
                    .then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
            })
        })?;
    let socket = format!("socket:[{inode}]");
    std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .find_map(|process| {
            let pid: u32 = process.file_name().to_str()?.parse().ok()?;
            let mut descriptors = std::fs::read_dir(process.path().join("fd")).ok()?.flatten();
            descriptors.find(|fd| {
                std::fs::read_link(fd.path())
                    .is_ok_and(|target| target.as_os_str() == socket.as_str())
            })?;
            let name = std::fs::read_to_string(process.path().join("comm")).ok()?;
            Some(format!("{} (pid {pid})", name.trim()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ports that no other test uses, below those that the kernel hands out.
    fn usual(service: Service) -> u16 {
        21_000 + 10 * service as u16
    }

    #[test]
    fn a_taken_port_is_passed_over_and_its_owner_named_in_each_run() {
        let port = usual(Service::Bus);
        let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ports.json");
        let mut chosen = Vec::new();
        for _ in 0..2 {
            let ports = Ports::choose_from(&file, usual).unwrap();
            ports.remember(&file).unwrap();
            chosen.push(ports.get(Service::Bus));
            let note = ports
                .notes
                .iter()
                .find(|note| note.contains("MQTT bus"))
                .unwrap();
            let owner = format!("(pid {})", std::process::id());
            assert!(
                note.starts_with(&format!("port {port} is taken by ")) && note.contains(&owner),
                "{note}"
            );
        }
        assert!(chosen[0] > port && chosen[0] == chosen[1], "{chosen:?}");
        drop(taken);
        let ports = Ports::choose_from(&file, usual).unwrap();
        assert_eq!(
            ports.get(Service::Bus),
            port,
            "the usual port is free again"
        );
    }

    #[test]
    fn the_port_of_the_last_run_stands_in_for_a_taken_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ports.json");
        std::fs::write(&file, "{\"Kubernetes API\": 21999}").unwrap();
        let _held = TcpListener::bind(("127.0.0.1", usual(Service::Api) + 200)).unwrap();
        let ports = Ports::choose_from(&file, |service| usual(service) + 200).unwrap();
        assert_eq!(ports.get(Service::Api), 21_999);
    }

    #[test]
    fn the_addresses_of_former_simulators_are_known() {
        assert!(is_simulator("tcp://127.0.0.1:5020") && is_simulator("tcp://127.0.0.1:5022"));
        assert!(is_simulator("opc.tcp://127.0.0.1:4845"));
        assert!(is_simulator("/home/a/longshore/.longshore/run/gps"));
        assert!(!is_simulator("/dev/ttyUSB0"));
        assert!(!is_simulator("tcp://10.0.0.5:5020") && !is_simulator("tcp://127.0.0.1:502"));
    }
}

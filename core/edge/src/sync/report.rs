//! What the node can say of itself.

use std::fs;

use longshore_link::{MapperReport, NodeAddress, NodeReport};
use longshore_types::NodeName;

/// The node's report. What cannot be read stays empty.
pub fn node_report(node: &NodeName, mappers: Vec<MapperReport>) -> NodeReport {
    NodeReport {
        labels: Vec::new(),
        os: std::env::consts::OS.to_owned(),
        architecture: architecture().to_owned(),
        version: format!("v{}", env!("CARGO_PKG_VERSION")),
        kernel: first_line("/proc/sys/kernel/osrelease"),
        os_image: os_image(),
        machine_id: first_line("/etc/machine-id"),
        boot_id: first_line("/proc/sys/kernel/random/boot_id"),
        cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        memory_bytes: memory_bytes(),
        addresses: vec![NodeAddress {
            kind: "Hostname".to_owned(),
            address: node.as_str().to_owned(),
        }],
        mappers,
    }
}

/// Kubernetes has Go's words for processors.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path)
        .ok()
        .and_then(|text| text.lines().next().map(str::to_owned))
        .unwrap_or_default()
}

fn os_image() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map(|name| name.trim_matches('"').to_owned())
        .unwrap_or_default()
}

fn memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

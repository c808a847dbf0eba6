//! Memory of one mapper child with one device that has a few properties: what
//! each further protocol costs a node.

use std::{collections::BTreeMap, ffi::OsString, time::Duration};

use serde_json::{Value as Json, json};

use super::idle::{LAYOUT, settle};
use crate::{
    args::Args,
    node::{Home, Mapper, Node},
    peer::Peer,
    plant::Plant,
    procfs::{self, Memory},
    programs::Programs,
    report::{Report, megabytes, progress},
};

/// Anonymous memory that a child may have.
const MOST_KIB: u64 = 3_000_000 / 1024;

/// A protocol whose simulator is a program, and one device of it.
struct Line {
    protocol: &'static str,
    scenario: fn() -> Json,
    /// What the simulator needs to be told beside its scenario.
    arguments: fn() -> Vec<OsString>,
    /// `protocol.configData` of the device.
    place: fn(&Peer) -> anyhow::Result<Json>,
    /// The mapper's own configuration.
    config: fn(&Peer) -> anyhow::Result<Json>,
    /// Name, type and `visitors.configData` of each property.
    properties: fn() -> Vec<(String, &'static str, Json)>,
}

const LINES: [Line; 3] = [
    Line {
        protocol: "opcua",
        scenario: || {
            json!({
                "namespaces": ["urn:longshore:bench"],
                "objects": [{"name": "Bench", "folder": true, "fill": [
                    {"name": "Value", "count": 10, "type": "double", "everyMs": 1000}]}],
            })
        },
        arguments: Vec::new,
        place: |peer| Ok(json!({"url": peer.told("url")?})),
        config: |peer| Ok(json!({"pki": peer.folder().join("pki")})),
        properties: || {
            let node =
                |index| json!({"node": format!("nsu=urn:longshore:bench;s=Bench.Value{index}")});
            (0..10)
                .map(|index| (format!("p{index}"), "DOUBLE", node(index)))
                .collect()
        },
    },
    Line {
        protocol: "serial",
        scenario: || {
            json!({
                "world": {"signals": {"voltage": {"sine": {"mean": 12, "amplitude": 3, "period": 20}}}},
                "lines": [{"name": "supply", "units": [{"unit": 1, "name": "supply", "ends": "\n", "answers": [
                    {"request": "VOLT?", "response": "{voltage:.3}"},
                    {"request": "CURR?", "response": "{voltage:.2}"},
                    {"request": "POW?", "response": "{voltage:.1}"},
                    {"request": "TEMP?", "response": "{voltage:.0}"}]}]}],
            })
        },
        arguments: || vec!["--port-link".into(), "port".into()],
        place: |peer| {
            // The link is named as it was asked for: within the simulator's folder.
            let port = peer.folder().join(peer.told("port")?);
            Ok(json!({"port": port, "baudRate": 9600, "framing": {"line": {"delimiter": "\n"}}}))
        },
        config: |_| Ok(json!({})),
        properties: || {
            let words = ["VOLT", "CURR", "POW", "TEMP"].into_iter();
            words
                .map(|word| {
                    let config =
                        json!({"request": format!("{word}?\n"), "response": "{value:float}"});
                    (word.to_lowercase(), "DOUBLE", config)
                })
                .collect()
        },
    },
    Line {
        protocol: "bluetooth",
        scenario: || {
            let of = |uuid, notify| {
                json!({"uuid": uuid, "flags": ["read", "notify"], "notifyMs": notify,
                    "value": [{"signal": "room", "type": "int16", "times": 100}]})
            };
            json!({
                "world": {"signals": {"room": {"sine": {"mean": 21, "amplitude": 3, "period": 20}}}},
                "devices": [{"address": ADDRESS, "addressType": "random", "name": "room", "rssi": -58,
                    "advertiseMs": 500, "services": [
                        {"uuid": "181a", "characteristics": [of("2a6e", 1000), of("2a6f", 60_000)]}]}],
            })
        },
        arguments: Vec::new,
        place: |_| Ok(json!({"address": ADDRESS})),
        config: |peer| Ok(json!({"bus": peer.told("bus")?})),
        properties: || {
            let watched = json!({"service": "181a", "characteristic": "2a6e", "notify": true});
            let polled = json!({"service": "181a", "characteristic": "2a6f"});
            vec![
                ("temperature".to_owned(), "FLOAT", watched),
                ("humidity".to_owned(), "FLOAT", polled),
            ]
        },
    },
];

/// Of the Bluetooth device.
const ADDRESS: &str = "D0:5A:20:00:00:02";

pub(super) fn measure(args: &Args, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let mut all = vec![("modbus", modbus(args, programs)?)];
    for line in &LINES {
        progress(&format!("  {}", line.protocol));
        match line.measure(args, programs) {
            Ok(child) => all.push((line.protocol, child)),
            Err(error) => report.note(format!(
                "a child of {} was not measured: {error:#}",
                line.protocol
            )),
        }
    }
    let rows = all.iter().map(|(name, child)| child.row(name)).collect();
    report.table(
        "one mapper child with one device at 1 s; anonymous memory in all, and where it lies",
        &[
            "protocol",
            "RSS",
            "anonymous",
            "PSS",
            "threads",
            "heap",
            "mapper",
            "program",
            "others",
        ],
        rows,
    );
    let data = all
        .iter()
        .map(|(name, child)| ((*name).to_owned(), child.data()));
    report.data("children", Json::Object(data.collect()));
    let cell =
        |(name, child): &(&str, Child)| format!("{name} {}", megabytes(child.memory.anonymous));
    report.budget(
        "anonymous memory of a mapper child with one device",
        "< 3 MB each",
        all.iter().map(cell).collect::<Vec<_>>().join(", "),
        all.len() == LINES.len() + 1
            && all
                .iter()
                .all(|(_, child)| child.memory.anonymous < MOST_KIB),
    );
    Ok(())
}

struct Child {
    memory: Memory,
    threads: usize,
    /// Anonymous memory by what is mapped.
    names: BTreeMap<String, u64>,
}

impl Child {
    fn settled(node: &mut Node) -> anyhow::Result<Self> {
        node.first_reading()?;
        settle(node);
        let (_, children) = node.processes();
        let [child] = children[..] else {
            anyhow::bail!("there are {} children", children.len())
        };
        Ok(Self {
            memory: procfs::memory(child),
            threads: procfs::threads(child),
            names: procfs::anonymous_by_name(child),
        })
    }

    fn sum(&self, of: impl Fn(&str) -> bool) -> u64 {
        let chosen = self.names.iter().filter(|(name, _)| of(name));
        chosen.map(|(_, kib)| kib).sum()
    }

    fn row(&self, name: &str) -> Vec<String> {
        let heap = self.sum(|name| name == "[heap]" || name.is_empty());
        // The copy that runs; the names of the system's libraries end with their version.
        let mapper = self.sum(|file| file.ends_with(".so"));
        let program = self.sum(|name| name == "edgecore");
        vec![
            name.to_owned(),
            megabytes(self.memory.rss),
            megabytes(self.memory.anonymous),
            megabytes(self.memory.pss),
            self.threads.to_string(),
            megabytes(heap),
            megabytes(mapper),
            megabytes(program),
            megabytes(self.sum(|_| true) - heap - mapper - program),
        ]
    }

    fn data(&self) -> Json {
        json!({
            "rssKib": self.memory.rss, "anonymousKib": self.memory.anonymous, "pssKib": self.memory.pss,
            "threads": self.threads, "anonymousKibByName": self.names,
        })
    }
}

fn modbus(args: &Args, programs: &Programs) -> anyhow::Result<Child> {
    let plant = Plant::start(&LAYOUT, Duration::ZERO)?;
    let manifests = LAYOUT.manifests(&plant.listeners());
    let home = Home::new(programs, &manifests, None, args.keep)?;
    Child::settled(&mut home.start(programs, None)?)
}

impl Line {
    fn measure(&self, args: &Args, programs: &Programs) -> anyhow::Result<Child> {
        let mapper = programs.mapper_of(self.protocol)?;
        let simulator = programs.simulator()?;
        let (scenario, arguments) = ((self.scenario)(), (self.arguments)());
        let peer = Peer::start(&simulator, self.protocol, &scenario, &arguments)?;
        let mapper = Mapper {
            protocol: self.protocol,
            file: mapper,
            config: (self.config)(&peer)?,
        };
        let manifests = self.manifests((self.place)(&peer)?);
        let home = Home::with_mapper(&mapper, &manifests, None, args.keep)?;
        Child::settled(&mut home.start(programs, None)?)
    }

    fn manifests(&self, place: Json) -> Vec<(String, String)> {
        device_manifests(self.protocol, "thing", place, &(self.properties)(), 1_000)
    }
}

/// A device with a model of its own, for a node's folder of manifests.
pub(super) fn device_manifests(
    protocol: &str,
    name: &str,
    place: Json,
    properties: &[(String, &'static str, Json)],
    cycle_ms: u32,
) -> Vec<(String, String)> {
    let of_model = properties.iter().map(|(name, kind, config)| {
        json!({"name": name, "type": kind, "accessMode": "ReadOnly",
            "visitors": {"protocolName": protocol, "configData": config}})
    });
    let of_device = properties
        .iter()
        .map(|(name, ..)| json!({"name": name, "collectCycle": cycle_ms}));
    let model = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"protocol": protocol, "properties": of_model.collect::<Vec<_>>()},
    });
    let device = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": "edge-1",
            "deviceModelRef": {"name": name},
            "protocol": {"protocolName": protocol, "configData": place},
            "properties": of_device.collect::<Vec<_>>(),
        },
    });
    vec![
        (format!("{name}-model.yaml"), model.to_string()),
        (format!("{name}.yaml"), device.to_string()),
    ]
}

//! 10,000 nodes of one OPC UA server that have another value at each look,
//! looked at every 500 ms: the server sends them by itself, or is asked for them.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value as Json, json};

use super::{
    children::device_manifests,
    load::{HEADER, Load, Reading, Source, flow},
};
use crate::{
    args::Args,
    calibrate,
    node::{Home, Mapper},
    peer::Peer,
    procfs::Cpu,
    programs::Programs,
    report::{Report, progress, thousands},
    subscriber::{BATCHES, Keep, Subscriber},
};

const DEVICES: usize = 10;
/// Properties of each device.
const NODES: usize = 1_000;
/// How often each is looked at.
const CYCLE_MS: u32 = 500;
/// How often each changes: whatever the moment of a look, it is another value.
const CHANGES_MS: u32 = 100;
/// Values that the server keeps for a client that is late.
const QUEUE: u32 = 10;
/// The server gives as many values as its timers let it; the window may hold
/// one burst more or less.
const LEEWAY: f64 = 0.03;
/// Bursts are over when nothing has come for so long.
const QUIET: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(3);

/// How the values come.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    sampling: &'static str,
    /// Where the simulator counts what it has given.
    points: &'static str,
    requests: &'static str,
}

const WAYS: [Way; 2] = [
    Way {
        name: "subscribed",
        sampling: "subscribe",
        points: "/totals/notifications",
        requests: "/counters/publish/requests",
    },
    Way {
        name: "polled",
        sampling: "poll",
        points: "/counters/read/operations",
        requests: "/counters/read/requests",
    },
];

/// The simulated server.
struct Server {
    peer: Peer,
    way: Way,
}

impl Server {
    fn start(programs: &Programs, way: Way) -> anyhow::Result<Self> {
        let scenario = json!({
            "namespaces": ["urn:longshore:bench"],
            "objects": [{"name": "Bench", "folder": true, "fill": [
                {"name": "Value", "count": DEVICES * NODES, "type": "double", "everyMs": CHANGES_MS}]}],
        });
        let peer = Peer::start(&programs.simulator()?, "opcua", &scenario, &[])?;
        Ok(Self { peer, way })
    }

    fn count(&self, pointer: &str) -> f64 {
        let state = self.peer.state().unwrap_or_default();
        state.pointer(pointer).and_then(Json::as_f64).unwrap_or(0.0)
    }

    fn manifests(&self) -> anyhow::Result<Vec<(String, String)>> {
        let url = self.peer.told("url")?;
        let mut files = Vec::new();
        for device in 0..DEVICES {
            let properties: Vec<_> = (0..NODES)
                .map(|index| {
                    let node = device * NODES + index;
                    let node = format!("nsu=urn:longshore:bench;s=Bench.Value{node}");
                    // With the usual queue of one the server forgets what it has
                    // found twice within one publishing interval.
                    let config = json!({"node": node, "sampling": self.way.sampling,
                        "samplingInterval": CYCLE_MS, "queueSize": QUEUE});
                    (format!("p{index:03}"), "DOUBLE", config)
                })
                .collect();
            let name = format!("plant-{device}");
            let place = json!({"url": url});
            files.extend(device_manifests(
                "opcua",
                &name,
                place,
                &properties,
                CYCLE_MS,
            ));
        }
        Ok(files)
    }
}

impl Source for Server {
    fn points(&self) -> f64 {
        self.count(self.way.points)
    }

    fn requests(&self) -> u64 {
        self.count(self.way.requests) as u64
    }

    fn cpu(&self) -> Cpu {
        self.peer.cpu()
    }
}

pub(super) fn measure(args: &Args, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let (mut rows, mut data) = (Vec::new(), serde_json::Map::new());
    for way in WAYS {
        let (load, overflows) = run(args, programs, way)?;
        let mut row = load.row();
        row.insert(0, way.name.to_owned());
        progress(&format!("  {}", row.join("  ")));
        rows.push(row);
        let mut numbers = load.data();
        numbers["overflows"] = json!(overflows);
        numbers["lost"] = json!(load.lost());
        data.insert(way.name.to_owned(), numbers);
        if way.sampling == "subscribe" {
            report.budget(
                "10,000 OPC UA nodes each 500 ms, subscribed",
                "20,000 values/s, none lost",
                format!(
                    "{} values/s, {} lost on the way, {} in the server's queues, {:.1} %",
                    thousands(load.delivered()),
                    thousands(load.lost()),
                    thousands(overflows),
                    load.cpu_share() * 100.0
                ),
                load.delivered() >= load.target * (1.0 - LEEWAY)
                    && load.lost() == 0.0
                    && overflows == 0.0,
            );
        }
    }
    report.table(
        "OPC UA: 10,000 nodes of one server at 500 ms, to one subscriber of longshore/+/+/batch",
        &[&["values"], HEADER].concat(),
        rows,
    );
    report.data("opcua", Json::Object(data));
    Ok(())
}

/// One way from start to end: the load, and how many values the server's queues have lost.
fn run(args: &Args, programs: &Programs, way: Way) -> anyhow::Result<(Load, f64)> {
    let calibration = calibrate::measure();
    let mapper = programs.mapper_of("opcua")?;
    let server = Server::start(programs, way)?;
    let mapper = Mapper {
        protocol: "opcua",
        file: mapper,
        config: json!({"pki": server.peer.folder().join("pki")}),
    };
    let home = Home::with_mapper(&mapper, &server.manifests()?, None, args.keep)?;
    let mut node = home.start(programs, None)?;
    node.ready()?;
    let subscriber = Subscriber::start(node.bus(), &[BATCHES], Keep::Nothing)?;
    let target = (DEVICES * NODES) as f64 * 1_000.0 / f64::from(CYCLE_MS);
    flow(&mut node, &subscriber, target)?;
    server.peer.state().context("at the begin of the window")?;
    quiet(&subscriber);
    let overflows = server.count("/totals/overflows");
    let before = Reading::now(&node, &server, &subscriber);
    thread::sleep(args.window());
    quiet(&subscriber);
    let after = Reading::now(&node, &server, &subscriber);
    let overflows = server.count("/totals/overflows") - overflows;
    let (edge_memory, mapper_memory) = node.memory();
    let load = Load {
        devices: DEVICES,
        target,
        before,
        after,
        edge_memory,
        mapper_memory,
        calibration,
    };
    Ok((load, overflows))
}

/// Waits for a moment between two bursts, so that what was given and what has
/// come can be compared. If there is none, the numbers show it.
fn quiet(subscriber: &Subscriber) {
    let end = Instant::now() + PATIENCE;
    let (mut points, mut since) = (subscriber.counts().points, Instant::now());
    while since.elapsed() < QUIET && Instant::now() < end {
        thread::sleep(QUIET / 10);
        let now = subscriber.counts().points;
        if now != points {
            (points, since) = (now, Instant::now());
        }
    }
}

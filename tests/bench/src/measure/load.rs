//! Loads that flow from the simulated devices to a subscriber.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};

use crate::{
    args::Args,
    calibrate::{self, Calibration},
    layout::Layout,
    node::{Home, Node},
    plant::Plant,
    procfs::{Cpu, Machine, Memory},
    programs::Programs,
    report::{Report, megabytes, progress, thousands},
    subscriber::{BATCHES, Counts, DOCUMENTS, Keep, Subscriber},
};

/// How long a load may take to flow.
const PATIENCE: Duration = Duration::from_secs(120);
/// It flows once three seconds in a row have brought this share of the target.
const FLOWS: f64 = 0.97;

pub(super) fn measure(args: &Args, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut data = Vec::new();
    let mut per_point = Vec::new();
    for &points in &args.loads {
        let layout = Layout::of_rate(points);
        let result = run(args, programs, &layout, &[BATCHES])?;
        progress(&format!("  {points}: {}", result.row().join("  ")));
        rows.push(result.row());
        data.push(result.data());
        per_point.push((points, result.ns_per_point()));
        if points == 100_000 {
            let (cpu, memory) = (result.cpu_share() * 100.0, result.memory());
            report.budget(
                "100,000 float points each second",
                "≤ 8 % of a core, ≤ 70 MB",
                format!("{cpu:.1} %, {}", megabytes(memory.rss)),
                cpu <= 8.0 && memory.rss * 1024 <= 70_000_000 && result.is_lossless(),
            );
        }
    }
    let small = run(args, programs, &Layout::small(), &[BATCHES])?;
    rows.push(small.row());
    data.push(small.data());
    report.table(
        "throughput to one subscriber of longshore/+/+/batch, all points changing",
        HEADER,
        rows,
    );
    report.data("load", Json::Array(data));
    if let (Some((_, least)), Some((most_points, most))) = (per_point.first(), per_point.last())
        && per_point.len() > 1
    {
        report.budget(
            "flat cost per point",
            "no more at the largest load than at the smallest",
            format!(
                "{least:.0} ns, at {} {most:.0} ns",
                thousands(f64::from(*most_points))
            ),
            most <= least,
        );
    }
    Ok(())
}

pub(super) fn documents(
    args: &Args,
    programs: &Programs,
    report: &mut Report,
) -> anyhow::Result<()> {
    let layout = Layout::of_rate(10_000);
    let result = run(args, programs, &layout, &[BATCHES, DOCUMENTS])?;
    report.table(
        "the same with a subscriber of KubeEdge's documents beside",
        HEADER,
        vec![result.row()],
    );
    report.data("documents", result.data());
    Ok(())
}

/// One load from start to end.
fn run(args: &Args, programs: &Programs, layout: &Layout, topics: &[&str]) -> anyhow::Result<Load> {
    let calibration = calibrate::measure();
    let plant = Plant::start(layout, Duration::ZERO)?;
    let home = Home::new(
        programs,
        &layout.manifests(&plant.listeners()),
        None,
        args.keep,
    )?;
    let mut node = home.start(programs, None)?;
    node.ready()?;
    let subscriber = Subscriber::start(node.bus(), topics, Keep::Nothing)?;
    flow(&mut node, &subscriber, layout.rate())?;
    let before = Reading::now(&node, &plant, &subscriber);
    thread::sleep(args.window());
    let after = Reading::now(&node, &plant, &subscriber);
    let (edge_memory, mapper_memory) = node.memory();
    Ok(Load {
        devices: layout.devices,
        target: layout.rate(),
        before,
        after,
        edge_memory,
        mapper_memory,
        calibration,
    })
}

/// Waits until the load flows, or until patience ends: then what flows is what is measured.
pub(super) fn flow(node: &mut Node, subscriber: &Subscriber, target: f64) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut full = 0;
    let (mut last, mut at) = (subscriber.counts().points, Instant::now());
    while full < 3 && Instant::now() < end {
        thread::sleep(Duration::from_secs(1));
        if let Err(reason) = node.check() {
            anyhow::bail!("{reason}; {}", node.log());
        }
        anyhow::ensure!(
            subscriber.is_alive(),
            "the subscriber was disconnected; {}",
            node.log()
        );
        let (points, now) = (subscriber.counts().points, Instant::now());
        let rate = (points - last) as f64 / (now - at).as_secs_f64();
        full = if rate >= FLOWS * target { full + 1 } else { 0 };
        (last, at) = (points, now);
    }
    Ok(())
}

/// What the points come from, and what it knows of them.
pub(super) trait Source {
    /// Points that it has given so far.
    fn points(&self) -> f64;
    /// Requests for them so far.
    fn requests(&self) -> u64;
    /// Its processor time so far.
    fn cpu(&self) -> Cpu;
}

impl Source for Plant {
    fn points(&self) -> f64 {
        // A float32 is two registers.
        self.registers() as f64 / 2.0
    }

    fn requests(&self) -> u64 {
        Plant::requests(self)
    }

    fn cpu(&self) -> Cpu {
        Cpu::of_thread(self.tid())
    }
}

/// All counters at one moment.
pub(super) struct Reading {
    at: Instant,
    counts: Counts,
    read: f64,
    requests: u64,
    edge: Cpu,
    mapper: Cpu,
    plant: Cpu,
    subscriber: Cpu,
    machine: Machine,
    dropped: f64,
}

impl Reading {
    pub(super) fn now(node: &Node, plant: &dyn Source, subscriber: &Subscriber) -> Self {
        let dropped = node.metric("bus_dropped");
        let (edge, mapper) = node.cpu();
        Self {
            at: Instant::now(),
            counts: subscriber.counts(),
            read: plant.points(),
            requests: plant.requests(),
            edge,
            mapper,
            plant: plant.cpu(),
            subscriber: Cpu::of_thread(subscriber.tid()),
            machine: Machine::now(),
            dropped,
        }
    }
}

/// What happened between two readings.
pub(super) struct Load {
    pub(super) devices: usize,
    pub(super) target: f64,
    pub(super) before: Reading,
    pub(super) after: Reading,
    pub(super) edge_memory: Memory,
    pub(super) mapper_memory: Memory,
    pub(super) calibration: Calibration,
}

/// The columns of [`Load::row`].
pub(super) const HEADER: &[&str] = &[
    "devices",
    "target",
    "read/s",
    "delivered/s",
    "dropped",
    "messages/s",
    "CPU",
    "edgecore",
    "mapper",
    "ns/point",
    "× float",
    "RSS",
    "anonymous",
    "plant",
    "subscriber",
    "others",
];

impl Load {
    fn seconds(&self) -> f64 {
        (self.after.at - self.before.at).as_secs_f64()
    }

    fn share(&self, of: impl Fn(&Reading) -> &Cpu) -> f64 {
        of(&self.after).since(of(&self.before)).as_secs_f64() / self.seconds()
    }

    /// Share of one core that `edgecore` and its child take.
    pub(super) fn cpu_share(&self) -> f64 {
        self.share(|reading| &reading.edge) + self.share(|reading| &reading.mapper)
    }

    pub(super) fn plant_share(&self) -> f64 {
        self.share(|reading| &reading.plant)
    }

    pub(super) fn subscriber_share(&self) -> f64 {
        self.share(|reading| &reading.subscriber)
    }

    pub(super) fn delivered(&self) -> f64 {
        (self.after.counts.points - self.before.counts.points) as f64 / self.seconds()
    }

    pub(super) fn read(&self) -> f64 {
        (self.after.read - self.before.read) / self.seconds()
    }

    /// Points that the source has given and nobody got.
    pub(super) fn lost(&self) -> f64 {
        let delivered = self.after.counts.points - self.before.counts.points;
        self.after.read - self.before.read - delivered as f64
    }

    pub(super) fn memory(&self) -> Memory {
        self.edge_memory + self.mapper_memory
    }

    pub(super) fn ns_per_point(&self) -> f64 {
        self.cpu_share() / self.delivered() * 1e9
    }

    /// Readings do not begin and end with the window, so a device's cycle or
    /// two may fall on either side of it.
    fn is_lossless(&self) -> bool {
        self.after.dropped == self.before.dropped
            && (self.delivered() / self.target - 1.0).abs() < 0.01
    }

    fn others_share(&self) -> f64 {
        let machine = self.after.machine - self.before.machine;
        let ours = self.cpu_share() + self.plant_share() + self.subscriber_share();
        (machine.busy().as_secs_f64() / self.seconds() - ours).max(0.0)
    }

    pub(super) fn row(&self) -> Vec<String> {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let messages = self.after.counts.messages - self.before.counts.messages;
        vec![
            thousands(self.devices as f64),
            thousands(self.target),
            thousands(self.read()),
            thousands(self.delivered()),
            thousands(self.after.dropped - self.before.dropped),
            thousands(messages as f64 / self.seconds()),
            percent(self.cpu_share()),
            percent(self.share(|reading| &reading.edge)),
            percent(self.share(|reading| &reading.mapper)),
            format!("{:.0}", self.ns_per_point()),
            format!("{:.1}", self.ns_per_point() / self.calibration.format_ns),
            megabytes(self.memory().rss),
            megabytes(self.memory().anonymous),
            percent(self.plant_share()),
            percent(self.subscriber_share()),
            percent(self.others_share()),
        ]
    }

    pub(super) fn data(&self) -> Json {
        let machine = self.after.machine - self.before.machine;
        let (before, after) = (&self.before.counts, &self.after.counts);
        json!({
            "devices": self.devices,
            "target": self.target,
            "seconds": self.seconds(),
            "readPerSecond": self.read(),
            "requestsPerSecond": (self.after.requests - self.before.requests) as f64 / self.seconds(),
            "deliveredPerSecond": self.delivered(),
            "documentsPerSecond": (after.documents - before.documents) as f64 / self.seconds(),
            "messagesPerSecond": (after.messages - before.messages) as f64 / self.seconds(),
            "bytesPerSecond": (after.bytes - before.bytes) as f64 / self.seconds(),
            "dropped": self.after.dropped - self.before.dropped,
            "edgecoreCpu": self.share(|reading| &reading.edge),
            "mapperCpu": self.share(|reading| &reading.mapper),
            "nsPerPoint": self.ns_per_point(),
            "plantCpu": self.plant_share(),
            "subscriberCpu": self.subscriber_share(),
            "othersCpu": self.others_share(),
            "stolenCpu": machine.stolen().as_secs_f64() / self.seconds(),
            "edgecoreRssKib": self.edge_memory.rss,
            "edgecoreAnonymousKib": self.edge_memory.anonymous,
            "mapperRssKib": self.mapper_memory.rss,
            "mapperAnonymousKib": self.mapper_memory.anonymous,
            "formatNsPerFloat": self.calibration.format_ns,
            "copyGibPerSecond": self.calibration.copy_gib,
        })
    }
}

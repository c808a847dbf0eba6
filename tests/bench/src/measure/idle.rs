//! Memory of a node that has next to nothing to do: one device of ten floats,
//! read each second, and nobody who listens.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    args::Args,
    layout::Layout,
    node::{Home, Hub, Node},
    plant::Plant,
    procfs::{self, Memory},
    programs::Programs,
    report::{Report, megabytes},
};

/// It has settled once the memory has moved by no more than this for so long.
const STEADY_KIB: u64 = 128;
const STEADY: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

/// One device of ten floats.
pub(super) const LAYOUT: Layout = Layout {
    devices: 1,
    floats: 10,
    cycle_ms: 1_000,
    writable: false,
};

pub(super) fn measure(args: &Args, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let alone = settled(args, programs, None)?;
    alone.rows("alone", &mut rows);
    let mut data = json!({"alone": alone.data()});
    let mut counts = &alone;
    let linked;
    if let Some(cloudhub) = &programs.cloudhub {
        let hub = Hub::start(cloudhub)?;
        linked = settled(args, programs, Some(&hub))?;
        linked.rows("linked to a hub", &mut rows);
        data["linked"] = linked.data();
        counts = &linked;
    } else {
        report.note("cloudhub is not there: idle memory is that of a node without a link");
    }
    report.table(
        "idle memory, embedded broker, one mapper child, one device at 1 s",
        &["node", "RSS", "anonymous", "PSS", "threads"],
        rows,
    );
    report.data("idle", data);
    let sum = counts.edge + counts.mapper;
    report.budget(
        "idle, broker, link and one mapper child included",
        "≤ 15 MB RSS, ≤ 6 MB anonymous",
        format!(
            "{} RSS, {} anonymous",
            megabytes(sum.rss),
            megabytes(sum.anonymous)
        ),
        sum.rss * 1024 <= 15_000_000 && sum.anonymous * 1024 <= 6_000_000,
    );
    Ok(())
}

struct Settled {
    edge: Memory,
    mapper: Memory,
    threads: (usize, usize),
}

fn settled(args: &Args, programs: &Programs, hub: Option<&Hub>) -> anyhow::Result<Settled> {
    let plant = Plant::start(&LAYOUT, Duration::ZERO)?;
    let home = Home::new(
        programs,
        &LAYOUT.manifests(&plant.listeners()),
        hub,
        args.keep,
    )?;
    let mut node = home.start(programs, None)?;
    node.first_reading()?;
    settle(&node);
    let (edge, mapper) = node.memory();
    let (pid, children) = node.processes();
    let of_children = children.into_iter().map(procfs::threads).sum();
    Ok(Settled {
        edge,
        mapper,
        threads: (procfs::threads(pid), of_children),
    })
}

/// Waits until the memory of the node stands still.
pub(super) fn settle(node: &Node) {
    let end = Instant::now() + PATIENCE;
    let rss = || {
        let (edge, mapper) = node.memory();
        edge.rss + mapper.rss
    };
    let (mut level, mut since) = (rss(), Instant::now());
    while since.elapsed() < STEADY && Instant::now() < end {
        thread::sleep(Duration::from_millis(500));
        let now = rss();
        if now.abs_diff(level) > STEADY_KIB {
            (level, since) = (now, Instant::now());
        }
    }
}

impl Settled {
    fn rows(&self, name: &str, rows: &mut Vec<Vec<String>>) {
        let row = |name: String, memory: Memory, threads: usize| {
            vec![
                name,
                megabytes(memory.rss),
                megabytes(memory.anonymous),
                megabytes(memory.pss),
                threads.to_string(),
            ]
        };
        let (edge, mapper) = self.threads;
        rows.push(row(format!("{name}: edgecore"), self.edge, edge));
        rows.push(row(format!("{name}: mapper child"), self.mapper, mapper));
        rows.push(row(
            format!("{name}: both"),
            self.edge + self.mapper,
            edge + mapper,
        ));
    }

    fn data(&self) -> serde_json::Value {
        let memory = |memory: Memory| json!({"rssKib": memory.rss, "anonymousKib": memory.anonymous, "pssKib": memory.pss});
        json!({"edgecore": memory(self.edge), "mapper": memory(self.mapper)})
    }
}

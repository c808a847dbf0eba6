//! What the flash pays while nobody asks for anything: a node with a link whose
//! values change all the time, and one whose values stand still.
//!
//! Twins are saved every ten minutes, so a window of less shows less than a day
//! has: `--seconds 1200` is a fair one.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::json;

use crate::{
    args::Args,
    layout::Layout,
    node::{Home, Hub},
    plant::Plant,
    procfs,
    programs::Programs,
    report::{Report, thousands},
    wait,
};

/// Until the start and what it writes is over.
const SETTLED: Duration = Duration::from_secs(20);
const DAY: f64 = 86_400.0;

pub(super) fn measure(args: &Args, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let cloudhub = programs.cloudhub.as_deref();
    let cloudhub = cloudhub.context("cloudhub is not there")?;
    let busy = Layout {
        devices: 100,
        floats: 10,
        cycle_ms: 1_000,
        writable: false,
    };
    // Only the register that is written and stands still.
    let rest = Layout {
        devices: 1_000,
        floats: 0,
        writable: true,
        ..busy
    };
    let busy = watch(&busy, args, programs, cloudhub)?;
    let rest = watch(&rest, args, programs, cloudhub)?;
    let row = |name: &str, seen: &Seen| {
        vec![
            name.to_owned(),
            thousands(seen.readings),
            format!("{:.0} s", seen.elapsed.as_secs_f64()),
            format!("{} B", thousands(seen.written as f64)),
            format!("{:.3} GB", seen.a_day()),
        ]
    };
    report.table(
        "written to the disk by edgecore, linked to a hub, nobody asks for anything",
        &["node", "readings a second", "watched", "written", "a day"],
        vec![
            row("100 devices of 10 values that change", &busy),
            row("1,000 devices at rest", &rest),
        ],
    );
    report.data(
        "flash",
        json!({"busyGbADay": busy.a_day(), "restGbADay": rest.a_day(), "seconds": busy.elapsed.as_secs_f64()}),
    );
    report.budget(
        "written by a linked edge",
        "≤ 1 GB a day with 100 busy devices, ≤ 0.2 GB with 1,000 at rest",
        format!("{:.3} GB and {:.3} GB", busy.a_day(), rest.a_day()),
        busy.a_day() <= 1.0 && rest.a_day() <= 0.2,
    );
    Ok(())
}

struct Seen {
    elapsed: Duration,
    written: u64,
    readings: f64,
}

impl Seen {
    fn a_day(&self) -> f64 {
        self.written as f64 / self.elapsed.as_secs_f64() * DAY / 1e9
    }
}

fn watch(
    layout: &Layout,
    args: &Args,
    programs: &Programs,
    cloudhub: &Path,
) -> anyhow::Result<Seen> {
    let plant = Plant::start(layout, Duration::ZERO)?;
    let hub = Hub::start(cloudhub)?;
    let home = Home::new(
        programs,
        &layout.manifests(&plant.listeners()),
        Some(&hub),
        args.keep,
    )?;
    let mut node = home.start(programs, None)?;
    node.ready()?;
    let readings = || node.metric("longshore_samples_total");
    wait::until(
        "the devices to be read and the link to be up",
        Duration::from_secs(120),
        Duration::from_millis(200),
        || match (readings(), node.metric("longshore_link_connected")) {
            (read, linked) if read >= layout.devices as f64 && linked > 0.0 => Ok(()),
            (read, linked) => Err(format!("{read} readings, linked: {linked}")),
        },
    )?;
    thread::sleep(SETTLED);
    let (pid, _) = node.processes();
    let (began, before, read) = (Instant::now(), procfs::written_bytes(pid), readings());
    thread::sleep(args.window());
    let elapsed = began.elapsed();
    Ok(Seen {
        elapsed,
        written: procfs::written_bytes(pid) - before,
        readings: (readings() - read) / elapsed.as_secs_f64(),
    })
}

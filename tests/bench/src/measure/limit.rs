//! The most that one core sustains: `edgecore` and its child on the first core,
//! devices and subscriber on the second, and more points asked for than either
//! can do.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Context as _;

use super::load::{HEADER, Load, Reading};
use crate::{
    args::Args,
    calibrate,
    layout::Layout,
    node::Home,
    plant::Plant,
    programs::Programs,
    report::{Report, thousands},
    subscriber::{BATCHES, Keep, Subscriber},
};

const LAYOUT: Layout = Layout {
    devices: 100,
    floats: 1_000,
    cycle_ms: 25,
    writable: false,
};
/// What the programs get to come to full speed.
const WARM_UP: Duration = Duration::from_secs(10);

pub(super) fn measure(args: &Args, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let calibration = calibrate::measure();
    let plant = Plant::start(&LAYOUT, Duration::ZERO)?;
    pin(plant.tid())?;
    let home = Home::new(
        programs,
        &LAYOUT.manifests(&plant.listeners()),
        None,
        args.keep,
    )?;
    let mut node = home.start(programs, Some(0))?;
    node.ready()?;
    let subscriber = Subscriber::start(node.bus(), &[BATCHES], Keep::Nothing)?;
    pin(subscriber.tid())?;
    thread::sleep(WARM_UP);
    anyhow::ensure!(
        subscriber.is_alive(),
        "the subscriber was disconnected; {}",
        node.log()
    );
    let before = Reading::now(&node, &plant, &subscriber);
    thread::sleep(args.window());
    let after = Reading::now(&node, &plant, &subscriber);
    let (edge_memory, mapper_memory) = node.memory();
    let load = Load {
        devices: LAYOUT.devices,
        target: LAYOUT.rate(),
        before,
        after,
        edge_memory,
        mapper_memory,
        calibration,
    };
    report.table(
        "the most on one core, polled back to back",
        HEADER,
        vec![load.row()],
    );
    report.data("limit", load.data());
    let per_second = load.delivered() / load.cpu_share();
    let other = load.plant_share() + load.subscriber_share();
    report.note(format!(
        "one core: {} points delivered each second, {} for each second of edgecore and mapper; the other core was busy to {:.0} %",
        thousands(load.delivered()),
        thousands(per_second),
        other * 100.0
    ));
    report.budget(
        "points per second on one core, to the subscriber",
        "≥ 1,000,000",
        format!(
            "{} ({} per CPU second)",
            thousands(load.delivered()),
            thousands(per_second)
        ),
        load.delivered() >= 1e6,
    );
    Ok(())
}

/// Keeps a thread of this process off the first core.
fn pin(tid: u32) -> anyhow::Result<()> {
    let mut command = Command::new("taskset");
    command
        .args(["-pc", "1", &tid.to_string()])
        .stdout(Stdio::null());
    let status = command
        .status()
        .context("cannot run taskset\n\nhint: it is in the package util-linux")?;
    anyhow::ensure!(
        status.success(),
        "taskset failed with {status}: there is no second core"
    );
    Ok(())
}

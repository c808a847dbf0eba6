//! How often a node with nothing to do wakes the processor: a mapper without a
//! device, a broker without a client, and a hub that has nothing to say.

use std::{thread, time::Duration};

use serde_json::json;

use crate::{
    args::Args,
    node::{Home, Hub},
    procfs,
    programs::Programs,
    report::Report,
};

/// What a start leaves behind (memory to give back, pings of a mapper that was
/// just busy) is over then.
const SETTLE: Duration = Duration::from_secs(15);
const WINDOW: Duration = Duration::from_secs(30);

pub(super) fn measure(args: &Args, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let hub = programs.cloudhub.as_deref().map(Hub::start).transpose()?;
    if hub.is_none() {
        report.note("cloudhub is not there: wake-ups are those of a node without a link");
    }
    let home = Home::new(programs, &[], hub.as_ref(), args.keep)?;
    let mut node = home.start(programs, None)?;
    node.ready()?;
    thread::sleep(SETTLE);
    let count = || {
        let (edge, children) = node.processes();
        let children: u64 = children.into_iter().map(procfs::wakeups).sum();
        (procfs::wakeups(edge), children)
    };
    let (before, cpu) = (count(), node.cpu());
    thread::sleep(WINDOW);
    let (after, later) = (count(), node.cpu());
    let each_second = |count: u64| count as f64 / WINDOW.as_secs_f64();
    let edge = each_second(after.0.saturating_sub(before.0));
    let mapper = each_second(after.1.saturating_sub(before.1));
    let share = |of: Duration| of.as_secs_f64() / WINDOW.as_secs_f64() * 100.0;
    let (edge_cpu, mapper_cpu) = (share(later.0.since(&cpu.0)), share(later.1.since(&cpu.1)));
    let row = |name: &str, wakeups: f64, cpu: f64| {
        vec![
            name.to_owned(),
            format!("{wakeups:.1}"),
            format!("{cpu:.2} %"),
        ]
    };
    report.table(
        "wake-ups of a node with nothing to do",
        &["process", "each second", "CPU"],
        vec![
            row("edgecore", edge, edge_cpu),
            row("mapper child", mapper, mapper_cpu),
        ],
    );
    report.data("wakeups", json!({"edgecore": edge, "mapper": mapper}));
    report.budget(
        "wake-ups with nothing to do, mapper child included",
        "≤ 5 each second",
        format!("{:.1}", edge + mapper),
        edge + mapper <= 5.0,
    );
    Ok(())
}

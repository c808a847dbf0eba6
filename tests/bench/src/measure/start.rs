//! From the start of the process to the first reading in the twin.

use std::time::Duration;

use serde_json::json;

use crate::{
    args::Args,
    layout::Layout,
    node::Home,
    plant::Plant,
    procfs::Cpu,
    programs::Programs,
    report::{Report, quantile},
    wait,
};

const LAYOUT: Layout = Layout {
    devices: 1,
    floats: 10,
    cycle_ms: 1_000,
    writable: false,
};

pub(super) fn measure(args: &Args, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let plant = Plant::start(&LAYOUT, Duration::ZERO)?;
    let manifests = LAYOUT.manifests(&plant.listeners());
    let (mut cold, mut again) = (Vec::new(), Vec::new());
    for _ in 0..args.starts {
        let home = Home::new(programs, &manifests, None, args.keep)?;
        cold.push(milliseconds(home.start(programs, None)?.first_reading()?));
        // The node was killed; what it had stored is there.
        again.push(milliseconds(home.start(programs, None)?.first_reading()?));
    }
    cold.sort_by(f64::total_cmp);
    again.sort_by(f64::total_cmp);
    let row = |name: &str, sorted: &[f64]| {
        let cell = |share| format!("{:.0} ms", quantile(sorted, share));
        vec![name.to_owned(), cell(0.0), cell(0.5), cell(1.0)]
    };
    let rows = vec![
        row("without any state", &cold),
        row("after kill -9", &again),
    ];
    report.table(
        "start of edgecore to the first good reading at /twins",
        &["start", "least", "median", "most"],
        rows,
    );
    report.data("start", json!({"coldMs": cold, "againMs": again}));
    let median = quantile(&cold, 0.5);
    report.budget(
        "start to first reading",
        "≤ 150 ms",
        format!("{median:.0} ms"),
        median <= 150.0,
    );
    Ok(())
}

/// Points of a node that serves a whole plant.
const MANY: u32 = 100_000;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// With many points: when the first device is asked, and when all points were read.
pub(super) fn fleet(args: &Args, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let layout = Layout::of_rate(MANY);
    let mut rows = Vec::new();
    let mut data = Vec::new();
    let mut worst = (0.0_f64, 0.0_f64);
    for (name, again) in [("without any state", false), ("after kill -9", true)] {
        let plant = Plant::start(&layout, Duration::ZERO)?;
        let manifests = layout.manifests(&plant.listeners());
        let home = Home::new(programs, &manifests, None, args.keep)?;
        if again {
            home.start(programs, None)?.first_reading()?;
        }
        let (requests, registers) = (plant.requests(), plant.registers());
        let node = home.start(programs, None)?;
        let reached = |what: &str, check: &dyn Fn() -> bool| {
            wait::until(what, PATIENCE, Duration::from_millis(1), || {
                if check() {
                    Ok(milliseconds(node.started.elapsed()))
                } else {
                    Err(format!("{} registers", plant.registers() - registers))
                }
            })
        };
        let first = reached("the first request", &|| plant.requests() > requests)?;
        // A float32 is two registers.
        let whole = u64::from(MANY) * 2;
        let all = reached("all points", &|| plant.registers() >= registers + whole)?;
        let (edge, mapper) = node.cpu();
        let nothing = Cpu::default();
        let cpu = milliseconds(edge.since(&nothing) + mapper.since(&nothing));
        worst = (worst.0.max(first), worst.1.max(all));
        let cells = [first, all, cpu].map(|ms| format!("{ms:.0} ms"));
        rows.push([vec![name.to_owned()], cells.to_vec()].concat());
        data.push(json!({"start": name, "firstMs": first, "allMs": all, "cpuMs": cpu}));
    }
    report.table(
        "start with 100,000 points on ten connections",
        &["start", "first request", "all read", "CPU until then"],
        rows,
    );
    report.data("fleet", json!(data));
    report.budget(
        "first request, all read at 100,000 points",
        "≤ 300 ms, ≤ 1,000 ms",
        format!("{:.0} ms, {:.0} ms", worst.0, worst.1),
        worst.0 <= 300.0 && worst.1 <= 1_000.0,
    );
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

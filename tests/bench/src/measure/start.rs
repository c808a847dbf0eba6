//! From the start of the process to the first reading in the twin.

use std::time::Duration;

use serde_json::json;

use crate::{
    args::Args,
    layout::Layout,
    node::Home,
    plant::Plant,
    programs::Programs,
    report::{Report, quantile},
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

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

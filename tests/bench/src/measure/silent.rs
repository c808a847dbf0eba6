//! What a silent unit costs its neighbours: ten units on one connection, read
//! ten times a second; first all answer, then one of them does not.

use std::{thread, time::Duration};

use serde_json::json;

use super::load::flow;
use crate::{
    args::Args,
    layout::Layout,
    node::Home,
    plant::Plant,
    programs::Programs,
    report::{Report, quantile, thousands},
    subscriber::{BATCHES, Keep, Subscriber},
};

const LAYOUT: Layout = Layout {
    devices: 10,
    floats: 10,
    cycle_ms: 100,
    writable: false,
};
/// A unit of its own for each device, so the last one is this.
const SILENT: u8 = 10;
/// Time in which the mapper finds out and the quarantine begins.
const FOUND_OUT: Duration = Duration::from_secs(5);

pub(super) fn measure(args: &Args, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let plant = Plant::start(&LAYOUT, Duration::from_millis(2))?;
    // One connection: a bus is what they share.
    let bus = &plant.listeners()[..1];
    let home = Home::new(programs, &LAYOUT.manifests(bus), None, args.keep)?;
    let mut node = home.start(programs, None)?;
    node.ready()?;
    let subscriber = Subscriber::start(node.bus(), &[BATCHES], Keep::Arrivals)?;
    flow(&mut node, &subscriber, LAYOUT.rate())?;
    let healthy = watch(&subscriber, args.window());
    plant.silence(SILENT);
    let finding = watch(&subscriber, FOUND_OUT);
    let silent = watch(&subscriber, args.window());
    let row = |name: &str, times: &[f64]| {
        let ms = |share| format!("{:.1} ms", quantile(times, share));
        vec![
            name.to_owned(),
            thousands(times.len() as f64),
            ms(0.5),
            ms(0.9),
            ms(0.99),
            ms(1.0),
        ]
    };
    report.table(
        "time between two readings of nine units, ten on one connection, each read every 100 ms",
        &["the tenth unit", "readings", "p50", "p90", "p99", "most"],
        vec![
            row("answers", &healthy),
            row("falls silent (first 5 s)", &finding),
            row("is silent", &silent),
        ],
    );
    let (before, after) = (quantile(&healthy, 0.99), quantile(&silent, 0.99));
    report.data(
        "silent",
        json!({"p99HealthyMs": before, "p99SilentMs": after, "mostSilentMs": quantile(&silent, 1.0)}),
    );
    report.budget(
        "p99 of the others' time between readings, one of ten units silent",
        "≤ 1.1 × that of ten healthy units",
        format!("{after:.1} ms, healthy {before:.1} ms"),
        after <= before * 1.1,
    );
    Ok(())
}

/// Times between two batches of each device but the silent one, in
/// milliseconds, sorted.
fn watch(subscriber: &Subscriber, window: Duration) -> Vec<f64> {
    subscriber.take_arrivals();
    thread::sleep(window);
    let silent = format!("/{}/", LAYOUT.device_name(usize::from(SILENT) - 1));
    let arrivals = subscriber.take_arrivals().into_iter();
    let others = arrivals.filter(|(topic, _)| !String::from_utf8_lossy(topic).contains(&silent));
    let mut times: Vec<f64> = others
        .flat_map(|(_, times)| {
            let gaps = times
                .windows(2)
                .map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3);
            gaps.collect::<Vec<_>>()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

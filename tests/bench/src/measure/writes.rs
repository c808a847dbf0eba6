//! Latency of writes while 100,000 points are read each second from devices
//! that take 2 ms for each answer.
//!
//! A client publishes KubeEdge's `twin/update`; the clock stops first when the
//! simulator has the value, and again when the value that was read back has
//! come to the subscriber.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value as Json, json};

use super::load::{self, HEADER, Load, Reading};
use crate::{
    args::Args,
    calibrate,
    layout::{Layout, SETPOINT_NAME},
    node::Home,
    plant::Plant,
    programs::Programs,
    report::{Report, quantile},
    subscriber::{BATCHES, Keep, Subscriber},
};

const DELAY: Duration = Duration::from_millis(2);
/// The first value that is written; each write has a value of its own.
const FIRST: u32 = 1_000;
/// Pauses between writes, in milliseconds: of no common measure with the cycles.
const PAUSE_MS: std::ops::Range<u64> = 20..61;
/// How long the last confirmation may take.
const LAST: Duration = Duration::from_secs(5);

pub(super) fn measure(args: &Args, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let calibration = calibrate::measure();
    let layout = Layout {
        writable: true,
        ..Layout::of_rate(100_000)
    };
    let plant = Plant::start(&layout, DELAY)?;
    let epoch = plant.epoch()?;
    let home = Home::new(
        programs,
        &layout.manifests(&plant.listeners()),
        None,
        args.keep,
    )?;
    let mut node = home.start(programs, None)?;
    node.ready()?;
    let mut subscriber = Subscriber::start(node.bus(), &[BATCHES], Keep::Setpoints)?;
    load::flow(&mut node, &subscriber, layout.rate())?;
    let before = Reading::now(&node, &plant, &subscriber);
    let sent = write(args.writes.min(9_000), &layout, &mut subscriber)?;
    let after = Reading::now(&node, &plant, &subscriber);
    let (edge_memory, mapper_memory) = node.memory();
    confirmations(&subscriber, &sent);
    let load = Load {
        devices: layout.devices,
        target: layout.rate(),
        before,
        after,
        edge_memory,
        mapper_memory,
        calibration,
    };
    report.table(
        "load while writing, answers after 2 ms",
        HEADER,
        vec![load.row()],
    );
    let written: HashMap<(u8, u16), Instant> = plant
        .writes()
        .into_iter()
        .rev()
        .map(|(unit, value, at)| ((unit, value), epoch + at))
        .collect();
    let confirmed = subscriber.setpoints();
    let mut latencies = Latencies::default();
    for write in &sent {
        let of = |end: Option<&Instant>| {
            end.map(|end| milliseconds(end.saturating_duration_since(write.at)))
        };
        latencies
            .written
            .push(of(written.get(&(write.unit, write.value))));
        latencies
            .confirmed
            .push(of(confirmed.get(&u64::from(write.value))));
    }
    latencies.report(report, &load.data())
}

struct Sent {
    unit: u8,
    value: u16,
    at: Instant,
}

fn write(count: u32, layout: &Layout, subscriber: &mut Subscriber) -> anyhow::Result<Vec<Sent>> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut sent = Vec::with_capacity(count as usize);
    for index in 0..count {
        thread::sleep(Duration::from_millis(random.u64(PAUSE_MS)));
        let device = random.usize(0..layout.devices);
        let value = (FIRST + index) as u16;
        let topic = format!(
            "$hw/events/device/default/{}/twin/update",
            layout.device_name(device)
        );
        let payload = json!({
            "event_id": index.to_string(), "timestamp": 0,
            "twin": {SETPOINT_NAME: {"expected": {"value": value.to_string()}, "metadata": {"type": "int"}}},
        });
        let payload = payload.to_string();
        let at = Instant::now();
        subscriber
            .publisher()
            .publish(&topic, payload.as_bytes())
            .context("cannot publish a write")?;
        sent.push(Sent {
            unit: layout.unit(device),
            value,
            at,
        });
    }
    Ok(sent)
}

/// Gives the last writes time to be confirmed; those that are not show as missing.
fn confirmations(subscriber: &Subscriber, sent: &[Sent]) {
    let end = Instant::now() + LAST;
    let all = || {
        let seen = subscriber.setpoints();
        sent.iter()
            .all(|write| seen.contains_key(&u64::from(write.value)))
    };
    while !all() && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[derive(Default)]
struct Latencies {
    written: Vec<Option<f64>>,
    confirmed: Vec<Option<f64>>,
}

impl Latencies {
    fn report(self, report: &mut Report, load: &Json) -> anyhow::Result<()> {
        let count = self.written.len();
        let sorted = |values: Vec<Option<f64>>| {
            let mut values: Vec<f64> = values.into_iter().flatten().collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let (written, confirmed) = (sorted(self.written), sorted(self.confirmed));
        let row = |name: &str, values: &[f64]| {
            let cell = |share| format!("{:.1} ms", quantile(values, share));
            vec![
                name.to_owned(),
                cell(0.5),
                cell(0.9),
                cell(0.99),
                cell(1.0),
                (count - values.len()).to_string(),
            ]
        };
        report.table(
            &format!("latency of {count} writes, from the publication on"),
            &["until", "p50", "p90", "p99", "most", "missing"],
            vec![
                row("the register has the value", &written),
                row("it is read back and published", &confirmed),
            ],
        );
        report.data(
            "writes",
            json!({"load": load, "writtenMs": written, "confirmedMs": confirmed, "count": count}),
        );
        anyhow::ensure!(!written.is_empty(), "no write arrived");
        let (p50, p99) = (quantile(&written, 0.5), quantile(&written, 0.99));
        report.budget(
            "write under that load, simulator answers after 2 ms",
            "p99 ≤ 10 ms",
            format!("p50 {p50:.1} ms, p99 {p99:.1} ms"),
            p99 <= 10.0 && written.len() == count,
        );
        Ok(())
    }
}

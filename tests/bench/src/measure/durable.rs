//! Updates that are on the disk when they are answered: eight clients of the bus
//! keep so many under way, each on a device of its own, for a while.
//!
//! The devices have no mapper, so that the way to the disk is measured and not
//! that to a device. Values that clients measured (`actual`) and desired ones
//! (`expected`) are measured apart. What the flash pays is what the kernel was
//! given to write for `edgecore` meanwhile.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::json;

use crate::{
    args::Args,
    mqtt::{Connection, Publisher},
    node::{Home, Node},
    procfs,
    programs::Programs,
    report::{Report, quantile, thousands},
    wait,
};

const CLIENTS: usize = 8;
/// Updates that a client has under way.
const UNDER_WAY: u32 = 32;
const EVENT: &[u8] = b"\"event_id\":\"";

pub(super) fn measure(args: &Args, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let home = Home::new(programs, &manifests(), None, args.keep)?;
    let mut node = home.start(programs, None)?;
    node.ready()?;
    wait::until(
        "the devices",
        Duration::from_secs(30),
        Duration::from_millis(50),
        || match node.get("/twins")?.matches("\"default/client-").count() {
            CLIENTS.. => Ok(()),
            count => Err(format!("{count} are there")),
        },
    )?;
    let mut rows = Vec::new();
    let mut reached = Vec::new();
    for kind in ["actual", "expected"] {
        let seen = run(&node, kind, args.window())?;
        rows.push(seen.row(kind));
        report.data(
            &format!("durable-{kind}"),
            json!({"rate": seen.rate(), "p99Ms": quantile(&seen.latencies, 0.99), "bytesPerUpdate": seen.bytes_per_update(), "cpuPerUpdateUs": seen.cpu_per_update()}),
        );
        reached.push(seen);
    }
    report.table(
        "updates on the disk before they are answered, eight clients with 32 under way each",
        &[
            "kind",
            "answered a second",
            "p50",
            "p99",
            "most",
            "written for each",
            "processor time for each",
            "refused",
        ],
        rows,
    );
    let slowest = reached.iter().map(Seen::rate).fold(f64::INFINITY, f64::min);
    let p99 = reached.iter().map(|seen| quantile(&seen.latencies, 0.99));
    let p99 = p99.fold(0.0, f64::max);
    report.budget(
        "durable `twin/update` from eight clients",
        "≥ 20,000 a second, p99 ≤ 10 ms",
        format!("{} a second, p99 {p99:.1} ms", thousands(slowest)),
        slowest >= 20_000.0 && p99 <= 10.0,
    );
    Ok(())
}

/// What came of a run.
struct Seen {
    /// In milliseconds, sorted.
    latencies: Vec<f64>,
    refused: usize,
    elapsed: Duration,
    written: u64,
    cpu: Duration,
}

impl Seen {
    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    fn bytes_per_update(&self) -> f64 {
        self.written as f64 / self.latencies.len().max(1) as f64
    }

    fn cpu_per_update(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.latencies.len().max(1) as f64
    }

    fn row(&self, kind: &str) -> Vec<String> {
        let ms = |share| format!("{:.1} ms", quantile(&self.latencies, share));
        vec![
            kind.to_owned(),
            thousands(self.rate()),
            ms(0.5),
            ms(0.99),
            ms(1.0),
            format!("{:.0} B", self.bytes_per_update()),
            format!("{:.0} µs", self.cpu_per_update()),
            self.refused.to_string(),
        ]
    }
}

fn run(node: &Node, kind: &'static str, window: Duration) -> anyhow::Result<Seen> {
    let (pid, _) = node.processes();
    let (written, (cpu, _)) = (procfs::written_bytes(pid), node.cpu());
    let began = Instant::now();
    let end = began + window;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let bus = node.bus();
            let connection = Connection::subscribe(
                bus,
                &format!("{kind}-{client}"),
                &[&format!(
                    "$hw/events/device/default/client-{client}/twin/update/result"
                )],
            );
            let mut connection = connection.context("cannot subscribe")?;
            let mut client = Client {
                topic: format!("$hw/events/device/default/client-{client}/twin/update"),
                kind,
                publisher: connection.publisher()?,
                sent: Vec::new(),
                latencies: Vec::new(),
                refused: 0,
                end,
            };
            Ok(thread::spawn(move || -> anyhow::Result<Client> {
                for _ in 0..UNDER_WAY {
                    client.send()?;
                }
                // Ends when the last answer closed the connection.
                let _ = connection.listen(|_, payload| client.answered(payload));
                Ok(client)
            }))
        })
        .collect::<anyhow::Result<_>>()?;
    let mut seen = Seen {
        latencies: Vec::new(),
        refused: 0,
        elapsed: Duration::ZERO,
        written: 0,
        cpu: Duration::ZERO,
    };
    for client in clients {
        let client = client
            .join()
            .map_err(|_| anyhow::anyhow!("a client panicked"))??;
        seen.latencies.extend(client.latencies);
        seen.refused += client.refused;
    }
    seen.elapsed = began.elapsed();
    seen.latencies.sort_by(f64::total_cmp);
    seen.written = procfs::written_bytes(pid) - written;
    seen.cpu = node.cpu().0.since(&cpu);
    anyhow::ensure!(!seen.latencies.is_empty(), "no update was answered");
    Ok(seen)
}

struct Client {
    topic: String,
    kind: &'static str,
    publisher: Publisher,
    /// When each update was sent; its place is its number.
    sent: Vec<Instant>,
    latencies: Vec<f64>,
    refused: usize,
    end: Instant,
}

impl Client {
    fn send(&mut self) -> anyhow::Result<()> {
        let number = self.sent.len();
        let payload = format!(
            r#"{{"event_id":"{number}","timestamp":0,"twin":{{"value":{{"{}":{{"value":"{number}"}}}}}}}}"#,
            self.kind
        );
        self.sent.push(Instant::now());
        self.publisher.publish(&self.topic, payload.as_bytes())?;
        Ok(())
    }

    fn answered(&mut self, payload: &[u8]) {
        let sent = number(payload).and_then(|number| self.sent.get(number));
        let Some(sent) = sent else {
            return;
        };
        let latency = sent.elapsed().as_secs_f64() * 1e3;
        if payload.windows(7).any(|part| part == b"\"code\":") {
            self.refused += 1;
        } else {
            self.latencies.push(latency);
        }
        if Instant::now() < self.end {
            // A connection that broke ends the listening as well.
            let _ = self.send();
        } else if self.latencies.len() + self.refused == self.sent.len() {
            self.publisher.close();
        }
    }
}

/// The number that an answer repeats.
fn number(payload: &[u8]) -> Option<usize> {
    let at = payload
        .windows(EVENT.len())
        .position(|part| part == EVENT)?;
    let digits = payload[at + EVENT.len()..]
        .split(|byte| *byte == b'"')
        .next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A device for each client, of a protocol that nobody serves.
fn manifests() -> Vec<(String, String)> {
    let model = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel", "metadata": {"name": "client"},
        "spec": {"protocol": "none", "properties": [
            {"name": "value", "type": "INT", "accessMode": "ReadWrite", "visitors": {"protocolName": "none", "configData": {}}},
        ]},
    });
    let mut files = vec![("model.yaml".to_owned(), model.to_string())];
    for client in 0..CLIENTS {
        let name = format!("client-{client}");
        let device = json!({
            "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "metadata": {"name": name},
            "spec": {
                "deviceModelRef": {"name": "client"}, "nodeName": "edge-1",
                "protocol": {"protocolName": "none", "configData": {}},
                "properties": [{"name": "value"}],
            },
        });
        files.push((format!("{name}.yaml"), device.to_string()));
    }
    files
}

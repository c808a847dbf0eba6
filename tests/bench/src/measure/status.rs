//! What a status costs the hub's API server: its processor time, and what it writes.
//!
//! The server is in this process, as it is in the hub's, without TLS; the statuses
//! are patched as the hub does it, under the resource version of before.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use axum::{Router, body::Body};
use http::Request;
use longshore_apiserver::{ApiServer, Config};
use longshore_types::crd;
use serde_json::{Value as Json, json};
use tower::ServiceExt as _;

use crate::{args::Args, procfs, procfs::Cpu, programs::Programs, report::Report};

/// Values of a status, and statuses that are under way at once.
const LOADS: [(usize, usize); 4] = [(5, 1), (5, 32), (20, 8), (20, 32)];
const DEVICES: usize = 320;
const PATH: &str = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devicestatuses";
/// An answer holds one object.
const ANSWER: usize = 4 << 20;

pub(super) fn measure(args: &Args, _: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no runtime")?;
    let mut rows = Vec::new();
    let mut worst = (0.0_f64, 0.0_f64);
    for (values, at_once) in LOADS {
        let window = args.window() / 4;
        let seen = runtime.block_on(run(values, at_once, window))?;
        let (cpu, bytes) = (seen.cpu_ms(), seen.bytes());
        worst = (worst.0.max(cpu), worst.1.max(bytes));
        rows.push(vec![
            values.to_string(),
            at_once.to_string(),
            format!("{:.0}", seen.count as f64 / seen.elapsed.as_secs_f64()),
            format!("{cpu:.2} ms"),
            format!("{:.1} kB", bytes / 1e3),
            format!("{} B", seen.size),
        ]);
        report.data(
            &format!("status-{values}-{at_once}"),
            json!({"count": seen.count, "cpuMs": cpu, "bytes": bytes}),
        );
    }
    report.table(
        "statuses written by the API server, this process with its client",
        &[
            "values",
            "at once",
            "a second",
            "CPU for each",
            "written for each",
            "object",
        ],
        rows,
    );
    report.budget(
        "a status, with its client",
        "≤ 0.5 ms, ≤ 8 kB",
        format!("{:.2} ms, {:.1} kB", worst.0, worst.1 / 1e3),
        worst.0 <= 0.5 && worst.1 <= 8e3,
    );
    Ok(())
}

struct Seen {
    count: u64,
    elapsed: Duration,
    cpu: Duration,
    written: u64,
    size: usize,
}

impl Seen {
    fn cpu_ms(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / self.count.max(1) as f64
    }

    fn bytes(&self) -> f64 {
        self.written as f64 / self.count.max(1) as f64
    }
}

async fn run(values: usize, at_once: usize, window: Duration) -> anyhow::Result<Seen> {
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let server = ApiServer::open(Config::new(folder.path().join("api.db")))?;
    let controllers = tokio::spawn(server.controllers());
    let router = server.router();
    for definition in crd::all() {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        send(
            &router,
            "POST",
            path,
            "application/json",
            &definition.object,
        )
        .await?;
    }
    let mut versions = Vec::new();
    let mut size = 0;
    for device in 0..DEVICES {
        let mut object = status(values, 0);
        object["apiVersion"] = json!("devices.kubeedge.io/v1beta1");
        object["kind"] = json!("DeviceStatus");
        object["metadata"] = json!({"name": name(device)});
        let made = send(&router, "POST", PATH, "application/json", &object).await?;
        size = made.to_string().len();
        versions.push(version(&made)?);
    }
    let (count, done) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let pid = std::process::id();
    let (written, cpu) = (procfs::written_bytes(pid), Cpu::now(&[pid]));
    let began = Instant::now();
    let share = DEVICES / at_once;
    let writers: Vec<_> = versions
        .chunks(share)
        .enumerate()
        .map(|(writer, versions)| {
            let (router, mut versions) = (router.clone(), versions.to_vec());
            let (count, done) = (Arc::clone(&count), Arc::clone(&done));
            tokio::spawn(async move {
                let mut round = 1;
                while !done.load(Ordering::Relaxed) {
                    for (index, known) in versions.iter_mut().enumerate() {
                        let mut patch = status(values, round);
                        patch["metadata"] = json!({"resourceVersion": known});
                        let path = format!("{PATH}/{}", name(writer * share + index));
                        let media = "application/merge-patch+json";
                        *known = version(&send(&router, "PATCH", &path, media, &patch).await?)?;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    round += 1;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    tokio::time::sleep(window).await;
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.context("a writer panicked")??;
    }
    let seen = Seen {
        count: count.load(Ordering::Relaxed),
        elapsed: began.elapsed(),
        cpu: Cpu::now(&[pid]).since(&cpu),
        written: procfs::written_bytes(pid) - written,
        size,
    };
    server.shutdown().await;
    controllers.abort();
    Ok(seen)
}

fn name(device: usize) -> String {
    format!("plant-{device:04}")
}

/// As the hub writes it, with other values in each round.
fn status(values: usize, round: usize) -> Json {
    let (mut twins, mut properties) = (Vec::new(), Vec::new());
    for value in 0..values {
        let name = format!("temperature-{value}");
        let time = 1_764_500_000_000 + round * 1_000 + value;
        let text = format!("2026-11-30T12:00:{:02}.{:03}Z", round % 60, value);
        twins.push(json!({"propertyName": name, "reported": {
            "metadata": {"timestamp": time.to_string(), "type": "float"},
            "value": format!("{}.{value}", 20 + round % 50),
        }}));
        properties
            .push(json!({"name": name, "quality": "good", "sourceTime": text, "lastRead": text}));
    }
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": "Connected", "message": "", "lastTransitionTime": "2026-11-30T11:00:00Z"});
    json!({"status": {
        "state": "online", "lastOnlineTime": "2026-11-30T12:00:00Z", "twins": twins,
        "extensions": {
            "summary": format!("temperature-0={}", 20 + round % 50),
            "conditions": [condition("Reachable"), condition("NodeConnected"), condition("ConfigValid")],
            "properties": properties,
        },
    }})
}

async fn send(
    router: &Router,
    method: &str,
    path: &str,
    media: &str,
    body: &Json,
) -> anyhow::Result<Json> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media)
        .header("user-agent", "cloudhub/0")
        .body(Body::from(body.to_string()))?;
    let response = router.clone().oneshot(request).await?;
    let code = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), ANSWER).await?;
    ensure!(
        code.is_success(),
        "{method} {path}: {code}: {}",
        String::from_utf8_lossy(&bytes)
    );
    Ok(serde_json::from_slice(&bytes)?)
}

fn version(object: &Json) -> anyhow::Result<String> {
    let version = object["metadata"]["resourceVersion"].as_str();
    Ok(version.context("an object without a revision")?.to_owned())
}

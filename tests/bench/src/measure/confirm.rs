//! The whole way of a desired value and back: from the patch of a Device at the API
//! server to the DeviceStatus that says it is confirmed, as `kubectl -w` would see it.
//!
//! A node with one device whose other values change all the time, which is what its
//! reports and statuses have a pace for. One write at a time, now and then, as a
//! person or a recipe makes them.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Client, Config,
    api::{PostParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value as Json, json};

use crate::{
    args::Args,
    layout::{Layout, SETPOINT_NAME},
    node::{Home, Hub},
    plant::Plant,
    programs::Programs,
    report::{Report, quantile},
};

/// So many writes, as each has its pause.
const MOST: u32 = 100;
/// Pauses between writes, in milliseconds: of no common measure with the cycles.
const PAUSE_MS: std::ops::Range<u64> = 1_100..2_300;
/// How long one confirmation may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn measure(args: &Args, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let cloudhub = programs.cloudhub.as_ref().context("there is no cloudhub")?;
    let layout = Layout {
        devices: 1,
        floats: 20,
        cycle_ms: 200,
        writable: true,
    };
    let plant = Plant::start(&layout, Duration::ZERO)?;
    let epoch = plant.epoch()?;
    let hub = Hub::start(cloudhub)?;
    let home = Home::new(programs, &[], Some(&hub), args.keep)?;
    let mut node = home.start(programs, None)?;
    node.ready()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let count = args.writes.min(MOST);
    let manifests = layout.manifests(&plant.listeners());
    let sent = runtime.block_on(writes(&hub, &layout, &manifests, count))?;
    let written: Vec<f64> = sent
        .iter()
        .filter_map(|write| {
            let mut all = plant.writes().into_iter();
            let (_, _, at) = all.find(|(_, value, _)| *value == write.value)?;
            Some(milliseconds(
                (epoch + at).saturating_duration_since(write.at),
            ))
        })
        .collect();
    let confirmed = sent.iter().filter_map(|write| write.confirmed);
    let confirmed: Vec<f64> = confirmed.map(milliseconds).collect();
    tell(report, count as usize, sorted(written), sorted(confirmed))
}

struct Sent {
    value: u16,
    at: Instant,
    confirmed: Option<Duration>,
}

async fn writes(
    hub: &Hub,
    layout: &Layout,
    manifests: &[(String, String)],
    count: u32,
) -> anyhow::Result<Vec<Sent>> {
    let options = KubeConfigOptions::default();
    let kubeconfig = Kubeconfig::read_from(hub.kubeconfig())?;
    let client = Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &options).await?)?;
    for (name, text) in manifests {
        let object: DynamicObject = serde_json::from_str(text)?;
        let plural = if name == "model.yaml" {
            "devicemodels"
        } else {
            "devices"
        };
        let (api, parameters) = (api(&client, plural), PostParams::default());
        let created = api.create(&parameters, &object).await;
        created.with_context(|| format!("cannot create {name}"))?;
    }
    let device = layout.device_name(0);
    let index = layout.floats;
    let watch = WatchParams::default().fields(&format!("metadata.name={device}"));
    let statuses = api(&client, "devicestatuses");
    let mut changes = statuses.watch(&watch, "0").await?.boxed();
    let mut random = fastrand::Rng::with_seed(1);
    let mut sent = Vec::new();
    for value in 1..=count as u16 {
        // Nobody else works in this runtime meanwhile.
        thread::sleep(Duration::from_millis(random.u64(PAUSE_MS)));
        let patch = json!([{
            "op": "add", "path": format!("/spec/properties/{index}/desired"),
            "value": {"value": value.to_string()},
        }]);
        let url = format!("/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices/{device}");
        let request = http::Request::patch(url)
            .header("content-type", "application/json-patch+json")
            .body(serde_json::to_vec(&patch)?)?;
        let at = Instant::now();
        let patched = client.request::<DynamicObject>(request).await;
        patched.context("cannot patch the device")?;
        let wait = async {
            while let Some(change) = changes.try_next().await? {
                if let WatchEvent::Added(status) | WatchEvent::Modified(status) = change
                    && shows(&status.data, value)
                {
                    return anyhow::Ok(Some(at.elapsed()));
                }
            }
            Ok(None)
        };
        let confirmed = tokio::time::timeout(PATIENCE, wait).await;
        let confirmed = confirmed.unwrap_or(Ok(None))?;
        sent.push(Sent {
            value,
            at,
            confirmed,
        });
    }
    Ok(sent)
}

fn shows(status: &Json, value: u16) -> bool {
    let value = value.to_string();
    let properties = status["status"]["extensions"]["properties"].as_array();
    let mut properties = properties.into_iter().flatten();
    properties.any(|property| {
        property["name"] == SETPOINT_NAME
            && property["desired"] == value.as_str()
            && property["write"]["state"] == "confirmed"
    })
}

fn api(client: &Client, plural: &str) -> Api<DynamicObject> {
    let kind = match plural {
        "devices" => "Device",
        "devicemodels" => "DeviceModel",
        _ => "DeviceStatus",
    };
    let kind = GroupVersionKind::gvk("devices.kubeedge.io", "v1beta1", kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, plural);
    Api::namespaced_with(client.clone(), "default", &resource)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn tell(
    report: &mut Report,
    count: usize,
    written: Vec<f64>,
    confirmed: Vec<f64>,
) -> anyhow::Result<()> {
    let row = |name: &str, values: &[f64]| {
        let cell = |share| format!("{:.0} ms", quantile(values, share));
        let missing = (count - values.len()).to_string();
        vec![
            name.to_owned(),
            cell(0.5),
            cell(0.9),
            cell(0.99),
            cell(1.0),
            missing,
        ]
    };
    report.table(
        &format!("{count} desired values, from the patch of the Device on"),
        &["until", "p50", "p90", "p99", "most", "missing"],
        vec![
            row("the register has the value", &written),
            row("the DeviceStatus says confirmed", &confirmed),
        ],
    );
    report.data(
        "confirm",
        json!({"writtenMs": written, "confirmedMs": confirmed, "count": count}),
    );
    anyhow::ensure!(!confirmed.is_empty(), "no write was confirmed");
    let (p50, p99) = (quantile(&confirmed, 0.5), quantile(&confirmed, 0.99));
    report.budget(
        "a desired value confirmed at the API server",
        "p99 ≤ 150 ms",
        format!("p50 {p50:.0} ms, p99 {p99:.0} ms"),
        p99 <= 150.0 && confirmed.len() == count,
    );
    Ok(())
}

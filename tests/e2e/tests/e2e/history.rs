//! Samples of an outage reach whoever takes them in the hub: all of them, in
//! order and once, whatever was killed meanwhile, and nothing live waits behind
//! them.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PostParams},
    core::GroupVersionKind,
};
use longshore_harness::{hub::reported, prelude::*};
use longshore_hub::{
    Config, Environment, RunningHub,
    identity::Authority,
    samples::{ConsumerError, SampleBatch, SampleConsumer},
};
use longshore_link::{Admitted, Epoch, UpPosition};
use longshore_types::{DeviceSamples, NodeName, PropertySample, Quality, Value};
use tempfile::TempDir;
use tokio::sync::watch;

/// What the consumer does with the next batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Takes,
    /// It is busy with something else.
    Waits,
    /// It takes a batch, and the hub never hears of it.
    DiesAfterwards,
}

/// Stands for a database that outlives the hub: position and samples are
/// changed as one.
#[derive(Debug)]
struct Memory {
    held: Mutex<(UpPosition, Vec<PropertySample>)>,
    mood: watch::Sender<Mood>,
}

impl Memory {
    /// The good samples: on a busy machine a reading may time out.
    fn good(&self) -> Vec<PropertySample> {
        let held = self.held.lock().unwrap();
        let good = held.1.iter().filter(|s| s.quality == Quality::Good);
        good.cloned().collect()
    }

    /// Their values, each once as long as it stood.
    fn values(&self) -> Vec<i64> {
        let value = |sample: &PropertySample| match sample.value {
            Some(Value::Int(value)) => value,
            ref other => panic!("{other:?}"),
        };
        let mut values: Vec<_> = self.good().iter().map(value).collect();
        values.dedup();
        values
    }

    async fn values_are(&self, last: i64) {
        let expected: Vec<_> = (0..=last).collect();
        eventually(&format!("the values up to {last} to be taken"), || async {
            let found = self.values();
            let all = found == expected;
            all.then_some(()).ok_or_else(|| format!("{found:?}"))
        })
        .await;
    }
}

impl SampleConsumer for Memory {
    fn open<'a>(
        &'a self,
        _: &'a NodeName,
        epoch: Epoch,
        last_sequence: u64,
    ) -> BoxFuture<'a, Result<u64, ConsumerError>> {
        let mut held = self.held.lock().unwrap();
        held.0 = held.0.greet(epoch, last_sequence);
        let sequence = held.0.sequence;
        Box::pin(async move { Ok(sequence) })
    }

    fn take(&self, batch: Arc<SampleBatch>) -> BoxFuture<'_, Result<Admitted, ConsumerError>> {
        Box::pin(async move {
            let mut mood = self.mood.subscribe();
            let mood = mood.wait_for(|mood| *mood != Mood::Waits).await;
            let mood = *mood.expect("its sender is here");
            let admitted = {
                let mut held = self.held.lock().unwrap();
                let admitted = batch.admit(held.0)?;
                let new = batch.samples.iter().skip(admitted.skip).flatten();
                let new: Vec<_> = new
                    .flat_map(|batch: &DeviceSamples| batch.samples.clone())
                    .collect();
                held.1.extend(new);
                held.0 = admitted.position;
                admitted
            };
            if mood == Mood::DiesAfterwards {
                std::future::pending::<()>().await;
            }
            Ok(admitted)
        })
    }
}

/// A hub inside of the test, with its embedded API server.
async fn start(folder: &Path, link: SocketAddr, memory: &Arc<Memory>) -> RunningHub {
    let text = format!(
        "stateDir: state\n\
         link: {{listen: '{link}'}}\n\
         metrics: {{listen: '127.0.0.1:0'}}\n\
         apiServer: {{listen: '127.0.0.1:0', kubeconfig: kubeconfig}}\n\
         deviceStatus: {{intervalMs: 50}}\n"
    );
    let config = Config::parse(&text, folder, Environment::default()).unwrap();
    let memory = Arc::clone(memory) as Arc<dyn SampleConsumer>;
    RunningHub::start_with(&config, memory).await.unwrap()
}

/// The `hub` section of an edge's configuration.
fn membership(folder: &Path, link: SocketAddr) -> Json {
    let authority = Authority::open(&folder.join("state")).unwrap();
    let issued = authority.issue_node(&NodeName::new("edge-1").unwrap());
    let issued = issued.unwrap();
    for (name, pem) in [
        ("ca.crt", authority.certificate_pem()),
        ("node.crt", &issued.certificate_pem),
        ("node.key", &issued.key_pem),
    ] {
        fs::write(folder.join(name), pem).unwrap();
    }
    json!({
        "url": format!("wss://localhost:{}", link.port()), "caFile": folder.join("ca.crt"),
        "certFile": folder.join("node.crt"), "keyFile": folder.join("node.key"),
    })
}

fn api(client: Client, kind: &str) -> Api<DynamicObject> {
    let plural = match kind {
        "DeviceStatus" => "devicestatuses".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let kind = GroupVersionKind::gvk("devices.kubeedge.io", "v1beta1", kind);
    Api::namespaced_with(
        client,
        "default",
        &ApiResource::from_gvk_with_plural(&kind, &plural),
    )
}

async fn reported_is(hub: &RunningHub, value: i64) {
    let statuses = api(hub.client(), "DeviceStatus");
    let value = value.to_string();
    eventually(&format!("the DeviceStatus to report {value}"), || async {
        let found = statuses.get_opt("counter").await;
        let found = found.map_err(|error| error.to_string())?;
        let found = serde_json::to_value(found).map_err(|error| error.to_string())?;
        let is = reported(&found, "count") == Some(&value);
        is.then_some(()).ok_or_else(|| found.to_string())
    })
    .await;
}

/// Lets the device count on, and the edge read each number.
async fn count(plc: &Simulator, edge: &Edge, numbers: std::ops::RangeInclusive<i64>) {
    for n in numbers {
        plc.set_input(1, 0, n as u16);
        edge.twin_is("counter", "count", json!(n)).await;
    }
}

async fn all_is_on_the_disk(edge: &Edge) {
    eventually("all samples to be on the disk", || async {
        let metrics = edge.get_text("/metrics").await?.1;
        let all = metrics.contains("\nlongshore_history_unsaved 0\n");
        all.then_some(()).ok_or(metrics)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_while_the_link_was_down_arrives_in_order_and_once() {
    let plc = modbus().unit(1).register(30_001, 0).start().await;
    let counter = device("counter").on(&plc).read(
        "count",
        "INT",
        json!({"address": "ir:0", "rawType": "int16", "report": {"history": true}}),
    );
    let memory = Arc::new(Memory {
        held: Mutex::default(),
        mood: watch::Sender::new(Mood::Takes),
    });
    let folder = TempDir::new().unwrap();
    let hub = start(folder.path(), ([127, 0, 0, 1], 0).into(), &memory).await;
    let link = hub.addresses().link;
    for object in [counter.model(), counter.device()] {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let object = serde_json::from_value(object).unwrap();
        let objects = api(hub.client(), &kind);
        let created = objects.create(&PostParams::default(), &object).await;
        created.unwrap();
    }
    let mut edge = edge()
        .hub_section(membership(folder.path(), link))
        .run()
        .await;
    memory.values_are(0).await;

    // The link is down. Once the edge is stopped in time to save what it
    // collects, once it is not but all is on the disk.
    hub.stop().await;
    count(&plc, &edge, 1..=5).await;
    edge.process().terminate().await;
    edge.start_again().await;
    count(&plc, &edge, 6..=9).await;
    all_is_on_the_disk(&edge).await;
    edge.kill_and_restart().await;
    count(&plc, &edge, 10..=12).await;

    // Live values do not wait behind samples that nobody takes.
    memory.mood.send_replace(Mood::Waits);
    let hub = start(folder.path(), link, &memory).await;
    reported_is(&hub, 12).await;
    count(&plc, &edge, 13..=13).await;
    reported_is(&hub, 13).await;
    assert_eq!(memory.values(), [0]);

    // The hub ends after samples were taken and before the edge hears of it.
    memory.mood.send_replace(Mood::DiesAfterwards);
    eventually("samples to be taken", || async {
        let found = memory.values();
        let some = found.len() > 1;
        some.then_some(()).ok_or_else(|| format!("{found:?}"))
    })
    .await;
    hub.stop().await;
    memory.mood.send_replace(Mood::Takes);
    let hub = start(folder.path(), link, &memory).await;
    count(&plc, &edge, 14..=15).await;
    memory.values_are(15).await;

    let good = memory.good();
    let ordered = good.is_sorted_by(|a, b| a.time_ms < b.time_ms);
    assert!(ordered, "in order, and none twice: {good:?}");
    hub.stop().await;
}

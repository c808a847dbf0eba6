//! Samples reach whoever takes them: in order, once, behind live values.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use longshore_hub::samples::{ConsumerError, SampleBatch, SampleConsumer};
use longshore_link::{Admitted, Epoch, Up, UpPosition};
use longshore_types::{
    DeviceName, DeviceSamples, NodeName, PropertySample, Quality, Reason, Value,
};
use tokio::sync::watch;

use crate::{
    edge::Edge,
    harness::{TestHub, device, model, reading, reported},
};

const SECONDS: i64 = 600;
const EACH_SECOND: i64 = 10;

/// What a consumer is to do with the next batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// It is busy with something else.
    Waits,
    Takes,
    /// It takes the batch, and nobody hears of it.
    DiesAfterwards,
    /// It says that it cannot.
    IsFull,
}

/// Stands for a database: position and samples are changed as one.
#[derive(Debug)]
struct Memory {
    held: Mutex<(UpPosition, Vec<PropertySample>)>,
    mood: watch::Sender<Mood>,
}

impl Memory {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self {
            held: Mutex::default(),
            mood: watch::Sender::new(mood),
        })
    }

    fn count(&self) -> usize {
        self.held.lock().unwrap().1.len()
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
            let mood = *mood.wait_for(|mood| *mood != Mood::Waits).await.unwrap();
            if mood == Mood::IsFull {
                self.mood.send_replace(Mood::Takes);
                let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
                return Err(ConsumerError::Unavailable(full.into()));
            }
            let admitted = {
                let mut held = self.held.lock().unwrap();
                let admitted = batch.admit(held.0)?;
                let new = batch.samples.iter().skip(admitted.skip).flatten();
                let new: Vec<_> = new.flat_map(|batch| batch.samples.clone()).collect();
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

fn samples(device: &str, uid: &str, second: i64) -> Up {
    let sample = |n| PropertySample {
        property: "temperature".into(),
        value: Some(Value::Int(second * EACH_SECOND + n)),
        quality: Quality::Good,
        reason: Reason::None,
        time_ms: 1_732_000_000_000 + second * 1000 + n,
    };
    Up::Samples(DeviceSamples {
        device: DeviceName::new("default", device).unwrap(),
        uid: uid.to_owned(),
        samples: (0..EACH_SECOND).map(sample).collect(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_minutes_of_samples_come_once_in_order_and_hold_nothing_up() {
    let memory = Memory::new(Mood::Waits);
    let hub = TestHub::start_with(tempfile::tempdir().unwrap(), memory.clone()).await;
    hub.create(model("boiler")).await;
    hub.create(device("boiler", "boiler", "edge-1")).await;
    hub.create(device("other", "boiler", "edge-2")).await;
    let uid_of = async |name: &str| {
        let object = hub.get("Device", name).await.unwrap();
        object["metadata"]["uid"].as_str().unwrap().to_owned()
    };
    let (uid, other) = (uid_of("boiler").await, uid_of("other").await);

    let edge = hub.edge("edge-1");
    // Of no use, and in nobody's way.
    edge.sample(&samples("other", &other, 0));
    edge.sample(&reading("boiler", &uid, 1.0));
    for second in 0..SECONDS {
        edge.sample(&samples("boiler", &uid, second));
    }
    for value in [21.5, 22.5, 23.5] {
        edge.report(&reading("boiler", &uid, value));
        hub.wait("DeviceStatus", "boiler", "live values pass by", |status| {
            reported(status) == value.to_string()
        })
        .await;
    }
    assert_eq!(memory.count(), 0, "nothing was taken yet");

    // The hub ends between the consumer's commit and the confirmation.
    memory.mood.send_replace(Mood::DiesAfterwards);
    edge.wait("the consumer has a batch", |_| memory.count() > 0)
        .await;
    let TestHub { folder, hub, .. } = hub;
    hub.stop().await;
    edge.wait_ended().await;
    let taken = memory.count();
    assert!(taken < (SECONDS * EACH_SECOND) as usize, "some are left");

    memory.mood.send_replace(Mood::IsFull);
    let hub = TestHub::start_with(folder, memory.clone()).await;
    let store = Arc::clone(&edge.store);
    let edge = Edge::connect_with(hub.link(), "edge-1", &hub.credentials("edge-1"), store);
    edge.wait("all samples are taken", |store| store.telemetry.is_empty())
        .await;
    let values: Vec<_> = {
        let held = memory.held.lock().unwrap();
        held.1.iter().map(|sample| sample.value.clone()).collect()
    };
    let expected = (0..SECONDS * EACH_SECOND).map(|n| Some(Value::Int(n)));
    assert!(values.into_iter().eq(expected), "each once, in order");
    let metrics = hub.metrics().await;
    let left = (SECONDS * EACH_SECOND) as usize - taken;
    assert!(
        metrics.contains(&format!("longshore_hub_samples_total {left}\n")),
        "{metrics}"
    );
    assert!(
        metrics.contains("longshore_hub_samples_retries_total 1\n"),
        "{metrics}"
    );
    hub.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_wants_samples_they_are_counted() {
    let hub = TestHub::start().await;
    hub.create(device("boiler", "boiler", "edge-1")).await;
    let object = hub.get("Device", "boiler").await.unwrap();
    let uid = object["metadata"]["uid"].as_str().unwrap();
    let edge = hub.edge("edge-1");
    edge.sample(&samples("boiler", uid, 0));
    edge.sample(&samples("boiler", "another", 1));
    edge.sample(&reading("boiler", uid, 1.0));
    edge.wait("all is taken", |store| store.telemetry.is_empty())
        .await;
    let metrics = hub.metrics().await;
    for line in [
        "samples_total 10",
        "records_dropped_total 1",
        "records_unknown_total 1",
    ] {
        assert!(
            metrics.contains(&format!("longshore_hub_{line}\n")),
            "{line}: {metrics}"
        );
    }
    hub.hub.stop().await;
}

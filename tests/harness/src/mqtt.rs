//! A client on the bus that remembers what it heard.

mod raw;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::Value as Json;
use tokio::sync::Notify;

pub use self::raw::Raw;
use crate::wait::eventually;

/// Topic and payload.
type Message = (String, Vec<u8>);

/// A subscriber.
pub struct Subscriber {
    client: AsyncClient,
    heard: Arc<Mutex<Vec<Message>>>,
    news: Arc<Notify>,
    acknowledged: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

/// Subscribes, and returns once the broker has granted it.
pub async fn subscribe(port: u16, filter: &str) -> Subscriber {
    let name = format!("test-{}-{}", std::process::id(), rand());
    start(MqttOptions::new(name, "127.0.0.1", port), filter).await
}

/// The same, by a client whose session the broker keeps while it is away.
pub async fn subscribe_as(port: u16, name: &str, filter: &str) -> Subscriber {
    let mut options = MqttOptions::new(name, "127.0.0.1", port);
    options.set_clean_session(false);
    start(options, filter).await
}

async fn start(mut options: MqttOptions, filter: &str) -> Subscriber {
    options
        .set_keep_alive(Duration::from_secs(30))
        .set_max_packet_size(16 << 20, 16 << 20);
    let (client, mut events) = AsyncClient::new(options, 64);
    client
        .subscribe(filter, QoS::AtLeastOnce)
        .await
        .expect("the client's queue has room");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (granted, wait) = tokio::sync::oneshot::channel();
    let remember = heard.clone();
    let news = Arc::new(Notify::new());
    let tell = news.clone();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let count = acknowledged.clone();
    let task = tokio::spawn(async move {
        let mut granted = Some(granted);
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::SubAck(_))) => {
                    granted.take().map(|granted| granted.send(()));
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    remember
                        .lock()
                        .expect("no panic")
                        .push((publish.topic, publish.payload.to_vec()));
                    tell.notify_one();
                }
                Ok(Event::Incoming(Packet::PubAck(_))) => {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                Ok(_) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    tokio::time::timeout(crate::wait::PATIENCE, wait)
        .await
        .expect("the broker grants")
        .expect("the client runs");
    Subscriber {
        client,
        heard,
        news,
        acknowledged,
        task,
    }
}

fn rand() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Subscriber {
    /// Everything heard so far.
    pub fn heard(&self) -> Vec<(String, Json)> {
        let heard = self.heard.lock().expect("no panic");
        heard
            .iter()
            .map(|(topic, payload)| {
                (
                    topic.clone(),
                    serde_json::from_slice(payload).unwrap_or_default(),
                )
            })
            .collect()
    }

    /// Waits for a message.
    pub async fn hear(&self, what: &str, good: impl Fn(&str, &Json) -> bool) -> Json {
        eventually(what, || async {
            let heard = self.heard();
            let found = heard.iter().find(|(topic, payload)| good(topic, payload));
            found
                .map(|(_, payload)| payload.clone())
                .ok_or_else(|| format!("{:?}", heard.last()))
        })
        .await
    }

    /// The same, and not a moment after it came: for who does something then.
    pub async fn hear_at_once(&self, what: &str, good: impl Fn(&str, &Json) -> bool) -> Json {
        let hear = async {
            loop {
                let heard = self.heard();
                let found = heard.iter().find(|(topic, payload)| good(topic, payload));
                if let Some((_, payload)) = found {
                    return payload.clone();
                }
                self.news.notified().await;
            }
        };
        let heard = tokio::time::timeout(crate::wait::PATIENCE, hear).await;
        heard.unwrap_or_else(|_| panic!("waited for {what}: {:?}", self.heard().last()))
    }

    /// Publishes with QoS 1.
    pub async fn publish(&self, topic: &str, payload: Json) {
        self.client
            .publish(topic, QoS::AtLeastOnce, false, payload.to_string())
            .await
            .expect("the client runs");
    }

    /// The same, and waits until the broker has answered for it. One at a time.
    pub async fn publish_and_wait(&self, topic: &str, payload: Json) {
        let before = self.acknowledged.load(Ordering::SeqCst);
        self.publish(topic, payload).await;
        eventually("the acknowledgement", || async {
            let now = self.acknowledged.load(Ordering::SeqCst);
            (now > before)
                .then_some(())
                .ok_or_else(|| format!("{now} acknowledged"))
        })
        .await;
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

//! The broker inside of this process (mqtt5; see docs/dependencies.md for why).

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use longshore_process::{Loss, Stage, Stop, Tasks};
use longshore_types::NodeName;
use mqtt5::{
    QoS,
    broker::{
        BrokerConfig, BrokerEventHandler, MqttBroker, PublishAction,
        events::{
            ClientConnectEvent, ClientDisconnectEvent, ClientPublishEvent, ClientSubscribeEvent,
            ClientUnsubscribeEvent,
        },
    },
    packet::publish::PublishPacket,
};
use tokio::sync::watch;

use super::{
    BusCounters, BusError, access::Access, outgoing::Queue, requests::Incoming,
    subscriptions::Subscriptions,
};
use crate::config::EmbeddedOptions;

/// Largest packet that a client may send: room for a file, not for filling the memory.
const MAX_PACKET: usize = 1024 * 1024;
/// Messages that wait for one client in memory. A slower client loses QoS 0
/// messages; QoS 1 and 2 go to its queue on the disk.
const CLIENT_QUEUE: usize = 256;
/// Messages that are routed before the clients' tasks have a turn to send
/// them: well below what waits for one client.
const TURN: usize = CLIENT_QUEUE / 4;
/// What the queue on the disk of one client that is away may hold.
const AWAY_MESSAGES: usize = 20_000;
const AWAY_BYTES: usize = 16 * 1024 * 1024;
/// A session that nobody came back for is forgotten after a week.
const SESSION_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Connections at once.
const MAX_CLIENTS: usize = 256;

pub(super) struct Started {
    pub(super) address: SocketAddr,
    pub(super) subscriptions: Arc<Subscriptions>,
    pub(super) state: watch::Receiver<Result<(), String>>,
}

pub(super) async fn build(
    options: EmbeddedOptions,
    node: NodeName,
    queue: Queue,
    incoming: Incoming,
    counters: Arc<BusCounters>,
    tasks: &mut Tasks,
) -> Result<Started, BusError> {
    // The broker reports a taken port as text only; this tells which it is.
    drop(
        std::net::TcpListener::bind(options.listen).map_err(|source| BusError::Listen {
            address: options.listen,
            source,
        })?,
    );
    let subscriptions = Arc::new(Subscriptions::default());
    let mut config = BrokerConfig {
        bind_addresses: vec![options.listen],
        max_clients: MAX_CLIENTS,
        max_packet_size: MAX_PACKET,
        client_channel_capacity: CLIENT_QUEUE,
        session_expiry_interval: SESSION_EXPIRY,
        sys_topics_enabled: false,
        event_handler: Some(Arc::new(Events {
            subscriptions: subscriptions.clone(),
            incoming,
        })),
        ..BrokerConfig::default()
    };
    config.storage_config.base_dir = options.state_dir.clone();
    config.storage_config.max_queued_messages_per_client = AWAY_MESSAGES;
    config.storage_config.max_queued_bytes_per_client = AWAY_BYTES;
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| BusError::Start {
        state_dir: options.state_dir.clone(),
        source,
    };
    let broker = MqttBroker::with_config(config)
        .await
        .map_err(|source| failed(source.into()))?
        .with_auth_provider(Arc::new(Access {
            users: options.users,
        }));
    let address = broker
        .local_addr()
        .ok_or_else(|| failed("it has no address".into()))?;
    let router = broker.router();
    let (running, state) = watch::channel(Err("the embedded MQTT broker starts".to_owned()));
    tasks.add("mqtt broker", Stage::Links, Loss::IsFault, |stop| {
        serve(broker, running, stop)
    });
    // It holds the broker's storage, and with it the folder's lock, so it ends too.
    tasks.add("mqtt messages", Stage::Links, Loss::IsFault, |stop| {
        stop.cut(pump(queue, router, node, counters))
    });
    Ok(Started {
        address,
        subscriptions,
        state,
    })
}

/// Runs the broker until the end is asked for; sessions and retained messages are
/// kept.
async fn serve(
    mut broker: MqttBroker,
    running: watch::Sender<Result<(), String>>,
    mut stop: Stop,
) -> mqtt5::Result<()> {
    let handle = broker.shutdown_handle();
    let mut ready = broker.ready_receiver();
    let ask = async {
        if ready.wait_for(|ready| *ready).await.is_ok() {
            let _ = running.send_replace(Ok(()));
        }
        stop.asked().await;
        handle.shutdown();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = broker.run() => ended,
        () = ask => Ok(()),
    }
}

/// Brings messages to the broker, in order.
async fn pump(
    mut queue: Queue,
    router: Arc<mqtt5::broker::router::MessageRouter>,
    node: NodeName,
    counters: Arc<BusCounters>,
) {
    let mut routed = 0_usize;
    while let Some(message) = queue.recv().await {
        for packet in message.packets(&node, longshore_process::clock::now_ms()) {
            let qos = if packet.at_least_once {
                QoS::AtLeastOnce
            } else {
                QoS::AtMostOnce
            };
            let retain = packet.retain;
            let publish = PublishPacket::new(packet.topic, packet.payload, qos).with_retain(retain);
            router.route_message(&publish, None).await;
            counters.published.fetch_add(1, Ordering::Relaxed);
            routed += 1;
            if routed.is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// What the broker tells.
struct Events {
    subscriptions: Arc<Subscriptions>,
    incoming: Incoming,
}

type Done<'a, T = ()> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

fn done<'a, T: Send + 'a>(value: T) -> Done<'a, T> {
    Box::pin(std::future::ready(value))
}

impl BrokerEventHandler for Events {
    fn on_client_connect<'a>(&'a self, event: ClientConnectEvent) -> Done<'a> {
        let clean = event.clean_start && event.session_expiry_interval == 0;
        self.subscriptions.connected(&event.client_id, clean);
        done(())
    }

    fn on_client_subscribe<'a>(&'a self, event: ClientSubscribeEvent) -> Done<'a> {
        self.subscriptions.subscribed(
            &event.client_id,
            event.subscriptions.iter().map(|s| &*s.topic_filter),
        );
        done(())
    }

    fn on_client_unsubscribe<'a>(&'a self, event: ClientUnsubscribeEvent) -> Done<'a> {
        self.subscriptions.unsubscribed(
            &event.client_id,
            event.topic_filters.iter().map(|filter| &**filter),
        );
        done(())
    }

    fn on_client_publish<'a>(&'a self, event: ClientPublishEvent) -> Done<'a, PublishAction> {
        self.incoming.offer(&event.topic, &event.payload);
        done(PublishAction::Continue)
    }

    fn on_client_disconnect<'a>(&'a self, event: ClientDisconnectEvent) -> Done<'a> {
        self.subscriptions.disconnected(&event.client_id);
        done(())
    }
}

//! The connection to a broker outside, such as mosquitto (rumqttc).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use longshore_process::{Group, Loss, Stage, Tasks, chain};
use longshore_types::{NodeName, backoff::Backoff};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions,
    Packet as Mqtt, QoS, SubscribeFilter, SubscribeReasonCode, TlsConfiguration, Transport,
};
use tokio::sync::watch;

use super::{BusCounters, BusError, kubeedge, outgoing::Queue, requests::Incoming};
use crate::config::ExternalOptions;

/// rumqttc's own limit of 10 kB would lose each batch of a large device.
const MAX_PACKET: usize = 16 * 1024 * 1024;
/// Messages between the queue and the socket.
const CLIENT_QUEUE: usize = 64;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Pauses between two attempts to connect: doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// A connection that breaks sooner did not prove anything: two clients with
/// one id throw each other out for ever, and must not do it at full speed.
const PROVEN: Duration = Duration::from_secs(10);

pub(super) struct Started {
    pub(super) state: watch::Receiver<Result<(), String>>,
}

pub(super) fn build(
    options: ExternalOptions,
    node: NodeName,
    queue: Queue,
    incoming: Incoming,
    counters: Arc<BusCounters>,
    tasks: &mut Tasks,
) -> Result<Started, BusError> {
    let mut mqtt = MqttOptions::new(
        format!("longshore-{node}"),
        options.host.clone(),
        options.port,
    );
    mqtt.set_keep_alive(KEEP_ALIVE)
        .set_max_packet_size(MAX_PACKET, MAX_PACKET)
        .set_clean_session(true);
    if let Some((user, password)) = &options.credentials {
        mqtt.set_credentials(user.clone(), password.clone());
    }
    if let Some(tls) = options.tls {
        mqtt.set_transport(Transport::Tls(TlsConfiguration::Simple {
            ca: tls.ca,
            alpn: None,
            client_auth: tls.identity,
        }));
    }
    let (client, mut events) = AsyncClient::new(mqtt, CLIENT_QUEUE);
    // Without, an answer waits up to 40 ms for the broker to acknowledge what was
    // written before it.
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    let broker = format!("{}:{}", options.host, options.port);
    let (state, receiver) = watch::channel(Err(format!("connecting to the MQTT broker {broker}")));
    let connected = Arc::new(AtomicBool::new(false));
    let connection = Connection {
        client: client.clone(),
        user: options.credentials.map(|(user, _)| user),
        state,
        connected: connected.clone(),
        broker,
        subscribing: Group::new("mqtt subscription", 1),
    };
    tasks.add("mqtt connection", Stage::Links, Loss::IsFault, |stop| {
        stop.cut(connection.listen(events, incoming))
    });
    tasks.add("mqtt messages", Stage::Links, Loss::IsFault, |stop| {
        stop.cut(pump(queue, client, node, counters, connected))
    });
    Ok(Started { state: receiver })
}

/// The connection, seen from this side.
struct Connection {
    client: AsyncClient,
    user: Option<String>,
    state: watch::Sender<Result<(), String>>,
    connected: Arc<AtomicBool>,
    broker: String,
    /// Waits for room in the client's queue.
    subscribing: Group,
}

impl Connection {
    /// Drives the connection for ever; subscribes anew after each connect.
    async fn listen(mut self, mut events: EventLoop, incoming: Incoming) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
        let mut since = None;
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Mqtt::ConnAck(_))) => {
                    since = Some(Instant::now());
                    self.connected.store(true, Ordering::Relaxed);
                    tracing::info!(broker = self.broker, "connected to the MQTT broker");
                    self.subscribe();
                }
                Ok(Event::Incoming(Mqtt::SubAck(answer))) => self.subscribed(&answer.return_codes),
                Ok(Event::Incoming(Mqtt::Publish(publish))) => {
                    incoming.offer(&publish.topic, &publish.payload)
                }
                Ok(_) => {}
                Err(error) => {
                    self.connected.store(false, Ordering::Relaxed);
                    self.broken(&error);
                    if since.take().is_some_and(|since| since.elapsed() >= PROVEN) {
                        backoff.reset();
                    }
                    tokio::time::sleep(backoff.next(fastrand::f64())).await;
                }
            }
        }
    }

    fn subscribe(&mut self) {
        let filters = || {
            let filters = kubeedge::REQUEST_FILTERS.into_iter();
            filters.map(|filter| SubscribeFilter::new(filter.to_owned(), QoS::AtLeastOnce))
        };
        // The queue of the client is empty now or soon: the caller drains it.
        if self.client.try_subscribe_many(filters()).is_err() {
            let client = self.client.clone();
            let filters: Vec<_> = filters().collect();
            // One that waits already does the same.
            self.subscribing.spawn(async move {
                // An error means that the connection broke, which is told where
                // it is driven.
                let _ = client.subscribe_many(filters).await;
            });
        }
    }

    /// The broker answers to all filters at once, in their order.
    fn subscribed(&self, codes: &[SubscribeReasonCode]) {
        let refused: Vec<_> = kubeedge::REQUEST_FILTERS
            .into_iter()
            .zip(codes)
            .filter(|(_, code)| **code == SubscribeReasonCode::Failure)
            .map(|(filter, _)| filter)
            .collect();
        if refused.is_empty() {
            let _ = self.state.send_replace(Ok(()));
            return;
        }
        let filters = refused.join(", ");
        tracing::warn!(
            broker = self.broker,
            filters,
            "the MQTT broker refuses a subscription"
        );
        let reason = format!("the broker refuses the subscription to {filters}");
        let _ = self.state.send_replace(Err(reason));
    }

    fn broken(&self, error: &ConnectionError) {
        let reason = self.explain(error);
        if self.state.send_if_modified(|known| {
            let changed = known.as_ref().err() != Some(&reason);
            *known = Err(reason.clone());
            changed
        }) {
            tracing::warn!(reason, "the MQTT broker is away, dialling again");
        }
    }

    fn explain(&self, error: &ConnectionError) -> String {
        use ConnectReturnCode::{BadUserNamePassword, NotAuthorized};
        let broker = &self.broker;
        match (error, &self.user) {
            (
                ConnectionError::ConnectionRefused(BadUserNamePassword | NotAuthorized),
                Some(user),
            ) => format!(
                "the MQTT broker {broker} refuses user {user:?}: check bus.external.user and passwordFile"
            ),
            (ConnectionError::ConnectionRefused(BadUserNamePassword | NotAuthorized), None) => {
                format!(
                    "the MQTT broker {broker} wants a user: set bus.external.user and passwordFile"
                )
            }
            _ => format!("MQTT broker {broker}: {}", chain(error)),
        }
    }
}

/// Brings messages to the client while the broker is there; drops them while
/// it is away, since old documents are worth less than the next ones.
async fn pump(
    mut queue: Queue,
    client: AsyncClient,
    node: NodeName,
    counters: Arc<BusCounters>,
    connected: Arc<AtomicBool>,
) {
    while let Some(message) = queue.recv().await {
        if !connected.load(Ordering::Relaxed) {
            counters.dropped.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        for packet in message.packets(&node, longshore_process::clock::now_ms()) {
            let qos = if packet.at_least_once {
                QoS::AtLeastOnce
            } else {
                QoS::AtMostOnce
            };
            let counter = match client
                .publish_bytes(&*packet.topic, qos, packet.retain, packet.payload)
                .await
            {
                Ok(()) => &counters.published,
                Err(_) => &counters.dropped,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

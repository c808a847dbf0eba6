//! The connection to a broker outside, such as mosquitto (rumqttc).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use longshore_types::NodeName;
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Packet as Mqtt, QoS, TlsConfiguration, Transport,
};
use tokio::sync::watch;

use super::{
    BusCounters, BusError, ExternalOptions, kubeedge, outgoing::Queue, requests::Incoming,
};

/// rumqttc's own limit of 10 kB would lose each batch of a large device.
const MAX_PACKET: usize = 16 * 1024 * 1024;
/// Messages between the queue and the socket.
const CLIENT_QUEUE: usize = 64;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Pauses between two attempts to connect: doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(30);

pub(super) struct Started {
    pub(super) state: watch::Receiver<Result<(), String>>,
}

pub(super) fn start(
    options: ExternalOptions,
    node: NodeName,
    queue: Queue,
    incoming: Incoming,
    counters: Arc<BusCounters>,
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
    let (client, events) = AsyncClient::new(mqtt, CLIENT_QUEUE);
    let broker = format!("{}:{}", options.host, options.port);
    let (state, receiver) = watch::channel(Err(format!("connecting to the MQTT broker {broker}")));
    tokio::spawn(listen(client.clone(), events, incoming, state, broker));
    tokio::spawn(pump(queue, client, node, counters, receiver.clone()));
    Ok(Started { state: receiver })
}

/// Drives the connection for ever; subscribes anew after each connect.
async fn listen(
    client: AsyncClient,
    mut events: EventLoop,
    incoming: Incoming,
    state: watch::Sender<Result<(), String>>,
    broker: String,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Mqtt::ConnAck(_))) => {
                pause = FIRST_PAUSE;
                tracing::info!(broker, "connected to the MQTT broker");
                // The queue of the client is empty now or soon: the loop below drains it.
                for filter in kubeedge::REQUEST_FILTERS {
                    if client.try_subscribe(filter, QoS::AtLeastOnce).is_err() {
                        let client = client.clone();
                        tokio::spawn(
                            async move { client.subscribe(filter, QoS::AtLeastOnce).await },
                        );
                    }
                }
                let _ = state.send_replace(Ok(()));
            }
            Ok(Event::Incoming(Mqtt::Publish(publish))) => {
                incoming.offer(&publish.topic, &publish.payload)
            }
            Ok(_) => {}
            Err(error) => {
                let reason = format!("MQTT broker {broker}: {}", chain(&error));
                if state.send_if_modified(|known| {
                    let changed = known.as_ref().err() != Some(&reason);
                    *known = Err(reason.clone());
                    changed
                }) {
                    tracing::warn!(broker, %error, "the MQTT broker is away, dialling again");
                }
                tokio::time::sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
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
    state: watch::Receiver<Result<(), String>>,
) {
    while let Some(message) = queue.recv().await {
        if state.borrow().is_err() {
            counters.dropped.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        for packet in message.packets(&node, crate::clock::now_ms()) {
            let qos = if packet.at_least_once {
                QoS::AtLeastOnce
            } else {
                QoS::AtMostOnce
            };
            let counter = match client
                .publish_bytes(packet.topic, qos, false, packet.payload)
                .await
            {
                Ok(()) => &counters.published,
                Err(_) => &counters.dropped,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

//! The broker inside of this process (`longshore_broker`).

use std::sync::{Arc, atomic::Ordering};

use longshore_broker::{
    Broker, Options, Own,
    codec::{Content, QoS},
};
use longshore_process::{Loss, Stage, Tasks};
use longshore_types::NodeName;

use super::{BusCounters, BusError, access::Edge, outgoing::Queue, requests::Incoming};
use crate::config::EmbeddedOptions;

/// Messages that are routed before the clients' tasks have a turn to send them.
const TURN: usize = 64;

pub(super) async fn build(
    options: EmbeddedOptions,
    node: NodeName,
    queue: Queue,
    incoming: Incoming,
    counters: Arc<BusCounters>,
    tasks: &mut Tasks,
) -> Result<Broker, BusError> {
    let EmbeddedOptions {
        listen,
        state_dir,
        users,
        limits,
    } = options;
    let edge = Arc::new(Edge { users, incoming });
    let options = Options {
        listen,
        folder: state_dir,
        limits,
    };
    let (broker, server, keeper) = Broker::open(options, edge)
        .await
        .map_err(BusError::Broker)?;
    tasks.add("mqtt broker", Stage::Links, Loss::IsFault, |stop| {
        server.run(stop)
    });
    // Behind all who publish, so that it keeps what they said last.
    tasks.add("mqtt store", Stage::Stores, Loss::IsFault, |stop| {
        keeper.run(stop)
    });
    let publisher = broker.clone();
    tasks.add("mqtt messages", Stage::Links, Loss::IsFault, |stop| {
        stop.cut(pump(queue, publisher, node, counters))
    });
    Ok(broker)
}

/// Brings messages to the broker, in order.
async fn pump(mut queue: Queue, broker: Broker, node: NodeName, counters: Arc<BusCounters>) {
    let mut routed = 0_usize;
    while let Some(message) = queue.recv().await {
        for packet in message.packets(&node, longshore_process::clock::now_ms()) {
            let taken = broker.publish(Own {
                content: Content::new(packet.topic, packet.payload),
                qos: match packet.at_least_once {
                    true => QoS::AtLeastOnce,
                    false => QoS::AtMostOnce,
                },
                retain: packet.retain,
            });
            let counter = match taken {
                true => &counters.published,
                false => &counters.dropped,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            routed += 1;
            if routed.is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
        }
    }
}

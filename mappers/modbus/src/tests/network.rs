//! Foreign servers behind a bad network.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use longshore_sdk::{SampleValue, Status};
use longshore_sim_relay::{Relay, Trouble};
use serde_json::json;

use super::{
    peers::{libmodbus, pymodbus},
    rig::Rig,
};

/// What the network does, and whether the device is offline by that.
const TROUBLES: [(Trouble, bool); 6] = [
    (Trouble::Delay(Duration::from_millis(20)), false),
    // 12 bytes there and 11 back in 80 ms.
    (Trouble::Slow(300), false),
    (Trouble::DropAnswers, true),
    (Trouble::HalfOpen, true),
    // The transaction id: no answer to this request.
    (Trouble::FlipBit { offset: 0, bit: 7 }, true),
    (Trouble::Reset, true),
];

async fn a_bad_network_is_got_over(port: u16) {
    let relay = Relay::to(SocketAddr::from(([127, 0, 0, 1], port))).await;
    let rig = Rig::new();
    let protocol = json!({"url": format!("tcp://{}", relay.addr()), "timeoutMs": 300});
    rig.configure(1, &protocol, 40, &[(1, "INT", json!({"address": "hr:0"}))]);
    rig.wait_samples(1, 3);
    for (trouble, is_outage) in TROUBLES {
        relay.make(trouble);
        if is_outage {
            rig.wait_online(1, false);
        } else {
            rig.wait_samples(1, 3);
        }
        relay.clear();
        // A write goes the same way, and brings the next try forward.
        rig.wait(&format!("the device after {trouble:?}"), |record| {
            record.online.get(&1).is_some_and(|(online, _)| *online)
        });
        rig.wait_samples(1, 3);
        let written = rig.write(1, 1, SampleValue::Int(215));
        assert_eq!(
            written.status,
            Status::Ok,
            "after {trouble:?}: {}",
            written.message
        );
    }
    // Nothing else than what the server holds was ever taken for its value.
    let values = rig.look(|record| record.history[&1].clone());
    assert_eq!(values, BTreeSet::from(["Int(215)".to_owned()]));
    rig.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pymodbus_behind_a_bad_network() {
    let (_server, port) = pymodbus(&["tcp"]);
    a_bad_network_is_got_over(port).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn libmodbus_behind_a_bad_network() {
    let (_server, port, _folder) = libmodbus(&["tcp"]);
    a_bad_network_is_got_over(port).await;
}

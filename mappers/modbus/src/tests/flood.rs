//! A server that babbles without end, and what it may cost the others.

use longshore_sdk::testing::Flood;
use serde_json::json;

use super::rig::{Rig, simulator};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_babbling_server_costs_its_neighbours_nothing() {
    let flood = Flood::of(b"\x00\xFFzz");
    let plc = simulator().start().await;
    let point = |id: u32| [(id, "INT", json!({"address": "hr:0"}))];
    let rig = Rig::new();
    let babbler = json!({"url": format!("rtu+tcp://{}", flood.address()), "timeoutMs": 3000});
    rig.configure(1, &babbler, 40, &point(1));
    let other = json!({"url": format!("tcp://{}", plc.addr())});
    rig.configure(2, &other, 40, &point(2));
    rig.wait_samples(2, 3);
    rig.wait("the babble to be told", |record| {
        let state = record.online.get(&1);
        state.is_some_and(|(online, message)| {
            !online
                && message.contains("the line does not stop talking: ")
                && message.contains("that belong to no message")
        })
    });
    rig.wait_samples(2, 20);
    rig.look(|record| {
        assert!(
            !record.counts.contains_key(&1),
            "nothing of it was taken for a value"
        );
        assert!(
            record.bad.iter().all(|(point, ..)| *point == 1),
            "{:?}",
            record.bad
        );
        assert!(record.online[&2].0);
    });
    rig.stop();
}

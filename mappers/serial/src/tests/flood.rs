//! A server that babbles without end, and what it may cost the others.

use longshore_sdk::testing::Flood;
use serde_json::json;

use super::{rig::Rig, whole::over_tcp};

const ONE: &str = "
world: {signals: {b: {setpoint: {initial: 222}}}}
units: [{unit: 1, answers: [{request: 'B?', response: '{b}'}]}]
";

async fn a_flood_of(message: &'static [u8]) {
    let flood = Flood::of(message);
    let (_simulator, protocol) = over_tcp(ONE).await;
    let point = |id: u32, request: &str| {
        let config = json!({"request": request, "response": "{value:int}", "set": "X{value}"});
        [(id, "INT", config)]
    };
    let rig = Rig::new();
    let babbler = json!({"url": format!("tcp://{}", flood.address()), "timeout": 3000});
    rig.configure(1, &babbler, 40, &point(1, "A?\r\n"));
    rig.configure(2, &protocol, 40, &point(2, "B?\r\n"));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_babbling_server_costs_its_neighbours_nothing() {
    a_flood_of(b"\x00\xFFzz").await;
}

/// Each line of it is a message, though nobody asked for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_sends_lines_without_end_costs_its_neighbours_nothing() {
    a_flood_of(b"hello, hello\r\n").await;
}

/// A device that talks by itself, and too much: it is lost, the others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_babbling_talker_is_lost_in_time() {
    let flood = Flood::of(b"\x00\xFFzz");
    let (_simulator, protocol) = over_tcp(ONE).await;
    let rig = Rig::new();
    let babbler = json!({"url": format!("tcp://{}", flood.address()), "stream": true, "silentAfter": "300ms"});
    let talks = json!({"response": "T={value:int}", "set": "X{value}"});
    rig.configure(1, &babbler, 0, &[(1, "INT", talks)]);
    let asked = json!({"request": "B?\r\n", "response": "{value:int}", "set": "X{value}"});
    rig.configure(2, &protocol, 40, &[(2, "INT", asked)]);
    rig.wait_online(1, false);
    rig.wait_samples(2, 20);
    rig.stop();
}

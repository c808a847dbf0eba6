//! A desired value is a state, a command happens once: counted where the wire ends.

use longshore_harness::prelude::*;

const UPDATE: &str = "$hw/events/device/default/motor/twin/update";

/// `start` is a command, `speed` a state.
fn motor(plc: &Simulator) -> DeviceManifest {
    device("motor")
        .unit(plc, 1)
        .model_config(
            json!({"methods": [{"name": "jog", "steps": [{"write": "start", "value": 7}]}]}),
        )
        .read_write(
            "start",
            "INT",
            json!({"address": "hr:0", "write": {"command": true}}),
        )
        .read_write("speed", "INT", json!({"address": "hr:1"}))
}

/// Single registers that were written.
fn writes(plc: &Simulator) -> u64 {
    plc.counters().unit(1).function(6).requests()
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_and_restarts_bring_no_command_and_no_confirmed_state_back() {
    let plc = modbus()
        .unit(1)
        .register(40_001, 0)
        .register(40_002, 0)
        .start()
        .await;
    let mut edge = edge().device(&motor(&plc)).run().await;
    edge.twin_is("motor", "speed", json!(0)).await;
    let bus = subscribe(edge.bus_port(), "longshore/default/motor/#").await;
    bus.publish(
        UPDATE,
        json!({"twin": {"speed": {"expected": {"value": "55"}}}}),
    )
    .await;
    edge.write_is("motor", "speed", "confirmed").await;
    bus.publish(
        UPDATE,
        json!({"twin": {"start": {"expected": {"value": "1"}}}}),
    )
    .await;
    edge.write_is("motor", "start", "confirmed").await;
    bus.publish("longshore/default/motor/call/jog", json!({"id": 1}))
        .await;
    let answer = bus
        .hear("the end of the call", |topic, _| topic.ends_with("/result"))
        .await;
    assert_eq!(answer["outcome"], "done", "{answer}");
    edge.twin_is("motor", "start", json!(7)).await;
    assert_eq!(writes(&plc), 3);

    // It cleared its register, and somebody turned the knob.
    plc.set_holding(1, 0, 0);
    plc.set_holding(1, 1, 60);
    edge.twin_is("motor", "speed", json!(60)).await;
    plc.fault(Fault::Unresponsive);
    let bad = |twin: &Json| twin["quality"] == "bad";
    edge.twin_where("to be bad", "motor", "speed", bad).await;
    plc.clear_faults();
    let good = |twin: &Json| twin["quality"] == "good" && twin["value"] == json!(60);
    edge.twin_where("to be back", "motor", "speed", good).await;
    edge.kill_mapper().await;
    plc.set_holding(1, 1, 61);
    edge.twin_is("motor", "speed", json!(61)).await;
    edge.kill_and_restart().await;
    plc.set_holding(1, 1, 62);
    edge.twin_is("motor", "speed", json!(62)).await;

    // What comes next is the first thing that goes out.
    let bus = subscribe(edge.bus_port(), "longshore/default/motor/#").await;
    bus.publish(
        UPDATE,
        json!({"twin": {"speed": {"expected": {"value": "70"}}}}),
    )
    .await;
    let new = |twin: &Json| twin["value"] == json!(70) && twin["write"]["state"] == "confirmed";
    edge.twin_where("to have the new one", "motor", "speed", new)
        .await;
    assert_eq!(writes(&plc), 4);
    assert_eq!(plc.holding(1, 0), 0, "it was not started again");
}

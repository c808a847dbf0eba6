//! Devices, mappers and the edge itself fail; what does not fail goes on.

use longshore_harness::prelude::*;

fn two_units(plc: &Simulator) -> (DeviceManifest, DeviceManifest) {
    let value = |name: &str, unit| {
        device(name).unit(plc, unit).read_write(
            "value",
            "INT",
            json!({"address": "hr:0", "staleAfter": "2s"}),
        )
    };
    (value("good", 1), value("bad", 2))
}

async fn plc() -> Simulator {
    modbus()
        .unit(1)
        .register(40_001, 1)
        .unit(2)
        .register(40_001, 2)
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_unit_is_offline_alone_and_comes_back() {
    let plc = plc().await;
    let (good, bad) = two_units(&plc);
    let edge = edge().device(&good).device(&bad).run().await;
    edge.twin_is("bad", "value", json!(2)).await;

    plc.fault(silent_unit(2));
    edge.twin_where("to be bad", "bad", "value", |twin| twin["quality"] == "bad")
        .await;
    plc.set_holding(1, 0, 11);
    edge.twin_is("good", "value", json!(11)).await;

    plc.clear_faults();
    plc.set_holding(2, 0, 22);
    edge.twin_is("bad", "value", json!(22)).await;
}

fn silent_unit(unit: u8) -> longshore_harness::FaultRule {
    longshore_harness::FaultRule::from(Fault::Unresponsive).on_unit(unit)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_fails_with_the_reason_and_is_not_tried_for_ever() {
    let plc = plc().await;
    let (good, _) = two_units(&plc);
    let edge = edge().device(&good).run().await;
    edge.twin_is("good", "value", json!(1)).await;
    plc.fault(Fault::Exception(4));
    edge.put_manifest("good", &good.desired("value", "5").yaml());
    let twin = edge.write_is("good", "value", "failed").await;
    assert!(
        twin.to_string().to_lowercase().contains("device failure")
            || twin.to_string().contains('4'),
        "{twin}"
    );
    plc.clear_faults();
    edge.twin_is("good", "value", json!(1)).await;
    assert_eq!(plc.holding(1, 0), 1, "the register stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_mapper_is_back_and_nothing_is_lost() {
    let plc = plc().await;
    let (good, _) = two_units(&plc);
    let edge = edge().device(&good).run().await;
    edge.twin_is("good", "value", json!(1)).await;
    let pid = edge.mapper_pid().await;

    edge.kill_mapper().await;
    plc.set_holding(1, 0, 7);
    edge.twin_is("good", "value", json!(7)).await;
    assert_ne!(edge.mapper_pid().await, pid);
    edge.put_manifest("good", &good.desired("value", "9").yaml());
    plc.wait_holding(1, 0, 9).await;
    edge.nothing_dangles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_edge_comes_back_with_what_it_knew() {
    let plc = plc().await;
    let (good, _) = two_units(&plc);
    let mut edge = edge()
        .device(&good.clone().desired("value", "5"))
        .run()
        .await;
    edge.write_is("good", "value", "confirmed").await;
    edge.kill_and_restart().await;
    edge.twin_is("good", "value", json!(5)).await;
    edge.write_is("good", "value", "confirmed").await;

    let writes = plc.writes().len();
    assert!(edge.process().terminate().await.success());
    edge.start_again().await;
    edge.twin_is("good", "value", json!(5)).await;
    edge.write_is("good", "value", "confirmed").await;
    assert_eq!(
        plc.writes().len(),
        writes,
        "a confirmed value is not written again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edge_ends_in_good_order() {
    let plc = plc().await;
    let (good, _) = two_units(&plc);
    let mut edge = edge().device(&good).run().await;
    edge.twin_is("good", "value", json!(1)).await;
    assert!(edge.process().terminate().await.success());
}

//! What goes wrong on real lines, and what it may cost.

use std::time::Duration;

use longshore_sdk::{CommandKind, Reason, SampleValue, Status, testing::ports};
use longshore_sim_modbus::{Fault, FaultRule, Simulator, modbus};
use serde_json::{Value, json};

use super::rig::{Rig, simulator};

fn url(plc: &Simulator) -> String {
    format!("tcp://{}", plc.addr())
}

/// One point, `hr:0`.
fn one(id: u32) -> Vec<(u32, &'static str, Value)> {
    vec![(id, "INT", json!({"address": "hr:0"}))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_unit_costs_its_neighbour_nothing() {
    let plc = simulator().start().await;
    let protocol = |unit: u8| json!({"url": url(&plc), "unit": unit, "timeoutMs": 200});
    let rig = Rig::new();
    rig.configure(1, &protocol(1), 50, &one(1));
    rig.configure(2, &protocol(2), 50, &one(2));
    rig.wait_online(1, true);
    rig.wait_online(2, true);
    plc.fault(FaultRule::from(Fault::Unresponsive).on_unit(2));
    rig.wait_online(2, false);
    rig.wait_samples(1, 20);
    rig.look(|record| {
        assert_eq!(record.bad.len(), 1, "{:?}", record.bad);
        assert_eq!(
            (record.bad[0].0, record.bad[0].1),
            (2, Some(Reason::Timeout))
        );
        assert!(record.online[&1].0, "unit 1 never went away");
        assert_eq!(record.outages, 1);
    });
    plc.clear_faults();
    rig.wait_online(2, true);
    rig.wait_samples(2, 3);
}

/// Two registers with different values that no request covers both.
async fn late_answers(plc: Simulator, protocol: Value) {
    let rig = Rig::new();
    rig.configure(
        1,
        &protocol,
        40,
        &[
            (1, "INT", json!({"address": "hr:0"})),
            (2, "INT", json!({"address": "hr:100"})),
        ],
    );
    rig.wait_samples(1, 2);
    for _ in 0..5 {
        plc.fault(FaultRule::from(Fault::Slow(Duration::from_millis(150))).for_requests(1));
        rig.wait_samples(1, 4);
        rig.wait_samples(2, 4);
    }
    rig.look(|record| {
        assert_eq!(record.history[&1].iter().collect::<Vec<_>>(), ["Int(111)"]);
        assert_eq!(record.history[&2].iter().collect::<Vec<_>>(), ["Int(222)"]);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_is_never_the_next_one_s_over_tcp() {
    let plc = modbus()
        .register(40_001, 111)
        .register(40_101, 222)
        .start()
        .await;
    let protocol = json!({"url": url(&plc), "timeoutMs": 100});
    late_answers(plc, protocol).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_answer_is_never_the_next_one_s_over_rtu() {
    let ports = ports();
    let plc = modbus()
        .register(40_001, 111)
        .register(40_101, 222)
        .serial(&ports.theirs)
        .start()
        .await;
    let protocol = json!({"url": format!("rtu://{}", ports.ours.display()), "timeoutMs": 100});
    late_answers(plc, protocol).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_checksum_costs_one_request() {
    let ports = ports();
    let plc = simulator().serial(&ports.theirs).start().await;
    let rig = Rig::new();
    rig.configure(
        1,
        &json!({"url": format!("rtu://{}", ports.ours.display())}),
        50,
        &one(1),
    );
    rig.wait_samples(1, 2);
    plc.fault(FaultRule::from(Fault::WrongCrc).for_requests(1));
    rig.wait_samples(1, 4);
    rig.look(|record| {
        assert!(
            record.bad.is_empty(),
            "it was asked again: {:?}",
            record.bad
        );
        assert_eq!(record.outages, 0);
    });
    plc.fault(FaultRule::from(Fault::WrongCrc).for_requests(2));
    rig.wait("the bad sample", |record| !record.bad.is_empty());
    rig.wait_samples(1, 2);
    rig.look(|record| {
        assert_eq!(record.bad[0].1, Some(Reason::Line));
        assert!(record.bad[0].2.contains("garbled"), "{:?}", record.bad);
        assert_eq!(record.outages, 0, "two in a row are noise, not an outage");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_frame_and_a_dropped_connection_are_got_over() {
    let plc = simulator().start().await;
    let rig = Rig::new();
    rig.configure(1, &json!({"url": url(&plc), "timeoutMs": 200}), 50, &one(1));
    rig.wait_samples(1, 2);
    plc.fault(FaultRule::from(Fault::HalfFrame).for_requests(1));
    rig.wait_samples(1, 3);
    plc.fault(FaultRule::from(Fault::DropConnection).for_requests(1));
    rig.wait_samples(1, 3);
    plc.drop_connections();
    rig.wait_samples(1, 3);
    rig.look(|record| assert_eq!(record.outages, 0, "{:?}", record.logs));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_frame_on_a_serial_line_is_got_over() {
    for ascii in [false, true] {
        let ports = ports();
        let plc = if ascii {
            simulator().ascii(&ports.theirs)
        } else {
            simulator().serial(&ports.theirs)
        };
        let plc = plc.start().await;
        let scheme = if ascii { "ascii" } else { "rtu" };
        let rig = Rig::new();
        let protocol =
            json!({"url": format!("{scheme}://{}", ports.ours.display()), "timeoutMs": 200});
        rig.configure(1, &protocol, 50, &one(1));
        rig.wait_samples(1, 2);
        plc.fault(FaultRule::from(Fault::HalfFrame).for_requests(1));
        rig.wait_samples(1, 3);
        rig.look(|record| assert_eq!(record.outages, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exception_is_the_device_s_word_and_no_outage() {
    let plc = simulator().start().await;
    let rig = Rig::new();
    rig.configure(1, &json!({"url": url(&plc)}), 50, &one(1));
    rig.wait_samples(1, 1);
    plc.fault(Fault::Exception(4));
    rig.wait("the refusal", |record| !record.bad.is_empty());
    let completion = rig.write(1, 1, SampleValue::Int(1));
    assert_eq!(completion.status, Status::Refused);
    assert!(
        completion
            .message
            .contains("exception 4 (server device failure)"),
        "{}",
        completion.message
    );
    rig.look(|record| {
        assert_eq!(record.bad[0].1, Some(Reason::Refused));
        assert!(record.bad[0].2.contains("server device failure"));
        assert!(record.online[&1].0);
    });
    plc.clear_faults();
    rig.wait_samples(1, 2);
    // A gateway's word about a unit is the unit's silence.
    plc.fault(Fault::Exception(11));
    rig.wait_online(1, false);
    rig.look(|record| {
        assert!(
            record.online[&1].1.contains("gateway target"),
            "{:?}",
            record.online
        )
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_illegal_address_costs_only_itself() {
    // 40 registers with a hole at 20.
    let plc = modbus()
        .registers(40_001, &[7; 20])
        .registers(40_022, &[7; 19])
        .start()
        .await;
    let rig = Rig::new();
    let points: Vec<_> = (0..40)
        .map(|id| (id, "INT", json!({"address": format!("hr:{id}")})))
        .collect();
    rig.configure(1, &json!({"url": url(&plc)}), 50, &points);
    for id in (0..40).filter(|id| *id != 20) {
        rig.wait_value(id, &SampleValue::Int(7));
    }
    rig.wait("the refusal", |record| {
        record.bad.iter().any(|(point, ..)| *point == 20)
    });
    rig.wait_samples(0, 3);
    let before = plc.reads().requests();
    rig.wait_samples(0, 10);
    let requests = plc.reads().requests() - before;
    assert!(
        (28..=34).contains(&requests),
        "{requests} requests in ten periods"
    );
    rig.look(|record| {
        assert!(
            record
                .bad
                .iter()
                .all(|(point, reason, _)| *point == 20 && *reason == Some(Reason::Refused))
        )
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_without_function_22_gets_its_bits_too() {
    let plc = modbus().register(40_001, 0x00F0).start().await;
    let rig = Rig::new();
    // Never polled, so that the write is the only traffic.
    rig.configure(
        1,
        &json!({"url": url(&plc)}),
        0,
        &[(1, "BOOLEAN", json!({"address": "hr:0.0"}))],
    );
    plc.fault(FaultRule::from(Fault::Exception(1)).for_requests(1));
    rig.write_ok(1, 1, SampleValue::Bool(true));
    assert_eq!(plc.holding(1, 0), 0x00F1);
    rig.write_ok(1, 1, SampleValue::Bool(false));
    assert_eq!(plc.holding(1, 0), 0x00F0);
    assert_eq!(
        plc.counters().function(22).requests(),
        1,
        "it is not tried again"
    );
    let read = rig.command(1, CommandKind::Read { point: 1 });
    assert_eq!(read.status, Status::Ok);
    assert_eq!(
        rig.look(|record| record.values[&1].clone()),
        SampleValue::Bool(false)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_devices_and_intervals_share_requests() {
    let plc = modbus().registers(40_001, &[5; 100]).start().await;
    let rig = Rig::new();
    for device in 0..10 {
        let points: Vec<_> = (0..10)
            .map(|index| {
                (
                    device * 10 + index,
                    "INT",
                    json!({"address": format!("hr:{}", device * 10 + index)}),
                )
            })
            .collect();
        rig.configure(
            device,
            &json!({"url": url(&plc)}),
            if device % 2 == 0 { 100 } else { 200 },
            &points,
        );
    }
    rig.wait_samples(10, 1);
    let before = plc.reads().requests();
    let (even, odd) = rig.look(|record| (record.counts[&0], record.counts[&10]));
    rig.wait_samples(10, 5);
    let requests = plc.reads().requests() - before;
    let (more_even, more_odd) =
        rig.look(|record| (record.counts[&0] - even, record.counts[&10] - odd));
    assert!(more_even >= 2 * more_odd - 2, "{more_even} and {more_odd}");
    assert!(
        requests <= more_even + 2,
        "{requests} requests for {more_even} periods of the shorter interval"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_comes_later_is_found() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let rig = Rig::new();
    rig.configure(1, &json!({"url": format!("tcp://{address}")}), 50, &one(1));
    rig.wait_online(1, false);
    rig.look(|record| assert_eq!(record.bad[0].1, Some(Reason::Line)));
    let _plc = simulator().tcp(address).start().await;
    rig.wait_online(1, true);
    rig.wait_value(1, &SampleValue::Int(215));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_what_waits_and_nothing_comes_after_it() {
    let plc = simulator().start().await;
    let rig = Rig::new();
    rig.configure(
        1,
        &json!({"url": url(&plc), "timeoutMs": 5000}),
        50,
        &one(1),
    );
    rig.wait_samples(1, 1);
    plc.fault(Fault::Unresponsive);
    let value = SampleValue::Int(1);
    let write = rig.start(1, CommandKind::Write { point: 1, value });
    rig.stop();
    let completion = rig.finish(write);
    assert_eq!(completion.status, Status::Stopped);
    let events = rig.look(|record| record.events);
    plc.clear_faults();
    assert_eq!(events, rig.look(|record| record.events));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_ends_with_the_last_device() {
    let plc = simulator().start().await;
    let rig = Rig::new();
    rig.configure(1, &json!({"url": url(&plc)}), 50, &one(1));
    rig.configure(2, &json!({"url": url(&plc), "unit": 2}), 50, &one(2));
    rig.wait_samples(1, 1);
    rig.wait_samples(2, 1);
    assert_eq!(rig.command(1, CommandKind::Remove).status, Status::Ok,);
    rig.wait_samples(2, 3);
    assert_eq!(plc.line().connections, 1);
    assert_eq!(rig.command(2, CommandKind::Remove).status, Status::Ok,);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while plc.line().open > 0 {
        assert!(std::time::Instant::now() < deadline, "{:?}", plc.line());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let gone = rig.write(2, 2, SampleValue::Int(1));
    assert_eq!(gone.status, Status::InvalidArgument);
}

//! What users of other gateways complain about, as they would say it.
//!
//! `tests/e2e/COMPLAINTS.md` has the whole list with the test that answers each
//! line; those that need the whole way through an edge node are here.

use longshore_harness::prelude::*;

/// A device with `count` 16 bit registers, every fifth one left out.
fn registers(
    name: &str,
    plc: &Simulator,
    unit: u8,
    count: u16,
) -> longshore_harness::manifest::DeviceManifest {
    (0..count).fold(device(name).unit(plc, unit), |device, number| {
        let address = number + number / 4;
        device.read(
            &format!("r{number}"),
            "INT",
            json!({"address": format!("hr:{address}"), "rawType": "uint16"}),
        )
    })
}

/// So many requests for registers of a unit.
fn reads(plc: &Simulator, unit: u8) -> u64 {
    plc.counters().unit(unit).function(3).requests()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_registers_are_not_fifty_requests() {
    let plc = modbus().unit(1).registers(40_001, &[7; 70]).start().await;
    let edge = edge().device(&registers("meter", &plc, 1, 50)).run().await;
    edge.twin_is("meter", "r49", json!(7)).await;
    let request = plc.requests(1).into_iter().next().expect("a request");
    assert_eq!(
        (request.address, request.count),
        (0, 62),
        "gaps of one register are read along"
    );
    // A second look at all of them is one more request, not fifty.
    let before = reads(&plc, 1);
    eventually("the next cycle", || async {
        let now = reads(&plc, 1);
        (now > before)
            .then_some(())
            .ok_or(format!("{now} requests"))
    })
    .await;
    let written: Vec<_> = plc
        .requests(1)
        .iter()
        .map(|request| request.count)
        .collect();
    assert!(written.iter().all(|count| *count == 62), "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_larger_than_a_request_is_split_by_itself() {
    let plc = modbus().unit(1).registers(40_001, &[7; 346]).start().await;
    let block = (0..346).fold(device("block").on(&plc), |device, address| {
        device.read(
            &format!("r{address}"),
            "INT",
            json!({"address": format!("hr:{address}")}),
        )
    });
    let edge = edge().device(&block).run().await;
    edge.twin_is("block", "r345", json!(7)).await;
    let counts: Vec<_> = plc
        .requests(1)
        .iter()
        .take(3)
        .map(|request| request.count)
        .collect();
    assert_eq!(counts, [125, 125, 96], "1 to 125 registers are allowed");
    assert_eq!(plc.counters().exceptions(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_devices_with_sixteen_resources_fit_one_serial_line() {
    let mut builder = modbus();
    for unit in 1..=30 {
        builder = builder.unit(unit).registers(40_001, &[u16::from(unit); 20]);
    }
    // Frames of a serial line through a TCP gateway: one request at a time.
    let line = builder.rtu_over_tcp().start().await;
    let mut node = edge();
    for unit in 1..=30 {
        node = node.device(&registers(&format!("meter-{unit}"), &line, unit, 16));
    }
    let edge = node.run().await;
    for unit in 1..=30_u8 {
        // Each has its own values: no answer went to a neighbour.
        edge.twin_is(&format!("meter-{unit}"), "r15", json!(unit))
            .await;
    }
    assert_eq!(line.line().connections, 1);
    for unit in 1..=30 {
        let requests = line.requests(unit);
        assert!(
            requests
                .iter()
                .all(|request| (request.address, request.count) == (0, 19)),
            "{requests:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plc_that_accepts_one_connection_is_enough_for_all_devices() {
    let plc = modbus()
        .unit(1)
        .registers(40_001, &[7; 8])
        .unit(2)
        .register(40_001, 9)
        .start()
        .await;
    let first = device("first")
        .unit(&plc, 1)
        .read("a", "INT", json!({"address": "hr:0"}));
    let second = device("second")
        .unit(&plc, 2)
        .read("a", "INT", json!({"address": "hr:0"}));
    let third =
        device("third")
            .unit(&plc, 1)
            .every(100)
            .read("a", "INT", json!({"address": "hr:4"}));
    let edge = edge()
        .device(&first)
        .device(&second)
        .device(&third)
        .run()
        .await;
    for (name, value) in [("first", 7), ("second", 9), ("third", 7)] {
        edge.twin_is(name, "a", json!(value)).await;
    }
    assert_eq!(plc.line().connections, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_register_gives_several_bit_values() {
    let plc = modbus().unit(1).register(40_011, 0b1001_0010).start().await;
    let drive = (0..8).fold(device("drive").on(&plc), |device, bit| {
        device.read(
            &format!("bit{bit}"),
            "BOOLEAN",
            json!({"address": format!("hr:10.{bit}")}),
        )
    });
    let edge = edge().device(&drive).run().await;
    for bit in 0..8 {
        edge.twin_is(
            "drive",
            &format!("bit{bit}"),
            json!([1, 4, 7].contains(&bit)),
        )
        .await;
    }
    let requests = plc.requests(1);
    assert!(
        requests
            .iter()
            .all(|request| (request.address, request.count) == (10, 1)),
        "{requests:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_slave_has_its_own_rate() {
    let plc = modbus()
        .unit(1)
        .register(40_001, 1)
        .unit(2)
        .register(40_001, 2)
        .start()
        .await;
    let fast = device("fast")
        .unit(&plc, 1)
        .every(50)
        .read("a", "INT", json!({"address": "hr:0"}));
    let slow =
        device("slow")
            .unit(&plc, 2)
            .every(60_000)
            .read("a", "INT", json!({"address": "hr:0"}));
    let edge = edge().device(&fast).device(&slow).run().await;
    edge.twin_is("slow", "a", json!(2)).await;
    eventually("twenty reads of the fast one", || async {
        let count = reads(&plc, 1);
        (count >= 20).then_some(()).ok_or(format!("{count} reads"))
    })
    .await;
    assert_eq!(reads(&plc, 2), 1, "the slow one is read at its own rate");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_slave_does_not_stop_the_others() {
    let plc = modbus()
        .unit(1)
        .register(40_001, 1)
        .unit(2)
        .register(40_001, 2)
        .start()
        .await;
    let of = |name: &str, unit| {
        device(name)
            .unit(&plc, unit)
            .every(50)
            .read("a", "INT", json!({"address": "hr:0"}))
    };
    let edge = edge()
        .device(&of("alive", 1))
        .device(&of("dead", 2))
        .run()
        .await;
    edge.twin_is("dead", "a", json!(2)).await;
    plc.fault(longshore_harness::FaultRule::from(Fault::Unresponsive).on_unit(2));
    edge.twin_where("the dead one to be bad", "dead", "a", |twin| {
        twin["quality"] == "bad"
    })
    .await;
    for value in [10, 11, 12] {
        plc.set_holding(1, 0, value);
        edge.twin_is("alive", "a", json!(value)).await;
    }
    let twin = edge.twin("alive", "a").await.expect("a twin");
    assert_eq!(twin["quality"], "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_has_changed_is_sent() {
    let plc = modbus().unit(1).registers(40_001, &[1, 2, 3]).start().await;
    let meter = registers("meter", &plc, 1, 3);
    let edge = edge().device(&meter).run().await;
    edge.twin_is("meter", "r2", json!(3)).await;
    let bus = subscribe(edge.bus_port(), "longshore/default/meter/batch").await;
    plc.set_holding(1, 1, 20);
    let batch = bus
        .hear("the change", |_, body| body["values"]["r1"] == 20)
        .await;
    assert_eq!(batch["values"], json!({"r1": 20}), "nothing else changed");
    plc.set_holding(1, 0, 10);
    bus.hear("the next change", |_, body| body["values"]["r0"] == 10)
        .await;
    let sent: usize = bus
        .heard()
        .iter()
        .map(|(_, body)| body["values"].as_object().map_or(0, |map| map.len()))
        .sum();
    assert_eq!(sent, 2, "{:?}", bus.heard());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_change_is_sent_now_and_then_with_its_own_time() {
    let plc = modbus().unit(1).registers(40_001, &[5]).start().await;
    let tank = device("tank").on(&plc).every(50).read(
        "level",
        "INT",
        json!({"address": "hr:0", "deadband": 3, "maxInterval": "300ms"}),
    );
    let edge = edge().device(&tank).run().await;
    edge.twin_is("tank", "level", json!(5)).await;
    let bus = subscribe(edge.bus_port(), "longshore/default/tank/batch").await;
    let mut times = Vec::new();
    while times.len() < 3 {
        let last = times.last().copied().unwrap_or(0);
        let batch = bus
            .hear("a value without a change", |_, body| {
                body["values"]["level"] == 5
                    && body["timestamp"].as_u64().is_some_and(|time| time > last)
            })
            .await;
        times.push(batch["timestamp"].as_u64().expect("milliseconds"));
    }
    // While the device is silent nobody makes up a fresh time.
    plc.fault(Fault::Unresponsive);
    let twin = edge
        .twin_where("bad quality", "tank", "level", |twin| {
            twin["quality"] == "bad"
        })
        .await;
    let read = last_read(&twin).to_owned();
    let asked = plc.line().connections + plc.counters().requests();
    eventually("another try", || async {
        let now = plc.line().connections + plc.counters().requests();
        (now > asked).then_some(()).ok_or(format!("{now} tries"))
    })
    .await;
    let twin = edge.twin("tank", "level").await.expect("a twin");
    assert_eq!(last_read(&twin), read, "{twin}");
}

fn last_read(twin: &Json) -> &str {
    twin["lastRead"]
        .as_str()
        .unwrap_or_else(|| panic!("no time of reading in {twin}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_report_does_not_make_the_device_anew() {
    let plc = modbus().unit(1).register(40_001, 1).start().await;
    let hub = hub().run().await;
    let edge = edge().hub(&hub).run().await;
    hub.apply(
        &device("pump")
            .on(&plc)
            .every(100)
            .read("speed", "INT", json!({"address": "hr:0"})),
    )
    .await;
    for speed in [10_u16, 20, 30] {
        plc.set_holding(1, 0, speed);
        hub.reported_is("pump", "speed", &speed.to_string()).await;
    }
    edge.twin_is("pump", "speed", json!(30)).await;
    assert_eq!(
        plc.line().connections,
        1,
        "neither deleted nor created again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_deleted_device() {
    let plc = modbus().unit(1).register(40_001, 1).start().await;
    let pump = device("pump")
        .on(&plc)
        .read("speed", "INT", json!({"address": "hr:0"}));
    let edge = edge().device(&pump).run().await;
    edge.twin_is("pump", "speed", json!(1)).await;
    edge.remove_manifest("pump");
    eventually("the device and its connection to be gone", || async {
        let twins = edge.get("/twins").await?;
        let open = plc.line().open;
        (!twins.to_string().contains("pump") && open == 0)
            .then_some(())
            .ok_or(format!("{twins}, {open} connections"))
    })
    .await;
}

//! The machine sets limits: its clock jumps, its descriptors run out, and others
//! flood what it serves.

mod floods;

use std::net::TcpStream;

use longshore_harness::{clock::Clock, prelude::*};

const BOILER: &str = "$hw/events/device/default/boiler";

async fn plc() -> Simulator {
    modbus()
        .unit(1)
        .register(30_001, 1)
        .register(40_001, 0)
        .start()
        .await
}

fn boiler(plc: &Simulator) -> DeviceManifest {
    device("boiler")
        .on(plc)
        .every(50)
        .read(
            "seen",
            "INT",
            json!({"address": "ir:0", "staleAfter": "5s"}),
        )
        .read_write("setpoint", "INT", json!({"address": "hr:0"}))
}

/// Reads are read, writes are written, and both are said to be good.
async fn all_is_well(edge: &Edge, plc: &Simulator, number: u16) {
    plc.set_input(1, 0, number);
    let twin = edge.twin_is("boiler", "seen", json!(number)).await;
    assert_eq!(twin["quality"], "good", "{twin}");
    let client = subscribe(edge.bus_port(), &format!("{BOILER}/#")).await;
    let wanted =
        json!({"event_id": "e", "twin": {"setpoint": {"expected": {"value": number.to_string()}}}});
    client
        .publish(&format!("{BOILER}/twin/update"), wanted)
        .await;
    plc.wait_holding(1, 0, number).await;
    edge.write_is("boiler", "setpoint", "confirmed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_costs_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Clock::new(folder.path());
    let command = clock.command();
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let plc = plc().await;
    // Inside of the process: a child is given no environment, and so another clock.
    let mut edge = edge()
        .device(&boiler(&plc))
        .in_process()
        .under(&words)
        .run()
        .await;
    let batches = subscribe(edge.bus_port(), "longshore/default/boiler/batch").await;
    all_is_well(&edge, &plc, 1).await;
    // A day gone by, a battery that was empty, and a time server.
    for round in 0..rounds(1, 20) {
        for (number, offset) in (2..).zip(["+3d", "-2d", "+20y", "-30y", "+0"]) {
            clock.set(offset);
            all_is_well(&edge, &plc, round * 10 + number).await;
        }
        // It did jump: one of them said a year that is not this one.
        let in_2040 = 2_208_988_800_000_i64;
        batches
            .hear("a value of another year", |_, body| {
                body["timestamp"].as_i64().is_some_and(|ms| ms > in_2040)
            })
            .await;
        // What was kept while the clock was elsewhere is good when it is right again.
        clock.set("+300d");
        edge.kill_and_restart().await;
        clock.set("+0");
        edge.kill_and_restart().await;
        all_is_well(&edge, &plc, round * 10 + 9).await;
    }
    let (status, ready) = edge.get_text("/readyz").await.expect("a page");
    assert_eq!(status, 200, "{ready}");
    assert!(!edge.log().contains("panicked"), "{}", edge.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn when_descriptors_run_out_devices_go_on_and_clients_come_back() {
    let plc = plc().await;
    let limit = ["prlimit", "--nofile=160:160"];
    let edge = edge().device(&boiler(&plc)).under(&limit).run().await;
    all_is_well(&edge, &plc, 1).await;
    let client = subscribe(edge.bus_port(), "longshore/default/boiler/batch").await;
    for round in 0..rounds(1, 50) {
        // More than there can be; some of them are refused or let go.
        let strangers: Vec<_> = (0..300)
            .map(|_| TcpStream::connect(("127.0.0.1", edge.bus_port())))
            .collect();
        let number = 100 + round * 2;
        plc.set_input(1, 0, number);
        client
            .hear(
                "a value though strangers hold all descriptors",
                |_, body| body["values"]["seen"] == json!(number),
            )
            .await;
        drop(strangers);
        all_is_well(&edge, &plc, number + 1).await;
    }
    let log = edge.log();
    assert!(log.len() < 256 * 1024, "{} bytes of log", log.len());
}

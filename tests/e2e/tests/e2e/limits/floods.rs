//! Floods: of messages that are kept, of connections, of requests and of objects. What
//! they cost has a bound that does not depend on how long they go on, and who does no
//! harm is served meanwhile.
//!
//! The bounds are of debug builds, for all of a process and absolute: some times what
//! these floods come to, and far from what they came to while nothing was bounded.

use std::{fs, path::Path};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api as KubeApi, Patch, PatchParams, PostParams};
use longshore_harness::prelude::*;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{all_is_well, boiler, plc};

/// Memory of an edge, in MiB.
const EDGE_MIB: u64 = 96;
/// Memory of a hub, in MiB.
const HUB_MIB: u64 = 192;
/// Disk of either, in MiB.
const DISK_MIB: u64 = 256;
/// A log, in bytes.
const LOG: usize = 64 * 1024;

/// What a folder takes, in MiB.
fn disk_mib(folder: &Path) -> u64 {
    fn bytes(folder: &Path) -> u64 {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                // A file of a database may go meanwhile.
                let found = entry.metadata().ok()?;
                Some(match found.is_dir() {
                    true => bytes(&entry.path()),
                    false => found.len(),
                })
            })
            .sum()
    }
    bytes(folder) >> 20
}

fn is_bounded(edge: &mut Edge) {
    let (memory, disk) = (edge.process().peak_mib(), disk_mib(edge.folder()));
    assert!(memory <= EDGE_MIB, "{memory} MiB of memory");
    assert!(disk <= DISK_MIB, "{disk} MiB of disk");
    let log = edge.log();
    assert!(log.len() <= LOG, "{} bytes of log", log.len());
}

/// Sessions of clients that are away, what waits for each, and retained messages.
#[tokio::test(flavor = "multi_thread")]
async fn what_clients_leave_behind_is_bounded() {
    let plc = plc().await;
    let mut edge = edge().device(&boiler(&plc)).run().await;
    all_is_well(&edge, &plc, 1).await;
    let port = edge.bus_port();
    for client in 0..rounds(80, 800) {
        let mut away = Raw::connect(port, &format!("away-{client}"), true).await;
        away.subscribe("#").await;
    }
    let body = vec![b'z'; 100_000];
    let mut flood = Raw::connect(port, "flood", false).await;
    let mut taken = 0;
    for _ in 0..rounds(800, 20_000) {
        taken += u32::from(flood.publish("x/y", &body, false).await);
    }
    assert!(taken > 100, "{taken} messages were taken");
    let mut kept = 0;
    let count = rounds(400, 5_000);
    for number in 0..count {
        let topic = format!("x/{number}");
        kept += i32::from(flood.publish(&topic, &body, true).await);
    }
    assert!(
        kept > 0 && kept < count,
        "{kept} retained messages were taken"
    );
    all_is_well(&edge, &plc, 2).await;
    is_bounded(&mut edge);
    // Nor does a start take it all into memory.
    edge.kill_and_restart().await;
    all_is_well(&edge, &plc, 3).await;
    is_bounded(&mut edge);
}

/// Connections that say nothing, or half of something, on each port of the edge.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_keeps_nobody_out() {
    let plc = plc().await;
    let mut edge = edge().device(&boiler(&plc)).run().await;
    for round in 0..rounds(2, 200) {
        let mut held = Vec::new();
        for (port, half) in [
            (edge.bus_port(), &b"\x10\x20\0\x04MQ"[..]),
            (edge.metrics_port(), b"GET /healthz HTT"),
        ] {
            for _ in 0..300 {
                // Whoever is let go makes room for the next.
                if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await {
                    let _ = stream.write_all(half).await;
                    held.push(stream);
                }
            }
        }
        assert!(held.len() > 300, "{} connections", held.len());
        all_is_well(&edge, &plc, round + 1).await;
        let (code, text) = edge.get_text("/healthz").await.expect("a page");
        assert_eq!(code, 200, "{text}");
    }
    is_bounded(&mut edge);
}

/// Requests that are nonsense, requests that are none of a client's business, and more
/// of good ones than can be answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_requests_is_a_few_lines_of_log_and_delays_nobody() {
    let plc = plc().await;
    let mut edge = edge().device(&boiler(&plc)).run().await;
    all_is_well(&edge, &plc, 1).await;
    let port = edge.bus_port();
    const UPDATE: &str = "$hw/events/device/default/boiler/twin/update";
    const FLOODS: [(&str, &str); 6] = [
        (UPDATE, "{\"twin\": nonsense"),
        (UPDATE, r#"{"twin":{"seen":{"actual":{"value":"7"}}}}"#),
        (
            UPDATE,
            r#"{"twin":{"setpoint":{"expected":{"value":"x"}}}}"#,
        ),
        ("$hw/events/device/default/none/twin/get", ""),
        ("longshore/default/boiler/batch", "{}"),
        ("longshore/default/boiler/call/none", "{}"),
    ];
    for round in 0..rounds(1, 50) {
        let floods = FLOODS.iter().enumerate().map(|(number, (topic, payload))| {
            let name = format!("flood-{round}-{number}");
            tokio::spawn(async move {
                let mut flood = Raw::connect(port, &name, false).await;
                for _ in 0..5_000 {
                    flood.shout(topic, payload.as_bytes()).await;
                }
                // It was all read when this is answered.
                flood.publish("x/y", b"", false).await;
            })
        });
        let floods: Vec<_> = floods.collect();
        all_is_well(&edge, &plc, round * 2 + 2).await;
        for flood in floods {
            flood.await.expect("the broker reads it all");
        }
        all_is_well(&edge, &plc, round * 2 + 3).await;
    }
    is_bounded(&mut edge);
}

/// Objects that change all the time, and a device whose values do: the hub keeps what is
/// so, and of what was a bounded part.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_objects_and_reports_does_not_fill_the_hub() {
    let mut hub = hub().run().await;
    let plc = plc().await;
    let mut boiler = boiler(&plc);
    for number in 0..100 {
        let at = json!({"address": format!("ir:{}", number % 2)});
        boiler = boiler.read(&format!("value{number}"), "INT", at);
    }
    hub.apply(&boiler.node("edge-1")).await;
    let mut edge = edge().hub(&hub).run().await;
    hub.reported_is("boiler", "seen", "1").await;
    let maps: KubeApi<ConfigMap> = KubeApi::namespaced(hub.client().await, "default");
    let mut map = ConfigMap::default();
    map.metadata.name = Some("large".to_owned());
    maps.create(&PostParams::default(), &map).await.unwrap();
    for round in 0..rounds(150, 3_000) {
        let text = format!("{round:06}").repeat(150_000);
        let patch = Patch::Merge(json!({"data": {"text": text}}));
        let done = maps.patch("large", &PatchParams::default(), &patch).await;
        done.unwrap();
        plc.set_input(1, 0, round + 2);
    }
    let last = rounds(150, 3_000) + 1;
    hub.reported_is("boiler", "seen", &last.to_string()).await;
    let (memory, disk) = (hub.process().peak_mib(), disk_mib(hub.folder()));
    assert!(memory <= HUB_MIB, "{memory} MiB of memory");
    assert!(disk <= DISK_MIB, "{disk} MiB of disk");
    assert!(hub.process().log().len() <= LOG);
    is_bounded(&mut edge);
}

/// Connections to the hub's ports that say nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_keeps_neither_nodes_nor_people_from_the_hub() {
    let mut hub = hub().run().await;
    let plc = plc().await;
    hub.apply(&boiler(&plc).node("edge-1")).await;
    let membership = hub.membership("edge-1");
    for round in 0..rounds(1, 50) {
        let mut held = Vec::new();
        for port in hub.ports() {
            for _ in 0..250 {
                held.extend(TcpStream::connect(("127.0.0.1", port)).await);
            }
        }
        assert!(held.len() > 250, "{} connections", held.len());
        plc.set_input(1, 0, round + 10);
        let edge = edge().hub_section(membership.clone()).run().await;
        let seen = (round + 10).to_string();
        hub.reported_is("boiler", "seen", &seen).await;
        drop(edge);
    }
    let memory = hub.process().peak_mib();
    assert!(memory <= HUB_MIB, "{memory} MiB of memory");
    assert!(hub.process().log().len() <= LOG);
}

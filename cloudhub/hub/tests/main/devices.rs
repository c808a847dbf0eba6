//! Devices go down, their state comes up.

use std::time::{Duration, Instant};

use futures::StreamExt;
use longshore_link::Up;
use longshore_types::{
    Value,
    device::WriteState,
    report::{DesiredReport, DeviceReport, PropertyReport},
};
use serde_json::json;

use crate::harness::{TestHub, condition, create, device, model, reading, reported};

/// Statuses of which none is written for so long are not only slow.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_bound_to_a_node_reaches_it_and_nothing_else() {
    let hub = TestHub::start().await;
    let edge = hub.edge("edge-1");
    hub.create(device("boiler", "boiler", "edge-1")).await;
    hub.create(device("other", "boiler", "edge-2")).await;
    edge.wait("the device came", |s| {
        s.objects.contains_key("Device default/boiler")
    })
    .await;
    hub.create(model("boiler")).await;
    edge.wait("the model came after it", |s| {
        s.objects.contains_key("DeviceModel default/boiler")
    })
    .await;
    {
        let store = edge.store.lock().unwrap();
        let object = &store.objects["Device default/boiler"];
        assert_eq!(object["kind"], "Device");
        assert_eq!(
            object["spec"]["properties"][0]["visitors"]["configData"]["x"]["y"],
            1
        );
        assert!(object["metadata"]["managedFields"].is_null());
        assert!(!store.objects.contains_key("Device default/other"));
    }

    let desired =
        json!({"spec": {"properties": [{"name": "temperature", "desired": {"value": "25"}}]}});
    hub.patch("Device", "boiler", desired).await;
    edge.wait("the new desired value came", |s| {
        s.objects["Device default/boiler"]["spec"]["properties"][0]["desired"]["value"] == "25"
    })
    .await;
    hub.patch(
        "DeviceModel",
        "boiler",
        json!({"spec": {"protocol": "opcua"}}),
    )
    .await;
    edge.wait("the model's change came without one of the device", |s| {
        s.objects["DeviceModel default/boiler"]["spec"]["protocol"] == "opcua"
    })
    .await;
    hub.delete("Device", "boiler").await;
    edge.wait("device and model are gone", |s| s.objects.is_empty())
        .await;

    // A short absence costs only what changed.
    let store = edge.store.clone();
    drop(edge);
    hub.create(device("late", "boiler", "edge-1")).await;
    let credentials = hub.credentials("edge-1");
    let edge = crate::edge::Edge::connect_with(hub.link(), "edge-1", &credentials, store);
    edge.wait("what changed meanwhile came", |s| s.objects.len() == 2)
        .await;
    assert_eq!(edge.store.lock().unwrap().snapshots, 1);
    hub.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_edge_reports_stands_in_the_device_status() {
    let hub = TestHub::start().await;
    let edge = hub.edge("edge-1");
    hub.create(model("boiler")).await;
    hub.create(device("boiler", "boiler", "edge-1")).await;
    let uid = uid(&hub, "boiler").await;
    edge.report(&reading("boiler", &uid, 21.5));
    let status = hub
        .wait("DeviceStatus", "boiler", "shows the reading", |s| {
            reported(s) == "21.5"
        })
        .await
        .unwrap();
    assert_eq!(status["status"]["state"], "online");
    assert_eq!(
        status["metadata"]["ownerReferences"][0]["uid"],
        uid.as_str()
    );
    let metadata = &status["status"]["twins"][0]["reported"]["metadata"];
    assert_eq!(
        *metadata,
        json!({"timestamp": "1732000000000", "type": "float"})
    );
    assert_eq!(condition(Some(&status), "NodeConnected"), "Connected");
    edge.wait("the record is taken", |s| s.outbox.is_empty())
        .await;

    for value in 0..50 {
        edge.report(&reading("boiler", &uid, f64::from(value)));
    }
    hub.wait("DeviceStatus", "boiler", "shows the latest", |s| {
        reported(s) == "49"
    })
    .await;

    hub.delete("DeviceStatus", "boiler").await;
    hub.wait("DeviceStatus", "boiler", "came back", |s| {
        reported(s) == "49"
    })
    .await;

    hub.patch("DeviceStatus", "boiler", json!({"status": {"twins": []}}))
        .await;
    hub.wait("DeviceStatus", "boiler", "is mended", |s| {
        reported(s) == "49"
    })
    .await;

    // Neither of another node's device, nor of a former one of the name.
    hub.create(device("foreign", "boiler", "edge-2")).await;
    let foreign = self::uid(&hub, "foreign").await;
    edge.report(&reading("foreign", &foreign, 1.0));
    edge.report(&reading("boiler", "a-former-one", 1.0));
    edge.wait("both records are taken", |s| s.outbox.is_empty())
        .await;
    assert!(
        hub.metrics()
            .await
            .contains("longshore_hub_records_dropped_total 2")
    );

    hub.delete("Device", "boiler").await;
    hub.wait("DeviceStatus", "boiler", "went with its device", |s| {
        s.is_none()
    })
    .await;
    hub.create(device("boiler", "boiler", "edge-1")).await;
    let status = hub
        .wait("DeviceStatus", "boiler", "is there anew", |s| s.is_some())
        .await;
    assert_eq!(
        reported(status.as_ref()),
        "",
        "it knows nothing of the former one"
    );
    hub.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_says_why_nothing_moves() {
    let hub = TestHub::start().await;
    hub.create(device("lost", "none", "nowhere")).await;
    let status = hub
        .wait(
            "DeviceStatus",
            "lost",
            "says that there is no such node",
            |s| condition(s, "NodeConnected") == "NodeNotFound",
        )
        .await;
    assert_eq!(condition(status.as_ref(), "ModelFound"), "ModelNotFound");
    hub.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "nowhere"}}))
        .await;
    hub.wait(
        "DeviceStatus",
        "lost",
        "says that the node never connected",
        |s| condition(s, "NodeConnected") == "NodeNeverConnected",
    )
    .await;
    hub.create(model("none")).await;
    hub.wait("DeviceStatus", "lost", "has a model now", |s| {
        condition(s, "ModelFound").is_empty()
    })
    .await;
    hub.patch("Device", "lost", json!({"spec": {"nodeName": "edge-1"}}))
        .await;
    let edge = hub.edge("edge-1");
    hub.wait("DeviceStatus", "lost", "found its node", |s| {
        condition(s, "NodeConnected") == "Connected"
    })
    .await;
    drop(edge);
    hub.wait("DeviceStatus", "lost", "lost it again", |s| {
        condition(s, "NodeConnected") == "NodeOffline"
    })
    .await;
    hub.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_devices_at_once() {
    const COUNT: usize = 10_000;
    let hub = TestHub::start().await;
    let edge = hub.edge("edge-1");
    hub.create(model("boiler")).await;
    let client = &hub.client;
    futures::stream::iter(0..COUNT)
        .for_each_concurrent(64, |n| async move {
            create(client, device(&format!("d{n}"), "boiler", "edge-1")).await;
        })
        .await;
    edge.wait("all devices came", |s| s.objects.len() == COUNT + 1)
        .await;
    let uids: Vec<(String, String)> = {
        let store = edge.store.lock().unwrap();
        let devices = store.objects.values().filter(|o| o["kind"] == "Device");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        devices
            .map(|o| (text(&o["metadata"]["name"]), text(&o["metadata"]["uid"])))
            .collect()
    };
    for (name, uid) in &uids {
        edge.report(&reading(name, uid, 1.0));
    }
    edge.wait("all records are taken", |s| s.outbox.is_empty())
        .await;
    // On a machine that does much else this takes its time: it is waited for as long
    // as statuses are written.
    let number = |text: &str, name: &str| -> u64 {
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name}: {text}"))
    };
    let (mut written, mut since) = (0, Instant::now());
    loop {
        let text = hub.metrics().await;
        if number(&text, "longshore_hub_status_pending ") == 0 {
            break;
        }
        let now = number(&text, "longshore_hub_status_writes_total ");
        if now != written {
            (written, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < PATIENCE, "nothing is written: {text}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let last = format!("d{}", COUNT - 1);
    hub.wait("DeviceStatus", &last, "shows the reading", |s| {
        reported(s) == "1"
    })
    .await;
    hub.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_lost_its_database_keeps_what_stands_in_the_status() {
    let hub = TestHub::start().await;
    let edge = hub.edge("edge-1");
    hub.create(model("boiler")).await;
    hub.create(device("boiler", "boiler", "edge-1")).await;
    let uid = uid(&hub, "boiler").await;
    edge.report(&reading("boiler", &uid, 21.5));
    hub.wait("DeviceStatus", "boiler", "shows the reading", |s| {
        reported(s) == "21.5"
    })
    .await;
    hub.hub.stop().await;
    for file in ["hub.db", "hub.db-wal", "hub.db-shm"] {
        // The last two are there only while it is open.
        let _ = std::fs::remove_file(hub.folder.path().join("state").join(file));
    }
    let hub = TestHub::start_in(hub.folder).await;
    let status = hub
        .wait(
            "DeviceStatus",
            "boiler",
            "says that its node is away",
            |s| condition(s, "NodeConnected") != "Connected",
        )
        .await;
    assert_eq!(reported(status.as_ref()), "21.5");

    // The edge goes on after what it has; the new hub takes it.
    let store = edge.store.clone();
    let credentials = hub.credentials("edge-1");
    let edge = crate::edge::Edge::connect_with(hub.link(), "edge-1", &credentials, store);
    edge.report(&reading("boiler", &uid, 22.0));
    hub.wait("DeviceStatus", "boiler", "moves on", |s| {
        reported(s) == "22"
    })
    .await;
    hub.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_of_a_write_shows_before_its_turn() {
    let hub = TestHub::start_slow().await;
    let edge = hub.edge("edge-1");
    hub.create(model("boiler")).await;
    hub.create(device("boiler", "boiler", "edge-1")).await;
    let uid = uid(&hub, "boiler").await;
    hub.wait("DeviceStatus", "boiler", "is there", |s| s.is_some())
        .await;
    // Whatever is written from here on is written within the hour.
    for state in [WriteState::Pending, WriteState::Confirmed] {
        edge.report(&changed(&uid, |report| {
            report.properties[0].desired = Some(DesiredReport {
                value: "25".to_owned(),
                write: state,
                ..DesiredReport::default()
            });
        }));
        let shown = state.to_string();
        hub.wait("DeviceStatus", "boiler", &shown, |s| {
            s.is_some_and(|s| s["status"]["extensions"]["properties"][0]["write"]["state"] == shown)
        })
        .await;
    }
    hub.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_counts_with_what_the_model_has_and_up_to_a_bound() {
    let hub = TestHub::start().await;
    let edge = hub.edge("edge-1");
    hub.create(model("boiler")).await;
    hub.create(device("boiler", "boiler", "edge-1")).await;
    let uid = uid(&hub, "boiler").await;
    edge.report(&changed(&uid, |report| {
        let foreign = (0..1000).map(|n| PropertyReport::new(format!("foreign-{n}")));
        report.properties.extend(foreign);
    }));
    let status = hub
        .wait("DeviceStatus", "boiler", "shows the reading", |s| {
            reported(s) == "21.5"
        })
        .await
        .unwrap();
    assert_eq!(status["status"]["twins"].as_array().unwrap().len(), 1);
    let metrics = hub.metrics().await;
    let dropped = "longshore_hub_properties_dropped_total 1000";
    assert!(metrics.contains(dropped), "{metrics}");

    edge.report(&changed(&uid, |report| {
        report.properties[0].value = Some(Value::String("x".repeat(1 << 20).into()));
    }));
    let refused = hub.wait("DeviceStatus", "boiler", "says that it is too large", |s| {
        condition(s, "ReportTaken") == "TooLarge"
    });
    assert_eq!(
        reported(refused.await.as_ref()),
        "21.5",
        "the one before it"
    );
    edge.report(&reading("boiler", &uid, 22.0));
    let status = hub.wait("DeviceStatus", "boiler", "goes on", |s| reported(s) == "22");
    assert_eq!(condition(status.await.as_ref(), "ReportTaken"), "");
    edge.wait("all records are taken", |s| s.outbox.is_empty())
        .await;
    assert!(edge.store.lock().unwrap().ended.is_none());
    hub.hub.stop().await;
}

/// A reading that is another one.
fn changed(uid: &str, change: impl FnOnce(&mut DeviceReport)) -> Up {
    let Up::Reported(mut report) = reading("boiler", uid, 21.5) else {
        unreachable!("a reading is a report")
    };
    change(&mut report);
    Up::Reported(report)
}

async fn uid(hub: &TestHub, device: &str) -> String {
    let device = hub.get("Device", device).await.expect("the device exists");
    device["metadata"]["uid"].as_str().unwrap().to_owned()
}

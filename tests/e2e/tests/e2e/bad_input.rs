//! Whatever is wrong gets an error at its place, and the rest goes on.

use std::process::Command;

use longshore_harness::{binaries, prelude::*};

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_property_costs_only_itself() {
    let plc = modbus().unit(1).register(40_001, 1).start().await;
    let mixed = device("mixed")
        .on(&plc)
        .read("fine", "INT", json!({"address": "hr:0"}))
        .read("outside", "INT", json!({"address": "hr:65536"}))
        .read("nowhere", "INT", json!({"address": "hr:9000"}));
    let edge = edge().device(&mixed).run().await;

    edge.twin_is("mixed", "fine", json!(1)).await;
    let twin = edge
        .twin_where("to name the address", "mixed", "outside", |twin| {
            twin["quality"] == "bad"
        })
        .await;
    assert!(twin.to_string().contains("65536"), "{twin}");
    let twin = edge
        .twin_where("to be refused", "mixed", "nowhere", |twin| {
            twin["quality"] == "bad"
        })
        .await;
    assert!(
        twin.to_string()
            .to_lowercase()
            .contains("illegal data address"),
        "{twin}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_model_and_device_does_not_matter() {
    let plc = modbus().unit(1).register(40_001, 1).start().await;
    let late = device("late")
        .on(&plc)
        .read("value", "INT", json!({"address": "hr:0"}));
    let edge = edge()
        .manifest("device", &format!("{:#}", late.device()))
        .run()
        .await;
    eventually("the missing model to be named", || async {
        let twins = edge.get("/twins").await?.to_string();
        if twins.contains("late-model") {
            Ok(())
        } else {
            Err(twins)
        }
    })
    .await;
    edge.put_manifest("model", &format!("{:#}", late.model()));
    edge.twin_is("late", "value", json!(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_manifest_is_told_and_the_others_work() {
    let plc = modbus().unit(1).register(40_001, 1).start().await;
    let fine = device("fine")
        .on(&plc)
        .read("value", "INT", json!({"address": "hr:0"}));
    let edge = edge()
        .device(&fine)
        .manifest("broken", "kind: Device\nmetadata: {name: x\n")
        .run()
        .await;
    edge.twin_is("fine", "value", json!(1)).await;
    eventually("the broken file to be named in the log", || async {
        let log = edge.log();
        if log.contains("broken.yaml") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await;
}

#[test]
fn all_faults_of_a_configuration_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edgecore.yaml");
    std::fs::write(
        &file,
        "node: Edge_1\nbus: {mode: telepathy}\nmetrics: {listen: 10350}\nmappres: []\n",
    )
    .unwrap();
    let output = Command::new(binaries::binary("edgecore"))
        .arg("--check-config")
        .arg("--config")
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    for expected in [
        "node",
        "bus.mode",
        "metrics.listen",
        "mappres",
        "did you mean `mappers`",
        "line 1",
        "line 4",
    ] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
}

#[test]
fn a_store_that_is_not_a_database_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    for name in ["edge.db", "edgecore.db", "store.db"] {
        std::fs::write(
            state.join(name),
            "this is not a database, only a text that is long enough",
        )
        .unwrap();
    }
    let config = folder.path().join("edgecore.yaml");
    std::fs::write(&config, format!("{:#}", json!({"node": "edge-1", "stateDir": state, "bus": {"mode": "off"}, "metrics": {"listen": "127.0.0.1:0"}}))).unwrap();
    let output = Command::new(binaries::binary("edgecore"))
        .arg("--config")
        .arg(&config)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success());
    assert!(
        text.contains(".db") && text.contains("not a database"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_devices_at_once() {
    let plc = modbus().unit(1).register(40_001, 1).start().await;
    let mut yaml = String::new();
    let first = device("d")
        .on(&plc)
        .every(5_000)
        .read("value", "INT", json!({"address": "hr:0"}));
    yaml.push_str(&format!("---\n{}\n", first.model()));
    for i in 0..10_000 {
        let mut object = first.device();
        object["metadata"]["name"] = json!(format!("d{i}"));
        yaml.push_str(&format!("---\n{object}\n"));
    }
    let edge = edge().manifest("many", &yaml).run().await;
    counted("readings", 10_000, || async {
        let (_, page) = edge.get_text("/metrics").await?;
        let mut lines = page.lines();
        let count = lines.find_map(|line| line.strip_prefix("longshore_samples_total "));
        count.and_then(|count| count.parse().ok()).ok_or(page)
    })
    .await;
    edge.twin_is("d0", "value", json!(1)).await;
    edge.twin_is("d9999", "value", json!(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_refers_to_and_is_not_there_is_named() {
    let plc = modbus().unit(1).register(40_001, 1).start().await;
    let mut foreign = device("foreign")
        .on(&plc)
        .read("value", "INT", json!({"address": "hr:0"}))
        .device();
    foreign["spec"]["protocol"]["protocolName"] = json!("telepathy");
    let model = device("foreign")
        .read("value", "INT", json!({"address": "hr:0"}))
        .model();
    let twice = device("twice")
        .on(&plc)
        .read("value", "INT", json!({"address": "hr:0"}))
        .read("value", "INT", json!({"address": "hr:0"}))
        .read("other", "INT", json!({"address": "hr:0"}));
    let edge = edge()
        .manifest("foreign", &format!("---\n{model:#}\n---\n{foreign:#}\n"))
        .device(&twice)
        .run()
        .await;
    edge.twin_is("twice", "other", json!(1)).await;
    eventually("the protocol and the double name to be told", || async {
        let twins = edge.get("/twins").await?.to_string();
        let told = twins.contains("telepathy") && twins.contains("spec.properties[1].name");
        if told { Ok(()) } else { Err(twins) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_goes_while_it_is_written_to_leaves_nothing_behind() {
    let plc = modbus().unit(1).register(40_001, 1).start().await;
    let slow = device("slow")
        .on(&plc)
        .read_write("value", "INT", json!({"address": "hr:0"}));
    let other = device("other")
        .on(&plc)
        .read("value", "INT", json!({"address": "hr:0"}));
    let edge = edge().device(&slow).device(&other).run().await;
    edge.twin_is("slow", "value", json!(1)).await;

    plc.fault(Fault::Slow(std::time::Duration::from_millis(200)));
    edge.put_manifest("slow", &slow.clone().desired("value", "2").yaml());
    edge.write_is("slow", "value", "pending").await;
    edge.remove_manifest("slow");
    eventually("the device to be gone", || async {
        match edge.twin("slow", "value").await {
            Err(_) => Ok(()),
            Ok(twin) => Err(twin.to_string()),
        }
    })
    .await;
    plc.clear_faults();
    plc.set_holding(1, 0, 7);
    edge.twin_is("other", "value", json!(7)).await;
    edge.nothing_dangles().await;
}

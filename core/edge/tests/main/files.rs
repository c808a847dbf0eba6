//! What lies where a file is looked for need not be one.

use std::{fs, os::unix::fs::symlink, path::Path};

use longshore_sim_modbus::modbus;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value as Json, json};

use super::edge::{Edge, boiler, eventually, library};

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fifo_and_a_device_are_told_and_hold_nothing_up() {
    let plc = modbus()
        .unit(1)
        .register(30_001, 215)
        .register(40_001, 600)
        .start()
        .await;
    let mappers = tempfile::tempdir().unwrap();
    let path = |name: &str| mappers.path().join(name);
    fs::copy(library(), path("libmapper_modbus.so")).unwrap();
    fifo(&path("libmapper_fifo.so"));
    symlink("/dev/zero", path("libmapper_zeros.so")).unwrap();
    let mut edge = Edge::start_with(&boiler(&plc, None), |config| {
        config["mappers"] = json!([]);
        config["mapperDir"] = json!(mappers.path());
    })
    .await;
    edge.twin("temperature", "to be read", |twin| {
        twin["quality"] == "good"
    })
    .await;
    for (name, what) in [("fifo", "a FIFO"), ("zeros", "a device")] {
        eventually(name, || async {
            let (_, body) = edge.get("/status").await;
            let told = body.contains(&format!("libmapper_{name}.so"))
                && body.contains(&format!("it is {what}, not a regular file"));
            told.then_some(()).ok_or(body)
        })
        .await;
    }
    // While it runs, and where manifests are.
    fifo(&path("libmapper_late.so"));
    let manifests = edge.folder().join("manifests");
    fifo(&manifests.join("a.yaml"));
    symlink("/dev/zero", manifests.join("b.yaml")).unwrap();
    edge.put_manifest(&boiler(&plc, Some("75")));
    edge.twin("setpoint", "to be confirmed", |twin| {
        twin["write"]["state"] == "confirmed"
    })
    .await;
    eventually("the faults", || async {
        let (_, body) = edge.get("/status").await;
        let status: Json = serde_json::from_str(&body).unwrap();
        let faults = status["faults"].to_string();
        let all = ["a.yaml", "a FIFO", "b.yaml", "a device"];
        let told = all.iter().all(|text| faults.contains(text));
        told.then_some(()).ok_or(body)
    })
    .await;
    assert!(edge.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_of_a_library_is_made_anew() {
    let plc = modbus()
        .unit(1)
        .register(30_001, 215)
        .register(40_001, 600)
        .start()
        .await;
    let mut edge = Edge::start(&boiler(&plc, None)).await;
    let good = |twin: &Json| twin["quality"] == "good";
    edge.twin("temperature", "to be read", good).await;
    assert!(edge.terminate().await.success());
    let copies = fs::read_dir(edge.folder().join("state/mappers/modbus")).unwrap();
    let copy = copies
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "so"))
        .unwrap();
    // As a power cut or a failing disk leaves it: the size is right.
    let mut bytes = fs::read(&copy).unwrap();
    bytes[..4096].fill(0);
    fs::write(&copy, &bytes).unwrap();
    edge.start_again().await;
    edge.twin("temperature", "to be read again", good).await;
    assert!(fs::read(&copy).unwrap() == fs::read(library()).unwrap());
}

//! Libraries come, change and go while the edge runs.

use std::{fs, path::Path};

use longshore_sim_modbus::modbus;
use serde_json::{Value as Json, json};

use super::edge::{Edge, boiler, eventually, library};

/// The Modbus mapper as it would be after a change: another version, and
/// `length` of its bytes.
fn edition(version: &str, length: Option<usize>) -> Vec<u8> {
    let mut bytes = fs::read(library()).unwrap();
    // The descriptor: 16 bytes of magic, sizes and flags up to 40, the name's
    // 32, then the version's 32.
    let magic = b"LONGSHORE-MAPPER";
    let size = 200_u32.to_le_bytes();
    let start = [&magic[..], &size].concat();
    let at = bytes
        .windows(start.len())
        .position(|window| window == start)
        .expect("the descriptor is in the file");
    let field = &mut bytes[at + 72..at + 104];
    field.fill(0);
    field[..version.len()].copy_from_slice(version.as_bytes());
    bytes.truncate(length.unwrap_or(bytes.len()));
    bytes
}

/// As `cp` and `mv` do.
fn put(folder: &Path, name: &str, bytes: &[u8]) {
    let fresh = folder.join("fresh");
    fs::write(&fresh, bytes).unwrap();
    fs::rename(fresh, folder.join(name)).unwrap();
}

async fn mappers(edge: &Edge, what: &str, check: impl Fn(&Json) -> bool) -> Json {
    eventually(what, || async {
        let (_, body) = edge.get("/status").await;
        let status: Json = serde_json::from_str(&body).unwrap();
        check(&status["mappers"])
            .then(|| status["mappers"].clone())
            .ok_or(body)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn copying_a_library_is_all_that_it_takes_to_run_replace_and_remove_a_mapper() {
    let plc = modbus()
        .unit(1)
        .register(30_001, 215)
        .register(40_001, 600)
        .start()
        .await;
    let edge = Edge::start_with(&boiler(&plc, None), |config| {
        config["mappers"] = json!([]);
        config["mapperDir"] = json!("mappers");
    })
    .await;
    let folder = edge.folder().join("mappers");
    fs::create_dir(&folder).unwrap();
    // A first version comes, and the device that waited for it is served.
    put(&folder, "libmapper_modbus.so", &edition("1.0.0", None));
    mappers(&edge, "version 1", |m| m[0]["version"] == "1.0.0").await;
    for property in ["temperature", "setpoint"] {
        edge.twin(property, "to be read", |twin| twin["quality"] == "good")
            .await;
    }
    // A higher one under another name takes over; the twin stays good.
    put(&folder, "libmapper_modbus_next.so", &edition("1.1.0", None));
    eventually("version 1.1", || async {
        let (_, body) = edge.get("/twins?device=default/boiler").await;
        let twins: Json = serde_json::from_str(&body).unwrap();
        for twin in twins["properties"].as_array().unwrap() {
            assert_eq!(twin["quality"], "good", "{body}");
        }
        assert_eq!(twins["state"], "online", "{body}");
        let (_, body) = edge.get("/status").await;
        let status: Json = serde_json::from_str(&body).unwrap();
        if status["mappers"][0]["version"] == "1.1.0" {
            Ok(())
        } else {
            Err(body)
        }
    })
    .await;
    // A highest one is cut short: it is not used, and says so.
    put(
        &folder,
        "libmapper_modbus_next.so",
        &edition("1.2.0", Some(100_000)),
    );
    let refused = mappers(&edge, "the refusal", |m| m[0]["message"] != "").await;
    assert_eq!(refused[0]["state"], "Running");
    let message = refused[0]["message"].as_str().unwrap();
    assert!(
        message.contains("not used") && message.contains("truncated"),
        "{message}"
    );
    plc.set(1, longshore_sim_modbus::Kind::Input, 0, &[300]);
    edge.twin("temperature", "to go on", |twin| {
        twin["value"] == json!(30.0)
    })
    .await;
    // All are taken away: nobody knows how the device is.
    for name in ["libmapper_modbus.so", "libmapper_modbus_next.so"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    mappers(&edge, "no mapper", |m| {
        m.as_array().is_some_and(Vec::is_empty)
    })
    .await;
    edge.twin("temperature", "to be doubted", |twin| {
        twin["quality"] != "good"
    })
    .await;
    // And back.
    put(&folder, "libmapper_modbus.so", &edition("1.0.0", None));
    edge.twin("temperature", "to be read again", |twin| {
        twin["quality"] == "good"
    })
    .await;
    edge.nothing_dangles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_written_during_an_upgrade_arrives() {
    let plc = modbus()
        .unit(1)
        .register(30_001, 215)
        .register(40_001, 600)
        .start()
        .await;
    let edge = Edge::start_with(&boiler(&plc, Some("30")), |config| {
        config["mappers"][0]["file"] = json!("modbus.so");
    })
    .await;
    put(edge.folder(), "modbus.so", &edition("1.0.0", None));
    edge.twin("setpoint", "to be confirmed", |twin| {
        twin["write"]["state"] == "confirmed"
    })
    .await;
    put(edge.folder(), "modbus.so", &edition("1.1.0", None));
    // Another value each time that one was confirmed, until the switch is over.
    let mut value = 30;
    loop {
        value = if value < 80 { value + 1 } else { 30 };
        edge.put_manifest(&boiler(&plc, Some(&value.to_string())));
        edge.twin("setpoint", "to be confirmed", |twin| {
            twin["write"]["state"] == "confirmed"
                && twin["desired"].as_str() == Some(&*value.to_string())
        })
        .await;
        assert_eq!(plc.holding(1, 0), 10 * value);
        let (_, body) = edge.get("/status").await;
        let status: Json = serde_json::from_str(&body).unwrap();
        if status["mappers"][0]["version"] == "1.1.0" {
            assert_eq!(status["mappers"][0]["restarts"], 0, "{body}");
            break;
        }
    }
    edge.nothing_dangles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_device_shows_though_its_mapper_does_not_run() {
    let plc = modbus().unit(1).start().await;
    let manifest = boiler(&plc, None).replace("\"unit\":1", "\"unit\":300");
    assert!(manifest.contains("300"), "{manifest}");
    let edge = Edge::start_with(&manifest, |config| {
        // Its own configuration is wrong, so it is refused.
        config["mappers"][0]["config"] = json!({"timeoutMs": 0});
    })
    .await;
    eventually("the fault", || async {
        let (_, body) = edge.get("/twins?device=default/boiler").await;
        let fault = "spec.protocol.configData.unit: must be at most 255, found 300";
        if body.contains(fault) && body.contains("MapperDown") {
            Ok(())
        } else {
            let (_, status) = edge.get("/status").await;
            Err(format!("{body}\n{status}"))
        }
    })
    .await;
}

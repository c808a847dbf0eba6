//! `longshore up`, as a newcomer runs it.

use std::{path::Path, process::Command};

use longshore_harness::{
    binaries,
    edge::http_get,
    prelude::*,
    process::{Process, signal},
};
use tempfile::TempDir;

/// The demo takes the usual ports where they are free; two that start at once
/// would choose the same.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const PROTOCOLS: [&str; 4] = ["modbus", "opcua", "serial", "bluetooth"];

/// A `.longshore/` with the programs that the tests were built with.
fn home() -> TempDir {
    let folder = TempDir::new().unwrap();
    let home = folder.path().join(".longshore");
    std::fs::create_dir_all(home.join("bin")).unwrap();
    std::fs::create_dir_all(home.join("lib/mappers")).unwrap();
    for name in ["longshore", "edgecore", "cloudhub", "longshore-sim"] {
        // A hard link where possible: the supervisor knows its processes by their binaries.
        let to = home.join("bin").join(name);
        let from = binaries::binary(name);
        std::fs::hard_link(&from, &to)
            .or_else(|_| std::fs::copy(&from, &to).map(drop))
            .unwrap();
    }
    for protocol in PROTOCOLS {
        let library = format!("lib/mappers/libmapper_{protocol}.so");
        std::fs::copy(binaries::mapper(protocol), home.join(library)).unwrap();
    }
    folder
}

fn longshore(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(folder.join(".longshore/bin/longshore"));
    command
        .args(arguments)
        .current_dir(folder)
        .env("KUBECONFIG", folder.join(".longshore/kubeconfig"));
    command
}

fn status(folder: &Path) -> Json {
    let output = longshore(folder, &["status", "-o", "json"])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

async fn running(folder: &Path) -> Json {
    eventually("the demo to run", || async {
        let status = status(folder);
        let ok = status["state"] == "running" && status["link"]["state"] == "connected";
        if ok {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    })
    .await
}

fn run(folder: &Path, arguments: &[&str]) -> String {
    let output = longshore(folder, arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn pid(status: &Json, process: &str) -> u32 {
    let processes = status["processes"].as_array().unwrap();
    let found = processes.iter().find(|p| p["name"] == process).unwrap();
    u32::try_from(
        found["pid"]
            .as_u64()
            .unwrap_or_else(|| panic!("{process} does not run")),
    )
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_supervisor_leaves_nothing_that_stops_the_next_one() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let home = home();
    let folder = home.path();
    let mut up = Process::start("up", &mut longshore(folder, &["up"]), folder);
    let before = pid(&running(folder).await, "edgecore");
    up.kill();
    let left = eventually("the end to be seen", || async {
        let status = self::status(folder);
        if status["state"] == "unsupervised" {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    })
    .await;
    assert_eq!(left["pid"], Json::Null);
    let _up = Process::start("up", &mut longshore(folder, &["up"]), folder).supervises();
    let now = eventually("the demo to run anew", || async {
        let status = self::status(folder);
        let anew = status["state"] == "running" && status["pid"] != Json::Null;
        if anew {
            Ok(status)
        } else {
            Err(status.to_string())
        }
    })
    .await;
    assert_ne!(pid(&now, "edgecore"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_comes_up_survives_kills_and_goes_on_after_a_restart() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let home = home();
    let folder = home.path();
    let mut up = Process::start("up", &mut longshore(folder, &["up"]), folder).supervises();
    let status = running(folder).await;
    assert_eq!(status["nodes"][0]["name"], "edge-1");
    assert_eq!(status["mappers"][0]["name"], "modbus");

    run(folder, &["set", "device", "boiler", "setpoint=75"]);
    eventually("the write to be confirmed", || async {
        let text = run(folder, &["describe", "device", "boiler"]);
        if text.contains("confirmed") {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await;
    let devices = run(folder, &["get", "devices"]);
    for device in [
        "boiler",
        "meter",
        "press",
        "gps",
        "supply",
        "thermometer",
        "room",
    ] {
        assert!(devices.contains(device), "{device} is missing: {devices}");
    }
    four_protocols_move_and_are_written(folder).await;

    // Sixteen at a time: each comes through, and none undoes another.
    let sets: Vec<_> = (0..16)
        .map(|i| {
            let value = match i % 2 {
                0 => "setpoint=75",
                _ => "heating=true",
            };
            let mut set = longshore(folder, &["set", "device", "boiler", value]);
            set.spawn().unwrap()
        })
        .collect();
    for mut set in sets {
        assert!(set.wait().unwrap().success());
    }

    for process in ["cloudhub", "edgecore", "sim-modbus", "sim-bluetooth"] {
        let before = pid(&running(folder).await, process);
        signal(before, "KILL");
        eventually(&format!("{process} to be back"), || async {
            let now = self::status(folder);
            let found = now["processes"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|p| p["name"] == process);
            let back = found.is_some_and(|p| {
                p["pid"]
                    .as_u64()
                    .is_some_and(|pid| pid != u64::from(before))
            });
            if back { Ok(()) } else { Err(now.to_string()) }
        })
        .await;
        running(folder).await;
    }

    let mapper = |status: &Json| status["mappers"][0]["pid"].as_u64();
    let before = mapper(&running(folder).await).expect("the mapper runs");
    signal(u32::try_from(before).unwrap(), "KILL");
    eventually("the mapper to be back", || async {
        let now = self::status(folder);
        let back = mapper(&now).is_some_and(|pid| pid != before);
        if back { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    // What was set before all that still stands, and values go on changing.
    let device = || run(folder, &["describe", "device", "boiler"]);
    assert!(device().contains("75"), "{}", device());
    let values = || {
        let text = device();
        let reported = text.lines().filter(|line| line.contains("Reported:"));
        reported.collect::<Vec<_>>().join("\n")
    };
    let before = values();
    eventually("values to change", || async {
        let now = values();
        if now != before { Ok(()) } else { Err(now) }
    })
    .await;

    assert!(up.terminate().await.success(), "{}", up.log_tail());
    let stopped = serde_json::json!({"state": "stopped"});
    assert_eq!(self::status(folder), stopped, "nothing runs any more");

    let up = Process::start("up", &mut longshore(folder, &["up"]), folder).supervises();
    running(folder).await;
    let kubeconfig = folder.join(".longshore/kubeconfig");
    let device = kubectl(&kubeconfig, &["get", "device", "boiler", "-o", "json"]);
    assert!(device.contains("75"), "what was set is kept: {device}");
    drop(up);
}

/// One device of each protocol: its value moves, and it is written where it can be.
async fn four_protocols_move_and_are_written(folder: &Path) {
    for (device, property) in [
        ("boiler", "temperature"),
        ("press", "temperature"),
        ("gps", "latitude"),
        ("supply", "voltage"),
        ("thermometer", "temperature"),
        ("room", "temperature"),
    ] {
        let value = || async move {
            let answer = twins(folder, device).await?;
            let properties = answer["properties"].as_array().cloned();
            let found = properties
                .into_iter()
                .flatten()
                .find(|twin| twin["name"] == property && twin["quality"] == "good");
            found
                .map(|twin| twin["value"].to_string())
                .ok_or(answer.to_string())
        };
        let first = eventually(&format!("a value of {device}"), value).await;
        eventually(&format!("{property} of {device} to move"), || async {
            let now = value().await?;
            if now == first { Err(now) } else { Ok(()) }
        })
        .await;
    }
    for (device, change) in [
        ("press", "setpoint=120"),
        ("supply", "setpoint=5"),
        ("room", "setpoint=22.5"),
    ] {
        run(folder, &["set", "device", device, change, "--wait"]);
    }
}

/// What the edge core itself says of a device.
async fn twins(folder: &Path, device: &str) -> Result<Json, String> {
    let status = status(folder);
    let metrics = status.pointer("/metrics/edge").and_then(Json::as_str);
    let address = metrics
        .and_then(|url| {
            url.strip_prefix("http://")?
                .strip_suffix("/metrics")?
                .parse()
                .ok()
        })
        .ok_or_else(|| status.to_string())?;
    let (_, body) = http_get(address, &format!("/twins?device=default/{device}")).await?;
    serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))
}

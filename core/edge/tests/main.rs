//! The real `edgecore`, with the real Modbus mapper in a process of its own
//! and a simulated device.

#[path = "main/edge.rs"]
mod edge;
#[path = "main/files.rs"]
mod files;
#[path = "main/libraries.rs"]
mod libraries;
#[path = "main/tasks.rs"]
mod tasks;

use std::fs;

use edge::{Edge, boiler, eventually};
use longshore_sim_modbus::{Simulator, modbus};
use serde_json::json;

/// Temperature 21.5 °C, setpoint 60 °C, both in tenths.
async fn plc() -> Simulator {
    modbus()
        .unit(1)
        .register(30_001, 215)
        .register(40_001, 600)
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_register_becomes_a_twin_and_a_desired_value_a_register() {
    let plc = plc().await;
    let edge = Edge::start(&boiler(&plc, Some("75"))).await;
    edge.twin("temperature", "to be read", |twin| {
        twin["value"] == json!(21.5) && twin["quality"] == "good"
    })
    .await;
    edge.twin("setpoint", "to be confirmed", |twin| {
        twin["write"]["state"] == "confirmed"
    })
    .await;
    assert_eq!(plc.holding(1, 0), 750);
    let twin = edge
        .twin("setpoint", "to be 75", |twin| twin["value"] == json!(75.0))
        .await;
    assert_eq!(twin["desired"], "75");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_manifest_reaches_the_device_and_a_wrong_one_does_not() {
    let plc = plc().await;
    let edge = Edge::start(&boiler(&plc, None)).await;
    edge.twin("setpoint", "to be read", |twin| {
        twin["value"] == json!(60.0)
    })
    .await;
    edge.put_manifest(&boiler(&plc, Some("95")));
    let twin = edge
        .twin("setpoint", "to be refused", |twin| {
            twin["write"]["state"] == "failed"
        })
        .await;
    assert!(
        twin["write"]["message"]
            .as_str()
            .unwrap()
            .contains("out of range"),
        "{twin}"
    );
    assert_eq!(plc.holding(1, 0), 600);
    edge.put_manifest(&boiler(&plc, Some("80")));
    edge.twin("setpoint", "to be confirmed", |twin| {
        twin["write"]["state"] == "confirmed"
    })
    .await;
    assert_eq!(plc.holding(1, 0), 800);
    edge.nothing_dangles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapper_that_is_killed_comes_back_with_its_devices() {
    let plc = plc().await;
    let edge = Edge::start(&boiler(&plc, None)).await;
    edge.twin("temperature", "to be read", |twin| {
        twin["value"] == json!(21.5)
    })
    .await;
    let former = edge.mapper_pid().await;
    edge::kill(former);
    plc.set(1, longshore_sim_modbus::Kind::Input, 0, &[300]);
    edge.twin("temperature", "to be read again", |twin| {
        twin["value"] == json!(30.0)
    })
    .await;
    assert_ne!(edge.mapper_pid().await, former);
    edge.nothing_dangles().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_is_killed_remembers_and_does_not_write_again() {
    let plc = plc().await;
    let mut edge = Edge::start(&boiler(&plc, Some("75"))).await;
    edge.twin("setpoint", "to be confirmed", |twin| {
        twin["write"]["state"] == "confirmed"
    })
    .await;
    eventually("the outcome to be on the disk", || async {
        let (_, metrics) = edge.get("/metrics").await;
        if metrics.contains("longshore_unsaved_rows 0\n") {
            Ok(())
        } else {
            Err(metrics)
        }
    })
    .await;
    edge.kill();
    edge.start_again().await;
    edge.twin("setpoint", "to be read", |twin| {
        twin["value"] == json!(75.0) && twin["quality"] == "good"
    })
    .await;
    edge.twin("setpoint", "to be confirmed", |twin| {
        twin["write"]["state"] == "confirmed"
    })
    .await;
    assert_eq!(
        plc.writes().len(),
        1,
        "a confirmed value is not written because somebody restarted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn values_survive_an_ordered_end_without_the_device() {
    let plc = plc().await;
    let mut edge = Edge::start(&boiler(&plc, None)).await;
    edge.twin("temperature", "to be read", |twin| {
        twin["value"] == json!(21.5)
    })
    .await;
    assert!(edge.terminate().await.success());
    assert!(
        !edge.folder().join("state/run.json").exists(),
        "nobody is misled by the addresses of before"
    );
    plc.stop().await;
    edge.start_again().await;
    let twin = edge
        .twin("temperature", "to be there", |twin| {
            twin["value"] == json!(21.5)
        })
        .await;
    assert_ne!(twin["quality"], "good", "{twin}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_status_answer() {
    let plc = plc().await;
    let edge = Edge::start(&boiler(&plc, None)).await;
    edge.twin("temperature", "to be read", |twin| {
        twin["quality"] == "good"
    })
    .await;
    assert_eq!(edge.get("/healthz").await, (200, "ok\n".to_owned()));
    eventually("edgecore to be ready", || async {
        let (code, text) = edge.get("/readyz").await;
        if code == 200 { Ok(()) } else { Err(text) }
    })
    .await;
    let (_, metrics) = edge.get("/metrics").await;
    for expected in [
        "longshore_devices 1",
        "longshore_properties 2",
        "longshore_mapper_up{mapper=\"modbus\"} 1",
    ] {
        assert!(metrics.contains(expected), "{expected} in {metrics}");
    }
    assert_eq!(edge.get("/twins?device=default/nobody").await.0, 404);
    assert_eq!(edge.get("/twins?device=nobody").await.0, 400);
    assert_eq!(edge.get("/elsewhere").await.0, 404);
}

#[test]
fn a_wrong_configuration_tells_all_of_its_faults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edgecore.yaml");
    fs::write(&file, "node: Edge_1\nbus: {mode: telepathy}\nmappres: []\n").unwrap();
    let output = edge::edgecore()
        .arg("--check-config")
        .arg("--config")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    for expected in [
        "(3 faults)",
        "line 1: node",
        "line 2: bus.mode",
        "line 3: mappres: unknown key, did you mean `mappers`",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}

#[test]
fn what_prevents_the_start_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edgecore.yaml");
    let run = |config: serde_json::Value| {
        fs::write(&file, config.to_string()).unwrap();
        let output = edge::edgecore()
            .arg("--config")
            .arg(&file)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let free = json!({"listen": "127.0.0.1:0"});
    let text = run(
        json!({"node": "a", "stateDir": "state", "bus": {"mode": "off"}, "metrics": {"listen": port}}),
    );
    assert!(text.contains(&port) && text.contains("in use"), "{text}");
    let text =
        run(json!({"node": "a", "stateDir": "state", "bus": {"listen": port}, "metrics": free}));
    assert!(
        text.contains(&port) && text.contains("hint: set bus.listen"),
        "{text}"
    );
    fs::create_dir(folder.path().join("bad")).unwrap();
    fs::write(
        folder.path().join("bad/edge.db"),
        "certainly not a database, only a text of some length",
    )
    .unwrap();
    let text =
        run(json!({"node": "a", "stateDir": "bad", "bus": {"mode": "off"}, "metrics": free}));
    assert!(
        text.contains("bad/edge.db") && text.contains("is not a database"),
        "{text}"
    );
    let last = text.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("hint: move the file away"),
        "causes first: {text}"
    );
    let missing = folder.path().join("missing.yaml");
    let output = edge::edgecore()
        .arg("--config")
        .arg(&missing)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!(
            "error: no configuration at {}\n\nhint: name one with --config FILE\n",
            missing.display()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapper_that_cannot_be_used_is_told_where_people_look() {
    let plc = plc().await;
    let edge = Edge::start_with(&boiler(&plc, None), |config| {
        config["mappers"][0]["file"] = json!("/nowhere/lib.so")
    })
    .await;
    eventually("the device to say why it is not served", || async {
        let (_, twins) = edge.get("/twins").await;
        if twins.contains("/nowhere/lib.so") && twins.contains("MapperDown") {
            Ok(())
        } else {
            Err(twins)
        }
    })
    .await;
    let (code, text) = edge.get("/readyz").await;
    assert!(
        code == 503 && text.contains("mapper modbus: ") && text.contains("/nowhere/lib.so"),
        "{text}"
    );
}

/// Runs `edgecore` with this state folder to its end: exit code and what it said.
fn ends(state_dir: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edgecore.yaml");
    let config = json!({"node": "edge-1", "stateDir": state_dir, "bus": {"mode": "off"}, "metrics": {"listen": "127.0.0.1:0"}});
    fs::write(&file, config.to_string()).unwrap();
    let ended = edge::edgecore()
        .arg("--config")
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    (ended.status.code(), said)
}

#[test]
fn a_state_folder_that_cannot_be_written_is_named_with_what_to_do() {
    // Nobody, root included, can make a folder or a file there.
    for state_dir in ["/proc/longshore", "/proc/self"] {
        let (code, said) = ends(state_dir);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(state_dir), "{said}");
        assert!(
            said.contains("hint: check owner and mode of the f"),
            "{said}"
        );
        assert!(said.contains("not mounted read-only"), "{said}");
    }
}

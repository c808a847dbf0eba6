//! Serial lines: the ready line, the HTTP face, the ports of the demo, mistakes in scenarios.

use std::path::Path;

use serde_json::json;

use crate::process::{Process, demo, error_of, wait};

#[test]
fn the_demo_tells_its_ports_and_takes_them_away_at_the_end() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let link = folder.path().join("gps");
    let place = format!("gps={}", link.display());
    let mut process = Process::start(
        "serial",
        &[
            &demo("serial"),
            "--port-link",
            &place,
            "--tcp",
            "supply=127.0.0.1:0",
            "--control",
            "127.0.0.1:0",
        ],
    );
    assert_eq!(process.ready["url"], json!(link));
    assert_eq!(process.ready["port"], json!(link));
    assert_eq!(process.ready["lines"]["gps"]["port"], json!(link));
    let supply = process.ready["lines"]["supply"]["tcp"]
        .as_str()
        .expect("an address");
    assert!(supply.starts_with("tcp://127.0.0.1:"), "{supply}");
    assert!(link.exists());
    let (status, state) = process.http("GET", "/state", "");
    assert_eq!(status, 200);
    assert_eq!(state["signals"]["voltage"], 12.0);
    assert_eq!(state["lines"][1]["name"], "supply");
    assert_eq!(process.http("PUT", "/signals/voltage", "5").0, 204);
    assert_eq!(process.http("PUT", "/signals/voltage", "99").0, 422);
    assert_eq!(process.http("PUT", "/signals/nothing", "1").0, 404);
    assert_eq!(
        process
            .http("POST", "/faults", r#"{"fault": "unresponsive", "unit": 2}"#)
            .0,
        204
    );
    assert_eq!(
        process.http("POST", "/faults", r#"{"fault": "sulk"}"#).0,
        400
    );
    assert_eq!(process.http("GET", "/state", "").1["faults"][0]["unit"], 2);
    assert_eq!(process.http("DELETE", "/faults", "").0, 204);
    assert_eq!(process.http("POST", "/noise", r#"{"hex": "0"}"#).0, 400);
    assert_eq!(process.http("POST", "/noise", r#"{"hex": "00 ff"}"#).0, 204);
    assert_eq!(process.http("POST", "/vanish", r#"{"forMs": 100}"#).0, 204);
    wait("the port to be back", || match link.exists() {
        true => Ok(()),
        false => Err("it is away".to_owned()),
    });
    // Ended as a service manager does it, it cleans up behind itself.
    process.terminate();
    assert!(
        std::fs::symlink_metadata(&link).is_err(),
        "the link is gone"
    );
}

#[test]
fn without_any_place_each_line_gets_one() {
    let mut process = Process::start("serial", &[&demo("serial")]);
    for line in ["gps", "supply", "scale"] {
        let path = process.ready["lines"][line]["port"]
            .as_str()
            .expect("a port");
        assert!(Path::new(path).exists(), "{path}");
    }
    process.terminate();
    let path = process.ready["port"].as_str().expect("a port");
    let folder = Path::new(path).parent().expect("a folder");
    assert!(!folder.exists(), "it takes its folder away");
}

#[test]
fn a_wrong_scenario_names_all_its_places() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let file = folder.path().join("wrong.yaml");
    std::fs::write(
        &file,
        "
world: {signals: {a: {constant: 1}}}
units:
  - unit: 1
    answers:
      - {request: 'A {b}', response: '{c}'}
      - {request: 'A', set: {a: 1}}
    stream: [{everyMs: 0, say: ['{a']}]
",
    )
    .expect("written");
    let path = file.display().to_string();
    let text = error_of("serial", &[&path]);
    for part in [
        "units[0].answers[0].request`: there is no signal `b`",
        "units[0].answers[0].response`: there is no signal `c`",
        "units[0].answers[1].set`: signal `a` is no setpoint",
        "units[0].stream[0].everyMs`: 0 is not above 0",
        "units[0].stream[0].say[0]`: a `{` is never closed",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

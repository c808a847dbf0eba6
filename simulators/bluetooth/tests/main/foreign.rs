//! bleak, which was written against the real BlueZ, finds nothing strange here.

use std::{env, path::Path, process::Command};

use longshore_sim_bluetooth::bluetooth;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bleak_listens_connects_reads_writes_and_watches() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = env::var("LONGSHORE_PYTHON").expect(
        "LONGSHORE_PYTHON is not set: `make test` sets it, or \
         export LONGSHORE_PYTHON=$(sh deploy/setup/python), a Python with bleak==3.1.0",
    );
    let radio = bluetooth()
        .scenario_file(&folder.join("scenarios/demo.yaml"))
        .expect("the demo")
        .start()
        .await;
    let mut command = Command::new(python);
    command
        .arg(folder.join("tests/peers/bleak_client.py"))
        .arg("D0:5A:20:00:00:02")
        .env("DBUS_SYSTEM_BUS_ADDRESS", radio.address());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("it ends")
        .expect("it runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let thermometer = &seen["adverts"]["A4:C1:38:5A:20:01"];
    assert_eq!(thermometer["name"], "ATC_5A2001");
    let data = thermometer["service"]["0000181a-0000-1000-8000-00805f9b34fb"]
        .as_str()
        .expect("service data");
    // The address backwards, and 15 bytes in all.
    assert!(
        data.starts_with("01205a38c1a4") && data.len() == 30,
        "{data}"
    );
    assert_eq!(
        seen["characteristics"]["00002a6e-0000-1000-8000-00805f9b34fb"],
        json!(["read", "notify"])
    );
    // 2350 hundredths of a degree, written and read again.
    assert_eq!(seen["setpoint"], "2e09");
    assert_eq!(seen["notified"].as_str().map(str::len), Some(4));
    // 0x7FFF is far above the setpoint's 30 °C.
    let refused = seen["refused"].as_str().unwrap_or_default();
    assert!(refused.contains("Out of Range"), "{seen}");
    assert_eq!(radio.writes().len(), 1);
}

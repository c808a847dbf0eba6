//! paho-mqtt, the client of most applications in Python, in both versions.

use std::{env, net::SocketAddr, path::Path, process::Command};

use serde_json::{Value, json};

use super::{Edge, Fixture, Limits, PATIENCE, apart, start, start_in};

#[tokio::test(flavor = "multi_thread")]
async fn paho_gets_what_mqtt_promises_in_both_versions_and_across_a_restart() {
    let Fixture {
        broker,
        tasks,
        folder,
        ..
    } = start(Limits::default(), Edge::default()).await;
    let before = paho(broker.address(), "begin").await;
    assert!(tasks.drain(PATIENCE).await.is_empty());
    let Fixture { broker, tasks, .. } = start_in(folder, Limits::default(), Edge::default()).await;
    let after = paho(broker.address(), "end").await;
    assert!(tasks.drain(PATIENCE).await.is_empty());

    for (version, v) in [("3.1.1", "v4"), ("5", "v5")] {
        let heard = [0, 1, 2].map(|qos| {
            json!([
                format!("{v}/plain/{qos}"),
                format!("of QoS {qos}"),
                qos,
                false
            ])
        });
        let expected = json!({
            "connected": ["Success", false],
            "granted": ["Granted QoS 2", "Granted QoS 1"],
            "heard": heard,
            "retained": [format!("{v}/kept"), "new", 1, true],
            "will": [format!("{v}/will"), "lost", 1, false],
        });
        assert_eq!(before[version], expected, "{version}");

        let after = &after[version];
        assert_eq!(after["connected"], json!(["Success", true]), "{version}");
        // Each QoS keeps its order; between them paho hands QoS 2 out later.
        for qos in [1, 2] {
            let waited = after["waited"].as_array().expect("a list").iter();
            let of_this: Vec<&str> = waited
                .filter(|message| message[1] == qos)
                .filter_map(|message| message[0].as_str())
                .collect();
            let sent: Vec<String> = (0..20)
                .filter(|number| number % 2 + 1 == qos)
                .map(|number| number.to_string())
                .collect();
            assert_eq!(of_this, sent, "{version}, QoS {qos}");
        }
        assert_eq!(after["fresh"], json!(["Success", false]), "{version}");
        assert_eq!(after["first"], "now", "{version}");
    }
    let expected = json!({
        "granted": ["Granted QoS 1"],
        "properties": ["text/plain", "answer/here", "7", [["a", "1"], ["a", "2"]]],
        "no local": "of another",
    });
    assert_eq!(before["of 5"], expected);
}

async fn paho(broker: SocketAddr, part: &'static str) -> Value {
    let python = env::var("LONGSHORE_PYTHON").expect(
        "LONGSHORE_PYTHON is not set: `make test` sets it, or \
         export LONGSHORE_PYTHON=$(sh deploy/setup/python), a Python with paho-mqtt==2.1.0",
    );
    let mut command = Command::new(python);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/paho_client.py"))
        .args([&broker.port().to_string(), part]);
    let output = apart(move || command.output()).await.expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

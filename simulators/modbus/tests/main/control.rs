//! The HTTP face: what is steered there, clients see.

use std::net::SocketAddr;
use std::path::Path;

use longshore_sim_modbus::modbus;
use longshore_sim_world::control::request;
use serde_json::{Value, json};

use crate::client::Client;

struct Face(SocketAddr);

impl Face {
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let answer = request(self.0, method, path, body).await;
        answer.expect("an answer")
    }
}

#[tokio::test]
async fn the_demo_runs_and_can_be_steered() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/demo.yaml");
    let builder = modbus().scenario_file(demo).expect("the demo");
    let mut simulator = builder.try_start().await.expect("it starts");
    let control = simulator.control(([127, 0, 0, 1], 0).into()).await;
    let face = Face(control.expect("a free port"));
    let mut client = Client::connect(simulator.addr()).await;
    // The setpoint, 60.0 °C, then a write of 70.0.
    assert_eq!(client.ask(1, &[3, 0, 0, 0, 1]).await, [3, 2, 0x02, 0x58]);
    client.ask(1, &[6, 0, 0, 0x02, 0xBC]).await;
    let (status, state) = face.ask("GET", "/state", "").await;
    assert_eq!((status, &state["signals"]["setpoint"]), (200, &json!(70.0)));
    assert_eq!(state["writes"][0]["values"], json!([700]));
    assert_eq!(state["units"][1]["name"], json!("meter"));
    assert_eq!(state["line"]["open"], json!(1));

    assert_eq!(face.ask("PUT", "/signals/setpoint", "50").await.0, 204);
    assert_eq!(client.ask(1, &[3, 0, 0, 0, 1]).await, [3, 2, 0x01, 0xF4]);
    // A sensor that is stuck at 99.9 °C, until it is let go.
    assert_eq!(face.ask("PUT", "/signals/temperature", "99.9").await.0, 204);
    assert_eq!(client.ask(1, &[4, 0, 0, 0, 1]).await, [4, 2, 0x03, 0xE7]);
    assert_eq!(face.ask("DELETE", "/signals/temperature", "").await.0, 204);
    assert_ne!(client.ask(1, &[4, 0, 0, 0, 1]).await, [4, 2, 0x03, 0xE7]);
    assert_eq!(face.ask("PUT", "/signals/setpoint", "200").await.0, 422);
    assert_eq!(face.ask("PUT", "/signals/nothing", "1").await.0, 404);

    let fault = r#"{"fault": {"exception": 6}, "unit": 1, "requests": 1}"#;
    assert_eq!(face.ask("POST", "/faults", fault).await.0, 204);
    assert_eq!(client.ask(1, &[3, 0, 0, 0, 1]).await, [0x83, 6]);
    assert_eq!(
        face.ask("POST", "/faults", r#"{"fault": "tired"}"#).await.0,
        400
    );
    assert_eq!(face.ask("DELETE", "/faults", "").await.0, 204);
    let (_, signals) = face.ask("GET", "/signals", "").await;
    assert!(signals.as_array().is_some_and(|all| all.len() > 20));
    simulator.stop().await;
}

//! The HTTP face: what is steered there, clients see.

use std::net::SocketAddr;
use std::path::Path;

use longshore_sim_opcua::opcua;
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
    let builder = opcua().scenario_file(demo).expect("the demo");
    let mut simulator = builder.try_start().await.expect("it starts");
    let control = simulator.control(([127, 0, 0, 1], 0).into()).await;
    let face = Face(control.expect("a free port"));
    let url = simulator.url();
    let mut client = Client::connect(&url).await;
    let setpoint = "ns=2;s=Press.Setpoint";
    assert_eq!(client.read(setpoint).await.0, json!(180.0));
    client.ok(json!(["write", setpoint, "Double", 200.0])).await;
    let (status, state) = face.ask("GET", "/state", "").await;
    assert_eq!(
        (status, &state["signals"]["setpoint"]),
        (200, &json!(200.0))
    );
    assert_eq!(state["values"][setpoint], json!(200.0));
    assert_eq!(state["writes"][0]["value"], json!(200.0));
    assert_eq!(state["totals"]["open"], json!(1));

    assert_eq!(face.ask("PUT", "/signals/setpoint", "150").await.0, 204);
    assert_eq!(client.read(setpoint).await.0, json!(150.0));
    let temperature = "/nodes/ns=2;s=Press.Temperature";
    // A sensor that is stuck at 99.5 °C, until it is let go.
    assert_eq!(face.ask("PUT", temperature, "99.5").await.0, 204);
    assert_eq!(client.read("ns=2;s=Press.Temperature").await.0, json!(99.5));
    assert_eq!(face.ask("DELETE", "/signals/temperature", "").await.0, 204);
    assert_ne!(client.read("ns=2;s=Press.Temperature").await.0, json!(99.5));
    assert_eq!(face.ask("PUT", "/signals/setpoint", "900").await.0, 422);
    assert_eq!(face.ask("PUT", "/signals/nothing", "1").await.0, 404);
    assert_eq!(face.ask("GET", "/nodes/ns=2;s=None", "").await.0, 404);

    let status = format!("{temperature}/status");
    assert_eq!(
        face.ask("PUT", &status, "\"BadSensorFailure\"").await.0,
        204
    );
    let read = client.read("ns=2;s=Press.Temperature").await;
    assert_eq!(read.1, "BadSensorFailure");
    assert_eq!(face.ask("PUT", &status, "\"Tired\"").await.0, 400);

    let fault =
        r#"{"fault": {"exception": "BadTooManyOperations"}, "service": "write", "requests": 1}"#;
    assert_eq!(face.ask("POST", "/faults", fault).await.0, 204);
    let write = json!(["write", setpoint, "Double", 100.0]);
    assert_eq!(client.error(write).await, "BadTooManyOperations");
    assert_eq!(
        face.ask("POST", "/faults", r#"{"fault": "tired"}"#).await.0,
        400
    );
    assert_eq!(face.ask("DELETE", "/faults", "").await.0, 204);

    assert_eq!(face.ask("DELETE", "/sessions", "").await.0, 204);
    assert_eq!(
        client.error(json!(["read", setpoint])).await,
        "BadSessionIdInvalid"
    );
    assert_eq!(
        face.ask("POST", "/restart", "{\"downMs\": 10}").await.0,
        204
    );
    let mut client = Client::connect(&url).await;
    assert_eq!(client.read(setpoint).await.0, json!(150.0));
    simulator.stop().await;
}

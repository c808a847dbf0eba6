//! Foreign clients: pyserial on the pty, pynmea2 for the sentences.

use std::env;
use std::path::Path;
use std::process::Command;

use longshore_sim_serial::Simulator;

/// Runs a Python client with the port as its argument; gives what it prints.
async fn client(script: &'static str, port: &Path) -> String {
    let python = env::var("LONGSHORE_PYTHON").expect(
        "LONGSHORE_PYTHON is not set: `make test` sets it, or export LONGSHORE_PYTHON=$(deploy/setup/python)",
    );
    let port = port.to_owned();
    let run = move || Command::new(python).args(["-c", script]).arg(port).output();
    let output = tokio::task::spawn_blocking(run).await.expect("it ran");
    let output = output.expect("Python runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyserial_talks_to_the_supply() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let port = folder.path().join("supply");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/demo.yaml");
    let mut simulator = Simulator::from_file(Path::new(file)).expect("the demo");
    simulator.port(Some("supply"), &port).expect("a pty");
    let said = client(
        "
import sys, serial
port = serial.Serial(sys.argv[1], 9600, timeout=10)
for request in ['*IDN?', 'VOLT 7.5', 'VOLT?', 'OUTP OFF', 'OUTP?']:
    port.write((request + '\\n').encode())
    if request.endswith('?'):
        print(port.readline().decode().strip())
",
        &port,
    )
    .await;
    assert_eq!(said, "Longshore,SIM-PSU,0001,1.0\n7.500\n0\n");
    assert_eq!(simulator.world().value("voltage"), Some(7.5));
    simulator.stop().await;
    assert!(
        std::fs::symlink_metadata(&port).is_err(),
        "the link is gone"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pynmea2_understands_the_receiver() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let port = folder.path().join("gps");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/demo.yaml");
    let mut simulator = Simulator::from_file(Path::new(file)).expect("the demo");
    simulator.port(Some("gps"), &port).expect("a pty");
    let world = simulator.world();
    world.force("latitude", Some(-33.85)).expect("a signal");
    world
        .force("longitude", Some(9.999_999_9))
        .expect("a signal");
    let said = client(
        "
import sys, serial, pynmea2
port = serial.Serial(sys.argv[1], 9600, timeout=10)
seen = set()
port.readline()
while len(seen) < 3:
    # With check=True a sentence without a right checksum is an error.
    sentence = pynmea2.parse(port.readline().decode().strip(), check=True)
    if sentence.sentence_type not in seen and sentence.sentence_type != 'GSA':
        print(sentence.sentence_type, round(sentence.latitude, 6), round(sentence.longitude, 6))
    seen.add(sentence.sentence_type)
",
        &port,
    )
    .await;
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["GGA -33.85 10.0", "RMC -33.85 10.0"]);
    simulator.stop().await;
}

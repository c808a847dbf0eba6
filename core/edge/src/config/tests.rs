use std::path::Path;

use super::{BusMode, Config};

fn faults(text: &str) -> Vec<String> {
    Config::parse(text, Path::new("/etc/longshore"))
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_smallest_file_has_only_a_node() {
    let config = Config::parse("node: edge-1\n", Path::new("/etc/longshore")).unwrap();
    assert_eq!(config.node().as_str(), "edge-1");
    assert!(matches!(config.bus(), BusMode::Embedded(options) if options.listen.port() == 1883));
    assert_eq!(config.metrics_listen().to_string(), "127.0.0.1:10350");
    assert!(config.hub().is_none());
}

#[test]
fn a_plain_off_is_a_word() {
    let config = Config::parse("node: edge-1\nbus: {mode: off}\n", Path::new("/etc")).unwrap();
    assert!(matches!(config.bus(), BusMode::Off));
}

#[test]
fn all_faults_come_at_once_with_their_lines() {
    let text = "\
node: Edge_1
stateDirr: /tmp/x
mappers:
  - name: modbus
    file: libmapper_modbus.so
  - name: modbus
    file: other.so
    isolation: thread
bus:
  listen: nowhere
hub:
  url: http://hub
  caFile: ca.crt
  certFile: node.crt
log: {format: xml}
";
    assert_eq!(
        faults(text),
        [
            "line 1: node: `Edge_1` is not a valid node name: use lower case letters, digits and `-`, beginning and ending with a letter or digit",
            "line 2: stateDirr: unknown key, did you mean `stateDir`",
            "line 6: mappers[1].name: two mappers are named `modbus`",
            "line 8: mappers[1].isolation: `thread` is none of `process`, `inProcess`",
            "line 10: bus.listen: `nowhere` is no address and port, such as `127.0.0.1:1883`",
            "line 11: hub.keyFile: missing",
            "line 12: hub.url: `http://hub` is not of the form `wss://host:port`",
            "line 15: log.format: `xml` is none of `text`, `json`",
        ]
    );
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let config = Config::parse(
        "node: a\nstateDir: state\nmanifests: m\n",
        Path::new("/etc/longshore"),
    )
    .unwrap();
    assert_eq!(config.state_dir(), Path::new("/etc/longshore/state"));
    assert_eq!(config.manifests(), Some(Path::new("/etc/longshore/m")));
}

/// The examples that people copy from the reference.
#[test]
fn the_documented_examples_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["broker.password", "broker-ca.crt"] {
        std::fs::write(folder.path().join(file), "secret\n").unwrap();
    }
    let text = include_str!("../../../../docs/reference/edgecore.md");
    let examples: Vec<_> = text
        .split("```yaml\n")
        .skip(1)
        .filter_map(|part| part.split("```").next())
        .map(|example| Config::parse(example, folder.path()).expect(example))
        .collect();
    assert_eq!(examples.len(), 2);
    assert!(examples[0].hub().is_some());
    let BusMode::External(options) = examples[1].bus() else {
        panic!("{:?}", examples[1].bus());
    };
    let user = options.credentials.as_ref().map(|(user, _)| user.as_str());
    assert!(options.tls.is_some() && user == Some("edge-1"));
}

//! The command line as a process.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn longshore(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_longshore"))
        .args(arguments)
        .env_remove("KUBECONFIG")
        .env("HOME", home.path())
        .env("LONGSHORE_HOME", home.path())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Each profile of `devices/` through the real edge core and mapper, against
/// a simulated device.
#[test]
fn the_profiles_pass_their_tests() {
    let own = Path::new(env!("CARGO_BIN_EXE_longshore")).parent().unwrap();
    let of_protocols = ["modbus", "opcua", "serial", "bluetooth"]
        .into_iter()
        .map(|protocol| format!("libmapper_{protocol}.so"));
    for needed in of_protocols.chain(["edgecore".to_owned(), "longshore-sim".to_owned()]) {
        assert!(
            own.join(&needed).is_file(),
            "{needed} is missing; run `cargo build --workspace`"
        );
    }
    let devices = Path::new(env!("CARGO_MANIFEST_DIR")).join("../devices");
    let mut tests: Vec<PathBuf> = std::fs::read_dir(devices)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|folder| folder.is_dir())
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|file| file.to_string_lossy().ends_with(".test.yaml"))
        .collect();
    tests.sort();
    let mut arguments = vec!["test", "profile", "--timeout", "30"];
    arguments.extend(tests.iter().map(|test| test.to_str().unwrap()));
    let output = longshore(&arguments);
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    assert!(tests.len() >= 16, "{} profiles", tests.len());
    let passed = format!("{} profiles passed\n", tests.len());
    assert!(text(&output.stdout).ends_with(&passed));
}

#[test]
fn errors_say_what_to_do() {
    let none = longshore(&["get", "devices"]);
    assert_eq!(none.status.code(), Some(1));
    let told = text(&none.stderr);
    assert!(
        told.contains("\n\nhint: start the demo with `make up`"),
        "{told}"
    );

    let wrong = longshore(&["set", "device", "boiler", "setpoint"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("expected PROPERTY=VALUE"));
}

#[test]
fn a_kind_that_was_left_out_is_named() {
    for (given, meant) in [
        (
            vec!["describe", "boiler"],
            "longshore describe device boiler",
        ),
        (
            vec!["set", "boiler", "setpoint=75"],
            "longshore set device boiler setpoint=75",
        ),
        (
            vec!["describe", "model", "boiler"],
            "longshore get models boiler -o yaml",
        ),
    ] {
        let output = longshore(&given);
        assert_eq!(output.status.code(), Some(2));
        let told = text(&output.stderr);
        assert!(told.contains(&format!("did you mean: {meant}\n")), "{told}");
    }
}

/// A server that is not there: the error names it.
#[test]
fn a_server_that_does_not_answer_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let kubeconfig = folder.path().join("kubeconfig");
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": format!("https://{address}")}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "users": [{"name": "a", "user": {"token": "t"}}],
    });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let output = longshore(&[
        "get",
        "devices",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
    ]);
    let told = text(&output.stderr);
    assert!(
        told.starts_with(&format!(
            "error: cannot reach the Kubernetes API at https://{address}"
        )),
        "{told}"
    );
}

#[test]
fn mapper_libraries_are_shown_and_judged() {
    let own = Path::new(env!("CARGO_BIN_EXE_longshore")).parent().unwrap();
    let library = own.join("libmapper_modbus.so");
    assert!(
        library.is_file(),
        "{} is missing; run `cargo build -p longshore-mapper-modbus-plugin`",
        library.display()
    );
    let library = library.to_str().unwrap();
    let shown = longshore(&["mapper", "show", library]);
    assert!(
        text(&shown.stdout).starts_with("name      modbus\n"),
        "{shown:?}"
    );
    let judged = longshore(&[
        "mapper",
        "check",
        library,
        "--rule",
        "schema",
        "--rule",
        "stopped-refuses-commands",
        "--output",
        "json",
    ]);
    assert!(judged.status.success(), "{judged:?}");
    let report: serde_json::Value = serde_json::from_slice(&judged.stdout).unwrap();
    assert_eq!(report["rules"][0]["rule"], "schema");
    assert_eq!(report["rules"][1]["verdict"], "kept", "{report}");

    let none = longshore(&["mapper", "check", "/no/such/file.so"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(
        text(&none.stderr).starts_with("error: /no/such/file.so does not exist"),
        "{none:?}"
    );
    let other = longshore(&[
        "mapper",
        "check",
        env!("CARGO_MANIFEST_DIR").to_owned().as_str(),
    ]);
    assert!(text(&other.stderr).contains("or is no file"), "{other:?}");
    let other = longshore(&["mapper", "check", env!("CARGO_BIN_EXE_longshore")]);
    let told = text(&other.stdout);
    assert!(
        told.lines()
            .next()
            .unwrap()
            .contains("is no mapper library that a host can load: "),
        "{told}"
    );
    let nowhere = longshore(&["mapper", "list", "--mapper-dir", "/no/such"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(
        text(&nowhere.stderr).contains("there is no such folder"),
        "{nowhere:?}"
    );
    let unknown = longshore(&["mapper", "check", library, "--rule", "be-nice"]);
    assert!(text(&unknown.stderr).starts_with("error: there is no rule `be-nice`\n\nhint: "));
}

/// As simulators/README.md has it.
#[test]
fn a_server_is_discovered_by_its_url() {
    let own = Path::new(env!("CARGO_BIN_EXE_longshore")).parent().unwrap();
    let scenario =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../simulators/opcua/scenarios/demo.yaml");
    let mut simulator = Command::new(own.join("longshore-sim"))
        .arg("opcua")
        .arg(scenario)
        .args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let mut lines = std::io::BufReader::new(simulator.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut ready).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    let url = format!("url={}", ready["url"].as_str().unwrap());
    let found = longshore(&["discover", "opcua", &url, "match=/Objects/**"]);
    simulator.kill().unwrap();
    simulator.wait().unwrap();
    assert!(found.status.success(), "{found:?}");
    let told = text(&found.stdout);
    assert!(told.contains("setpoint"), "{told}");
    assert!(
        told.contains("note: the server offers no security (policy none)\n"),
        "{told}"
    );

    let gone = longshore(&["discover", "opcua", &url]);
    let told = text(&gone.stderr);
    let place = url.trim_start_matches("url=");
    assert!(
        told.starts_with(&format!("error: opcua at {place}: ")),
        "{told}"
    );
    assert!(told.contains("\n\nhint: "), "{told}");
}

/// The profiles are what people start from: nothing is to be said of them.
#[test]
fn the_profiles_are_without_a_warning() {
    let devices = Path::new(env!("CARGO_MANIFEST_DIR")).join("../devices");
    let mut arguments = vec!["validate".to_owned(), "--strict".to_owned()];
    for folder in std::fs::read_dir(devices).unwrap() {
        arguments.push(folder.unwrap().path().display().to_string());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = longshore(&arguments);
    assert!(output.status.success(), "{}", text(&output.stdout));
    assert!(
        text(&output.stdout).contains(" devices: 0 errors, 0 warnings\n"),
        "{output:?}"
    );
}

fn validated(arguments: &[&str], manifest: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    std::fs::write(&file, manifest).unwrap();
    let mut all = vec!["validate"];
    all.extend(arguments);
    all.push(file.to_str().unwrap());
    let output = longshore(&all);
    let told = text(&output.stdout) + &text(&output.stderr);
    (
        output.status.success(),
        told.replace(file.to_str().unwrap(), "FILE"),
    )
}

const MODEL: &str = "apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: pump}
spec:
  protocol: modbus
  properties:
    - name: speed
      type: INT
      accessMode: ReadOnly
      visitors: {protocolName: modbus, configData: {address: 'hr:99999', rawType: uint16}}
";

const DEVICE: &str = "---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: pump-1}
spec:
  deviceModelRef: {name: pump}
  nodeName: edge-1
  protocol: {protocolName: modbus, configData: {url: 'http://foo', unit: 1}}
  properties: [{name: speed}]
";

#[test]
fn the_mapper_tells_what_its_schema_cannot() {
    let manifest = format!("{MODEL}{DEVICE}");
    // Where somebody would hear it if the line were opened.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    for how in [&["--strict"][..], &["--strict", "--ask-mapper"]] {
        let (passed, told) = validated(how, &manifest);
        assert!(!passed, "{told}");
        assert!(
            told.contains("device `pump-1`: spec.protocol.configData.url: "),
            "{told}"
        );
        let (passed, told) = validated(how, &manifest.replace("http://foo", &address));
        assert!(!passed, "{told}");
        assert!(
            told.contains("spec.properties[0].visitors.configData.address: "),
            "{told}"
        );
        let sound = manifest
            .replace("http://foo", &address)
            .replace("hr:99999", "hr:9");
        let (passed, told) = validated(how, &sound);
        assert!(passed, "{told}");
        // Unless it is asked to, a mapper does not say who is there.
        if how.len() == 1 {
            let heard = listener.accept().map(|_| ()).unwrap_err();
            assert_eq!(heard.kind(), std::io::ErrorKind::WouldBlock);
        }
    }
}

#[test]
fn a_document_that_is_refused_is_looked_at_all_the_same() {
    let model = MODEL.replace("rawType: uint16", "rawTipe: uint16");
    let device = DEVICE
        .replace("nodeName:", "nodeNam:")
        .replace("unit: 1", "unit: 999");
    let (passed, told) = validated(&[], &format!("{model}{device}"));
    assert!(!passed);
    for fault in [
        "spec.nodeNam: unknown field",
        "configData.rawTipe: unknown key",
        "configData.unit",
    ] {
        assert!(told.contains(fault), "{fault}: {told}");
    }
}

#[test]
fn a_model_alone_and_a_device_that_lists_nothing_are_looked_at() {
    let (passed, told) = validated(
        &["--strict"],
        &MODEL.replace("rawType: uint16", "rawTipe: uint16"),
    );
    assert!(!passed);
    assert!(
        told.contains("model `pump`: spec.properties[0].visitors.configData.rawTipe"),
        "{told}"
    );
    assert!(told.contains("\n1 model: 0 errors, 1 warning\n"), "{told}");

    // It uses all properties of its model, whose faults are told there.
    let device = DEVICE
        .replace("[{name: speed}]", "[]")
        .replace("http://foo", "tcp://127.0.0.1:1");
    let (passed, told) = validated(&[], &format!("{MODEL}{device}"));
    assert!(!passed, "{told}");
    assert!(
        told.contains("spec.properties[0].visitors.configData.address: "),
        "{told}"
    );
    assert!(told.contains("FILE:10"), "{told}");
}

/// Several files are one set, and a fault stands where its key does, in
/// whichever of them, once.
#[test]
fn a_fault_is_told_once_at_the_line_of_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let model = write(
        "model.yaml",
        "apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: scale}
spec:
  protocol: serial
  protocolConfigData:
    baudRate: fast
    framing:
      line:
        delimeter: \"\\r\"
  properties:
    - name: weight
      type: INT
      accessMode: ReadOnly
      visitors:
        configData:
          request: W
          reponse: '{value:float}'
          scale: 0.1
",
    );
    let device = |name: &str, protocol: &str| {
        let text = format!(
            "apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {{name: {name}}}
spec:
  deviceModelRef: {{name: scale}}
  nodeName: edge-1
  protocol:
    protocolName: {protocol}
    configData: {{url: /dev/ttyS0}}
  properties: [{{name: weight}}]
"
        );
        write(&format!("{name}.yaml"), &text)
    };
    let (first, second) = (device("a", "serial"), device("b", "serial"));
    let output = longshore(&["validate", &first, &model, &second]);
    let told = text(&output.stdout).replace(&folder.path().display().to_string(), "DIR");
    for fault in [
        "error: DIR/model.yaml:7 (document 1): model `scale`: spec.protocolConfigData.baudRate: expected a whole number, found `fast`",
        "warning: DIR/model.yaml:10 (document 1): model `scale`: spec.protocolConfigData.framing.line.delimeter: unknown key; did you mean `delimiter`?",
        "warning: DIR/model.yaml:18 (document 1): model `scale`: spec.properties[0].visitors.configData.reponse: unknown key; did you mean `response`?",
        "warning: DIR/model.yaml:19 (document 1): model `scale`: spec.properties[0].visitors.configData.scale: property `weight`: 0.1 gives fractions, and the type INT drops the fraction",
    ] {
        assert_eq!(told.matches(fault).count(), 1, "{fault}:\n{told}");
    }
    assert!(told.contains("2 devices: 1 error, 3 warnings\n"), "{told}");

    let misspelt = device("c", "serail");
    let output = longshore(&["validate", &misspelt, &model]);
    let told = text(&output.stdout);
    assert!(
        told.contains("c.yaml:8 (document 1): device `c`: spec.protocol.protocolName: not checked by a mapper: no mapper for protocol `serail` near this program; did you mean `serial`?"),
        "{told}"
    );

    // What cannot be read is told for what it is, and not as missing.
    let broken = write("broken.yaml", "kind: DeviceModel\nmetadata: {name: scale\n");
    let output = longshore(&["validate", &first, &broken]);
    let told = text(&output.stdout);
    assert!(
        !output.status.success() && !told.contains("no model"),
        "{told}"
    );
}

/// What is written to start from is without a warning, and passes its test.
#[test]
fn a_new_profile_is_sound_and_passes_its_test() {
    let folder = tempfile::tempdir().unwrap();
    let mut tests = Vec::new();
    for protocol in ["modbus", "opcua", "serial", "bluetooth"] {
        let path = folder.path().to_str().unwrap();
        let output = longshore(&[
            "new", "profile", protocol, "--name", protocol, "--path", path,
        ]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let profile = folder.path().join(format!("{protocol}.yaml"));
        let output = longshore(&["validate", "--strict", profile.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output.stdout));
        tests.push(folder.path().join(format!("{protocol}.test.yaml")));
    }
    let mut arguments = vec!["test", "profile", "--timeout", "30"];
    arguments.extend(tests.iter().map(|test| test.to_str().unwrap()));
    let output = longshore(&arguments);
    assert!(output.status.success(), "{}", text(&output.stdout));
    let again = longshore(&[
        "new",
        "profile",
        "modbus",
        "--name",
        "modbus",
        "--path",
        folder.path().to_str().unwrap(),
    ]);
    assert!(text(&again.stderr).contains("exists already"));
    let other = longshore(&["new", "profile", "modbuss"]);
    assert!(text(&other.stderr).contains("did you mean `modbus`?"));
}

/// A test that fails says what the device heard.
#[test]
fn a_profile_that_asks_wrongly_is_told_what_the_device_heard() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let tested = |protocol: &str, profile: (&str, &str), test: (&str, &str)| {
        let name = format!("{protocol}-{}", profile.1.len() + test.1.len());
        let output = longshore(&["new", "profile", protocol, "--name", &name, "--path", path]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let change = |file: String, (from, to): (&str, &str)| {
            let file = folder.path().join(file);
            let text = std::fs::read_to_string(&file).unwrap();
            if !from.is_empty() {
                std::fs::write(&file, text.replace(from, to)).unwrap();
            }
            file
        };
        change(format!("{name}.yaml"), profile);
        let test = change(format!("{name}.test.yaml"), test);
        let output = longshore(&["test", "profile", "--timeout", "3", test.to_str().unwrap()]);
        assert!(!output.status.success(), "{}", text(&output.stdout));
        text(&output.stdout)
    };
    let told = tested("serial", ("MEAS?", "MAES?"), ("", ""));
    assert!(
        told.contains("`MAES?`: the scenario answers no such request; the nearest is `MEAS?`"),
        "{told}"
    );
    // `given.unit` is the simulator's, and changes nothing of what is asked.
    let told = tested("modbus", ("", ""), ("unit: 1", "unit: 77"));
    assert!(
        told.contains("the device asks unit 1, and the simulated one is unit 77"),
        "{told}"
    );
    let told = tested("modbus", ("", ""), ("temperature: 21.5, ", ""));
    assert!(
        told.contains("nothing is expected of temperature;"),
        "{told}"
    );
    let told = tested("serial", ("{value:.3}", "{value:+-.3}"), ("", ""));
    assert!(told.contains("is no format"), "{told}");
}

#[test]
fn help_of_the_simulators_is_there() {
    let output = longshore(&["sim", "--help"]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        ["modbus", "opcua", "serial", "bluetooth"]
            .iter()
            .all(|protocol| text(&output.stdout).contains(protocol)),
        "{output:?}"
    );
    let of_one = longshore(&["sim", "modbus", "--help"]);
    assert!(
        text(&of_one.stdout).contains("Usage: longshore sim modbus"),
        "{of_one:?}"
    );
}

/// The simulator knows best what is wrong; its file is gone when people read it.
#[test]
fn a_wrong_scenario_is_told_with_the_tests_name() {
    let folder = tempfile::tempdir().unwrap();
    let devices = Path::new(env!("CARGO_MANIFEST_DIR")).join("../devices/demo");
    std::fs::copy(
        devices.join("supply.yaml"),
        folder.path().join("supply.yaml"),
    )
    .unwrap();
    let test = folder.path().join("supply.test.yaml");
    std::fs::write(
        &test,
        "given: {scenario: {unitz: []}}\nexpect: {voltage: 1, current: 1, setpoint: 1, output: true}\n",
    )
    .unwrap();
    let output = longshore(&["test", "profile", test.to_str().unwrap()]);
    let told = text(&output.stdout);
    assert!(!output.status.success());
    let begin = format!(
        "error: in {}: given.scenario: the serial simulator ended",
        test.display()
    );
    assert!(told.contains(&begin), "{told}");
    assert!(
        told.contains("unitz") && !told.contains("longshore-profile-"),
        "{told}"
    );
}

#[test]
fn a_mapper_is_written_once_and_under_a_good_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("oven");
    let path = path.to_str().unwrap();
    assert!(
        longshore(&["new", "mapper", "oven", "--path", path])
            .status
            .success()
    );
    let again = longshore(&["new", "mapper", "oven", "--path", path]);
    assert!(
        text(&again.stderr).contains("exists already\n\nhint: "),
        "{again:?}"
    );
    let bad = longshore(&["new", "mapper", "My Oven"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(
        text(&bad.stderr).contains("may have only a-z, 0-9 and -"),
        "{bad:?}"
    );
}

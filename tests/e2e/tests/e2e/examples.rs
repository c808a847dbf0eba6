//! The example mappers and the one that `longshore new mapper` writes: built as
//! their READMEs say, loaded by the edge core, and polled.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use longshore_harness::{binaries, prelude::*};

/// Runs a command to its end; all that it printed is told when it fails.
fn run(what: &str, command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{what}: {error}\n\nhint: deploy/setup/packages test"));
    assert!(
        output.status.success(),
        "{what} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A copy of an example, which finds the headers in the checkout.
fn example(name: &str, into: &Path) -> PathBuf {
    let copy = into.join(name);
    fs::create_dir(&copy).unwrap();
    let source = binaries::checkout().join("plugin-sdk/examples").join(name);
    for entry in fs::read_dir(source).unwrap().flatten() {
        if entry.path().is_file() {
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    copy
}

fn headers() -> PathBuf {
    binaries::checkout().join("plugin-sdk/abi/include")
}

fn with_make(name: &str, into: &Path) -> PathBuf {
    let copy = example(name, into);
    let include = format!("INCLUDE={}", headers().display());
    run(
        "make",
        Command::new("make").arg("-C").arg(&copy).arg(include),
    );
    copy.join(format!("libmapper_{}.so", name.replace('-', "_")))
}

fn with_cmake(name: &str, into: &Path) -> PathBuf {
    let copy = example(name, into);
    let build = copy.join("build");
    let include = format!("-DLONGSHORE_INCLUDE={}", headers().display());
    let mut configure = Command::new("cmake");
    run(
        "cmake",
        configure
            .arg("-S")
            .arg(&copy)
            .arg("-B")
            .arg(&build)
            .arg(include),
    );
    run(
        "cmake --build",
        Command::new("cmake").arg("--build").arg(&build),
    );
    build.join(format!("libmapper_{}.so", name.replace('-', "_")))
}

async fn counts(library: &Path) {
    let counter = device("counter")
        .speaking("counter", json!({}))
        .read("count", "INT", json!({}));
    let edge = edge()
        .mapper("minimal-c", library)
        .device(&counter)
        .run()
        .await;
    edge.twin_where("to count", "counter", "count", |twin| {
        twin["quality"] == "good" && twin["value"].as_i64() > Some(3)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_c_example_counts_built_by_make_and_by_cmake() {
    let folder = tempfile::tempdir().unwrap();
    let (make, cmake) = (folder.path().join("make"), folder.path().join("cmake"));
    fs::create_dir(&make).unwrap();
    fs::create_dir(&cmake).unwrap();
    counts(&with_make("minimal-c", &make)).await;
    counts(&with_cmake("minimal-c", &cmake)).await;
}

async fn shows_the_load(library: &Path) {
    let machine = device("machine")
        .speaking("loadavg", json!({}))
        .read("load", "DOUBLE", json!({"address": "1"}))
        .read("wrong", "DOUBLE", json!({"address": "2"}));
    let edge = edge()
        .mapper("minimal-cpp", library)
        .device(&machine)
        .run()
        .await;
    edge.twin_where("to be a number", "machine", "load", |twin| {
        twin["quality"] == "good" && twin["value"].as_f64() >= Some(0.0)
    })
    .await;
    edge.twin_where("to be wrong", "machine", "wrong", |twin| {
        twin["quality"] == "bad"
            && twin["lastError"]
                .to_string()
                .contains("expected 1, 5 or 15")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cpp_example_shows_the_load_built_by_make_and_by_cmake() {
    let folder = tempfile::tempdir().unwrap();
    let (make, cmake) = (folder.path().join("make"), folder.path().join("cmake"));
    fs::create_dir(&make).unwrap();
    fs::create_dir(&cmake).unwrap();
    shows_the_load(&with_make("minimal-cpp", &make)).await;
    shows_the_load(&with_cmake("minimal-cpp", &cmake)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_example_follows_a_file_and_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(file("temp"), "21500\n").unwrap();
    fs::write(file("limit"), "90000\n").unwrap();
    let zone = device("zone")
        .speaking("file", json!({"folder": folder.path()}))
        .read(
            "temperature",
            "DOUBLE",
            json!({"address": "temp", "scale": 0.001}),
        )
        .read_write("limit", "INT", json!({"address": "limit"}))
        .desired("limit", "85000");
    let edge = edge()
        .mapper("file", &binaries::mapper("file"))
        .device(&zone)
        .run()
        .await;
    edge.twin_is("zone", "temperature", json!(21.5)).await;
    edge.write_is("zone", "limit", "confirmed").await;
    assert_eq!(fs::read_to_string(file("limit")).unwrap(), "85000");
    fs::write(file("temp"), "22000\n").unwrap();
    edge.twin_is("zone", "temperature", json!(22)).await;
}

/// A node that works alone is asked by the command line, with no API server.
#[tokio::test(flavor = "multi_thread")]
async fn a_lone_node_answers_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("setpoint");
    fs::write(&file, "21\n").unwrap();
    let heater = device("heater")
        .speaking("file", json!({"folder": folder.path()}))
        .read_write("setpoint", "FLOAT", json!({"address": "setpoint"}));
    let edge = edge()
        .mapper("file", &binaries::mapper("file"))
        .device(&heater)
        .run()
        .await;
    edge.twin_is("heater", "setpoint", json!(21)).await;
    let page = format!("127.0.0.1:{}", edge.metrics_port());
    let longshore = |arguments: &[&str]| {
        let output = Command::new(binaries::binary("longshore"))
            .args(arguments)
            .args(["--edge", &page])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        (
            output.status.success(),
            told + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (listed, told) = longshore(&["get", "devices"]);
    assert!(listed && told.contains("setpoint=21\n"), "{told}");
    // What was read as a whole number takes fractions: the model says FLOAT.
    let (set, told) = longshore(&["set", "device", "heater", "setpoint=24.5", "--wait"]);
    assert!(set && told.contains("setpoint: confirmed\n"), "{told}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "24.5");
    let (described, told) = longshore(&["describe", "device", "heater"]);
    assert!(described && told.contains("24.5"), "{told}");
    let (set, told) = longshore(&["set", "device", "heater", "setpiont=1"]);
    assert!(!set && told.contains("did you mean `setpoint`?"), "{told}");
}

fn told(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = text + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

/// One look at a device, with no node and no hub.
#[test]
fn a_mapper_reads_the_points_of_a_device_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("temp"), "21500\n").unwrap();
    let zone = device("zone")
        .speaking("file", json!({"folder": folder.path()}))
        .read("temperature", "DOUBLE", json!({"address": "temp"}))
        .read("humidity", "DOUBLE", json!({"address": "gone"}));
    let file = folder.path().join("zone.yaml");
    fs::write(&file, zone.yaml()).unwrap();
    let read = |more: &[&str]| {
        let mut command = Command::new(binaries::binary("longshore"));
        command
            .args(["mapper", "read"])
            .arg(binaries::mapper("file"));
        told(command.arg("--device").arg(&file).args(more))
    };
    let (good, text) = read(&[]);
    assert!(!good, "{text}");
    let row = |point: &str| {
        let row = text.lines().find(|line| line.contains(point)).unwrap();
        row.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(row("temperature")[2..], ["21500", "good"]);
    assert_eq!(row("humidity")[2..4], ["-", "bad:"]);
    let (_, text) = read(&["-o", "json"]);
    let rows: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(rows[0]["value"], 21500, "{text}");
    assert_eq!(rows[1]["value"], Json::Null, "{text}");
}

/// Who has no kubectl brings devices into the API all the same.
#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_applied_by_the_command_line() {
    let hub = hub().on(&embedded()).run().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zone.yaml");
    let apply = || {
        let mut command = Command::new(binaries::binary("longshore"));
        command.args(["apply", "-f"]).arg(&file);
        told(command.arg("--kubeconfig").arg(hub.kubeconfig()))
    };
    let zone = |folder: &str| {
        let zone = device("zone").speaking("file", json!({"folder": folder}));
        zone.read("temperature", "DOUBLE", json!({"address": "temp"}))
    };
    fs::write(&file, zone("/a").yaml()).unwrap();
    let (good, text) = apply();
    assert!(good, "{text}");
    for line in [
        "DeviceModel default/zone-model created",
        "Device default/zone created",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let (good, text) = apply();
    assert!(
        good && text.contains("Device default/zone unchanged"),
        "{text}"
    );
    fs::write(&file, zone("/b").yaml()).unwrap();
    let (good, text) = apply();
    assert!(
        good && text.contains("Device default/zone configured"),
        "{text}"
    );
    // What is wrong is told with its line, and the sound half stays at home.
    let (sound, broken) = (zone("/c").yaml(), zone("/c").yaml());
    let broken = broken.replace("nodeName", "nodeNam");
    fs::write(&file, format!("{sound}---\n{broken}")).unwrap();
    let (good, text) = apply();
    assert!(!good && text.contains("zone.yaml:"), "{text}");
    let device = hub.get("Device", "zone").await.unwrap();
    assert_eq!(device["spec"]["protocol"]["configData"]["folder"], "/b");
}

/// With `trace: true` the log has the bytes, and what they were taken for.
#[tokio::test(flavor = "multi_thread")]
async fn the_wire_of_a_traced_device_can_be_seen() {
    let plc = modbus().unit(1).register(40_001, 215).start().await;
    let boiler = device("boiler")
        .on(&plc)
        .model_config(json!({"trace": true}))
        .read(
            "temperature",
            "FLOAT",
            json!({"address": "hr:0", "rawType": "int16", "scale": 0.1}),
        );
    let edge = edge().device(&boiler).run().await;
    edge.twin_is("boiler", "temperature", json!(21.5)).await;
    eventually("the log to show the wire", async || {
        let log = edge.log();
        // Unit 1, function 3, address 0, one register; and 215 in its answer.
        let seen = [
            "-> ",
            "01 03 00 00 00 01",
            "<- ",
            "01 03 02 00 D7",
            "boiler temperature = 215",
        ];
        let missing: Vec<_> = seen.iter().filter(|part| !log.contains(**part)).collect();
        missing
            .is_empty()
            .then_some(())
            .ok_or_else(|| format!("{missing:?} not in {log}"))
    })
    .await;
}

/// From an empty folder to a twin that moves, by what the README says.
#[tokio::test(flavor = "multi_thread")]
async fn a_mapper_that_was_just_written_passes_its_tests_and_runs() {
    let longshore = binaries::binary("longshore");
    let checkout = binaries::checkout();
    // Always the same place, or cargo would build the SDK for each run and keep it.
    let folder = checkout.join("target/scaffold/crates");
    let crate_folder = folder.join("oven");
    let _ = fs::remove_dir_all(&crate_folder);
    fs::create_dir_all(&folder).unwrap();
    run(
        "longshore new mapper",
        // With nothing but the program, which carries the SDK.
        Command::new(&longshore)
            .args(["new", "mapper", "oven", "--sdk", "vendored", "--path"])
            .arg(&crate_folder),
    );
    // The versions that are here already, and what earlier runs have compiled.
    fs::copy(checkout.join("Cargo.lock"), crate_folder.join("Cargo.lock")).unwrap();
    let target = checkout.join("target/scaffold");
    for arguments in [&["test", "--offline"][..], &["build", "--offline"]] {
        run(
            "cargo",
            Command::new(env!("CARGO"))
                .args(arguments)
                .current_dir(&crate_folder)
                .env("CARGO_TARGET_DIR", &target)
                .env_remove("RUSTFLAGS"),
        );
    }
    let library = target.join("debug/libmapper_oven.so");
    run(
        "longshore mapper check",
        Command::new(&longshore)
            .args([
                "mapper",
                "check",
                "--rule",
                "descriptor",
                "--rule",
                "schema",
            ])
            .arg(&library),
    );

    run(
        "longshore test profile",
        Command::new(&longshore)
            .args(["test", "profile", "profile/oven.test.yaml", "--mapper"])
            .arg(&library)
            .current_dir(&crate_folder)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_NET_OFFLINE", "true")
            .env_remove("RUSTFLAGS"),
    );

    let simulated = Simulated::start(&target.join("debug/examples/simulate"));
    let profile = fs::read_to_string(crate_folder.join("profile/oven.yaml")).unwrap();
    let profile = profile.replace("tcp://127.0.0.1:7000", &simulated.url);
    let edge = edge()
        .mapper("oven", &library)
        .manifest("oven", &profile)
        .run()
        .await;
    edge.twin_is("my-oven", "setpoint", json!(20)).await;
    // It begins with 18 and follows its setpoint.
    edge.twin_where("to move", "my-oven", "temperature", |twin| {
        twin["quality"] == "good" && twin["value"].as_f64() > Some(19.0)
    })
    .await;
}

/// The example of the written crate; ends with this value.
struct Simulated {
    child: Child,
    url: String,
}

impl Simulated {
    fn start(program: &Path) -> Self {
        let mut child = Command::new(program)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let url = ready["protocol"]["url"].as_str().unwrap().to_owned();
        Self { child, url }
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

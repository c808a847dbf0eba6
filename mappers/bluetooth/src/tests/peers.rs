//! Second opinions: python-dbusmock on what BlueZ is, bumble on bytes.

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use longshore_sdk::{SampleValue, testing::Kill};
use longshore_sim_bluetooth::{Daemon, bluetooth};
use serde_json::{Value as Json, json};

use super::rig::{hex, rig};
use crate::{
    advert::{Advert, FORMATS, Format, Seal},
    gatt,
    uuid::Uuid,
    value::Value,
};

/// Debian's own interpreter: python-dbusmock comes as its package.
const PYTHON: &str = "/usr/bin/python3";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(name)
}

fn dbusmock(bus: &str) -> Command {
    let found = Command::new(PYTHON)
        .args(["-c", "import dbus, dbusmock"])
        .stderr(Stdio::null())
        .status();
    assert!(
        found.is_ok_and(|status| status.success()),
        "python-dbusmock is missing; install it: apt-get install python3-dbusmock"
    );
    let mut command = Command::new(PYTHON);
    command.arg(script("dbusmock_bluez.py")).arg(bus);
    command
}

#[test]
fn python_dbusmock_is_listened_to_connected_and_watched() {
    let bus = Daemon::start().expect("dbus-daemon is missing; install it: apt-get install dbus");
    let child = dbusmock(bus.address())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut mock = Kill(child);
    let mut line = String::new();
    let out = mock.0.stdout.take().expect("piped");
    BufReader::new(out).read_line(&mut line).expect("a line");
    assert_eq!(
        line.trim(),
        "ready",
        "the script says on stderr what is wrong"
    );
    let rig = rig(bus.address());
    let part = |field: &str| json!({"advertisement": "pvvx", "field": field});
    rig.configure(
        1,
        &json!({"name": "mocked belt"}),
        0,
        &[
            (1, "FLOAT", part("temperature")),
            (2, "FLOAT", part("humidity")),
        ],
    );
    rig.wait_value(1, &SampleValue::Float(21.5));
    rig.wait_value(2, &SampleValue::Float(45.15));
    rig.configure(
        2,
        &json!({"address": "AA:BB:CC:00:00:01"}),
        50,
        &[
            (11, "INT", json!({"characteristic": "2a19"})),
            (
                12,
                "INT",
                json!({"service": "180d", "characteristic": "2a37", "field": "heartRate"}),
            ),
            (
                13,
                "BOOLEAN",
                json!({"characteristic": "2a37", "field": "contact"}),
            ),
        ],
    );
    rig.wait_value(11, &SampleValue::Uint(87));
    rig.wait_samples(12, 3);
    rig.wait_value(13, &SampleValue::Bool(true));
    rig.write_ok(2, 11, SampleValue::Uint(12));
    rig.wait_value(11, &SampleValue::Uint(12));
    rig.stop();
    // The script ends its server when its input ends.
    drop(mock.0.stdin.take());
    let _ = mock.0.wait();
}

/// The interfaces of an object by the same reading of introspection: methods
/// with what goes in and out, properties with their types.
fn interfaces(xml: &str) -> Json {
    let attribute = |line: &str, name: &str| {
        let rest = line.split(&format!("{name}=\"")).nth(1)?;
        rest.split('"').next().map(str::to_owned)
    };
    let mut found = json!({});
    let (mut interface, mut method) = (String::new(), String::new());
    for tag in xml.split('<') {
        let name = attribute(tag, "name").unwrap_or_default();
        if tag.starts_with("interface") {
            interface.clone_from(&name);
            found[&interface] = json!({"methods": {}, "properties": {}});
        } else if tag.starts_with("method") {
            method.clone_from(&name);
            found[&interface]["methods"][&method] = json!(["", ""]);
        } else if tag.starts_with("signal") {
            method.clear();
        } else if tag.starts_with("property") {
            found[&interface]["properties"][name] = attribute(tag, "type").into();
        } else if tag.starts_with("arg") && !method.is_empty() {
            let out = usize::from(attribute(tag, "direction").as_deref() == Some("out"));
            let slot = &mut found[&interface]["methods"][&method][out];
            *slot = format!(
                "{}{}",
                slot.as_str().unwrap(),
                attribute(tag, "type").unwrap()
            )
            .into();
        }
    }
    found
}

/// Our fake is shaped as python-dbusmock's: wherever both have a method or a
/// property, its signature is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_bluez_is_shaped_as_python_dbusmock_s() {
    let bus = Daemon::start().expect("dbus-daemon is missing; install it: apt-get install dbus");
    let output = dbusmock(bus.address())
        .arg("--introspect")
        .output()
        .expect("it runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let theirs: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    let radio = bluetooth()
        .yaml("devices: [{address: 'AA:BB:CC:00:00:01', name: x, advertiseMs: 20}]")
        .start()
        .await;
    let client = zbus::connection::Builder::address(radio.address())
        .build()
        .await
        .expect("a client");
    let call = async |path: &str, interface: &str, member: &str| {
        client
            .call_method(Some("org.bluez"), path, Some(interface), member, &())
            .await
            .expect("an answer")
    };
    call("/org/bluez/hci0", "org.bluez.Adapter1", "StartDiscovery").await;
    radio
        .wait("the device to be known", |radio| {
            if radio.device("x").known {
                Ok(())
            } else {
                Err("it is not".to_owned())
            }
        })
        .await;
    let mut compared = 0;
    for (path, theirs) in theirs.as_object().expect("objects") {
        let answer = call(path, "org.freedesktop.DBus.Introspectable", "Introspect").await;
        let xml: String = answer.body().deserialize().expect("a text");
        let ours = interfaces(&xml);
        for (interface, theirs) in theirs.as_object().expect("interfaces") {
            for kind in ["methods", "properties"] {
                let ours = ours[interface][kind]
                    .as_object()
                    .cloned()
                    .unwrap_or_default();
                for (name, own) in &ours {
                    // Empty lists do not tell; the template has such where
                    // BlueZ's documentation (org.bluez.Device) has dictionaries.
                    if let Some(other) = theirs[kind].get(name).filter(|other| !other.is_null()) {
                        assert_eq!(own, other, "{path} {interface} {name}");
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared >= 30, "only {compared} were in both");
}

fn as_json(value: &Value) -> Json {
    match value {
        Value::Bool(truth) => json!(truth),
        Value::Int(number) => json!(number),
        Value::Uint(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Text(text) => json!(text),
        other => panic!("{other:?}"),
    }
}

fn assert_fields(what: &Json, found: &[(&str, Json)], expected: &Json) {
    for (name, value) in expected.as_object().expect("fields") {
        let own = found
            .iter()
            .find(|(of, _)| of == name)
            .map(|(_, value)| value);
        assert_eq!(own, Some(value), "{name} of {what}");
    }
}

#[test]
fn bumble_s_bytes_mean_what_bumble_says() {
    let python = env::var("LONGSHORE_PYTHON").expect(
        "LONGSHORE_PYTHON is not set: `make test` sets it, or \
         export LONGSHORE_PYTHON=$(sh deploy/setup/python), a Python with bumble==0.0.236",
    );
    let output = Command::new(python)
        .arg(script("bumble_bytes.py"))
        .output()
        .expect("it runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let all: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    let vectors = all["gatt"].as_array().expect("a list");
    assert!(vectors.len() >= 5);
    for vector in vectors {
        let known = gatt::standard(vector[0].as_u64().unwrap() as u16).expect("known");
        let parts = known
            .decode(&hex(vector[1].as_str().unwrap()))
            .expect("decodes");
        let found: Vec<_> = parts
            .iter()
            .map(|(name, value)| (*name, as_json(value)))
            .collect();
        assert_fields(vector, &found, &vector[2]);
        assert_eq!(
            found.len(),
            vector[2].as_object().unwrap().len(),
            "no field too many"
        );
    }
    let vectors = all["adverts"].as_array().expect("a list");
    assert!(vectors.len() >= 7);
    for vector in vectors {
        let word = vector[0].as_str().unwrap();
        let (_, format) = FORMATS
            .iter()
            .find(|(name, _)| *name == word)
            .expect("a format");
        let number = vector[1].as_u64().unwrap() as u16;
        let bytes = hex(vector[2].as_str().unwrap());
        let mut advert = Advert::default();
        if *format == Format::IBeacon {
            advert.manufacturer.push((number, bytes));
        } else {
            advert.service.push((Uuid::short(number), bytes));
        }
        let key: Option<[u8; 16]> = vector[4].as_str().map(|text| hex(text).try_into().unwrap());
        let seal = Seal {
            address: crate::bus::address(vector[3].as_str().unwrap()).unwrap(),
            key: key.as_ref(),
        };
        let fields = advert
            .fields(*format, seal)
            .expect("opens")
            .expect("is of the format");
        let found: Vec<_> = fields
            .iter()
            .map(|field| (field.name, as_json(&field.value)))
            .collect();
        assert_fields(vector, &found, &vector[5]);
    }
}

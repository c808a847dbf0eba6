//! Functions 22, 23 and 43/14, and looking for units; against the simulator
//! and pymodbus.

use std::net::SocketAddr;

use longshore_sdk::{Connection, DiscoverError, MethodConfig, Protocol, RequestError, SampleValue};
use longshore_sim_modbus::modbus;
use serde_json::{Value, json};

use super::peers::pymodbus;
use crate::{
    Modbus,
    bus::{Settings, Unit},
    driver::Line,
    method::{Identification, identification},
    pdu::{AnswerLength, Request},
};

fn method(config: Value) -> MethodConfig {
    MethodConfig {
        name: "tried".to_owned(),
        config: config.as_object().expect("an object").clone(),
    }
}

fn unit(id: u8) -> Unit {
    Unit {
        id,
        settings: Settings::default(),
    }
}

async fn line(url: &str) -> Line {
    let device = serde_json::from_value(
        json!({"device": "default/x", "protocol": {"url": url}, "points": []}),
    );
    let parsed = Modbus::default().parse(&device.expect("a device"));
    let bus = parsed.unwrap_or_else(|faults| panic!("{faults:?}")).bus;
    Line::open(bus).await.expect("the server listens")
}

/// The example of the Application Protocol V1.1b3, section 6.21: two answers
/// with the three basic objects.
#[test]
fn an_identification_is_read_over_several_answers() {
    let request = Request::identify(1, 0);
    assert_eq!(request.bytes(), [0x2B, 0x0E, 0x01, 0x00]);
    // function, MEI type, category, conformity, more follows, next object 2, two objects
    let mut first = vec![0x2B, 0x0E, 0x01, 0x01, 0xFF, 0x02, 0x02];
    first.extend([0x00, 0x16]);
    first.extend(b"Company identification");
    first.extend([0x01, 0x0D]);
    first.extend(b"Product code ");
    for cut in 0..first.len() {
        assert_eq!(
            request.answer_length(&first[..cut]),
            if cut < 33 {
                AnswerLength::Unknown
            } else {
                AnswerLength::Known(first.len())
            },
            "after {cut} bytes"
        );
    }
    assert!(request.is_answered_by(&first));
    let part = identification(request.open(&first).expect("no exception"));
    assert_eq!(
        part,
        Identification {
            objects: json!({"vendorName": "Company identification", "productCode": "Product code"})
                .as_object()
                .unwrap()
                .clone(),
            next: Some(2),
        }
    );
    let last = [
        &[0x2B, 0x0E, 0x01, 0x01, 0x00, 0x00, 0x01, 0x02, 0x05][..],
        b"V2.11",
    ]
    .concat();
    let part = identification(request.open(&last).expect("no exception"));
    assert_eq!(part.next, None);
    assert_eq!(part.objects["majorMinorRevision"], "V2.11");
    // The device does not know the function.
    assert!(request.is_answered_by(&[0xAB, 0x01]));
    assert_eq!(request.open(&[0xAB, 0x01]).unwrap_err().0, 1);
}

/// Function 23 of section 6.17: read 6 from 4 on, write three 0x00FF from 14 on.
#[test]
fn read_and_write_is_one_request() {
    let request = Request::read_write(3, 6, 14, &[0x00, 0xFF, 0x00, 0xFF, 0x00, 0xFF]);
    assert_eq!(
        request.bytes(),
        [
            0x17, 0, 3, 0, 6, 0, 0x0E, 0, 3, 6, 0, 0xFF, 0, 0xFF, 0, 0xFF
        ]
    );
    assert_eq!(request.answer_length(&[0x17, 12]), AnswerLength::Known(14));
}

fn rtu_address(simulator: &longshore_sim_modbus::Simulator) -> SocketAddr {
    let found = simulator
        .endpoints()
        .iter()
        .find_map(|endpoint| match endpoint {
            longshore_sim_modbus::Endpoint::RtuTcp(address) => Some(*address),
            _ => None,
        });
    found.expect("a listener")
}

async fn check_read_write(url: &str) {
    let mut line = line(url).await;
    let write = json!({"address": "hr:30", "rawType": "int16"});
    let both = method(
        json!({"function": "readWrite", "write": write, "read": {"address": "hr:30", "rawType": "uint16"}}),
    );
    // The write comes before the read, so that the same register shows it.
    let result = line.call(&unit(1), &both, &json!({"speed": -2})).await;
    assert_eq!(result, Ok(json!(65534)), "{url}");
    let too_much = line.call(&unit(1), &both, &json!({"speed": 70_000})).await;
    assert!(
        matches!(too_much, Err(RequestError::InvalidValue(_))),
        "{too_much:?}"
    );
    let no_argument = line.call(&unit(1), &both, &json!({})).await;
    assert!(
        matches!(no_argument, Err(RequestError::InvalidValue(_))),
        "{no_argument:?}"
    );
    let nowhere = method(
        json!({"function": "readWrite", "write": write, "read": {"address": "hr:60000", "rawType": "uint16"}}),
    );
    let refused = line.call(&unit(1), &nowhere, &json!([1])).await;
    assert_eq!(
        refused,
        Err(RequestError::Refused(
            "exception 2 (illegal data address) to function 23 at 60000 (0xEA60 on the wire)"
                .to_owned()
        )),
        "{url}"
    );
    // The line is as good as before.
    assert!(line.usable());
    assert!(line.call(&unit(1), &both, &json!(7)).await.is_ok());
}

#[tokio::test]
async fn a_method_writes_and_reads_in_one_exchange() {
    let simulator = modbus().unit(1).register(40_031, 0).start().await;
    check_read_write(&format!("tcp://{}", simulator.addr())).await;
    let (_server, port) = pymodbus(&["tcp"]);
    check_read_write(&format!("tcp://127.0.0.1:{port}")).await;
}

#[tokio::test]
async fn a_method_writes_several_registers_in_one_request() {
    let simulator = (10..16).fold(modbus().unit(1), |unit, at| unit.register(40_001 + at, 0));
    let simulator = simulator.register(4, 0).register(5, 0).start().await;
    let mut line = line(&format!("tcp://{}", simulator.addr())).await;
    let many =
        method(json!({"function": "write", "write": {"address": "hr:10", "rawType": "int16"}}));
    let both = json!({"from": -2, "limits": [7, 9]});
    assert_eq!(line.call(&unit(1), &many, &both).await, Ok(json!(null)));
    let text = json!({"limits": "[1, 2, 3, 4, 5, 6]"});
    let shown = |at| simulator.holding(1, at);
    assert_eq!([shown(10), shown(11), shown(12)], [65_534, 7, 9]);
    assert_eq!(line.call(&unit(1), &many, &text).await, Ok(json!(null)));
    assert_eq!([shown(10), shown(15)], [1, 6]);
    let wide =
        method(json!({"function": "write", "write": {"address": "hr:12", "rawType": "uint32"}}));
    assert_eq!(
        line.call(&unit(1), &wide, &json!([65_536, 2])).await,
        Ok(json!(null))
    );
    assert_eq!([shown(12), shown(13), shown(14), shown(15)], [1, 0, 0, 2]);
    let coils = method(json!({"function": "write", "write": {"address": "co:3"}}));
    let on = json!([false, true]);
    assert_eq!(line.call(&unit(1), &coils, &on).await, Ok(json!(null)));
    assert!(!simulator.coil(1, 3) && simulator.coil(1, 4));
    let writes = simulator.counters().unit(1);
    assert_eq!(
        (
            writes.function(16).requests(),
            writes.function(15).requests()
        ),
        (3, 1)
    );

    let too_many = json!(vec![1; 124]);
    for wrong in [json!({}), json!([70_000, 1]), too_many] {
        let result = line.call(&unit(1), &many, &wrong).await;
        assert!(
            matches!(result, Err(RequestError::InvalidValue(_))),
            "{result:?}"
        );
    }
    assert_eq!(writes.function(16).requests(), 3, "nothing of it went out");
}

#[test]
fn a_wrong_method_is_told_with_its_place() {
    let told = |config: Value| {
        let faults = crate::method::of_call(&method(config)).unwrap_err();
        faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        told(json!({})),
        ["config.function: missing; write readWrite, write or identify"]
    );
    assert_eq!(
        told(
            json!({"function": "readWrite", "write": {"address": "ir:3", "rawType": "int16"}, "read": {}})
        ),
        [
            "config.write: function 23 reads and writes whole holding registers",
            "config.read.address: no address: write for example `hr:3`, or table and offset",
        ]
    );
}

async fn look_for(request: Value) -> Result<longshore_sdk::Discovered, DiscoverError> {
    Modbus::default()
        .discover(request.as_object().expect("an object"))
        .await
}

#[tokio::test]
async fn units_are_found_with_what_they_say_of_themselves() {
    let simulator = modbus()
        .unit(2)
        .name("EM24 meter")
        .registers(30_001, &[7, 8])
        .register(30_006, 9)
        .unit(9)
        .register(40_001, 1)
        .tcp("127.0.0.1:0".parse().unwrap())
        .rtu_over_tcp()
        .start()
        .await;
    for url in [
        format!("tcp://{}", simulator.addr()),
        format!("rtu+tcp://{}", rtu_address(&simulator)),
    ] {
        let found =
            look_for(json!({"url": url, "units": "1-12", "timeoutMs": 60, "registers": "ir:0-5"}))
                .await
                .expect("the bus is there");
        let names: Vec<_> = found
            .devices
            .iter()
            .map(|device| device.name.as_str())
            .collect();
        assert_eq!(names, ["em24-meter-2", "simulated-unit-9"], "{url}");
        let meter = &found.devices[0];
        assert_eq!(meter.description, "Longshore, EM24 meter, 1.0");
        assert_eq!(
            Value::Object(meter.protocol.clone()),
            json!({"url": url, "unit": 2})
        );
        let properties: Vec<_> = meter
            .properties
            .iter()
            .map(|p| (p.name.as_str(), p.value.as_deref()))
            .collect();
        assert_eq!(
            properties,
            [
                ("input0", Some("7")),
                ("input1", Some("8")),
                ("input5", Some("9"))
            ]
        );
        assert!(found.devices[1].properties.is_empty());
        assert!(
            found
                .notes
                .iter()
                .any(|note| note.contains("12 units, 1 to 12")),
            "{:?}",
            found.notes
        );
    }
}

#[tokio::test]
async fn a_foreign_server_is_found_too() {
    let (_server, port) = pymodbus(&["tcp"]);
    let url = format!("tcp://127.0.0.1:{port}");
    let found = look_for(json!({"url": url, "units": [1, 2], "registers": ["hr:0-1"]}))
        .await
        .expect("the bus is there");
    let all: Vec<_> = found
        .devices
        .iter()
        .map(|device| (device.protocol["unit"].clone(), device.properties.len()))
        .collect();
    assert_eq!(all, [(json!(1), 2), (json!(2), 2)], "{found:?}");
    assert_eq!(found.devices[0].properties[0].value.as_deref(), Some("215"));
}

#[tokio::test]
async fn a_wrong_search_is_told_with_its_place() {
    let told = look_for(json!({"units": "1-900", "registers": "hr"}))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        told,
        "url: no address of the device: write url: tcp://HOST:PORT or rtu:///dev/…, or ip and port; \
         units: `1-900`: expected unit numbers such as [1, 2] or \"1-247\"; \
         registers: `hr`: expected registers such as \"hr:0-9\", \"ir:100\" or \"co:0-15\""
    );
}

/// Bits of one register: each its own property, one read, and function 22 to write one.
#[tokio::test]
async fn one_bit_of_a_register_is_written_without_the_others() {
    let simulator = modbus().unit(1).register(40_004, 0b1010).start().await;
    let url = format!("tcp://{}", simulator.addr());
    let device = serde_json::from_value(
        json!({"device": "default/x", "protocol": {"url": url}, "points": [
        {"id": 1, "name": "a", "writable": true, "intervalMs": 0, "type": "BOOLEAN", "config": {"address": "hr:3.0"}}]}),
    );
    let parsed = Modbus::default()
        .parse(&device.expect("a device"))
        .unwrap_or_else(|faults| panic!("{faults:?}"));
    let mut line = line(&url).await;
    let point = parsed.points[0]
        .as_ref()
        .unwrap_or_else(|faults| panic!("{faults:?}"));
    line.write(&unit(1), point, &SampleValue::Bool(true))
        .await
        .expect("written");
    let words = line
        .read_words(&unit(1), crate::Table::HoldingRegisters, 3, 1)
        .await
        .expect("read");
    assert_eq!(words, Ok(vec![0b1011]));
    assert_eq!(simulator.counters().function(0x16).requests(), 1);
}

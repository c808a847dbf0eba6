//! An edge node that works alone, with manifests in a folder of its own.

use longshore_harness::prelude::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_register_becomes_a_twin_and_follows_it() {
    let plc = modbus().unit(1).register(30_001, 215).start().await;
    let boiler = device("boiler").on(&plc).read(
        "temperature",
        "FLOAT",
        json!({"address": "ir:0", "rawType": "int16", "scale": 0.1}),
    );
    let edge = edge().device(&boiler).run().await;

    edge.twin_is("boiler", "temperature", json!(21.5)).await;
    plc.set_input(1, 0, 230);
    edge.twin_is("boiler", "temperature", json!(23.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desired_value_reaches_the_register_and_is_confirmed_by_reading_it_back() {
    let plc = modbus().unit(1).register(40_001, 600).start().await;
    let boiler = setpoint(&plc).desired("setpoint", "75");
    let edge = edge().device(&boiler).run().await;

    plc.wait_holding(1, 0, 750).await;
    edge.write_is("boiler", "setpoint", "confirmed").await;
    edge.twin_is("boiler", "setpoint", json!(75)).await;

    edge.put_manifest("boiler", &boiler.desired("setpoint", "80").yaml());
    plc.wait_holding(1, 0, 800).await;
    edge.write_is("boiler", "setpoint", "confirmed").await;
    assert_eq!(plc.writes().len(), 2, "each desired value is written once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_library_runs_inside_of_the_process() {
    let plc = modbus().unit(1).register(40_001, 600).start().await;
    let edge = edge()
        .in_process()
        .device(&setpoint(&plc).desired("setpoint", "61"))
        .run()
        .await;
    plc.wait_holding(1, 0, 610).await;
    edge.twin_is("boiler", "setpoint", json!(61)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enums_bits_words_and_texts_become_what_the_model_says() {
    let plc = modbus()
        .unit(1)
        .register(40_001, 0b1010)
        .registers(40_011, &[0x4E20, 0x41AC])
        .text(40_021, 4, "LS-100")
        .bit(10_001, true)
        .start()
        .await;
    let unit = device("unit")
        .on(&plc)
        .read(
            "mode",
            "STRING",
            json!({"address": "hr:0", "rawType": "uint16", "enum": {"10": "heating"}}),
        )
        .read("pump", "BOOLEAN", json!({"address": "hr:0.1"}))
        .read(
            "level",
            "FLOAT",
            json!({"address": "hr:10#CDAB", "rawType": "float32"}),
        )
        .read(
            "serial",
            "STRING",
            json!({"address": "hr:20:4", "rawType": "string"}),
        )
        .read("door", "BOOLEAN", json!({"address": "di:0"}));
    let edge = edge().device(&unit).run().await;

    edge.twin_is("unit", "mode", json!("heating")).await;
    edge.twin_is("unit", "pump", json!(true)).await;
    edge.twin_where("to be 21.538…", "unit", "level", |twin| {
        twin["value"]
            .as_f64()
            .is_some_and(|value| (value - f64::from(f32::from_bits(0x41AC_4E20))).abs() < 1e-5)
    })
    .await;
    edge.twin_is("unit", "serial", json!("LS-100")).await;
    edge.twin_is("unit", "door", json!(true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_device_leaves_its_neighbour_alone() {
    let plc = modbus()
        .unit(1)
        .register(40_001, 1)
        .unit(2)
        .register(40_001, 2)
        .start()
        .await;
    let one = device("one")
        .unit(&plc, 1)
        .read("value", "INT", json!({"address": "hr:0"}));
    let two = device("two")
        .unit(&plc, 2)
        .read("value", "INT", json!({"address": "hr:0"}));
    let edge = edge().device(&one).device(&two).run().await;
    edge.twin_is("one", "value", json!(1)).await;
    edge.twin_is("two", "value", json!(2)).await;
    let connections = plc.line().connections;

    edge.put_manifest(
        "one",
        &device("one")
            .unit(&plc, 1)
            .read("scaled", "INT", json!({"address": "hr:0", "scale": 10}))
            .yaml(),
    );
    edge.twin_is("one", "scaled", json!(10)).await;
    assert!(
        edge.twin("one", "value").await.is_err(),
        "the removed property is gone"
    );
    edge.twin_is("two", "value", json!(2)).await;
    assert_eq!(
        plc.line().connections,
        connections,
        "the bus was not dialled anew"
    );

    edge.remove_manifest("one");
    eventually("the removed device to be gone", || async {
        match edge.twin("one", "scaled").await {
            Err(_) => Ok(()),
            Ok(twin) => Err(twin.to_string()),
        }
    })
    .await;
    edge.twin_is("two", "value", json!(2)).await;
}

fn setpoint(plc: &Simulator) -> DeviceManifest {
    device("boiler").on(plc).property(
        json!({"name": "setpoint", "type": "INT", "accessMode": "ReadWrite", "minimum": "20", "maximum": "90"}),
        json!({"address": "hr:0", "rawType": "int16", "scale": 0.1}),
        None,
    )
}

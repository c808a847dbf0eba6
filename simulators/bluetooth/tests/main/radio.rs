//! What BlueZ would do, step by step, seen by a plain client of D-Bus.

use std::{collections::HashMap, time::Duration};

use futures::StreamExt;
use longshore_sim_bluetooth::{Simulator, bluetooth};
use zbus::{Connection, MessageStream, ObjectPath, OwnedObjectPath, OwnedVariant};

const ADAPTER: &str = "/org/bluez/hci0";
const DEVICE: &str = "/org/bluez/hci0/dev_00_11_22_33_44_55";
const LEVEL: &str = "/org/bluez/hci0/dev_00_11_22_33_44_55/service000a/char000b";

async fn radio() -> (Simulator, Connection) {
    let radio = bluetooth()
        .yaml(
            "
world: {signals: {level: {setpoint: {initial: 50, max: 100}}}}
devices:
  - address: '00:11:22:33:44:55'
    name: lamp
    advertiseMs: 10
    passkey: 4711
    adverts: [{company: 76, data: [{signal: level, type: uint16, big: true}]}]
    services:
      - uuid: fff0
        characteristics:
          - {uuid: fff1, flags: [read, write, notify], notifyMs: 10, value: [{signal: level}]}
          - {uuid: fff2, secure: true, value: [{text: secret}]}
",
        )
        .start()
        .await;
    let client = zbus::connection::Builder::address(radio.address())
        .build()
        .await
        .expect("a client");
    (radio, client)
}

/// Calls, and gives the name of the error if there is one.
async fn call<B>(
    client: &Connection,
    path: &str,
    what: (&str, &str),
    body: &B,
) -> Result<zbus::Message, String>
where
    B: serde::Serialize + zbus::DynamicType,
{
    let (interface, member) = what;
    let interface = format!("org.bluez.{interface}");
    client
        .call_method(Some("org.bluez"), path, Some(&interface[..]), member, body)
        .await
        .map_err(|error| error.to_string())
}

async fn objects(client: &Connection) -> Vec<String> {
    type Objects = HashMap<OwnedObjectPath, HashMap<String, HashMap<String, OwnedVariant>>>;
    let manager = "org.freedesktop.DBus.ObjectManager";
    let answer = client
        .call_method(
            Some("org.bluez"),
            "/",
            Some(manager),
            "GetManagedObjects",
            &(),
        )
        .await
        .expect("an answer");
    let objects: Objects = answer.body().deserialize().expect("objects");
    let mut paths: Vec<_> = objects
        .into_keys()
        .map(|path| path.as_str().to_owned())
        .collect();
    paths.sort();
    paths
}

async fn discover(radio: &Simulator, client: &Connection) {
    call(client, ADAPTER, ("Adapter1", "StartDiscovery"), &())
        .await
        .expect("it begins");
    radio
        .wait("the lamp to be heard", |radio| {
            if radio.device("lamp").known {
                Ok(())
            } else {
                Err("it is not".to_owned())
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_are_there_only_once_they_were_heard() {
    let (radio, client) = radio().await;
    assert_eq!(objects(&client).await, ["/org/bluez", ADAPTER]);
    let unknown = call(&client, DEVICE, ("Device1", "Connect"), &())
        .await
        .unwrap_err();
    assert!(unknown.contains("UnknownMethod"), "{unknown}");
    discover(&radio, &client).await;
    assert_eq!(objects(&client).await, ["/org/bluez", ADAPTER, DEVICE]);
    let twice = call(&client, ADAPTER, ("Adapter1", "StartDiscovery"), &())
        .await
        .unwrap_err();
    assert!(twice.contains("InProgress"), "{twice}");
    // Who leaves takes its discovery along.
    client.close().await.expect("closed");
    radio
        .wait("discovery to end", |radio| {
            if radio.is_scanning("hci0") {
                Err("it is on".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_read_written_and_sent_while_connected() {
    let (radio, client) = radio().await;
    discover(&radio, &client).await;
    let options = HashMap::<&str, zbus::Variant<'_>>::new();
    let gatt = "GattCharacteristic1";
    assert!(
        call(&client, LEVEL, (gatt, "ReadValue"), &(&options,))
            .await
            .is_err()
    );
    call(&client, DEVICE, ("Device1", "Connect"), &())
        .await
        .expect("connected");
    assert_eq!(objects(&client).await.len(), 6);
    let answer = call(&client, LEVEL, (gatt, "ReadValue"), &(&options,))
        .await
        .expect("bytes");
    assert_eq!(answer.body().deserialize::<Vec<u8>>().unwrap(), [50]);
    call(
        &client,
        LEVEL,
        (gatt, "WriteValue"),
        &(vec![99_u8], &options),
    )
    .await
    .expect("written");
    assert_eq!(radio.world().value("level"), Some(99.0));
    // 200 is above the setpoint's 100, and two bytes are one too many.
    for (bytes, says) in [(vec![200_u8], "0xff"), (vec![1, 2], "InvalidValueLength")] {
        let refused = call(&client, LEVEL, (gatt, "WriteValue"), &(bytes, &options))
            .await
            .unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
    let command = HashMap::from([("type", zbus::Variant::from("command"))]);
    let refused = call(&client, LEVEL, (gatt, "WriteValue"), &(vec![1_u8], command))
        .await
        .unwrap_err();
    assert!(refused.contains("NotSupported"), "{refused}");

    let rule = "type='signal',interface='org.freedesktop.DBus.Properties',path='/org/bluez/hci0/dev_00_11_22_33_44_55/service000a/char000b'";
    let mut signals = MessageStream::for_match_rule(rule, &client, None)
        .await
        .expect("a rule");
    call(&client, LEVEL, (gatt, "StartNotify"), &())
        .await
        .expect("it notifies");
    let value = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let message = signals.next().await.expect("the bus").expect("a signal");
            let body = message.body();
            let (_, properties, _): (String, HashMap<String, OwnedVariant>, Vec<String>) =
                body.deserialize().expect("properties");
            if let Some(value) = properties.get("Value") {
                return format!("{value:?}");
            }
        }
    });
    let value = value.await.expect("a notification within ten seconds");
    assert!(value.contains("U8(99)"), "{value}");
    radio.disconnect("lamp").await;
    assert_eq!(objects(&client).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_for_paired_peers_and_pairing_needs_an_agent() {
    let (radio, client) = radio().await;
    discover(&radio, &client).await;
    call(&client, DEVICE, ("Device1", "Connect"), &())
        .await
        .expect("connected");
    let secret = "/org/bluez/hci0/dev_00_11_22_33_44_55/service000a/char000e";
    let options = HashMap::<&str, zbus::Variant<'_>>::new();
    let read = ("GattCharacteristic1", "ReadValue");
    let refused = call(&client, secret, read, &(&options,)).await.unwrap_err();
    assert!(
        refused.contains("NotPermitted") && refused.contains("Not paired"),
        "{refused}"
    );
    let failed = call(&client, DEVICE, ("Device1", "Pair"), &())
        .await
        .unwrap_err();
    assert!(failed.contains("AuthenticationFailed"), "{failed}");

    let mut calls = MessageStream::from(&client);
    let agent = ObjectPath::from_static_str("/agent").expect("a path");
    call(
        &client,
        "/org/bluez",
        ("AgentManager1", "RegisterAgent"),
        &(agent, "KeyboardOnly"),
    )
    .await
    .expect("an agent");
    let bus = client.clone();
    let answering = tokio::spawn(async move {
        while let Some(Ok(message)) = calls.next().await {
            let header = message.header();
            if header
                .member()
                .is_some_and(|member| member.as_str() == "RequestPasskey")
            {
                bus.reply(&header, &4711_u32).await.expect("answered");
                return;
            }
        }
    });
    call(&client, DEVICE, ("Device1", "Pair"), &())
        .await
        .expect("paired");
    answering.await.expect("it was asked");
    let answer = call(&client, secret, read, &(&options,))
        .await
        .expect("bytes");
    assert_eq!(answer.body().deserialize::<Vec<u8>>().unwrap(), b"secret");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_without_power_does_nothing() {
    let (radio, client) = radio().await;
    radio.power("hci0", false).await;
    let off = call(&client, ADAPTER, ("Adapter1", "StartDiscovery"), &())
        .await
        .unwrap_err();
    assert!(off.contains("NotReady"), "{off}");
    radio.plug("hci0", false).await;
    assert_eq!(objects(&client).await, ["/org/bluez"]);
    radio.end_bluetoothd().await;
    let gone = call(&client, ADAPTER, ("Adapter1", "StartDiscovery"), &())
        .await
        .unwrap_err();
    assert!(
        gone.contains("ServiceUnknown") || gone.contains("was not provided"),
        "{gone}"
    );
}

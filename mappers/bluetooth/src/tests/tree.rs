//! What BlueZ says, as a tree.

use std::collections::HashMap;

use zbus::{OwnedVariant, Variant};

use crate::{
    bluez::{
        Event,
        tree::{ADAPTER, CHARACTERISTIC, DEVICE, Properties, SERVICE, Tree},
    },
    bus::Target,
    point::Place,
    uuid::Uuid,
};

fn properties(list: Vec<(&str, Variant<'static>)>) -> Properties {
    let owned = |value: Variant<'static>| OwnedVariant::try_from(value).expect("owned");
    list.into_iter()
        .map(|(name, value)| (name.to_owned(), owned(value)))
        .collect()
}

fn path(text: &'static str) -> Variant<'static> {
    Variant::from(zbus::ObjectPath::from_static_str(text).expect("a path"))
}

fn tree() -> Tree {
    let mut tree = Tree::default();
    let on = properties(vec![("Powered", Variant::from(true))]);
    assert!(tree.put("/org/bluez/hci0", ADAPTER, &on, false).is_empty());
    let device = properties(vec![
        ("Adapter", path("/org/bluez/hci0")),
        ("Address", Variant::from("A4:C1:38:00:00:01")),
        ("Name", Variant::from("tag")),
        ("Connected", Variant::from(true)),
        ("ServicesResolved", Variant::from(true)),
        ("RSSI", Variant::from(-70_i16)),
    ]);
    // What stood there before is no news.
    assert!(
        tree.put("/org/bluez/hci0/dev_1", DEVICE, &device, false)
            .is_empty()
    );
    // The characteristic comes before its service: the order is not said.
    let characteristic = properties(vec![
        (
            "UUID",
            Variant::from("00002a19-0000-1000-8000-00805f9b34fb"),
        ),
        ("Service", path("/org/bluez/hci0/dev_1/service0001")),
        ("Flags", Variant::from(vec!["read", "notify"])),
        ("MTU", Variant::from(247_u16)),
    ]);
    tree.put(
        "/org/bluez/hci0/dev_1/service0001/char0002",
        CHARACTERISTIC,
        &characteristic,
        false,
    );
    let service = properties(vec![(
        "UUID",
        Variant::from("0000180f-0000-1000-8000-00805f9b34fb"),
    )]);
    tree.put(
        "/org/bluez/hci0/dev_1/service0001",
        SERVICE,
        &service,
        false,
    );
    tree
}

#[test]
fn a_packet_is_an_event_with_what_is_new() {
    let mut tree = tree();
    let data = HashMap::from([(0x004C_u16, Variant::from(vec![2_u8, 0x15]))]);
    let heard = properties(vec![("ManufacturerData", Variant::from(data))]);
    let changes = tree.put("/org/bluez/hci0/dev_1", DEVICE, &heard, true);
    let Event::Advert(advert) = &changes[0].event else {
        panic!("{changes:?}")
    };
    assert_eq!(advert.manufacturer, [(0x004C, vec![2, 0x15])]);
    assert_eq!(advert.rssi, Some(-70), "the level of before");
    let quiet = properties(vec![("Trusted", Variant::from(true))]);
    assert!(
        tree.put("/org/bluez/hci0/dev_1", DEVICE, &quiet, true)
            .is_empty()
    );
}

#[test]
fn characteristics_are_found_with_and_without_their_service() {
    let tree = tree();
    let place = |service: Option<u16>, uuid| Place {
        service: service.map(Uuid::short),
        uuid: Uuid::short(uuid),
    };
    for service in [None, Some(0x180F)] {
        let (path, known) = tree
            .characteristic("/org/bluez/hci0/dev_1", place(service, 0x2A19))
            .expect("there");
        assert!(path.ends_with("char0002"));
        assert_eq!(known.mtu, Some(247));
    }
    let error = tree
        .characteristic("/org/bluez/hci0/dev_1", place(Some(0x180D), 0x2A19))
        .unwrap_err();
    assert_eq!(
        error,
        "the device has no characteristic 2a19 of service 180d; it has 180f/2a19"
    );
}

#[test]
fn what_ends_is_said_to_the_devices() {
    let mut tree = tree();
    let off = properties(vec![("Powered", Variant::from(false))]);
    assert_eq!(
        tree.put("/org/bluez/hci0", ADAPTER, &off, true)[0].event,
        Event::AdapterDown
    );
    assert!(tree.adapter(None).unwrap_err().contains("switched off"));
    let gone = properties(vec![
        ("Connected", Variant::from(false)),
        ("ServicesResolved", Variant::from(false)),
    ]);
    assert_eq!(
        tree.put("/org/bluez/hci0/dev_1", DEVICE, &gone, true)[0].event,
        Event::Disconnected
    );
    assert_eq!(
        tree.remove("/org/bluez/hci0", ADAPTER)[0].event,
        Event::AdapterDown
    );
    assert!(tree.devices.is_empty());
    assert!(
        tree.find("/org/bluez/hci0", &Target::Name("tag".to_owned()))
            .is_none()
    );
    assert_eq!(
        tree.adapter(Some("hci0")).unwrap_err(),
        "there is no adapter hci0"
    );
}

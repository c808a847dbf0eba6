use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn both(packet: &[u8], version: Version) -> Result<Option<Packet>, WireError> {
    let Some((header, total)) = frame(packet, 1 << 20)? else {
        return Ok(None);
    };
    if packet.len() < total {
        return Ok(None);
    }
    decode(&packet[..total], header, version).map(Some)
}

#[test]
fn a_connect_of_each_version_is_understood() {
    let packet = [
        0x10, 38, 0, 4, b'M', b'Q', b'T', b'T', //
        5,    // MQTT 5
        0xce, // user, password, will of QoS 1, clean
        0, 60, // keep-alive
        5, 0x11, 0, 0, 0, 9, // the session outlives the connection by 9 s
        0, 1, b'c', // client
        5, 0x18, 0, 0, 0, 7, // the will waits 7 s
        0, 1, b'w', 0, 1, b'x', // topic and payload of the will
        0, 1, b'u', 0, 2, b'p', b'w', // user and password
    ];
    let Ok(Some(Packet::Connect(connect))) = both(&packet, Version::V3) else {
        panic!("{:?}", both(&packet, Version::V3));
    };
    assert_eq!((connect.version, connect.clean), (Version::V5, true));
    assert_eq!((connect.keep_alive, connect.expiry), (60, 9));
    assert_eq!(connect.user.as_deref(), Some("u"));
    let will = connect.will.as_ref().unwrap();
    assert_eq!((&*will.content.topic, will.delay), ("w", 7));
    assert_eq!(will.qos, QoS::AtLeastOnce);
    assert!(
        !format!("{connect:?}").contains("112"),
        "no password in a log"
    );
    let old = [
        0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', //
        4,    // MQTT 3.1.1
        0, 0, 10, // not clean: a session without end
        0, 1, b'c',
    ];
    let Ok(Some(Packet::Connect(connect))) = both(&old, Version::V3) else {
        panic!("{:?}", both(&old, Version::V3));
    };
    assert_eq!(connect.expiry, u32::MAX);
}

#[test]
fn what_is_wrong_has_its_reason() {
    for (packet, expected) in [
        (&[0x30, 0xff, 0xff, 0xff, 0xff][..], code::MALFORMED),
        (&[0x30, 0xff, 0xff, 0xff, 0x7f], code::TOO_LARGE),
        (&[0x36, 5, 0, 1, b'a', 0, 1], code::MALFORMED), // QoS 3
        (&[0x38, 3, 0, 1, b'a'], code::MALFORMED),       // QoS 0, again
        (&[0x32, 5, 0, 1, b'a', 0, 0], code::PROTOCOL),  // packet id 0
        (&[0x80, 2, 0, 1], code::MALFORMED),             // flags of SUBSCRIBE
        (&[0x82, 2, 0, 1], code::PROTOCOL),              // nothing subscribed to
        (&[0x30, 4, 0, 2, 0xff, 0xfe], code::MALFORMED), // not UTF-8
        (&[0x30, 3, 0, 1, 0], code::MALFORMED),          // a null character
        (&[0x30, 3, 0, 9, b'a'], code::MALFORMED),       // too short
        (&[0xc0, 1, 0], code::MALFORMED),                // too long
        (&[0x00, 0], code::PROTOCOL),
        (&[0xf0, 0], code::PROTOCOL), // AUTH in 3.1.1
        (
            &[0x10, 8, 0, 6, b'M', b'Q', b'I', b's', b'd', b'p'],
            code::VERSION,
        ),
        (&[0x10, 7, 0, 4, b'M', b'Q', b'T', b'T', 9], code::VERSION),
    ] {
        let error = both(packet, Version::V3).unwrap_err();
        assert_eq!(error.code, expected, "{packet:x?}: {error}");
    }
    for (packet, what) in [
        (
            &[0x30, 8, 0, 1, b'a', 4, 1, 0, 1, 1][..],
            "a property that comes twice",
        ),
        (
            &[0x30, 6, 0, 1, b'a', 2, 0x11, 0],
            "the packet ends too early",
        ),
        (
            &[0x30, 6, 0, 1, b'a', 2, 0x0b, 1],
            "a property that does not belong to this packet",
        ),
        (
            &[0x30, 8, 0, 1, b'a', 4, 8, 0, 1, b'#'],
            "a response topic with a wildcard",
        ),
    ] {
        assert_eq!(both(packet, Version::V5).unwrap_err().what, what);
    }
}

#[test]
fn properties_of_a_message_go_on_as_they_came_and_its_alias_does_not() {
    let packet = [
        0x30, 26, 0, 1, b'a', //
        21,   // properties
        1, 1, // the payload is text
        0x23, 0, 3, // an alias
        2, 0, 0, 0, 9, // an expiry
        0x26, 0, 1, b'k', 0, 1, b'v', // a user property
        9, 0, 1, 7, // correlation data
        b'x',
    ];
    let Ok(Some(Packet::Publish(publish))) = both(&packet, Version::V5) else {
        panic!("{:?}", both(&packet, Version::V5));
    };
    assert_eq!((publish.alias, publish.expiry), (Some(3), Some(9)));
    let handed = [1, 1, 0x26, 0, 1, b'k', 0, 1, b'v', 9, 0, 1, 7];
    assert_eq!(publish.content.properties, handed[..]);
    assert_eq!(publish.content.payload, b"x"[..]);
}

fn contents() -> impl Strategy<Value = Content> {
    ("[a-z/]{1,20}", prop::collection::vec(any::<u8>(), 0..5000)).prop_map(|(topic, payload)| {
        // A user property.
        let properties = Bytes::from_static(&[0x26, 0, 1, b'k', 0, 1, b'v']);
        Content {
            properties,
            ..Content::new(topic, payload)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever comes, in whatever pieces: a packet, the wish for more, or an error.
    #[test]
    fn arbitrary_bytes_are_understood_or_refused(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        kind in 0..16_u8,
        five in any::<bool>(),
        whole in any::<bool>(),
    ) {
        let version = if five { Version::V5 } else { Version::V3 };
        if whole && bytes.len() > 2 {
            // A length that is right gets beyond the header.
            bytes[0] = kind << 4 | bytes[0] & 0x0f;
            let rest = bytes.len() - 2;
            if rest < 128 {
                bytes[1] = rest as u8;
            }
        }
        let _ = both(&bytes, version);
    }

    /// The same for what nearly is a packet: one byte of a right one is another.
    #[test]
    fn a_packet_with_a_wrong_byte_is_understood_or_refused(
        content in contents(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        five in any::<bool>(),
    ) {
        let version = if five { Version::V5 } else { Version::V3 };
        let mut out = Out::default();
        out.publish(version, &content, Some(3), QoS::AtLeastOnce, true, false, Some(7), &[]);
        let mut bytes = out.take();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = both(&bytes, version);
    }

    /// What is written is what is read, and as long as was said.
    #[test]
    fn a_message_survives_the_wire(
        content in contents(),
        qos in 0..3_u8,
        retain in any::<bool>(),
        expiry in any::<Option<u32>>(),
        five in any::<bool>(),
    ) {
        let version = if five { Version::V5 } else { Version::V3 };
        let qos = QoS::new(qos).unwrap();
        let id = (qos > QoS::AtMostOnce).then_some(77);
        let mut out = Out::default();
        out.publish(version, &content, id, qos, retain, false, expiry, &[]);
        let bytes = out.take();
        prop_assert_eq!(bytes.len(), publish_size(version, &content, id.is_some(), expiry, &[]));
        let Some(Packet::Publish(publish)) = both(&bytes, version).unwrap() else {
            panic!("another packet");
        };
        prop_assert_eq!((publish.qos, publish.retain, publish.id), (qos, retain, id));
        prop_assert_eq!(&publish.content.topic, &content.topic);
        prop_assert_eq!(&publish.content.payload, &content.payload);
        if five {
            prop_assert_eq!(publish.content.properties, content.properties);
            prop_assert_eq!(publish.expiry, expiry);
        }
    }
}

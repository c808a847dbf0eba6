//! Bytes as the specification has them.

use crate::binary::{Reader, Times, Writer};
use crate::node_id::NodeId;
use crate::status::StatusCode;
use crate::time;
use crate::value::{Array, DataValue, Kind, Scalar, Value};

fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::default();
    write(&mut w);
    w.bytes
}

#[test]
fn node_ids_take_the_shortest_form() {
    let bytes = |text: &str| {
        let id: NodeId = text.parse().expect("a node id");
        assert_eq!(id.to_string(), text);
        let bytes = written(|w| w.node_id(&id));
        assert_eq!(Reader::new(&bytes).node_id(), Ok(id));
        bytes
    };
    // Two bytes: form 0, number 72 (OPC 10000-6, 5.2.2.9, table 17).
    assert_eq!(bytes("i=72"), [0x00, 0x48]);
    // Four bytes: form 1, namespace 5, number 1025 (table 18).
    assert_eq!(bytes("ns=5;i=1025"), [0x01, 0x05, 0x01, 0x04]);
    // A text: form 3, namespace 1, length 6, "Hot" and a u-umlaut and more would follow.
    assert_eq!(
        bytes("ns=1;s=Hot"),
        [0x03, 0x01, 0x00, 0x03, 0x00, 0x00, 0x00, b'H', b'o', b't']
    );
    // The example of 5.2.2.6: Data1, Data2 and Data3 are numbers, low byte first.
    assert_eq!(
        bytes("g=72962b91-fa75-4ae6-8d28-b404dc7daf63")[3..],
        [
            0x91, 0x2B, 0x96, 0x72, 0x75, 0xFA, 0xE6, 0x4A, 0x8D, 0x28, 0xB4, 0x04, 0xDC, 0x7D,
            0xAF, 0x63
        ]
    );
}

#[test]
fn a_matrix_ends_with_its_dimensions() {
    let matrix = Value::Many(Array {
        kind: Kind::Byte,
        items: (1..=6).map(Scalar::Byte).collect(),
        dimensions: vec![2, 3],
    });
    let bytes = written(|w| w.value(&matrix));
    assert_eq!(
        bytes,
        [
            0xC3, // Byte (3), an array (0x80) of several dimensions (0x40)
            6, 0, 0, 0, 1, 2, 3, 4, 5, 6, // six items, row by row
            2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, // two dimensions: 2 and 3
        ]
    );
    assert_eq!(Reader::new(&bytes).value(), Ok(matrix));
}

#[test]
fn a_data_value_says_what_it_has() {
    let data = DataValue {
        value: Value::One(Scalar::Boolean(true)),
        status: StatusCode(0x4000_0000),
        source_time: Some(1),
        server_time: Some(2),
    };
    let source_only = Times {
        source: true,
        server: false,
    };
    // Value (1), status (2) and source time (4); then Boolean (1) true, Uncertain, one tick.
    assert_eq!(
        written(|w| w.data_value(&data, source_only)),
        [0x07, 0x01, 0x01, 0, 0, 0, 0x40, 1, 0, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn lengths_that_cannot_be_true_are_refused() {
    // A list of two thousand million Int32 in nine bytes.
    let bytes = [0x86, 0xFF, 0xFF, 0xFF, 0x7F, 1, 0, 0, 0];
    assert!(Reader::new(&bytes).value().is_err());
    assert!(Reader::new(&[0xFF, 0xFF]).string().is_err());
}

#[test]
fn times_have_texts() {
    for text in [
        "1970-01-01T00:00:00Z",
        "2024-02-29T23:59:59.250Z",
        "1601-01-01T00:00:00Z",
    ] {
        let ticks = time::parse(text).expect("a time");
        assert_eq!(time::format(ticks), text);
    }
    // The Unix epoch, in units of 100 ns since 1601.
    assert_eq!(
        time::parse("1970-01-01T00:00:00Z"),
        Some(116_444_736_000_000_000)
    );
    assert_eq!(time::parse("2024-13-01T00:00:00Z"), None);
    assert_eq!(time::parse("yesterday"), None);
}

#[test]
fn statuses_have_names() {
    for name in [
        "Good",
        "BadSensorFailure",
        "UncertainLastUsableValue",
        "BadNodeIdUnknown",
    ] {
        let status: StatusCode = name.parse().expect("a status");
        assert_eq!(status.to_string(), name);
    }
    assert_eq!(
        StatusCode::BAD_NODE_ID_UNKNOWN.to_string(),
        "BadNodeIdUnknown"
    );
    assert!("BadMood".parse::<StatusCode>().is_err());
}

//! Bodies byte by byte, and bodies that no server should send.

use opcua::types::StructureField;
use proptest::prelude::*;

use super::*;

/// Without a connection.
pub(crate) fn alone() -> Types {
    Types::new(crate::channel::context(&crate::bus::Bounds::default()))
}

impl Types {
    fn put(&self, id: u32, kind: StructureType, fields: Vec<StructureField>) {
        let definition = StructureDefinition {
            default_encoding_id: NodeId::new(2, id + 1),
            base_data_type: NodeId::new(0, STRUCTURE),
            structure_type: kind,
            fields: Some(fields),
        };
        self.describe(NodeId::new(2, id), NodeId::new(2, id + 1), &definition);
    }

    fn decode(&self, id: u32, mut body: &[u8]) -> Result<Value, Error> {
        let decoder = Decoder {
            types: self,
            now_ns: 0,
        };
        self.structure(&NodeId::new(2, id), &mut body, &decoder, &mut Room::new())
    }
}

fn field(name: &str, data_type: NodeId, value_rank: i32, is_optional: bool) -> StructureField {
    StructureField {
        name: name.into(),
        description: LocalizedText::null(),
        data_type,
        value_rank,
        array_dimensions: None,
        max_string_length: 0,
        is_optional,
    }
}

fn built(number: u32) -> NodeId {
    NodeId::new(0, number)
}

/// Three structures that lie in one another, and themselves in them.
fn types() -> Types {
    let types = alone();
    types.put(
        10,
        StructureType::Structure,
        vec![
            field("flag", built(1), -1, false),
            field("number", built(5), -1, false),
            field("text", built(12), -1, false),
            field("list", built(4), 1, false),
            field("inner", NodeId::new(2, 20_u32), -1, false),
        ],
    );
    types.put(
        20,
        StructureType::StructureWithOptionalFields,
        vec![
            field("first", built(3), -1, true),
            field("always", built(3), -1, false),
            field("second", built(3), 2, true),
        ],
    );
    types.put(
        30,
        StructureType::Union,
        vec![
            field("byte", built(3), -1, false),
            field("self", NodeId::new(2, 30_u32), 1, false),
            field("any", built(24), 1, false),
            field("object", built(STRUCTURE), -1, false),
        ],
    );
    types
}

#[test]
fn fields_stand_one_after_the_other() {
    let body = [
        1, // flag
        0x34, 0x12, // number, the low byte first
        2, 0, 0, 0, b'o', b'k', // text with its length
        2, 0, 0, 0, 0xFF, 0xFF, 5, 0, // list of -1 and 5
        0b10, 0, 0, 0, // inner: only the second optional field
        7, // always
        2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, // second: two dimensions, 2 by 1
        8, 9,
    ];
    assert_eq!(
        types().decode(10, &body).expect("decodes"),
        json!({"flag": true, "number": 0x1234, "text": "ok", "list": [-1, 5],
               "inner": {"always": 7, "second": [[8], [9]]}})
    );
    // Each cut is noticed.
    for length in 0..body.len() {
        assert!(types().decode(10, &body[..length]).is_err(), "{length}");
    }
}

#[test]
fn a_union_has_one_field_or_none() {
    let types = types();
    assert_eq!(types.decode(30, &[0, 0, 0, 0]).expect("null"), Value::Null);
    let byte = [1, 0, 0, 0, 9];
    assert_eq!(types.decode(30, &byte).expect("a byte"), json!({"byte": 9}));
    assert!(types.decode(30, &[9, 0, 0, 0, 1]).is_err());
    // An array without end: 2 147 483 647 elements in no bytes.
    assert!(
        types
            .decode(30, &[2, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0x7F])
            .is_err()
    );
}

#[test]
fn a_structure_that_nobody_describes_is_its_bytes() {
    let types = alone();
    let body =
        opcua::types::ByteStringBody::new(ByteString::from(vec![1, 2]), NodeId::new(2, 99_u32));
    let object = ExtensionObject::from_message(body);
    let decoder = Decoder {
        types: &types,
        now_ns: 0,
    };
    assert_eq!(
        types.json(&object, &decoder, &mut Room::new()),
        json!({"typeId": "ns=2;i=99", "body": "AQI="})
    );
}

/// Types that double at each level need no byte for a billion of empty structures.
#[test]
fn a_structure_of_nothing_has_an_end() {
    let types = alone();
    for id in 100..130 {
        let inner = NodeId::new(2, (id + 1) * 10);
        let fields = vec![
            field("left", inner.clone(), -1, false),
            field("right", inner, -1, false),
        ];
        types.put(id * 10, StructureType::Structure, fields);
    }
    types.put(1300, StructureType::Structure, Vec::new());
    let fault = types.decode(1000, &[]).unwrap_err();
    assert!(fault.to_string().contains("larger than"), "{fault}");
    // Nor do arrays of them: each has a length of four bytes, and as many as bytes follow.
    let list = |of, name: &str| vec![field(name, NodeId::new(2, of), 1, false)];
    types.put(20, StructureType::Structure, list(1300, "list"));
    types.put(21, StructureType::Structure, list(20, "lists"));
    let mut body = 2_000_u32.to_le_bytes().to_vec();
    for _ in 0..2_000 {
        body.extend_from_slice(&1_000_u32.to_le_bytes());
    }
    let fault = types.decode(21, &body).unwrap_err();
    assert!(fault.to_string().contains("larger than"), "{fault}");
}

/// Bodies that lie in one another, each in its own bytes, down to the end of the stack.
#[test]
fn structures_in_structures_have_an_end() {
    let types = alone();
    let any = vec![field("object", built(STRUCTURE), -1, false)];
    types.put(10, StructureType::Structure, any);
    // An object of the encoding ns=2;i=11 whose body is an object, and so on.
    let mut body = vec![0, 0, 0];
    for _ in 0..5_000 {
        let mut outer = vec![1, 2, 11, 0, 1];
        outer.extend_from_slice(&(body.len() as u32).to_le_bytes());
        outer.append(&mut body);
        body = outer;
    }
    let value = types.decode(10, &body).expect("what is too deep is bytes");
    let text = value.to_string();
    assert!(
        text.starts_with("{\"object\":{\"object\":"),
        "{}",
        &text[..60]
    );
    assert!(text.contains("ns=2;i=11"), "the rest is told as its bytes");
}

/// A mask has 32 bits, and a server may still say that there are more fields.
#[test]
fn a_mask_of_too_few_bits_is_no_structure() {
    let types = alone();
    let fields = |count| {
        let names = (0..count).map(|at| format!("f{at}"));
        names.map(|name| field(&name, built(3), -1, true)).collect()
    };
    let kind = StructureType::StructureWithOptionalFields;
    types.put(10, kind, fields(32));
    types.put(20, kind, fields(33));
    let last = [0, 0, 0, 0x80, 9];
    assert_eq!(types.decode(10, &last).expect("one"), json!({"f31": 9}));
    assert!(types.decode(20, &last).is_err());
}

proptest! {
    #[test]
    fn no_body_ends_the_mapper(body in prop::collection::vec(any::<u8>(), 0..200), id in prop::sample::select(vec![10_u32, 20, 30])) {
        // Whatever it gives; it must not panic, nor fill the memory.
        let _ = types().decode(id, &body);
    }
}

/// A field whose type is narrower than what is sent: nothing of it is right then.
#[test]
fn a_body_with_bytes_left_over_is_refused() {
    let types = alone();
    let fields = vec![
        field("flags", built(7), -1, false),
        field("pressure", built(11), -1, false),
    ];
    types.put(10, StructureType::Structure, fields);
    let decoder = Decoder {
        types: &types,
        now_ns: 0,
    };
    let shown = |body: &[u8]| {
        let body =
            opcua::types::ByteStringBody::new(ByteString::from(body), NodeId::new(2, 11_u32));
        let object = ExtensionObject::from_message(body);
        types.json(&object, &decoder, &mut Room::new())
    };
    let mut body = 3_u32.to_le_bytes().to_vec();
    body.extend(99.5_f64.to_le_bytes());
    assert_eq!(shown(&body), json!({"flags": 3, "pressure": 99.5}));
    body.splice(4..4, [0; 4]);
    let fault = shown(&body)["fault"].to_string();
    assert!(fault.contains("4 bytes are left over"), "{fault}");
}

//! What is sent.

use longshore_sdk::{
    SampleValue,
    codec::{ByteOrder, Codec, RawType},
};

use crate::{
    checksum::{Checksum, Format, Kind, Place},
    template::{Filling, Template},
};

fn render(template: &str, value: SampleValue) -> Result<String, String> {
    let template = Template::text(template).map_err(|error| error.to_string())?;
    let lookup = |name: &str| match name {
        "value" => Some(value.clone()),
        "address" => Some(SampleValue::String("5".to_owned())),
        _ => None,
    };
    let filling = Filling {
        lookup: &lookup,
        checksum: None,
        codec: None,
        truths: ("ON", "OFF"),
        reserved: ";$",
    };
    let bytes = template
        .render(&filling)
        .map_err(|error| error.to_string())?;
    Ok(String::from_utf8(bytes).expect("text"))
}

#[test]
fn values_as_text() {
    use SampleValue::{Bool, Bytes, Float, Int, String, Uint};
    for (template, value, expected) in [
        ("VOLT {value}\n", Float(12.5), "VOLT 12.5\n"),
        ("VOLT {value}\n", Float(12.0), "VOLT 12\n"),
        ("VOLT {value:.3}\n", Int(12), "VOLT 12.000\n"),
        ("{value:07.2}", Float(-1.5), "-001.50"),
        ("{value:5}", Int(42), "   42"),
        ("#01{value:+07.3}", Float(7.5), "#01+07.500"),
        ("#01{value:+07.3}", Float(-7.5), "#01-07.500"),
        ("{value:+}", Int(5), "+5"),
        ("{value:+d}", Float(0.0), "+0"),
        ("{value:+6.1}", Float(2.0), "  +2.0"),
        ("{value:+.2e}", Float(1234.0), "+1.23e3"),
        ("{value:d}", Float(214.999_999_99), "215"),
        ("{value:04X}", Uint(255), "00FF"),
        ("{value:x}", Uint(255), "ff"),
        ("{value:.2e}", Float(1234.0), "1.23e3"),
        ("OUTP {value}", Bool(true), "OUTP ON"),
        ("OUTP {value}", Bool(false), "OUTP OFF"),
        ("{{{value}}}", String("a b".to_owned()), "{a b}"),
        ("{address:03}:{value}", Bytes(vec![0xAB, 1]), "005:AB01"),
    ] {
        assert_eq!(
            render(template, value.clone()).as_deref(),
            Ok(expected),
            "{template} {value:?}"
        );
    }
}

/// A text must not end its own request and begin another one.
#[test]
fn a_text_cannot_smuggle_in_a_command() {
    for text in ["5\nOUTP ON", "5\r", "5;OUTP ON", "$PUBX", "\u{1b}P", "a\0b"] {
        let error = render("DISP \"{value}\"\n", SampleValue::String(text.to_owned())).unwrap_err();
        assert!(
            error.starts_with("`value`: a text must not hold"),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn values_that_do_not_suit() {
    use SampleValue::{Float, Int, String};
    for (template, value, expected) in [
        (
            "{value:d}",
            Float(1.5),
            "`value`: 1.5 is not a whole number",
        ),
        (
            "{value:02X}",
            Int(300),
            "`value`: 300 does not fit 2 digits",
        ),
        (
            "{value:02X}",
            Int(-1),
            "`value`: -1 has no hexadecimal form here",
        ),
        ("{value:.1}", Float(f64::NAN), "`value`: NaN cannot be sent"),
        (
            "{value:.1}",
            String("much".to_owned()),
            "`value`: `much` is not a number",
        ),
        (
            "{channel}",
            Int(1),
            "`{channel}` has no value; give it under `parameters`",
        ),
    ] {
        assert_eq!(render(template, value).unwrap_err(), expected);
    }
}

/// What is no format is refused as a whole, and never sent half understood.
#[test]
fn formats_are_read_strictly() {
    for format in [
        "+-7.3", "07.+3", "-07.3", "7.", "7..3", ".", "3q", "fd", "7.3dd", "0x4", "+04X", "04.1X",
        ".1d", "99", ".18", "٣",
    ] {
        let template = format!("{{value:{format}}}");
        let error = Template::text(&template).unwrap_err().to_string();
        assert!(error.contains("is no format"), "{template}: {error}");
    }
    for blank in [
        "{ value}",
        "{value }",
        "{value: 07.3}",
        "{value:07.3 }",
        "{value:0 7}",
    ] {
        let error = Template::text(blank).unwrap_err().to_string();
        assert!(error.contains("holds a blank"), "{blank}: {error}");
    }
}

#[test]
fn mistakes_have_a_column() {
    let text = |text: &str| Template::text(text).unwrap_err().to_string();
    let hex = |text: &str| Template::hex(text).unwrap_err().to_string();
    assert_eq!(
        text("VOLT {value:3q}"),
        "column 6: `value:3q` is no format; write for example `value:.3`, `value:05.1`, `value:+07.3` (with its sign), `value:d`, `value:04X` or `value:e`"
    );
    assert_eq!(
        text("{checksum:04X}"),
        "column 1: how a checksum is written stands in the device's `checksum`"
    );
    assert_eq!(hex("02 5"), "column 4: a byte has two hexadecimal digits");
    assert_eq!(
        hex("02 5{a}"),
        "column 5: a byte has two hexadecimal digits"
    );
    assert_eq!(hex("02 zz"), "column 4: `z` is no hexadecimal digit");
}

/// 02 | address 05 | 52 | int16 in tenths, low byte first | sum of all before | 03
#[test]
fn bytes() {
    let template = Template::hex("02 {address:02X} 52 {value} {checksum} 03").expect("a template");
    let order: ByteOrder = "DCBA".parse().expect("an order");
    let codec = Codec::number(RawType::Int16, &order).expect("a codec");
    let checksum = Checksum {
        kind: Kind::Sum8,
        format: Format::BinaryBig,
        place: Place::BeforeEnd,
        from: 0,
        to: 0,
    };
    let lookup = |name: &str| match name {
        "value" => Some(SampleValue::Int(0x1234)),
        _ => Some(SampleValue::String("5".to_owned())),
    };
    let filling = Filling {
        lookup: &lookup,
        checksum: Some(&checksum),
        codec: Some(&codec),
        truths: ("1", "0"),
        reserved: "",
    };
    let bytes = template.render(&filling).expect("bytes");
    // 02 + 05 + 52 + 34 + 12 is 9F.
    assert_eq!(bytes, [0x02, 0x05, 0x52, 0x34, 0x12, 0x9F, 0x03]);
    let unpadded = Template::hex("{address}").expect("a template");
    assert_eq!(
        unpadded.render(&filling).unwrap_err().to_string(),
        "`address`: `5` is not whole bytes in hexadecimal; write for example `{address:02X}`"
    );
}

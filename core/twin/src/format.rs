//! Values as JSON, straight into a buffer.

use std::fmt::Write as _;

use longshore_types::ValueRef;

/// Appends a value as JSON. `single`: a floating point number that came as 32
/// bits is written as short as its 32 bits allow.
#[inline]
pub(crate) fn value(out: &mut Vec<u8>, value: ValueRef<'_>, single: bool) {
    match value {
        ValueRef::Float(v) => float(out, v, single),
        ValueRef::Int(v) => out.extend_from_slice(itoa::Buffer::new().format(v).as_bytes()),
        ValueRef::Uint(v) => out.extend_from_slice(itoa::Buffer::new().format(v).as_bytes()),
        ValueRef::Bool(v) => out.extend_from_slice(if v { b"true" } else { b"false" }),
        ValueRef::String(v) => string(out, v),
        bytes @ ValueRef::Bytes(_) => {
            out.push(b'"');
            let mut text = String::new();
            // Writing into a String cannot fail; base64 needs no escapes.
            let _ = write!(text, "{bytes}");
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
    }
}

#[inline]
fn float(out: &mut Vec<u8>, v: f64, single: bool) {
    let mut buffer = zmij::Buffer::new();
    let narrow = v as f32;
    let text = if !v.is_finite() {
        // JSON has no such numbers.
        "null"
    } else if single && f64::from(narrow) == v {
        buffer.format_finite(narrow)
    } else {
        buffer.format_finite(v)
    };
    // 21 and not 21.0: whole numbers are the same number in JSON.
    out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
}

/// Appends a text with quotes and escapes.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Appends a whole number.
pub(crate) fn whole(out: &mut Vec<u8>, v: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(v).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(v: ValueRef<'_>, single: bool) -> String {
        let mut out = Vec::new();
        value(&mut out, v, single);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_number_of_32_bits_prints_short() {
        assert_eq!(text(ValueRef::Float(f64::from(21.1_f32)), true), "21.1");
        assert_eq!(
            text(ValueRef::Float(f64::from(21.1_f32)), false),
            "21.100000381469727"
        );
        assert_eq!(
            text(ValueRef::Float(21.1), true),
            "21.1",
            "and one of 64 bits prints exactly"
        );
        assert_eq!(text(ValueRef::Float(21.0), true), "21");
        assert_eq!(text(ValueRef::Float(f64::NAN), true), "null");
        assert_eq!(text(ValueRef::Int(-7), false), "-7");
    }

    #[test]
    fn every_text_is_valid_json() {
        for sample in ["", "plain", "q\"b\\n\n\r\t\u{1}\u{1f}", "Grüße ≠ ✓"] {
            let json = text(ValueRef::String(sample), false);
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), sample);
        }
        assert_eq!(text(ValueRef::Bytes(b"\0\x01"), false), "\"AAE=\"");
    }
}

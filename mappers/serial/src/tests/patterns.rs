//! What answers look like.

use proptest::prelude::*;

use crate::pattern::{Caught, Pattern};

fn value(pattern: &str, message: &str) -> Option<String> {
    let pattern = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    let captures = pattern.matches(message.as_bytes())?;
    let texts = captures.into_iter().map(|(name, caught)| match caught {
        Caught::Float(number) => format!("{name}={number}"),
        Caught::Int(number) => format!("{name}={number}"),
        Caught::Hex(number) => format!("{name}={number:#x}"),
        Caught::Text(text) => format!("{name}={text}"),
    });
    Some(texts.collect::<Vec<_>>().join(" "))
}

#[test]
fn fields_and_blanks() {
    for (pattern, message, expected) in [
        // MT-SICS: the number stands right-aligned in ten characters.
        (
            "S S {value:float} {unit}",
            "S S     100.00 g",
            "value=100 unit=g",
        ),
        (
            "S S {value:float} {unit}",
            "S S      -0.05 g",
            "value=-0.05 unit=g",
        ),
        ("S {state:word} {}", "S D     100.00 g", "state=D"),
        // SCPI: numbers with exponents.
        ("{value:float}", "+1.20000000E+01", "value=12"),
        ("{a:float},{}", "1.5,2.5,3.5", "a=1.5"),
        ("{},{value:float},{}", "1.5,2.5,3.5", "value=2.5"),
        ("{}ch{n:int}={value:float}V", "ok ch2=3.3V", "n=2 value=3.3"),
        ("{value:hex}h", "1Fh", "value=0x1f"),
        ("{:text:2}{value:int:3}{}", "AB042xyz", "value=42"),
        ("{value}", "any text", "value=any text"),
        ("{value}", "", "value="),
        ("OK\r\n", "OK", ""),
        ("{{{value:int}}}", "{7}", "value=7"),
        ("{value:float} V", "- 12.5 V", "value=-12.5"),
        ("{value:float}.", "5..", "value=5"),
        ("S S {value:float} {}", "S S 1.0", "value=1"),
    ] {
        assert_eq!(
            value(pattern, message).as_deref(),
            Some(expected),
            "{pattern} / {message}"
        );
    }
}

#[test]
fn what_does_not_fit() {
    for (pattern, message) in [
        ("S S {value:float} g", "S I"),
        ("S S {value:float} g", "S S g"),
        ("{value:float}", "1.5 V"),
        ("{value:int}", "1.5"),
        ("{value:int}", "99999999999999999999"),
        ("OK", "OKAY"),
        ("a b", "ab"),
        ("{value:word}", ""),
        ("{value:int:3}", "12"),
        ("{value:int:3}", "1x2"),
    ] {
        assert_eq!(value(pattern, message), None, "{pattern} / {message}");
    }
}

#[test]
fn mistakes_have_a_column() {
    for (pattern, expected) in [
        (
            "S {value:float",
            "column 3: this `{` is never closed; a brace that is meant is written `{{`",
        ),
        (
            "S }",
            "column 3: there is no `{` before this `}`; a brace that is meant is written `}}`",
        ),
        (
            "ab {x:number}",
            "column 4: `number` is no kind of field; write text, word, float, int or hex",
        ),
        (
            "{}{value:float}",
            "column 3: nothing tells where the field before this one ends; write something between them or give it a width, as in `{name:text:3}`",
        ),
        ("{a:text:0}", "column 1: a width is 1 to 1000 characters"),
        (
            "{9:int}",
            "column 1: `9` is no name of a field; write letters and digits",
        ),
        (
            "{a:int:3:4}",
            "column 1: `{a:int:3:4}` has too many colons; write `{name:kind:width}`",
        ),
    ] {
        assert_eq!(Pattern::parse(pattern).unwrap_err().to_string(), expected);
    }
}

proptest! {
    #[test]
    fn no_message_is_too_strange(
        pattern in "[a{}: ,SO1:float]{0,20}",
        message in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(pattern) = Pattern::parse(&pattern) {
            let _ = pattern.matches(&message);
        }
    }

    #[test]
    fn numbers_come_back(number in -1e12_f64..1e12, width in 0_usize..20) {
        let message = format!("S S {number:>width$} kg");
        let pattern = Pattern::parse("S S {value:float} kg").expect("a pattern");
        let captures = pattern.matches(message.as_bytes()).expect("fits");
        prop_assert_eq!(&captures[0].1, &Caught::Float(number));
    }
}

//! The formats of texts and numbers that the real server checks, by the names that
//! schemas give them. Those that it does not know it ignores, and so does this.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

/// A format of which the values are checked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    /// Texts for which this is true.
    Text(&'static str, fn(&str) -> bool),
    /// Whole numbers between these.
    Whole(&'static str, i128, i128),
    /// Numbers up to this, either way.
    Real(&'static str, f64),
}

impl Format {
    /// The format of this name, if it is one.
    pub(crate) fn named(name: &str) -> Option<Format> {
        let text = TEXTS.iter().find(|(known, _)| *known == name);
        if let Some((name, fits)) = text {
            return Some(Format::Text(name, *fits));
        }
        Some(match name {
            "int32" => Format::Whole("int32", i32::MIN.into(), i32::MAX.into()),
            "int64" => Format::Whole("int64", i64::MIN.into(), i64::MAX.into()),
            "uint32" => Format::Whole("uint32", 0, u32::MAX.into()),
            "uint64" => Format::Whole("uint64", 0, u64::MAX.into()),
            "float" | "float32" => Format::Real("float", f32::MAX.into()),
            _ => return None,
        })
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Text(name, _) | Format::Whole(name, ..) | Format::Real(name, _) => name,
        }
    }

    /// Whether the value is of it. One of another type is another fault.
    pub(crate) fn fits(self, value: &Value) -> bool {
        match (self, value) {
            (Format::Text(_, fits), Value::String(text)) => fits(text),
            (Format::Whole(_, least, most), Value::Number(number)) => {
                let whole = number.as_i64().map(i128::from);
                let whole = whole.or_else(|| number.as_u64().map(i128::from));
                match whole {
                    Some(whole) => (least..=most).contains(&whole),
                    None => number
                        .as_f64()
                        .is_some_and(|real| real >= least as f64 && real <= most as f64),
                }
            }
            (Format::Real(_, most), Value::Number(number)) => {
                number.as_f64().is_some_and(|real| real.abs() <= most)
            }
            _ => true,
        }
    }
}

/// A name, and whether a text is of that format.
type Texts = (&'static str, fn(&str) -> bool);

const TEXTS: &[Texts] = &[
    ("bsonobjectid", |text| text.len() == 24 && all_hex(text)),
    ("byte", base64_text),
    ("cidr", cidr),
    ("creditcard", creditcard),
    ("date", date),
    ("date-time", date_time),
    ("datetime", date_time),
    ("duration", duration),
    ("email", email),
    ("hexcolor", hexcolor),
    ("hostname", hostname),
    ("ipv4", |text| text.parse::<Ipv4Addr>().is_ok()),
    ("ipv6", |text| text.parse::<Ipv6Addr>().is_ok()),
    ("isbn", |text| isbn10(text) || isbn13(text)),
    ("isbn10", isbn10),
    ("isbn13", isbn13),
    ("mac", mac),
    ("rgbcolor", rgbcolor),
    ("ssn", ssn),
    ("uri", uri),
    ("uuid", |text| uuid(text, None)),
    ("uuid3", |text| uuid(text, Some(b'3'))),
    ("uuid4", |text| uuid(text, Some(b'4'))),
    ("uuid5", |text| uuid(text, Some(b'5'))),
];

/// With line breaks or without, as Go's decoder takes it.
fn base64_text(text: &str) -> bool {
    let plain: Vec<u8> = text
        .bytes()
        .filter(|byte| !b"\r\n".contains(byte))
        .collect();
    STANDARD.decode(plain).is_ok()
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn all_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A number of exactly so many digits.
fn number(text: &str, digits: usize) -> Option<u32> {
    (text.len() == digits && all_digits(text))
        .then(|| text.parse().ok())
        .flatten()
}

fn date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else {
        return false;
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2))
    else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// As in RFC 3339, with a zone.
fn date_time(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let Some((day, time)) = text.split_once('t') else {
        return false;
    };
    let zone = time.find(['z', '+', '-']).map(|at| time.split_at(at));
    let Some((time, zone)) = zone else {
        return false;
    };
    let zone_fits = zone == "z"
        || zone[1..].split_once(':').is_some_and(|(hours, minutes)| {
            number(hours, 2).is_some() && number(minutes, 2).is_some()
        });
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let parts: Vec<Option<u32>> = time.split(':').map(|part| number(part, 2)).collect();
    let [Some(hours), Some(minutes), Some(seconds)] = parts.as_slice() else {
        return false;
    };
    date(day) && zone_fits && all_digits(fraction) && *hours < 24 && *minutes < 60 && *seconds < 60
}

/// Numbers with units, as Go writes them (`1h30m`) or in words (`2 days`).
fn duration(text: &str) -> bool {
    const UNITS: &[&str] = &[
        "ns",
        "nano",
        "nanosecond",
        "us",
        "µs",
        "μs",
        "micro",
        "microsecond",
        "ms",
        "milli",
        "millisecond",
        "s",
        "sec",
        "second",
        "m",
        "min",
        "minute",
        "h",
        "hr",
        "hour",
        "d",
        "day",
        "w",
        "wk",
        "week",
    ];
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text).trim();
    if rest == "0" {
        return true;
    }
    let mut any = false;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (amount, after) = rest.split_at(digits.unwrap_or(rest.len()));
        let after = after.trim_start();
        let unit = after.find(|c: char| !c.is_alphabetic());
        let (unit, after) = after.split_at(unit.unwrap_or(after.len()));
        let one = unit.strip_suffix('s').filter(|one| one.len() > 1);
        let known = UNITS.contains(&unit) || one.is_some_and(|one| UNITS.contains(&one));
        if !known || amount.parse::<f64>().is_err() {
            return false;
        }
        any = true;
        rest = after.trim_start();
    }
    any
}

fn cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    all_digits(length) && length.parse::<u32>().is_ok_and(|length| length <= most)
}

/// Of 6, 8 or 20 bytes, in pairs with `:` or `-`, or in fours with `.`.
fn mac(text: &str) -> bool {
    let fits = |sign: char, digits: usize, counts: [usize; 3]| {
        let parts: Vec<&str> = text.split(sign).collect();
        let all = parts
            .iter()
            .all(|part| part.len() == digits && all_hex(part));
        all && counts.contains(&parts.len())
    };
    fits(':', 2, [6, 8, 20]) || fits('-', 2, [6, 8, 20]) || fits('.', 4, [3, 4, 10])
}

/// With the dashes or without; `version` is its version, if that counts.
fn uuid(text: &str, version: Option<u8>) -> bool {
    let plain: String = text.chars().filter(|c| *c != '-').collect();
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    let dashes_fit = parts == [32] || parts == [8, 4, 4, 4, 12];
    let variant_fits = |at: u8| matches!(at.to_ascii_lowercase(), b'8' | b'9' | b'a' | b'b');
    let bytes = plain.as_bytes();
    let fits = dashes_fit && bytes.len() == 32 && all_hex(&plain);
    fits && version
        .is_none_or(|version| bytes[12] == version && (version == b'3' || variant_fits(bytes[16])))
}

/// With a scheme, or a path from the root.
fn uri(text: &str) -> bool {
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let begins = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    begins && scheme.chars().all(plain) && !rest.is_empty()
}

fn email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let plain = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let local_fits = local.split('.').all(|part| !part.is_empty()) && local.chars().all(plain);
    local_fits && domain.split('.').all(|part| !part.is_empty()) && domain.chars().all(plain)
}

fn hostname(text: &str) -> bool {
    let label = |part: &str| {
        let plain = |c: char| c.is_alphanumeric() || c == '-';
        let ends = part.starts_with('-') || part.ends_with('-');
        !part.is_empty() && part.chars().count() <= 63 && !ends && part.chars().all(plain)
    };
    text.len() <= 255 && text.split('.').all(label)
}

fn hexcolor(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && all_hex(digits)
}

fn rgbcolor(text: &str) -> bool {
    let inner = text
        .strip_prefix("rgb(")
        .and_then(|rest| rest.strip_suffix(')'));
    let parts = inner.map(|inner| inner.split(',').collect::<Vec<_>>());
    parts.is_some_and(|parts| {
        parts.len() == 3
            && parts
                .iter()
                .all(|part| all_digits(part.trim()) && part.trim().parse::<u8>().is_ok())
    })
}

fn ssn(text: &str) -> bool {
    let plain: Vec<char> = text.chars().collect();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let sign = |at: usize| plain.get(at).is_some_and(|c| matches!(c, '-' | ' '));
    digits.len() == 9
        && match plain.len() {
            9 => true,
            10 => sign(3) || sign(5),
            11 => sign(3) && sign(6),
            _ => false,
        }
}

/// Digits without what may stand between them.
fn digits(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '-' | ' ')).collect()
}

fn isbn10(text: &str) -> bool {
    let text = digits(text);
    let Some((last, first)) = text
        .as_bytes()
        .split_last()
        .filter(|(_, all)| all.len() == 9)
    else {
        return false;
    };
    let check = match last {
        b'X' => 10,
        digit if digit.is_ascii_digit() => u32::from(digit - b'0'),
        _ => return false,
    };
    let weighted = first.iter().zip(1..);
    let sum: u32 = weighted
        .map(|(digit, weight)| u32::from(digit.wrapping_sub(b'0')) * weight)
        .sum();
    first.iter().all(u8::is_ascii_digit) && (sum + 10 * check).is_multiple_of(11)
}

fn isbn13(text: &str) -> bool {
    let text = digits(text);
    let weighted = text.bytes().zip([1, 3].into_iter().cycle());
    let sum: u32 = weighted
        .map(|(digit, weight)| u32::from(digit.wrapping_sub(b'0')) * weight)
        .sum();
    text.len() == 13 && all_digits(&text) && sum.is_multiple_of(10)
}

fn creditcard(text: &str) -> bool {
    let text = digits(text);
    let doubled = text.bytes().rev().zip([1, 2].into_iter().cycle());
    let sum: u32 = doubled
        .map(|(digit, factor)| {
            let product = u32::from(digit.wrapping_sub(b'0')) * factor;
            product / 10 + product % 10
        })
        .sum();
    (13..=19).contains(&text.len()) && all_digits(&text) && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_and_what_does_not() {
        for (name, good, bad) in [
            (
                "date-time",
                vec!["2024-01-01T00:00:00Z", "2024-02-29T23:59:59.123456+02:00"],
                vec![
                    "x",
                    "2024-01-01",
                    "2023-02-29T00:00:00Z",
                    "2024-01-01T24:00:00Z",
                    "2024-01-01T00:00:00",
                ],
            ),
            (
                "date",
                vec!["2024-02-29"],
                vec!["2023-02-29", "24-01-01", "2024-13-01"],
            ),
            (
                "duration",
                vec!["1h30m", "1.5s", "2 days", "3ms", "0"],
                vec!["", "5", "h", "1 parsec"],
            ),
            ("byte", vec!["", "YQ=="], vec!["!!", "YQ"]),
            (
                "ipv4",
                vec!["10.0.0.1"],
                vec!["10.0.0.256", "::1", "10.0.0"],
            ),
            ("ipv6", vec!["::1", "fe80::1"], vec!["10.0.0.1", ":::"]),
            (
                "cidr",
                vec!["10.0.0.0/8", "::/0"],
                vec!["10.0.0.0", "10.0.0.0/33", "x/8"],
            ),
            (
                "mac",
                vec!["00:11:22:33:44:55", "0011.2233.4455"],
                vec!["00:11:22", "00:11:22:33:44:5g"],
            ),
            (
                "uuid",
                vec!["6FF61707-56be-4587-82a3-e4bde81230fb"],
                vec!["6ff61707", "6ff6170756be-4587-82a3-e4bde81230fbx"],
            ),
            (
                "uuid4",
                vec!["6ff61707-56be-4587-82a3-e4bde81230fb"],
                vec!["6ff61707-56be-3587-82a3-e4bde81230fb"],
            ),
            (
                "uri",
                vec!["http://a/b", "urn:x:y", "/a"],
                vec!["a b", "nothing", ""],
            ),
            ("email", vec!["a.b@example.com"], vec!["a", "@b", "a@"]),
            (
                "hostname",
                vec!["plc-1.plant.example"],
                vec!["-a", "a..b", ""],
            ),
            ("hexcolor", vec!["#fff", "00ff00"], vec!["#ff", "green"]),
            (
                "rgbcolor",
                vec!["rgb(0, 128,255)"],
                vec!["rgb(0,0,256)", "rgb(0,0)"],
            ),
            ("ssn", vec!["111-22-3333", "111223333"], vec!["111-22-333"]),
            (
                "isbn",
                vec!["978-3-16-148410-0", "0-306-40615-2"],
                vec!["978-3-16-148410-1", "x"],
            ),
            (
                "creditcard",
                vec!["4111 1111 1111 1111"],
                vec!["4111 1111 1111 1112"],
            ),
            (
                "bsonobjectid",
                vec!["507f1f77bcf86cd799439011"],
                vec!["507f"],
            ),
        ] {
            let format = Format::named(name).expect(name);
            for text in good {
                assert!(format.fits(&json!(text)), "{name}: {text}");
            }
            for text in bad {
                assert!(!format.fits(&json!(text)), "{name}: {text}");
            }
        }
        let int32 = Format::named("int32").expect("is one");
        assert!(int32.fits(&json!(2_147_483_647)) && !int32.fits(&json!(2_147_483_648_i64)));
        let float = Format::named("float").expect("is one");
        assert!(float.fits(&json!(1e38)) && !float.fits(&json!(1e39)));
        assert!(Format::named("password").is_none());
    }
}

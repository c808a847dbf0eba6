//! When the node's certificate ends.
//!
//! Only that is read of it: TLS has the rest, and a parser of certificates would be
//! more than this whole folder in the edge's binary. The layout is that of RFC 5280,
//! 4.1, in DER (X.690): `Certificate { tbs { [0] version?, serial, algorithm, issuer,
//! validity { notBefore, notAfter }, …`.

use std::path::Path;

use longshore_types::Timestamp;
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// A certificate that ends sooner is said to: time to bring another one.
const SOON_MS: i64 = 30 * 86_400_000;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// Whether a certificate that ends then ends soon.
pub fn is_soon(ends: Timestamp, now: Timestamp) -> bool {
    ends.as_millis() - now.as_millis() < SOON_MS
}

/// The end of the certificate in a file; none if that cannot be read.
pub(super) fn of_file(path: &Path) -> Option<Timestamp> {
    let text = std::fs::read(path).ok()?;
    not_after(&CertificateDer::from_pem_slice(&text).ok()?)
}

fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    let (tag, _, rest) = element(fields)?;
    if tag == VERSION {
        fields = rest;
    }
    for expected in [INTEGER, SEQUENCE, SEQUENCE] {
        let (tag, _, rest) = element(fields)?;
        if tag != expected {
            return None;
        }
        fields = rest;
    }
    let (_, validity, _) = element(fields)?;
    let (_, _, ends) = element(validity)?;
    let (tag, ends, _) = element(ends)?;
    let text = std::str::from_utf8(ends).ok()?;
    if !text.is_ascii() {
        return None;
    }
    // RFC 5280, 4.1.2.5: two digits of the year are of 1950 to 2049; always in UTC,
    // with seconds and without fractions.
    let text = match tag {
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let digits = text.strip_suffix('Z').filter(|digits| digits.len() == 14)?;
    let (date, time) = digits.split_at(8);
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[..2],
        &time[2..4],
        &time[4..]
    );
    text.parse().ok()
}

/// The first element: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first & 0x7f);
    if first & 0x80 != 0 {
        let (bytes, behind) = rest.split_at_checked(length)?;
        if bytes.len() > 3 {
            return None;
        }
        length = bytes
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        rest = behind;
    }
    let (content, behind) = rest.split_at_checked(length)?;
    Some((tag, content, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As short as it can be: serial 1, an empty algorithm and issuer.
    fn certificate(not_after: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
        let validity = [&wrap(UTC_TIME, b"240101000000Z"), not_after].concat();
        let fields = [
            &wrap(VERSION, &[INTEGER, 1, 2])[..],
            &[INTEGER, 1, 1],
            &[SEQUENCE, 0],
            &[SEQUENCE, 0],
            &wrap(SEQUENCE, &validity),
        ];
        wrap(SEQUENCE, &wrap(SEQUENCE, &fields.concat()))
    }

    #[test]
    fn the_end_is_read_in_both_forms_of_time() {
        let ends = |tag: u8, text: &[u8]| {
            let time = [&[tag, text.len() as u8], text].concat();
            not_after(&certificate(&time)).map(|ends| ends.to_string())
        };
        assert_eq!(
            ends(UTC_TIME, b"341120070640Z").as_deref(),
            Some("2034-11-20T07:06:40.000Z")
        );
        assert_eq!(
            ends(UTC_TIME, b"991231235959Z").as_deref(),
            Some("1999-12-31T23:59:59.000Z")
        );
        assert_eq!(
            ends(GENERALIZED_TIME, b"20501120070640Z").as_deref(),
            Some("2050-11-20T07:06:40.000Z")
        );
        assert_eq!(ends(UTC_TIME, b"3411200706Z"), None);
        assert_eq!(ends(INTEGER, b"341120070640Z"), None);
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let whole = certificate(&[UTC_TIME, 0]);
        for length in 0..whole.len() {
            assert_eq!(not_after(&whole[..length]), None);
        }
        assert_eq!(not_after(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn soon_is_a_month() {
        let now = Timestamp::from_millis(1_732_000_000_000);
        let at = |days: i64| Timestamp::from_millis(now.as_millis() + days * 86_400_000);
        assert!(is_soon(at(29), now) && is_soon(at(-1), now));
        assert!(!is_soon(at(31), now));
    }
}

//! Certificates that others have signed: who signed them, and what they say.
//!
//! The library reads certificates and verifies signatures, but walks no chains. What
//! a chain needs is the outer form of a certificate (RFC 5280, section 4.1), in DER.

use opcua::crypto::{SecurityPolicy, X509};
use opcua::types::DateTime;

/// Certificates between a server's and one that is trusted.
const LONGEST: usize = 8;
/// sha256WithRSAEncryption (RFC 8017, appendix A.2.4), as its identifier's bytes.
const SHA256_RSA: [u8; 9] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B];
/// Extensions (RFC 5280, sections 4.2.1.6 and 4.2.1.9).
const ALTERNATIVE_NAMES: [u8; 3] = [0x55, 0x1D, 0x11];
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1D, 0x13];

/// Tags of DER.
const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
/// `[0]` and `[3]`, explicit: the version and the extensions.
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
/// `[6]` in a GeneralName: a URI.
const URI: u8 = 0x86;

/// One element: its tag, its content, and all of it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// Takes the next element off of some bytes.
fn next<'a>(bytes: &mut &'a [u8]) -> Option<Element<'a>> {
    let all = *bytes;
    let (&tag, rest) = all.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ ..0x80 => (usize::from(short), rest),
        long => {
            let count = usize::from(long & 0x7F);
            let digits = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
            let length = digits
                .iter()
                .fold(0, |all, digit| all << 8 | usize::from(*digit));
            (length, &rest[count..])
        }
    };
    let content = rest.get(..length)?;
    *bytes = &rest[length..];
    Some(Element {
        tag,
        content,
        whole: &all[..all.len() - bytes.len()],
    })
}

fn inside<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    next(bytes)
        .filter(|found| found.tag == tag)
        .map(|found| found.content)
}

/// What of a certificate a chain is made of.
struct Outline<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> Outline<'a> {
    fn of(mut der: &'a [u8]) -> Option<Self> {
        let mut outer = inside(&mut der, SEQUENCE)?;
        let signed = next(&mut outer)?;
        let algorithm = next(&mut inside(&mut outer, SEQUENCE)?)?.content;
        // A bit string begins with how many of its last bits do not count: none.
        let signature = next(&mut outer)?.content.strip_prefix(&[0])?;
        let mut fields = signed.content;
        if fields.first() == Some(&VERSION) {
            next(&mut fields)?;
        }
        let (_serial, _algorithm) = (next(&mut fields)?, next(&mut fields)?);
        let issuer = next(&mut fields)?.whole;
        let _validity = next(&mut fields)?;
        let subject = next(&mut fields)?.whole;
        let _key = next(&mut fields)?;
        let mut extensions: &[u8] = &[];
        while let Some(mut field) = next(&mut fields) {
            if field.tag == EXTENSIONS {
                extensions = inside(&mut field.content, SEQUENCE)?;
            }
        }
        Some(Self {
            signed: signed.whole,
            algorithm,
            signature,
            issuer,
            subject,
            extensions,
        })
    }

    /// The value of an extension.
    fn extension(&self, wanted: &[u8]) -> Option<&'a [u8]> {
        let mut all = self.extensions;
        while let Some(mut one) = inside(&mut all, SEQUENCE) {
            let name = next(&mut one)?;
            let mut value = next(&mut one)?;
            if value.tag == BOOLEAN {
                value = next(&mut one)?;
            }
            if name.content == wanted && value.tag == OCTETS {
                return Some(value.content);
            }
        }
        None
    }

    /// Whether it may sign others.
    fn is_authority(&self) -> bool {
        let says = || {
            let mut value = self.extension(&BASIC_CONSTRAINTS)?;
            let mut constraints = inside(&mut value, SEQUENCE)?;
            inside(&mut constraints, BOOLEAN).map(|truth| truth != [0])
        };
        says().unwrap_or(false)
    }
}

/// The application's URI in a certificate (OPC 10000-6, 6.2.2).
pub(crate) fn application_uri(certificate: &X509) -> Option<String> {
    let der = certificate.to_der().ok()?;
    let mut value = Outline::of(&der)?.extension(&ALTERNATIVE_NAMES)?;
    let mut names = inside(&mut value, SEQUENCE)?;
    while let Some(name) = next(&mut names) {
        if name.tag == URI {
            return String::from_utf8(name.content.to_vec()).ok();
        }
    }
    None
}

/// Whether one certificate has signed another, as an authority may.
fn has_signed(issuer: &X509, certificate: &[u8]) -> bool {
    let check = || {
        let issuer_der = issuer.to_der().ok()?;
        let (above, below) = (Outline::of(&issuer_der)?, Outline::of(certificate)?);
        let fits = below.issuer == above.subject
            && above.is_authority()
            && below.algorithm == SHA256_RSA
            && issuer.is_time_valid(&DateTime::now().as_chrono()).is_ok();
        let key = issuer.public_key().ok().filter(|_| fits)?;
        // RSA with PKCS #1 v1.5 and SHA-256 is what this policy signs with.
        let policy = SecurityPolicy::Basic256Sha256;
        let verified = policy.asymmetric_verify_signature(&key, below.signed, below.signature);
        verified.is_ok().then_some(())
    };
    check().is_some()
}

/// Whether a certificate leads up to one that is trusted, over those that are known.
pub(crate) fn leads_up(certificate: &X509, known: &[X509], trusted: &[X509]) -> bool {
    let Ok(mut below) = certificate.to_der() else {
        return false;
    };
    for _ in 0..LONGEST {
        if trusted.iter().any(|issuer| has_signed(issuer, &below)) {
            return true;
        }
        let above = known.iter().find(|issuer| has_signed(issuer, &below));
        match above.and_then(|above| above.to_der().ok()) {
            Some(above) if above != below => below = above,
            _ => return false,
        }
    }
    false
}

/// The certificates of a chain in DER, one behind the other (OPC 10000-6, 6.2.6).
pub(crate) fn chain(mut bytes: &[u8]) -> Vec<X509> {
    let mut all = Vec::new();
    while let Some(one) = next(&mut bytes) {
        if all.len() > LONGEST {
            break;
        }
        all.extend(X509::from_der(one.whole).ok());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_in_both_forms_and_never_beyond_the_end() {
        let mut long = vec![SEQUENCE, 0x81, 0x80];
        long.extend([7; 0x80]);
        let mut bytes = &long[..];
        let element = next(&mut bytes).expect("whole");
        assert_eq!((element.content.len(), element.whole.len()), (128, 131));
        assert!(bytes.is_empty());
        for wrong in [
            &[SEQUENCE, 2, 0][..],
            &[SEQUENCE, 0x80, 0],
            &[SEQUENCE, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
            &[SEQUENCE],
        ] {
            assert!(next(&mut &*wrong).is_none(), "{wrong:x?}");
        }
    }

    #[test]
    fn our_own_certificate_names_its_application_and_signs_nobody() {
        let mut data = opcua::crypto::X509Data::sample_cert();
        data.alt_host_names = Vec::new().into();
        data.alt_host_names.add_uri("urn:press:longshore");
        let (own, _) = X509::cert_and_pkey(&data).expect("made");
        assert_eq!(
            application_uri(&own).as_deref(),
            Some("urn:press:longshore")
        );
        let (other, _) = X509::cert_and_pkey(&data).expect("made");
        // The same name, another key.
        assert!(!leads_up(&own, &[], std::slice::from_ref(&other)));
    }
}

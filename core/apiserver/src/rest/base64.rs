//! Base64, both alphabets, as Secrets and continue tokens need it.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn write(bytes: &[u8], alphabet: &[u8; 64], pad: bool) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for index in 0..4 {
            if index <= chunk.len() {
                text.push(char::from(
                    alphabet[(word >> (18 - 6 * index)) as usize & 63],
                ));
            } else if pad {
                text.push('=');
            }
        }
    }
    text
}

/// Standard alphabet, padded.
pub(crate) fn encode(bytes: &[u8]) -> String {
    write(bytes, STANDARD, true)
}

/// Alphabet for URLs, not padded.
pub(crate) fn encode_url(bytes: &[u8]) -> String {
    write(bytes, URL, false)
}

/// Either alphabet, padded or not; line breaks are skipped.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut word, mut bits) = (Vec::with_capacity(text.len() / 4 * 3), 0u32, 0);
    for byte in text
        .bytes()
        .filter(|byte| !matches!(byte, b'\r' | b'\n' | b'='))
    {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        word = word << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    (bits < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        for end in 0..bytes.len() {
            let part = &bytes[..end];
            assert_eq!(decode(&encode(part)).as_deref(), Some(part));
            assert_eq!(decode(&encode_url(part)).as_deref(), Some(part));
        }
        assert_eq!(encode(b"foobar!"), "Zm9vYmFyIQ==");
        assert_eq!(decode("a b"), None);
    }
}

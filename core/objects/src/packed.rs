//! How a state stands in its row: as it is where it is small, else packed.
//!
//! A status repeats itself: its words come again for each value. Packed it takes a
//! third, and so do the log of the file, the file, and what the disk is given to write.
//! Text is an object and begins with a brace, so the first byte tells the two apart.

use std::borrow::Cow;

use bytes::Bytes;

/// Smaller ones stay as they are.
const SMALL: usize = 1024;
/// The first byte of a packed state: an LZ4 block follows, behind its size as text.
const LZ4: u8 = 4;
/// That byte and the size, little-endian.
const HEAD: usize = 5;
/// More than a text ever had. A row that says more is damaged.
const LARGEST: usize = 64 * 1024 * 1024;

/// As it is to be stored.
pub(crate) fn pack(json: &[u8]) -> Cow<'_, [u8]> {
    let size = match u32::try_from(json.len()) {
        Ok(size) if json.len() >= SMALL && json.len() <= LARGEST => size,
        _ => return Cow::Borrowed(json),
    };
    let mut packed = vec![0; HEAD + lz4_flex::block::get_maximum_output_size(json.len())];
    packed[0] = LZ4;
    packed[1..HEAD].copy_from_slice(&size.to_le_bytes());
    match lz4_flex::block::compress_into(json, &mut packed[HEAD..]) {
        Ok(length) if HEAD + length < json.len() => {
            packed.truncate(HEAD + length);
            Cow::Owned(packed)
        }
        _ => Cow::Borrowed(json),
    }
}

/// The text of what is stored. A damaged row costs itself: it reads as empty.
pub(crate) fn unpack(stored: Vec<u8>) -> Bytes {
    let Some(size) = size(&stored) else {
        return stored.into();
    };
    if size <= LARGEST
        && let Ok(text) = lz4_flex::block::decompress(&stored[HEAD..], size)
        && text.len() == size
    {
        return text.into();
    }
    tracing::error!(
        bytes = stored.len(),
        "a state in the database of objects is damaged and reads as empty; restore the file from a copy, or delete the object and make it anew"
    );
    Bytes::from_static(b"{}")
}

/// Bytes of the text, by the first bytes of what is stored and the length of that.
pub(crate) fn text_size(head: &[u8], length: u64) -> u64 {
    size(head).map_or(length, |size| size as u64)
}

/// So many first bytes tell the size.
pub(crate) const HEAD_BYTES: i64 = HEAD as i64;

fn size(stored: &[u8]) -> Option<usize> {
    let (LZ4, size) = stored.split_first().map(|(first, rest)| (*first, rest))? else {
        return None;
    };
    let size = size.first_chunk().copied().map(u32::from_le_bytes);
    Some(size.map_or(usize::MAX, |size| size as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(values: usize) -> Vec<u8> {
        let twins: Vec<String> = (0..values)
            .map(|value| {
                format!(r#"{{"propertyName":"p{value}","reported":{{"value":"{value}.5"}}}}"#)
            })
            .collect();
        format!(r#"{{"status":{{"twins":[{}]}}}}"#, twins.join(",")).into_bytes()
    }

    #[test]
    fn what_was_packed_is_the_same_again() {
        for values in [0, 1, 20, 2_000] {
            let text = status(values);
            let packed = pack(&text).into_owned();
            assert_eq!(packed[0] == LZ4, text.len() >= SMALL);
            let head = &packed[..packed.len().min(HEAD)];
            assert_eq!(text_size(head, packed.len() as u64), text.len() as u64);
            assert_eq!(unpack(packed), text);
        }
        assert!(pack(&status(100)).len() < status(100).len() / 3);
    }

    #[test]
    fn what_cannot_be_packed_stays_as_it_is() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::once(b'{')
            .chain(std::iter::repeat_with(|| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            }))
            .take(4_096)
            .collect();
        assert_eq!(*pack(&noise), noise);
        assert_eq!(unpack(noise.clone()), noise);
    }

    #[test]
    fn a_damaged_row_reads_as_empty() {
        let packed = pack(&status(100)).into_owned();
        let mut larger = packed.clone();
        larger[1..HEAD].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut longer = packed.clone();
        longer[1] ^= 1;
        for damaged in [
            larger,
            longer,
            packed[..100].to_vec(),
            vec![LZ4],
            vec![LZ4, 1, 0],
        ] {
            assert_eq!(&unpack(damaged)[..], b"{}");
        }
    }
}

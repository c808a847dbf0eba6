//! Ways in for tests/fuzz: what a child writes, and what its host writes to it.

use bytes::Bytes;

use crate::wire::{FromMapper, HEADER, MAX_FRAME, ToMapper, header};

/// Frames one after the other, as either side would read them. What was understood
/// is written again and understood as the same; all of a batch can be read. Gives how
/// many frames were understood.
pub fn frames(mut data: &[u8]) -> usize {
    let mut understood = 0;
    loop {
        let (length, kind) = match header(data) {
            Ok(Some(header)) => header,
            Ok(None) | Err(_) => return understood,
        };
        assert!(
            length <= MAX_FRAME,
            "a frame that is read is within its bound"
        );
        let Some(body) = data.get(HEADER..HEADER + length) else {
            return understood;
        };
        data = &data[HEADER + length..];
        if let Ok(message) = ToMapper::decode(kind, body) {
            understood += 1;
            let once = message.encode();
            let again = ToMapper::decode(kind, &once[HEADER..]).map(|message| message.encode());
            // Compared as bytes: a number that is none differs from itself.
            assert_eq!(again.ok(), Some(once), "a message changed on its way");
        }
        let Ok(message) = FromMapper::decode(kind, Bytes::copy_from_slice(body)) else {
            continue;
        };
        understood += 1;
        if let FromMapper::Batch(batch) = &message {
            assert_eq!(batch.samples().count(), batch.sample_count());
            assert_eq!(batch.completions().count(), batch.completion_count());
            for state in batch.states() {
                let _ = state.message.len();
            }
            assert_eq!(batch.size(), length);
            continue;
        }
        let once = message.encode();
        let again = FromMapper::decode(kind, Bytes::copy_from_slice(&once[HEADER..]));
        let again = again.map(|message| message.encode());
        assert_eq!(again.ok(), Some(once), "a message changed on its way");
    }
}

//! Whatever comes on the line, the simulator lives and its next answer is right.

use proptest::prelude::*;

use super::{Wire, ascii, rtu};
use crate::builder::{Builder, modbus};
use crate::frame::Framing;

fn plc() -> Builder {
    modbus()
        .unit(1)
        .registers(40_001, &[7; 30])
        .registers(1, &[1; 30])
        .changing_floats(30_001, 20)
        .unit(247)
        .register(465_536, 9)
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 0..8),
        silences in any::<u8>(),
    ) {
        for framing in [Framing::Tcp, Framing::Rtu, Framing::Ascii] {
            let mut wire = Wire::new(framing, plc());
            for (i, piece) in pieces.iter().enumerate() {
                wire.feed(piece, silences >> i & 1 == 1);
            }
            if framing != Framing::Tcp {
                // After a silence the line is clean again. A write may have come through.
                wire.feed(&[], true);
                prop_assert_eq!(wire.line.patience(), None);
                let read = [247, 3, 0xFF, 0xFF, 0, 1];
                let request = if framing == Framing::Rtu { rtu(&read) } else { ascii(&read) };
                prop_assert!(!wire.send(&request).is_empty());
            }
        }
    }

    #[test]
    fn any_request_in_a_good_frame_is_answered(
        unit in any::<u8>(),
        pdu in proptest::collection::vec(any::<u8>(), 1..=253),
        function in 0u8..0x30,
    ) {
        let mut pdu = pdu;
        pdu[0] = function;
        let mut wire = Wire::new(Framing::Tcp, plc());
        let answer = wire.ask(unit, &pdu);
        // Either the function itself, or the function with the highest bit and a code.
        let refused = answer.len() == 2 && answer[0] == function | 0x80;
        prop_assert!(answer[0] == function || refused, "{answer:X?}");
        prop_assert!(answer.len() <= 253);
    }

    #[test]
    fn reads_near_the_truth(
        function in 1u8..=4, address in 0u16..80, count in 0u16..140,
    ) {
        // The unit's tables: 30 coils, 30 holding registers, 40 input registers.
        let size = [30, 0, 30, 40][usize::from(function) - 1];
        let (a, c) = (address.to_be_bytes(), count.to_be_bytes());
        let answer = Wire::new(Framing::Tcp, plc()).ask(1, &[function, a[0], a[1], c[0], c[1]]);
        let most = if function < 3 { 2000 } else { 125 };
        if count == 0 || count > most {
            prop_assert_eq!(answer, [function | 0x80, 3]);
        } else if address + count > size {
            prop_assert_eq!(answer, [function | 0x80, 2]);
        } else {
            let bytes = if function < 3 { count.div_ceil(8) } else { count * 2 };
            prop_assert_eq!(answer.len(), usize::from(bytes) + 2);
        }
    }
}

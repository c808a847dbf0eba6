//! Framing: Modbus over Serial Line V1.02 and the MBAP header.

use std::time::Duration;

use longshore_sim_world::{Fault, FaultRule};

use super::{Wire, ascii, rtu};
use crate::builder::{Builder, modbus};
use crate::frame::{Framing, crc, lrc};
use crate::line::Step;

fn plc() -> Builder {
    modbus()
        .unit(1)
        .register(40_001, 215)
        .unit(2)
        .register(40_001, 0x0102)
}

const READ: [u8; 6] = [0x01, 0x03, 0x00, 0x00, 0x00, 0x01];
const ANSWER: [u8; 5] = [0x01, 0x03, 0x02, 0x00, 0xD7];

#[test]
fn the_crc_of_the_specifications_appendix_b() {
    // Slave 2, function 7: CRC 0x1241, sent as 41 12.
    assert_eq!(crc(&[0x02, 0x07]), 0x1241);
    assert_eq!(rtu(&READ)[6..], [0x84, 0x0A]);
}

#[test]
fn the_lrc_makes_the_sum_zero() {
    let sum = READ.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    assert_eq!(sum.wrapping_add(lrc(&READ)), 0);
    assert_eq!(ascii(&READ), b":010300000001FB\r\n");
}

#[test]
fn one_request_in_each_framing() {
    let tcp = [&[0, 1, 0, 0, 0, 6][..], &READ].concat();
    let answer = [&[0, 1, 0, 0, 0, 5][..], &ANSWER].concat();
    assert_eq!(Wire::new(Framing::Tcp, plc()).send(&tcp), answer);
    assert_eq!(
        Wire::new(Framing::Rtu, plc()).send(&rtu(&READ)),
        rtu(&ANSWER)
    );
    assert_eq!(
        Wire::new(Framing::Ascii, plc()).send(&ascii(&READ)),
        ascii(&ANSWER)
    );
}

#[test]
fn requests_may_come_in_pieces_or_many_at_once() {
    for (framing, one, answer) in [
        (
            Framing::Tcp,
            [&[0, 1, 0, 0, 0, 6][..], &READ].concat(),
            [&[0, 1, 0, 0, 0, 5][..], &ANSWER].concat(),
        ),
        (Framing::Rtu, rtu(&READ), rtu(&ANSWER)),
        (Framing::Ascii, ascii(&READ), ascii(&ANSWER)),
    ] {
        let mut wire = Wire::new(framing, plc());
        let pieces: Vec<u8> = one.iter().flat_map(|byte| wire.send(&[*byte])).collect();
        assert_eq!(pieces, answer, "{framing:?} byte by byte");
        assert_eq!(
            wire.send(&one.repeat(50)),
            answer.repeat(50),
            "{framing:?} all at once"
        );
        assert_eq!(wire.line.patience(), None);
    }
}

#[test]
fn rtu_finds_its_way_after_noise_and_a_wrong_crc() {
    let mut wire = Wire::new(Framing::Rtu, plc());
    let mut broken = rtu(&READ);
    broken[7] ^= 1;
    let answer = wire.send(&[&broken[..], &rtu(&READ)].concat());
    assert_eq!(answer, rtu(&ANSWER));
    let line = wire.devices.line_counters();
    assert_eq!((line.bad_frames, line.dropped_bytes), (1, 8));
}

#[test]
fn rtu_gives_half_a_frame_up_in_silence() {
    let mut wire = Wire::new(Framing::Rtu, plc());
    assert!(wire.send(&rtu(&READ)[..5]).is_empty());
    assert!(wire.line.patience().is_some());
    wire.feed(&[], true);
    assert_eq!(wire.devices.line_counters().dropped_bytes, 5);
    assert_eq!(wire.send(&rtu(&READ)), rtu(&ANSWER));
}

#[test]
fn rtu_answers_an_unknown_function_after_the_silence() {
    let mut wire = Wire::new(Framing::Rtu, plc());
    let request = rtu(&[0x01, 0x63, 0x05]);
    assert!(wire.send(&request).is_empty());
    assert_eq!(wire.feed(&[], true).0, rtu(&[0x01, 0xE3, 0x01]));
}

#[test]
fn ascii_begins_anew_at_each_colon() {
    let mut wire = Wire::new(Framing::Ascii, plc());
    let half = &ascii(&READ)[..9];
    let wrong = b":010300000001FC\r\n";
    let answer = wire.send(&[b"noise", half, &wrong[..], &ascii(&READ)].concat());
    assert_eq!(answer, ascii(&ANSWER));
    // Lower-case digits are no more than a custom, but a common one.
    assert_eq!(wire.send(b":010300000001fb\r\n"), ascii(&ANSWER));
}

#[test]
fn serial_lines_keep_silent_where_tcp_has_an_exception() {
    let unknown = [0x09, 0x03, 0x00, 0x00, 0x00, 0x01];
    for (framing, request) in [
        (Framing::Rtu, rtu(&unknown)),
        (Framing::Ascii, ascii(&unknown)),
    ] {
        let mut wire = Wire::new(framing, plc());
        assert_eq!(wire.feed(&request, false), (vec![], vec![Step::Nothing]));
        assert_eq!(wire.devices.line_counters().unknown_units, 1);
    }
}

#[test]
fn a_broadcast_writes_to_all_and_nobody_answers() {
    let mut wire = Wire::new(Framing::Rtu, plc());
    // Unit 0 (section 2.1): write 7 to register 0; then a read, which is no broadcast.
    assert!(
        wire.send(&rtu(&[0x00, 0x06, 0x00, 0x00, 0x00, 0x07]))
            .is_empty()
    );
    assert!(
        wire.send(&rtu(&[0x00, 0x03, 0x00, 0x00, 0x00, 0x01]))
            .is_empty()
    );
    for unit in [1, 2] {
        let answer = wire.send(&rtu(&[unit, 0x03, 0x00, 0x00, 0x00, 0x01]));
        assert_eq!(answer, rtu(&[unit, 0x03, 0x02, 0x00, 0x07]));
    }
}

#[test]
fn tcp_hangs_up_when_the_header_is_wrong() {
    // A protocol that is not 0; a length of 1, of 255.
    for header in [[0, 1, 0, 9, 0, 6], [0, 1, 0, 0, 0, 1], [0, 1, 0, 0, 0, 255]] {
        let mut wire = Wire::new(Framing::Tcp, plc());
        let (answer, steps) = wire.feed(&[&header[..], &READ].concat(), false);
        assert_eq!((answer, steps), (vec![], vec![Step::Close]));
    }
}

#[test]
fn each_fault_does_what_it_says() {
    let right = rtu(&ANSWER);
    let mut spoilt = right.clone();
    *spoilt.last_mut().expect("bytes") ^= 0x55;
    let late = Duration::from_millis(30);
    for (fault, answer, step) in [
        (Fault::Unresponsive, vec![], Step::Nothing),
        (Fault::Slow(late), right.clone(), Step::Answer(late)),
        (Fault::WrongCrc, spoilt, Step::Answer(Duration::ZERO)),
        (
            Fault::Exception(6),
            rtu(&[0x01, 0x83, 0x06]),
            Step::Answer(Duration::ZERO),
        ),
        // A serial device cannot hang up.
        (Fault::DropConnection, vec![], Step::Nothing),
        (
            Fault::HalfFrame,
            right[..3].to_vec(),
            Step::Answer(Duration::ZERO),
        ),
    ] {
        let mut wire = Wire::new(Framing::Rtu, plc());
        let rule = FaultRule::from(fault).on_unit(1).for_requests(1);
        wire.devices.faults.add(rule, std::time::Instant::now());
        // The other unit is not touched.
        assert_eq!(wire.send(&rtu(&[2, 3, 0, 0, 0, 1])), rtu(&[2, 3, 2, 1, 2]));
        assert_eq!(
            wire.feed(&rtu(&READ), false),
            (answer, vec![step]),
            "{fault:?}"
        );
        assert_eq!(wire.send(&rtu(&READ)), right, "after {fault:?}");
        let count = wire.devices.counters().unit(1);
        assert_eq!(
            (count.requests(), count.rows[0].faults),
            (2, 1),
            "{fault:?}"
        );
    }
}

#[test]
fn tcp_and_ascii_answers_are_spoilt_in_their_own_way() {
    let fault = |wire: &Wire| {
        wire.devices
            .faults
            .add(Fault::WrongCrc.into(), std::time::Instant::now())
    };
    let mut wire = Wire::new(Framing::Tcp, plc());
    fault(&wire);
    let answer = wire.send(&[&[0, 1, 0, 0, 0, 6][..], &READ].concat());
    assert_eq!(answer, [&[0, 1, 0x55, 0, 0, 5][..], &ANSWER].concat());
    let mut wire = Wire::new(Framing::Ascii, plc());
    fault(&wire);
    let (answer, right) = (wire.send(&ascii(&READ)), ascii(&ANSWER));
    let at = right.len() - 3;
    assert_eq!(answer[..at], right[..at]);
    assert_ne!(answer[at], right[at]);
}

//! Where messages begin and end, however the bytes come.

use std::time::Duration;

use proptest::prelude::*;

use crate::{
    checksum::{Checksum, Format, Kind, Place},
    framer::{Block, Found, Framing, Length, next},
};

/// The messages in a stream that comes in pieces, and how many bytes were no message.
fn messages(
    framing: &Framing,
    checksum: Option<&Checksum>,
    pieces: &[&[u8]],
) -> (Vec<Vec<u8>>, usize) {
    let (mut found, mut dropped, mut input) = (Vec::new(), 0, Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match next(framing, checksum, &input, false) {
                Found::More => break,
                Found::Skip(count) | Found::Spoiled(count) => {
                    assert!(count > 0 && count <= input.len());
                    dropped += count;
                    input.drain(..count);
                }
                Found::Frame { frame, consumed } => {
                    found.push(input[frame].to_vec());
                    input.drain(..consumed);
                }
            }
        }
    }
    (found, dropped)
}

fn lines() -> Framing {
    Framing::Line {
        delimiter: b"\n".to_vec(),
        start: Vec::new(),
    }
}

fn nmea() -> (Framing, Checksum) {
    let framing = Framing::Line {
        delimiter: b"\r\n".to_vec(),
        start: b"$".to_vec(),
    };
    let checksum = Checksum {
        kind: Kind::Xor,
        format: Format::Hex,
        place: Place::End,
        from: 1,
        to: -1,
    };
    (framing, checksum)
}

/// STX, a length that counts what follows it but for the checksum, ETX.
fn counted() -> Framing {
    Framing::Frame(Block {
        start: vec![0x02],
        end: vec![0x03],
        length: Some(Length {
            offset: 1,
            size: 1,
            little: false,
            adds: 3,
        }),
        ..Block::default()
    })
}

#[test]
fn lines_end_with_lf_or_cr_lf() {
    let (found, dropped) = messages(&lines(), None, &[b"one\r\ntwo\n\r\n\nthree"]);
    assert_eq!(found, [b"one".to_vec(), b"two".to_vec()]);
    assert_eq!(dropped, 3, "the empty lines");
}

#[test]
fn a_sentence_is_found_behind_noise() {
    let (framing, checksum) = nmea();
    // The first half of a sentence is lost, then noise stands before a whole one.
    let stream = b",A*55\r\n\xff\x00$G$GPGLL,4916.45,N,12311.12,W,225444,A*31\r\n";
    let (found, dropped) = messages(&framing, Some(&checksum), &[stream]);
    assert_eq!(found, [b"$GPGLL,4916.45,N,12311.12,W,225444,A*31".to_vec()]);
    assert_eq!(dropped, 7 + 4);
}

#[test]
fn a_length_field_counts() {
    // 02 | 02 (two bytes) | 41 42 | 03
    let (found, dropped) = messages(&counted(), None, &[&[0xFF, 0x02, 0x02, 0x41, 0x42, 0x03]]);
    assert_eq!(found, [vec![0x02, 0x02, 0x41, 0x42, 0x03]]);
    assert_eq!(dropped, 1);
    // A start that is none: its end is not where the length says.
    let stream = [0x02, 0x01, 0x02, 0x02, 0x41, 0x42, 0x03];
    let (found, _) = messages(&counted(), None, &[&stream]);
    assert_eq!(found, [vec![0x02, 0x02, 0x41, 0x42, 0x03]]);
}

#[test]
fn a_start_in_the_noise_hides_no_message() {
    let checksum = Checksum {
        kind: Kind::Sum8,
        format: Format::BinaryBig,
        place: Place::BeforeEnd,
        from: 1,
        to: 0,
    };
    let framing = Framing::Frame(Block {
        start: vec![0x02],
        fixed: Some(5),
        ..Block::default()
    });
    let checksum = Checksum {
        place: Place::End,
        ..checksum
    };
    // 02 11 is noise; then 02 | 01 02 03 | sum 06.
    let stream = [0x02, 0x11, 0x02, 0x01, 0x02, 0x03, 0x06];
    let (found, dropped) = messages(&framing, Some(&checksum), &[&stream]);
    assert_eq!(found, [vec![0x02, 0x01, 0x02, 0x03, 0x06]]);
    assert_eq!(dropped, 2);
}

#[test]
fn silence_ends_a_block_or_gives_it_up() {
    let open = Framing::Frame(Block {
        idle: Some(Duration::from_millis(20)),
        ..Block::default()
    });
    assert_eq!(next(&open, None, b"abc", false), Found::More);
    let frame = Found::Frame {
        frame: 0..3,
        consumed: 3,
    };
    assert_eq!(next(&open, None, b"abc", true), frame);
    // Half a counted block, and nothing more comes.
    assert_eq!(
        next(&counted(), None, &[0x02, 0x09, 0x41], false),
        Found::More
    );
    assert_eq!(
        next(&counted(), None, &[0x02, 0x09, 0x41], true),
        Found::Skip(3)
    );
}

#[test]
fn an_endless_line_is_dropped() {
    let (found, dropped) = messages(&lines(), None, &[&[b'x'; 10_000], b"\nafter\n"]);
    assert_eq!(found.last().unwrap(), b"after");
    assert!(dropped > 8000, "{dropped}");
}

/// Framings of each sort, with and without a checksum.
fn framings() -> Vec<(Framing, Option<Checksum>)> {
    let (sentence, checksum) = nmea();
    let ended = Framing::Frame(Block {
        start: vec![0x02, 0x10],
        end: vec![0x03],
        ..Block::default()
    });
    let fixed = Framing::Frame(Block {
        start: vec![0x02],
        fixed: Some(4),
        ..Block::default()
    });
    let wide = Framing::Frame(Block {
        length: Some(Length {
            offset: 0,
            size: 2,
            little: true,
            adds: 2,
        }),
        ..Block::default()
    });
    let sum = Checksum {
        kind: Kind::Sum8,
        format: Format::BinaryBig,
        place: Place::End,
        from: 0,
        to: 0,
    };
    vec![
        (lines(), None),
        (sentence, Some(checksum)),
        (counted(), None),
        (ended, None),
        (fixed.clone(), None),
        (fixed, Some(sum)),
        (wide, None),
    ]
}

/// Bytes that often mean something to one of the framings.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        3 => prop::sample::select(vec![0x00, 0x01, 0x02, 0x03, 0x10, b'$', b'*', b'\r', b'\n', b'A', b'7']),
        1 => any::<u8>(),
    ]
}

proptest! {
    /// However the bytes are cut, the same messages come out, and each byte
    /// is in a message, dropped, or still waits.
    #[test]
    fn cuts_do_not_matter(
        stream in prop::collection::vec(byte(), 0..300),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        places.extend([0, stream.len()]);
        places.sort_unstable();
        let pieces: Vec<_> = places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        for (framing, checksum) in framings() {
            let whole = messages(&framing, checksum.as_ref(), &[&stream]);
            let cut = messages(&framing, checksum.as_ref(), &pieces);
            prop_assert_eq!(whole, cut);
        }
    }

    /// After any rubbish a good message is found, at the latest the second one:
    /// the rubbish may swallow the first, as half of a message does.
    #[test]
    fn finds_its_way_after_rubbish(rubbish in prop::collection::vec(byte(), 0..60)) {
        let good: [(usize, &[u8]); 2] = [
            (0, b"hello\n"),
            (1, b"$GPGLL,4916.45,N,12311.12,W,225444,A*31\r\n"),
        ];
        for (index, message) in good {
            let (framing, checksum) = &framings()[index];
            let stream = [&rubbish[..], b"\r\n", message, message].concat();
            let (found, _) = messages(framing, checksum.as_ref(), &[&stream]);
            let text = message.trim_ascii_end();
            prop_assert!(found.iter().filter(|of| of[..] == *text).count() >= 2);
        }
    }
}

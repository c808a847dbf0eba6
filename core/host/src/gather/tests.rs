//! Batches as a mapper emits them, through to what the edge reads.

use bytes::Bytes;
use longshore_types::{Quality, Reason, ValueRef};

use super::*;
use crate::batch::{Batch, BatchFault, SampleRef};

fn sample(point: u32, kind: u8, payload: abi::Payload) -> abi::Sample {
    abi::Sample {
        point,
        kind,
        quality: abi::QUALITY_GOOD,
        reason: 0,
        source_time_ns: 5,
        payload,
    }
}

fn text(text: &str) -> abi::Payload {
    abi::Payload::from_bytes(abi::Bytes::new(text.as_bytes()))
}

fn batch_of(
    samples: &[abi::Sample],
    completions: &[abi::Completion],
    states: &[abi::DeviceState],
) -> abi::EventBatch {
    abi::EventBatch {
        size: size_of::<abi::EventBatch>() as u32,
        sample_stride: size_of::<abi::Sample>() as u32,
        completion_stride: size_of::<abi::Completion>() as u32,
        state_stride: size_of::<abi::DeviceState>() as u32,
        samples: samples.as_ptr(),
        sample_count: samples.len(),
        completions: completions.as_ptr(),
        completion_count: completions.len(),
        states: states.as_ptr(),
        state_count: states.len(),
    }
}

fn body(batch: &abi::EventBatch) -> Result<Vec<u8>, i32> {
    let mut frame = Vec::new();
    let batch = ptr::from_ref(batch);
    // SAFETY: the tests' batches borrow live arrays.
    Gatherer::default()
        .gather(unsafe { Emitted::new(&batch) })?
        .append_to(&mut frame, wire::HEADER);
    Ok(frame)
}

fn everything() -> Vec<u8> {
    let mut bad = sample(6, abi::TYPE_NONE, text("no answer"));
    (bad.quality, bad.reason) = (abi::QUALITY_BAD, abi::REASON_TIMEOUT);
    let mut doubtful = sample(7, abi::TYPE_FLOAT64, abi::Payload::from_f64(21.5));
    doubtful.quality = abi::QUALITY_UNCERTAIN;
    let samples = [
        sample(1, abi::TYPE_BOOL, abi::Payload::from_bool(true)),
        sample(2, abi::TYPE_INT64, abi::Payload::from_i64(-3)),
        sample(3, abi::TYPE_UINT64, abi::Payload::from_u64(u64::MAX)),
        sample(4, abi::TYPE_STRING, text("wärm")),
        sample(
            5,
            abi::TYPE_BYTES,
            abi::Payload::from_bytes(abi::Bytes::new(&[0, 255])),
        ),
        bad,
        doubtful,
    ];
    let completions = [abi::Completion {
        token: 9,
        status: abi::STATUS_REFUSED,
        reserved: 0,
        message: abi::Bytes::new(b"code 2"),
    }];
    let states = [abi::DeviceState {
        device: 8,
        state: abi::STATE_OFFLINE,
        since_ns: 6,
        message: abi::Bytes::new(b"gone"),
    }];
    body(&batch_of(&samples, &completions, &states)).expect("a good batch")
}

#[test]
fn reads_what_was_emitted() {
    let batch = Batch::parse(everything().into()).expect("a good batch");
    let values: Vec<_> = batch.samples().map(|sample| sample.value).collect();
    let expected = [
        Some(ValueRef::Bool(true)),
        Some(ValueRef::Int(-3)),
        Some(ValueRef::Uint(u64::MAX)),
        Some(ValueRef::String("wärm")),
        Some(ValueRef::Bytes(&[0, 255])),
        None,
        Some(ValueRef::Float(21.5)),
    ];
    assert_eq!(values, expected);
    let bad = batch.samples().nth(5).expect("seven samples");
    let (quality, reason) = (Quality::Bad, Reason::Timeout);
    assert_eq!(
        bad,
        SampleRef {
            point: 6,
            quality,
            reason,
            source_time_ns: 5,
            value: None,
            message: "no answer"
        }
    );
    let completion = batch.completions().next().expect("one");
    assert_eq!((completion.token, completion.message), (9, "code 2"));
    let state = batch.states().next().expect("one");
    assert_eq!(
        (state.device, state.online, state.since_ns, state.message),
        (8, Some(false), 6, "gone")
    );
}

#[test]
fn no_damage_panics_and_none_reads_outside() {
    let good = everything();
    for cut in 0..good.len() {
        assert!(
            Batch::parse(Bytes::copy_from_slice(&good[..cut])).is_err(),
            "cut at {cut}"
        );
    }
    assert_eq!(
        Batch::parse([&good[..], &[0]].concat().into()).expect_err("longer"),
        BatchFault::Long
    );
    for at in 0..good.len() {
        for damage in [0x00, 0x01, 0x7f, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = damage;
            if let Ok(batch) = Batch::parse(bytes.into()) {
                let _ = (
                    batch.samples().count(),
                    batch.completions().count(),
                    batch.states().count(),
                );
            }
        }
    }
}

#[test]
fn names_what_is_wrong() {
    let mut bad = sample(1, abi::TYPE_FLOAT64, abi::Payload::ZERO);
    bad.quality = abi::QUALITY_BAD;
    let invalid = abi::Payload::from_bytes(abi::Bytes::new(&[0xff]));
    let cases = [
        (sample(1, 99, abi::Payload::ZERO), BatchFault::SampleKind(0)),
        (
            sample(1, abi::TYPE_BOOL, abi::Payload::from_u64(2)),
            BatchFault::Boolean(0),
        ),
        (bad, BatchFault::Quality(0)),
        (
            sample(1, abi::TYPE_NONE, abi::Payload::ZERO),
            BatchFault::Quality(0),
        ),
        (sample(1, abi::TYPE_STRING, invalid), BatchFault::Text(0)),
    ];
    for (sample, fault) in cases {
        let body = body(&batch_of(&[sample], &[], &[])).expect("gathers");
        assert_eq!(Batch::parse(body.into()).expect_err("faulty"), fault);
    }
}

#[test]
fn honours_strides_and_refuses_what_is_no_batch() {
    #[repr(C)]
    struct Longer(abi::Sample, [u64; 2]);
    let longer = [1, 2].map(|point| Longer(sample(point, abi::TYPE_STRING, text("x")), [7; 2]));
    let mut batch = batch_of(&[], &[], &[]);
    (batch.samples, batch.sample_count, batch.sample_stride) =
        (longer.as_ptr().cast(), 2, size_of::<Longer>() as u32);
    let parsed = Batch::parse(body(&batch).expect("gathers").into()).expect("a good batch");
    assert_eq!(
        parsed
            .samples()
            .map(|sample| sample.point)
            .collect::<Vec<_>>(),
        [1, 2]
    );

    let refused: [fn(&mut abi::EventBatch); 5] = [
        |batch| batch.size = 8,
        |batch| batch.sample_stride = 8,
        |batch| batch.samples = ptr::null(),
        |batch| batch.sample_count = usize::MAX,
        |batch| batch.sample_count = abi::MAX_BATCH_BYTES / size_of::<abi::Sample>() + 1,
    ];
    for spoil in refused {
        let mut spoilt = batch;
        spoil(&mut spoilt);
        assert_eq!(
            body(&spoilt).expect_err("refused"),
            abi::STATUS_INVALID_ARGUMENT
        );
    }
}

use longshore_types::{Quality, Reason};
use proptest::prelude::*;

use super::*;

fn name(id: u32) -> DeviceName {
    DeviceName::new("default", &format!("d{id}")).unwrap()
}

fn sample(n: i64, bytes: usize) -> PropertySample {
    let value = match bytes {
        0 => Value::Int(n),
        bytes => Value::Bytes(vec![0; bytes].into()),
    };
    PropertySample {
        property: "p".into(),
        value: Some(value),
        quality: Quality::Good,
        reason: Reason::None,
        time_ms: n,
    }
}

fn times(records: &[DeviceSamples]) -> Vec<Vec<i64>> {
    let times = |batch: &DeviceSamples| batch.samples.iter().map(|s| s.time_ms).collect();
    records.iter().map(times).collect()
}

impl History {
    fn one(&mut self, id: u32, n: i64, bytes: usize, now_ms: u64) {
        let samples = std::iter::once(sample(n, bytes));
        self.add(id, (&name(id), "uid"), samples, now_ms);
    }
}

#[test]
fn a_record_goes_after_a_second_with_a_link_and_after_ten_without() {
    let mut history = History::default();
    history.set_linked(true);
    for (n, at) in [(1, 100), (2, 500), (3, 1_050)] {
        history.one(1, n, 0, at);
        history.tick(at);
    }
    history.one(2, 9, 0, 1_050);
    assert!(history.take().is_empty());
    history.tick(1_099);
    assert!(history.take().is_empty());
    history.tick(1_100);
    assert_eq!(times(&history.take()), [vec![1, 2, 3]]);

    history.set_linked(false);
    history.tick(11_049);
    assert!(history.take().is_empty());
    history.one(1, 4, 0, 11_049);
    // The link is back: what waits is older than a second.
    history.set_linked(true);
    history.tick(11_049);
    assert_eq!(times(&history.take()), [vec![9]]);
    history.set_linked(false);
    history.tick(21_049);
    assert_eq!(times(&history.take()), [vec![4]]);
    assert_eq!(history.len(), 0);
}

#[test]
fn what_is_large_goes_at_once() {
    let mut history = History::default();
    let fit = (RECORD_BYTES / SAMPLE_BYTES) as i64;
    for n in 0..fit {
        history.one(1, n, 0, 0);
    }
    assert_eq!(times(&history.take()), [(0..fit).collect::<Vec<_>>()]);
    history.one(1, 1, 0, 0);
    history.one(1, 2, RECORD_BYTES, 0);
    assert_eq!(times(&history.take()), [vec![1, 2]]);
    // Many devices that are small each.
    let devices = (TOTAL_BYTES - 1) / (SAMPLE_BYTES + 1_000);
    for id in 0..=devices {
        assert!(history.take().is_empty(), "before {id}");
        history.one(id as u32, 7, 1_000, 0);
    }
    assert_eq!(history.take().len(), devices + 1);
    assert_eq!(history.bytes, 0);
}

#[test]
fn samples_of_a_former_device_of_that_name_are_its_own() {
    let mut history = History::default();
    let one = |n| std::iter::once(sample(n, 0));
    history.add(1, (&name(1), "a"), one(1), 0);
    history.add(1, (&name(1), "b"), one(2), 0);
    history.close_all();
    let records = history.take();
    let uids: Vec<_> = records.iter().map(|batch| batch.uid.as_str()).collect();
    assert_eq!(uids, ["a", "b"]);
    assert_eq!(times(&records), [[1], [2]]);
}

proptest! {
    /// Whatever happens when, each sample comes once and in the order of its device.
    #[test]
    fn nothing_is_lost_or_doubled(steps in prop::collection::vec((0..4_u32, 0..9_u8, 0..9_000_usize, 0..3_000_u64), 1..300)) {
        let mut history = History::default();
        let mut now = 0;
        let mut given: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
        let mut got: BTreeMap<DeviceName, Vec<i64>> = BTreeMap::new();
        for (n, (id, what, bytes, pause)) in steps.into_iter().enumerate() {
            now += pause;
            match what {
                0 => history.set_linked(!history.linked),
                1 => history.tick(now),
                2 => history.close(id),
                _ => {
                    history.one(id, n as i64, bytes, now);
                    given.entry(id).or_default().push(n as i64);
                }
            }
            prop_assert!(history.bytes < TOTAL_BYTES + RECORD_BYTES);
            for batch in history.take() {
                let size: usize = batch.samples.iter().map(|s| SAMPLE_BYTES + size(s.value.as_ref())).sum();
                prop_assert!(size < RECORD_BYTES + 9_000 + SAMPLE_BYTES);
                let times = batch.samples.iter().map(|s| s.time_ms);
                got.entry(batch.device).or_default().extend(times);
            }
        }
        history.tick(now + OFFLINE_MS);
        for batch in history.take() {
            let times = batch.samples.iter().map(|s| s.time_ms);
            got.entry(batch.device).or_default().extend(times);
        }
        prop_assert_eq!(history.len(), 0);
        let given: BTreeMap<_, _> = given.into_iter().map(|(id, times)| (name(id), times)).collect();
        prop_assert_eq!(got, given);
    }
}

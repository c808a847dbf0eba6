use super::*;

fn at(ms: u64) -> Now {
    let unix_ms = ms as i64;
    Now { ms, unix_ms }
}

fn linked() -> Due {
    let mut due = Due::new(true);
    due.set_linked(true);
    due
}

#[test]
fn news_are_reported_at_once_and_then_with_pauses() {
    let mut due = linked();
    due.touch(3, 1, at(5));
    due.touch(3, 1, at(6));
    assert_eq!(due.take_reports(at(6), 9), [3]);
    assert!(due.take_reports(at(6), 9).is_empty());
    due.touch(3, 1, at(7));
    assert!(due.take_reports(at(5 + REPORT_MS), 9).is_empty());
    assert_eq!(due.take_reports(at(6 + REPORT_MS), 9), [3]);
    // A report is the whole device: one with many properties is reported less.
    due.touch(3, 500, at(8 + REPORT_MS));
    assert!(due.take_reports(at(5 + 4 * REPORT_MS), 9).is_empty());
    assert_eq!(due.take_reports(at(6 + 4 * REPORT_MS), 9), [3]);
}

#[test]
fn what_somebody_waits_for_does_not_wait_for_the_pause() {
    let mut due = linked();
    due.touch(3, 1, at(5));
    assert_eq!(due.take_reports(at(5), 9), [3]);
    // Values change all the time; what comes of a write goes before its time.
    due.touch(3, 1, at(10));
    assert!(due.take_reports(at(10), 9).is_empty());
    due.touch_soon(3, 1, at(17));
    assert_eq!(due.take_reports(at(17), 9), [3]);
    // A device that has such news all the time is told with the pauses after all.
    let mut sent = 0;
    for ms in 20..10_000 {
        due.touch_soon(3, 1, at(ms));
        sent += due.take_reports(at(ms), 9).len() as u64;
    }
    let bound = u64::from(AHEAD) + 2 * (10_000 / REPORT_MS);
    assert!((10..=bound).contains(&sent), "{sent}");
    // Without a link nobody waits, and each report is a write to the flash.
    due.forget(3);
    due.set_linked(false);
    due.touch_soon(4, 1, at(20_000));
    assert_eq!(due.take_reports(at(20_000), 9), [4]);
    due.touch_soon(4, 1, at(20_001));
    assert!(due.take_reports(at(29_999), 9).is_empty());
}

#[test]
fn what_waited_longest_comes_first() {
    let mut due = linked();
    for (id, ms) in [(7, 10), (1, 30), (4, 20)] {
        due.touch(id, 1, at(ms));
    }
    assert_eq!(due.take_reports(at(25), 9), [7, 4]);
    due.touch(7, 1, at(26));
    assert_eq!(due.take_reports(at(5_000), 1), [1]);
    assert_eq!(due.take_reports(at(5_000), 1), [7]);
}

#[test]
fn without_a_hub_nothing_is_reported_and_snapshots_are_made_all_the_same() {
    let mut due = Due::new(false);
    due.touch(0, 1, at(1));
    due.read(0, at(90_000));
    assert!(due.take_reports(at(100_000), 9).is_empty());
    assert!(due.take_snapshots(at(SNAPSHOT_MS), 9, false).is_empty());
    assert_eq!(due.take_snapshots(at(1 + SNAPSHOT_MS), 9, false), [0]);
}

#[test]
fn a_device_that_is_read_is_reported_at_least_so_often() {
    let mut due = linked();
    // Never reported: its first news will do.
    due.read(0, at(1));
    assert!(due.take_reports(at(1), 9).is_empty());
    due.touch(0, 1, at(1));
    assert_eq!(due.take_reports(at(1), 9), [0]);
    due.read(0, at(REPORT_AT_LEAST_MS));
    assert!(due.take_reports(at(REPORT_AT_LEAST_MS), 9).is_empty());
    due.read(0, at(1 + REPORT_AT_LEAST_MS));
    assert_eq!(due.take_reports(at(1 + REPORT_AT_LEAST_MS), 9), [0]);
    due.set_linked(false);
    due.read(0, at(1 + 3 * REPORT_AT_LEAST_MS));
    assert!(
        due.take_reports(at(1 + 3 * REPORT_AT_LEAST_MS), 9)
            .is_empty()
    );
}

#[test]
fn what_is_forgotten_is_never_due() {
    let mut due = linked();
    due.touch(2, 1, at(1));
    assert_eq!(due.take_reports(at(1), 9), [2]);
    due.touch(2, 1, at(2));
    due.set_events(2, true);
    due.forget(2);
    assert!(due.take_reports(at(90_000), 9).is_empty());
    assert!(due.take_snapshots(at(90_000), 9, true).is_empty());
    assert!(due.events().is_empty());
    // Another device with its id is reported at once.
    due.touch(2, 1, at(3));
    assert_eq!(due.take_reports(at(3), 9), [2]);
}

#[test]
fn at_the_end_all_snapshots_are_made() {
    let mut due = linked();
    due.touch(0, 1, at(1));
    due.snapshot_again(1, at(5));
    assert!(due.take_snapshots(at(6), 9, false).is_empty());
    assert_eq!(due.take_snapshots(at(6), 9, true), [0, 1]);
    assert!(due.take_snapshots(at(6), 9, true).is_empty());
}

#[test]
fn stale_values_are_searched_for_when_there_may_be_some_and_once_a_second_at_most() {
    let mut due = linked();
    let mut found = Vec::new();
    for ms in (0..3_000).step_by(50) {
        if due.stale_scan(at(ms)) {
            found.push(ms);
            due.stale_in(Some(1), at(ms));
        }
    }
    assert_eq!(found, [0, 1_000, 2_000]);
    due.stale_in(Some(60_000), at(3_000));
    assert!(!due.stale_scan(at(62_999)) && due.stale_scan(at(63_000)));
    // Nothing that could be stale, until there is something new.
    due.stale_in(None, at(63_000));
    assert!(!due.stale_scan(at(u64::from(u32::MAX))) && due.next().is_none());
    due.stale_soon(at(70_000));
    assert_eq!(due.next(), Some(71_000));
}

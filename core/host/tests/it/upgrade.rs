//! Another version of a library takes over while it runs, or the old one stays.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use longshore_host::{
    Command, CommandKind, HostOptions, Isolation, MapperEvent, MapperState, Refused,
};
use longshore_types::ValueRef;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::support::{BOTH, PATIENCE, Run, compile, options};

/// The period of the fixture's polls.
const PERIOD_NS: i64 = 100_000_000;

/// A folder with the file that the mapper runs from, and the host's own folder.
struct Place {
    folder: tempfile::TempDir,
}

/// What a play of the edge has seen.
#[derive(Debug, Default)]
struct Seen {
    /// Of each instance, in order: its point and the numbers of its samples.
    samples: Vec<(u32, i64, i64)>,
    /// What the instances said at their end.
    counts: Vec<i64>,
    downs: Vec<String>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("libmapper_edition.so")
    }

    /// Compiles an edition beside the file.
    fn edition(&self, major: u32, fault: &str) -> PathBuf {
        let library = self.folder.path().join(format!("{major}-{fault}.so"));
        let (major, fault) = (format!("-DMAJOR={major}"), format!("-DFAULT={fault}"));
        compile(&library, "core/host/fixtures/edition.c", &[&major, &fault])
    }

    /// Puts an edition into the file's place by renaming.
    fn put(&self, edition: &Path) {
        let fresh = self.folder.path().join("fresh");
        fs::copy(edition, &fresh).expect("the edition is there");
        fs::rename(fresh, self.file()).expect("the same folder");
    }

    fn options(&self) -> HostOptions {
        HostOptions {
            copies: Some(self.folder.path().join("copies")),
            look_interval: Duration::from_millis(200),
            // What hangs on trial does so within it.
            trial: Duration::from_secs(4),
            answer_timeout: Duration::from_secs(2),
            ..options()
        }
    }

    fn start(&self, isolation: Isolation) -> Run {
        Run::start(self.file(), isolation, json!({}), self.options())
    }
}

/// Plays the edge: configures the device after each `Up`, until `enough`.
async fn play(
    run: &mut Run,
    what: &str,
    mut enough: impl FnMut(&Seen, &MapperState) -> bool,
) -> Seen {
    let mut seen = Seen::default();
    let end = Instant::now() + PATIENCE;
    loop {
        let state = run.mapper.state().borrow().clone();
        if enough(&seen, &state) {
            return seen;
        }
        assert!(
            Instant::now() < end,
            "waited in vain for {what}: {state:?}, {:?}, last {:?}",
            seen.downs,
            seen.samples.last()
        );
        // A state changes without an event.
        let Ok(event) = timeout(Duration::from_millis(20), run.events.recv()).await else {
            continue;
        };
        match event.expect("the mapper's task lives") {
            MapperEvent::Up { generation, .. } => {
                let configure = Command {
                    token: generation,
                    device: 1,
                    budget: Duration::from_secs(5),
                    kind: CommandKind::Configure("{\"device\": \"default/counter\"}".to_owned()),
                };
                // It may be down again already.
                let _ = run.mapper.submit(vec![configure]);
            }
            MapperEvent::Down {
                reason, planned, ..
            } => {
                let makes_room = &*reason == "makes room for another version";
                assert_eq!(planned, makes_room, "{reason}");
                seen.downs.push(reason.to_string());
            }
            MapperEvent::Batch { batch, .. } => {
                for sample in batch.samples() {
                    let Some(ValueRef::Int(value)) = sample.value else {
                        panic!("{sample:?}");
                    };
                    match sample.point {
                        0 => seen.counts.push(value),
                        point => seen.samples.push((point, value, sample.source_time_ns)),
                    }
                }
            }
        }
    }
}

fn of(seen: &Seen, point: u32) -> usize {
    seen.samples
        .iter()
        .filter(|sample| sample.0 == point)
        .count()
}

fn refused(state: &MapperState) -> Option<Refused> {
    match state {
        MapperState::Running { refused, .. } => refused.clone(),
        _ => None,
    }
}

/// No sample of the instances is missing, and none came late.
fn assert_no_loss(seen: &Seen) {
    let mut last: Option<(u32, i64, i64)> = None;
    for (point, number, time) in seen.samples.iter().copied() {
        match last {
            Some((before, counted, at)) => {
                let expected = if before == point { counted + 1 } else { 1 };
                assert_eq!(number, expected, "a sample is missing: {seen:?}");
                let gap = time - at;
                assert!(
                    gap <= 2 * PERIOD_NS,
                    "{} ms without a sample",
                    gap / 1_000_000
                );
            }
            None => assert_eq!(number, 1),
        }
        last = Some((point, number, time));
    }
}

#[tokio::test]
async fn a_new_version_takes_over_without_a_lost_poll() {
    let place = Place::new();
    let (one, two) = (place.edition(1, "NOTHING"), place.edition(2, "NOTHING"));
    for isolation in BOTH {
        place.put(&one);
        let mut run = place.start(isolation);
        let mut replaced = false;
        let seen = play(&mut run, "version 2", |seen, _| {
            if of(seen, 1) > 4 && !std::mem::replace(&mut replaced, true) {
                place.put(&two);
            }
            of(seen, 2) > 4
        })
        .await;
        assert_no_loss(&seen);
        assert_eq!(seen.counts, [of(&seen, 1) as i64], "all of version 1 came");
        assert_eq!(seen.downs, ["makes room for another version"]);
        let stats = run.mapper.stats();
        assert_eq!((stats.upgrades, stats.restarts, stats.rollbacks), (1, 0, 0));
        let images = u64::from(isolation == Isolation::InProcess);
        assert_eq!(stats.retired_images, images, "none is ever unloaded");
        let edition = run.mapper.edition().expect("it runs");
        assert_eq!(edition.version, "2.0.0");
        // It proves itself, and only its copy is kept.
        play(&mut run, "the end of the trial", |_, _| {
            let copies = fs::read_dir(place.folder.path().join("copies/test"));
            copies.expect("the copies").count() == 2
        })
        .await;
        run.stop().await;
        fs::remove_dir_all(place.folder.path().join("copies")).expect("the copies");
    }
}

#[tokio::test]
async fn a_file_that_is_written_into_is_used_only_when_it_is_whole() {
    let place = Place::new();
    let (one, two) = (place.edition(1, "NOTHING"), place.edition(2, "NOTHING"));
    fs::copy(&one, place.file()).expect("the edition is there");
    let mut run = place.start(Isolation::Process);
    play(&mut run, "version 1", |seen, _| of(seen, 1) > 1).await;
    // As `cp` does: the same inode, first empty, then half, then whole.
    let whole = fs::read(&two).expect("the edition is there");
    fs::write(place.file(), &whole[..whole.len() / 2]).expect("it can be written");
    let seen = play(&mut run, "the refusal", |_, state| refused(state).is_some()).await;
    assert_eq!(seen.downs, [""; 0], "the one that runs does not mind");
    let Some(Refused { version, reason }) = refused(&run.mapper.state().borrow()) else {
        panic!("it was refused a moment ago");
    };
    assert_eq!(&*version, "");
    assert!(reason.contains("is truncated"), "{reason}");
    fs::write(place.file(), &whole).expect("it can be written");
    let seen = play(&mut run, "version 2", |seen, state| {
        of(seen, 2) > 1 && refused(state).is_none()
    })
    .await;
    assert_no_loss_after(&seen);
    run.stop().await;
}

/// As [`assert_no_loss`], for what was listened to from the middle on.
fn assert_no_loss_after(seen: &Seen) {
    let gaps = seen.samples.windows(2).map(|pair| pair[1].2 - pair[0].2);
    let longest = gaps.max().unwrap_or_default();
    assert!(
        longest <= 2 * PERIOD_NS,
        "{} ms without a sample",
        longest / 1_000_000
    );
}

#[tokio::test]
async fn a_version_that_does_not_come_to_stand_disturbs_nobody() {
    let place = Place::new();
    let one = place.edition(1, "NOTHING");
    let failing = place.edition(2, "FAILS_IN_CREATE");
    let hanging = place.edition(3, "HANGS_IN_CREATE");
    let foreign = place.folder.path().join("foreign.so");
    let mut bytes = fs::read(&one).expect("the edition is there");
    // Byte 18: e_machine; 40 is ARM.
    bytes[18..20].copy_from_slice(&[40, 0]);
    fs::write(&foreign, bytes).expect("it can be written");
    place.put(&one);
    let options = HostOptions {
        start_timeout: Duration::from_secs(3),
        ..place.options()
    };
    let mut run = Run::start(place.file(), Isolation::Process, json!({}), options);
    play(&mut run, "version 1", |seen, _| of(seen, 1) > 1).await;
    let first = run.mapper.stats().process_id;
    for (file, version, why) in [
        (failing, "2.0.0", "told to fail"),
        (hanging, "3.0.0", "did not start within 3 s"),
        (foreign, "", "is built for arm"),
    ] {
        place.put(&file);
        let seen = play(&mut run, why, |_, state| {
            refused(state).is_some_and(|refused| refused.reason.contains(why))
        })
        .await;
        assert_eq!(seen.downs, [""; 0], "{why}");
        assert_no_loss_after(&seen);
        let shown = refused(&run.mapper.state().borrow()).expect("a moment ago");
        assert_eq!(&*shown.version, version);
    }
    assert_eq!(run.mapper.stats().process_id, first);
    // Put back, the file is what runs: nothing is refused any more.
    place.put(&one);
    let seen = play(&mut run, "peace", |_, state| {
        matches!(state, MapperState::Running { refused: None, .. })
    })
    .await;
    assert_eq!(seen.downs, [""; 0]);
    assert_eq!(run.mapper.stats().upgrades, 0);
    run.stop().await;
}

#[tokio::test]
async fn a_version_that_fails_on_trial_is_rolled_back_with_the_reason() {
    let place = Place::new();
    let one = place.edition(1, "NOTHING");
    place.put(&one);
    let mut run = place.start(Isolation::Process);
    play(&mut run, "version 1", |seen, _| of(seen, 1) > 1).await;
    for (rollbacks, (fault, why)) in (1..).zip([
        ("CRASHES_AFTER_A_SECOND", "was killed by signal 6"),
        ("HANGS_WHEN_CONFIGURED", "hangs: no answer within"),
        (
            "REFUSES_CONFIGURATIONS",
            "refuses a configuration that the version before accepts: no such key",
        ),
    ]) {
        place.put(&place.edition(2, fault));
        let seen = play(&mut run, fault, |seen, state| {
            seen.downs.len() == 2
                && refused(state).is_some()
                && seen
                    .samples
                    .last()
                    .is_some_and(|(point, number, _)| (*point, *number) == (1, 3))
        })
        .await;
        assert_eq!(seen.downs[0], "makes room for another version");
        assert!(seen.downs[1].contains(why), "{:?}", seen.downs);
        let shown = refused(&run.mapper.state().borrow()).expect("a moment ago");
        assert_eq!(&*shown.version, "2.0.0");
        assert!(shown.reason.contains(why), "{shown:?}");
        let stats = run.mapper.stats();
        assert_eq!((stats.rollbacks, stats.upgrades), (rollbacks, rollbacks));
        assert_eq!(run.mapper.edition().expect("it runs").version, "1.0.0");
    }
    // The same file is not tried again: not while it runs …
    let seen = play(&mut run, "some looks", |seen, _| of(seen, 1) > 15).await;
    assert_eq!(seen.downs, [""; 0]);
    run.stop().await;
    // … and not by the next life of the host.
    let mut run = place.start(Isolation::Process);
    let seen = play(&mut run, "version 1", |seen, _| of(seen, 1) > 1).await;
    assert_eq!(of(&seen, 2), 0);
    let shown = refused(&run.mapper.state().borrow()).expect("it remembers");
    assert!(shown.reason.contains("no such key"), "{shown:?}");
    run.stop().await;
}

#[tokio::test]
async fn a_library_of_another_path_takes_over_too() {
    let place = Place::new();
    place.put(&place.edition(1, "NOTHING"));
    let mut run = place.start(Isolation::Process);
    play(&mut run, "version 1", |seen, _| of(seen, 1) > 1).await;
    run.mapper.set_file(place.edition(2, "NOTHING"));
    let seen = play(&mut run, "version 2", |seen, _| of(seen, 2) > 1).await;
    assert_no_loss_after(&seen);
    run.stop().await;
}

#[tokio::test]
async fn in_process_a_version_that_refuses_is_rolled_back_and_one_that_hangs_is_given_up() {
    let place = Place::new();
    let one = place.edition(1, "NOTHING");
    place.put(&one);
    let mut run = place.start(Isolation::InProcess);
    play(&mut run, "version 1", |seen, _| of(seen, 1) > 1).await;
    place.put(&place.edition(2, "REFUSES_CONFIGURATIONS"));
    play(&mut run, "version 1 again", |seen, state| {
        refused(state).is_some_and(|refused| refused.reason.contains("no such key"))
            && seen
                .samples
                .last()
                .is_some_and(|last| (last.0, last.1) == (1, 3))
    })
    .await;
    // The old version is in memory still, and is used again: one is retired.
    let stats = run.mapper.stats();
    assert_eq!((stats.rollbacks, stats.retired_images), (1, 1));
    place.put(&place.edition(3, "HANGS_WHEN_CONFIGURED"));
    play(&mut run, "the end", |_, state| {
        matches!(state, MapperState::Failed { reason }
            if reason.contains("it runs in-process and cannot be killed"))
    })
    .await;
}

#[tokio::test]
async fn a_crash_while_another_version_loads_takes_that_one() {
    let place = Place::new();
    place.put(&place.edition(1, "NOTHING"));
    let mut run = place.start(Isolation::Process);
    // Only what proved itself is a way back.
    let record = place.folder.path().join("copies/test/state.json");
    play(&mut run, "the end of the trial", |_, _| record.is_file()).await;
    let first = run.mapper.stats().process_id.expect("a child");
    place.put(&place.edition(2, "NOTHING"));
    super::lifetime::kill(first);
    let seen = play(&mut run, "version 2", |seen, _| of(seen, 2) > 1).await;
    assert_eq!(seen.downs.len(), 1, "{seen:?}");
    // It came up by a restart, and still is on trial: version 1 is the way back.
    super::lifetime::kill(run.mapper.stats().process_id.expect("a child"));
    play(&mut run, "version 1 again", |seen, state| {
        of(seen, 1) > 1 && refused(state).is_some_and(|refused| &*refused.version == "2.0.0")
    })
    .await;
    run.stop().await;
}

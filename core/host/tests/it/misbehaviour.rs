//! Whatever a mapper does, it costs only the mapper.

use std::{sync::Arc, time::Duration};

use longshore_host::{
    CommandKind, HostOptions, Isolation, MapperEvent, MapperState, Status, SubmitError,
};
use serde_json::json;

use super::support::{BOTH, Run, c_library, eventually, options, within};

/// Once bad, then good: the second instance finds the marker.
fn bad_once(
    isolation: Isolation,
    what: &str,
    folder: &tempfile::TempDir,
    options: HostOptions,
) -> Run {
    Run::bad_with(
        isolation,
        json!({"do": what, "marker": folder.path().join("marker")}),
        options,
    )
}

/// For those that do hang. A mapper that is well answers in this time too.
fn quick() -> HostOptions {
    let short = Duration::from_secs(2);
    HostOptions {
        answer_timeout: short,
        completion_grace: short,
        stop_grace: short,
        ping_interval: Duration::from_millis(100),
        ..options()
    }
}

/// Patient, and often told how many emits found no room.
fn attentive() -> HostOptions {
    HostOptions {
        ping_interval: Duration::from_millis(50),
        ..options()
    }
}

#[tokio::test]
async fn a_panic_or_a_crash_at_work_costs_one_instance() {
    for (isolation, what, reason) in [
        (
            Isolation::Process,
            "panic in submit",
            "panicked while taking commands",
        ),
        (
            Isolation::InProcess,
            "panic in submit",
            "panicked while taking commands",
        ),
        (
            Isolation::Process,
            "abort in submit",
            "was killed by signal 6 (SIGABRT: it aborted)",
        ),
        (
            Isolation::Process,
            "exit in submit",
            "ended by itself with exit status 3",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut run = bad_once(isolation, what, &folder, options());
        assert_eq!(run.up().await, 1);
        run.submit(1, CommandKind::Remove);
        assert_eq!(&*run.down().await, reason, "{what}");
        assert_eq!(run.up().await, 2);
        run.answers(2).await;
        assert_eq!(run.mapper.stats().restarts, 1);
        run.stop().await;
    }
}

#[tokio::test]
async fn a_crash_while_starting_is_tried_again() {
    for (isolation, what) in [
        (Isolation::Process, "panic in create"),
        (Isolation::InProcess, "panic in create"),
        (Isolation::Process, "abort in create"),
        (Isolation::Process, "fail to start"),
        (Isolation::InProcess, "fail to start"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut run = bad_once(isolation, what, &folder, options());
        // Nothing was up, so nothing went down: the first event is the second instance.
        let first = within(what, run.events.recv()).await;
        assert!(
            matches!(first, Some(MapperEvent::Up { generation: 2, .. })),
            "{what}: {first:?}"
        );
        run.answers(1).await;
        run.stop().await;
    }
}

#[tokio::test]
async fn a_refused_configuration_is_final() {
    for isolation in BOTH {
        let run = Run::bad(isolation, "refuse the configuration");
        assert_eq!(
            &*run.failed().await,
            "invalid mapper configuration: `do` asks to be refused"
        );
        assert_eq!(run.mapper.submit(Vec::new()), Err(SubmitError::Down));
    }
}

#[tokio::test]
async fn a_hang_is_noticed_and_killed() {
    let (long, short) = (Duration::from_secs(20), Duration::from_millis(100));
    for (what, budget, reason) in [
        ("hang in submit", long, "hangs: no answer within 2 s"),
        (
            "never complete",
            short,
            "hangs: command 1 is overdue by 2 s",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut run = bad_once(Isolation::Process, what, &folder, quick());
        run.up().await;
        run.submit_within(1, CommandKind::Remove, budget);
        assert_eq!(&*run.down().await, reason);
        assert_eq!(run.up().await, 2);
        run.answers(2).await;
        assert_eq!(run.mapper.stats().faults, 1);
    }
}

#[tokio::test]
async fn a_start_that_hangs_is_killed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = HostOptions {
        start_timeout: Duration::from_secs(3),
        ..options()
    };
    let mut run = bad_once(Isolation::Process, "hang in create", &folder, options);
    let state = run
        .state("Restarting", |state| {
            matches!(state, MapperState::Restarting { .. })
        })
        .await;
    assert_eq!(
        state,
        MapperState::Restarting {
            reason: "did not start within 3 s".into(),
            failures: 1
        }
    );
    run.up().await;
    run.answers(1).await;
}

#[tokio::test]
async fn a_hang_in_process_is_given_up_and_said() {
    let mut run = Run::bad_with(
        Isolation::InProcess,
        json!({"do": "hang in submit"}),
        quick(),
    );
    run.up().await;
    run.submit(1, CommandKind::Remove);
    let reason = "hangs: no answer within 2 s; it runs in-process and cannot be killed";
    assert_eq!(&*run.down().await, reason);
    assert_eq!(&*run.failed().await, reason);
}

#[tokio::test]
async fn a_stop_that_hangs_or_panics_ends_all_the_same() {
    for isolation in BOTH {
        for (what, reason) in [
            ("hang in stop", "killed: it did not stop in time"),
            ("panic in stop", "stopped"),
        ] {
            let mut run = Run::bad_with(isolation, json!({ "do": what }), quick());
            run.up().await;
            let process = run.mapper.stats().process_id;
            within("the stop", run.mapper.stop(Duration::from_millis(100))).await;
            assert_eq!(&*run.down().await, reason);
            assert_eq!(*run.mapper.state().borrow(), MapperState::Stopped);
            if let Some(process) = process {
                eventually("the end of the process", || {
                    match std::fs::read_to_string(format!("/proc/{process}/stat")) {
                        Ok(stat) if !stat.contains(" Z ") => Err(stat),
                        _ => Ok(()),
                    }
                })
                .await;
            }
        }
    }
}

#[tokio::test]
async fn nothing_comes_after_a_stop() {
    for isolation in BOTH {
        let mut run = Run::bad(isolation, "emit after stop");
        run.up().await;
        run.stop().await;
        assert_eq!(&*run.down().await, "stopped");
        assert!(run.events.recv().await.is_none());
    }
}

#[tokio::test]
async fn a_flood_fills_only_its_own_queue() {
    for isolation in BOTH {
        let mut flood = Run::bad_with(isolation, json!({"do": "flood"}), attentive());
        flood.up().await;
        let before = resident_bytes();
        // Nobody takes the flood's batches, and it is not that the mapper hangs.
        let mut good = Run::bad_with(isolation, json!({}), attentive());
        good.up().await;
        for token in 0..200 {
            good.answers(token).await;
        }
        assert!(matches!(
            *flood.mapper.state().borrow(),
            MapperState::Running { generation: 1, .. }
        ));
        let mapper = flood.mapper.stats();
        assert!(mapper.batches < 100, "{mapper:?}");
        // Room for both mappers' queues, and none for a flood.
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < 24 << 20, "{grown} bytes");

        // Whoever takes them gets them all, whole, as fast as it wants.
        let end = tokio::time::Instant::now() + super::support::PATIENCE;
        while flood.mapper.stats().blocked_emits == 0 || flood.mapper.stats().batches < 1000 {
            assert!(
                tokio::time::Instant::now() < end,
                "{:?}",
                flood.mapper.stats()
            );
            let batch = flood
                .event("a batch", |event| match event {
                    MapperEvent::Batch { batch, .. } => Some(batch.clone()),
                    _ => None,
                })
                .await;
            assert!(batch.samples().map(|sample| sample.point).eq(0..1000));
        }
        // A stop does not wait until somebody takes what is left.
        flood.stop().await;
        assert_eq!(&*flood.down().await, "stopped");
        good.stop().await;
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("VmRSS");
    line.trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .expect("a number")
        << 10
}

#[tokio::test]
async fn garbage_is_noticed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let library = c_library(folder.path(), "core/host/fixtures/garbage.c", &[]);
    for isolation in BOTH {
        let mut run = Run::start(library.clone(), isolation, json!({}), options());
        run.up().await;
        run.submit(1, CommandKind::Remove);
        assert_eq!(
            &*run.down().await,
            "broke the contract: malformed batch: sample 0 has an unknown type or quality"
        );
        run.up().await;
        assert_eq!(run.mapper.stats().faults, 1);
    }
}

/// No clock reaches that far, so the host's own reckoning fails.
#[tokio::test]
async fn a_bug_of_the_host_is_told_as_the_failure_of_its_mapper() {
    let options = HostOptions {
        completion_grace: Duration::MAX,
        ..options()
    };
    let mut run = Run::bad_with(Isolation::Process, json!({}), options);
    run.up().await;
    run.submit(1, CommandKind::Remove);
    let reason = "the host failed on this mapper; see its log";
    assert_eq!(&*run.down().await, reason);
    assert_eq!(&*run.failed().await, reason);
    let refused = run.mapper.submit(Vec::new());
    assert!(
        matches!(refused, Err(longshore_host::SubmitError::Down)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_child_that_writes_noise_is_killed() {
    let reason = reason_to_kill("head -c 1000000 /dev/urandom >&0; read forever").await;
    assert!(reason.starts_with("broke the contract: "), "{reason}");
}

#[tokio::test]
async fn a_child_that_announces_a_frame_that_no_kind_has_is_killed_before_its_body_comes() {
    // 1 MiB of kind 99; native numbers, as the frames have them.
    let head = [1_u32 << 20, 99].map(u32::to_ne_bytes).concat();
    let octal: String = head.iter().map(|byte| format!("\\{byte:03o}")).collect();
    let reason = reason_to_kill(&format!("printf '{octal}' >&0; read forever")).await;
    assert_eq!(&*reason, "broke the contract: unknown kind of frame 99");
}

/// Why a child that does this is killed, each time.
async fn reason_to_kill(script: &str) -> Arc<str> {
    let options = HostOptions {
        program: Some("/bin/sh".into()),
        arguments: vec!["-c".into(), script.into()],
        ..options()
    };
    let run = Run::bad_with(Isolation::Process, json!({}), options);
    let state = run
        .state("Restarting", |state| {
            matches!(state, MapperState::Restarting { failures: 2.., .. })
        })
        .await;
    let MapperState::Restarting { reason, .. } = state else {
        panic!("{state:?}")
    };
    assert!(run.mapper.stats().faults >= 2);
    reason
}

#[tokio::test]
async fn a_mapper_that_stays_busy_costs_its_commands_their_time() {
    for isolation in BOTH {
        let mut run = Run::bad(isolation, "be busy");
        run.up().await;
        run.submit_within(1, CommandKind::Remove, Duration::from_millis(100));
        let (status, message) = run.completion(1).await;
        assert_eq!(
            (status, message.as_str()),
            (
                Status::Timeout,
                "its time was over before the mapper took it"
            )
        );
        assert!(matches!(
            *run.mapper.state().borrow(),
            MapperState::Running { generation: 1, .. }
        ));
    }
}

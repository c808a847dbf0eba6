//! How long children live.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    process::{Command as Program, Stdio},
};

use longshore_host::{Isolation, MapperState};
use serde_json::json;

use super::support::{Run, eventually, options};

/// Set in the process that [`a_child_ends_with_its_host`] starts and kills.
const BE_A_HOST: &str = "LONGSHORE_TEST_BE_A_HOST";

pub(super) fn kill(process: u32) {
    let status = Program::new("kill")
        .args(["-KILL", &process.to_string()])
        .status();
    assert!(status.expect("`kill` runs").success());
}

fn lives(process: u32) -> bool {
    // A zombie has ended; its parent only has not asked yet.
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_killed_child_is_back() {
    let mut run = Run::bad(Isolation::Process, "nothing");
    run.up().await;
    let first = run.mapper.stats().process_id.expect("a process of its own");
    assert_ne!(first, std::process::id());
    let name = fs::read_to_string(format!("/proc/{first}/comm")).expect("the child lives");
    assert_eq!(name, "mapper-test\n");
    kill(first);
    assert!(run.down().await.starts_with("was killed by signal 9"));
    run.up().await;
    assert_ne!(run.mapper.stats().process_id, Some(first));
    run.answers(1).await;
}

#[tokio::test]
async fn a_dropped_mapper_takes_its_child_along() {
    let mut run = Run::bad(Isolation::Process, "nothing");
    run.up().await;
    let child = run.mapper.stats().process_id.expect("a process of its own");
    drop(run.mapper);
    eventually("the end of the child", || {
        if lives(child) { Err("lives") } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn a_child_inherits_only_what_it_needs() {
    let _leak = fs::File::open("/proc/self/status").expect("Linux");
    let mut run = Run::bad(Isolation::Process, "nothing");
    run.up().await;
    let child = run.mapper.stats().process_id.expect("a process of its own");
    let environment = fs::read(format!("/proc/{child}/environ")).expect("the child lives");
    let environment = String::from_utf8_lossy(&environment);
    assert!(
        !environment.contains("CARGO_MANIFEST_DIR="),
        "{environment}"
    );
    let open = fs::read_dir(format!("/proc/{child}/fd")).expect("the child lives");
    let open: Vec<_> = open
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .collect();
    // /dev/null, the log twice, the socket, and the two ends of the waker.
    assert_eq!(open.len(), 6, "{open:?}");
}

#[tokio::test]
async fn a_child_ends_with_its_host() {
    let mut host = Program::new(env::current_exe().expect("a test knows its path"))
        .args(["--exact", "it::lifetime::be_a_host", "--nocapture"])
        .env(BE_A_HOST, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test program runs");
    let lines = BufReader::new(host.stdout.take().expect("piped")).lines();
    let child: u32 = lines
        .map_while(Result::ok)
        .find_map(|line| {
            line.split_once("child=")
                .and_then(|(_, process)| process.trim().parse().ok())
        })
        .expect("the host prints its child");
    assert!(lives(child));
    kill(host.id());
    host.wait().expect("the host was killed");
    eventually("the end of the child", || {
        if lives(child) { Err("lives") } else { Ok(()) }
    })
    .await;
}

/// Not a test by itself: the victim of [`a_child_ends_with_its_host`].
#[tokio::test]
async fn be_a_host() {
    if env::var_os(BE_A_HOST).is_none() {
        return;
    }
    // The child hangs, so it cannot notice by itself that its host is gone.
    let mut run = Run::bad(Isolation::Process, "hang in submit");
    run.up().await;
    run.submit(1, longshore_host::CommandKind::Remove);
    println!(
        "child={}",
        run.mapper.stats().process_id.expect("a process of its own")
    );
    std::future::pending::<()>().await;
}

#[test]
fn a_child_that_nobody_hosts_says_so() {
    let output = Program::new(env!("CARGO_BIN_EXE_longshore-mapper-host"))
        .args(["mapper-host", "modbus", "libmapper_modbus.so"])
        .stdin(Stdio::null())
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(64));
    assert!(
        String::from_utf8_lossy(&output.stderr).starts_with("mapper-host is started by the host")
    );
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_named() {
    let options = longshore_host::HostOptions {
        program: Some("/nonexistent/program".into()),
        ..options()
    };
    let run = Run::bad_with(Isolation::Process, json!({}), options);
    let state = run
        .state("Restarting", |state| {
            matches!(state, MapperState::Restarting { .. })
        })
        .await;
    let MapperState::Restarting { reason, .. } = state else {
        panic!("{state:?}")
    };
    assert!(
        reason.starts_with("failed to start `/nonexistent/program`: No such file"),
        "{reason}"
    );
}

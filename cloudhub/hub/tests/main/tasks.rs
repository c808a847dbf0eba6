//! No part of the hub dies unseen.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::harness::TestHub;

/// A second, where there is a processor for us.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_panics_ends_the_hub_or_stands_in_readyz() {
    let mut test = TestHub::start().await;
    assert_eq!(test.page("/readyz").await.0, 200);
    let mut tasks = test.hub.tasks();
    // Last, for they show what became of the others.
    tasks.sort_by_key(|task| task == "pages");
    assert_eq!(tasks.len(), 14, "{tasks:?}");
    for task in &tasks {
        test.hub.kill(task);
        let deadline = Instant::now() + SEEN_WITHIN;
        let address = test.hub.addresses().metrics;
        // Whole, as the name of one task may begin that of another.
        let fault = format!("the task `{task}` panicked: killed for a test");
        let in_readyz = async {
            loop {
                let page = longshore_process::http::get(address, "/readyz").await;
                if page.is_ok_and(|page| page.status == 503 && page.text().contains(&fault)) {
                    return;
                }
                assert!(
                    Instant::now() < deadline,
                    "nobody sees that `{task}` is gone"
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            lost = test.hub.lost() => {
                assert_eq!(lost.to_string(), fault);
            }
            () = in_readyz => assert_eq!(task, "certificate renewal", "the hub goes on"),
        }
    }
    test.hub.stop().await;
}

#[test]
fn a_configuration_that_is_wrong_ends_with_2_before_anything_begins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.yaml");
    std::fs::write(&file, "lnk: {}\nlog:\n  level: 'info,x=loud'\n").unwrap();
    for more in [&["--check-config"][..], &[]] {
        let output = Command::new(env!("CARGO_BIN_EXE_cloudhub"))
            .arg("--config")
            .arg(&file)
            .args(more)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        for fault in [
            "line 1: lnk: unknown key, did you mean `link`",
            "line 3: log.level: ",
        ] {
            assert!(text.contains(fault), "{text}");
        }
    }
    let absent = Command::new(env!("CARGO_BIN_EXE_cloudhub"))
        .args(["--config", "/no/such/file", "--check-config"])
        .output()
        .unwrap();
    assert_eq!(absent.status.code(), Some(2));
}

//! No part of a real program dies unseen: when a task panics, its name stands in
//! `/readyz`, or the program ends with exit code 1 and says which it was.

use longshore_harness::{prelude::*, process::Process};

/// How the loss of a task is told.
fn fault(task: &str) -> String {
    format!("the task `{task}` panicked: killed for a test")
}

async fn edge_with_all() -> Edge {
    let files = json!({
        "url": "wss://127.0.0.1:1",
        "caFile": "ca.crt", "certFile": "node.crt", "keyFile": "node.key",
    });
    edge().hub_section(files).killable().run().await
}

async fn ends_with(process: &mut Process, task: &str) {
    let seen = std::cell::RefCell::new(process);
    let status = eventually(&format!("the end after the loss of `{task}`"), || async {
        seen.borrow_mut().ended().ok_or("it runs".to_owned())
    })
    .await;
    let log = seen.borrow().log();
    assert_eq!(status.code(), Some(1), "{log}");
    let told = format!("error: {}", fault(task));
    assert!(log.contains(&told), "{log}");
}

async fn stands_in_readyz(task: &str, page: impl AsyncFn() -> Result<(u16, String), String>) {
    eventually(&format!("`{task}` to be missed"), || async {
        let (status, text) = page().await?;
        let told = status == 503 && text.contains(&fault(task));
        if told { Ok(()) } else { Err(text) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_loses_a_task_that_it_can_spare_goes_on_and_says_so() {
    let mut edge = edge_with_all().await;
    for task in ["manifests", "mqtt requests", "mqtt messages", "mqtt broker"] {
        edge.kill_task(task).await;
        stands_in_readyz(task, async || edge.get_text("/readyz").await).await;
    }
    assert!(edge.process().terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_loses_a_vital_task_ends() {
    for task in ["link", "mappers", "pages", "store", "twin engine"] {
        let mut edge = edge_with_all().await;
        edge.kill_task(task).await;
        ends_with(edge.process(), task).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_loses_the_task_that_it_can_spare_goes_on_and_says_so() {
    let task = "certificate renewal";
    let mut hub = hub().killable().run().await;
    hub.kill_task(task).await;
    stands_in_readyz(task, async || hub.get_text("/readyz").await).await;
    assert!(hub.process().terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_loses_a_vital_task_ends() {
    for task in [
        "API server",
        "controllers of the API server",
        "keeper of the logs",
        "link",
        "node writer",
        "pages",
        "status writer",
        "store",
        "watch of CustomResourceDefinition",
        "watch of Device",
        "watch of DeviceModel",
        "watch of DeviceStatus",
        "watch of Node",
    ] {
        let mut hub = hub().killable().run().await;
        hub.kill_task(task).await;
        ends_with(hub.process(), task).await;
    }
}

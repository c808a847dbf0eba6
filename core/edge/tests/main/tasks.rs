//! No part dies unseen.

use std::{path::Path, time::Duration};

use longshore_edge::{
    app::{App, RunningApp},
    config::Config,
};
use longshore_process::http;

/// It takes milliseconds; a busy machine may take longer.
const SEEN: Duration = Duration::from_secs(20);

/// Everything that an edge can have, with a hub that is away.
async fn app(folder: &Path) -> RunningApp {
    let text = "
node: edge-1
stateDir: state
mapperDir: .
manifests: .
bus: {listen: '127.0.0.1:0'}
metrics: {listen: '127.0.0.1:0'}
hub: {url: 'wss://127.0.0.1:1', caFile: ca.crt, certFile: node.crt, keyFile: node.key}
";
    let config = Config::parse(text, folder).unwrap();
    App::build(&config).await.unwrap().spawn(&config).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_task_is_killed_shows_in_readyz_or_ends_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let names = app(folder.path()).await.health().names();
    assert!(names.len() >= 8, "{names:?}");
    let mut ends = Vec::new();
    for name in &names {
        let folder = tempfile::tempdir().unwrap();
        let mut app = app(folder.path()).await;
        let metrics = app.metrics();
        app.kill(name);
        let fault = format!("the task `{name}` panicked: killed for a test");
        let shown = async {
            loop {
                let ready = http::get(metrics, "/readyz").await;
                if ready.is_ok_and(|page| page.status == 503 && page.text().contains(&fault)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let lost = tokio::select! {
            lost = app.lost() => Some(lost.to_string()),
            () = shown => None,
            () = tokio::time::sleep(SEEN) => panic!("nobody saw the end of `{name}`"),
        };
        if let Some(lost) = lost {
            assert_eq!(lost, fault);
            ends.push(name.as_str());
        }
        app.drain(SEEN).await;
        assert!(!folder.path().join("state/run.json").exists());
    }
    // Without these nobody is served, or nobody hears of it.
    ends.sort_unstable();
    assert_eq!(ends, ["link", "mappers", "pages", "store", "twin engine"]);
}

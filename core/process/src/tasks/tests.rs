use std::{io, sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};

use super::*;

const BUDGET: Duration = Duration::from_secs(4);

fn idle(tasks: &mut Tasks, name: &str, stage: Stage, loss: Loss) {
    tasks.add(name, stage, loss, |mut stop| async move {
        stop.asked().await;
    });
}

fn bug(text: &str) {
    panic!("{text}");
}

#[tokio::test]
async fn nothing_runs_before_all_is_built() {
    let (ran, mut seen) = watch::channel(false);
    let mut tasks = Tasks::new();
    tasks.add("a", Stage::Workers, Loss::IsFault, |mut stop| async move {
        ran.send_replace(true);
        stop.asked().await;
    });
    tokio::task::yield_now().await;
    assert!(!*seen.borrow());
    let running = tasks.spawn();
    seen.wait_for(|ran| *ran).await.unwrap();
    assert!(running.drain(BUDGET).await.is_empty());
}

#[tokio::test]
async fn each_kind_of_end_is_a_loss_by_name() {
    let mut tasks = Tasks::new();
    tasks.add("returns", Stage::Workers, Loss::IsFault, |_| async {});
    tasks.add("fails", Stage::Workers, Loss::IsFault, |_| async {
        Err(io::Error::other("disk full"))
    });
    tasks.add("panics", Stage::Engines, Loss::IsFault, |_| async {
        bug("index out of bounds")
    });
    idle(&mut tasks, "vital", Stage::Engines, Loss::EndsProcess);
    let mut running = tasks.spawn();
    let health = running.health();
    let faults = || {
        let mut faults = health.faults();
        faults.sort();
        faults
    };
    let all = [
        "the task `fails` failed: disk full",
        "the task `panics` panicked: index out of bounds",
        "the task `returns` ended by itself",
    ];
    tokio::select! {
        lost = running.lost() => panic!("{lost}"),
        () = async { while faults().len() < 3 { tokio::task::yield_now().await } } => {}
    }
    assert_eq!(faults(), all);
    running.kill("vital");
    let lost = running.lost().await;
    assert_eq!(
        lost.to_string(),
        "the task `vital` panicked: killed for a test"
    );
    assert!(running.drain(BUDGET).await.is_empty());
    assert_eq!(health.names(), ["returns", "fails", "panics", "vital"]);
}

#[tokio::test]
async fn the_drain_has_one_order_and_one_budget() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Tasks::new();
    for (name, stage) in [
        ("store", Stage::Stores),
        ("twin", Stage::Engines),
        ("bus", Stage::Links),
    ] {
        let order = order.clone();
        tasks.add(name, stage, Loss::IsFault, |mut stop| async move {
            stop.asked().await;
            order.lock().await.push(name);
        });
    }
    tasks.add("deaf", Stage::Workers, Loss::IsFault, |_| {
        std::future::pending::<()>()
    });
    tasks.add("watcher", Stage::Workers, Loss::IsFault, |stop| {
        stop.cut(std::future::pending::<()>())
    });
    let running = tasks.spawn();
    let health = running.health();
    let begun = Instant::now();
    assert_eq!(running.drain(Duration::from_secs(1)).await, ["deaf"]);
    // Half of the budget and no more, but a busy machine may be late.
    assert!(begun.elapsed() >= Duration::from_millis(450));
    assert!(begun.elapsed() < BUDGET);
    assert_eq!(*order.lock().await, ["twin", "bus", "store"]);
    assert!(health.faults().is_empty());
}

#[tokio::test]
async fn a_task_that_panics_at_the_end_is_seen_too() {
    let mut tasks = Tasks::new();
    tasks.add(
        "twin",
        Stage::Engines,
        Loss::EndsProcess,
        |mut stop| async move {
            stop.asked().await;
            bug("not saved");
        },
    );
    let running = tasks.spawn();
    let health = running.health();
    assert!(running.drain(BUDGET).await.is_empty());
    assert_eq!(health.faults(), ["the task `twin` panicked: not saved"]);
}

#[tokio::test]
async fn a_group_has_a_bound_and_outlives_its_children() {
    let mut group = Group::new("connection", 2);
    assert!(group.spawn(async { bug("bad frame") }));
    assert!(group.spawn(std::future::pending()));
    assert!(group.is_full());
    group.reap().await;
    assert_eq!(group.len(), 1);
    assert!(group.spawn(std::future::pending()));
    assert!(!group.spawn(async {}));
}

#[tokio::test]
async fn helpers_belong_to_who_holds_them() {
    assert_eq!(Owned::spawn("sum", async { 1 + 1 }).await, Ok(2));
    let lost = Owned::spawn("writer", async { bug("closed") }).await;
    assert_eq!(
        lost.unwrap_err().to_string(),
        "the task `writer` panicked: closed"
    );
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    drop(Owned::spawn("held", async {
        let _sender = sender;
        std::future::pending::<()>().await;
    }));
    assert!(receiver.await.is_err(), "it went with its owner");
    let lost = blocking("folder", || -> u8 { panic!("gone") }).await;
    assert!(lost.unwrap_err().to_string().ends_with("panicked: gone"));
}

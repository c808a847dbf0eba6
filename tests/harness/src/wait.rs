//! Waiting for a condition.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// How long a condition may take. Generous, since it is only reached when
/// something is broken.
pub const PATIENCE: Duration = Duration::from_secs(40);

const PAUSE: Duration = Duration::from_millis(10);

/// Waits until `look` gives `Ok`; panics with what it saw last.
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => {
                panic!("waited in vain for {what}; last seen: {seen}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Waits until what is counted has come to `goal`. Patience begins anew with each
/// step, so that much work takes as long as it takes and a stop is seen all the same.
pub async fn counted<F>(what: &str, goal: u64, mut count: impl FnMut() -> F)
where
    F: Future<Output = Result<u64, String>>,
{
    let (mut before, mut deadline) = (Ok(0), Instant::now() + PATIENCE);
    loop {
        let now = count().await;
        if now.as_ref().is_ok_and(|count| *count >= goal) {
            return;
        }
        if now.is_ok() && now != before {
            (before, deadline) = (now.clone(), Instant::now() + PATIENCE);
        }
        assert!(
            Instant::now() <= deadline,
            "waited in vain for {what}, {goal} of them; last seen: {now:?}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

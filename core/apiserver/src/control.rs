//! The server's own controllers: garbage collection, namespaces, definitions,
//! old events.
//!
//! One task compares what is with what should be. What woke it does not matter:
//! it is woken by changes of ownership, by deletions that are held, and by a
//! timer in case a step failed.

mod collect;
mod contents;
mod expire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::rest::Api;

/// A step that failed is tried again after this.
const INTERVAL: Duration = Duration::from_secs(30);

/// Old events are looked for this often.
const EXPIRY: Duration = Duration::from_secs(300);

/// Bursts of deletions are handled together.
const BURST: Duration = Duration::from_millis(20);

/// Runs until the server stops.
pub(crate) async fn run(api: Arc<Api>) {
    let mut ownership = api.store.ownership();
    collect::recover(&api).await;
    let mut next_expiry = Instant::now();
    loop {
        ownership.mark_unchanged();
        api.store.tidy();
        let sweep = async {
            contents::namespaces(&api).await?;
            contents::definitions(&api).await?;
            collect::foreground(&api).await?;
            collect::dangling(&api).await?;
            if Instant::now() >= next_expiry {
                expire::events(&api).await?;
                next_expiry = Instant::now() + EXPIRY;
            }
            Ok(())
        };
        let result: Result<(), crate::rest::status::ApiError> = sweep.await;
        if let Err(error) = result
            && !api.stopping.is_cancelled()
        {
            tracing::warn!(error = %error.status()["message"], "a sweep of the API server failed, it is tried again");
        }
        tokio::select! {
            () = api.stopping.cancelled() => return,
            changed = ownership.changed() => if changed.is_err() { return },
            () = api.wake.notified() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
        tokio::time::sleep(BURST).await;
    }
}

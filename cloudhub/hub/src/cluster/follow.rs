//! What all watches have in common: they go on for ever, and a failure is told once.

use futures::{Stream, StreamExt};
use kube::runtime::{
    WatchStreamExt,
    watcher::{self, Event},
};
use longshore_process::chain;
use tracing::{debug, warn};

use crate::metrics::Metrics;

/// Gives what a watch sees to `take`, for ever.
pub(super) async fn follow<K>(
    kind: &'static str,
    stream: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    metrics: &Metrics,
    mut take: impl FnMut(Event<K>),
) {
    let mut stream = Box::pin(stream.default_backoff());
    let mut healthy = true;
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                if !std::mem::replace(&mut healthy, true) {
                    debug!(kind, "watch works again");
                }
                take(event);
            }
            Err(error) => {
                metrics.watch_errors.increment();
                // The library backs off and starts again.
                if std::mem::replace(&mut healthy, false) {
                    let error = chain(&error);
                    warn!(kind, error, "watch failed, trying again");
                }
            }
        }
    }
}

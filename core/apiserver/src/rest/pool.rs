//! Where bodies are decoded, objects checked and patched: off the runtime's threads.
//!
//! What a request costs grows with its size, and a large one takes a tenth of a second.
//! On the threads of the runtime a few of them would hold up everybody, the stop too.
//! So small work is done where it is, all other on threads of its own, so many at one
//! time, and neither who asked nor a stop waits for it longer than it may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use longshore_process::tasks::blocking;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::status::ApiError;

/// Bytes of work that is done at once: less than a thread costs.
const SMALL: usize = 32 * 1024;

/// Requests that wait for a thread.
const WAITING: usize = 256;

/// A request that is not done by then is answered without its work.
const TIME: Duration = Duration::from_secs(30);

/// The threads for large work. Clones share them.
#[derive(Clone)]
pub(crate) struct Pool {
    threads: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    stopping: CancellationToken,
}

/// One that waits, as long as it does.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    /// Ends with `stopping`: whoever waits then is refused.
    pub(crate) fn new(stopping: CancellationToken) -> Pool {
        let threads = available_parallelism().map_or(2, |n| n.get().clamp(2, 8));
        Pool {
            threads: Arc::new(Semaphore::new(threads)),
            waiting: Arc::default(),
            stopping,
        }
    }

    /// Does work on so many bytes.
    ///
    /// # Errors
    /// Too many wait, it took too long, it panicked, or the server stops.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        if bytes <= SMALL {
            return Ok(work());
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(ApiError::too_many_requests());
        }
        let waiting = Waiting(Arc::clone(&self.waiting));
        let done = async {
            let threads = Arc::clone(&self.threads);
            let permit = threads.acquire_owned().await;
            let permit = permit.map_err(|_| ApiError::unavailable())?;
            drop(waiting);
            // Also when nobody waits for it any more, its thread is taken.
            let done = blocking("work on a request", move || {
                let done = work();
                drop(permit);
                done
            });
            let lost = |_| ApiError::internal("the work on the request failed");
            done.await.map_err(lost)
        };
        tokio::select! {
            done = tokio::time::timeout(TIME, done) => done.unwrap_or_else(|_| Err(ApiError::too_long())),
            () = self.stopping.cancelled() => Err(ApiError::unavailable()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_stop_waits_for_no_work() {
        let stopping = CancellationToken::new();
        let pool = Pool::new(stopping.clone());
        let (release, released) = mpsc::sync_channel::<()>(1);
        let (started, has_started) = tokio::sync::oneshot::channel();
        let running = pool.run(usize::MAX, move || {
            let _ = started.send(());
            let _ = released.recv();
        });
        let stop = async {
            has_started.await.expect("the work begins");
            stopping.cancel();
        };
        let (refused, ()) = tokio::join!(running, stop);
        assert_eq!(refused.expect_err("is stopped").code(), 503);
        assert_eq!(pool.run(1, || 7).await.expect("small work is done"), 7);
        drop(release);
    }

    #[tokio::test]
    async fn a_panic_costs_its_request() {
        let pool = Pool::new(CancellationToken::new());
        let lost = pool.run(usize::MAX, || panic!("a bug of ours")).await;
        assert_eq!(lost.map(|()| 0).expect_err("is told").code(), 500);
        assert_eq!(pool.run(usize::MAX, || 7).await.expect("goes on"), 7);
    }
}

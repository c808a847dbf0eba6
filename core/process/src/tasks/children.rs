//! What a task starts itself, and answers for.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::{End, Lost, panic_text};

/// Children that come and go, such as connections, at most so many at a time.
///
/// A child that panics costs itself; the log names the group. Whoever owns the
/// group polls [`Group::reap`] beside its other work. Dropping the group cuts all
/// children off.
///
/// ```
/// # async fn serve(listener: tokio::net::TcpListener, mut stop: longshore_process::Stop) {
/// let mut connections = longshore_process::Group::new("connection", 16);
/// loop {
///     tokio::select! {
///         () = stop.asked() => break,
///         () = connections.reap() => {}
///         accepted = listener.accept(), if !connections.is_full() => {
///             connections.spawn(async move { drop(accepted) });
///         }
///     }
/// }
/// connections.finish().await;
/// # }
/// ```
#[derive(Debug)]
pub struct Group {
    name: &'static str,
    bound: usize,
    set: JoinSet<()>,
}

impl Group {
    /// None yet; `name` is what one of them is.
    pub fn new(name: &'static str, bound: usize) -> Self {
        Self {
            name,
            bound,
            set: JoinSet::new(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Whether no other has room.
    pub fn is_full(&self) -> bool {
        self.len() >= self.bound
    }

    /// Starts a child; false, and nothing is started, when the group is full.
    pub fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) -> bool {
        while let Some(ended) = self.set.try_join_next() {
            self.note(ended);
        }
        let room = !self.is_full();
        if room {
            self.set.spawn(work);
        }
        room
    }

    /// Waits for the end of a child; for ever while there is none.
    pub async fn reap(&mut self) {
        match self.set.join_next().await {
            Some(ended) => self.note(ended),
            None => std::future::pending().await,
        }
    }

    /// Waits for the end of all.
    pub async fn finish(mut self) {
        while let Some(ended) = self.set.join_next().await {
            self.note(ended);
        }
    }

    fn note(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            let why = panic_text(&*error.into_panic());
            tracing::error!(child = self.name, why, "a child panicked");
        }
    }
}

/// One helper of a task: gives what it returns or how it was lost, and ends with
/// whoever holds it.
#[derive(Debug)]
pub struct Owned<T> {
    name: &'static str,
    handle: JoinHandle<T>,
}

impl<T: Send + 'static> Owned<T> {
    /// Starts it; needs a runtime.
    pub fn spawn(name: &'static str, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            name,
            handle: tokio::spawn(work),
        }
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

impl<T> Future for Owned<T> {
    type Output = Result<T, Lost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let name = self.name;
        let ended = Pin::new(&mut self.handle).poll(context);
        ended.map(|ended| ended.map_err(|error| lost(name, error)))
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Runs what blocks, such as reading a folder, on a thread for such things.
///
/// # Errors
/// It panicked.
pub async fn blocking<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Lost> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| lost(name, error))
}

fn lost(name: &str, error: JoinError) -> Lost {
    let end = match error.try_into_panic() {
        Ok(payload) => End::Panicked(panic_text(&*payload)),
        // The runtime goes down.
        Err(_) => End::Returned,
    };
    let lost = Lost {
        task: name.to_owned(),
        end,
    };
    tracing::error!(task = name, end = %lost.end, "a helper is lost");
    lost
}

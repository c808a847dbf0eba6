//! What a driver of a session waits for beside its line.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, pending},
    pin::Pin,
    time::Instant,
};

/// Work that takes time: one piece after the other, in the order in which it came.
///
/// A session asks its store for one thing while another is under way, and must get
/// the answers in order. The next piece does not begin before the former is done.
pub struct Turns<T> {
    work: VecDeque<Pin<Box<dyn Future<Output = T> + Send>>>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            work: VecDeque::new(),
        }
    }
}

impl<T> fmt::Debug for Turns<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Turns").field(&self.work.len()).finish()
    }
}

impl<T> Turns<T> {
    /// Puts a piece behind the others.
    pub fn push(&mut self, work: impl Future<Output = T> + Send + 'static) {
        self.work.push_back(Box::pin(work));
    }

    /// Waits for the outcome of the first piece; for ever while there is none.
    /// Nothing is lost if it is dropped before it is done.
    pub async fn next(&mut self) -> T {
        let Some(first) = self.work.front_mut() else {
            return pending().await;
        };
        let outcome = first.await;
        self.work.pop_front();
        outcome
    }
}

/// Waits until then; for ever if there is no such time.
pub async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn a_piece_waits_for_the_one_before_it() {
        let (first, first_done) = oneshot::channel();
        let (began, mut second_began) = oneshot::channel();
        let mut turns = Turns::default();
        assert_eq!(turns.next().now_or_never(), None);
        turns.push(async move { first_done.await.unwrap_or(0) });
        turns.push(async move {
            let _ = began.send(());
            2
        });
        assert_eq!(turns.next().now_or_never(), None);
        assert!(second_began.try_recv().is_err(), "it has not begun");
        first.send(1).unwrap();
        assert_eq!(turns.next().now_or_never(), Some(1));
        assert_eq!(turns.next().now_or_never(), Some(2));
        assert_eq!(turns.next().now_or_never(), None);
    }
}

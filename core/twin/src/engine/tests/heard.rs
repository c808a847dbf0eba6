//! What the engine logs, for a test to look at.
//!
//! One subscriber for all threads, set once, and each thread hears its own lines. A
//! place in the code asks who listens when it is reached for the first time; while
//! tracing knows of only one subscriber it asks that of the thread, so that with a
//! subscriber for one thread alone, a place that another test reached before would be
//! silent for good.

use std::{cell::RefCell, io, sync::Once};

thread_local! {
    static HEARD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Ear;

impl io::Write for Ear {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        HEARD.with_borrow_mut(|heard| heard.extend_from_slice(bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From here on this thread's lines are kept.
pub(super) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(|| Ear)
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("nobody else listens");
    });
    // Of places that were reached before.
    tracing::callsite::rebuild_interest_cache();
    HEARD.with_borrow_mut(Vec::clear);
}

/// The lines of this thread.
pub(super) fn lines() -> Vec<String> {
    HEARD.with_borrow(|heard| {
        let text = String::from_utf8_lossy(heard);
        text.lines().map(str::to_owned).collect()
    })
}

//! The runtime of a small process.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Threads for the few calls that block, such as reading a folder.
const BLOCKING_THREADS: usize = 4;

/// One thread for everything that waits.
///
/// # Errors
/// The system gives no more file descriptors.
pub fn small() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
}

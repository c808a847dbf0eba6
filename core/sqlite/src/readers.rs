//! Connections that only read, beside the writer.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use crate::{Database, Error, Schema};

/// Page cache of a reader.
const CACHE_KIB: i64 = 1024;
/// A reader waits for the moment in which the log begins anew.
const PATIENCE: Duration = Duration::from_secs(10);

/// A few connections, opened when first needed. Each read holds a thread and a
/// page cache. Clones share them.
#[derive(Debug, Clone)]
pub struct Readers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: Arc<Path>,
    schema: &'static Schema,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Database {
    /// Connections that read beside the writer; needs
    /// [`Settings::readers`](crate::Settings::readers).
    pub fn readers(&self, count: usize) -> Readers {
        Readers::new(Arc::clone(&self.path), self.schema, count)
    }
}

impl Readers {
    fn new(path: Arc<Path>, schema: &'static Schema, count: usize) -> Self {
        Self(Arc::new(Shared {
            path,
            schema,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(count)),
        }))
    }

    /// Runs `read` in one transaction, so that all it sees is of one state, on a
    /// thread that may block.
    ///
    /// # Errors
    ///
    /// What SQLite said, or the database is closed.
    pub async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permits = Arc::clone(&self.0.permits);
        let permit = permits.acquire_owned().await.map_err(|_| Error::Closed)?;
        let shared = Arc::clone(&self.0);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let explain = |error| Error::explain(&shared.path, shared.schema, error);
            let idle = shared.idle().pop();
            let mut connection = idle.map_or_else(|| shared.open(), Ok).map_err(explain)?;
            let result = connection
                .transaction()
                .and_then(|transaction| read(&transaction));
            shared.idle().push(connection);
            result.map_err(explain)
        });
        task.await.unwrap_or_else(|error| {
            // Otherwise the runtime goes down.
            Err(if error.is_panic() {
                let path = self.0.path.to_path_buf();
                tracing::error!(path = %path.display(), "a read of a database panicked");
                Error::Panicked { path }
            } else {
                Error::Closed
            })
        })
    }

    /// Refuses reads from now on and closes the connections that are idle.
    pub fn close(&self) {
        self.0.permits.close();
        self.0.idle().clear();
    }
}

impl Shared {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<Connection, rusqlite::Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        Ok(connection)
    }
}

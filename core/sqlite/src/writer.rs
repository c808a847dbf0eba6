//! The thread that owns the connection.
//!
//! It takes whatever waits in the queue as one group: one transaction, one
//! savepoint for each job (a job that fails takes nothing with it), one commit,
//! then the signals and the answers. When the commit itself fails, every job of
//! the group fails and nothing of it is applied. Where a commit is dear, as on
//! flash, the first job may wait a while for others ([`Database::commit_every`]).

use std::{
    fmt,
    ops::Deref,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    thread::JoinHandle,
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{Database, Error};

/// Enough for SQLite and for what jobs do; the default would be four times it.
const STACK: usize = 512 * 1024;

/// Times as long as it has to be for a fold, the log may be while there is no quiet.
const LONG: u32 = 4;

/// What waits for the writer's answer.
pub type Answer<T> = oneshot::Receiver<Result<T, Error>>;

/// Whether the file can be written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Why it cannot; `None` while all is well.
    pub fault: Option<WriteFault>,
    /// Failed operations since start.
    pub errors: u64,
}

/// Why the file cannot be written, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteFault {
    /// The error and its cause, in one line.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl From<&Error> for WriteFault {
    fn from(error: &Error) -> Self {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        Self {
            reason: format!("{error}{}", cause.unwrap_or_default()),
            hint: error.hint(),
        }
    }
}

/// A line with all of it.
impl fmt::Display for WriteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hint {
            Some(hint) => write!(f, "{}; {hint}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// A job at work: the connection, inside of the job's savepoint, and the state
/// that goes with the file.
///
/// A job that refuses what it was asked for says so in its answer
/// (`Ok(Err(why))`) before it has written anything; `Err` is for what SQLite
/// said, and undoes the job.
pub struct Job<'a, S> {
    /// Kept in step with the file: what a job that fails did to it is undone.
    pub state: &'a mut S,
    connection: &'a Connection,
    hooks: &'a mut Vec<Hook>,
}

impl<S> Job<'_, S> {
    /// Does something once the job is on the disk, before it is answered. Never
    /// done for a job that fails. It must not block.
    pub fn after_commit(&mut self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }
}

impl<S> Deref for Job<'_, S> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

type Hook = Box<dyn FnOnce() + Send>;
/// An answer that waits for the commit: told how the commit went.
type Pending = Box<dyn FnOnce(&Result<(), Error>) + Send>;
type Work<S> = Box<dyn FnOnce(&mut Group<S>) -> Pending + Send>;

enum Order<S> {
    Work(Work<S>),
    /// Nothing is taken any more; what waits is done.
    Close,
}

/// The writer, for those who have jobs for it. Cheap to clone; the thread ends
/// when it is closed or the last clone is dropped.
pub struct Writer<S> {
    orders: mpsc::Sender<Order<S>>,
    health: watch::Receiver<Health>,
    path: Arc<Path>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Database {
    /// Starts the writer, on a thread of its own. `state` is what it keeps in
    /// step with the file.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub fn start<S: Clone + Send + 'static>(
        self,
        thread: &str,
        state: S,
    ) -> Result<Writer<S>, Error> {
        Writer::start(self, thread, state)
    }
}

impl<S: Clone + Send + 'static> Writer<S> {
    fn start(database: Database, name: &str, state: S) -> Result<Self, Error> {
        let (orders, queue) = mpsc::channel(database.settings.queue);
        let (told, health) = watch::channel(Health::default());
        let path = Arc::clone(&database.path);
        let group = Group {
            database,
            state,
            health: Health::default(),
            told: Told(told),
            hooks: Vec::new(),
            full: false,
            lost: None,
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(move || group.run(queue))
            .map_err(|source| Error::Thread {
                path: path.to_path_buf(),
                source: Arc::new(source),
            })?;
        Ok(Self {
            orders,
            health,
            path,
            thread: Arc::new(Mutex::new(Some(thread))),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file can be written.
    pub fn health(&self) -> Health {
        self.health.borrow().clone()
    }

    /// Does a job. When this returns `Ok`, it is on the disk.
    ///
    /// # Errors
    ///
    /// The job failed, or the commit of its group did; nothing of it is applied.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Job<'_, S>) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (order, answer) = order(work);
        self.orders.send(order).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Waits for the end of the thread, asked for or not.
    pub async fn ended(&self) {
        self.orders.closed().await;
    }

    /// Does a job without waiting for room in the queue; the answer comes later.
    ///
    /// # Errors
    ///
    /// The queue is full, or the database is closed.
    pub fn try_run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Job<'_, S>) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<Answer<T>, Error> {
        let (order, answer) = order(work);
        match self.orders.try_send(order) {
            Ok(()) => Ok(answer),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Error::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Error::Closed),
        }
    }

    /// Waits until all that was asked before is on the disk.
    ///
    /// # Errors
    ///
    /// The commit failed, or the database is closed.
    pub async fn flush(&self) -> Result<(), Error> {
        self.run(|_| Ok(())).await
    }

    /// Does what waits, and closes the file. Whoever asks afterwards hears
    /// [`Error::Closed`]. When this returns, another process may have the file.
    pub async fn close(&self) {
        // The queue is closed already: somebody else closed it, or is about to.
        let _ = self.orders.send(Order::Close).await;
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A panic of the thread has been told, and stands in the health.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl<S> Clone for Writer<S> {
    fn clone(&self) -> Self {
        Self {
            orders: self.orders.clone(),
            health: self.health.clone(),
            path: Arc::clone(&self.path),
            thread: Arc::clone(&self.thread),
        }
    }
}

impl<S> fmt::Debug for Writer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn order<S: Clone + 'static, T: Send + 'static>(
    work: impl FnOnce(&mut Job<'_, S>) -> Result<T, rusqlite::Error> + Send + 'static,
) -> (Order<S>, Answer<T>) {
    let (reply, answer) = oneshot::channel();
    let work: Work<S> = Box::new(move |group| {
        let outcome = group.attempt(work);
        Box::new(move |end| {
            let outcome = outcome.and_then(|value| end.clone().map(|()| value));
            // The caller may have given up; then nobody wants the answer.
            let _ = reply.send(outcome);
        })
    });
    (Order::Work(work), answer)
}

/// The writer's end of the health. It tells also when its thread is gone.
struct Told(watch::Sender<Health>);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.send_modify(|health| {
                health.errors += 1;
                health.fault = Some(WriteFault {
                    reason: "the writer of the database panicked".to_owned(),
                    hint: Some("this is a bug; the log has what it says".to_owned()),
                });
            });
        }
    }
}

struct Group<S> {
    database: Database,
    state: S,
    health: Health,
    told: Told,
    /// Of the jobs of the present group that went well.
    hooks: Vec<Hook>,
    /// A job of the present group found the disk full.
    full: bool,
    /// Why nothing of the present group can be applied.
    lost: Option<Error>,
}

impl<S: Clone> Group<S> {
    /// Works until it is closed or the last handle is gone.
    fn run(mut self, mut queue: mpsc::Receiver<Order<S>>) {
        let most = self.database.settings.queue;
        let mut works = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            if !self.database.commit_interval.is_zero() && matches!(first, Order::Work(_)) {
                std::thread::sleep(self.database.commit_interval);
            }
            let mut next = Some(first);
            while let Some(order) = next {
                match order {
                    Order::Work(work) => works.push(work),
                    Order::Close => queue.close(),
                }
                next = (works.len() < most)
                    .then(|| queue.try_recv().ok())
                    .flatten();
            }
            if !works.is_empty() {
                self.commit(works.drain(..));
                self.fold(queue.is_empty());
            }
        }
        if let Err(error) = self.sql("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::debug!(%error, "the last checkpoint of a database failed");
        }
    }

    fn commit(&mut self, works: impl Iterator<Item = Work<S>>) {
        let former = self.state.clone();
        self.lost = self.sql("BEGIN IMMEDIATE").err();
        let pending: Vec<_> = works.map(|work| work(self)).collect();
        let mut end = self.lost.take().map_or(Ok(()), Err);
        if end.is_ok() {
            end = self.sql("COMMIT");
        }
        let hooks = std::mem::take(&mut self.hooks);
        match &end {
            Ok(()) => hooks.into_iter().for_each(|hook| hook()),
            Err(_) => {
                self.roll_back();
                self.state = former;
            }
        }
        self.note(&end);
        for answer in pending {
            answer(&end);
        }
    }

    /// Folds the log into the file when it is long: behind the answers, as none of them
    /// waits for it, and while nobody waits for the next ones, as long as that comes.
    fn fold(&self, quiet: bool) {
        let pages = self.database.log.load(Ordering::Relaxed);
        let due = self.database.settings.checkpoint_pages;
        let due = if quiet { due } else { due.saturating_mul(LONG) };
        if pages >= due
            && let Err(error) = self.sql("PRAGMA wal_checkpoint(PASSIVE)")
        {
            tracing::debug!(%error, "the log of a database could not be folded into it, it is tried again");
        }
    }

    /// Runs one job in its savepoint.
    fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut Job<'_, S>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, Error> {
        if let Some(error) = &self.lost {
            return Err(error.clone());
        }
        let (former, hooks) = (self.state.clone(), self.hooks.len());
        let connection = &self.database.connection;
        let mut job = Job {
            state: &mut self.state,
            connection,
            hooks: &mut self.hooks,
        };
        let outcome = connection
            .execute_batch("SAVEPOINT job")
            .and_then(|()| work(&mut job))
            .and_then(|value| connection.execute_batch("RELEASE job").map(|()| value));
        outcome.map_err(|error| {
            let error = self.explain(error);
            self.state = former;
            self.hooks.truncate(hooks);
            let undone = self.sql("ROLLBACK TO job; RELEASE job");
            // A full disk and the like may roll back the whole transaction.
            // Then the group is lost; the next job must not run outside of one.
            if undone.is_err() || self.database.connection.is_autocommit() {
                self.lost = Some(error.clone());
            }
            self.health.errors += 1;
            if matches!(error, Error::Full { .. }) {
                self.health.fault = Some(WriteFault::from(&error));
                self.full = true;
            }
            error
        })
    }

    fn sql(&self, sql: &str) -> Result<(), Error> {
        let done = self.database.connection.execute_batch(sql);
        done.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: rusqlite::Error) -> Error {
        Error::explain(&self.database.path, self.database.schema, error)
    }

    fn roll_back(&self) {
        if !self.database.connection.is_autocommit()
            && let Err(error) = self.sql("ROLLBACK")
        {
            tracing::error!(%error, "a database could not roll back");
        }
    }

    fn note(&mut self, end: &Result<(), Error>) {
        match end {
            Err(error) => {
                self.health.errors += 1;
                self.health.fault = Some(WriteFault::from(error));
            }
            // An empty commit proves nothing, so a page is written.
            Ok(()) if self.health.fault.is_some() && !self.full && self.probe().is_ok() => {
                self.health.fault = None;
            }
            Ok(()) => {}
        }
        self.full = false;
        let path = self.database.path.display();
        let told = self.told.0.borrow().clone();
        match (&told.fault, &self.health.fault) {
            (None, Some(WriteFault { reason, hint })) => {
                tracing::error!(%path, reason, hint, "the database cannot be written; nothing is acknowledged");
            }
            (Some(_), None) => tracing::info!(%path, "the database can be written again"),
            _ => {}
        }
        if told != self.health {
            self.told.0.send_replace(self.health.clone());
        }
    }

    fn probe(&self) -> Result<(), Error> {
        self.sql(&format!(
            "PRAGMA user_version = {}",
            self.database.schema.version()
        ))
    }
}

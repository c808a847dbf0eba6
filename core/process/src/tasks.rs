//! Named tasks that do not die unseen.
//!
//! [`Tasks`] collects while a process is built; [`Tasks::spawn`] starts all of it
//! at once, and [`Running`] is what `main` waits for. What a task starts itself
//! belongs to the task: a [`Group`] for what comes and goes (connections), an
//! [`Owned`] for one helper.

mod children;
#[cfg(debug_assertions)]
mod kill;
mod stop;

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::Instant,
};

pub use self::{
    children::{Group, Owned, blocking},
    stop::{Asker, Stop},
};
use crate::Explain;

/// What a task belongs to, in the order in which they are asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// What holds values that must be saved; it uses all the others for that.
    Engines,
    /// What the engines give work to: mappers, watchers, controllers.
    Workers,
    /// What carries values out: the bus, the link and its sessions.
    Links,
    /// Health and metrics: they tell until nearly the end.
    Pages,
    /// What everything else is kept in.
    Stores,
}

impl Stage {
    const ALL: [Self; 5] = [
        Self::Engines,
        Self::Workers,
        Self::Links,
        Self::Pages,
        Self::Stores,
    ];
}

/// What it means when a task ends that was not asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The process is of no use without it: it ends, and whoever supervises it
    /// starts it again.
    EndsProcess,
    /// The rest goes on; the loss stands in [`Health::faults`] until the end.
    IsFault,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It returned.
    Returned,
    /// It returned an error.
    Failed(String),
    /// It panicked, which is always a fault of ours.
    Panicked(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned => f.write_str("ended by itself"),
            Self::Failed(why) => write!(f, "failed: {why}"),
            Self::Panicked(why) => write!(f, "panicked: {why}"),
        }
    }
}

/// A task ended that should not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the task `{task}` {end}")]
pub struct Lost {
    /// Its name.
    pub task: String,
    /// How it ended.
    pub end: End,
}

impl Explain for Lost {}

/// What a task may return: nothing, or why it failed.
pub trait Outcome {
    /// How that counts.
    fn end(self) -> End;
}

impl Outcome for () {
    fn end(self) -> End {
        End::Returned
    }
}

impl<E: std::error::Error> Outcome for Result<(), E> {
    fn end(self) -> End {
        match self {
            Ok(()) => End::Returned,
            Err(error) => End::Failed(crate::chain(&error)),
        }
    }
}

type Work = std::pin::Pin<Box<dyn Future<Output = End> + Send>>;

/// Tasks that wait to be started.
#[derive(Default)]
pub struct Tasks {
    asker: Asker,
    health: Health,
    waiting: Vec<(Entry, Work)>,
}

#[derive(Debug, Clone)]
struct Entry {
    name: String,
    stage: Stage,
    loss: Loss,
}

impl Tasks {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a task. `work` gets what tells it to end; a task that may be cut off
    /// at any point says so with [`Stop::cut`]. The name is what people see: lower
    /// case, and unlike the others.
    pub fn add<F>(
        &mut self,
        name: impl Into<String>,
        stage: Stage,
        loss: Loss,
        work: impl FnOnce(Stop) -> F,
    ) where
        F: Future<Output: Outcome> + Send + 'static,
    {
        let work = work(self.asker.stop(stage));
        let entry = Entry {
            name: name.into(),
            stage,
            loss,
        };
        self.health.board().names.push(entry.name.clone());
        self.waiting
            .push((entry, Box::pin(async { work.await.end() })));
    }

    /// What will be lost, for `/readyz`; it is kept up to date by
    /// [`Running::lost`] and [`Running::drain`].
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Starts all of them; needs a runtime.
    pub fn spawn(self) -> Running {
        let (kill, killed) = watch::channel(String::new());
        #[cfg(debug_assertions)]
        kill::listen(&kill);
        let mut set = JoinSet::new();
        let tasks = self.waiting.into_iter().map(|(entry, work)| {
            let (name, mut killed) = (entry.name.clone(), killed.clone());
            let handle = set.spawn(async move {
                tokio::select! {
                    biased;
                    Ok(_) = killed.wait_for(|killed| *killed == name) => panic!("killed for a test"),
                    end = work => end,
                }
            });
            Live { entry, handle }
        });
        let tasks = tasks.collect();
        Running {
            asker: self.asker,
            health: self.health,
            tasks,
            set,
            kill,
        }
    }
}

struct Live {
    entry: Entry,
    handle: AbortHandle,
}

/// Tasks that run. Dropping it cuts all of them off.
pub struct Running {
    asker: Asker,
    health: Health,
    tasks: Vec<Live>,
    set: JoinSet<End>,
    kill: watch::Sender<String>,
}

impl Running {
    /// The same as [`Tasks::health`].
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Watches over the tasks; ends with the first whose loss ends the process.
    /// Nothing is lost when this future is dropped and asked for again.
    pub async fn lost(&mut self) -> Lost {
        loop {
            let Some(ended) = self.set.join_next_with_id().await else {
                // Everything ended, and nothing of it was worth an end.
                return std::future::pending().await;
            };
            if let Some((lost, Loss::EndsProcess)) = self.note(ended) {
                return lost;
            }
        }
    }

    /// Asks the tasks to end, stage by stage, within `budget` in all; gives the
    /// names of those that did not and were cut off. A stage may take half of
    /// what is left, so that one that hangs leaves time for those behind it.
    pub async fn drain(mut self, budget: Duration) -> Vec<String> {
        let end = Instant::now() + budget;
        let mut late = Vec::new();
        for stage in Stage::ALL {
            self.asker.ask(stage);
            let left = end.saturating_duration_since(Instant::now());
            let last = self.tasks.iter().all(|task| task.entry.stage <= stage);
            let by = Instant::now() + if last { left } else { left / 2 };
            while self.tasks.iter().any(|task| task.entry.stage == stage) {
                match tokio::time::timeout_at(by, self.set.join_next_with_id()).await {
                    Ok(Some(ended)) => {
                        self.note(ended);
                    }
                    Ok(None) => break,
                    Err(_) => {
                        let slow = self.tasks.extract_if(.., |task| task.entry.stage == stage);
                        for Live { entry, handle } in slow {
                            tracing::warn!(task = entry.name, "did not end in time");
                            handle.abort();
                            late.push(entry.name);
                        }
                    }
                }
            }
        }
        crate::logs::finish();
        late
    }

    /// Makes a task panic, so that a test can see what is left without it.
    pub fn kill(&self, task: &str) {
        self.kill.send_replace(task.to_owned());
    }

    /// The loss, if the end of this task was one.
    fn note(&mut self, ended: Result<(Id, End), JoinError>) -> Option<(Lost, Loss)> {
        let (id, end) = match ended {
            Ok((id, end)) => (id, end),
            Err(error) if error.is_panic() => {
                (error.id(), End::Panicked(panic_text(&*error.into_panic())))
            }
            // Cut off by us.
            Err(_) => return None,
        };
        let index = self.tasks.iter().position(|task| task.handle.id() == id)?;
        let Live { entry, .. } = self.tasks.swap_remove(index);
        // At the end a task may run out of work before its turn comes.
        if end == End::Returned && self.asker.has_asked() {
            return None;
        }
        let lost = Lost {
            task: entry.name,
            end,
        };
        tracing::error!(task = lost.task, end = %lost.end, "a task is lost");
        self.health.board().lost.push(lost.clone());
        Some((lost, entry.loss))
    }
}

/// Which tasks there are, and which are lost.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    names: Vec<String>,
    lost: Vec<Lost>,
}

impl Health {
    /// All tasks, also those that are lost.
    pub fn names(&self) -> Vec<String> {
        self.board().names.clone()
    }

    /// What is lost, a line for each.
    pub fn faults(&self) -> Vec<String> {
        self.board().lost.iter().map(ToString::to_string).collect()
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // Nothing that panics runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
        .to_owned()
}

#[cfg(test)]
mod tests;

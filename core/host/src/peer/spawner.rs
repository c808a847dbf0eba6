//! The thread that starts children.
//!
//! A child asks the kernel to die with its parent, and the kernel takes the
//! *thread* that started it for its parent. Threads of a runtime come and go,
//! so children are started by one that stays until the process ends.

use std::{
    io,
    sync::{
        OnceLock,
        mpsc::{self, SyncSender},
    },
    thread,
};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
};

/// One child to start.
struct Job {
    command: Command,
    /// The runtime that will wait for the child.
    runtime: Handle,
    started: SyncSender<io::Result<Child>>,
}

/// Starts the child; takes as long as fork and exec.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    static JOBS: OnceLock<SyncSender<Job>> = OnceLock::new();
    let jobs = match JOBS.get() {
        Some(jobs) => jobs,
        None => {
            let made = start_thread()?;
            // When two came at once, the thread of the slower one ends again.
            JOBS.get_or_init(|| made)
        }
    };
    let (started, answer) = mpsc::sync_channel(1);
    let gone = || io::Error::other("the thread that starts children is gone");
    jobs.send(Job {
        command,
        runtime: Handle::current(),
        started,
    })
    .map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

fn start_thread() -> io::Result<SyncSender<Job>> {
    let (jobs, inbox) = mpsc::sync_channel::<Job>(1);
    thread::Builder::new()
        .name("mapper-spawner".to_owned())
        .stack_size(128 << 10)
        .spawn(move || {
            for Job {
                mut command,
                runtime,
                started,
            } in inbox
            {
                let _context = runtime.enter();
                // Whoever asked may be gone; then the child is dropped and killed.
                let _ = started.send(command.spawn());
            }
        })?;
    Ok(jobs)
}

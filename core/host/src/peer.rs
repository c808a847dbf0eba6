//! The side where the library is, as the driver sees it: a child process or a
//! thread, with the same messages.

mod logs;
mod process;
mod spawner;
mod thread;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    spec::{HostOptions, Isolation, MapperSpec},
    stats::Counters,
    wire::{FromMapper, ToMapper},
};

pub(crate) use self::logs::MapperLog;

/// A mapper that was spawned.
pub(crate) enum Peer {
    // Boxed: it is much larger than the other.
    Process(Box<process::Process>),
    Thread(thread::Thread),
}

/// There is no process or thread.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error("failed to find out this program's path")]
    Program(#[source] io::Error),
    #[error("failed to make a socket for the child")]
    Socket(#[source] io::Error),
    #[error("failed to start `{}`", program.display())]
    Process { program: PathBuf, source: io::Error },
    #[error("failed to start a thread")]
    Thread(#[source] io::Error),
}

impl Peer {
    /// Spawns it with the library `file` and asks it to start.
    pub(crate) fn spawn(
        spec: &MapperSpec,
        file: &Path,
        options: &HostOptions,
        counters: &Arc<Counters>,
        log: &Arc<MapperLog>,
    ) -> Result<Self, SpawnError> {
        let mut peer = match spec.isolation {
            Isolation::Process => Self::Process(Box::new(process::Process::spawn(
                spec, file, options, counters,
            )?)),
            Isolation::InProcess => Self::Thread(thread::Thread::spawn(spec, file, counters, log)?),
        };
        peer.send(ToMapper::Start(spec.config.to_string()));
        Ok(peer)
    }

    /// Sends or keeps it until `receive` can send it.
    pub(crate) fn send(&mut self, message: ToMapper) {
        match self {
            Self::Process(process) => process.send(&message),
            Self::Thread(thread) => thread.send(message),
        }
    }

    /// The next message. May be cancelled at any time without loss.
    pub(crate) async fn receive(&mut self) -> FromMapper {
        match self {
            Self::Process(process) => process.receive().await,
            Self::Thread(thread) => thread.receive().await,
        }
    }

    /// The id of its own process, if it has one.
    pub(crate) fn process_id(&self) -> Option<u32> {
        match self {
            Self::Process(process) => process.id(),
            Self::Thread(_) => None,
        }
    }

    /// Gets rid of it: a process is killed, a thread is left to itself and
    /// whatever it emits is thrown away.
    pub(crate) fn discard(self) {
        match self {
            Self::Process(process) => process.discard(),
            Self::Thread(thread) => thread.discard(),
        }
    }
}

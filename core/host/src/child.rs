//! The child process: one mapper library and its way to the host.
//!
//! No runtime, and no thread but the first one and the mapper's own. The first
//! thread reads what the host asks and calls the library, so a library that
//! hangs in a call leaves the host without its answer, which is how the host
//! notices. When the host goes away, the socket ends and so does the process.

mod outgoing;

use std::{
    ffi::OsString,
    io::{self, ErrorKind},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use longshore_abi as abi;

use self::outgoing::Outgoing;
use crate::{
    command::CommandKind,
    library::{Instance, Library},
    offer::host_api,
    sys,
    wire::{self, FromMapper, ToMapper},
};

/// How long a child that was stopped tries to write its last frames.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How much is read from the socket at once.
const READ_SIZE: usize = 16 << 10;

/// The exit status of a child whose arguments or standard input are not what
/// the host passes.
const USAGE: u8 = 64;

/// Why the child gives up.
#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error(
        "mapper-host is started by the host, with the arguments NAME FILE and a socket as its standard input"
    )]
    Usage,
    #[error("failed to talk to the host")]
    Socket(#[source] io::Error),
    #[error("the host sent something that is no frame")]
    Wire(#[source] wire::WireFault),
}

/// Runs the mapper until the host ends it. `arguments` are those behind
/// `mapper-host`: the mapper's name and its file.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match serve(arguments.into_iter()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(if matches!(error, ChildError::Usage) {
                USAGE
            } else {
                1
            })
        }
    }
}

/// The host forwards standard error to its log.
#[expect(
    clippy::print_stderr,
    reason = "a child has no other way to tell why it ends"
)]
fn report(error: &dyn std::error::Error) {
    eprintln!("{}", crate::chain(error));
}

fn serve(mut arguments: impl Iterator<Item = OsString>) -> Result<(), ChildError> {
    let (Some(name), Some(file), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err(ChildError::Usage);
    };
    let socket = sys::take_stdin()
        .and_then(socket)
        .map_err(|_| ChildError::Usage)?;
    sys::name_process(&format!("mapper-{}", name.to_string_lossy()));
    // Leaked: threads of the mapper may use it until the process ends.
    let outgoing: &'static Outgoing =
        Box::leak(Box::new(Outgoing::new(socket).map_err(ChildError::Socket)?));
    let mut child = Child {
        file: PathBuf::from(file),
        outgoing,
        instance: None,
        configured: false,
    };
    let mut incoming = Incoming {
        outgoing,
        buffer: Vec::new(),
    };
    while let Some(message) = incoming.next()? {
        if child.handle(message).map_err(ChildError::Socket)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Refuses a standard input that is no socket: a terminal, a file.
fn socket(descriptor: OwnedFd) -> io::Result<UnixStream> {
    let socket = UnixStream::from(descriptor);
    socket.peer_addr()?;
    Ok(socket)
}

/// The library and its instance.
struct Child {
    file: PathBuf,
    outgoing: &'static Outgoing,
    instance: Option<Instance>,
    /// Configurations came since memory was given back for the last time.
    configured: bool,
}

impl Child {
    /// Answers one message of the host; `true` when it was the last one.
    fn handle(&mut self, message: ToMapper) -> io::Result<bool> {
        match message {
            ToMapper::Start(config) => {
                let answer = match start(&self.file, self.outgoing, &config) {
                    Ok(instance) => {
                        self.instance = Some(instance);
                        FromMapper::Ready
                    }
                    Err(answer) => answer,
                };
                self.outgoing.send(&answer)?;
            }
            ToMapper::Commands(commands) => {
                self.configured |= commands
                    .iter()
                    .any(|command| matches!(command.kind, CommandKind::Configure(_)));
                let status = self
                    .instance
                    .as_ref()
                    .map_or(abi::STATUS_STOPPED, |instance| instance.submit(&commands));
                self.outgoing.send(&FromMapper::Answer(status))?;
            }
            ToMapper::Ping => {
                self.outgoing.send(&FromMapper::Pong {
                    of_child: Some(self.outgoing.counts()),
                })?;
                // The host asks when it has nothing else to say: a moment of rest.
                if std::mem::take(&mut self.configured) {
                    crate::release_memory();
                }
            }
            ToMapper::Stop(budget) => {
                let status = self
                    .instance
                    .as_ref()
                    .map_or(abi::STATUS_OK, |instance| instance.stop(budget));
                self.outgoing.close();
                if let Some(instance) = self.instance.take() {
                    instance.destroy();
                }
                self.outgoing.send(&FromMapper::Stopped(status))?;
                self.outgoing.drain(LAST_WORDS)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Loads the library and makes the instance, in a child or in-process.
pub(crate) fn start<S: crate::offer::Sink>(
    file: &std::path::Path,
    sink: &'static S,
    config: &str,
) -> Result<Instance, FromMapper> {
    let library = Library::load(file).map_err(|error| FromMapper::Failed {
        permanent: true,
        message: crate::chain(&error),
    })?;
    library
        .create(host_api(sink), config)
        .map_err(|failed| FromMapper::Failed {
            // A wrong configuration stays wrong, and so does a wrong contract.
            permanent: matches!(
                failed.status,
                abi::STATUS_INVALID_CONFIG | abi::STATUS_INVALID_ARGUMENT | abi::STATUS_UNSUPPORTED
            ),
            message: failed.message,
        })
}

/// Frames of the host.
struct Incoming {
    outgoing: &'static Outgoing,
    buffer: Vec<u8>,
}

impl Incoming {
    /// The next message; nothing when the host is gone.
    fn next(&mut self) -> Result<Option<ToMapper>, ChildError> {
        loop {
            if let Some((length, kind)) = wire::header(&self.buffer).map_err(ChildError::Wire)? {
                let end = wire::HEADER + length;
                if let Some(body) = self.buffer.get(wire::HEADER..end) {
                    let message = ToMapper::decode(kind, body).map_err(ChildError::Wire)?;
                    self.buffer.drain(..end);
                    self.buffer.shrink_to(READ_SIZE);
                    return Ok(Some(message));
                }
            }
            if self.outgoing.wait_readable().map_err(ChildError::Socket)? && !self.read()? {
                return Ok(None);
            }
        }
    }

    /// Reads what is there; `false` at the end of the stream.
    fn read(&mut self) -> Result<bool, ChildError> {
        let length = self.buffer.len();
        self.buffer.resize(length + READ_SIZE, 0);
        let read = self.outgoing.read(&mut self.buffer[length..]);
        self.buffer
            .truncate(length + read.as_ref().map_or(0, |read| *read));
        match read {
            Ok(read) => Ok(read > 0),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(true)
            }
            // The host died with frames of ours unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(ChildError::Socket(error)),
        }
    }
}

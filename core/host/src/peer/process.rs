//! A mapper in a child process.

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream as StdStream, process::ExitStatusExt},
    },
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::Interest,
    net::{UnixStream, unix::pipe},
    process::{Child, Command},
};

use super::{SpawnError, logs, spawner};
use crate::{
    spec::{HostOptions, MapperSpec},
    stats::Counters,
    sys,
    wire::{self, FromMapper, ToMapper},
};

/// What a child may know of its parent's environment: where things are and how
/// to speak. Everything else, tokens in particular, is not its business.
const ENVIRONMENT: [&str; 12] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "DBUS_SYSTEM_BUS_ADDRESS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Bounds of one read: idle mappers cost little, busy ones few calls.
const READ_LEAST: usize = 4 << 10;
const READ_MOST: usize = 256 << 10;

/// A child process and the socket to it.
pub(crate) struct Process {
    child: Child,
    socket: UnixStream,
    input: BytesMut,
    /// Size of the last frame: how much to read at once.
    read_size: usize,
    output: BytesMut,
    end: End,
}

/// How far the end has come.
enum End {
    /// The socket is open.
    Open,
    /// The socket ended, for this reason if it was our decision.
    Closed(Option<String>),
}

impl Process {
    pub(super) fn spawn(
        spec: &MapperSpec,
        file: &Path,
        options: &HostOptions,
        counters: &Arc<Counters>,
    ) -> Result<Self, SpawnError> {
        let (ours, theirs) = StdStream::pair().map_err(SpawnError::Socket)?;
        ours.set_nonblocking(true).map_err(SpawnError::Socket)?;
        let socket = UnixStream::from_std(ours).map_err(SpawnError::Socket)?;
        let (printed, printer) = io::pipe().map_err(SpawnError::Socket)?;
        let printer_too = printer.try_clone().map_err(SpawnError::Socket)?;
        let printed =
            pipe::Receiver::from_owned_fd(OwnedFd::from(printed)).map_err(SpawnError::Socket)?;

        let program = match &options.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(SpawnError::Program)?,
        };
        let mut command = std::process::Command::new(&program);
        command.args(&options.arguments).arg(&*spec.name).arg(file);
        command.env_clear().envs(
            ENVIRONMENT
                .iter()
                .filter_map(|key| Some((key, std::env::var_os(key)?))),
        );
        // One arena: the child has few threads and should stay small.
        command.env("MALLOC_ARENA_MAX", "1");
        command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(printer)
            .stderr(printer_too);
        // Ctrl-C in a terminal is for the host, which then stops its mappers.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        sys::tie_to_parent(&mut command);
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        let child =
            spawner::spawn(command).map_err(|source| SpawnError::Process { program, source })?;
        tokio::spawn(logs::forward(printed, spec.name.clone(), counters.clone()));
        Ok(Self {
            child,
            socket,
            input: BytesMut::new(),
            read_size: READ_LEAST,
            output: BytesMut::new(),
            end: End::Open,
        })
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    pub(super) fn send(&mut self, message: &ToMapper) {
        self.output.extend_from_slice(&message.encode());
        self.write();
    }

    pub(super) async fn receive(&mut self) -> FromMapper {
        loop {
            match self.next_frame() {
                Ok(Some(message)) => return message,
                Ok(None) => {}
                Err(fault) => self.close(Some(format!("broke the contract: {fault}"))),
            }
            if let End::Closed(reason) = &self.end {
                let (reason, fault) = (reason.clone(), reason.is_some());
                return FromMapper::Exited {
                    reason: self.reap(reason).await,
                    fault,
                };
            }
            let interest = if self.output.is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            match self.socket.ready(interest).await {
                Ok(ready) => {
                    if ready.is_writable() {
                        self.write();
                    }
                    if ready.is_readable() || ready.is_read_closed() {
                        self.read();
                    }
                }
                Err(_) => self.close(None),
            }
        }
    }

    pub(super) fn discard(mut self) {
        // Reaped by the runtime. An error means that it has ended already.
        let _ = self.child.start_kill();
    }

    /// The next whole frame of what was read.
    fn next_frame(&mut self) -> Result<Option<FromMapper>, wire::WireFault> {
        if matches!(self.end, End::Closed(Some(_))) {
            return Ok(None);
        }
        let Some((length, kind)) = wire::header(&self.input)? else {
            return Ok(None);
        };
        let frame = wire::HEADER + length;
        if self.input.len() < frame {
            self.read_size = frame.clamp(READ_LEAST, READ_MOST);
            self.input.reserve(frame - self.input.len());
            return Ok(None);
        }
        self.input.advance(wire::HEADER);
        let body = self.input.split_to(length).freeze();
        FromMapper::decode(kind, body).map(Some)
    }

    fn read(&mut self) {
        if self.input.capacity() - self.input.len() < READ_LEAST {
            self.input.reserve(self.read_size);
        }
        match self.socket.try_read_buf(&mut self.input) {
            Ok(0) => self.close(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.close(None),
        }
    }

    fn write(&mut self) {
        while !self.output.is_empty() {
            match self.socket.try_write(&self.output) {
                Ok(written) => self.output.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The child ended; reading tells the rest.
                Err(_) => self.output.clear(),
            }
        }
        // A large configuration must not cost its memory for ever.
        self.output = BytesMut::new();
    }

    fn close(&mut self, reason: Option<String>) {
        self.end = End::Closed(reason);
    }

    /// A child without its socket is of no use: makes sure that it ends, and
    /// tells how it did. One that is ending anyway keeps its own status.
    async fn reap(&mut self, reason: Option<String>) -> String {
        let _ = self.child.start_kill();
        match (reason, self.child.wait().await) {
            (Some(reason), _) => reason,
            (None, Ok(status)) => describe(status),
            (None, Err(error)) => format!("ended in an unknown way: {error}"),
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended by itself with exit status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}{}", signal_name(signal)),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGABRT => " (SIGABRT: it aborted)",
        libc::SIGBUS => " (SIGBUS: bad memory access)",
        libc::SIGFPE => " (SIGFPE: bad arithmetic)",
        libc::SIGILL => " (SIGILL: bad instruction)",
        libc::SIGKILL => " (SIGKILL: killed from outside, perhaps for lack of memory)",
        libc::SIGSEGV => " (SIGSEGV: bad memory access)",
        libc::SIGTERM => " (SIGTERM)",
        _ => "",
    }
}

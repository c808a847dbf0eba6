//! The child's way out: one socket, and what did not fit into it.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use longshore_abi as abi;

use crate::{
    gather::{Emitted, Gatherer},
    offer::Sink,
    pace::Pace,
    sys::{self, Ready},
    wire::{Counts, FromMapper},
};

/// Lines of the log are dropped while more than this waits to be written.
const LOG_ROOM: usize = 64 << 10;

/// The socket to the host. A batch goes out with one `writev`; what the socket
/// did not take of it is kept, and until that is written `emit` would block.
/// So at most one batch waits here, and the rest of the back-pressure is the
/// socket's.
pub(super) struct Outgoing {
    socket: UnixStream,
    buffers: Mutex<Buffers>,
    /// Wakes the control thread when a rest has to be written.
    waker: UnixStream,
    wakened: UnixStream,
    stopped: AtomicBool,
    blocked: AtomicU64,
}

#[derive(Default)]
struct Buffers {
    gatherer: Gatherer,
    /// The rest of a frame, and control frames behind it.
    rest: Vec<u8>,
    /// Bytes of `rest` that are written.
    written: usize,
    lost_lines: u64,
    /// Of the lines of the log, and of those for whoever looks for a fault: what
    /// the host would not write need not cross.
    paces: [Option<Pace>; 2],
}

impl Outgoing {
    /// `socket` becomes non-blocking.
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let (waker, wakened) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        wakened.set_nonblocking(true)?;
        let (stopped, blocked) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self {
            socket,
            buffers: Mutex::default(),
            waker,
            wakened,
            stopped,
            blocked,
        })
    }

    /// What was counted so far.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            blocked: self.blocked.load(Ordering::Relaxed),
            lost_lines: self.lock().lost_lines,
        }
    }

    /// Nothing that the mapper emits from now on is taken.
    pub(super) fn close(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Sends a frame of the control thread, which is never refused: there is
    /// at most one for each frame of the host.
    pub(super) fn send(&self, message: &FromMapper) -> io::Result<()> {
        let mut buffers = self.lock();
        buffers.rest.extend_from_slice(&message.encode());
        buffers.flush(&self.socket).map(drop)
    }

    /// Waits for a frame of the host and writes meanwhile; `true` when there
    /// is something to read.
    pub(super) fn wait_readable(&self) -> io::Result<bool> {
        let writable = !self.lock().flush(&self.socket)?;
        let wanted = [
            (
                self.socket.as_fd(),
                Ready {
                    readable: true,
                    writable,
                },
            ),
            (
                self.wakened.as_fd(),
                Ready {
                    readable: true,
                    writable: false,
                },
            ),
        ];
        let [socket, wakened] = sys::poll(wanted, None)?;
        if wakened.readable {
            // Many wakings are one; a full pipe wakes as well as an empty one.
            let _ = (&self.wakened).read(&mut [0; 64]);
        }
        Ok(socket.readable)
    }

    /// Writes what is left, for at most `limit`.
    pub(super) fn drain(&self, limit: Duration) -> io::Result<()> {
        let end = Instant::now() + limit;
        while !self.lock().flush(&self.socket)? && Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            sys::poll(
                [(
                    self.socket.as_fd(),
                    Ready {
                        readable: false,
                        writable: true,
                    },
                )],
                Some(left),
            )?;
        }
        Ok(())
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.socket).read(buffer)
    }

    fn lock(&self) -> MutexGuard<'_, Buffers> {
        // A panic under the lock would be one of this crate; what is in the
        // buffers is then still a prefix of whole frames.
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_emit(&self, batch: Emitted<'_>) -> io::Result<i32> {
        let mut buffers = self.lock();
        if !buffers.flush(&self.socket)? {
            self.blocked.fetch_add(1, Ordering::Relaxed);
            return Ok(abi::STATUS_WOULD_BLOCK);
        }
        let Buffers { gatherer, rest, .. } = &mut *buffers;
        let gathered = match gatherer.gather(batch) {
            Ok(gathered) => gathered,
            Err(status) => return Ok(status),
        };
        let written = match (&self.socket).write_vectored(&gathered.slices()) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // Nothing went out, so nothing needs to be kept.
                self.blocked.fetch_add(1, Ordering::Relaxed);
                return Ok(abi::STATUS_WOULD_BLOCK);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        if written < gathered.len() {
            gathered.append_to(rest, written);
            // If the pipe is full, a waking is under way already.
            let _ = (&self.waker).write(&[1]);
        }
        Ok(abi::STATUS_OK)
    }
}

impl Buffers {
    /// Writes as much of the rest as the socket takes; `true` when all is out.
    fn flush(&mut self, mut socket: &UnixStream) -> io::Result<bool> {
        while self.written < self.rest.len() {
            match socket.write(&self.rest[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.rest.clear();
        self.written = 0;
        // One huge batch must not cost its memory for ever.
        if self.rest.capacity() > LOG_ROOM {
            self.rest = Vec::new();
        }
        Ok(true)
    }
}

impl Sink for Outgoing {
    fn emit(&self, batch: Emitted<'_>) -> i32 {
        if self.stopped.load(Ordering::Acquire) {
            return abi::STATUS_STOPPED;
        }
        // The host is gone: the control thread ends the process.
        self.try_emit(batch).unwrap_or(abi::STATUS_STOPPED)
    }

    fn wait_writable(&self, timeout: Duration) -> i32 {
        let end = Instant::now() + timeout;
        loop {
            if self.stopped.load(Ordering::Acquire) {
                return abi::STATUS_STOPPED;
            }
            let left = end.saturating_duration_since(Instant::now());
            let wanted = [(
                self.socket.as_fd(),
                Ready {
                    readable: false,
                    writable: true,
                },
            )];
            match sys::poll(wanted, Some(left)) {
                Ok([ready]) if ready.readable => return abi::STATUS_STOPPED,
                Ok([ready]) if ready.writable => match self.lock().flush(&self.socket) {
                    Ok(true) => return abi::STATUS_OK,
                    Ok(false) => {}
                    Err(_) => return abi::STATUS_STOPPED,
                },
                Ok(_) => {}
                Err(_) => return abi::STATUS_STOPPED,
            }
            if left.is_zero() {
                return abi::STATUS_TIMEOUT;
            }
        }
    }

    fn log(&self, level: u32, message: &str) {
        let mut buffers = self.lock();
        let now = Instant::now();
        let of = usize::from(level == abi::LOG_DEBUG);
        let pace = buffers.paces[of].get_or_insert_with(|| Pace::new(now));
        // The host tells how many; it hears of them with its next ping.
        if !pace.takes(now) || self.stopped.load(Ordering::Acquire) || buffers.rest.len() > LOG_ROOM
        {
            buffers.lost_lines += 1;
            return;
        }
        let message = message.to_owned();
        buffers
            .rest
            .extend_from_slice(&FromMapper::Log { level, message }.encode());
        // An error here shows at the next frame of the control thread.
        if !buffers.flush(&self.socket).unwrap_or(true) {
            let _ = (&self.waker).write(&[1]);
        }
    }
}

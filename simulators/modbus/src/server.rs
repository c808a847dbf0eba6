//! The only file that awaits: listeners, serial ports and the timing of answers.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use longshore_sim_world::run::{Stopping, joined};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::frame::Framing;
use crate::line::{Line, Step};
use crate::unit::{Devices, LineTotals};

/// Batches of answers that wait for their time on one connection. When there
/// are so many, no more requests are read from it.
const WAITING_MOST: usize = 256;

/// How long accepting pauses after it failed, as when file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all lines of a simulator have in common.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) devices: Arc<Devices>,
    /// Each answer comes so much after its request.
    pub(crate) delay: Duration,
    pub(crate) stop: Stopping,
    /// Changes when all connections are to be dropped.
    pub(crate) hang_up: watch::Receiver<u64>,
}

/// Serves a listener until the simulator stops, then closes its connections.
pub(crate) async fn listen(listener: TcpListener, framing: Framing, mut shared: Shared) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.stop.told() => break,
            Some(ended) = connections.join_next() => joined(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // Small answers must not wait for each other.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "cannot switch off delays of a connection");
                    }
                    let shared = shared.clone();
                    let line = open(framing, &shared, true);
                    connections.spawn(async move {
                        let mut hang_up = shared.hang_up;
                        // Only what happens from now on counts.
                        hang_up.mark_unchanged();
                        serve(stream, line, shared.delay, hang_up).await
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

/// Serves a serial port until the simulator stops or the port goes away.
pub(crate) async fn serial(
    port: tokio_serial::SerialStream,
    path: String,
    framing: Framing,
    mut shared: Shared,
) {
    let line = open(framing, &shared, false);
    tokio::select! {
        () = shared.stop.told() => {}
        ended = serve(port, line, shared.delay, shared.hang_up.clone()) => match ended {
            Ok(()) => tracing::warn!(path, "the serial port was closed"),
            Err(error) => tracing::warn!(path, %error, "the serial port broke"),
        }
    }
}

fn open(framing: Framing, shared: &Shared, can_close: bool) -> Line {
    LineTotals::add(&shared.devices.line.connections, 1);
    LineTotals::add(&shared.devices.line.open, 1);
    Line::new(framing, Arc::clone(&shared.devices), can_close)
}

/// Answers on one stream, each answer `delay` after its request: requests that
/// come together are answered together, as by a device that is slow but not
/// busy. The order is kept.
async fn serve<S>(
    mut stream: S,
    mut line: Line,
    delay: Duration,
    mut hang_up: watch::Receiver<u64>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut out = Vec::with_capacity(16 * 1024);
    let mut waiting = Waiting::default();
    loop {
        let now = Instant::now();
        let due = waiting.due();
        let patience = line.patience();
        let mut silent = false;
        tokio::select! {
            // Bytes that are there count more than a pause that was measured
            // late, on a busy machine.
            biased;
            _ = hang_up.changed() => return Ok(()),
            () = sleep_until(due.unwrap_or(now)), if due.is_some() => {
                waiting.take_due(Instant::now(), &mut out);
                stream.write_all(&out).await?;
                out.clear();
                continue;
            }
            read = stream.read_buf(line.space()), if waiting.has_room() => {
                if read? == 0 {
                    return Ok(());
                }
            }
            () = sleep(patience.unwrap_or_default()), if patience.is_some() => silent = true,
        }
        let now = Instant::now();
        let mut close = false;
        let mut start = out.len();
        while let Some(step) = line.next(silent, now.into_std(), &mut out) {
            match step {
                Step::Answer(late) if delay + late > Duration::ZERO || !waiting.is_empty() => {
                    waiting.push(now + delay + late, &mut out, start);
                }
                Step::Answer(_) | Step::Nothing => {}
                Step::Close => {
                    close = true;
                    break;
                }
            }
            start = out.len();
        }
        if !out.is_empty() {
            stream.write_all(&out).await?;
            out.clear();
        }
        if close {
            return Ok(());
        }
    }
}

/// Answers whose time has not come, in their order.
#[derive(Debug, Default)]
struct Waiting {
    batches: VecDeque<(Instant, Vec<u8>)>,
    /// Used buffers, for the next ones.
    spare: Vec<Vec<u8>>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    fn has_room(&self) -> bool {
        self.batches.len() < WAITING_MOST
    }

    fn due(&self) -> Option<Instant> {
        self.batches.front().map(|(at, _)| *at)
    }

    /// Moves the end of `out` into the queue, not before what is there already.
    fn push(&mut self, at: Instant, out: &mut Vec<u8>, start: usize) {
        let at = self.batches.back().map_or(at, |(last, _)| at.max(*last));
        match self.batches.back_mut() {
            Some((last, bytes)) if *last == at => bytes.extend_from_slice(&out[start..]),
            _ => {
                let mut bytes = self.spare.pop().unwrap_or_default();
                bytes.extend_from_slice(&out[start..]);
                self.batches.push_back((at, bytes));
            }
        }
        out.truncate(start);
    }

    fn take_due(&mut self, now: Instant, out: &mut Vec<u8>) {
        while let Some((at, _)) = self.batches.front() {
            if *at > now {
                break;
            }
            if let Some((_, mut bytes)) = self.batches.pop_front() {
                out.extend_from_slice(&bytes);
                bytes.clear();
                self.spare.push(bytes);
            }
        }
    }
}

//! The only file that awaits: ptys, listeners and the timing of messages.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use longshore_sim_world::run::{Stopping, joined};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_serial::SerialStream;

use crate::device::{Devices, Step};

/// How long a port stays away that a fault has taken away.
const AWAY: Duration = Duration::from_millis(500);
/// A reader that takes nothing loses what is sent, as on a real line.
const PATIENCE: Duration = Duration::from_millis(20);
/// Messages under way to one reader.
const MOST_WAITING: usize = 256;

/// What happens to all ports of a line.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// These bytes appear on the line.
    Noise(Vec<u8>),
    /// The port goes, and comes back after so long.
    Vanish(Duration),
}

/// What the tasks of a line share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) devices: Arc<Devices>,
    pub(crate) orders: broadcast::Sender<Order>,
    pub(crate) stop: Stopping,
}

/// Tells it to all lines.
pub(crate) fn order(lines: &[Shared], order: &Order) {
    for line in lines {
        // A line that nobody serves has nobody to hear it.
        let _ = line.orders.send(order.clone());
    }
}

/// Why a connection ended.
enum Ended {
    Stopped,
    Closed,
    Vanish(Duration),
}

/// A pty at a link that stays while the pty itself goes and comes.
pub(crate) struct Port {
    link: PathBuf,
    master: SerialStream,
    /// Kept open, so that the master does not see the end of its readers.
    _slave: SerialStream,
}

impl Port {
    pub(crate) fn open(link: &Path) -> io::Result<Self> {
        let failed = |error: tokio_serial::Error| io::Error::other(error.to_string());
        let (master, slave) = SerialStream::pair().map_err(failed)?;
        let name = tokio_serial::SerialPort::name(&slave);
        let name = name.ok_or_else(|| io::Error::other("the pty has no name"))?;
        match std::fs::remove_file(link) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        std::os::unix::fs::symlink(name, link)?;
        Ok(Self {
            link: link.to_owned(),
            master,
            _slave: slave,
        })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // If it is gone already, so much the better.
        let _ = std::fs::remove_file(&self.link);
    }
}

/// Serves a pty until the simulator stops.
pub(crate) async fn serve_port(mut port: Port, shared: Shared) {
    loop {
        match serve(&mut port.master, &shared).await {
            Ended::Stopped => return,
            Ended::Closed => tracing::warn!(port = %port.link.display(), "the pty broke"),
            Ended::Vanish(away) => {
                let link = port.link.clone();
                drop(port);
                if rest(away, &shared).await {
                    return;
                }
                port = match Port::open(&link) {
                    Ok(port) => port,
                    Err(error) => {
                        tracing::error!(port = %link.display(), %error, "the port does not come back");
                        return;
                    }
                };
                continue;
            }
        }
        if rest(AWAY, &shared).await {
            return;
        }
    }
}

/// Waits; `true` if the simulator stops meanwhile.
async fn rest(away: Duration, shared: &Shared) -> bool {
    timeout(away, shared.stop.clone().told()).await.is_ok()
}

/// Serves a listener until the simulator stops.
pub(crate) async fn serve_listener(mut listener: TcpListener, shared: Shared) {
    let mut stop = shared.stop.clone();
    let mut orders = shared.orders.subscribe();
    let address = listener.local_addr();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let away = tokio::select! {
            () = stop.told() => break,
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let shared = shared.clone();
                    connections.spawn(async move { connection(stream, &shared).await });
                }
                None
            }
            order = orders.recv() => match order {
                Ok(Order::Vanish(away)) => Some(away),
                _ => None,
            },
            Some(ended) = connections.join_next() => {
                joined(ended);
                None
            }
        };
        if let (Some(away), Ok(address)) = (away, &address) {
            drop(listener);
            if rest(away, &shared).await {
                break;
            }
            listener = match TcpListener::bind(address).await {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::error!(%address, %error, "the port does not come back");
                    break;
                }
            };
        }
    }
    connections.shutdown().await;
}

async fn connection(mut stream: TcpStream, shared: &Shared) {
    // One message is one small segment; waiting for more would only delay it.
    if stream.set_nodelay(true).is_ok()
        && let Ended::Vanish(away) = serve(&mut stream, shared).await
    {
        tracing::debug!(?away, "hung up");
    }
}

/// Serves one reader: its requests, and what the devices say by themselves.
async fn serve<T>(io: &mut T, shared: &Shared) -> Ended
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let devices = &shared.devices;
    let mut stop = shared.stop.clone();
    let mut orders = shared.orders.subscribe();
    let mut input = Vec::new();
    let start = Instant::now();
    let mut streams: Vec<_> = devices
        .streams()
        .into_iter()
        .map(|(unit, stream, every)| (start + every, every, unit, stream))
        .collect();
    let mut out: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    loop {
        let next_stream = streams.iter().map(|(due, ..)| *due).min();
        let next_out = out.front().map(|(due, _)| *due);
        let due = [next_stream, next_out].into_iter().flatten().min();
        // Nothing is due for a day: then something else comes first.
        let due = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
        let steps = tokio::select! {
            () = stop.told() => return Ended::Stopped,
            order = orders.recv() => match order {
                Ok(Order::Noise(bytes)) => vec![Step::Send(bytes, Duration::ZERO)],
                Ok(Order::Vanish(away)) => return Ended::Vanish(away),
                Err(_) => Vec::new(),
            },
            read = io.read_buf(&mut input) => match read {
                Ok(0) | Err(_) => return Ended::Closed,
                Ok(_) => devices.hear(&mut input, Instant::now().into_std()),
            },
            () = sleep_until(due) => Vec::new(),
        };
        let now = Instant::now();
        let mut all = steps;
        for (due, every, unit, stream) in &mut streams {
            if *due <= now {
                *due = (*due + *every).max(now);
                all.extend(devices.speak(*unit, *stream, now.into_std()));
            }
        }
        for step in all {
            match step {
                Step::Vanish => return Ended::Vanish(AWAY),
                Step::Send(bytes, after) if out.len() < MOST_WAITING => {
                    let due = now + after;
                    let at = out.partition_point(|(other, _)| *other <= due);
                    out.insert(at, (due, bytes));
                }
                Step::Send(..) => {}
            }
        }
        while let Some((due, bytes)) = out.front() {
            if *due > Instant::now() {
                break;
            }
            if let Ok(Err(_)) = timeout(PATIENCE, io.write_all(bytes)).await {
                return Ended::Closed;
            }
            out.pop_front();
        }
    }
}

//! The simulated devices, on a thread of their own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use longshore_sim_modbus::{Endpoint, Fault, FaultRule, Simulator, modbus};
use tokio::sync::oneshot;

use crate::{layout::Layout, procfs};

/// Running devices; they end with this value.
pub struct Plant {
    simulator: Arc<Simulator>,
    tid: u32,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Plant {
    /// Starts as many devices and listeners as the layout needs; each answer
    /// comes `delay` after its request.
    pub fn start(layout: &Layout, delay: Duration) -> anyhow::Result<Self> {
        let mut builder = modbus().bench(layout.units(), layout.floats).delay(delay);
        for _ in 0..layout.connections() {
            builder = builder.tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        }
        let (stop, stopped) = oneshot::channel();
        let (started, wait) = mpsc::sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the simulator's runtime")?;
        let thread = std::thread::Builder::new()
            .name("plant".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let simulator = builder.try_start().await.map(Arc::new);
                    // Nobody waits any more only if the starter has panicked.
                    let _ = started.send((simulator, procfs::thread_id()));
                    let _ = stopped.await;
                });
            })
            .context("cannot start a thread")?;
        let (simulator, tid) = wait.recv().context("the simulator's thread ended")?;
        Ok(Self {
            simulator: simulator.context("the simulator does not start")?,
            tid,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn listeners(&self) -> Vec<SocketAddr> {
        let address = |endpoint: &Endpoint| match endpoint {
            Endpoint::Tcp(address) => Some(*address),
            _ => None,
        };
        self.simulator
            .endpoints()
            .iter()
            .filter_map(address)
            .collect()
    }

    /// The thread that it runs on.
    pub fn tid(&self) -> u32 {
        self.tid
    }

    /// From now on this unit answers nothing.
    pub fn silence(&self, unit: u8) {
        self.simulator
            .fault(FaultRule::from(Fault::Unresponsive).on_unit(unit));
    }

    /// Registers that were read so far.
    pub fn registers(&self) -> u64 {
        self.simulator.reads().registers()
    }

    /// Requests for reading so far.
    pub fn requests(&self) -> u64 {
        self.simulator.reads().requests()
    }

    /// The single registers that were written: unit, value, and when since the start.
    pub fn writes(&self) -> Vec<(u8, u16, Duration)> {
        let all = self.simulator.writes().into_iter();
        all.filter_map(|write| Some((write.unit, *write.values.first()?, write.at)))
            .collect()
    }

    /// Finds the moment that the simulator counts from: it lies between sending
    /// a write and its answer, less what the record says. The narrowest of many wins.
    pub fn epoch(&self) -> anyhow::Result<Instant> {
        use std::io::{Read as _, Write as _};
        let at = *self
            .listeners()
            .first()
            .context("the simulator does not listen")?;
        let mut stream = std::net::TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        let (mut earliest, mut latest) = (None::<Instant>, None::<Instant>);
        for _ in 0..50 {
            // Write single register 60099 of unit 1 (Application Protocol, section 6.6).
            let request = [0, 1, 0, 0, 0, 6, 1, 6, 0xEA, 0xC3, 0, 0];
            let sent = Instant::now();
            stream.write_all(&request)?;
            let mut answer = [0; 12];
            stream.read_exact(&mut answer)?;
            let answered = Instant::now();
            let (_, _, at) = *self.writes().last().context("the write is not on record")?;
            let (low, high) = (sent - at, answered - at);
            earliest = Some(earliest.map_or(low, |found| found.max(low)));
            latest = Some(latest.map_or(high, |found| found.min(high)));
        }
        let (earliest, latest) = earliest.zip(latest).context("no write was seen")?;
        Ok(earliest + latest.saturating_duration_since(earliest) / 2)
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; there is nothing to add.
            let _ = thread.join();
        }
    }
}

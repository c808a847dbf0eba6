//! The life of a simulator: its named tasks, and the process around them.
//!
//! [`main`] reads as the life of the process: start, say where, wait, stop.
//! What a protocol adds is its [`Program`], the arguments of its command, and
//! its [`Simulation`], what runs.

use std::{
    any::Any,
    collections::HashMap,
    error::Error,
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
};

use anyhow::Context as _;
use axum::Router;
use serde_json::{Map, Value as Json};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::{Id, JoinError, JoinSet},
};

/// The command of a protocol: its arguments, and what they start.
pub trait Program {
    /// What runs then.
    type Simulation: Simulation;
    /// Why it does not start.
    type Error: Error + Send + Sync + 'static;

    /// Where its HTTP face is to be, if anywhere.
    fn control(&self) -> Option<SocketAddr>;

    /// Starts what the arguments say.
    ///
    /// # Errors
    /// The scenario is wrong, or an address cannot be had.
    fn start(self) -> impl Future<Output = Result<Self::Simulation, Self::Error>>;

    /// What helps against an error.
    fn hint(error: &Self::Error) -> Option<&'static str>;
}

/// A running simulator, as its process sees it.
pub trait Simulation {
    /// Where its devices are, for the line that says so.
    fn ready(&self) -> Map<String, Json>;

    /// Serves its HTTP face; gives the address that was bound.
    ///
    /// # Errors
    /// The address cannot be had.
    fn control(
        &mut self,
        address: SocketAddr,
    ) -> impl Future<Output = Result<SocketAddr, ListenError>>;

    /// What it consists of.
    fn tasks(&mut self) -> &mut Tasks;
}

/// Runs a simulator until it is interrupted or a task of it fails.
pub fn main<P: Program>(program: P) -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .init();
    let Err(error) = run(program) else {
        return ExitCode::SUCCESS;
    };
    let of_face = || error.downcast_ref().and_then(ListenError::hint);
    let hint = error.downcast_ref().and_then(P::hint).or_else(of_face);
    let hint = hint.map_or_else(String::new, |hint| format!("\n\nhint: {hint}"));
    // Nothing is left to do if even this cannot be written.
    let _ = writeln!(io::stderr(), "error: {error:#}{hint}");
    ExitCode::FAILURE
}

fn run<P: Program>(program: P) -> anyhow::Result<()> {
    // One thread is enough for a million registers each second, and leaves the
    // other cores to what is being tested.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(live(program))
}

async fn live<P: Program>(program: P) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let control = program.control();
    let mut simulation = program.start().await?;
    let control = match control {
        Some(address) => Some(simulation.control(address).await?),
        None => None,
    };
    announce(simulation.ready(), control).context("cannot print the addresses")?;
    let failed = tokio::select! {
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        failed = simulation.tasks().failed() => Some(failed),
    };
    let stopped = simulation.tasks().stop().await;
    failed.map_or(stopped, Err).map_err(Into::into)
}

/// One line of JSON: whoever started the process waits for it.
fn announce(mut ready: Map<String, Json>, control: Option<SocketAddr>) -> io::Result<()> {
    if let Some(address) = control {
        ready.insert("control".to_owned(), address.to_string().into());
    }
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &ready)?;
    writeln!(out)?;
    out.flush()
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program listens there.
    #[error("port {} of {} is taken by another program", .0.port(), .0.ip())]
    Taken(SocketAddr),
    /// It cannot be had for another reason.
    #[error("cannot listen on {address}")]
    Refused {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl ListenError {
    /// What helps against it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Taken(_) => Some("stop the other program, or take port 0 to get a free one"),
            Self::Refused { .. } => None,
        }
    }
}

/// Binds a listener; gives the address that was bound, too.
///
/// # Errors
/// The address cannot be had.
pub async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::Taken(address),
        _ => ListenError::Refused { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// The named tasks of a simulator. They end when this is dropped.
#[derive(Debug, Default)]
pub struct Tasks {
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
    names: HashMap<Id, String>,
}

/// The sign that a simulator stops, as its tasks see it.
#[derive(Debug, Clone)]
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Waits for it.
    pub async fn told(&mut self) {
        // Without its sender the simulator is gone as well.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// A task of the simulator panicked: a fault of the simulator itself.
#[derive(Debug, thiserror::Error)]
#[error("the simulator's task `{task}` panicked: {text}")]
pub struct TaskFailed {
    /// Its name.
    pub task: String,
    /// What it said.
    pub text: String,
}

impl Tasks {
    /// The sign that they are to stop, for a new one.
    #[must_use]
    pub fn stopping(&self) -> Stopping {
        Stopping(self.stop.subscribe())
    }

    /// Starts one. It may end before it is stopped, as when a serial port goes
    /// away for good, and says why in the log; but it may not panic.
    pub fn spawn(
        &mut self,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name.into());
    }

    /// Serves an HTTP face; gives the address that was bound.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn serve(
        &mut self,
        address: SocketAddr,
        router: Router,
    ) -> Result<SocketAddr, ListenError> {
        let (listener, bound) = listen(address).await?;
        let mut stopping = self.stopping();
        self.spawn("control", async move {
            tokio::select! {
                () = stopping.told() => {}
                ended = axum::serve(listener, router).into_future() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the control listener broke");
                    }
                }
            }
        });
        Ok(bound)
    }

    /// Waits until one fails, for ever if none does.
    pub async fn failed(&mut self) -> TaskFailed {
        loop {
            match self.running.join_next_with_id().await {
                Some(ended) => {
                    if let Err(failed) = self.ended(ended) {
                        return failed;
                    }
                }
                None => std::future::pending().await,
            }
        }
    }

    /// Stops all of them; when this returns, what they held is free.
    ///
    /// # Errors
    /// One has panicked; the others are stopped all the same.
    pub async fn stop(&mut self) -> Result<(), TaskFailed> {
        self.stop.send_replace(true);
        let mut result = Ok(());
        while let Some(ended) = self.running.join_next_with_id().await {
            result = result.and(self.ended(ended));
        }
        result
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) -> Result<(), TaskFailed> {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let task = self.names.remove(&id).unwrap_or_default();
        match ended {
            Err(error) if error.is_panic() => Err(TaskFailed {
                task,
                text: said(&*error.into_panic()),
            }),
            _ => Ok(()),
        }
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("nothing").to_owned()
}

/// What a simulator came to that a test starts.
///
/// # Panics
/// When it does not start, with the reason.
pub fn started<T>(result: Result<T, impl Error + Send + Sync + 'static>) -> T {
    match result {
        Ok(simulator) => simulator,
        Err(error) => panic!(
            "the simulator does not start: {:#}",
            anyhow::Error::new(error)
        ),
    }
}

/// Passes on the panic of a task that belongs to another one, such as that of a
/// connection to its listener, so that it is seen.
pub fn joined<T>(ended: Result<T, JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Waits until a condition holds; while it does not, it says what is instead.
///
/// # Panics
/// When it does not hold after a minute.
pub async fn wait(what: &str, mut holds: impl FnMut() -> Result<(), String>) {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
    let end = std::time::Instant::now() + PATIENCE;
    while let Err(status) = holds() {
        assert!(
            std::time::Instant::now() < end,
            "waited in vain for {what}: {status}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_seen_with_the_tasks_name() {
        let mut tasks = Tasks::default();
        let mut stopping = tasks.stopping();
        tasks.spawn("patient", async move { stopping.told().await });
        tasks.spawn("brief", async {});
        tasks.spawn("listener", async {
            let mut connections = JoinSet::new();
            connections.spawn(async { panic!("byte {}", 7) });
            while let Some(ended) = connections.join_next().await {
                joined::<()>(ended);
            }
        });
        let failed = tasks.failed().await;
        assert_eq!(
            failed.to_string(),
            "the simulator's task `listener` panicked: byte 7"
        );
        assert!(tasks.stop().await.is_ok(), "the others end as they should");
    }

    #[tokio::test]
    async fn a_panic_that_nobody_waited_for_shows_at_the_stop() {
        let mut tasks = Tasks::default();
        tasks.spawn("control", async { panic!("no") });
        let failed = tasks.stop().await.expect_err("it panicked");
        assert_eq!((&failed.task[..], &failed.text[..]), ("control", "no"));
    }

    #[tokio::test]
    async fn a_taken_port_is_told_from_a_refused_one() {
        let (_listener, bound) = listen(([127, 0, 0, 1], 0).into()).await.expect("a port");
        let taken = listen(bound).await.expect_err("it is taken");
        assert!(taken.hint().is_some(), "{taken}");
        // 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
        let refused = listen(([192, 0, 2, 1], 0).into())
            .await
            .expect_err("not ours");
        assert!(refused.hint().is_none(), "{refused}");
    }
}

//! One process of the demo, kept alive.

use std::{
    fs::{File, OpenOptions},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    sync::watch,
};

/// How long a process may take to end by itself.
const DRAIN: Duration = Duration::from_secs(8);
/// The first restart comes at once; then the pause doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// A process that ran this long has not failed to start.
const SETTLED: Duration = Duration::from_secs(10);
/// Logs are begun anew above this size.
const LOG_LIMIT: u64 = 16 * 1024 * 1024;

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) binary: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) log: PathBuf,
}

/// How a process is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Running {
    /// Its id while it runs.
    pub(crate) pid: Option<u32>,
    /// How often it was started again.
    pub(crate) restarts: u32,
    /// How it ended the last time.
    pub(crate) last_end: Option<String>,
}

/// Runs `program` until `stop`, starting it again whenever it ends.
pub(crate) async fn supervise(
    program: Program,
    state: watch::Sender<Running>,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut pause = Duration::ZERO;
    loop {
        let started = Instant::now();
        let mut child = spawn(&program)?;
        state.send_modify(|running| running.pid = child.id());
        let status = tokio::select! {
            status = child.wait() => status?,
            () = asked(&mut stop) => return end(child).await,
        };
        let how = describe(status);
        state.send_modify(|running| {
            running.pid = None;
            running.restarts += 1;
            running.last_end = Some(how.clone());
        });
        pause = if started.elapsed() > SETTLED {
            Duration::ZERO
        } else {
            (pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE)
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = asked(&mut stop) => return Ok(()),
        }
    }
}

/// Waits until the end is asked for, or nobody is left to ask.
async fn asked(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn spawn(program: &Program) -> std::io::Result<Child> {
    let log = log(program)?;
    Command::new(&program.binary)
        .args(&program.arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C in the terminal goes to the supervisor alone; it ends the
        // others in their order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            std::io::Error::new(
                error.kind(),
                format!("failed to start {}: {error}", program.binary.display()),
            )
        })
}

fn log(program: &Program) -> std::io::Result<File> {
    let full = std::fs::metadata(&program.log).is_ok_and(|known| known.len() > LOG_LIMIT);
    OpenOptions::new()
        .create(true)
        .append(!full)
        .write(true)
        .truncate(full)
        .open(&program.log)
}

async fn end(mut child: Child) -> std::io::Result<()> {
    if let Some(pid) = child.id() {
        terminate(pid);
    }
    if tokio::time::timeout(DRAIN, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

/// Asks a process to end.
pub(crate) fn terminate(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended meanwhile, which is what is wanted.
        let _ = kill_process(pid, Signal::TERM);
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

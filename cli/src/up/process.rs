//! One process of the demo, kept alive.

use std::{
    fs::{File, OpenOptions},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use longshore_process::{Loss, Stage, Stop, Tasks};
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
pub(crate) struct Condition {
    /// Its id while it runs.
    pub(crate) pid: Option<u32>,
    /// How often it was started again.
    pub(crate) restarts: u32,
    /// How it ended the last time.
    pub(crate) last_end: Option<String>,
}

/// A process under supervision, seen from outside of its task.
pub(crate) struct Supervised {
    pub(crate) program: Program,
    condition: watch::Receiver<Condition>,
    turn: watch::Sender<bool>,
}

impl Supervised {
    /// Adds the task that supervises `program`, under the program's name. The
    /// process is not started before [`begin`](Self::begin).
    pub(crate) fn add(program: Program, stage: Stage, tasks: &mut Tasks) -> Self {
        let (sender, condition) = watch::channel(Condition::default());
        let (turn, begun) = watch::channel(false);
        let supervised = program.clone();
        tasks.add(program.name, stage, Loss::EndsProcess, |stop| {
            supervise(supervised, sender, begun, stop)
        });
        Self {
            program,
            condition,
            turn,
        }
    }

    /// It is the process's turn to start. Waits until it runs or has failed to.
    pub(crate) async fn begin(&self) {
        self.turn.send_replace(true);
        let mut condition = self.condition.clone();
        // An error means that its task is lost, of which others hear.
        let _ = condition
            .wait_for(|now| now.pid.is_some() || now.restarts > 0)
            .await;
    }

    /// How it is now.
    pub(crate) fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }

    /// Waits until its condition is another one than `known`; for ever once its
    /// task is gone.
    pub(crate) async fn changed(&self, known: &Condition) {
        let mut condition = self.condition.clone();
        if condition.wait_for(|now| now != known).await.is_err() {
            std::future::pending().await
        }
    }
}

/// Runs `program` from its turn until `stop`, starting it again whenever it ends.
/// A program that cannot be started at all is an error.
async fn supervise(
    program: Program,
    condition: watch::Sender<Condition>,
    mut begun: watch::Receiver<bool>,
    mut stop: Stop,
) -> std::io::Result<()> {
    tokio::select! {
        // Also when nobody is left to say that it is its turn.
        () = stop.asked() => return Ok(()),
        Ok(_) = begun.wait_for(|begun| *begun) => {}
    }
    let mut pause = Duration::ZERO;
    loop {
        let started = Instant::now();
        let mut child = spawn(&program)?;
        condition.send_modify(|now| now.pid = child.id());
        let status = tokio::select! {
            status = child.wait() => status?,
            () = stop.asked() => {
                end(child).await?;
                condition.send_modify(|now| now.pid = None);
                return Ok(());
            }
        };
        condition.send_modify(|now| {
            now.pid = None;
            now.restarts += 1;
            now.last_end = Some(describe(status));
        });
        pause = if started.elapsed() > SETTLED {
            Duration::ZERO
        } else {
            (pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE)
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.asked() => return Ok(()),
        }
    }
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use longshore_process::Running;

    use super::*;
    use crate::up::status::runs;

    const BUDGET: Duration = Duration::from_secs(20);

    fn program(folder: &Path, binary: &str) -> Program {
        Program {
            name: "sleeper",
            binary: binary.into(),
            arguments: vec!["1000".to_owned()],
            log: folder.join("log"),
        }
    }

    fn started(program: Program) -> (Supervised, Running) {
        let mut tasks = Tasks::new();
        let supervised = Supervised::add(program, Stage::Engines, &mut tasks);
        (supervised, tasks.spawn())
    }

    #[tokio::test]
    async fn a_process_starts_in_its_turn_and_again_when_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (sleeper, running) = started(program(folder.path(), "/bin/sleep"));
        tokio::task::yield_now().await;
        assert_eq!(sleeper.condition(), Condition::default(), "not its turn");
        sleeper.begin().await;
        let first = sleeper.condition();
        terminate(first.pid.unwrap());
        let mut known = first.clone();
        while known.pid.is_none() || known == first {
            sleeper.changed(&known).await;
            known = sleeper.condition();
        }
        assert_ne!(known.pid, first.pid);
        assert_eq!(known.restarts, 1);
        assert_eq!(known.last_end.as_deref(), Some("signal 15"));
        assert!(running.drain(BUDGET).await.is_empty());
        assert!(!runs(known.pid.unwrap(), Path::new("/bin/sleep")));
    }

    #[tokio::test]
    async fn the_end_of_a_supervisor_is_seen_and_takes_its_process_along() {
        let folder = tempfile::tempdir().unwrap();
        let (sleeper, mut running) = started(program(folder.path(), "/bin/sleep"));
        sleeper.begin().await;
        let pid = sleeper.condition().pid.unwrap();
        running.kill("sleeper");
        let lost = running.lost().await.to_string();
        assert_eq!(lost, "the task `sleeper` panicked: killed for a test");
        let gone = async {
            while runs(pid, Path::new("/bin/sleep")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(BUDGET, gone)
            .await
            .expect("it is killed");
    }

    #[tokio::test]
    async fn a_program_that_cannot_be_started_is_a_loss() {
        let folder = tempfile::tempdir().unwrap();
        let (sleeper, mut running) = started(program(folder.path(), "/no/such/program"));
        sleeper.begin().await;
        let lost = running.lost().await.to_string();
        assert!(
            lost.starts_with("the task `sleeper` failed: failed to start /no/such/program"),
            "{lost}"
        );
    }
}

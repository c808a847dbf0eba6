//! The simulators of the other protocols, each a process of its own, so that
//! its cost is apart from everybody else's.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::{http, procfs::Cpu, wait};

/// How long a simulator may take to start.
const START: Duration = Duration::from_secs(30);
/// How long it may take to end.
const END: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// A running simulator; it ends with this value.
pub struct Peer {
    process: Child,
    ready: Json,
    folder: TempDir,
}

impl Peer {
    /// Starts a simulator and waits until it says that it is ready.
    pub fn start(
        program: &Path,
        protocol: &str,
        scenario: &Json,
        arguments: &[OsString],
    ) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("longshore-bench-").context("cannot make a folder")?;
        let file = folder.path().join("scenario.yaml");
        fs::write(&file, format!("{scenario:#}"))?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new(program);
        command
            .arg(protocol)
            .arg(&file)
            .args(["--control", "127.0.0.1:0"])
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let process = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        // From here on it ends with this value, ready or not.
        let mut peer = Self {
            process,
            ready: Json::Null,
            folder,
        };
        peer.ready = peer.first_line().with_context(|| {
            let log = fs::read_to_string(peer.folder.path().join("log")).unwrap_or_default();
            format!("{} does not start: {log}", program.display())
        })?;
        Ok(peer)
    }

    fn first_line(&mut self) -> anyhow::Result<Json> {
        let stdout = self.process.stdout.take().context("it has no output")?;
        let (said, hear) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            // Nobody waits any more when it took too long.
            let _ = said.send(read.map(|_| line));
        });
        let line = hear.recv_timeout(START).context("it says nothing")??;
        serde_json::from_str(&line).with_context(|| format!("it says `{}`", line.trim()))
    }

    /// What it has said of itself: one of the texts of its first line.
    pub fn told(&self, key: &str) -> anyhow::Result<&str> {
        let text = self.ready[key].as_str();
        text.with_context(|| format!("the simulator does not tell its `{key}`: {}", self.ready))
    }

    /// The folder in which it runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its state, from its control interface.
    pub fn state(&self) -> anyhow::Result<Json> {
        let at: SocketAddr = self.told("control")?.parse()?;
        let text = http::get(at, "/state").context("the simulator does not tell its state")?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Its processor time so far.
    pub fn cpu(&self) -> Cpu {
        Cpu::now(&[self.process.id()])
    }

    fn end(&mut self) -> anyhow::Result<()> {
        let Some(pid) = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw)
        else {
            bail!("it has no process id")
        };
        kill_process(pid, Signal::TERM)?;
        wait::until("the simulator's end", END, PAUSE, || {
            match self.process.try_wait() {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("it runs".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Asked first: what it has started itself ends with it.
        if self.end().is_err() {
            // It may have ended by itself; both then say so, and nothing is left to do.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

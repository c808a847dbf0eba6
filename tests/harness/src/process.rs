//! A child process that ends with the value that stands for it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

/// A running program and its log.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    supervises: bool,
}

impl Process {
    /// Starts `command`; its output goes to `folder/name.log`.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("the test's folder is writable");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file can be cloned"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log,
            supervises: false,
        }
    }

    /// It has children of its own, which it must be given the time to end.
    #[must_use]
    pub fn supervises(mut self) -> Self {
        self.supervises = true;
        self
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it ever had, in MiB.
    pub fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("it runs");
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
        peak.expect("Linux tells the peak of a process") / 1024
    }

    /// What it has written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of what it has written.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "{}:\n{}",
            self.name,
            lines[lines.len().saturating_sub(15)..].join("\n")
        )
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then waits for the end.
    pub async fn terminate(&mut self) -> ExitStatus {
        signal(self.pid(), "TERM");
        let what = format!("{} to end after SIGTERM", self.name);
        let child = std::cell::RefCell::new(&mut self.child);
        crate::wait::eventually(&what, || async {
            child
                .borrow_mut()
                .try_wait()
                .map_err(|error| error.to_string())?
                .ok_or_else(|| "it runs".to_owned())
        })
        .await
    }
}

impl Drop for Process {
    #[allow(clippy::print_stderr, reason = "what a failed test shows")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- end of the log of {}\n", self.log_tail());
        }
        if self.supervises && self.ended().is_none() {
            signal(self.pid(), "TERM");
            let _ = self.child.wait();
        }
        self.kill();
    }
}

/// Sends a signal by kill(1).
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status()
        .expect("kill(1) exists");
    assert!(status.success(), "no process {pid} to send {name} to");
}

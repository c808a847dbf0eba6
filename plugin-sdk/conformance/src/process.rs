//! One process for each rule: starts it, waits, and turns what happened there
//! into a verdict.

use std::{
    collections::VecDeque,
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use longshore_host::inspect;
use serde_json::Value;

use crate::{
    child::{Answer, Request, VARIABLE},
    clock::Stopwatch,
    report::{Judged, Report, Verdict},
    rules::{self, Rule},
    subject::{Source, Subject},
};

/// Rules that are judged at the same time. Most of their time they wait.
const AT_ONCE: usize = 8;
/// Time between two looks at a child.
const LOOK: Duration = Duration::from_millis(5);
/// So much of what a child printed is told.
const TOLD_LINES: usize = 5;

pub(crate) fn judge(subject: &Subject) -> Report {
    let chosen: Vec<&'static Rule> = rules::RULES
        .iter()
        .filter(|rule| subject.only.is_empty() || subject.only.iter().any(|only| only == rule.id))
        .collect();
    let waiting = Mutex::new(chosen.iter().copied().enumerate().collect::<VecDeque<_>>());
    let verdicts = Mutex::new(Vec::new());
    // Told by the thread that called: its name is that of the test.
    let caller = Caller::present();
    thread::scope(|scope| {
        for devices in places(subject) {
            let (waiting, verdicts, caller) = (&waiting, &verdicts, &caller);
            scope.spawn(move || {
                while let Some((place, rule)) = take(waiting) {
                    let judged = judge_one(subject, rule, devices, caller);
                    verdicts
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((place, judged));
                }
            });
        }
    });
    let mut verdicts = verdicts
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    verdicts.sort_by_key(|(place, _)| *place);
    Report {
        subject: subject.label(),
        mapper: name(subject),
        rules: verdicts.into_iter().map(|(_, judged)| judged).collect(),
    }
}

/// The devices of each place at which rules are judged one after the other.
fn places(subject: &Subject) -> Vec<&[Value]> {
    if subject.exclusive && !subject.devices.is_empty() {
        return subject.devices.chunks(1).take(AT_ONCE).collect();
    }
    vec![&subject.devices; AT_ONCE]
}

fn take(waiting: &Mutex<VecDeque<(usize, &'static Rule)>>) -> Option<(usize, &'static Rule)> {
    waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pop_front()
}

fn name(subject: &Subject) -> Option<String> {
    let Source::File(file) = &subject.source else {
        return None;
    };
    let descriptor = inspect(file).ok()?;
    Some(format!("{} {}", descriptor.name, descriptor.version))
}

/// How this process is called again.
struct Caller {
    arguments: Vec<std::ffi::OsString>,
}

impl Caller {
    /// A test's thread has the test's name, and that test alone is run again;
    /// a program is called as it was.
    fn present() -> Self {
        let arguments = match thread::current().name() {
            Some(test) if test != "main" => ["--exact", test, "--nocapture", "--test-threads=1"]
                .map(Into::into)
                .to_vec(),
            _ => std::env::args_os().skip(1).collect(),
        };
        Self { arguments }
    }

    fn command(&self, subject: &Subject) -> std::io::Result<Command> {
        if let Some(program) = &subject.program {
            return Ok(Command::new(program));
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.args(&self.arguments);
        Ok(command)
    }
}

fn judge_one(subject: &Subject, rule: &'static Rule, devices: &[Value], caller: &Caller) -> Judged {
    let begun = Instant::now();
    let Answer { verdict, why } =
        run(subject, rule, devices, caller).unwrap_or_else(|error| Answer {
            verdict: Verdict::NotJudged,
            why: format!("failed to start a process: {error}"),
        });
    Judged {
        rule: rule.id,
        contract: rule.contract,
        text: rule.text,
        verdict,
        why,
        hint: rule.hint,
        milliseconds: begun.elapsed().as_millis() as u64,
    }
}

fn run(
    subject: &Subject,
    rule: &Rule,
    devices: &[Value],
    caller: &Caller,
) -> std::io::Result<Answer> {
    let folder = tempfile::tempdir()?;
    let request = Request {
        rule: rule.id.to_owned(),
        file: match &subject.source {
            Source::File(file) => Some(fs::canonicalize(file).unwrap_or_else(|_| file.clone())),
            Source::Linked(_) => None,
        },
        devices: devices.to_vec(),
        answer: folder.path().join("answer.json"),
    };
    let printed = folder.path().join("printed");
    let mut command = caller.command(subject)?;
    command
        .env(VARIABLE, serde_json::to_string(&request)?)
        .envs(
            subject
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&printed)?);
    let mut child = command.spawn()?;
    let status = wait(&mut child, rule.limit)?;
    let answer = fs::read(&request.answer)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Answer>(&bytes).ok());
    Ok(match (status, answer) {
        (_, Some(answer)) => answer,
        (None, None) => Answer {
            verdict: Verdict::Broken,
            why: format!(
                "the mapper hung: no end after {} s{}",
                rule.limit.as_secs(),
                last_lines(&printed)
            ),
        },
        (Some(status), None) => Answer {
            verdict: Verdict::Broken,
            why: format!(
                "the mapper ended its process: {}{}",
                ending(status),
                last_lines(&printed)
            ),
        },
    })
}

/// The child's end; nothing if it had to be killed.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let watch = Stopwatch::of_process(child.id());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if watch.has_passed(limit) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

fn ending(status: ExitStatus) -> String {
    match status.signal() {
        Some(6) => "aborted (signal 6), as a panic or exception that leaves a function does".into(),
        Some(signal) => format!("signal {signal}"),
        None => status.to_string(),
    }
}

fn last_lines(printed: &Path) -> String {
    let text = fs::read(printed).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(TOLD_LINES)..]
        .iter()
        .map(|line| format!("\nit printed: {line}"))
        .collect()
}

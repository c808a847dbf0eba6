//! One process for each rule: starts it, waits, and turns what happened there
//! into a verdict.

use std::{
    collections::VecDeque,
    fs::{self, File},
    os::unix::process::{CommandExt, ExitStatusExt},
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
    report::{Judged, Report, Verdict, Wrote},
    rules::{self, Rule, Strength},
    subject::{Source, Subject},
    writes::{self, Ending, Journal, Writes, Written},
};

/// Rules that are judged at the same time. Most of their time they wait.
const AT_ONCE: usize = 8;
/// Time between two looks at a child.
const LOOK: Duration = Duration::from_millis(5);
/// A device that is slow to answer is put back by then.
const PUT_BACK_LIMIT: Duration = Duration::from_secs(120);
/// So much of what a child printed is told.
const TOLD_LINES: usize = 5;

pub(crate) fn judge(subject: &Subject) -> Report {
    let chosen: Vec<&'static Rule> = rules::RULES
        .iter()
        .filter(|rule| subject.only.is_empty() || subject.only.iter().any(|only| only == rule.id))
        .collect();
    let waiting = Mutex::new(chosen.iter().copied().enumerate().collect::<VecDeque<_>>());
    let verdicts = Mutex::new(Vec::new());
    let written = Mutex::new(Vec::new());
    // One at a time: what a rule reads while another one writes need not be the
    // value of the point.
    let pen = Mutex::new(());
    // Told by the thread that called: its name is that of the test.
    let caller = Caller::present();
    thread::scope(|scope| {
        for devices in places(subject) {
            let (waiting, verdicts, caller) = (&waiting, &verdicts, &caller);
            let (written, pen) = (&written, &pen);
            scope.spawn(move || {
                while let Some((place, rule)) = take(waiting) {
                    let alone = rule.writes && subject.writes == Writes::PutBack;
                    let turn = alone.then(|| pen.lock().unwrap_or_else(PoisonError::into_inner));
                    let (judged, wrote) = judge_one(subject, rule, devices, caller);
                    drop(turn);
                    let mut all = written.lock().unwrap_or_else(PoisonError::into_inner);
                    writes::merge(&mut all, wrote);
                    drop(all);
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
        written: put_back(
            subject,
            &caller,
            written.into_inner().unwrap_or_else(PoisonError::into_inner),
        ),
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

/// The verdict, and what was written on the way to it.
fn judge_one(
    subject: &Subject,
    rule: &'static Rule,
    devices: &[Value],
    caller: &Caller,
) -> (Judged, Vec<Written>) {
    let begun = Instant::now();
    let asked = Asked {
        rule: rule.id,
        limit: rule.limit,
        devices,
        writes: subject.writes,
        put_back: Vec::new(),
    };
    let (Answer { verdict, why, .. }, written) = if subject.is_stopped() {
        (interrupted(), Vec::new())
    } else {
        run(subject, asked, caller).unwrap_or_else(|error| {
            let why = format!("failed to start a process: {error}");
            (not_judged(why), Vec::new())
        })
    };
    let verdict = match (verdict, rule.strength) {
        (Verdict::Broken, Strength::Should) => Verdict::Missed,
        (verdict, _) => verdict,
    };
    let judged = Judged {
        rule: rule.id,
        contract: rule.contract,
        text: rule.text,
        strength: rule.strength,
        verdict,
        why,
        hint: rule.hint,
        milliseconds: begun.elapsed().as_millis() as u64,
    };
    (judged, written)
}

fn not_judged(why: String) -> Answer {
    Answer {
        verdict: Verdict::NotJudged,
        why,
        endings: Vec::new(),
    }
}

fn interrupted() -> Answer {
    not_judged("the judge was interrupted".to_owned())
}

/// Puts back what the rules wrote and is another now, in one more process: it
/// ends well or not, but not with the rules.
fn put_back(subject: &Subject, caller: &Caller, written: Vec<Written>) -> Vec<Wrote> {
    let mut told = Vec::new();
    for one in written {
        let asked = Asked {
            rule: "put-back",
            limit: PUT_BACK_LIMIT,
            devices: std::slice::from_ref(&one.device),
            writes: Writes::PutBack,
            put_back: vec![one.clone()],
        };
        let ending = match run(&subject.clone().unstoppable(), asked, caller) {
            Ok((answer, _)) => answer
                .endings
                .into_iter()
                .next()
                .unwrap_or(Ending::Lost { why: answer.why }),
            Err(error) => Ending::Lost {
                why: format!("failed to start a process: {error}"),
            },
        };
        let (found, lost) = match ending {
            Ending::Unchanged => (None, None),
            Ending::PutBack { found } => (Some(found), None),
            Ending::Lost { why } => (None, Some(why)),
        };
        told.push(Wrote {
            device: writes::name(&one.device),
            value: one.before.to_string(),
            point: one.point,
            times: one.times,
            found,
            lost,
        });
    }
    told
}

/// What a process is started for.
struct Asked<'a> {
    rule: &'a str,
    limit: Duration,
    devices: &'a [Value],
    writes: Writes,
    put_back: Vec<Written>,
}

fn run(
    subject: &Subject,
    asked: Asked<'_>,
    caller: &Caller,
) -> std::io::Result<(Answer, Vec<Written>)> {
    let folder = tempfile::tempdir()?;
    let request = Request {
        rule: asked.rule.to_owned(),
        file: match &subject.source {
            Source::File(file) => Some(fs::canonicalize(file).unwrap_or_else(|_| file.clone())),
            Source::Linked(_) => None,
        },
        devices: asked.devices.to_vec(),
        writes: asked.writes,
        journal: folder.path().join("written.json"),
        put_back: asked.put_back,
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
    if subject.writes == Writes::PutBack {
        // A Ctrl-C is for the judge: it ends its processes itself, and starts
        // one more to put back what they wrote.
        command.process_group(0);
    }
    let mut child = command.spawn()?;
    let end = wait(&mut child, asked.limit, subject)?;
    let answer = fs::read(&request.answer)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Answer>(&bytes).ok());
    let broken = |why: String| Answer {
        verdict: Verdict::Broken,
        why,
        endings: Vec::new(),
    };
    let answer = match (end, answer) {
        (_, Some(answer)) => answer,
        (End::Stopped, None) => interrupted(),
        (End::Late, None) => broken(format!(
            "the mapper hung: no end after {} s{}",
            asked.limit.as_secs(),
            last_lines(&printed)
        )),
        (End::Ended(status), None) => broken(format!(
            "the mapper ended its process: {}{}",
            ending(status),
            last_lines(&printed)
        )),
    };
    Ok((answer, Journal::read(&request.journal)))
}

/// How a child ended.
enum End {
    Ended(ExitStatus),
    /// Killed, because its time was over.
    Late,
    /// Killed, because nobody wants to know any more.
    Stopped,
}

fn wait(child: &mut Child, limit: Duration, subject: &Subject) -> std::io::Result<End> {
    let watch = Stopwatch::of_process(child.id());
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Ended(status));
        }
        let stopped = subject.is_stopped();
        if stopped || watch.has_passed(limit) {
            child.kill()?;
            child.wait()?;
            return Ok(if stopped { End::Stopped } else { End::Late });
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

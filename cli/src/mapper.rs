//! `longshore mapper`: what mapper libraries there are, what they say of
//! themselves, and whether they keep the mapper contract.

mod devices;
pub mod read;

use std::{
    fmt::Write as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Result;
use longshore_conformance::{Subject, check as judge};
use longshore_host::{Descriptor, inspect};
use longshore_process::{Signals, tasks};
use serde_json::json;

use crate::{
    libraries,
    output::{advised, emit, say},
    table,
};

/// Arguments of `longshore mapper check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The mapper library
    file: PathBuf,
    /// A device that answers: a file with a Device and its DeviceModel, or JSON as the mapper contract has it, `{"device", "protocol", "points"}` or a list of them; without one, rules that need values are left out
    #[arg(long, value_name = "FILE")]
    device: Option<PathBuf>,
    /// The device may be written to: only its points with `writable: true`, only values that were read from them just before, all put back at the end; without it nothing is written, and rules that need it are not judged
    #[arg(long)]
    allow_writes: bool,
    /// Judge only this rule; may be given several times
    #[arg(long, value_name = "NAME")]
    rule: Vec<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Arguments of `longshore mapper list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Folder of the mappers' libraries [default: found near the program]
    #[arg(long, value_name = "FOLDER")]
    mapper_dir: Option<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// Arguments of `longshore mapper show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The mapper library
    file: PathBuf,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Runs `longshore mapper check`.
pub(crate) async fn check(args: CheckArgs) -> Result<bool> {
    let file = args.file.display();
    if !args.file.is_file() {
        return Err(advised(
            format!("{file} does not exist, or is no file"),
            "`cargo build` of a mapper writes target/debug/libmapper_NAME.so; `longshore mapper list` shows those near this program",
        ));
    }
    if let (Err(error), Format::Text) = (inspect(&args.file), args.output) {
        say(&format!(
            "{file} is no mapper library that a host can load: {error}\n\n"
        ));
    }
    let mut subject = Subject::file(&args.file);
    if let Some(device) = &args.device {
        for device in devices::load(device)? {
            subject = subject.device(device);
        }
    }
    for rule in &args.rule {
        if !longshore_conformance::rules().any(|known| known.id == rule) {
            return Err(advised(
                format!("there is no rule `{rule}`"),
                "`longshore mapper check FILE` without --rule lists all of them",
            ));
        }
        subject = subject.only(&[rule]);
    }
    if args.allow_writes {
        subject = subject.allow_writes();
    }
    if args.output == Format::Text {
        say(&intent(&subject, args.allow_writes));
    }
    let (report, is_whole) = judged(subject).await?;
    match args.output {
        Format::Text => say(&report.to_string()),
        Format::Json => emit(&format!("{}\n", report.to_json())),
    };
    Ok(is_whole && report.conforms())
}

/// What will be written, said before it is.
fn intent(subject: &Subject, allowed: bool) -> String {
    let devices = subject.writable();
    let mut text = String::new();
    for (device, points) in &devices {
        let points = points.join(", ");
        // A text never fails to take more.
        let _ = match (allowed, points.is_empty()) {
            (false, _) => writeln!(
                text,
                "{device}: is only read; rules that have to write need --allow-writes"
            ),
            (true, true) => writeln!(
                text,
                "{device}: is only read, as none of its points has `writable: true`"
            ),
            (true, false) => writeln!(
                text,
                "{device}: will be written: {points}, some dozen times, each only with the value that was read from it just before; \
                 what has another value at the end is put back, also after Ctrl-C. A method that nobody knows is called once"
            ),
        };
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Judges in a thread, so that SIGINT and SIGTERM end it in order: what was
/// written is put back first.
/// Says too whether it came to its end.
async fn judged(subject: Subject) -> Result<(longshore_conformance::Report, bool)> {
    let stop = Arc::new(AtomicBool::new(false));
    // Each rule runs in a process of this program, which does nothing else then.
    let subject = subject
        .judged_in(std::env::current_exe()?)
        .until(Arc::clone(&stop));
    let mut signals = Signals::listen()?;
    let mut judging = std::pin::pin!(tasks::blocking("judge", move || judge(&subject)));
    loop {
        tokio::select! {
            report = &mut judging => return Ok((report?, !stop.load(Ordering::Relaxed))),
            signal = signals.asked() => {
                stop.store(true, Ordering::Relaxed);
                complain_of(signal);
            }
        }
    }
}

fn complain_of(signal: &str) {
    say(&format!(
        "{signal}: ending; what was written is put back first\n"
    ));
}

/// Runs `longshore mapper list`.
pub(crate) async fn list(args: ListArgs) -> Result<bool> {
    let folders = libraries::existing(args.mapper_dir.as_deref())?;
    let found = libraries::all(&folders);
    if args.output == Format::Json {
        let all: Vec<_> = found
            .iter()
            .map(|library| as_json(&library.file, &library.descriptor))
            .collect();
        emit(&format!("{:#}\n", json!(all)));
        return Ok(true);
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|library| {
            let Descriptor {
                name,
                version,
                protocol,
                ..
            } = &library.descriptor;
            let file = library.file.display().to_string();
            vec![name.clone(), version.clone(), protocol.clone(), file]
        })
        .collect();
    say(&table::render(
        &["NAME", "VERSION", "PROTOCOL", "FILE"],
        &rows,
    ));
    Ok(true)
}

/// Runs `longshore mapper show`.
pub(crate) async fn show(args: ShowArgs) -> Result<bool> {
    let descriptor = inspect(&args.file)?;
    match args.output {
        Format::Text => say(&describe(&descriptor)),
        Format::Json => emit(&format!("{:#}\n", as_json(&args.file, &descriptor))),
    };
    Ok(true)
}

fn as_json(file: &std::path::Path, descriptor: &Descriptor) -> serde_json::Value {
    json!({
        "name": descriptor.name,
        "version": descriptor.version,
        "protocol": descriptor.protocol,
        "target": descriptor.target,
        "contract": format!("{}.{}", CONTRACT, descriptor.abi_minor),
        "capabilities": capabilities(descriptor),
        "panicAborts": descriptor.panic_aborts,
        "schema": descriptor.schema.is_some(),
        "file": file,
    })
}

/// The major version of the contract: `inspect` takes no other.
const CONTRACT: u16 = 1;

/// In the order of their bits.
const CAPABILITIES: [&str; 7] = ["read", "write", "poll", "push", "call", "discover", "check"];

fn capabilities(descriptor: &Descriptor) -> Vec<&'static str> {
    CAPABILITIES
        .iter()
        .enumerate()
        .filter(|(bit, _)| descriptor.capabilities & (1 << bit) != 0)
        .map(|(_, name)| *name)
        .collect()
}

fn describe(descriptor: &Descriptor) -> String {
    let mut text = String::new();
    let isolation = if descriptor.panic_aborts {
        "in a process of its own only: a panic ends it"
    } else {
        "in a process of its own, or inside of the edge core"
    };
    let schema = match &descriptor.schema {
        Some(schema) => format!("{} bytes; see `longshore explain`", schema.len()),
        None => "none".to_owned(),
    };
    let contract = format!("{}.{}", CONTRACT, descriptor.abi_minor);
    for (key, value) in [
        ("name", descriptor.name.as_str()),
        ("version", &descriptor.version),
        ("protocol", &descriptor.protocol),
        ("target", &descriptor.target),
        ("contract", &contract),
        ("can", &capabilities(descriptor).join(", ")),
        ("runs", isolation),
        ("schema", &schema),
    ] {
        // A text never fails to take more.
        let _ = writeln!(text, "{key:<10}{value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_told_line_by_line() {
        let descriptor = Descriptor {
            name: "oven".to_owned(),
            version: "0.1.0".to_owned(),
            protocol: "oven".to_owned(),
            target: "x86_64-unknown-linux-gnu".to_owned(),
            abi_minor: 1,
            capabilities: 0b100_111,
            panic_aborts: false,
            schema: None,
        };
        assert_eq!(
            describe(&descriptor),
            "name      oven\n\
             version   0.1.0\n\
             protocol  oven\n\
             target    x86_64-unknown-linux-gnu\n\
             contract  1.1\n\
             can       read, write, poll, discover\n\
             runs      in a process of its own, or inside of the edge core\n\
             schema    none\n"
        );
    }
}

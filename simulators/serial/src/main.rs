//! `sim-serial`: simulated devices on serial lines as a process of their own.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context;
use clap::Parser;
use longshore_sim_serial::{Endpoint, Simulator};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// Simulates devices on serial lines: what they say stands in a scenario.
///
/// Prints one line of JSON with the ports when it is ready, and runs until it
/// is interrupted. A scenario with several lines wants NAME= before a place.
#[derive(Debug, Parser)]
#[command(name = "sim-serial", version)]
struct Arguments {
    /// The scenario file (YAML)
    scenario: PathBuf,
    /// Make a pty and link it here [default without any place: a link for each line in a temporary folder]
    #[arg(long, value_name = "[NAME=]PATH")]
    port_link: Vec<Place<PathBuf>>,
    /// Serve the line's bytes through TCP here; port 0 takes a free one
    #[arg(long, value_name = "[NAME=]ADDRESS")]
    tcp: Vec<Place<SocketAddr>>,
    /// Serve state and faults by HTTP here
    #[arg(long, value_name = "ADDRESS")]
    control: Option<SocketAddr>,
}

/// A place for a line.
#[derive(Debug, Clone)]
struct Place<T> {
    line: Option<String>,
    at: T,
}

impl<T: FromStr> FromStr for Place<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        let (line, at) = match text.split_once('=') {
            Some((line, at)) => (Some(line.to_owned()), at),
            None => (None, text),
        };
        Ok(Self {
            line,
            at: at.parse()?,
        })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .init();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if even this cannot be written.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // One thread is enough for serial lines, and leaves the other cores to
    // what is being tested.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut simulator = Simulator::from_file(&arguments.scenario)?;
    for place in &arguments.port_link {
        simulator.port(place.line.as_deref(), &place.at)?;
    }
    for place in &arguments.tcp {
        simulator.tcp(place.line.as_deref(), place.at).await?;
    }
    let own = match arguments.port_link.is_empty() && arguments.tcp.is_empty() {
        true => Some(own_links(&mut simulator)?),
        false => None,
    };
    let control = match arguments.control {
        Some(address) => Some(simulator.control(address).await?),
        None => None,
    };
    announce(&simulator, control).context("cannot print the ports")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    simulator.stop().await;
    if let Some(folder) = own {
        // Its links are gone; what somebody else has put there stays.
        let _ = std::fs::remove_dir(folder);
    }
    Ok(())
}

/// A link for each line in a folder of this process.
fn own_links(simulator: &mut Simulator) -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("sim-serial-{}", std::process::id()));
    std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let lines: Vec<String> = simulator.lines().map(str::to_owned).collect();
    for line in lines {
        simulator.port(Some(&line), &folder.join(&line))?;
    }
    Ok(folder)
}

fn announce(simulator: &Simulator, control: Option<SocketAddr>) -> io::Result<()> {
    let mut ready = serde_json::Map::new();
    let mut lines = serde_json::Map::new();
    for endpoint in simulator.endpoints() {
        let (line, kind, url) = match endpoint {
            Endpoint::Port { line, path } => (line, "port", path.display().to_string()),
            Endpoint::Tcp { line, address } => (line, "tcp", format!("tcp://{address}")),
        };
        // The first place under `url`, for scripts; those of each line in `lines`.
        ready.entry("url").or_insert_with(|| json!(url));
        ready.entry(kind).or_insert_with(|| json!(url));
        let of_line = lines.entry(line.clone()).or_insert_with(|| json!({}));
        if let Value::Object(of_line) = of_line {
            of_line.entry(kind).or_insert_with(|| json!(url));
        }
    }
    if let Some(address) = control {
        ready.insert("control".to_owned(), json!(address.to_string()));
    }
    ready.insert("lines".to_owned(), Value::Object(lines));
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &ready)?;
    writeln!(out)?;
    out.flush()
}

//! `sim-modbus`: simulated Modbus devices as a process of their own.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use longshore_sim_modbus::{Builder, Endpoint, Simulator, StartError, modbus};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// Simulates Modbus devices: registers that follow a scenario, and faults on demand.
///
/// Prints one line of JSON with the bound addresses when it is ready, and runs
/// until it is interrupted.
#[derive(Debug, Parser)]
#[command(name = "sim-modbus", version)]
struct Arguments {
    /// The scenario file (YAML)
    #[arg(required_unless_present = "bench")]
    scenario: Option<PathBuf>,
    /// Serve Modbus TCP here; port 0 takes a free one [default without any listener: 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS")]
    tcp: Vec<SocketAddr>,
    /// Serve RTU frames through TCP here
    #[arg(long, value_name = "ADDRESS")]
    rtu_tcp: Vec<SocketAddr>,
    /// Serve RTU on this serial port or pty
    #[arg(long, value_name = "PATH")]
    rtu: Vec<PathBuf>,
    /// Serve ASCII on this serial port or pty
    #[arg(long, value_name = "PATH")]
    ascii: Vec<PathBuf>,
    /// The speed of the serial ports
    #[arg(long, value_name = "N", default_value_t = 19_200)]
    baud: u32,
    /// Serve state and faults by HTTP here
    #[arg(long, value_name = "ADDRESS")]
    control: Option<SocketAddr>,
    /// Answer each request so many milliseconds after it came (never earlier, up to 1.1 ms later)
    #[arg(long, value_name = "N", default_value_t = 0)]
    delay_ms: u64,
    /// So many units with so many float32 each that change at each read, from address 0
    #[arg(long, value_name = "UNITS,FLOATS")]
    bench: Option<Bench>,
}

#[derive(Debug, Clone, Copy)]
struct Bench {
    units: u8,
    floats: u16,
}

/// Holding registers from 60000 on are for writing, so 30000 floats fit below.
const MOST_FLOATS: u16 = 30_000;

impl FromStr for Bench {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (units, floats) = text
            .split_once(',')
            .ok_or("expected UNITS,FLOATS like 100,1000")?;
        let units = units.trim().parse().ok().filter(|n| (1..=247).contains(n));
        let floats = floats
            .trim()
            .parse()
            .ok()
            .filter(|n| (1..=MOST_FLOATS).contains(n));
        Ok(Self {
            units: units.ok_or("there are 1 to 247 units")?,
            floats: floats.ok_or("there are 1 to 30000 floats in a unit")?,
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
            let _ = writeln!(io::stderr(), "error: {error:#}{}", hint(&error));
            ExitCode::FAILURE
        }
    }
}

fn hint(error: &anyhow::Error) -> &'static str {
    match error.downcast_ref() {
        Some(StartError::PortTaken { .. }) => {
            "\n\nhint: stop the other program, or take port 0 to get a free one"
        }
        Some(StartError::Serial { .. }) => {
            "\n\nhint: `socat -d -d pty,raw,echo=0,link=/tmp/line-a pty,raw,echo=0,link=/tmp/line-b` makes a pair of ports"
        }
        _ => "",
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let builder = build(arguments)?;
    // One thread is enough for a million registers each second, and leaves the
    // other cores to what is being tested.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(builder, arguments.control))
}

fn build(arguments: &Arguments) -> anyhow::Result<Builder> {
    let mut builder = modbus().delay(Duration::from_millis(arguments.delay_ms));
    match (&arguments.scenario, arguments.bench) {
        (Some(_), Some(_)) => bail!("a scenario and --bench exclude each other"),
        (Some(file), None) => builder = builder.scenario_file(file)?,
        (None, Some(bench)) => builder = builder.bench(bench.units, bench.floats),
        (None, None) => bail!("a scenario file or --bench is needed"),
    }
    for address in &arguments.tcp {
        builder = builder.tcp(*address);
    }
    for address in &arguments.rtu_tcp {
        builder = builder.rtu_over_tcp_on(*address);
    }
    for path in &arguments.rtu {
        builder = builder.serial_at(path, arguments.baud);
    }
    for path in &arguments.ascii {
        builder = builder.ascii_at(path, arguments.baud);
    }
    Ok(builder)
}

async fn serve(builder: Builder, control: Option<SocketAddr>) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut simulator = builder.try_start().await?;
    let control = match control {
        Some(address) => Some(simulator.control(address).await?),
        None => None,
    };
    announce(&simulator, control).context("cannot print the addresses")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    simulator.stop().await;
    Ok(())
}

fn announce(simulator: &Simulator, control: Option<SocketAddr>) -> io::Result<()> {
    let endpoints: Vec<_> = simulator
        .endpoints()
        .iter()
        .map(|endpoint| match endpoint {
            Endpoint::Tcp(address) => json!({"tcp": address.to_string()}),
            Endpoint::RtuTcp(address) => json!({"rtuTcp": address.to_string()}),
            Endpoint::Rtu(path) => json!({"rtu": path.display().to_string()}),
            Endpoint::Ascii(path) => json!({"ascii": path.display().to_string()}),
        })
        .collect();
    // The first of each kind under its own key, for scripts; all of them in `endpoints`.
    let mut line = serde_json::Map::new();
    for endpoint in &endpoints {
        for (kind, address) in endpoint.as_object().into_iter().flatten() {
            line.entry(kind.clone()).or_insert_with(|| address.clone());
        }
    }
    if let Some(address) = control {
        line.insert("control".to_owned(), json!(address.to_string()));
    }
    line.insert("endpoints".to_owned(), json!(endpoints));
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &line)?;
    writeln!(out)?;
    out.flush()
}

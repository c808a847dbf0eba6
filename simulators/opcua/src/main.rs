//! `sim-opcua`: a simulated OPC UA server as a process of its own.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use longshore_sim_opcua::{Builder, Simulator, StartError, opcua};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// Simulates an OPC UA server: nodes that follow a scenario, and faults on demand.
///
/// Prints one line of JSON with its URL when it is ready, and runs until it is
/// interrupted.
#[derive(Debug, Parser)]
#[command(name = "sim-opcua", version)]
struct Arguments {
    /// The scenario file (YAML)
    scenario: PathBuf,
    /// Serve OPC UA here; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Serve state and faults by HTTP here
    #[arg(long, value_name = "ADDRESS")]
    control: Option<SocketAddr>,
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
        _ => "",
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let builder = opcua()
        .scenario_file(&arguments.scenario)?
        .listen(arguments.listen);
    // One thread is enough, and leaves the other cores to what is being tested.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(builder, arguments.control))
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
    let mut line = serde_json::Map::new();
    line.insert("url".to_owned(), json!(simulator.url()));
    line.insert("listen".to_owned(), json!(simulator.addr().to_string()));
    if let Some(address) = control {
        line.insert("control".to_owned(), json!(address.to_string()));
    }
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &line)?;
    writeln!(out)?;
    out.flush()
}

//! `sim-bluetooth`: simulated Bluetooth devices as a process of their own.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use longshore_sim_bluetooth::{StartError, bluetooth};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// Simulates BlueZ and Bluetooth LE devices on a private D-Bus: advertisements
/// and GATT that follow a scenario, and faults on demand.
///
/// Prints one line of JSON with the bus's address when it is ready, and runs
/// until it is interrupted.
#[derive(Debug, Parser)]
#[command(name = "sim-bluetooth", version)]
struct Arguments {
    /// The scenario file (YAML)
    scenario: PathBuf,
    /// Join this D-Bus in place of starting a private one
    #[arg(long, value_name = "ADDRESS")]
    bus: Option<String>,
    /// Put the socket of the private D-Bus here [default: in a temporary folder]
    #[arg(long, value_name = "PATH", conflicts_with = "bus")]
    socket: Option<PathBuf>,
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
        Some(StartError::Daemon(_)) => "\n\nhint: apt-get install dbus",
        Some(StartError::Listen { .. }) => "\n\nhint: take port 0 to get a free one",
        _ => "",
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut builder = bluetooth().scenario_file(&arguments.scenario)?;
    if let Some(address) = &arguments.bus {
        builder = builder.bus(address);
    }
    if let Some(socket) = &arguments.socket {
        builder = builder.socket(socket);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(builder, arguments.control))
}

async fn serve(
    builder: longshore_sim_bluetooth::Builder,
    control: Option<SocketAddr>,
) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut simulator = builder.try_start().await?;
    let mut line = serde_json::Map::new();
    line.insert("bus".to_owned(), json!(simulator.address()));
    if let Some(address) = control {
        let bound = simulator.control(address).await?;
        line.insert("control".to_owned(), json!(bound.to_string()));
    }
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &line).context("cannot print the addresses")?;
    writeln!(out)
        .and_then(|()| out.flush())
        .context("cannot print the addresses")?;
    drop(out);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    simulator.stop().await;
    Ok(())
}

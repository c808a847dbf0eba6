//! `edgecore`: one process per edge node, and (as `edgecore mapper-host`) one
//! more for each mapper.

use std::{
    error::Error,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use longshore_edge::{
    app::App,
    config::{Config, LogConfig},
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{
    Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

/// Where the configuration is looked for.
const DEFAULT_CONFIG: &str = "/etc/longshore/edgecore.yaml";
/// The configuration is wrong: starting again will not help.
const EXIT_CONFIG: u8 = 2;

/// Keeps the devices of an edge node and their twins in step.
#[derive(Debug, Parser)]
#[command(name = "edgecore", version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Checks the configuration and ends.
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "mapper-host") {
        return longshore_host::child::run(arguments);
    }
    let arguments = Arguments::parse();
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => return fail(&error, EXIT_CONFIG),
    };
    if arguments.check_config {
        say(
            &mut io::stdout(),
            &format!("`{}` is valid", arguments.config.display()),
        );
        return ExitCode::SUCCESS;
    }
    log(config.log());
    // One thread for everything that waits; the store has its own.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    match runtime.block_on(live(&config)) {
        Ok(code) => code,
        Err(error) => fail(&*error, 1),
    }
}

async fn live(config: &Config) -> Result<ExitCode, Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut app = App::start(config).await?;
    let code = tokio::select! {
        _ = terminate.recv() => ExitCode::SUCCESS,
        _ = interrupt.recv() => ExitCode::SUCCESS,
        () = app.failed() => return Ok(ExitCode::FAILURE),
    };
    tracing::info!("edge ends");
    app.stop().await;
    Ok(code)
}

fn log(config: &LogConfig) {
    // The broker's crate tells about each client as info; that is debug for us.
    let level = if config.level.contains("mqtt5") {
        config.level.clone()
    } else {
        format!("mqtt5=warn,{}", config.level)
    };
    // Checked when the configuration was read. Not the filter with regular
    // expressions: it alone would be a tenth of the binary.
    let filter: Targets = level
        .parse()
        .unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO));
    let layer = fmt::layer().with_writer(io::stderr);
    let layer = if config.json {
        layer.json().boxed()
    } else {
        let ansi = io::IsTerminal::is_terminal(&io::stderr());
        layer.with_ansi(ansi).boxed()
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .init();
}

/// Prints the chain of causes; what to do stands in the messages.
fn fail(error: &dyn Error, code: u8) -> ExitCode {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\ncaused by: {error}"));
        cause = error.source();
    }
    say(&mut io::stderr(), &text);
    ExitCode::from(code)
}

/// A closed terminal is no reason to fail.
fn say(out: &mut dyn Write, text: &str) {
    let _ = writeln!(out, "{text}");
}

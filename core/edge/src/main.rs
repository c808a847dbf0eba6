//! `edgecore`: one process per edge node, and (as `edgecore mapper-host`) one
//! more for each mapper.

mod arguments;

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use arguments::{ArgumentError, Arguments};
use longshore_edge::{
    app::App,
    config::{Config, LogConfig},
    store::StoreError,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{
    Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

/// The configuration is wrong: starting again will not help.
const EXIT_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|first| first == "mapper-host").is_some() {
        return longshore_host::child::run(arguments);
    }
    let (file, check) = match Arguments::parse(arguments) {
        Ok(Arguments::Run { config, check }) => (config, check),
        Ok(Arguments::Help) => return tell(arguments::HELP),
        Ok(Arguments::Version) => return tell(concat!("edgecore ", env!("CARGO_PKG_VERSION"))),
        Err(error) => return fail(&error, EXIT_CONFIG),
    };
    if !file.exists() {
        return fail(&ArgumentError::NoConfiguration(file), EXIT_CONFIG);
    }
    let config = match Config::load(&file) {
        Ok(config) => config,
        Err(error) => return fail(&error, EXIT_CONFIG),
    };
    if check {
        return tell(&format!("`{}` is valid", file.display()));
    }
    log(config.log());
    // Twins, passwords and what mappers keep are nobody else's business.
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
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

/// Prints the chain of causes, and what to do at the end.
fn fail(error: &(dyn Error + 'static), code: u8) -> ExitCode {
    let (mut text, mut hints) = (String::from("error: "), String::new());
    let mut cause = Some(error);
    while let Some(error) = cause {
        let message = error.to_string();
        let (message, hint) = message.split_once("\n\nhint: ").unwrap_or((&message, ""));
        text.push_str(message);
        if !hint.is_empty() {
            hints.push_str(&format!("\nhint: {hint}"));
        }
        if let Some(hint) = error.downcast_ref().and_then(StoreError::hint) {
            hints.push_str(&format!("\nhint: {hint}"));
        }
        cause = error.source();
        if cause.is_some() {
            text.push_str("\ncaused by: ");
        }
    }
    if !hints.is_empty() {
        text.push_str(&format!("\n{hints}"));
    }
    say(&mut io::stderr(), &text);
    ExitCode::from(code)
}

/// Prints what was asked for.
fn tell(text: &str) -> ExitCode {
    say(&mut io::stdout(), text);
    ExitCode::SUCCESS
}

/// A closed terminal is no reason to fail.
fn say(out: &mut dyn Write, text: &str) {
    let _ = writeln!(out, "{text}");
}

//! `edgecore`: one process per edge node, and (as `edgecore mapper-host`) one
//! more for each mapper.

mod arguments;

use std::{path::Path, process::ExitCode, time::Duration};

use arguments::Arguments;
use longshore_edge::{app::App, config::Config};
use longshore_process::{Failure, Signals, conclude, error::tell, private, runtime};

/// Time for everything to end: twins are saved, mappers stop, the hub hears
/// goodbye. systemd waits longer before it kills.
const DRAIN: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|first| first == "mapper-host").is_some() {
        return longshore_host::child::run(arguments);
    }
    conclude(act(Arguments::parse(arguments)))
}

fn act(arguments: Result<Arguments, arguments::ArgumentError>) -> Result<(), Failure> {
    match arguments? {
        Arguments::Help => tell(arguments::HELP),
        Arguments::Version => tell(concat!("edgecore ", env!("CARGO_PKG_VERSION"))),
        Arguments::Check { config } => {
            Config::load(&config)?;
            tell(&format!("`{}` is valid", config.display()));
        }
        Arguments::Run { config } => run(&config)?,
    }
    Ok(())
}

fn run(file: &Path) -> Result<(), Failure> {
    let config = Config::load(file)?;
    let log = config.log().clone();
    log.relayed("longshore_host::peer::logs").init();
    // Twins, passwords and what mappers keep are nobody else's business.
    private::umask();
    // One thread for everything that waits; the store has its own.
    runtime::small()?.block_on(live(&config))
}

async fn live(config: &Config) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let mut app = App::build(config).await?.spawn(config)?;
    let end = tokio::select! {
        signal = signals.asked() => {
            tracing::info!(signal, "edge ends");
            Ok(())
        }
        lost = app.lost() => Err(lost),
    };
    app.drain(DRAIN).await;
    Ok(end?)
}

//! `cloudhub`: parse, build, run, wait, drain.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use longshore_hub::{
    Config, RunningHub, StartError, error_chain,
    identity::{self, Authority},
};
use longshore_types::NodeName;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Where the configuration is looked for.
const DEFAULT_CONFIG: &str = "/etc/longshore/cloudhub.yaml";

/// Brings devices from Kubernetes to their edges, and their state back.
#[derive(Parser)]
#[command(name = "cloudhub", version, args_conflicts_with_subcommands = true)]
struct Command {
    #[command(flatten)]
    run: Location,
    /// Check the configuration and exit
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Args)]
struct Location {
    /// Configuration file (YAML) [default: /etc/longshore/cloudhub.yaml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Action {
    /// Make the certificate of a node: ca.crt, node.crt and node.key
    IssueNode {
        /// Name of the node
        node: NodeName,
        /// Folder for the files
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        #[command(flatten)]
        location: Location,
        /// The hub's state folder, instead of the one of the configuration
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let command = Command::parse();
    match act(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error_chain(error.as_ref());
            if let Some(StartError::Store(store)) = error.downcast_ref()
                && let Some(hint) = store.hint()
            {
                text.push_str(&format!("\n\nhint: {hint}"));
            }
            eprint_error(&text);
            ExitCode::FAILURE
        }
    }
}

fn act(command: Command) -> anyhow::Result<()> {
    match command.action {
        Some(Action::IssueNode {
            node,
            out,
            location,
            state_dir,
        }) => {
            let state_dir = match state_dir {
                Some(folder) => folder,
                None => load(&location)?.state_dir().to_owned(),
            };
            let authority = Authority::open(&state_dir)?;
            identity::write_node(&authority, &node, &out)?;
            Ok(())
        }
        None => {
            let config = load(&command.run)?;
            if command.check_config {
                return Ok(());
            }
            serve(&config)
        }
    }
}

fn load(location: &Location) -> anyhow::Result<Config> {
    Ok(match &location.config {
        Some(file) => Config::load(file)?,
        None if Path::new(DEFAULT_CONFIG).exists() => Config::load(DEFAULT_CONFIG.as_ref())?,
        None => anyhow::bail!(
            "no configuration at `{DEFAULT_CONFIG}`\n\nhint: name one with --config FILE; an empty file takes all defaults"
        ),
    })
}

fn serve(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log().level)?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if config.log().json {
        logs.json().init();
    } else {
        logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let hub = tokio::select! {
            hub = RunningHub::start(config) => hub?,
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        hub.stop().await;
        Ok(())
    })
}

/// The one thing that is said outside of the log: why there is none.
#[allow(clippy::print_stderr)]
fn eprint_error(text: &str) {
    eprintln!("error: {text}");
}

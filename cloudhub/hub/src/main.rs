//! `cloudhub`: parse, build, spawn, wait, drain.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use longshore_hub::{
    Config, Environment, RunningHub,
    identity::{self, Authority},
};
use longshore_process::{Exit, Explain, Failure, Signals, conclude};
use longshore_types::NodeName;

/// Where the configuration is looked for.
const DEFAULT_CONFIG: &str = "/etc/longshore/cloudhub.yaml";

/// Threads that still work at the end have so long.
const LAST_WORK: Duration = Duration::from_secs(1);

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

/// There is no file, and none was named.
#[derive(Debug, thiserror::Error)]
#[error("no configuration at `{DEFAULT_CONFIG}`")]
struct NoConfig;

impl Explain for NoConfig {
    fn hint(&self) -> Option<String> {
        Some("name one with --config FILE; an empty file takes all defaults".to_owned())
    }

    fn exit(&self) -> Exit {
        Exit::Configuration
    }
}

fn main() -> ExitCode {
    conclude(act(Command::parse()))
}

fn act(command: Command) -> Result<(), Failure> {
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

fn load(location: &Location) -> Result<Config, Failure> {
    let file = match &location.config {
        Some(file) => file.as_path(),
        None if Path::new(DEFAULT_CONFIG).exists() => DEFAULT_CONFIG.as_ref(),
        None => return Err(NoConfig.into()),
    };
    Ok(Config::load(file, Environment::of_process())?)
}

fn serve(config: &Config) -> Result<(), Failure> {
    config.log().init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let end = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let mut hub = tokio::select! {
            hub = RunningHub::start(config) => hub?,
            _ = signals.asked() => return Ok(()),
        };
        let end = tokio::select! {
            _ = signals.asked() => Ok(()),
            lost = hub.lost() => Err(lost),
        };
        hub.stop().await;
        Ok(end?)
    });
    // What is still at work on a thread, such as a large request, is for nobody any
    // more: the files are closed.
    runtime.shutdown_timeout(LAST_WORK);
    end
}

//! The surface: commands and their arguments.

use clap::{Parser, Subcommand};

use crate::up;

/// Runs devices and pods on edge nodes that are small, far away and often offline.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, max_term_width = 100)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the demo: simulator, edge node and hub, until Ctrl-C
    Up(up::UpArgs),
    /// Show what runs where
    Status(up::StatusArgs),
}

//! The surface: commands and their arguments.

use clap::{Parser, Subcommand};

use crate::{
    apply, describe, discover, explain, get, mapper, new, profile, set, sim, up, validate, watch,
};

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
    /// List devices, models or nodes
    Get(get::GetArgs),
    /// Show all that is known of a device
    #[command(subcommand)]
    Describe(Describe),
    /// Follow the values of a device
    #[command(subcommand)]
    Watch(Watch),
    /// Change desired values
    #[command(subcommand)]
    Set(Set),
    /// Create or change devices and models from files
    Apply(apply::ApplyArgs),
    /// Test without hardware
    #[command(subcommand)]
    Test(Test),
    /// Look for devices, and write manifests to start from
    Discover(discover::DiscoverArgs),
    /// Show what may stand in the configuration of a protocol
    Explain(explain::ExplainArgs),
    /// Check manifests without a cluster: keys, values, and what the protocol's mapper takes
    Validate(validate::ValidateArgs),
    /// Run simulated devices
    Sim(sim::SimArgs),
    /// Mapper libraries: list, show, check against the mapper contract
    #[command(subcommand)]
    Mapper(Mapper),
    /// Write something to start from
    #[command(subcommand)]
    New(New),
}

/// What to do with mapper libraries.
#[derive(Debug, Subcommand)]
pub enum Mapper {
    /// Judge a mapper library by every rule of the mapper contract
    Check(mapper::CheckArgs),
    /// Read each point of a device once, and end; nothing is written
    Read(mapper::read::ReadArgs),
    /// List the mapper libraries near this program
    List(mapper::ListArgs),
    /// Show what a mapper library says of itself, without running it
    Show(mapper::ShowArgs),
}

/// What to write.
#[derive(Debug, Subcommand)]
pub enum New {
    /// A mapper for a new protocol, with a simulated device and tests
    Mapper(new::MapperArgs),
    /// A device profile: a model, a device and its test without hardware
    Profile(new::profile::ProfileArgs),
}

/// What to describe.
#[derive(Debug, Subcommand)]
pub enum Describe {
    /// Each property of a device: desired, reported, quality, times, last error, last write
    #[command(alias = "devices")]
    Device(describe::DescribeArgs),
    /// Anything else: `device` was left out.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// What to watch.
#[derive(Debug, Subcommand)]
pub enum Watch {
    /// A line for each change of a device, until Ctrl-C
    #[command(alias = "devices")]
    Device(watch::WatchArgs),
    /// Anything else: `device` was left out.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// What to set.
#[derive(Debug, Subcommand)]
pub enum Set {
    /// Set desired values of a device, checked against its model first
    #[command(alias = "devices")]
    Device(set::SetArgs),
    /// Anything else: `device` was left out.
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// What to test.
#[derive(Debug, Subcommand)]
pub enum Test {
    /// Check device profiles against simulated devices, through the real mapper and edge core
    Profile(profile::ProfileArgs),
}

//! The command line, `longshore`, for people who have devices to run.
//!
//! It speaks to the Kubernetes API like any other client, so that everything
//! it does can be done with kubectl too; what it adds are views that need
//! several objects at once (`describe`, `watch`) and checks before a change
//! is sent (`set`). `up` runs the demo, `test profile` proves a device profile
//! without hardware.
//!
//! What a command prints is a pure function of the objects it has read and of
//! the time; only reading and writing them is not.

pub mod apply;
pub mod args;
pub mod describe;
pub mod discover;
pub mod explain;
pub mod get;
pub mod mapper;
pub mod new;
pub mod profile;
pub mod set;
pub mod sim;
pub mod up;
pub mod validate;
pub mod watch;

mod api;
mod conversation;
mod edge;
mod home;
mod libraries;
mod output;
#[cfg(test)]
mod reference;
mod table;
mod view;
mod wire;

use std::process::ExitCode;

/// Runs one command and returns the exit code.
pub fn run(args: args::Args) -> ExitCode {
    use args::{Command, Describe, Mapper, New, Set, Test, Watch};
    match args.command {
        Command::Up(args) => output::block_on(up::up(args)),
        Command::Status(args) => output::block_on(up::status(args)),
        Command::Get(args) => output::block_on(get::run(args)),
        Command::Describe(Describe::Device(args)) => output::block_on(describe::run(args)),
        Command::Watch(Watch::Device(args)) => output::block_on(watch::run(args)),
        Command::Set(Set::Device(args)) => output::block_on(set::run(args)),
        Command::Describe(Describe::Other(words)) => output::misspelt("describe", &words),
        Command::Watch(Watch::Other(words)) => output::misspelt("watch", &words),
        Command::Set(Set::Other(words)) => output::misspelt("set", &words),
        Command::Apply(args) => output::block_on(apply::run(args)),
        Command::Discover(args) => output::block_on(discover::run(args)),
        Command::Explain(args) => output::block_on(explain::run(args)),
        Command::Validate(args) => output::block_on(validate::run(args)),
        Command::Sim(args) => output::block_on(sim::run(args)),
        Command::Mapper(Mapper::Check(args)) => output::block_on(mapper::check(args)),
        Command::Mapper(Mapper::Read(args)) => output::block_on(mapper::read::run(args)),
        Command::Mapper(Mapper::List(args)) => output::block_on(mapper::list(args)),
        Command::Mapper(Mapper::Show(args)) => output::block_on(mapper::show(args)),
        Command::New(New::Mapper(args)) => output::block_on(new::mapper(args)),
        Command::New(New::Profile(args)) => output::block_on(new::profile::run(args)),
        Command::Test(Test::Profile(args)) => output::block_on(profile::run(args)),
    }
}

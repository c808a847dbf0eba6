//! The command line, `longshore`, for people who have devices to run.
//!
//! It speaks to the Kubernetes API like any other client, so that everything
//! it does can be done with kubectl too; what it adds are views that need
//! several objects at once (`describe`, `watch`) and checks before a change
//! is sent (`set`). `up` runs the demo, `test profile` proves a device profile
//! without hardware.

pub mod args;
pub mod up;

/// Runs one command and returns the exit code.
pub fn run(args: args::Args) -> std::process::ExitCode {
    use args::Command;
    match args.command {
        Command::Up(args) => up::up(args),
        Command::Status(args) => up::status(args),
    }
}

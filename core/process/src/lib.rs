//! The life of a daemon: parse, build, spawn, wait, drain.
//!
//! Two daemons and the supervisor of the demo live the same life, and what goes
//! wrong in it must be seen in the same places. This crate knows nothing of
//! devices or of Kubernetes.
//!
//! # Guarantees
//!
//! - A task that ends without being asked ends the process, or stands in
//!   [`Health::faults`] (for `/readyz`) under its name, at once.
//! - Nothing runs before everything is built: [`Tasks`] only collects, and
//!   [`Tasks::spawn`] starts all of it.
//! - The end has one order ([`Stage`]) and one budget; who does not keep to it
//!   is named and cut off.
//! - A configuration is refused with all that is wrong with it, each with its
//!   line; what `--check-config` lets pass, a start does not refuse.
//! - A hint is a method of an error ([`Explain`]), never cut out of a text.
//!
//! # A daemon
//!
//! ```
//! use std::time::Duration;
//! use longshore_process::{Failure, LogConfig, Loss, Signals, Stage, Tasks, config};
//!
//! struct Settings {
//!     logs: LogConfig,
//! }
//!
//! fn read(root: &mut config::Section) -> Option<Settings> {
//!     Some(Settings { logs: root.section("log").log() })
//! }
//!
//! fn start(settings: &Settings) -> Result<(), Failure> {
//!     settings.logs.init();
//!     longshore_process::runtime::small()?.block_on(async {
//!         let mut signals = Signals::listen()?;
//!         // Build: ports are bound and files opened here, and nothing runs.
//!         let mut tasks = Tasks::new();
//!         tasks.add("engine", Stage::Engines, Loss::EndsProcess, |mut stop| async move {
//!             stop.asked().await; // work until asked, then save
//!         });
//!         tasks.add("folder", Stage::Workers, Loss::IsFault, |stop| {
//!             stop.cut(std::future::pending::<()>()) // may be cut off at any point
//!         });
//!         // Spawn, wait, drain.
//!         let mut running = tasks.spawn();
//! #       running.kill("engine");
//!         let end = tokio::select! {
//!             _ = signals.asked() => Ok(()),
//!             lost = running.lost() => Err(lost),
//!         };
//!         running.drain(Duration::from_secs(5)).await;
//!         Ok(end?)
//!     })
//! }
//!
//! let settings = config::parse("log: {level: warn}", ".".as_ref(), read).unwrap();
//! let error = start(&settings).unwrap_err();
//! assert_eq!(error.to_string(), "the task `engine` panicked: killed for a test");
//! ```

pub mod clock;
pub mod config;
pub mod error;
pub mod http;
pub mod logs;
pub mod printable;
pub mod private;
pub mod run_file;
pub mod runtime;
pub mod signals;
pub mod tasks;

pub use config::{ConfigError, ConfigFault};
pub use error::{Exit, Explain, Failure, chain, conclude, report};
pub use logs::LogConfig;
pub use run_file::RunFile;
pub use signals::Signals;
pub use tasks::{Group, Health, Loss, Lost, Owned, Running, Stage, Stop, Tasks};

//! Runs mapper libraries, so that the edge need not care where: the same `.so`
//! in a child process, or in-process on a thread of its own.
//!
//! # Why this shape
//!
//! A mapper is foreign code that talks to foreign devices. In a child process
//! whatever it does to itself costs only itself; a batch-shaped contract makes
//! that cheap, because a thousand samples cross with one `writev` of the
//! contract's own structs. Both ways of running speak the same messages
//! ([`Mapper`] does not know which one it has), and *when* to start, kill and
//! give up is a pure state machine beside them.
//!
//! # Guarantees
//!
//! - Nothing of a library runs before [`inspect`] found it fit: architecture,
//!   version of the contract, completeness of the file.
//! - A mapper in a child that crashes, hangs, floods or emits garbage costs
//!   only itself, and is back within about a second.
//! - Every queue is bounded. A mapper that emits more than the edge takes is
//!   told so; the edge's memory does not grow.
//! - Each command that [`Mapper::submit`] took gets one completion, unless a
//!   [`MapperEvent::Down`] comes first.
//! - A child ends when its host does, however the host ends.
//! - With [`HostOptions::copies`], another version of the file takes over
//!   between two polls, and one that fails within its trial is replaced by the
//!   one before it, which says why ([`MapperState::Running`]).
//!
//! # Caveats
//!
//! In-process, a crash takes the edge down and a hang ends only with the edge;
//! such a mapper becomes [`MapperState::Failed`]. So a new version that hangs is
//! rolled back only in a child. A library is never unloaded: in-process, each
//! version that was replaced keeps its memory ([`Stats::retired_images`]).
//!
//! # Example
//!
//! ```no_run
//! use longshore_host::{HostOptions, Isolation, Mapper, MapperEvent, MapperSpec};
//!
//! # async fn run() {
//! let spec = MapperSpec {
//!     name: "modbus".into(),
//!     file: "/usr/lib/longshore/libmapper_modbus.so".into(),
//!     isolation: Isolation::Process,
//!     config: serde_json::json!({}),
//! };
//! // The capacity is the back-pressure: batches that the edge has not taken yet.
//! let (sender, mut events) = tokio::sync::mpsc::channel(16);
//! let mapper = Mapper::start(spec, HostOptions::default(), sender);
//! while let Some(event) = events.recv().await {
//!     match event {
//!         MapperEvent::Up { .. } => { /* submit the configuration of every device */ }
//!         MapperEvent::Batch { batch, .. } => {
//!             for sample in batch.samples() {
//!                 let _ = (sample.point, sample.value, sample.quality);
//!             }
//!         }
//!         MapperEvent::Down { reason, .. } => eprintln!("{} is down: {reason}", mapper.name()),
//!     }
//! }
//! # }
//! ```

pub mod bare;
mod batch;
pub mod child;
mod command;
mod copies;
mod driver;
mod event;
#[doc(hidden)]
pub mod fuzzing;
mod gather;
mod inbox;
mod inspect;
mod library;
mod mapper;
mod offer;
mod pace;
mod peer;
mod spec;
mod stats;
mod supervise;
mod sys;
mod watchdog;
mod wire;

pub use batch::{Batch, CompletionRef, SampleRef, StateRef};
pub use command::{Command, CommandKind, Status};
pub use event::{MapperEvent, MapperState, Refused};
pub use inspect::{Descriptor, InspectError, inspect};
pub use mapper::{Mapper, SubmitError};
pub use spec::{HostOptions, Isolation, MapperSpec};
pub use stats::Stats;

/// Gives memory back to the system that is not needed any more: what was
/// freed, and code that only the start needed. For a moment of rest after work
/// that took much memory for a while, such as reading thousands of
/// configurations; it takes some milliseconds.
pub fn release_memory() {
    sys::release_free_memory();
    sys::release_code();
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

//! The twin engine: what devices are, what they should be, and who hears of it.
//!
//! State, inputs and the time go in; messages for the bus, commands for the
//! mappers, rows for the store and reports for the hub come out. There is no
//! socket, file, thread or clock in it, so a test drives years of a plant in
//! milliseconds. The task around it is `core/edge/src/twin`.
//!
//! # Expected flow
//!
//! 1. [`Reconciliation`] compares the store's objects with what the engine
//!    serves; [`Engine::mapper_up`] and [`Engine::mapper_down`] say who can be asked.
//! 2. [`Engine::samples`] takes a batch of readings, [`Engine::completion`] the
//!    end of a command, [`Engine::tick`] the time.
//! 3. After each of them the caller takes [`Engine::messages`] to the bus and
//!    carries out [`Engine::take_outputs`]. What was not taken is given back
//!    ([`Engine::not_submitted`], [`Engine::not_retained`]) and comes again.
//! 4. Whenever the store is free it gets [`Engine::next_save`], and the engine
//!    hears by [`Engine::stored`] what became of it.
//!
//! # Guarantees
//!
//! - A batch of readings is taken in one pass, and one message per device goes
//!   out, only if somebody listens ([`Interest`]). Nothing is allocated for a
//!   sample that carries a number.
//! - A desired value is checked before it is written, and confirmed by reading
//!   it back; what became of it is kept over restarts.
//! - What is answered is kept. An update is part of the twin once the store has
//!   its rows: then it is answered and goes to the device, never before. One that
//!   the store refuses changes nothing. An outcome shows once it is stored.
//! - An id that leads nowhere is told: where it may by right, the code says so;
//!   elsewhere it is counted and logged ([`EngineStats::dangling`],
//!   [`EngineStats::never_given`]).
//! - Devices, models and mappers may come and go in any order; what is not
//!   touched by a change is not disturbed by it.

mod blob;
mod desired;
mod engine;
mod events;
mod format;
mod now;
mod outputs;
mod planned;
mod point;
mod reconcile;
mod rules;
mod stats;

pub use engine::{Engine, MapperInfo};
pub use now::Now;
pub use outputs::{
    DeviceChange, Interest, LocalUpdate, MembershipChange, Message, Nobody, Outputs,
    PropertyChange, Retained, Row, RowKind, Save, TwinBlob, UpdateError,
};
pub use point::Reading;
pub use reconcile::{KINDS, Object, Reconciliation};
pub use stats::EngineStats;

//! Measures the budgets of `docs/SPECIFICATION.md` on the machine that it runs on.
//!
//! The edge under test is the released `edgecore` with its mapper child, started
//! from its files as a user would. What stands around it is kept apart, so that its
//! cost is known: simulated devices, Modbus on a thread of this process, those of
//! other protocols as processes; and, on a thread, an MQTT subscriber that is
//! written by hand because a comfortable one would be the bottleneck.
//!
//! # Guarantees
//!
//! - A rate is what reached the subscriber, never what was asked for. Beside it
//!   stands what the simulator was really asked for, and what the edge dropped.
//! - Processor time is the kernel's account of the threads of `edgecore` and its
//!   child, in nanoseconds.
//! - Nothing here asserts a time: a slow machine gives a slow table.

pub mod args;
pub mod calibrate;
pub mod http;
pub mod layout;
pub mod measure;
pub mod mqtt;
pub mod node;
pub mod peer;
pub mod plant;
pub mod procfs;
pub mod programs;
pub mod report;
pub mod subscriber;
pub mod wait;

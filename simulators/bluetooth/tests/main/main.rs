//! The simulator as clients see it: over its bus, and as a process.

mod foreign;
mod radio;

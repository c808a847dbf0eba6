//! The machine against a simulated bus, in virtual time.

mod bench;
mod properties;
mod pushes;
mod stories;

//! The machine against a simulated bus, in virtual time.

mod bench;
mod groups;
mod properties;
mod pushes;
mod stories;

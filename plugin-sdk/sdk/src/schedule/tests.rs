//! The machine against a simulated bus, in virtual time.

mod bench;
mod greetings;
mod groups;
mod living;
mod properties;
mod pushes;
mod stories;

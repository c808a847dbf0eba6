//! The simulator as its users meet it: a foreign client, faults, the binary.

mod binary;
mod client;
mod faults;
mod foreign;
mod subscriptions;

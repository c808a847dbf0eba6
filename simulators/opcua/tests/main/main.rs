//! The simulator as its users meet it: a foreign client, faults.

mod client;
mod control;
mod faults;
mod foreign;
mod subscriptions;

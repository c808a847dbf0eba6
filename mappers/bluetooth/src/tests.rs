//! The parts by themselves, and the whole against simulated and foreign devices.

mod adverts;
mod configuration;
mod faults;
mod formats;
mod peers;
mod rig;
mod slow;
mod stories;
mod tree;

//! The mapper's parts by themselves, and the whole against simulated and foreign devices.

mod bytes;
mod configuration;
mod faults;
mod flood;
mod manners;
mod more;
mod network;
mod odd;
mod peers;
mod plans;
mod rig;
mod transports;

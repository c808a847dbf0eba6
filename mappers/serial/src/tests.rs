//! The mapper's parts by themselves, and the whole against simulated and foreign devices.

mod answers;
mod checksums;
mod configuration;
mod faults;
mod flood;
mod frames;
mod handshakes;
mod overload;
mod patterns;
mod peers;
mod ports;
mod rig;
mod streams;
mod stuffing;
mod templates;
mod whole;

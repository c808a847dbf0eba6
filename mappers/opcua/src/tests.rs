//! The whole against foreign servers, asyncua and node-opcua, and against the simulator.

mod configuration;
mod faults;
mod odd;
mod peers;
mod rig;
mod security;
mod simulated;

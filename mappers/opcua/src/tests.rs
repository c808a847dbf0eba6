//! The whole against foreign servers: asyncua and node-opcua.

mod configuration;
mod faults;
mod peers;
mod rig;
mod security;

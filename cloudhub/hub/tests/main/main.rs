//! The hub as a whole, over real sockets, with the embedded API server and an
//! edge that is the link's session and nothing else.

mod definitions;
mod devices;
mod edge;
mod harness;
mod identity;
mod nodes;
mod port;
mod restart;
mod samples;
mod schemas;
mod tasks;

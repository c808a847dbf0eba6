//! The simulator as its users meet it: sockets, ptys, foreign clients, the binary.

mod binary;
mod client;
mod foreign;
mod tcp;

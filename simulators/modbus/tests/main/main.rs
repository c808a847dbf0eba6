//! The simulator as its users meet it: sockets, ptys, foreign clients.

mod client;
mod control;
mod foreign;
mod tcp;

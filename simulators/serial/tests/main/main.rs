//! The simulator as its users meet it: ptys, TCP, foreign clients.

mod foreign;
mod lines;

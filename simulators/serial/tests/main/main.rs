//! The simulator as its users meet it: ptys, TCP, foreign clients, the binary.

mod binary;
mod foreign;
mod lines;
mod process;

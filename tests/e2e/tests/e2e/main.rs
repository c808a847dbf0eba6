//! What users see, told as stories with real processes and real sockets.

mod alone;
mod bad_input;
mod bus;
mod clients;
mod commands;
mod complaints;
mod examples;
mod failures;
mod history;
mod hostile;
mod killed;
mod kubernetes;
mod limits;
mod offline;
mod promise;
mod up;
mod vocabulary;

//! Between the wire's messages and the domain's: the only place that knows both.

mod frames;
mod reports;
mod samples;

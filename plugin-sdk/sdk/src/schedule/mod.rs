//! The schedule of a polled bus.

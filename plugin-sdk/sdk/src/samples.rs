//! A batch of samples on its way to the host.

/// A batch of samples; reused between reads so that the hot path does not allocate.
#[derive(Debug, Default)]
pub struct Samples {}

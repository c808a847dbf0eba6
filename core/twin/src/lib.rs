//! The twin engine: what devices are, what they should be, and who hears of it.

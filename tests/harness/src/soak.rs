//! How long a story goes on: short in `make test`, in full in `make soak`.

/// The number of rounds: `short`, or `full` where `LONGSHORE_SOAK` is set.
pub fn rounds(short: u32, full: u32) -> u32 {
    match std::env::var_os("LONGSHORE_SOAK") {
        Some(_) => full,
        None => short,
    }
}

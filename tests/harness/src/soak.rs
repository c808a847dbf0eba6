//! How long a story goes on: short in `make test`, in full in `make soak`.

/// The number of rounds: `short`, or `full` where `LONGSHORE_SOAK` is set.
pub fn rounds<T>(short: T, full: T) -> T {
    match std::env::var_os("LONGSHORE_SOAK") {
        Some(_) => full,
        None => short,
    }
}

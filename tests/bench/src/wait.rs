//! Waiting for a condition, with a text that says what is instead.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Asks again and again until there is an answer; the last refusal is the error.
pub fn until<T>(
    what: &str,
    most: Duration,
    pause: Duration,
    mut ask: impl FnMut() -> Result<T, String>,
) -> anyhow::Result<T> {
    let end = Instant::now() + most;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(status) if Instant::now() >= end => {
                anyhow::bail!("waited {most:?} in vain for {what}: {status}")
            }
            Err(_) => thread::sleep(pause),
        }
    }
}

//! A fixed piece of work, timed beside each load: machines differ, and one
//! machine differs from minute to minute.

use std::{
    fmt::Write as _,
    hint::black_box,
    time::{Duration, Instant},
};

/// Floats formatted in one round.
const FLOATS: u32 = 20_000;
/// Bytes copied in one round.
const BYTES: usize = 4 << 20;
/// The best of so many rounds counts: the others were disturbed.
const ROUNDS: u32 = 25;

/// What the machine can do now.
#[derive(Debug, Clone, Copy)]
pub struct Calibration {
    /// Nanoseconds to format one float32 as text, by the standard library.
    pub format_ns: f64,
    /// GiB copied in memory in one second.
    pub copy_gib: f64,
}

/// Does the work.
pub fn measure() -> Calibration {
    let mut text = String::with_capacity(64);
    let format = best(|| {
        for i in 0..FLOATS {
            text.clear();
            let _ = write!(text, "{}", black_box(i as f32 * 0.25));
            black_box(&text);
        }
    });
    let from = vec![1_u8; BYTES];
    let mut to = vec![0_u8; BYTES];
    let copy = best(|| {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    });
    Calibration {
        format_ns: format.as_nanos() as f64 / f64::from(FLOATS),
        copy_gib: BYTES as f64 / copy.as_secs_f64() / f64::from(1 << 30),
    }
}

fn best(mut work: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed());
    }
    best
}

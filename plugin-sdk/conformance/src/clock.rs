//! Time that counts.
//!
//! Mappers are judged on small boards and beside other work, where a thread that
//! wants to run waits for a processor. The kernel tells for how long the threads
//! of a process have waited so, and that is no time that the mapper took. It is
//! taken off, but for a quarter of the real time, so that each wait ends.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

/// What a process is always charged with, as a part of the real time.
const CHARGED: u32 = 4;

pub(crate) struct Stopwatch {
    /// The threads of the process, as the kernel shows them.
    tasks: PathBuf,
    begun: Instant,
    /// What they had waited for a processor by then.
    waited: Duration,
}

impl Stopwatch {
    /// For this process.
    pub(crate) fn start() -> Self {
        Self::of("/proc/self/task".into())
    }

    /// For another one.
    pub(crate) fn of_process(id: u32) -> Self {
        Self::of(format!("/proc/{id}/task").into())
    }

    fn of(tasks: PathBuf) -> Self {
        let waited = waited(&tasks);
        Self {
            tasks,
            begun: Instant::now(),
            waited,
        }
    }

    /// The time since the start that counts.
    pub(crate) fn elapsed(&self) -> Duration {
        // In this order: what is lost is never more than what has passed.
        let lost = self.lost();
        self.begun.elapsed() - lost
    }

    /// The time since the start that does not count.
    pub(crate) fn lost(&self) -> Duration {
        let real = self.begun.elapsed();
        // That of all threads together, which may be more than the real time.
        let waited = waited(&self.tasks).saturating_sub(self.waited);
        waited.min(real - real / CHARGED)
    }

    /// Whether more than this has passed.
    pub(crate) fn has_passed(&self, time: Duration) -> bool {
        self.begun.elapsed() >= time && self.elapsed() >= time
    }
}

/// Nothing where the kernel keeps no such account.
fn waited(tasks: &PathBuf) -> Duration {
    let threads = fs::read_dir(tasks).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        // Time on a processor, time in wait of one, turns.
        let account = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        account.split(' ').nth(1)?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_wait_of_a_processor_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let account = |thread: &str, waited: u64| {
            let thread = folder.path().join(thread);
            fs::create_dir_all(&thread).unwrap();
            fs::write(thread.join("schedstat"), format!("5 {waited} 7\n")).unwrap();
        };
        account("1", 1_000_000);
        account("2", 2_000_000);
        let mut watch = Stopwatch::of(folder.path().to_owned());
        // A minute ago, in which one thread waited 20 s and another 10 s.
        let minute = Duration::from_secs(60);
        watch.begun -= minute;
        account("1", 20_001_000_000);
        account("2", 10_002_000_000);
        assert_eq!(watch.lost(), Duration::from_secs(30));
        let counted = watch.elapsed().as_secs_f64();
        assert!((30.0..31.0).contains(&counted), "{counted}");
        assert!(watch.has_passed(Duration::from_secs(29)));
        assert!(!watch.has_passed(Duration::from_secs(50)));
        // However much it is, the wait ends.
        account("3", u64::MAX / 2);
        assert!(watch.elapsed() >= minute / CHARGED);
    }

    #[test]
    fn without_an_account_the_real_time_counts() {
        let watch = Stopwatch::of("/nowhere".into());
        assert_eq!(watch.lost(), Duration::ZERO);
        assert!(watch.has_passed(Duration::ZERO));
    }
}

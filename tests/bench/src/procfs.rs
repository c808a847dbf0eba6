//! What the kernel knows about processes and threads.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    ops::{Add, Sub},
    path::Path,
    time::Duration,
};

/// How much the coarse count may be off.
const COARSE: Duration = Duration::from_millis(50);

/// Memory of a process, or of several together, in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident, shared pages counted in each process.
    pub rss: u64,
    /// Resident and its own: heap, stacks, written data.
    pub anonymous: u64,
    /// Resident, shared pages counted by their share.
    pub pss: u64,
}

impl Add for Memory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            rss: self.rss + other.rss,
            anonymous: self.anonymous + other.anonymous,
            pss: self.pss + other.pss,
        }
    }
}

/// The memory of a process now; nothing if it is gone.
pub fn memory(pid: u32) -> Memory {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    Memory {
        rss: field(&rollup, "Rss:"),
        anonymous: field(&rollup, "Anonymous:"),
        pss: field(&rollup, "Pss:"),
    }
}

/// Bytes that a process had the kernel write to disks up to now.
pub fn written_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    field(&text, "write_bytes:")
}

/// Anonymous memory of a process by what is mapped there, in KiB: `[heap]`, the
/// file names of what was written to, and the empty name for all without one.
pub fn anonymous_by_name(pid: u32) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    by_name(&text)
}

fn by_name(smaps: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    let mut name = String::new();
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        // A mapping begins with `ADDRESS-ADDRESS rwxp OFFSET DEVICE INODE NAME`, its
        // lines with `Name:`.
        if !words.next().is_some_and(|word| word.ends_with(':')) {
            let path = words.nth(4).unwrap_or_default();
            name = path.rsplit('/').next().unwrap_or_default().to_owned();
        } else if line.starts_with("Anonymous:") {
            *sums.entry(name.clone()).or_default() += field(line, "Anonymous:");
        }
    }
    sums.retain(|_, kib| *kib > 0);
    sums
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// How often the threads of a process have gone to sleep so far, which is how often
/// they were woken.
pub fn wakeups(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let status = |task: &Path| fs::read_to_string(task.join("status")).unwrap_or_default();
    let tasks = tasks.into_iter().flatten().flatten();
    tasks
        .map(|task| field(&status(&task.path()), "voluntary_ctxt_switches:"))
        .sum()
}

/// Processor time of a process up to now.
#[derive(Debug, Clone, Default)]
pub struct Cpu {
    /// Nanoseconds of each thread.
    threads: HashMap<u32, u64>,
    /// Hundredths of a second of all threads, of those that ended as well.
    ticks: u64,
}

impl Cpu {
    /// Of some processes together.
    pub fn now(pids: &[u32]) -> Self {
        let mut cpu = Self::default();
        for pid in pids {
            cpu.ticks += ticks(*pid);
            let tasks = fs::read_dir(format!("/proc/{pid}/task"));
            for task in tasks.into_iter().flatten().flatten() {
                let tid = task.file_name().to_str().and_then(|name| name.parse().ok());
                if let Some(tid) = tid {
                    cpu.threads.insert(tid, on_cpu(&task.path()));
                }
            }
        }
        cpu
    }

    /// Of one thread of this process.
    pub fn of_thread(tid: u32) -> Self {
        let task = format!("/proc/self/task/{tid}");
        Self {
            threads: HashMap::from([(tid, on_cpu(Path::new(&task)))]),
            ticks: 0,
        }
    }

    /// Time that was used since `before`. Threads count in nanoseconds; only
    /// where one has ended meanwhile, and took more with it than the coarse
    /// count can be wrong by, that count is taken.
    pub fn since(&self, before: &Self) -> Duration {
        let of_thread = |(tid, now): (&u32, &u64)| {
            now.saturating_sub(before.threads.get(tid).copied().unwrap_or(0))
        };
        let fine = Duration::from_nanos(self.threads.iter().map(of_thread).sum());
        let coarse = Duration::from_millis(self.ticks.saturating_sub(before.ticks) * 10);
        if coarse > fine + COARSE { coarse } else { fine }
    }
}

/// User and system time of a process in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // utime and stime are fields 14 and 15; the state after the name is field 3.
    let of = |field: &str| field.parse::<u64>().unwrap_or(0);
    fields.split_whitespace().skip(11).take(2).map(of).sum()
}

/// `schedstat` counts nanoseconds where `stat` counts hundredths of a second.
fn on_cpu(task: &Path) -> u64 {
    let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The calling thread's id.
pub fn thread_id() -> u32 {
    let link = fs::read_link("/proc/thread-self").unwrap_or_default();
    let name = link.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok()).unwrap_or(0)
}

/// The children of a process.
pub fn children(parent: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks and brackets; what follows it does not.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// How many threads a process has.
pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// Processor time that the whole machine has used, in hundredths of a second,
/// stolen time apart.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine {
    busy: u64,
    stolen: u64,
}

impl Machine {
    /// So far.
    pub fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        let parts: Vec<u64> = line.split_whitespace().skip(1).map(number).collect();
        let at = |index: usize| parts.get(index).copied().unwrap_or(0);
        // user nice system idle iowait irq softirq steal
        Self {
            busy: at(0) + at(1) + at(2) + at(5) + at(6),
            stolen: at(7),
        }
    }

    /// Used by anybody.
    pub fn busy(self) -> Duration {
        Duration::from_millis(self.busy * 10)
    }

    /// Taken away by the host of this virtual machine.
    pub fn stolen(self) -> Duration {
        Duration::from_millis(self.stolen * 10)
    }
}

impl Sub for Machine {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            busy: self.busy.saturating_sub(other.busy),
            stolen: self.stolen.saturating_sub(other.stolen),
        }
    }
}

/// The processor, its count and the kernel, for the head of the report.
pub fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |rest| {
        rest.trim_start_matches([':', ' ', '\t'])
    });
    let cores = info
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let gib = field(&read("/proc/meminfo"), "MemTotal:").div_ceil(1024 * 1024);
    format!("{cores} × {model}, {gib} GiB, Linux {}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_by_what_is_mapped() {
        let smaps = "\
55d0-55d2 rw-p 00000000 00:00 0                          [heap]
Rss:                  12 kB
Anonymous:             8 kB
7f00-7f01 rw-p 00001000 fe:01 77                         /usr/lib/libm.so.6
Anonymous:             4 kB
7f02-7f03 r--p 00002000 fe:01 77                         /usr/lib/libm.so.6
Anonymous:             4 kB
7f04-7f05 rw-p 00000000 00:00 0
Anonymous:            16 kB
7f06-7f07 ---p 00000000 00:00 0
Anonymous:             0 kB
";
        let wanted = [("", 16), ("[heap]", 8), ("libm.so.6", 8)];
        let wanted = wanted.map(|(name, kib)| (name.to_owned(), kib));
        assert_eq!(by_name(smaps), BTreeMap::from(wanted));
    }
}

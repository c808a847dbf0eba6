//! Counters of a mapper, for the edge's metrics.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Counters of a mapper since the host started it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Starts after the first one.
    pub restarts: u64,
    /// Times that it broke the contract or hung.
    pub faults: u64,
    /// Batches taken.
    pub batches: u64,
    /// Samples in them.
    pub samples: u64,
    /// Completions in them.
    pub completions: u64,
    /// Emits that found no room: the mapper is faster than the edge. Told by
    /// the mapper every few seconds.
    pub blocked_emits: u64,
    /// Lines that it logged or printed and that were left out, as there were too many.
    pub lost_log_lines: u64,
    /// Times that another version of the library took over.
    pub upgrades: u64,
    /// Times that such a version was replaced by the one before it.
    pub rollbacks: u64,
    /// Libraries in this process's memory that are not used any more: none is
    /// ever unloaded. Only in-process.
    pub retired_images: u64,
    /// Its own process, while it has one.
    pub process_id: Option<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    starts: AtomicU64,
    faults: AtomicU64,
    batches: AtomicU64,
    samples: AtomicU64,
    completions: AtomicU64,
    blocked_emits: AtomicU64,
    /// Of the processes before the present one.
    blocked_before: AtomicU64,
    lost_log_lines: AtomicU64,
    upgrades: AtomicU64,
    rollbacks: AtomicU64,
    retired_images: AtomicU64,
    /// 0: none.
    process_id: AtomicU32,
}

impl Counters {
    pub(crate) fn started(&self, process_id: Option<u32>) {
        self.starts.fetch_add(1, Relaxed);
        self.process_id.store(process_id.unwrap_or(0), Relaxed);
        self.blocked_before
            .store(self.blocked_emits.load(Relaxed), Relaxed);
    }

    /// Another edition is the mapper now; that is no restart.
    pub(crate) fn upgraded(&self, process_id: Option<u32>) {
        self.upgrades.fetch_add(1, Relaxed);
        self.started(process_id);
        self.starts.fetch_sub(1, Relaxed);
    }

    pub(crate) fn rolled_back(&self) {
        self.rollbacks.fetch_add(1, Relaxed);
    }

    pub(crate) fn retired_images(&self, count: usize) {
        self.retired_images.store(count as u64, Relaxed);
    }

    pub(crate) fn ended(&self) {
        self.process_id.store(0, Relaxed);
    }

    pub(crate) fn fault(&self) {
        self.faults.fetch_add(1, Relaxed);
    }

    pub(crate) fn batch(&self, samples: usize, completions: usize) {
        self.batches.fetch_add(1, Relaxed);
        self.samples.fetch_add(samples as u64, Relaxed);
        self.completions.fetch_add(completions as u64, Relaxed);
    }

    pub(crate) fn blocked_emit(&self) {
        self.blocked_emits.fetch_add(1, Relaxed);
    }

    /// What a child counted since it started.
    pub(crate) fn blocked_in_child(&self, count: u64) {
        self.blocked_emits
            .store(self.blocked_before.load(Relaxed) + count, Relaxed);
    }

    pub(crate) fn lost_log_lines(&self, count: u64) {
        self.lost_log_lines.fetch_add(count, Relaxed);
    }

    pub(crate) fn read(&self) -> Stats {
        let process_id = self.process_id.load(Relaxed);
        Stats {
            restarts: self.starts.load(Relaxed).saturating_sub(1),
            faults: self.faults.load(Relaxed),
            batches: self.batches.load(Relaxed),
            samples: self.samples.load(Relaxed),
            completions: self.completions.load(Relaxed),
            blocked_emits: self.blocked_emits.load(Relaxed),
            lost_log_lines: self.lost_log_lines.load(Relaxed),
            upgrades: self.upgrades.load(Relaxed),
            rollbacks: self.rollbacks.load(Relaxed),
            retired_images: self.retired_images.load(Relaxed),
            process_id: (process_id != 0).then_some(process_id),
        }
    }
}

//! Counters in Prometheus' text format.

use std::{fmt::Write as _, sync::atomic::Ordering::Relaxed};

use super::Sources;
use crate::ports::BusPort;

/// What this process had the kernel write to disks; 0 where it does not tell.
fn written_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Writes one family after the other.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a String cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn labelled(&mut self, name: &str, label: &str, of: &str, value: u64) {
        let of = of
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        let _ = writeln!(self.0, "{name}{{{label}=\"{of}\"}} {value}");
    }
}

pub(super) async fn metrics(sources: &Sources) -> String {
    let mut page = Page(String::with_capacity(4096));
    twins(&mut page, sources).await;
    mappers(&mut page, sources);
    store(&mut page, sources);
    bus_and_link(&mut page, sources);
    let (resident, anonymous) = memory();
    page.one(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory of edgecore",
        resident,
    );
    page.one(
        "longshore_process_anonymous_memory_bytes",
        "gauge",
        "Anonymous part of it",
        anonymous,
    );
    page.one(
        "longshore_written_bytes_total",
        "counter",
        "Bytes that edgecore had the system write to disks",
        written_bytes(),
    );
    page.0
}

async fn twins(page: &mut Page, sources: &Sources) {
    let Some(stats) = sources.twin.stats().await else {
        return;
    };
    page.one(
        "longshore_devices",
        "gauge",
        "Devices that this node serves",
        stats.devices,
    );
    page.one(
        "longshore_properties",
        "gauge",
        "Their properties",
        stats.properties,
    );
    page.one(
        "longshore_samples_total",
        "counter",
        "Readings taken from mappers",
        stats.samples,
    );
    page.one(
        "longshore_stray_samples_total",
        "counter",
        "Readings of points that are gone",
        stats.strays,
    );
    page.one(
        "longshore_never_given_total",
        "counter",
        "Points, devices and commands that mappers named without having them",
        stats.never_given,
    );
    page.one(
        "longshore_dangling_ids_total",
        "counter",
        "Ids of the twin engine that led nowhere: bugs, the log names them",
        stats.dangling,
    );
    page.one(
        "longshore_twin_changes_total",
        "counter",
        "Reported changes, heartbeats included",
        stats.changes,
    );
    page.one(
        "longshore_batch_messages_total",
        "counter",
        "Batch messages handed to the bus",
        stats.payloads,
    );
    page.one(
        "longshore_mapper_commands_total",
        "counter",
        "Commands handed to mappers",
        stats.commands,
    );
    page.one(
        "longshore_events_total",
        "counter",
        "Events that became active or were over",
        stats.events,
    );
    page.one(
        "longshore_calls_total",
        "counter",
        "Methods called",
        stats.calls,
    );
    page.one(
        "longshore_calls_failed_total",
        "counter",
        "Calls that failed",
        stats.calls_failed,
    );
    page.one(
        "longshore_history_samples_total",
        "counter",
        "Samples kept for the hub's history",
        stats.history,
    );
    page.one(
        "longshore_history_unsaved",
        "gauge",
        "Samples of them that are not on the disk yet",
        stats.history_unsaved,
    );
    page.one(
        "longshore_history_dropped_total",
        "counter",
        "Samples dropped before they were on the disk",
        stats.history_dropped,
    );
    page.one(
        "longshore_desired_unsettled",
        "gauge",
        "Desired values on their way",
        stats.unsettled,
    );
    page.one(
        "longshore_unsaved_rows",
        "gauge",
        "Desired values and outcomes not on the disk yet",
        stats.unsaved,
    );
    page.family(
        "longshore_writes_total",
        "counter",
        "Desired values by their outcome",
    );
    page.labelled(
        "longshore_writes_total",
        "result",
        "confirmed",
        stats.writes_confirmed,
    );
    page.labelled(
        "longshore_writes_total",
        "result",
        "failed",
        stats.writes_failed,
    );
    page.labelled(
        "longshore_writes_total",
        "result",
        "unknown",
        stats.writes_unknown,
    );
}

fn mappers(page: &mut Page, sources: &Sources) {
    let stats: Vec<_> = sources
        .mappers
        .iter()
        .map(|mapper| (mapper.name().to_owned(), mapper.stats()))
        .collect();
    page.family("longshore_mapper_up", "gauge", "Whether the mapper runs");
    for mapper in sources.mappers.iter() {
        let up = crate::mappers::describe(&mapper.state()).0 == "Running";
        page.labelled(
            "longshore_mapper_up",
            "mapper",
            mapper.name(),
            u64::from(up),
        );
    }
    type Field = fn(&longshore_host::Stats) -> u64;
    let families: [(&str, &str, Field); 8] = [
        (
            "longshore_mapper_restarts_total",
            "Starts after the first one",
            |s| s.restarts,
        ),
        (
            "longshore_mapper_faults_total",
            "Times that it hung or broke the contract",
            |s| s.faults,
        ),
        ("longshore_mapper_batches_total", "Batches taken", |s| {
            s.batches
        }),
        ("longshore_mapper_samples_total", "Samples in them", |s| {
            s.samples
        }),
        (
            "longshore_mapper_blocked_emits_total",
            "Emits that found no room",
            |s| s.blocked_emits,
        ),
        (
            "longshore_mapper_lost_log_lines_total",
            "Lines that the mapper logged or printed and that were left out, beyond 100 a second",
            |s| s.lost_log_lines,
        ),
        (
            "longshore_mapper_upgrades_total",
            "Times that another version of the library took over",
            |s| s.upgrades,
        ),
        (
            "longshore_mapper_rollbacks_total",
            "Times that such a version was replaced by the one before it",
            |s| s.rollbacks,
        ),
    ];
    for (name, help, field) in families {
        page.family(name, "counter", help);
        for (mapper, stats) in &stats {
            page.labelled(name, "mapper", mapper, field(stats));
        }
    }
    let name = "longshore_mapper_retired_images";
    page.family(name, "gauge", "Libraries in memory that are used no more");
    for (mapper, stats) in &stats {
        page.labelled(name, "mapper", mapper, stats.retired_images);
    }
}

fn store(page: &mut Page, sources: &Sources) {
    let (size, health) = (sources.store.outbox_size(), sources.store.health());
    page.one(
        "longshore_outbox_records",
        "gauge",
        "Records that wait for the hub",
        size.records,
    );
    page.one(
        "longshore_outbox_bytes",
        "gauge",
        "Bytes of them",
        size.bytes,
    );
    page.one(
        "longshore_outbox_dropped_total",
        "counter",
        "Records of samples dropped for want of room",
        size.dropped,
    );
    page.one(
        "longshore_store_errors_total",
        "counter",
        "Store operations that failed",
        health.errors,
    );
    page.one(
        "longshore_store_degraded",
        "gauge",
        "Whether the store cannot write",
        u64::from(health.fault.is_some()),
    );
}

/// The embedded broker.
fn broker(page: &mut Page, stats: &longshore_broker::Stats) {
    for (name, kind, help, value) in [
        (
            "longshore_bus_clients",
            "gauge",
            "Connections to the embedded broker",
            stats.connections,
        ),
        (
            "longshore_bus_sessions",
            "gauge",
            "Its sessions",
            stats.sessions,
        ),
        (
            "longshore_bus_retained",
            "gauge",
            "Its retained messages",
            stats.retained,
        ),
        (
            "longshore_bus_memory_bytes",
            "gauge",
            "Memory that counts against bus.limits",
            stats.memory_bytes,
        ),
        (
            "longshore_bus_disk_bytes",
            "gauge",
            "Disk that counts against bus.limits",
            stats.disk_bytes,
        ),
        (
            "longshore_bus_messages_received_total",
            "counter",
            "Messages that clients published",
            stats.received,
        ),
        (
            "longshore_bus_messages_sent_total",
            "counter",
            "Messages sent to clients",
            stats.sent,
        ),
        (
            "longshore_bus_messages_lost_total",
            "counter",
            "Messages that a client did not get, for want of room",
            stats.dropped,
        ),
        (
            "longshore_bus_messages_refused_total",
            "counter",
            "Messages refused to who published them",
            stats.refused,
        ),
        (
            "longshore_bus_logins_refused_total",
            "counter",
            "Connections that were not accepted",
            stats.rejected,
        ),
    ] {
        page.one(name, kind, help, value);
    }
}

fn bus_and_link(page: &mut Page, sources: &Sources) {
    if let Some(bus) = &sources.bus {
        let counters = bus.counters();
        page.one(
            "longshore_bus_ready",
            "gauge",
            "Whether clients can use the bus",
            u64::from(bus.ready().is_ok()),
        );
        page.one(
            "longshore_bus_published_total",
            "counter",
            "Messages handed to the broker",
            counters.published.load(Relaxed),
        );
        page.one(
            "longshore_bus_dropped_total",
            "counter",
            "Messages dropped, queue full",
            counters.dropped.load(Relaxed),
        );
        page.one(
            "longshore_bus_requests_total",
            "counter",
            "Requests answered",
            counters.requests.load(Relaxed),
        );
        let refused = counters.requests_refused.load(Relaxed);
        page.one(
            "longshore_bus_requests_refused_total",
            "counter",
            "Requests answered with a refusal",
            refused,
        );
        if let Some(stats) = bus.broker_stats() {
            broker(page, &stats);
        }
    }
    if let Some(link) = &sources.link_counters {
        let connected = u64::from(sources.link.borrow().is_connected());
        page.one(
            "longshore_link_connected",
            "gauge",
            "Whether the hub is there",
            connected,
        );
        page.one(
            "longshore_link_attempts_total",
            "counter",
            "Attempts to reach the hub",
            link.attempts.load(Relaxed),
        );
        page.one(
            "longshore_link_connections_total",
            "counter",
            "Sessions that became live",
            link.connections.load(Relaxed),
        );
        page.one(
            "longshore_link_received_bytes_total",
            "counter",
            "Bytes received",
            link.received_bytes.load(Relaxed),
        );
        page.one(
            "longshore_link_sent_bytes_total",
            "counter",
            "Bytes sent",
            link.sent_bytes.load(Relaxed),
        );
        page.one(
            "longshore_link_taken_sequence",
            "gauge",
            "Last record that the hub has",
            link.taken.load(Relaxed),
        );
        page.one(
            "longshore_link_revision",
            "gauge",
            "Revision of the hub's log in the store",
            link.revision.load(Relaxed),
        );
        let ends = link.certificate_ends_ms.load(Relaxed) / 1000;
        page.one(
            "longshore_link_certificate_ends_seconds",
            "gauge",
            "When the node's certificate ends, in seconds since 1970; 0 where it is not known",
            u64::try_from(ends).unwrap_or_default(),
        );
    }
}

/// Resident and anonymous bytes of this process; 0 where they cannot be read.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let kib = |name| field(name).unwrap_or(0) * 1024;
    (kib("VmRSS:"), kib("RssAnon:"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The reference names what this file names, and nothing else.
    #[test]
    fn the_reference_has_each_metric() {
        let source = include_str!("text.rs").split("#[cfg(test)]").next();
        let written: BTreeSet<&str> = source
            .into_iter()
            .flat_map(|source| source.split('"'))
            .filter(|text| text.starts_with("longshore_") || text.starts_with("process_"))
            .collect();
        let reference = include_str!("../../../../docs/reference/edgecore.md");
        let told: BTreeSet<&str> = reference
            .split("## Metrics")
            .nth(1)
            .into_iter()
            .flat_map(str::lines)
            .take_while(|line| !line.starts_with("## "))
            .filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
            .collect();
        assert_eq!(told, written);
    }
}

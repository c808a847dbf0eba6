//! The measurements, one module each.

mod children;
mod confirm;
mod durable;
mod flash;
mod idle;
mod limit;
mod load;
mod opcua;
mod silent;
mod size;
mod start;
mod status;
mod wakeups;
mod writes;

use crate::{
    args::{Args, Part},
    procfs,
    programs::Programs,
    report::{Report, progress},
};

/// All that the arguments ask for. What fails is told in the report, and the rest goes on.
pub fn all(args: &Args, programs: &Programs) -> anyhow::Result<Report> {
    let mut report = Report::default();
    report.note(format!("machine: {}", procfs::describe()));
    report.note(format!("edgecore: {}", programs.edgecore.display()));
    type Measurement = fn(&Args, &Programs, &mut Report) -> anyhow::Result<()>;
    let parts: [(Part, &str, Measurement); 16] = [
        (Part::Size, "sizes", size::measure),
        (Part::Idle, "idle memory", idle::measure),
        (Part::Wakeups, "wake-ups", wakeups::measure),
        (Part::Start, "cold start", start::measure),
        (Part::Fleet, "start with many points", start::fleet),
        (Part::Load, "throughput", load::measure),
        (
            Part::Documents,
            "throughput with documents",
            load::documents,
        ),
        (Part::Writes, "write latency", writes::measure),
        (Part::Confirm, "confirmation", confirm::measure),
        (Part::Durable, "durable updates", durable::measure),
        (Part::Flash, "bytes written", flash::measure),
        (Part::Status, "statuses at the hub", status::measure),
        (Part::Limit, "one core", limit::measure),
        (Part::Silent, "a silent unit", silent::measure),
        (
            Part::Children,
            "a child of each protocol",
            children::measure,
        ),
        (Part::Opcua, "OPC UA", opcua::measure),
    ];
    for (part, name, measure) in parts {
        if !args.wants(part) {
            continue;
        }
        progress(&format!("measuring: {name}"));
        if let Err(error) = measure(args, programs, &mut report) {
            report.note(format!("{name} was not measured: {error:#}"));
        }
    }
    Ok(report)
}

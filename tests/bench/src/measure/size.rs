//! Files on the disk.

use std::fs;

use anyhow::Context as _;
use serde_json::json;

use crate::{args::Args, programs::Programs, report::Report};

/// Bytes that the edge's program may have.
const MOST: u64 = 10_000_000;

pub(super) fn measure(_: &Args, programs: &Programs, report: &mut Report) -> anyhow::Result<()> {
    let size = |path: &std::path::Path| {
        let found = fs::metadata(path).map(|metadata| metadata.len());
        found.with_context(|| format!("cannot look at {}", path.display()))
    };
    let edgecore = size(&programs.edgecore)?;
    let mapper = size(&programs.mapper)?;
    let mut rows = vec![
        row("edgecore", edgecore),
        row("libmapper_modbus.so", mapper),
    ];
    let mut data = json!({"edgecore": edgecore, "mapper": mapper});
    for protocol in ["opcua", "serial", "bluetooth"] {
        if let Ok(file) = programs.mapper_of(protocol) {
            let bytes = size(&file)?;
            rows.push(row(&format!("libmapper_{protocol}.so"), bytes));
            data[protocol] = json!(bytes);
        }
    }
    if let Some(cloudhub) = &programs.cloudhub {
        let cloudhub = size(cloudhub)?;
        rows.push(row("cloudhub", cloudhub));
        data["cloudhub"] = json!(cloudhub);
    }
    report.table("size of the stripped files", &["file", "size"], rows);
    report.data("size", data);
    report.budget(
        "edge binary, stripped, with broker and link",
        "≤ 10 MB",
        megabytes(edgecore),
        edgecore <= MOST,
    );
    Ok(())
}

fn row(name: &str, bytes: u64) -> Vec<String> {
    vec![name.to_owned(), megabytes(bytes)]
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

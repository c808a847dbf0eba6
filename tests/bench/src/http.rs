//! Looking at the pages of a node or a simulator, from where nothing is async.

use std::net::SocketAddr;

use longshore_process::{http, runtime};

/// A document.
pub fn get(at: SocketAddr, path: &str) -> anyhow::Result<String> {
    let answer = runtime::small()?.block_on(http::get(at, path))?;
    Ok(answer.text())
}

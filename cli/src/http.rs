//! One GET at a time, for the loopback pages of our own processes: a client
//! library would be larger than all else here.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Puts JSON to a page that answers with nothing.
pub(crate) async fn put_json(address: SocketAddr, path: &str, body: &Json) -> Result<()> {
    let what = || format!("failed to put to http://{address}{path}");
    let mut stream = TcpStream::connect(address).await.with_context(what)?;
    let body = body.to_string();
    let request = format!(
        "PUT {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream
        .write_all(request.as_bytes())
        .await
        .with_context(what)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.with_context(what)?;
    let text = String::from_utf8_lossy(&answer);
    match text.split(' ').nth(1) {
        Some("200" | "204") => Ok(()),
        _ => {
            let reason = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            Err(anyhow::anyhow!("{}", reason.trim())).with_context(what)
        }
    }
}

/// Fetches a page that answers with JSON; none if there is no such page.
pub(crate) async fn get_json(address: SocketAddr, path: &str) -> Result<Option<Json>> {
    let what = || format!("failed to get http://{address}{path}");
    let mut stream = TcpStream::connect(address).await.with_context(what)?;
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .with_context(what)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.with_context(what)?;
    parse(&answer).with_context(what)
}

fn parse(answer: &[u8]) -> Result<Option<Json>> {
    let end = answer
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .context("the answer has no end of its head")?;
    let head = std::str::from_utf8(&answer[..end])?;
    let status = head
        .lines()
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default();
    match status {
        "200" => Ok(Some(serde_json::from_slice(&answer[end + 4..])?)),
        "404" => Ok(None),
        other => bail!("answered with status {other}"),
    }
}

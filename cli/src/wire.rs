//! `longshore watch device NAME --wire`: the bytes of devices with `trace: true`,
//! out of the log of the node that they hang on.

use std::{
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    home::Home,
    output::{advised, say},
};

/// Time between two looks at the log.
const LOOK: Duration = Duration::from_millis(200);

/// Follows the log, until Ctrl-C.
pub(crate) async fn follow(device: &str, named: Option<&Path>) -> Result<bool> {
    let file = match named {
        Some(named) => named.to_owned(),
        None => own_log()?,
    };
    let mut log =
        std::fs::File::open(&file).with_context(|| format!("failed to read {}", file.display()))?;
    let mut at = log.seek(SeekFrom::End(0))?;
    say(&format!(
        "{}: bytes of devices with `trace: true` in `protocol.configData`, as `{device}` needs it; -> to the device, <- from it\n",
        file.display()
    ));
    let mut rest = String::new();
    loop {
        if log.metadata()?.len() < at {
            // It was begun anew.
            at = log.seek(SeekFrom::Start(0))?;
        }
        let mut bytes = Vec::new();
        at += log.read_to_end(&mut bytes)? as u64;
        rest.push_str(&String::from_utf8_lossy(&bytes));
        while let Some(end) = rest.find('\n') {
            let line: String = rest.drain(..=end).collect();
            if line.contains("wire ") && !say(&line) {
                return Ok(true);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn own_log() -> Result<PathBuf> {
    Home::find().map(|home| home.log("edgecore")).filter(|file| file.is_file()).ok_or_else(|| {
        advised(
            "there is no log of an edge node of `longshore up` here",
            "name the log of edgecore with --wire FILE; under systemd: journalctl -fu edgecore | grep 'wire '",
        )
    })
}

//! Files that the edge reads: its configuration, its own database, libraries.

use std::{cell::RefCell, io::Write, path::Path, sync::Arc};

use longshore_edge::config::Config;
use longshore_twin::{Engine, MapperInfo, Nobody, Row, RowKind, TwinBlob};

use crate::{byte, text};

/// A configuration is good, or each of its faults has a line and a reason.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Err(faults) = Config::parse(text, Path::new("/nowhere")) {
        assert!(!faults.is_empty(), "refused without a reason");
    }
}

/// A damaged database costs what is damaged.
pub(crate) fn twins(mut data: &[u8]) {
    let mapper = MapperInfo {
        name: "fuzz".to_owned(),
        protocol: "fuzz".to_owned(),
        pushes: byte(&mut data) % 2 == 1,
    };
    let kinds = [RowKind::Desired, RowKind::Actual, RowKind::Event];
    let json = text(&mut data).map(str::to_owned);
    let rows = kinds.map(|kind| Row {
        kind,
        device: "default/boiler".to_owned(),
        name: "setpoint".to_owned(),
        json: json.clone(),
    });
    let blob = TwinBlob {
        device: "default/boiler".to_owned(),
        data: data.to_vec(),
    };
    let mut engine = Engine::new(Arc::new(Nobody), vec![mapper], true);
    let ended = byte(&mut data) % 2 == 1;
    engine.restore(vec![blob], rows.to_vec(), ended);
}

thread_local! {
    /// One file for all inputs: a new one for each would wear the disk.
    static LIBRARY: RefCell<Option<tempfile::NamedTempFile>> = const { RefCell::new(None) };
}

/// A library is described or refused; nothing of it runs.
pub(crate) fn library(data: &[u8]) {
    LIBRARY.with_borrow_mut(|file| {
        let file =
            file.get_or_insert_with(|| tempfile::NamedTempFile::new().expect("a temporary file"));
        let handle = file.as_file_mut();
        handle.set_len(0).expect("an empty file");
        std::io::Seek::rewind(handle).expect("its beginning");
        handle.write_all(data).expect("room for the input");
        // A refusal names the path and why; that is fine.
        let _ = longshore_host::inspect(file.path());
    });
}

/// A topic of requests is a request, whatever its payload.
pub(crate) fn bus(mut data: &[u8]) {
    if let Some(topic) = text(&mut data) {
        longshore_edge::bus::fuzzing::request(topic, data);
    }
}

/// What the loopback pages are asked, and what their readers get.
pub(crate) fn http(data: &[u8]) {
    longshore_process::http::fuzzing::request(data);
    longshore_process::http::fuzzing::answer(data);
}

/// Frames between a host and its child.
pub(crate) fn frames(data: &[u8]) {
    longshore_host::fuzzing::frames(data);
}

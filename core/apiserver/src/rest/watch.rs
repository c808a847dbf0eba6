//! Watch: a stream of changes, one JSON object a line.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::read::{self, Selection};
use super::request::Output;
use super::status::ApiError;
use super::{Call, convert, table};
use longshore_objects::{Event, EventKind, ReadError, Selector, Watcher};

/// Between bookmarks, as with the real server.
const BOOKMARK: Duration = Duration::from_secs(60);

/// A watch without `timeoutSeconds` lasts this long, up to twice as long.
const DEFAULT_TIMEOUT: u64 = 1800;

/// A running watch.
struct Stream {
    call: Call,
    selection: Selection,
    watcher: Watcher,
    queue: VecDeque<Bytes>,
    deadline: Instant,
    bookmarks: bool,
    next_bookmark: Instant,
    done: bool,
}

pub(super) async fn start(mut call: Call) -> Result<Response, ApiError> {
    let mut selection = Selection::parse(&call.resource, &call.params)?;
    if let Some(name) = call.name.take() {
        // the old form: watch on one object by its path
        selection.fields = super::selector::Fields::parse(&format!("metadata.name={name}"), &[])?;
    }
    let initial = call.params.flag("sendInitialEvents");
    if initial && call.params.get("resourceVersionMatch") != Some("NotOlderThan") {
        return Err(ApiError::new(
            422,
            "Invalid",
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
             sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    let since = read::revision(&call.params)?;
    let bookmarks = call.params.flag("allowWatchBookmarks");
    let mut queue = VecDeque::new();
    let (mut done, mut position) = (false, 0);
    match since {
        Some(revision) if !initial => {
            position = revision;
            let current = call.api.store.current();
            if revision > current {
                // A revision of another life of the database. A client that is told
                // so in the stream lists again; one that is refused tries for ever.
                let text = format!("too old resource version: {revision} ({current})");
                queue.push_back(error_line(&ApiError::expired(text)));
                done = true;
            }
        }
        _ => {
            let listing = read::collect(&call, &selection).await?;
            position = position.max(listing.revision);
            let mut chunk = BytesMut::new();
            for record in &listing.records {
                let json = convert::is_stored_form(&call.resource).then(|| record.json.clone());
                write_event(&call, &mut chunk, "ADDED", json, &record.object());
            }
            if initial && bookmarks {
                write_bookmark(&call, &mut chunk, position, true);
            }
            if !chunk.is_empty() {
                queue.push_back(chunk.freeze());
            }
        }
    }
    let seconds = call
        .params
        .number("timeoutSeconds")
        .unwrap_or_else(|| DEFAULT_TIMEOUT + fastrand::u64(0..DEFAULT_TIMEOUT));
    let now = Instant::now();
    let selector = Selector {
        kind: call.resource.storage.clone(),
        namespace: call.namespace.clone(),
    };
    let watcher = call.api.store.watch(selector, position);
    let state = Stream {
        selection,
        watcher,
        queue,
        deadline: now + Duration::from_secs(seconds.min(24 * 3600)),
        bookmarks,
        next_bookmark: now + BOOKMARK,
        done,
        call,
    };
    let body = Body::from_stream(stream::unfold(state, |mut state| async move {
        let chunk = state.next().await?;
        Some((Ok::<_, Infallible>(chunk), state))
    }));
    Ok((
        StatusCode::OK,
        [(header::CONTENT_TYPE, "application/json")],
        body,
    )
        .into_response())
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.queue.pop_front() {
                return Some(chunk);
            }
            if self.done {
                return None;
            }
            let timer = if self.bookmarks {
                self.deadline.min(self.next_bookmark)
            } else {
                self.deadline
            };
            let stopping = self.call.api.stopping.clone();
            tokio::select! {
                () = stopping.cancelled() => self.done = true,
                events = self.watcher.next() => self.take(events),
                () = tokio::time::sleep_until(timer) => self.on_timer(),
            }
        }
    }

    fn on_timer(&mut self) {
        let now = Instant::now();
        self.done = now >= self.deadline;
        if self.bookmarks {
            self.next_bookmark = now + BOOKMARK;
            let mut chunk = BytesMut::new();
            write_bookmark(&self.call, &mut chunk, self.watcher.position(), false);
            self.queue.push_back(chunk.freeze());
        }
    }

    fn take(&mut self, events: Result<Vec<std::sync::Arc<Event>>, ReadError>) {
        let events = match events {
            Ok(events) => events,
            Err(ReadError::Closed) => {
                self.done = true;
                return;
            }
            Err(ReadError::Expired { wanted, oldest }) => {
                let text = format!("too old resource version: {wanted} ({oldest})");
                self.queue.push_back(error_line(&ApiError::expired(text)));
                self.done = true;
                return;
            }
            Err(other) => {
                self.queue.push_back(error_line(&ApiError::from(other)));
                self.done = true;
                return;
            }
        };
        let mut chunk = BytesMut::new();
        for event in events {
            self.write(&mut chunk, &event);
        }
        if !chunk.is_empty() {
            self.queue.push_back(chunk.freeze());
        }
    }

    /// Writes an event as the selection sees it: an object that leaves the
    /// selection is deleted for this watcher, one that enters is added.
    fn write(&self, chunk: &mut BytesMut, event: &Event) {
        let resource = &self.call.resource;
        let json = convert::is_stored_form(resource).then(|| event.record.json.clone());
        if self.selection.is_empty() {
            return write_event(&self.call, chunk, name(event.kind), json, event.object());
        }
        let is = self
            .selection
            .matches(&convert::present(resource, event.object().clone()));
        let previous = if event.kind == EventKind::Modified && self.selection.mutable() {
            event.previous()
        } else {
            None
        };
        let was = match (event.kind, &previous) {
            (EventKind::Added, _) => false,
            (EventKind::Deleted, _) => is,
            (EventKind::Modified, Some(previous)) => self
                .selection
                .matches(&convert::present(resource, previous.clone())),
            (EventKind::Modified, None) => is,
        };
        match (was, is, event.kind) {
            (_, true, EventKind::Deleted) => {
                write_event(&self.call, chunk, "DELETED", json, event.object())
            }
            (true, true, _) => write_event(&self.call, chunk, "MODIFIED", json, event.object()),
            (false, true, _) => write_event(&self.call, chunk, "ADDED", json, event.object()),
            (true, false, _) => {
                let mut last = previous.unwrap_or_else(|| event.object().clone());
                last["metadata"]["resourceVersion"] = json!(event.record.revision.to_string());
                write_event(&self.call, chunk, "DELETED", None, &last);
            }
            (false, false, _) => {}
        }
    }
}

fn name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Added => "ADDED",
        EventKind::Modified => "MODIFIED",
        EventKind::Deleted => "DELETED",
    }
}

/// Writes one line. `json` is the object's stored text, when that can be used.
fn write_event(call: &Call, chunk: &mut BytesMut, kind: &str, json: Option<Bytes>, object: &Value) {
    let object = match (call.output, json) {
        (Output::Object, Some(json)) => json,
        (output, _) => {
            let object = convert::present(&call.resource, object.clone());
            let shown = match output {
                Output::Object => object,
                Output::Partial => table::partial(&object),
                Output::Table => {
                    table::build(&call.resource, vec![object], &call.params, Value::Null)
                }
            };
            Bytes::from(shown.to_string())
        }
    };
    line(chunk, kind, &object);
}

fn line(chunk: &mut BytesMut, kind: &str, object: &[u8]) {
    chunk.put_slice(b"{\"type\":\"");
    chunk.put_slice(kind.as_bytes());
    chunk.put_slice(b"\",\"object\":");
    chunk.put_slice(object);
    chunk.put_slice(b"}\n");
}

fn write_bookmark(call: &Call, chunk: &mut BytesMut, revision: u64, initial_end: bool) {
    let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
    if initial_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = match call.output {
        Output::Table => {
            json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": [],
            "rows": [], "metadata": metadata})
        }
        Output::Partial => {
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
        }
        Output::Object => {
            json!({"kind": call.resource.kind, "apiVersion": call.resource.api_version(), "metadata": metadata})
        }
    };
    line(chunk, "BOOKMARK", object.to_string().as_bytes());
}

fn error_line(error: &ApiError) -> Bytes {
    let mut chunk = BytesMut::new();
    line(&mut chunk, "ERROR", error.status().to_string().as_bytes());
    chunk.freeze()
}

//! Watch: a stream of changes, one JSON object a line.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::accept::Output;
use super::read::{self, Pages, Selection};
use super::status::ApiError;
use super::{Call, convert, table};
use longshore_objects::{Event, EventKind, ReadError, Selector, Watcher};

/// Between bookmarks, as with the real server.
const BOOKMARK: Duration = Duration::from_secs(60);

/// A watch without `timeoutSeconds` lasts this long, up to twice as long.
const DEFAULT_TIMEOUT: u64 = 1800;

/// Bytes of an object from which on its text is shared and not copied.
const LARGE: usize = 16 * 1024;

/// A running watch.
struct Stream {
    call: Arc<Call>,
    selection: Selection,
    watcher: Watcher,
    queue: VecDeque<Bytes>,
    deadline: Instant,
    bookmarks: bool,
    next_bookmark: Instant,
    done: bool,
}

pub(super) async fn start(call: &Arc<Call>) -> Result<Response, ApiError> {
    let mut selection = Selection::parse(&call.resource, &call.params)?;
    if let Some(name) = &call.name {
        // the old form: watch on one object by its path
        selection.fields = super::selector::Fields::parse(&format!("metadata.name={name}"), &[])?;
    }
    let initial = call.params.flag("sendInitialEvents");
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
            let listing = read::collect(call, &selection, Pages::All).await?;
            position = position.max(listing.revision);
            let size = listing.records.iter().map(|record| record.json.len());
            let (call_, size) = (Arc::clone(call), size.sum());
            let chunks = call.api.pool.run(size, move || {
                let mut out = Out::default();
                for record in listing.records {
                    let json = convert::is_stored_form(&call_.resource).then_some(&record.json);
                    out.event(&call_, "ADDED", json, || record.object());
                }
                out
            });
            let mut out = chunks.await?;
            if initial && bookmarks {
                out.bookmark(call, position, true);
            }
            queue.extend(out.finish());
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
        call: Arc::clone(call),
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
            let mut out = Out::default();
            out.bookmark(&self.call, self.watcher.position(), false);
            self.queue.extend(out.finish());
        }
    }

    fn take(&mut self, events: Result<Vec<Arc<Event>>, ReadError>) {
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
        let mut out = Out::default();
        for event in events {
            self.write(&mut out, &event);
        }
        self.queue.extend(out.finish());
    }

    /// Writes an event as the selection sees it: an object that leaves the
    /// selection is deleted for this watcher, one that enters is added.
    fn write(&self, out: &mut Out, event: &Event) {
        let call = &*self.call;
        let resource = &call.resource;
        let json = convert::is_stored_form(resource).then_some(&event.record.json);
        if self.selection.is_empty() {
            return out.event(call, name(event.kind), json, || event.object());
        }
        if self.selection.is_other(&event.record) {
            return;
        }
        let object = event.object();
        let is = self.selects(&object);
        let previous = if event.kind == EventKind::Modified && self.selection.mutable() {
            event.previous()
        } else {
            None
        };
        let was = match (event.kind, &previous) {
            (EventKind::Added, _) => false,
            (EventKind::Deleted, _) => is,
            (EventKind::Modified, Some(previous)) => self.selects(previous),
            (EventKind::Modified, None) => is,
        };
        match (was, is, event.kind) {
            (_, true, EventKind::Deleted) => out.event(call, "DELETED", json, || object),
            (true, true, _) => out.event(call, "MODIFIED", json, || object),
            (false, true, _) => out.event(call, "ADDED", json, || object),
            (true, false, _) => {
                let mut last = previous.unwrap_or(object);
                last["metadata"]["resourceVersion"] = json!(event.record.revision.to_string());
                out.event(call, "DELETED", None, || last);
            }
            (false, false, _) => {}
        }
    }

    fn selects(&self, object: &Value) -> bool {
        if convert::is_stored_form(&self.call.resource) {
            return self.selection.matches(object);
        }
        let shown = convert::present(&self.call.resource, object.clone());
        self.selection.matches(&shown)
    }
}

fn name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Added => "ADDED",
        EventKind::Modified => "MODIFIED",
        EventKind::Deleted => "DELETED",
    }
}

/// The lines of a watch. Small objects are put together; the text of a large one is
/// that of the store, shared by all watchers.
#[derive(Default)]
struct Out {
    pieces: Vec<Bytes>,
    piece: BytesMut,
}

impl Out {
    /// Adds one line. `json` is the object's stored text, when that can be used.
    fn event(
        &mut self,
        call: &Call,
        kind: &str,
        json: Option<&Bytes>,
        object: impl FnOnce() -> Value,
    ) {
        if let (Output::Object, Some(json)) = (call.output, json) {
            return self.line(kind, json);
        }
        let object = convert::present(&call.resource, object());
        let shown = match call.output {
            Output::Object => object,
            Output::Partial => table::partial(&object),
            Output::Table => table::build(&call.resource, vec![object], &call.params, Value::Null),
        };
        self.line(kind, &shown.to_string().into());
    }

    fn line(&mut self, kind: &str, object: &Bytes) {
        self.piece.put_slice(b"{\"type\":\"");
        self.piece.put_slice(kind.as_bytes());
        self.piece.put_slice(b"\",\"object\":");
        if object.len() < LARGE {
            self.piece.put_slice(object);
        } else {
            self.cut();
            self.pieces.push(object.clone());
        }
        self.piece.put_slice(b"}\n");
    }

    fn bookmark(&mut self, call: &Call, revision: u64, initial_end: bool) {
        let mut metadata =
            json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
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
        self.line("BOOKMARK", &object.to_string().into());
    }

    fn cut(&mut self) {
        if !self.piece.is_empty() {
            self.pieces.push(self.piece.split().freeze());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.cut();
        self.pieces
    }
}

fn error_line(error: &ApiError) -> Bytes {
    let mut out = Out::default();
    out.line("ERROR", &error.status().to_string().into());
    out.piece.freeze()
}

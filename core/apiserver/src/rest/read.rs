//! Get and list.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::accept::Output;
use super::request::Params;
use super::selector::{Fields, Labels};
use super::status::{ApiError, json_text};
use super::{Call, Stored, convert, table};
use crate::registry::Resource;
use longshore_objects::{PageRequest, Record};

/// The end of a list.
const TAIL: &[u8] = b"]}";

/// Bytes that are sent at one time, where there are many small ones.
const PIECE: usize = 16 * 1024;

/// Objects read at one time while a selector looks for more.
const CHUNK: usize = 500;

/// Which objects of a resource a request means.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    pub(super) labels: Labels,
    pub(super) fields: Fields,
}

impl Selection {
    pub(super) fn parse(resource: &Resource, params: &Params) -> Result<Selection, ApiError> {
        Ok(Selection {
            labels: Labels::parse(params.get("labelSelector").unwrap_or_default())?,
            fields: Fields::parse(
                params.get("fieldSelector").unwrap_or_default(),
                &resource.selectable,
            )?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether another object is meant, by its name: it does not have to be read then.
    pub(super) fn is_other(&self, record: &Record) -> bool {
        self.fields.name().is_some_and(|name| name != record.name)
    }

    /// Whether a stored object is meant.
    pub(super) fn fits(&self, resource: &Resource, record: &Record) -> bool {
        !self.is_other(record) && self.matches(&convert::present(resource, record.object()))
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    /// Whether an object can move in or out of the selection while it lives.
    pub(super) fn mutable(&self) -> bool {
        !self.labels.is_empty() || self.fields.mutable()
    }
}

/// A part of a list.
pub(super) struct Listing {
    pub(super) revision: u64,
    pub(super) next: Option<String>,
    pub(super) remaining: Option<usize>,
    pub(super) records: Vec<Record>,
}

pub(super) async fn get(call: &Arc<Call>) -> Result<Response, ApiError> {
    let name = call.name.as_deref().unwrap_or_default();
    if let Some(wanted) = revision(&call.params)? {
        let current = call.api.store.current();
        if wanted > current {
            return Err(ApiError::too_new(wanted, current));
        }
    }
    let record = call.api.store.get(call.key(name)).await?;
    let record = record.ok_or_else(|| ApiError::not_found(&call.resource, name))?;
    Ok(call
        .answer(StatusCode::OK, Stored::Text(record.json), &[])
        .await)
}

pub(super) async fn list(call: &Arc<Call>) -> Result<Response, ApiError> {
    let selection = Selection::parse(&call.resource, &call.params)?;
    let listing = collect(call, &selection, Pages::AsAsked).await?;
    let resource = &call.resource;
    let metadata = table::list_metadata(listing.revision, listing.next, listing.remaining);
    if call.output == Output::Object && convert::is_stored_form(resource) {
        let head = json!({"kind": resource.list_kind, "apiVersion": resource.api_version(), "metadata": metadata});
        return Ok(joined(&head, listing.records));
    }
    let (call_, records) = (Arc::clone(call), listing.records);
    let shown = call.api.pool.run(bytes(&records), move || {
        let text = shown(&call_, &records, metadata);
        serde_json::to_vec(&text).unwrap_or_default()
    });
    Ok(json_text(StatusCode::OK, shown.await?.into()))
}

/// Bytes of these records.
fn bytes(records: &[Record]) -> usize {
    records.iter().map(|record| record.json.len()).sum()
}

/// A list in the form that was asked for, where that is not the stored one.
fn shown(call: &Call, records: &[Record], metadata: Value) -> Value {
    let resource = &call.resource;
    let objects = records
        .iter()
        .map(|record| convert::present(resource, record.object()));
    match call.output {
        Output::Table => table::build(resource, objects.collect(), &call.params, metadata),
        Output::Partial => {
            json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata, "items": objects.map(|object| table::partial(&object)).collect::<Vec<_>>()})
        }
        Output::Object => json!({"kind": resource.list_kind, "apiVersion": resource.api_version(),
            "metadata": metadata, "items": objects.collect::<Vec<_>>()}),
    }
}

/// A list of stored JSON, without parsing or copying it: the objects go out one after
/// the other, as the client takes them.
fn joined(head: &Value, records: Vec<Record>) -> Response {
    let mut head = head.to_string();
    head.pop();
    head.push_str(",\"items\":[");
    let size = bytes(&records) + records.len().saturating_sub(1);
    let size = head.len() + size + TAIL.len();
    let mut parts = VecDeque::with_capacity(2 * records.len() + 2);
    parts.push_back(Bytes::from(head));
    for (index, record) in records.into_iter().enumerate() {
        if index > 0 {
            parts.push_back(Bytes::from_static(b","));
        }
        parts.push_back(record.json);
    }
    parts.push_back(Bytes::from_static(TAIL));
    let body = Body::from_stream(stream::unfold(parts, |mut parts| async move {
        let part = next_part(&mut parts)?;
        Some((Ok::<_, Infallible>(part), parts))
    }));
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_LENGTH, size.to_string()),
    ];
    (StatusCode::OK, headers, body).into_response()
}

/// The next piece to send: small ones come together, a large one comes as it is.
fn next_part(parts: &mut VecDeque<Bytes>) -> Option<Bytes> {
    let first = parts.pop_front()?;
    if first.len() >= PIECE {
        return Some(first);
    }
    let mut piece = BytesMut::with_capacity(PIECE);
    piece.put_slice(&first);
    while let Some(part) = parts.front()
        && piece.len() + part.len() <= PIECE
    {
        piece.put_slice(part);
        parts.pop_front();
    }
    Some(piece.freeze())
}

/// The revision of a request: `None` for "any" and "newest".
pub(super) fn revision(params: &Params) -> Result<Option<u64>, ApiError> {
    match params.get("resourceVersion") {
        None | Some("0") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            ApiError::bad_request(format!(
                "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing \
                 {text:?}: invalid syntax"
            ))
        }),
    }
}

/// Whether a request is answered in pages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pages {
    /// As its parameters say.
    AsAsked,
    /// Never: a watch begins with everything, whatever else is asked.
    All,
}

/// Reads the objects that a list asks for.
pub(super) async fn collect(
    call: &Arc<Call>,
    selection: &Selection,
    pages: Pages,
) -> Result<Listing, ApiError> {
    let params = &call.params;
    let paged = pages == Pages::AsAsked;
    let limit = params
        .number("limit")
        .filter(|limit| paged && *limit > 0)
        .map_or(usize::MAX, |limit| limit as usize);
    let (mut at, mut after) = (None, None);
    if let Some(token) = params.get("continue").filter(|_| paged) {
        if revision(params)?.is_some() {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let (revision, start) = read_token(token)?;
        (at, after) = (Some(revision), Some(start));
    } else if let Some(wanted) = revision(params)? {
        let current = call.api.store.current();
        if wanted > current {
            return Err(ApiError::too_new(wanted, current));
        }
        at = (params.get("resourceVersionMatch") == Some("Exact")).then_some(wanted);
    }
    let mut listing = Listing {
        revision: 0,
        next: None,
        remaining: None,
        records: Vec::new(),
    };
    loop {
        let missing = limit - listing.records.len();
        let request = PageRequest {
            resource: call.resource.storage.clone(),
            namespace: call.namespace.clone(),
            name: selection.fields.name().map(str::to_owned),
            revision: at,
            after: after.clone(),
            limit: if selection.is_empty() {
                missing
            } else {
                missing.clamp(CHUNK, CHUNK * 4)
            },
        };
        let page = call.api.store.page(request).await?;
        // later pages are of the same state as the first
        (at, listing.revision) = (Some(page.revision), page.revision);
        let mut rest = page.remaining;
        if let Some(last) = page.records.last() {
            after = Some((last.namespace.clone(), last.name.clone()));
        }
        let nothing = page.records.is_empty();
        let mut chosen = page.records;
        if !selection.is_empty() {
            let (call_, selection) = (Arc::clone(call), selection.clone());
            let chosen_ = call.api.pool.run(bytes(&chosen), move || {
                let fits = |record: &Record| selection.fits(&call_.resource, record);
                let fit: Vec<bool> = chosen.iter().map(fits).collect();
                (chosen, fit)
            });
            let (records, fit) = chosen_.await?;
            let (taken, left) = take(records, &fit, missing);
            if left > 0 {
                let last = taken.last();
                after = last.map(|last| (last.namespace.clone(), last.name.clone()));
                rest += left;
            }
            chosen = taken;
        }
        listing.records.extend(chosen);
        let full = listing.records.len() >= limit;
        if rest == 0 || nothing {
            return Ok(listing);
        }
        if full {
            listing.next =
                after.map(|(namespace, name)| write_token(page.revision, &namespace, &name));
            listing.remaining = selection.is_empty().then_some(rest);
            return Ok(listing);
        }
    }
}

/// The first records that fit, so many at most, and how many stand behind the last of
/// them where there were enough.
fn take(records: Vec<Record>, fit: &[bool], most: usize) -> (Vec<Record>, usize) {
    let all = records.len();
    let fitting = records.into_iter().zip(fit).enumerate();
    let fitting = fitting.filter(|(_, (_, fits))| **fits);
    let (mut taken, mut left) = (Vec::new(), 0);
    for (index, (record, _)) in fitting.take(most) {
        taken.push(record);
        left = if taken.len() == most {
            all - index - 1
        } else {
            0
        };
    }
    (taken, left)
}

fn write_token(revision: u64, namespace: &str, name: &str) -> String {
    let token =
        json!({"v": "meta.k8s.io/v1", "rv": revision, "start": format!("{namespace}/{name}")});
    URL_SAFE_NO_PAD.encode(token.to_string())
}

fn read_token(text: &str) -> Result<(u64, (String, String)), ApiError> {
    let fault = || ApiError::bad_request("continue key is not valid");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| fault())?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|_| fault())?;
    let (namespace, name) = token["start"]
        .as_str()
        .and_then(|start| start.split_once('/'))
        .ok_or_else(fault)?;
    Ok((
        token["rv"].as_u64().ok_or_else(fault)?,
        (namespace.to_owned(), name.to_owned()),
    ))
}

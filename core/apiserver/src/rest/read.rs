//! Get and list.

use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut, Bytes, BytesMut};
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::request::{Output, Params};
use super::selector::{Fields, Labels};
use super::status::{ApiError, json_response};
use super::{Call, convert, table};
use crate::registry::Resource;
use longshore_objects::{PageRequest, Record};

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
        let known: Vec<&str> = resource.selectable.iter().map(String::as_str).collect();
        Ok(Selection {
            labels: Labels::parse(params.get("labelSelector").unwrap_or_default())?,
            fields: Fields::parse(params.get("fieldSelector").unwrap_or_default(), &known)?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
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

pub(super) async fn get(call: &Call) -> Result<Response, ApiError> {
    let name = call.name.as_deref().unwrap_or_default();
    let record = call.api.store.get(call.key(name)).await?;
    let record = record.ok_or_else(|| ApiError::not_found(&call.resource, name))?;
    if call.output == Output::Object
        && convert::is_stored_form(&call.resource)
        && call.resource.deprecation.is_none()
    {
        return Ok(raw(record.json));
    }
    Ok(call.respond(
        StatusCode::OK,
        convert::present(&call.resource, record.object()),
        &[],
    ))
}

fn raw(json: Bytes) -> Response {
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "application/json")],
        json,
    )
        .into_response()
}

pub(super) async fn list(call: &Call) -> Result<Response, ApiError> {
    let selection = Selection::parse(&call.resource, &call.params)?;
    let listing = collect(call, &selection).await?;
    let resource = &call.resource;
    let metadata = table::list_metadata(listing.revision, listing.next, listing.remaining);
    if call.output == Output::Object && convert::is_stored_form(resource) {
        let head = json!({"kind": resource.list_kind, "apiVersion": resource.api_version(), "metadata": metadata});
        return Ok(raw(join(&head, &listing.records)));
    }
    let objects = listing
        .records
        .iter()
        .map(|record| convert::present(resource, record.object()));
    let body = match call.output {
        Output::Table => table::build(resource, objects.collect(), &call.params, metadata),
        Output::Partial => {
            json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata, "items": objects.map(|object| table::partial(&object)).collect::<Vec<_>>()})
        }
        Output::Object => json!({"kind": resource.list_kind, "apiVersion": resource.api_version(),
            "metadata": metadata, "items": objects.collect::<Vec<_>>()}),
    };
    Ok(json_response(StatusCode::OK, &body))
}

/// A list of stored JSON, without parsing it.
fn join(head: &Value, records: &[Record]) -> Bytes {
    let head = head.to_string();
    let size: usize = records.iter().map(|record| record.json.len() + 1).sum();
    let mut body = BytesMut::with_capacity(head.len() + size + 16);
    body.put_slice(head.trim_end_matches('}').as_bytes());
    let closed = head.len() - head.trim_end_matches('}').len();
    // the metadata object's own brace was cut off as well
    for _ in 1..closed {
        body.put_u8(b'}');
    }
    body.put_slice(b",\"items\":[");
    for (index, record) in records.iter().enumerate() {
        if index > 0 {
            body.put_u8(b',');
        }
        body.put_slice(&record.json);
    }
    body.put_slice(b"]}");
    body.freeze()
}

/// The revision of a request: `None` for "any" and "newest".
pub(super) fn revision(params: &Params) -> Result<Option<u64>, ApiError> {
    match params.get("resourceVersion") {
        None | Some("0") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            ApiError::bad_request(format!("resourceVersion: Invalid value: {text:?}"))
        }),
    }
}

/// Reads the objects that a list asks for.
pub(super) async fn collect(call: &Call, selection: &Selection) -> Result<Listing, ApiError> {
    let params = &call.params;
    let limit = params
        .number("limit")
        .filter(|limit| *limit > 0)
        .map_or(usize::MAX, |limit| limit as usize);
    let (mut at, mut after) = (None, None);
    if let Some(token) = params.get("continue") {
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
        for (index, record) in page.records.iter().enumerate() {
            after = Some((record.namespace.clone(), record.name.clone()));
            if selection.is_empty()
                || selection.matches(&convert::present(&call.resource, record.object()))
            {
                listing.records.push(record.clone());
                if listing.records.len() == limit {
                    rest += page.records.len() - index - 1;
                    break;
                }
            }
        }
        let full = listing.records.len() >= limit;
        if rest == 0 || page.records.is_empty() {
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

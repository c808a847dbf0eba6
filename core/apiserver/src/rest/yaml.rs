//! Answers in YAML, for who asks for it.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use serde_json::Value;

use super::Api;
use super::accept::{Encoding, encoding};
use super::status::ApiError;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");

/// Whether the answer to a request for `path` is to be YAML.
pub(super) fn is_wanted(path: &str, headers: &HeaderMap) -> bool {
    let objects = path == "/api" || path == "/apis" || path.starts_with("/api/");
    (objects || path.starts_with("/apis/")) && encoding(headers) == Encoding::Yaml
}

/// The same answer in YAML. One that is no JSON stays as it is; a watch
/// never comes here, since it is refused in YAML.
pub(super) async fn answer(api: &Arc<Api>, response: Response) -> Response {
    if response.headers().get(header::CONTENT_TYPE) != Some(&JSON) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(json) = to_bytes(body, usize::MAX).await else {
        return ApiError::internal("the answer could not be read").into_response();
    };
    let written = api.pool.run(json.len(), move || write(&json)).await;
    match written.and_then(|text| text) {
        Ok(text) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            parts.headers.insert(header::CONTENT_TYPE, YAML);
            Response::from_parts(parts, Body::from(text))
        }
        Err(error) => error.into_response(),
    }
}

fn write(json: &[u8]) -> Result<String, ApiError> {
    let value: Value = serde_json::from_slice(json)
        .map_err(|fault| ApiError::internal(format!("the answer is no JSON: {fault}")))?;
    serde_saphyr::to_string(&value)
        .map_err(|fault| ApiError::internal(format!("the answer could not be YAML: {fault}")))
}

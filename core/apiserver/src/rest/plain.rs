//! Paths that are no resources: health, version, OpenAPI.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

use super::request::Params;
use super::status::{ApiError, json_response};
use super::{Api, VERSION, openapi, openapi_v2};

pub(super) async fn answer(
    api: &Api,
    path: &str,
    params: &Params,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    match path {
        "/healthz" | "/livez" => Ok(text("ok")),
        "/readyz" if api.stopping.is_cancelled() => Err(ApiError::unavailable()),
        "/readyz" => Ok(text("ok")),
        "/version" => Ok(json_response(
            StatusCode::OK,
            &json!({
                "major": "1", "minor": "33", "gitVersion": VERSION, "gitCommit": "", "gitTreeState": "clean",
                "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc",
                "platform": format!("{}/{}", std::env::consts::OS, arch()),
            }),
        )),
        "/openapi/v3" => Ok(json_response(
            StatusCode::OK,
            &openapi::index(&api.registry()),
        )),
        "/openapi/v2" => openapi_v2::answer(&api.registry(), headers),
        "" => Ok(json_response(
            StatusCode::OK,
            &json!({"paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]}),
        )),
        _ => match path.strip_prefix("/openapi/v3/") {
            Some(group_version) => {
                let document = openapi::document(&api.registry(), group_version)
                    .ok_or_else(ApiError::no_such_path)?;
                let mut response = json_response(StatusCode::OK, &document);
                if params.get("hash").is_some() {
                    let forever = header::HeaderValue::from_static("public, immutable");
                    response
                        .headers_mut()
                        .insert(header::CACHE_CONTROL, forever);
                }
                Ok(response)
            }
            None => Err(ApiError::no_such_path()),
        },
    }
}

/// The architecture as Go names it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn text(body: &'static str) -> Response {
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        body,
    )
        .into_response()
}

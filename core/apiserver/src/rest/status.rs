//! Failures as clients know them: `Status` objects.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::cause::{Cause, Faults};
use crate::patch::{Conflicts, PatchError};
use crate::registry::Resource;
use longshore_objects::{ReadError, WriteError};

/// A refused request.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    code: u16,
    reason: &'static str,
    message: String,
    details: Value,
}

/// What a request names, for messages: `devices.devices.kubeedge.io "x"`.
fn qualified(resource: &Resource) -> String {
    if resource.group.is_empty() {
        resource.plural.clone()
    } else {
        format!("{}.{}", resource.plural, resource.group)
    }
}

impl ApiError {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
        }
    }

    fn about(mut self, resource: &Resource, name: &str) -> ApiError {
        self.details = json!({"name": name, "group": resource.group, "kind": resource.plural});
        self
    }

    pub(crate) fn code(&self) -> u16 {
        self.code
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "BadRequest", message)
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> ApiError {
        ApiError::new(
            404,
            "NotFound",
            format!("{} {name:?} not found", qualified(resource)),
        )
        .about(resource, name)
    }

    /// More bytes than `limit`.
    pub(crate) fn too_large(limit: usize) -> ApiError {
        let text = format!("Request entity too large: limit is {limit}");
        ApiError::new(413, "RequestEntityTooLarge", text)
    }

    /// The server has enough to do; the same may be tried again.
    pub(crate) fn too_many_requests() -> ApiError {
        let text = "too many requests, please try again later.";
        let mut error = ApiError::new(429, "TooManyRequests", text);
        error.details = json!({"retryAfterSeconds": 1});
        error
    }

    /// The work took longer than a request may.
    pub(crate) fn too_long() -> ApiError {
        let text = "Timeout: request did not complete within the allotted timeout";
        let mut error = ApiError::new(504, "Timeout", text);
        error.details = json!({"retryAfterSeconds": 1});
        error
    }

    /// A path that leads nowhere.
    pub(crate) fn no_such_path() -> ApiError {
        let mut error = ApiError::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
        error.details = json!({});
        error
    }

    pub(crate) fn already_exists(resource: &Resource, name: &str) -> ApiError {
        let text = format!("{} {name:?} already exists", qualified(resource));
        ApiError::new(409, "AlreadyExists", text).about(resource, name)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, detail: &str) -> ApiError {
        let text = format!(
            "Operation cannot be fulfilled on {} {name:?}: {detail}",
            qualified(resource)
        );
        ApiError::new(409, "Conflict", text).about(resource, name)
    }

    /// The object is not at the revision that the client has seen.
    pub(crate) fn modified(resource: &Resource, name: &str) -> ApiError {
        let text = "the object has been modified; please apply your changes to the latest version and try again";
        ApiError::conflict(resource, name, text)
    }

    pub(crate) fn apply_conflict(conflicts: &Conflicts) -> ApiError {
        let causes: Vec<Value> = conflicts
            .0
            .iter()
            .map(|(owner, path)| {
                json!({"reason": "FieldManagerConflict", "message": format!("conflict with {owner}"), "field": path})
            })
            .collect();
        let mut error = ApiError::new(409, "Conflict", conflicts.message());
        error.details = json!({ "causes": causes });
        error
    }

    pub(crate) fn invalid(resource: &Resource, name: &str, faults: &Faults) -> ApiError {
        let kind = if resource.group.is_empty() {
            resource.kind.clone()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        let causes = faults.told();
        let mut texts: Vec<String> = causes.iter().map(Cause::text).collect();
        if faults.more() > 0 {
            texts.push(format!("and {} more", faults.more()));
        }
        let text = match texts.as_slice() {
            [only] => only.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut error = ApiError::new(
            422,
            "Invalid",
            format!("{kind} {name:?} is invalid: {text}"),
        );
        error.details = json!({"name": name, "group": resource.group, "kind": resource.kind,
            "causes": causes.iter().map(Cause::json).collect::<Vec<_>>()});
        error
    }

    /// The object says that it is of another kind than the path.
    pub(crate) fn wrong_kind(resource: &Resource, name: &str, given: &str) -> ApiError {
        let detail = format!("must be {}", resource.kind);
        let cause = Cause::invalid("kind", &json!(given), &detail);
        let group = &resource.group;
        let text = format!("{given}.{group} {name:?} is invalid: {}", cause.text());
        let mut error = ApiError::new(422, "Invalid", text);
        error.details =
            json!({"name": name, "group": group, "kind": given, "causes": [cause.json()]});
        error
    }

    /// A parameter of the request is wrong. `options` is the kind that they make up.
    pub(crate) fn invalid_options(options: &str, causes: &[Cause]) -> ApiError {
        let texts: Vec<String> = causes.iter().map(Cause::text).collect();
        let text = match texts.as_slice() {
            [only] => only.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let text = format!("{options}.meta.k8s.io \"\" is invalid: {text}");
        let mut error = ApiError::new(422, "Invalid", text);
        error.details = json!({"group": "meta.k8s.io", "kind": options,
            "causes": causes.iter().map(Cause::json).collect::<Vec<_>>()});
        error
    }

    pub(crate) fn not_acceptable(accepted: &[&str]) -> ApiError {
        let list = accepted.join(", ");
        let text = format!("only the following media types are accepted: {list}");
        ApiError::new(406, "NotAcceptable", text)
    }

    pub(crate) fn forbidden(resource: &Resource, name: &str, detail: &str) -> ApiError {
        let text = format!("{} {name:?} is forbidden: {detail}", qualified(resource));
        ApiError::new(403, "Forbidden", text).about(resource, name)
    }

    pub(crate) fn unauthorized() -> ApiError {
        ApiError::new(401, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn method_not_allowed() -> ApiError {
        let mut error = ApiError::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        error.details = json!({});
        error
    }

    pub(crate) fn unsupported_media_type(accepted: &[&str]) -> ApiError {
        let list = accepted.join(", ");
        let text = format!(
            "the body of the request was in an unknown format - accepted media types include: {list}"
        );
        ApiError::new(415, "UnsupportedMediaType", text)
    }

    pub(crate) fn expired(message: impl Into<String>) -> ApiError {
        ApiError::new(410, "Expired", message)
    }

    pub(crate) fn too_new(wanted: u64, current: u64) -> ApiError {
        let text = format!("Timeout: Too large resource version: {wanted}, current: {current}");
        let mut error = ApiError::new(504, "Timeout", text);
        error.details = json!({"retryAfterSeconds": 1, "causes": [
            {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]});
        error
    }

    pub(crate) fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(
            500,
            "InternalError",
            format!("Internal error occurred: {}", message.into()),
        )
    }

    pub(crate) fn unavailable() -> ApiError {
        ApiError::new(503, "ServiceUnavailable", "the server is shutting down")
    }

    pub(crate) fn patch(resource: &Resource, name: &str, error: &PatchError) -> ApiError {
        match error {
            PatchError::Malformed(text) => ApiError::bad_request(text.clone()),
            PatchError::Unprocessable(text) => {
                let text = format!(
                    "the server rejected our request due to an error in our request: {text}"
                );
                ApiError::new(422, "Invalid", text).about(resource, name)
            }
            PatchError::TooLarge(text) => {
                let text = format!("Request entity too large: {text}");
                ApiError::new(413, "RequestEntityTooLarge", text).about(resource, name)
            }
        }
    }

    pub(crate) fn write(resource: &Resource, name: &str, error: &WriteError) -> ApiError {
        match error {
            WriteError::Exists => ApiError::already_exists(resource, name),
            WriteError::Missing => ApiError::not_found(resource, name),
            WriteError::Changed => ApiError::modified(resource, name),
            WriteError::Database(source) => ApiError::internal(format!("{error}: {source}")),
            WriteError::Closed => ApiError::unavailable(),
        }
    }

    /// The `Status` object.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status["code"] = json!(self.code);
        status
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> ApiError {
        match error {
            ReadError::Expired { .. } => ApiError::expired(
                "The provided continue parameter is too old to display a consistent list result. \
                 You must start a new list without the continue parameter.",
            ),
            ReadError::TooNew { wanted, current } => ApiError::too_new(wanted, current),
            ReadError::Database(source) => {
                ApiError::internal(format!("the database refused a read: {source}"))
            }
            ReadError::Closed => ApiError::unavailable(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json_response(code, &self.status());
        if matches!(self.code, 429 | 503 | 504) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A JSON body with its content type.
pub(crate) fn json_response(code: StatusCode, body: &Value) -> Response {
    json_text(code, serde_json::to_vec(body).unwrap_or_default().into())
}

/// The same for what is text already.
pub(crate) fn json_text(code: StatusCode, text: Bytes) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

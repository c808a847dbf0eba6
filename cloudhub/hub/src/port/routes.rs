//! What the port answers to.

use axum::{Router, routing::MethodRouter};
use http::StatusCode;

use super::refusal::Refused;

/// A router of these paths. Any other path hears which there are, and any other
/// method that it is the wrong one.
pub(crate) fn router(routes: impl IntoIterator<Item = (&'static str, MethodRouter)>) -> Router {
    let mut router = Router::new();
    let mut paths = Vec::new();
    for (path, handlers) in routes {
        router = router.route(path, handlers);
        paths.push(path);
    }
    let paths = paths.join(", ");
    let not_here = format!("nothing is here; this port of a hub has {paths}");
    router
        .method_not_allowed_fallback(async || {
            let reason = "this path takes another method, see the header `Allow`";
            Refused::new(StatusCode::METHOD_NOT_ALLOWED, reason)
        })
        .fallback(async move || Refused::new(StatusCode::NOT_FOUND, not_here))
}

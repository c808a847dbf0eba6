//! Requests to the embedded API server, through its whole REST face.

use std::cell::RefCell;

use axum::body::Body;
use http::Request;
use longshore_apiserver::{
    ApiServer, Config,
    fuzzing::{self, Patch},
};
use tower::ServiceExt;

use crate::{byte, text};

struct Server {
    runtime: tokio::runtime::Runtime,
    api: ApiServer,
    left: u32,
    _folder: tempfile::TempDir,
}

/// So many requests before a server begins anew, so that no input depends on a
/// long story.
const REQUESTS: u32 = 500;

impl Server {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let config = Config::new(folder.path().join("api.db"));
        let api = ApiServer::open(config).expect("a database");
        Self {
            runtime,
            api,
            left: REQUESTS,
            _folder: folder,
        }
    }
}

thread_local! {
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

/// Any request has an answer, and none says that the server failed.
pub(crate) fn request(mut data: &[u8]) {
    let choice = byte(&mut data);
    let method = ["POST", "PUT", "PATCH", "GET", "DELETE"][usize::from(choice % 5)];
    let content = [
        "application/json",
        "application/yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
        "application/vnd.kubernetes.protobuf",
    ][usize::from(choice / 5 % 7)];
    let Some(path) = text(&mut data) else {
        return;
    };
    // What is watched never ends.
    if path.contains("watch") {
        return;
    }
    let Ok(request) = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content)
        .body(Body::from(data.to_vec()))
    else {
        return;
    };
    SERVER.with_borrow_mut(|slot| {
        if slot.as_ref().is_some_and(|server| server.left == 0) {
            *slot = None;
        }
        let server = slot.get_or_insert_with(Server::new);
        server.left -= 1;
        let router = server.api.router();
        let answer = server.runtime.block_on(router.oneshot(request));
        let status = answer.expect("an answer").status();
        assert_ne!(status.as_u16(), 500, "{method} {path}");
    });
}

/// A patch is refused with a reason, or comes to an object in proportion.
pub(crate) fn patch(mut data: &[u8]) {
    let kind = [Patch::Merge, Patch::Json, Patch::Strategic, Patch::Apply];
    let kind = kind[usize::from(byte(&mut data) % 4)];
    let Some(object) = text(&mut data) else {
        return;
    };
    fuzzing::patched(kind, object.as_bytes(), data);
}

/// A selector is understood or refused.
pub(crate) fn selector(mut data: &[u8]) {
    let (Some(labels), Some(fields)) = (text(&mut data), text(&mut data)) else {
        return;
    };
    fuzzing::selected(labels, fields, data);
}

/// What was read can be written and read.
pub(crate) fn yaml(data: &[u8]) {
    fuzzing::manifest(data);
}

//! A server in a temporary folder, and short ways to talk to it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use longshore_apiserver::{ApiServer, Config};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

/// The definition of the widgets that the tests use.
pub(crate) const WIDGETS: &str = include_str!("fixtures/widgets.yaml");

/// The path of the widgets in namespace default.
pub(crate) const PATH: &str = "/apis/test.longshore.io/v1/namespaces/default/widgets";

pub(crate) struct Server {
    pub(crate) api: ApiServer,
    pub(crate) folder: TempDir,
}

/// An answer: status code, body, and the warnings.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    /// The body, when the code is the expected one.
    #[track_caller]
    pub(crate) fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{:#}", self.body);
        self.body
    }

    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

/// A server with its controllers, which end with it.
pub(crate) fn run(config: Config) -> ApiServer {
    let server = ApiServer::open(config).expect("opens");
    tokio::spawn(server.controllers());
    server
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Server {
        let folder = TempDir::new().expect("a temporary folder");
        let mut config = Config::new(folder.path().join("api.db"));
        change(&mut config);
        Server {
            api: run(config),
            folder,
        }
    }

    /// A server that knows widgets.
    pub(crate) async fn with_widgets() -> Server {
        let server = Server::start();
        server.define_widgets().await;
        server
    }

    pub(crate) async fn define_widgets(&self) {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        self.send("POST", path, "application/yaml", WIDGETS.to_owned())
            .await
            .expect(201);
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("api.db")
    }

    /// Stops and opens the same database again.
    pub(crate) async fn restart(self) -> Server {
        self.api.shutdown().await;
        let api = run(Config::new(self.database()));
        Server {
            api,
            folder: self.folder,
        }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        media: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media);
        self.raw(request.body(body.into()).expect("a request"))
            .await
    }

    pub(crate) async fn raw(&self, request: Request<Body>) -> Answer {
        let response = self.api.router().oneshot(request).await.expect("an answer");
        let code = response.status().as_u16();
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings
            .map(|value| value.to_str().expect("text").to_owned())
            .collect();
        let bytes = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer {
            code,
            body,
            warnings,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", Body::empty()).await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        let request = Request::get(path).header("accept", accept);
        self.raw(request.body(Body::empty()).expect("a request"))
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, "application/json", body.to_string())
            .await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, "application/json", body.to_string())
            .await
    }

    /// `kind` is `merge`, `json`, `strategic` or `apply`.
    pub(crate) async fn patch(&self, kind: &str, path: &str, body: Value) -> Answer {
        let media = match kind {
            "merge" => "application/merge-patch+json",
            "json" => "application/json-patch+json",
            "strategic" => "application/strategic-merge-patch+json",
            _ => "application/apply-patch+yaml",
        };
        self.send("PATCH", path, media, body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str, options: Value) -> Answer {
        self.send("DELETE", path, "application/json", options.to_string())
            .await
    }

    /// Waits until `path` answers what `wanted` accepts.
    pub(crate) async fn wait(
        &self,
        path: &str,
        what: &str,
        wanted: impl Fn(&Answer) -> bool,
    ) -> Answer {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let answer = self.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(
                Instant::now() < end,
                "waited in vain until {what}: {answer:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn wait_gone(&self, path: &str) {
        self.wait(path, "it is gone", |answer| answer.code == 404)
            .await;
    }
}

/// A widget of this size.
pub(crate) fn widget(name: &str, size: i64) -> Value {
    json!({"apiVersion": "test.longshore.io/v1", "kind": "Widget", "metadata": {"name": name},
        "spec": {"size": size}})
}

/// A config map with one value.
pub(crate) fn config_map(name: &str, key: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {key: value}})
}

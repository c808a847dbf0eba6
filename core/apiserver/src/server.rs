//! The server as its embedder sees it.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use http::Request;
use longshore_objects::{Expect, Key, Log, MIGRATIONS, Options, Write};
use longshore_process::http::Limits;
use longshore_sqlite::{Health, Schema};
use serde_json::json;

use crate::identity::{AllowMasters, Authorizer, Tokens, User};
use crate::registry::Registry;
use crate::rest::{self, Api};
use crate::{control, serve, time};

static SCHEMA: Schema = Schema {
    owner: "API server",
    without: "the API server then starts with no objects",
    application: 0x4c53_4150, // "LSAP"
    migrations: MIGRATIONS,
};

/// How to open an [`ApiServer`].
#[derive(Clone)]
pub struct Config {
    /// The database file; it is made when it does not exist.
    pub database: PathBuf,
    /// What is kept for watchers and paged lists, on the disk and in memory.
    pub storage: Options,
    /// What connections to the socket may cost.
    pub connections: Limits,
    /// Decides who may do what.
    pub authorizer: Arc<dyn Authorizer>,
}

impl Config {
    /// The defaults, over the database at `database`.
    pub fn new(database: impl Into<PathBuf>) -> Config {
        Config {
            database: database.into(),
            storage: Options::default(),
            connections: Limits::default(),
            authorizer: Arc::new(AllowMasters),
        }
    }
}

/// A running API server. Clones share it.
#[derive(Clone)]
pub struct ApiServer {
    api: Arc<Api>,
    connections: Limits,
}

impl ApiServer {
    /// Opens the database. Binds nothing, and nothing runs yet.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or is no database of this server; it is
    /// then left as it is.
    pub fn open(config: Config) -> Result<ApiServer, longshore_sqlite::Error> {
        let mut registry = Registry::builtin();
        let (store, definitions) = Log::open(
            &config.database,
            &SCHEMA,
            config.storage,
            seeds(),
            DEFINITIONS,
        )?;
        for definition in definitions {
            registry.define(&definition.object());
        }
        let api = Arc::new(Api::new(store, registry, config.authorizer));
        Ok(ApiServer {
            api,
            connections: config.connections,
        })
    }

    /// The server's own controllers: namespaces, definitions, garbage collection,
    /// old events. A task of whoever embeds the server, who then hears of its end;
    /// without it, deletions do not come to theirs. Ends with
    /// [`shutdown`](Self::shutdown), and may be cut off at any point.
    pub fn controllers(&self) -> impl Future<Output = ()> + Send + use<> {
        control::run(self.api.clone())
    }

    /// Whether the database can be written.
    pub fn health(&self) -> Health {
        self.api.store.health()
    }

    /// The REST face for use inside this process, for example by
    /// `kube::Client::new(server.router(), "default")`.
    ///
    /// A request without a [`User`] extension acts as an administrator, so do not
    /// bind this to a socket: that is what [`serve_tls`](Self::serve_tls) is for.
    pub fn router(&self) -> axum::Router {
        self.router_for(User::admin("system:longshore"))
    }

    /// Like [`router`](Self::router), for requests without an extension as `user`.
    pub fn router_for(&self, user: User) -> axum::Router {
        let api = self.api.clone();
        axum::Router::new().fallback(move |request: Request<Body>| {
            let (api, user) = (api.clone(), user.clone());
            async move { rest::handle(api, user, request).await }
        })
    }

    /// Serves the API on `listener` until [`shutdown`](Self::shutdown).
    ///
    /// A bearer token of `tokens`, or the subject of a client certificate that
    /// `tls` verified (CN is the user, O are the groups), says who asks; anyone
    /// else is answered 401, but for `/healthz`, `/livez`, `/readyz` and
    /// `/version`. `tls` should offer `h2` and `http/1.1` by ALPN.
    ///
    /// # Errors
    ///
    /// None at present; a connection that fails costs only itself.
    pub async fn serve_tls(
        &self,
        listener: tokio::net::TcpListener,
        tls: Arc<rustls::ServerConfig>,
        tokens: Tokens,
    ) -> std::io::Result<()> {
        serve::serve(self.api.clone(), listener, tls, tokens, self.connections).await
    }

    /// Ends watches and connections, waits for the writer, closes the database.
    pub async fn shutdown(&self) {
        self.api.stopping.cancel();
        self.api.store.close().await;
    }
}

/// Storage of the definitions that the registry is filled from.
const DEFINITIONS: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// What a new database begins with.
fn seeds() -> Vec<Write> {
    let namespaces = ["default", "kube-system", "kube-public", "kube-node-lease"];
    let seed = |name: &str| Write {
        key: Key {
            resource: "/namespaces".into(),
            namespace: String::new(),
            name: name.into(),
        },
        expect: Expect::Absent,
        object: json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "uid": rest::uid(), "creationTimestamp": time::now(),
                "labels": {"kubernetes.io/metadata.name": name}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        })
        .into(),
        delete: false,
    };
    namespaces.into_iter().map(seed).collect()
}

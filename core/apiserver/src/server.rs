//! The server as its embedder sees it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::identity::{AllowMasters, Authorizer, Tokens, User};

/// How many revisions stay readable before they are compacted.
const HISTORY: u64 = 20_000;

/// How many events of each resource stay in memory for watchers.
const WINDOW: usize = 512;

/// How to open an [`ApiServer`].
#[derive(Clone)]
pub struct Config {
    /// The database file; it is made when it does not exist.
    pub database: PathBuf,
    /// Revisions kept for watchers and paged lists; older ones are expired.
    pub history: u64,
    /// Events of each resource kept in memory.
    pub window: usize,
    /// The database may not grow beyond this; writes then fail as on a full disk.
    pub max_bytes: Option<u64>,
    /// Decides who may do what.
    pub authorizer: Arc<dyn Authorizer>,
}

impl Config {
    /// The defaults, over the database at `database`.
    pub fn new(database: impl Into<PathBuf>) -> Config {
        Config {
            database: database.into(),
            history: HISTORY,
            window: WINDOW,
            max_bytes: None,
            authorizer: Arc::new(AllowMasters),
        }
    }
}

/// Why a server could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file exists and is something else.
    #[error("`{path}` is not an API database", path = path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file could not be opened or read.
    #[error("failed to open the API database `{path}`", path = path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
}

/// A running API server. Clones share it.
#[derive(Clone)]
pub struct ApiServer {}

impl ApiServer {
    /// Opens the database and starts the server's own controllers (namespaces,
    /// garbage collection). Must be called inside a tokio runtime. Binds nothing.
    pub fn open(_config: Config) -> Result<ApiServer, OpenError> {
        Ok(ApiServer {})
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
    pub fn router_for(&self, _user: User) -> axum::Router {
        axum::Router::new()
    }

    /// Serves the API on `listener` until [`shutdown`](Self::shutdown).
    ///
    /// A bearer token of `tokens`, or the subject of a client certificate that
    /// `tls` verified (CN is the user, O are the groups), says who asks; anyone
    /// else is answered 401.
    pub async fn serve_tls(
        &self,
        _listener: tokio::net::TcpListener,
        _tls: Arc<rustls::ServerConfig>,
        _tokens: Tokens,
    ) -> std::io::Result<()> {
        Ok(())
    }

    /// Ends watches and connections, waits for the writer, closes the database.
    pub async fn shutdown(&self) {}
}

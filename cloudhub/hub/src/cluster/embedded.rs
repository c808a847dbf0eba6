//! The embedded API server: opened here, and served to kubectl.

use std::{
    fs,
    io::Write,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::Client;
use longshore_apiserver::{ApiServer, Config, Tokens};
use serde_json::json;
use tokio::net::TcpListener;

use super::ClusterError;
use crate::identity::{self, Authority, ServerIdentity};

/// The embedded server and a client of it.
pub(crate) struct Embedded {
    pub(crate) server: ApiServer,
    pub(crate) client: Client,
}

/// The embedded server on its port.
pub(crate) struct ServedApi {
    pub(crate) address: SocketAddr,
    pub(crate) kubeconfig: PathBuf,
}

impl Embedded {
    /// Opens the database; binds nothing.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, ClusterError> {
        let config = Config::new(state_dir.join("kubernetes.db"));
        let server = ApiServer::open(config).map_err(ClusterError::Embedded)?;
        let client = Client::new(server.router(), "default");
        Ok(Self { server, client })
    }

    /// Serves kubectl, and writes the kubeconfig that it needs.
    pub(crate) fn serve(
        &self,
        listener: TcpListener,
        address: SocketAddr,
        authority: &Authority,
        identity: Arc<ServerIdentity>,
        kubeconfig: &Path,
    ) -> Result<ServedApi, ClusterError> {
        let mut tls = identity::server_config(authority, identity, false)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        write_kubeconfig(authority, address, kubeconfig)?;
        let server = self.server.clone();
        tokio::spawn(async move {
            if let Err(error) = server
                .serve_tls(listener, Arc::new(tls), Tokens::none())
                .await
            {
                tracing::error!(%error, "embedded API server stopped serving");
            }
        });
        Ok(ServedApi {
            address,
            kubeconfig: kubeconfig.to_owned(),
        })
    }
}

/// The administrator's way in, with everything inside: the file can be moved.
fn write_kubeconfig(
    authority: &Authority,
    address: SocketAddr,
    path: &Path,
) -> Result<(), ClusterError> {
    let admin = authority.issue_admin()?;
    let host = match address {
        address if address.ip().is_unspecified() => format!("127.0.0.1:{}", address.port()),
        address => address.to_string(),
    };
    let content = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "longshore", "cluster": {
            "server": format!("https://{host}"),
            "certificate-authority-data": STANDARD.encode(authority.certificate_pem()),
        }}],
        "users": [{"name": "longshore-admin", "user": {
            "client-certificate-data": STANDARD.encode(admin.certificate_pem),
            "client-key-data": STANDARD.encode(admin.key_pem),
        }}],
        "contexts": [{"name": "longshore", "context": {
            "cluster": "longshore", "user": "longshore-admin", "namespace": "default",
        }}],
        "current-context": "longshore",
    });
    write_private(path, &format!("{content:#}\n")).map_err(|source| ClusterError::Write {
        path: path.to_owned(),
        source,
    })
}

fn write_private(path: &Path, content: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension("tmp");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(content.as_bytes())?;
    fs::rename(&temporary, path)
}

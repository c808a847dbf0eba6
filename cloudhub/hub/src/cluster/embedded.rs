//! The embedded API server: opened here, and served to kubectl.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::BoxFuture;
use kube::Client;
use longshore_apiserver::{ApiServer, Config, Tokens};
use longshore_process::{Stop, private};
use serde_json::json;
use tokio::net::TcpListener;

use super::ClusterError;
use crate::identity::{self, Authority, ServerIdentity};

/// The embedded server and a client of it.
pub(crate) struct Embedded {
    pub(crate) server: ApiServer,
    pub(crate) client: Client,
}

impl Embedded {
    /// Opens the database; binds nothing.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, ClusterError> {
        let config = Config::new(state_dir.join("kubernetes.db"));
        let server = ApiServer::open(config).map_err(ClusterError::Embedded)?;
        let client = Client::new(server.router(), "default");
        Ok(Self { server, client })
    }

    /// Writes the kubeconfig that kubectl needs, and gives what serves it until
    /// the end is asked for and then closes the database.
    pub(crate) fn serve(
        &self,
        listener: TcpListener,
        address: SocketAddr,
        authority: &Authority,
        identity: Arc<ServerIdentity>,
        kubeconfig: &Path,
    ) -> Result<impl FnOnce(Stop) -> BoxFuture<'static, io::Result<()>> + use<>, ClusterError> {
        let mut tls = identity::server_config(authority, identity)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        write_kubeconfig(authority, address, kubeconfig)?;
        let server = self.server.clone();
        Ok(|mut stop: Stop| {
            Box::pin(async move {
                tokio::select! {
                    () = stop.asked() => {
                        server.shutdown().await;
                        Ok(())
                    }
                    ended = server.serve_tls(listener, Arc::new(tls), Tokens::none()) => ended,
                }
            }) as BoxFuture<'static, _>
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
            "client-certificate-data": STANDARD.encode(&admin.certificate_pem),
            "client-key-data": STANDARD.encode(&admin.key_pem),
        }}],
        "contexts": [{"name": "longshore", "context": {
            "cluster": "longshore", "user": "longshore-admin", "namespace": "default",
        }}],
        "current-context": "longshore",
    });
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .and_then(|()| private::replace(path, &format!("{content:#}\n"), private::SECRET))
        .map_err(|source| ClusterError::Write {
            path: path.to_owned(),
            source,
        })
}

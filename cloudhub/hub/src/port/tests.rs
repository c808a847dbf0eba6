//! The port with paths of its own, over real TLS.

use axum::{
    Extension,
    response::Response,
    routing::{get, post},
};
use http::StatusCode;
use longshore_process::{Stage, tasks::Asker};
use longshore_types::NodeName;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::identity::{self, Authority, Issued, ServerIdentity};

/// Nothing is waited for longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A deadline that is met by whoever is neither silent nor slow, also on a machine
/// with much else to do.
const SHORT: Duration = Duration::from_secs(2);

/// A deadline that nobody meets.
const LONG: Duration = Duration::from_secs(60);

struct TestPort {
    authority: Authority,
    _folder: TempDir,
    address: SocketAddr,
    metrics: Arc<Metrics>,
    asker: Asker,
    serving: JoinHandle<()>,
}

impl TestPort {
    async fn start(time: Duration) -> Self {
        Self::start_with(Limits {
            time,
            ..Limits::default()
        })
        .await
    }

    async fn start_with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        let names = vec!["localhost".to_owned()];
        let server = ServerIdentity::open(&authority, folder.path(), names).unwrap();
        let tls = identity::server_config(&authority, server).unwrap();
        let router = router([
            ("/open", get(async || "for all\n")),
            ("/who", get(who)),
            ("/echo", get(echo)),
            ("/leave", post(async || "gone\n")),
        ]);
        let metrics = Arc::<Metrics>::default();
        let port = Port::new(tls, router, Arc::clone(&metrics), limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asker = Asker::default();
        let serving = tokio::spawn(port.serve(listener, asker.stop(Stage::Links)));
        Self {
            authority,
            _folder: folder,
            address,
            metrics,
            asker,
            serving,
        }
    }

    fn node(&self) -> Option<Issued> {
        let node = NodeName::new("edge-1").unwrap();
        Some(self.authority.issue_node(&node).unwrap())
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn tls(&self, holder: Option<Issued>) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let config = match holder {
            Some(issued) => {
                let pem = issued.certificate_pem.as_bytes();
                let certificate = CertificateDer::from_pem_slice(pem).unwrap();
                let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![certificate], key)
            }
            None => Ok(config.with_no_client_auth()),
        };
        let connector = TlsConnector::from(Arc::new(config.unwrap()));
        let name = ServerName::try_from("localhost").unwrap();
        connector.connect(name, self.tcp().await).await.unwrap()
    }

    /// Sends this and reads what comes, to the end.
    async fn ask(&self, holder: Option<Issued>, request: &str) -> String {
        let mut tls = self.tls(holder).await;
        tls.write_all(request.as_bytes()).await.unwrap();
        read(&mut tls).await
    }

    fn refused(&self) -> u64 {
        self.metrics.link_refused.get()
    }

    async fn wait_refused(&self, count: u64) {
        let refused = async {
            while self.refused() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, refused).await;
        assert!(waited.is_ok(), "{} refused, not {count}", self.refused());
    }
}

async fn who(NodeIdentity { name: node, .. }: NodeIdentity) -> String {
    format!("{node}\n")
}

/// Gives back what comes, and says when it was told to end.
async fn echo(Extension(upgrade): Extension<Upgrade>) -> Response {
    upgrade.then(async |mut connection| {
        let (mut reader, mut writer) = tokio::io::split(connection.stream);
        writer.write_all(&connection.read).await.unwrap();
        tokio::select! {
            copied = tokio::io::copy(&mut reader, &mut writer) => drop(copied.unwrap()),
            () = connection.stop.asked() => writer.write_all(b"told to end").await.unwrap(),
        }
        writer.shutdown().await.unwrap();
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", "upgrade".parse().unwrap());
    headers.insert("upgrade", "echo".parse().unwrap());
    response
}

fn head(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: hub\r\n{more}\r\n")
}

async fn read(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text)).await;
    // A peer that cuts in the middle of TLS says no goodbye: what came counts.
    drop(read.expect("the other side ends the connection"));
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_path_says_itself_whether_it_is_for_nodes_only() {
    let port = TestPort::start(LONG).await;
    let open = port.ask(None, &head("GET", "/open", "")).await;
    assert!(open.starts_with("HTTP/1.1 200 OK\r\n"), "{open}");
    assert!(open.contains("connection: close\r\n"), "{open}");
    assert!(open.ends_with("\r\n\r\nfor all\n"), "{open}");
    assert_eq!(port.refused(), 0);

    let none = port.ask(None, &head("GET", "/who", "")).await;
    assert!(none.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{none}");
    assert!(none.contains("content-type: text/plain"), "{none}");
    assert!(none.ends_with("(`cloudhub issue-node`)\n"), "{none}");

    let admin = port.authority.issue_admin().unwrap();
    let other = port.ask(Some(admin), &head("GET", "/who", "")).await;
    assert!(other.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{other}");
    assert!(
        other.ends_with("is of `longshore-admin`, which is not a node\n"),
        "{other}"
    );

    let node = port.ask(port.node(), &head("GET", "/who", "")).await;
    assert!(node.ends_with("\r\n\r\nedge-1\n"), "{node}");
    assert_eq!(port.refused(), 2);
    assert_eq!(port.metrics.link_connections.get(), 4);
}

#[tokio::test]
async fn a_certificate_of_another_authority_ends_in_tls() {
    let port = TestPort::start(LONG).await;
    let folder = tempfile::tempdir().unwrap();
    let stranger = Authority::open(folder.path()).unwrap();
    let node = NodeName::new("edge-1").unwrap();
    let mut tls = port.tls(Some(stranger.issue_node(&node).unwrap())).await;
    // With TLS 1.3 a client has finished before the server has judged it.
    let _ = tls.write_all(head("GET", "/open", "").as_bytes()).await;
    let error = tls.read_u8().await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("received fatal alert"), "{error}");
    port.wait_refused(1).await;
}

#[tokio::test]
async fn what_is_not_there_is_said_with_what_there_is() {
    let port = TestPort::start(LONG).await;
    let answer = port.ask(None, &head("GET", "/v2/who", "")).await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert!(answer.contains("/open, /who, /echo, /leave\n"), "{answer}");
    let answer = port.ask(None, &head("GET", "/leave", "")).await;
    let status = "HTTP/1.1 405 Method Not Allowed\r\n";
    assert!(answer.starts_with(status), "{answer}");
    assert!(answer.contains("allow: POST\r\n"), "{answer}");
    assert!(answer.contains("another method"), "{answer}");
    assert_eq!(port.refused(), 2);
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let port = TestPort::start(LONG).await;
    let line = format!("x-filler: {}\r\n", "x".repeat(2 * HEAD));
    let mut tls = port.tls(None).await;
    // The port may be gone before all of it is written.
    let _ = tls.write_all(head("GET", "/open", &line).as_bytes()).await;
    let answer = read(&mut tls).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
    port.wait_refused(1).await;
    let fits = format!("x-filler: {}\r\n", "x".repeat(HEAD / 2));
    let answer = port.ask(None, &head("GET", "/open", &fits)).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn who_is_silent_or_slow_runs_into_the_deadline() {
    let port = TestPort::start(SHORT).await;
    let mut silent = port.tcp().await;
    let mut half = port.tls(None).await;
    half.write_all(b"GET /open HT").await.unwrap();
    let mut idle = port.tls(port.node()).await;
    assert_eq!(read(&mut silent).await, "");
    assert_eq!(read(&mut half).await, "");
    assert_eq!(read(&mut idle).await, "");
    port.wait_refused(3).await;
}

#[tokio::test]
async fn strangers_who_are_silent_keep_nobody_out_for_good() {
    let port = TestPort::start_with(Limits {
        strangers: 2,
        young: Duration::ZERO,
        time: LONG,
    })
    .await;
    let _silent = [port.tcp().await, port.tcp().await];
    // None of them runs into its deadline: the first makes room.
    let answer = port.ask(None, &head("GET", "/open", "")).await;
    assert!(answer.ends_with("for all\n"), "{answer}");
    port.wait_refused(1).await;
}

#[tokio::test]
async fn who_has_shown_a_certificate_makes_room_for_no_stranger() {
    let port = TestPort::start_with(Limits {
        strangers: 1,
        young: Duration::ZERO,
        time: LONG,
    })
    .await;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(port.tls(port.node()).await);
    }
    let mut silent = port.tcp().await;
    let answer = port.ask(None, &head("GET", "/open", "")).await;
    assert!(answer.ends_with("for all\n"), "{answer}");
    assert_eq!(read(&mut silent).await, "", "it made room");
    for mut node in nodes {
        let request = head("GET", "/who", "");
        node.write_all(request.as_bytes()).await.unwrap();
        let answer = read(&mut node).await;
        assert!(answer.ends_with("\r\n\r\nedge-1\n"), "{answer}");
    }
    assert_eq!(port.refused(), 1);
}

#[tokio::test]
async fn what_came_behind_a_request_is_kept_and_the_end_is_told() {
    let port = TestPort::start(LONG).await;
    let upgrade = "connection: upgrade\r\nupgrade: echo\r\n";
    let mut tls = port.tls(None).await;
    let request = head("GET", "/echo", upgrade);
    tls.write_all(format!("{request}first, ").as_bytes())
        .await
        .unwrap();
    let mut came = Vec::new();
    while !came.ends_with(b"first, ") {
        came.push(tls.read_u8().await.unwrap());
    }
    let came = String::from_utf8(came).unwrap();
    let status = "HTTP/1.1 101 Switching Protocols\r\n";
    assert!(came.starts_with(status), "{came}");
    tls.write_all(b"second").await.unwrap();
    let mut more = [0; 6];
    tls.read_exact(&mut more).await.unwrap();
    assert_eq!(&more, b"second");

    // One that was promised nothing is cut, and holds the end of the port not up.
    let mut silent = port.tcp().await;
    port.asker.ask(Stage::Links);
    assert_eq!(read(&mut tls).await, "told to end");
    assert_eq!(read(&mut silent).await, "");
    let ended = tokio::time::timeout(PATIENCE, port.serving).await;
    ended.expect("the port ends").unwrap();
    assert_eq!(port.metrics.link_refused.get(), 0);
}

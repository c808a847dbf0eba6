//! Who gets in through the TLS port, and as whom; and writers that meet.

use std::sync::Arc;
use std::time::Duration;

use longshore_apiserver::{ApiServer, Config, Connections, Tokens, User};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{PATH, Server, config_map, widget};

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    fn issue(&self, hosts: Vec<String>, names: &[(DnType, &str)]) -> Identity {
        let mut params = CertificateParams::new(hosts).expect("parameters");
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, name) in names {
            params.distinguished_name.push(kind.clone(), *name);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("is signed");
        let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        (vec![certificate.der().clone()], private)
    }

    pub(crate) fn roots(&self) -> Arc<rustls::RootCertStore> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        Arc::new(roots)
    }
}

pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub(crate) fn server_config(authority: &Authority) -> Arc<rustls::ServerConfig> {
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(authority.roots(), provider());
    let verifier = verifier
        .allow_unauthenticated()
        .build()
        .expect("a verifier");
    let (chain, key) = authority.issue(vec!["127.0.0.1".into()], &[(DnType::CommonName, "server")]);
    let config = rustls::ServerConfig::builder_with_provider(provider());
    let config = config
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier);
    Arc::new(config.with_single_cert(chain, key).expect("fits"))
}

/// Asks "who am I?" over a connection of its own: (status code, user).
async fn who_am_i(
    authority: &Authority,
    address: std::net::SocketAddr,
    identity: Option<Identity>,
    authorization: &str,
) -> (u16, Value) {
    let request = format!(
        "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: 2\r\n{authorization}\r\n{{}}"
    );
    let (code, body) = ask(authority, address, identity, &request).await;
    let body: Value = serde_json::from_str(&body).expect("JSON");
    (code, body["status"]["userInfo"].clone())
}

/// Sends a request over a connection of its own: (status code, body).
async fn ask(
    authority: &Authority,
    address: std::net::SocketAddr,
    identity: Option<Identity>,
    request: &str,
) -> (u16, String) {
    let config = rustls::ClientConfig::builder_with_provider(provider());
    let config = config
        .with_safe_default_protocol_versions()
        .expect("versions");
    let config = config.with_root_certificates(authority.roots());
    let config = match identity {
        Some((chain, key)) => config.with_client_auth_cert(chain, key).expect("fits"),
        None => config.with_no_client_auth(),
    };
    let socket = TcpStream::connect(address).await.expect("connects");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, socket).await.expect("a handshake");
    stream.write_all(request.as_bytes()).await.expect("is sent");
    let mut answer = Vec::new();
    // some servers close without the goodbye of TLS; the answer is whole anyway
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer);
    let code = text
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("a status line");
    let body = text
        .split_once("\r\n\r\n")
        .map(|(_, body)| body)
        .unwrap_or_default();
    (code, body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_or_a_certificate_opens_the_door() {
    let folder = TempDir::new().expect("a temporary folder");
    let server = ApiServer::open(Config::new(folder.path().join("api.db"))).expect("opens");
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let tokens = Tokens::none().with("secret", User::admin("admin"));
    let running = server.clone();
    let config = server_config(&authority);
    let task = tokio::spawn(async move { running.serve_tls(listener, config, tokens).await });

    let (code, user) = who_am_i(
        &authority,
        address,
        None,
        "authorization: Bearer secret\r\n",
    )
    .await;
    assert_eq!((code, &user["username"]), (201, &json!("admin")));
    for (path, header, expected) in [
        ("/healthz", "", 200),
        ("/livez", "", 200),
        ("/readyz", "", 200),
        ("/version", "", 200),
        ("/healthz", "authorization: Bearer wrong\r\n", 401),
        ("/api", "", 401),
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n");
        let (code, body) = ask(&authority, address, None, &request).await;
        assert_eq!(code, expected, "{path} {header}: {body}");
    }
    for wrong in [
        "",
        "authorization: Bearer secre\r\n",
        "authorization: Bearer secrets\r\n",
        "authorization: Basic secret\r\n",
    ] {
        assert_eq!(
            who_am_i(&authority, address, None, wrong).await.0,
            401,
            "{wrong}"
        );
    }
    let names = [
        (DnType::OrganizationName, "system:nodes"),
        (DnType::CommonName, "system:node:edge-1"),
    ];
    let node = authority.issue(Vec::new(), &names);
    let (code, user) = who_am_i(&authority, address, Some(node), "").await;
    assert_eq!(
        (code, &user["username"]),
        (201, &json!("system:node:edge-1"))
    );
    assert_eq!(
        user["groups"],
        json!(["system:authenticated", "system:nodes"])
    );
    server.shutdown().await;
    task.await
        .expect("the task ends")
        .expect("without an error");
}

/// More of them than there is room for strangers: the administrator comes in, and it is
/// one of them that goes.
#[tokio::test(flavor = "multi_thread")]
async fn silent_strangers_lock_nobody_out() {
    let folder = TempDir::new().expect("a temporary folder");
    let mut config = Config::new(folder.path().join("api.db"));
    config.connections = Connections {
        strangers: 2,
        address: 2,
        young: Duration::ZERO,
        ..Connections::default()
    };
    let server = ApiServer::open(config).expect("opens");
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (running, tls) = (server.clone(), server_config(&authority));
    let task = tokio::spawn(async move { running.serve_tls(listener, tls, Tokens::none()).await });
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(address).await.expect("a connection"));
    }
    let names = [
        (DnType::OrganizationName, "system:masters"),
        (DnType::CommonName, "admin"),
    ];
    let admin = authority.issue(Vec::new(), &names);
    let (code, user) = who_am_i(&authority, address, Some(admin), "").await;
    assert_eq!((code, &user["username"]), (201, &json!("admin")));
    let end = silent[0].read(&mut [0]).await;
    assert!(matches!(end, Ok(0) | Err(_)), "the first one was let go");
    server.shutdown().await;
    task.await
        .expect("the task ends")
        .expect("without an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_meet_lose_nothing() {
    let server = Arc::new(Server::start());
    let maps = "/api/v1/namespaces/default/configmaps";
    server
        .post(maps, config_map("a", "k", "v"))
        .await
        .expect(201);
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let server = server.clone();
            tokio::spawn(async move {
                for turn in 0..20 {
                    let key = format!("w{writer}-{turn}");
                    let answer = server
                        .patch("merge", &format!("{maps}/a"), json!({"data": {key: "x"}}))
                        .await;
                    answer.expect(200);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("the writer ends");
    }
    let map = server.get(&format!("{maps}/a")).await.expect(200);
    assert_eq!(
        map["data"].as_object().map(serde_json::Map::len),
        Some(8 * 20 + 1)
    );
}

#[tokio::test]
async fn versions_of_a_definition_share_their_objects() {
    let server = Server::with_widgets().await;
    server.post(PATH, widget("a", 5)).await.expect(201);
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.test.longshore.io";
    let mut definition = server.get(path).await.expect(200);
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    second["deprecated"] = json!(true);
    definition["spec"]["versions"]
        .as_array_mut()
        .expect("a list")
        .push(second);
    server.put(path, definition).await.expect(200);
    let newer = PATH.replace("/v1/", "/v2/");
    let read = server.get(&format!("{newer}/a")).await;
    assert_eq!(
        read.warnings,
        ["299 - \"test.longshore.io/v2 Widget is deprecated\""]
    );
    assert_eq!(read.expect(200)["apiVersion"], "test.longshore.io/v2");
    server
        .patch("merge", &format!("{newer}/a"), json!({"spec": {"size": 6}}))
        .await
        .expect(200);
    let first = server.get(&format!("{PATH}/a")).await.expect(200);
    assert_eq!(
        (&first["apiVersion"], &first["spec"]["size"]),
        (&json!("test.longshore.io/v1"), &json!(6))
    );
    let group = server.get("/apis/test.longshore.io").await.expect(200);
    assert_eq!(group["preferredVersion"]["version"], "v2");
}

//! Each policy, mode and identity; who is trusted, and by whom.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::rig::{Peer, mapper, pki, plain, point};
use crate::{Opcua, pki::Pki};

const POLICIES: [&str; 3] = [
    "Basic256Sha256",
    "Aes128Sha256RsaOaep",
    "Aes256Sha256RsaPss",
];

/// Logs on and reads.
async fn check(protocol: Value) {
    let mapper = mapper();
    println!("{protocol}");
    mapper
        .configure(json!({"protocol": protocol, "points": [point("temperature", "DOUBLE", "Temperature")]}))
        .await;
    mapper.wait_value("temperature", 21.5).await;
    mapper.stop();
}

fn secured(url: &str, policy: &str, mode: &str) -> Value {
    json!({"url": url, "security": {"policy": policy, "mode": mode}, "trust": "all", "timeout": "4s"})
}

/// A user's certificate and key.
async fn user_certificate(folder: &Path) -> (String, String) {
    Pki::new(Some(folder.to_owned()), Some("urn:user".to_owned()), None)
        .own()
        .await
        .expect("made");
    let file = |name: &str| folder.join(name).display().to_string();
    (file("own/cert.der"), file("private/private.pem"))
}

#[tokio::test]
async fn asyncua_in_each_policy_mode_and_identity() {
    let folder = TempDir::new().expect("a temporary folder");
    let (certificate, key) = user_certificate(folder.path()).await;
    let all = format!("None,{}", POLICIES.join(","));
    let peer = Peer::asyncua(&[
        "--policies",
        &all,
        "--user",
        "operator:secret",
        "--user-certificate",
        &certificate,
    ]);
    let password = folder.path().join("password");
    fs::write(&password, "secret\n").expect("written");
    let identities = [
        json!({}),
        json!({"user": {"name": "operator", "password": "secret"}}),
        json!({"user": {"name": "operator", "passwordFile": password}}),
        json!({"certificate": {"file": certificate, "key": key}}),
    ];
    let with = |mut protocol: Value, identity: &Value| {
        for (key, value) in identity.as_object().expect("an object") {
            protocol[key] = value.clone();
        }
        protocol
    };
    check(plain(&peer.url)).await;
    // Without security too: encrypted for a certificate that is accepted.
    let mut unlooked = with(plain(&peer.url), &identities[1]);
    unlooked["trust"] = json!("all");
    check(unlooked).await;
    for policy in POLICIES {
        for mode in ["sign", "signAndEncrypt"] {
            for identity in &identities {
                check(with(secured(&peer.url, policy, mode), identity)).await;
            }
        }
    }
}

#[tokio::test]
async fn node_opcua_in_each_policy_and_mode() {
    let all = format!("None,{}", POLICIES.join(","));
    let peer = Peer::node(&["--policies", &all, "--user", "operator:secret"]);
    for policy in POLICIES {
        for mode in ["sign", "signAndEncrypt"] {
            check(secured(&peer.url, policy, mode)).await;
        }
        let mut with_user = secured(&peer.url, policy, "signAndEncrypt");
        with_user["user"] = json!({"name": "operator", "password": "secret"});
        check(with_user).await;
    }
}

/// Complaint 14: a self-signed server certificate is accepted by copying one
/// file, which the message names; nothing is started anew.
#[tokio::test]
async fn a_self_signed_server_is_accepted_by_copying_one_file() {
    let peer = Peer::asyncua(&["--policies", "Basic256Sha256"]);
    let folder = TempDir::new().expect("a temporary folder");
    let mapper = longshore_sdk::testing::TestMapper::<Opcua>::start(json!({"pki": folder.path()}));
    mapper
        .configure(json!({
            "protocol": {"url": peer.url, "timeout": "4s"},
            "points": [point("temperature", "DOUBLE", "Temperature")]
        }))
        .await;
    let why = mapper.wait_offline("default/device").await;
    assert!(why.contains("is not trusted"), "{why}");
    let line = why
        .lines()
        .find(|line| line.trim().starts_with("cp "))
        .expect("a command");
    let files: Vec<_> = line.split('\'').collect();
    let (from, to) = (files[1], files[3]);
    let der = fs::read(from).expect("the rejected certificate");
    assert_eq!(der, fs::read(&peer.certificate).expect("the server's own"));
    fs::copy(from, Path::new(to).join("server.der")).expect("copied");
    mapper.wait_value("temperature", 21.5).await;
    mapper.stop();
    // The same by its thumbprint, with a folder that trusts nobody.
    let name = Path::new(from)
        .file_stem()
        .expect("named")
        .to_string_lossy();
    check(json!({"url": peer.url, "trust": {"thumbprint": name.to_uppercase()}, "timeout": "4s"}))
        .await;
}

/// What a device says that cannot log on.
async fn refusal(protocol: Value) -> String {
    let mapper = mapper();
    mapper
        .configure(json!({"protocol": protocol, "points": [point("temperature", "DOUBLE", "Temperature")]}))
        .await;
    let why = mapper.wait_offline("default/device").await;
    mapper.stop();
    why
}

#[tokio::test]
async fn a_log_on_that_is_refused_says_why_and_what_is_offered() {
    let peer = Peer::asyncua(&[
        "--policies",
        "Basic256Sha256",
        "--modes",
        "Sign",
        "--user",
        "operator:secret",
        "--no-anonymous",
    ]);
    let why = refusal(plain(&peer.url)).await;
    assert!(why.contains("it offers Basic256Sha256/sign"), "{why}");
    let why = refusal(json!({"url": peer.url, "trust": "all"})).await;
    assert!(
        why.contains("does not take anonymous users; it takes a user name with password"),
        "{why}"
    );
    let user = json!({"name": "operator", "password": "wrong"});
    let why = refusal(json!({"url": peer.url, "trust": "all", "user": user})).await;
    assert!(why.contains("refused the log-on"), "{why}");
    assert!(why.contains("hint: look at user"), "{why}");
    let thumbprint = "00".repeat(20);
    let user = json!({"name": "operator", "password": "secret"});
    let why =
        refusal(json!({"url": peer.url, "trust": {"thumbprint": thumbprint}, "user": user})).await;
    assert!(
        why.contains("another certificate than trust.thumbprint"),
        "{why}"
    );
    let why = refusal(plain("opc.tcp://127.0.0.1:1")).await;
    assert!(why.contains("refused"), "{why}");
    assert!(!pki().join("trusted/server.der").exists());
}

/// Nobody may read a password, nor have it encrypted for a certificate of his own.
#[tokio::test]
async fn a_password_is_sent_where_it_is_protected_only() {
    let user = |more: Value| {
        let mut user = json!({"name": "operator", "password": "secret"});
        if let Some(more) = more.as_object() {
            user.as_object_mut().expect("one").extend(more.clone());
        }
        user
    };
    let allowed = || user(json!({"allowUnprotected": true}));
    // In the clear: there is no policy to encrypt it by.
    let peer = Peer::asyncua(&["--user", "operator:secret", "--no-anonymous"]);
    for policy in ["auto", "none"] {
        let mut protocol = json!({"url": peer.url, "security": {"policy": policy}, "trust": "all"});
        protocol["user"] = user(Value::Null);
        let why = refusal(protocol.clone()).await;
        assert!(why.contains("takes a password in the clear only"), "{why}");
        assert!(why.contains("user: {allowUnprotected: true}"), "{why}");
        protocol["user"] = allowed();
        check(protocol).await;
    }
    // As KubeEdge writes it, who says None has said so.
    let mut theirs = json!({"url": peer.url, "userName": "operator", "password": "secret"});
    let why = refusal(theirs.clone()).await;
    assert!(why.contains("in the clear only"), "{why}");
    theirs["securityMode"] = json!("None");
    check(theirs).await;
    // Encrypted, for a certificate that nobody has looked at.
    let options = [
        "--policies",
        "None,Basic256Sha256",
        "--user",
        "operator:secret",
    ];
    for peer in [Peer::asyncua(&options), Peer::node(&options)] {
        let mut protocol = plain(&peer.url);
        protocol["user"] = user(Value::Null);
        let why = refusal(protocol.clone()).await;
        assert!(
            why.contains("for a certificate that nobody has accepted"),
            "{why}"
        );
        assert!(
            why.contains("allowUnprotected") && why.contains("thumbprint"),
            "{why}"
        );
        protocol["user"] = allowed();
        check(protocol).await;
    }
}

/// A server that signs with another's name is the one that was dialled.
#[tokio::test]
async fn the_tokens_are_those_of_the_url_that_was_dialled() {
    let peer = Peer::asyncua(&[
        "--user",
        "operator:secret",
        "--policies",
        "Basic256Sha256",
        "--other-url",
    ]);
    let user = json!({"name": "operator", "password": "secret"});
    check(json!({"url": peer.url, "trust": "all", "user": user})).await;
    // By another name of the same host.
    let url = peer.url.replace("127.0.0.1", "localhost");
    check(json!({"url": url, "trust": "all", "user": user})).await;
}

/// An authority's certificate accepts all of its servers, over those in between.
#[tokio::test]
async fn a_server_is_accepted_by_its_authority() {
    let peer = Peer::asyncua(&["--policies", "Basic256Sha256", "--authority"]);
    let folder = TempDir::new().expect("a temporary folder");
    let mapper = longshore_sdk::testing::TestMapper::<Opcua>::start(json!({"pki": folder.path()}));
    mapper
        .configure(json!({
            "protocol": {"url": peer.url, "timeout": "4s"},
            "points": [point("temperature", "DOUBLE", "Temperature")]
        }))
        .await;
    let why = mapper.wait_offline("default/device").await;
    assert!(why.contains("is not trusted"), "{why}");
    let put = |from: &Path, to: &str| {
        let to = folder.path().join(to);
        fs::copy(from, to.join("one.der")).expect("copied");
    };
    // The one in between proves nothing by itself.
    put(&peer.authority.with_file_name("between.der"), "issuers");
    let why = mapper.wait_offline("default/device").await;
    assert!(why.contains("is not trusted"), "{why}");
    put(&peer.authority, "trusted");
    mapper.wait_value("temperature", 21.5).await;
    mapper.stop();
}

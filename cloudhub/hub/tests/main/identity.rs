//! Who may come in.

use longshore_hub::identity::Authority;
use rcgen::{CertificateParams, DistinguishedName, DnType, Issuer, KeyPair};

use crate::{
    edge::{Credentials, Edge},
    harness::{TestHub, credentials},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_comes_in_without_a_certificate_of_a_node() {
    let hub = TestHub::start().await;
    let good = hub.credentials("edge-1");

    let none = Credentials {
        holder: None,
        ..good.clone()
    };
    let reason = Edge::connect(hub.link(), "edge-1", &none)
        .wait_ended()
        .await;
    assert!(reason.contains("401 Unauthorized"), "{reason}");

    let folder = tempfile::tempdir().unwrap();
    let foreign = credentials(folder.path(), "edge-1");
    let foreign = Credentials {
        ca: good.ca.clone(),
        ..foreign
    };
    let reason = Edge::connect(hub.link(), "edge-1", &foreign)
        .wait_ended()
        .await;
    assert!(reason.contains("received fatal alert"), "{reason}");

    let reason = Edge::connect(hub.link(), "edge-2", &good)
        .wait_ended()
        .await;
    assert!(
        reason.contains("calls itself node `edge-2`, its certificate is of node `edge-1`"),
        "{reason}"
    );

    let expired = expired(&hub.folder.path().join("state"));
    let reason = Edge::connect(hub.link(), "edge-1", &expired)
        .wait_ended()
        .await;
    assert!(reason.contains("CertificateExpired"), "{reason}");

    let authority = Authority::open(&hub.folder.path().join("state")).unwrap();
    let admin = authority.issue_admin().unwrap();
    let admin = Credentials {
        holder: Some((admin.certificate_pem, admin.key_pem)),
        ..good.clone()
    };
    let edge = Edge::connect(hub.link(), "longshore-admin", &admin);
    let reason = edge.wait_ended().await;
    assert!(reason.contains("403 Forbidden"), "{reason}");
    assert_eq!(edge.store.lock().unwrap().connections, 0);

    let other_hub = Credentials {
        ca: credentials(folder.path(), "x").ca,
        ..good.clone()
    };
    let reason = Edge::connect(hub.link(), "edge-1", &other_hub)
        .wait_ended()
        .await;
    assert!(reason.contains("invalid peer certificate"), "{reason}");

    let metrics = hub.metrics().await;
    let counted = ["link_refused_total 6", "sessions_total 0"];
    for counter in counted.map(|counter| format!("\nlongshore_hub_{counter}\n")) {
        assert!(metrics.contains(&counter), "{counter}: {metrics}");
    }
    let edge = Edge::connect(hub.link(), "edge-1", &good);
    edge.wait("the right one comes in", |s| s.connections == 1)
        .await;
    hub.hub.stop().await;
}

#[test]
fn the_ca_is_made_once_and_its_key_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let first = Authority::open(folder.path()).unwrap();
    let second = Authority::open(folder.path()).unwrap();
    assert_eq!(first.certificate_pem(), second.certificate_pem());
    let mode = std::fs::metadata(folder.path().join("ca.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_folder_with_the_certificate_of_another_node_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(&folder.path().join("hub")).unwrap();
    let out = folder.path().join("out");
    let write =
        |node: &str| longshore_hub::identity::write_node(&authority, &node.parse().unwrap(), &out);
    write("edge-1").unwrap();
    let before = std::fs::read(out.join("node.key")).unwrap();
    let error = write("edge-2").unwrap_err().to_string();
    assert!(error.contains("node `edge-1`, not of `edge-2`"), "{error}");
    assert_eq!(std::fs::read(out.join("node.key")).unwrap(), before);
    write("edge-1").unwrap();
}

#[tokio::test]
async fn the_state_is_for_its_owner_alone() {
    use std::{fs, os::unix::fs::PermissionsExt};
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    // As a former version left it.
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
    let hub = TestHub::start_in(folder).await;
    let state = hub.folder.path().join("state");
    let mode = |name: &str| fs::metadata(state.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    for name in [
        "hub.db",
        "kubernetes.db",
        "kubernetes.db-wal",
        "../kubeconfig",
    ] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
}

fn expired(state_dir: &std::path::Path) -> Credentials {
    let key_pem = std::fs::read_to_string(state_dir.join("ca.key")).unwrap();
    let ca = std::fs::read_to_string(state_dir.join("ca.crt")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&ca, KeyPair::from_pem(&key_pem).unwrap()).unwrap();
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "system:nodes");
    name.push(DnType::CommonName, "system:node:edge-1");
    params.distinguished_name = name;
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    Credentials {
        ca,
        holder: Some((certificate.pem(), key.serialize_pem())),
    }
}

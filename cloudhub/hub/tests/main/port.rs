//! The edges' port as HTTP: what a client hears that is no edge, and an edge in a
//! hurry.

use std::time::{Duration, Instant};

use futures::StreamExt;
use longshore_link::{
    EdgeConfig, EdgeEffect, EdgeEvent, EdgePosition, EdgeSession, Epoch, Frame, LINK_PATH,
    SUBPROTOCOL,
    transport::{self, AskError},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use crate::{
    edge::{Credentials, connect},
    harness::TestHub,
};

/// Nothing is waited for longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends this and reads the answer to its end.
async fn ask(hub: &TestHub, credentials: &Credentials, request: &str) -> String {
    let mut tls = connect(hub.link(), credentials).await.unwrap();
    tls.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let read = tokio::time::timeout(PATIENCE, tls.read_to_string(&mut text)).await;
    read.expect("the hub ends the connection").unwrap();
    text
}

fn head(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: hub\r\n{more}\r\n")
}

fn upgrade(more: &str) -> String {
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n";
    format!("connection: upgrade\r\nupgrade: websocket\r\n{key}{more}")
}

#[tokio::test]
async fn who_is_no_edge_hears_what_this_port_is() {
    let hub = TestHub::start().await;
    let node = hub.credentials("edge-1");
    let none = Credentials {
        holder: None,
        ..node.clone()
    };
    let answer = ask(&hub, &none, &head("GET", LINK_PATH, "")).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("no certificate"), "{answer}");

    let answer = ask(&hub, &node, &head("GET", LINK_PATH, "")).await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("upgrade: websocket\r\n"), "{answer}");
    assert!(answer.ends_with("edgecore speaks to it\n"), "{answer}");

    let answer = ask(&hub, &node, &head("POST", LINK_PATH, "")).await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");

    let other = upgrade("sec-websocket-protocol: chat\r\n");
    let answer = ask(&hub, &node, &head("GET", LINK_PATH, &other)).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains(SUBPROTOCOL), "{answer}");

    let answer = ask(&hub, &none, &head("GET", "/", "")).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.ends_with("has /v1/link\n"), "{answer}");

    let metrics = hub.metrics().await;
    let counted = ["link_refused_total 5", "sessions_total 0"];
    for counter in counted.map(|counter| format!("\nlongshore_hub_{counter}\n")) {
        assert!(metrics.contains(&counter), "{counter}: {metrics}");
    }
    hub.hub.stop().await;
}

#[tokio::test]
async fn an_edge_hears_status_and_sentence() {
    let hub = TestHub::start().await;
    let node = hub.credentials("edge-1");
    let none = Credentials {
        holder: None,
        ..node.clone()
    };
    let tls = connect(hub.link(), &none).await.unwrap();
    let Err(AskError::Refused(answer)) = transport::ask(tls, "localhost", 443).await else {
        panic!("nobody gets the link without a certificate");
    };
    assert_eq!(
        answer.to_string(),
        "401 Unauthorized: no certificate: a node needs one of this hub (`cloudhub issue-node`)"
    );
    let tls = connect(hub.link(), &node).await.unwrap();
    let line = transport::ask(tls, "localhost", 443).await.unwrap();
    line.close().await;
    hub.hub.stop().await;
}

#[tokio::test]
async fn an_edge_may_greet_in_the_packet_of_its_request() {
    let hub = TestHub::start().await;
    let credentials = hub.credentials("edge-1");
    let mut tls = connect(hub.link(), &credentials).await.unwrap();
    let mut session = EdgeSession::new(EdgeConfig::new("edge-1"));
    let position = EdgePosition {
        edge_epoch: Epoch(77),
        ..EdgePosition::default()
    };
    let mut effects = session.step(EdgeEvent::TransportUp(position), Instant::now());
    let Some(EdgeEffect::Send(hello)) = effects.pop() else {
        panic!("an edge greets first: {effects:?}");
    };
    let hello = hello.encode();
    assert!(hello.len() < 126, "a short message: {}", hello.len());

    let protocol = format!("sec-websocket-protocol: {SUBPROTOCOL}\r\n");
    let mut packet = head("GET", LINK_PATH, &upgrade(&protocol)).into_bytes();
    // A whole binary message of this length, masked by zeros (RFC 6455, 5.2).
    packet.extend([0x82, 0x80 | hello.len() as u8, 0, 0, 0, 0]);
    packet.extend(&hello);
    tls.write_all(&packet).await.unwrap();

    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(tls.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    // Of the key above, as RFC 6455 has it in 1.3.
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    let mut socket = WebSocketStream::from_raw_socket(tls, Role::Client, None).await;
    let first = tokio::time::timeout(PATIENCE, socket.next()).await;
    let Some(Ok(Message::Binary(first))) = first.expect("the hub greets back") else {
        panic!("no message");
    };
    let first = Frame::decode(first).unwrap();
    assert!(matches!(first, Frame::Welcome(_)), "{first:?}");
    drop(socket);
    hub.hub.stop().await;
}

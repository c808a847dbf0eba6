use std::net::SocketAddr;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::{Loss, Running, Stage, Tasks};

async fn pages() -> (SocketAddr, Running) {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let (listener, address) = listen(loopback, "metrics.listen").await.unwrap();
    let answer = |request: Request| async move {
        match request.path() {
            "/json" => Response::json(json!({"a": 1}).to_string().into_bytes()),
            "/readyz" => Response::ready(&["twin: gone".to_owned()], "link: up\n"),
            "/panic" => panic!("a bug of this page"),
            _ => Response::not_found(&["/json", "/readyz"]),
        }
    };
    let mut tasks = Tasks::new();
    tasks.add("pages", Stage::Pages, Loss::EndsProcess, |stop| {
        serve(listener, answer, stop)
    });
    (address, tasks.spawn())
}

async fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A server that refuses a flood may reset the connection behind its answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn pages_are_served_and_read() {
    let (address, _pages) = pages().await;
    let found = get_json(address, "/json").await.unwrap();
    assert_eq!(found, Some(json!({"a": 1})));
    assert_eq!(get_json(address, "/x").await.unwrap(), None);
    let ready = get(address, "/readyz").await.unwrap();
    assert_eq!(
        (ready.status, ready.text().as_str()),
        (503, "not ready\ntwin: gone\nlink: up\n")
    );
    let refused = put_json(address, "/json", &json!({})).await.unwrap_err();
    assert_eq!(
        crate::chain(&refused),
        format!(
            "failed to put to http://{address}/json: answered with status 405: only GET and HEAD"
        )
    );
}

#[tokio::test]
async fn a_bad_request_costs_itself() {
    let (address, _pages) = pages().await;
    let head = raw(address, b"HEAD /json HTTP/1.1\r\n\r\n").await;
    assert!(
        head.contains("Content-Length: 7\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(
        raw(address, b"\x16\x03\x01\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 400")
    );
    assert!(
        raw(address, b"POST /json HTTP/1.1\r\n\r\n")
            .await
            .contains("Allow: GET, HEAD\r\n")
    );
    let flood = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'x'; HEAD]].concat();
    assert!(raw(address, &flood).await.starts_with("HTTP/1.1 431"));
    assert_eq!(raw(address, b"GET /panic HTTP/1.1\r\n\r\n").await, "");
    assert_eq!(get(address, "/json").await.unwrap().status, 200);
}

#[tokio::test]
async fn half_requests_silence_no_page() {
    let (address, _pages) = pages().await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may have made room already.
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n").await;
        silent.push(stream);
    }
    assert_eq!(get(address, "/json").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_taken_port_says_which_key_to_change() {
    let (address, _pages) = pages().await;
    let error = listen(address, "metrics.listen").await.unwrap_err();
    let report = crate::report(&error);
    assert!(report.contains(&address.to_string()), "{report}");
    assert!(report.contains("hint: another process may have the port; set `metrics.listen`"));
}

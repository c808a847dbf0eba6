//! What is in the hub's place answers, but grants no link.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Answers each request in the same way.
struct Answering {
    port: u16,
    task: JoinHandle<()>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Answering {
    async fn start(rig: &Rig, answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = server_config(&rig.ca, "localhost", &rig.ca);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let mut tls = acceptor.accept(tcp).await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(tls.read_u8().await.unwrap());
                }
                // Who has read enough may be gone.
                let _ = tls.write_all(answer.as_bytes()).await;
                let _ = tls.shutdown().await;
            }
        });
        Self { port, task }
    }
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

#[tokio::test]
async fn a_refusal_is_shown_with_what_to_do() {
    let rig = Rig::new();
    let certificate = rig.folder.path().join("node.crt");
    let certificate = certificate.display();
    let cases = [
        (
            answer("401 Unauthorized", "no certificate: a node needs one\n"),
            format!(
                "`localhost` answers 401 Unauthorized: no certificate: a node needs one \
                 (`{certificate}` did not reach the hub"
            ),
        ),
        (
            answer("403 Forbidden", "the certificate is of `x`\n"),
            format!(
                "answers 403 Forbidden: the certificate is of `x` (`{certificate}` must be the \
                 certificate of a node (`hub.certFile`))"
            ),
        ),
        (
            answer("404 Not Found", "<h1>\u{1b}[2Jgone</h1>\n\n<p>"),
            "answers 404 Not Found: <h1>\\u{1b}[2Jgone</h1>\\n\\n<p> (does `hub.url` lead to a hub"
                .to_owned(),
        ),
        (
            answer("426 Upgrade Required", ""),
            "answers 426 Upgrade Required (does something between here and the hub not pass \
             WebSockets on?)"
                .to_owned(),
        ),
        (
            answer("503 Service Unavailable", "later"),
            "answers 503 Service Unavailable: later".to_owned(),
        ),
    ];
    for (answer, reason) in cases {
        let hub = Answering::start(&rig, answer).await;
        let sync = rig.start(hub.port);
        rig.wait_reason(&sync, &reason).await;
        sync.stop().await;
    }
}

#[tokio::test]
async fn a_page_in_place_of_an_answer_is_cut() {
    let rig = Rig::new();
    let page = answer("502 Bad Gateway", &"x".repeat(100_000));
    let hub = Answering::start(&rig, page).await;
    let sync = rig.start(hub.port);
    rig.wait_reason(&sync, "502 Bad Gateway: xxx").await;
    let shown = sync.state.borrow().to_string();
    assert!(shown.len() < 600, "{} bytes are shown", shown.len());
    sync.stop().await;
}

//! What one connection of HTTP/2 may cost, frame by frame (RFC 9113).

use std::net::SocketAddr;
use std::sync::Arc;

use longshore_apiserver::{ApiServer, Config, Tokens, User};
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;

use crate::identity::{Authority, provider, server_config};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
/// Error codes (section 7).
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server on a socket, as long as the test goes on.
struct Served {
    authority: Authority,
    address: SocketAddr,
    _folder: TempDir,
}

impl Served {
    async fn start() -> Served {
        let folder = TempDir::new().expect("a temporary folder");
        let server = ApiServer::open(Config::new(folder.path().join("api.db"))).expect("opens");
        let authority = Authority::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let tokens = Tokens::none().with("secret", User::admin("admin"));
        let config = server_config(&authority);
        tokio::spawn(async move { server.serve_tls(listener, config, tokens).await });
        Served {
            authority,
            address,
            _folder: folder,
        }
    }

    /// A connection after the preface (section 3.4).
    async fn connect(&self) -> Connection {
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.authority.roots())
            .with_no_client_auth();
        let socket = TcpStream::connect(self.address).await.expect("connects");
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, socket).await.expect("a handshake");
        let mut connection = Connection(stream);
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        hello.extend(frame(SETTINGS, 0, 0, &[]));
        connection.0.write_all(&hello).await.expect("is sent");
        connection
    }

    /// Somebody else is answered.
    async fn serves_others(&self) {
        let mut other = self.connect().await;
        let request = get(1, MAPS);
        other.0.write_all(&request).await.expect("is sent");
        let answer = other.until(|frame| frame.kind == HEADERS).await;
        // Index 8 of the static table: `:status: 200` (RFC 7541, appendix A).
        assert_eq!(answer.expect("an answer").payload[0], 0x88);
    }
}

struct Connection(TlsStream<TcpStream>);

#[derive(Debug)]
struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// The code of a reset, or of a goodbye behind its last stream.
    fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let code = self.payload.get(at..at + 4).expect("a code");
        u32::from_be_bytes(code.try_into().expect("four bytes"))
    }
}

impl Connection {
    /// The first frame that is meant; none when the connection ends before.
    async fn until(&mut self, meant: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, _, stream @ ..] = head;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            let frame = Frame {
                kind,
                stream: u32::from_be_bytes(stream),
                payload,
            };
            if meant(&frame) {
                return Some(frame);
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A request without a body; its fields as literals that nobody is to remember
/// (RFC 7541, section 6.2.2).
fn get(stream: u32, path: &str) -> Vec<u8> {
    // `:method: GET` and `:scheme: https` stand in the static table.
    let mut block = vec![0x82, 0x87];
    let mut literal = |name: &[u8], value: &str| {
        block.extend(name);
        block.push(u8::try_from(value.len()).expect("short"));
        block.extend(value.as_bytes());
    };
    literal(&[0x01], "x");
    literal(&[0x04], path);
    // Index 23, authorization, does not fit the four bits.
    literal(&[0x0f, 23 - 15], "Bearer secret");
    // END_HEADERS and END_STREAM.
    frame(HEADERS, 0x5, stream, &block)
}

#[tokio::test]
async fn a_connection_has_so_many_requests_at_a_time_and_no_more() {
    let served = Served::start().await;
    let mut greedy = served.connect().await;
    let watch = format!("{MAPS}?watch=true");
    let requests: Vec<u8> = (0..300).flat_map(|n| get(n * 2 + 1, &watch)).collect();
    greedy.0.write_all(&requests).await.expect("is sent");
    let refused = greedy.until(|frame| frame.kind == RST_STREAM).await;
    let refused = refused.expect("a refusal");
    assert_eq!(refused.code(), REFUSED_STREAM);
    assert_eq!(refused.stream, 250 * 2 + 1, "the first that is too many");
    served.serves_others().await;
}

#[tokio::test]
async fn who_opens_and_resets_without_end_is_told_to_calm_down() {
    let served = Served::start().await;
    let mut rapid = served.connect().await;
    let flood: Vec<u8> = (0..2_000)
        .flat_map(|n| {
            let mut both = get(n * 2 + 1, MAPS);
            both.extend(frame(RST_STREAM, 0, n * 2 + 1, &CANCEL.to_be_bytes()));
            both
        })
        .collect();
    // It hangs up in the middle of it.
    let _ = rapid.0.write_all(&flood).await;
    // A goodbye may be lost with the connection; that it ends is what counts.
    if let Some(goodbye) = rapid.until(|frame| frame.kind == GOAWAY).await {
        assert_eq!(goodbye.code(), ENHANCE_YOUR_CALM);
    }
    let ended = rapid.until(|frame| frame.kind == SETTINGS).await;
    assert!(ended.is_none(), "{ended:?}");
    served.serves_others().await;
}

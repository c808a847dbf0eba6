//! The link client against a hub that is the link's session and nothing else.

mod kinds;

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use longshore_link::{
    ChangeLog, Content, Epoch, Frame, HubConfig as SessionConfig, HubEffect, HubEvent, HubSession,
    Lane, LogConfig, NodeReport, ObjectKey, SUBPROTOCOL, UpPosition, UpRecord,
};
use longshore_process::{Loss, Running, Stage, Tasks};
use longshore_types::{DeviceName, DeviceSamples, PropertySample, Quality, Reason, Value};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::{
    Message,
    handshake::server::{ErrorResponse, Request, Response},
    http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
};

use super::*;

mod refused;

/// More than a test puts.
const OUTBOX_BUDGET: u64 = 1024 * 1024;

type Ca = CertifiedIssuer<'static, KeyPair>;

/// What the fake hub holds.
struct Memory {
    log: ChangeLog,
    position: UpPosition,
    telemetry: UpPosition,
    records: Vec<UpRecord>,
    /// What came, lane by lane, in the order in which it came.
    lanes: Vec<Lane>,
    snapshots: usize,
}

struct FakeHub {
    memory: Arc<Mutex<Memory>>,
    port: u16,
    task: JoinHandle<()>,
}

struct Rig {
    folder: TempDir,
    ca: Ca,
    store: StoreHandle,
    memory: Arc<Mutex<Memory>>,
}

/// The link client, running.
struct Live {
    state: watch::Receiver<LinkState>,
    tasks: Running,
}

impl Live {
    async fn stop(self) {
        assert!(self.tasks.drain(Duration::from_secs(20)).await.is_empty());
    }
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = new_ca("test ca");
        issue(&ca, folder.path());
        let store = StoreHandle::open(
            &folder.path().join("state"),
            crate::config::StoreConfig::with_outbox(OUTBOX_BUDGET),
        )
        .unwrap();
        let memory = Memory {
            log: ChangeLog::new(Epoch(9), LogConfig::default()),
            position: UpPosition::default(),
            telemetry: UpPosition::default(),
            records: Vec::new(),
            lanes: Vec::new(),
            snapshots: 0,
        };
        Self {
            folder,
            ca,
            store,
            memory: Arc::new(Mutex::new(memory)),
        }
    }

    async fn hub(&self, name: &str, port: u16, clients: &Ca) -> FakeHub {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&self.ca, name, clients)));
        let memory = Arc::clone(&self.memory);
        let theirs = Arc::clone(&memory);
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                if let Ok(tls) = acceptor.accept(tcp).await {
                    serve(tls, &theirs).await;
                }
            }
        });
        FakeHub { memory, port, task }
    }

    fn start(&self, port: u16) -> Live {
        let own = Own {
            mappers: watch::channel(Vec::new()).1,
            schema: Box::new(|_| None),
        };
        self.start_with(port, own)
    }

    fn start_with(&self, port: u16, own: Own) -> Live {
        let file = |name: &str| self.folder.path().join(name);
        let hub = HubConfig {
            url: format!("wss://localhost:{port}"),
            host: "localhost".to_owned(),
            port,
            ca_file: file("ca.crt"),
            cert_file: file("node.crt"),
            key_file: file("node.key"),
        };
        let node = NodeName::new("edge-1").unwrap();
        let sync = Sync::new(node, hub, self.store.clone(), own);
        let state = sync.state();
        let mut tasks = Tasks::new();
        tasks.add("link", Stage::Links, Loss::EndsProcess, |stop| {
            sync.run(stop)
        });
        let tasks = tasks.spawn();
        Live { state, tasks }
    }

    fn put(&self, text: &str) {
        let payload = text.as_bytes().to_vec();
        self.store.report(text.to_owned(), payload.into());
    }

    fn object(&self, name: &str) {
        let key = ObjectKey {
            kind: "Device".to_owned(),
            namespace: "default".to_owned(),
            name: name.to_owned(),
        };
        let json = Bytes::from_static(b"{}");
        let content = Content {
            uid: "u".to_owned(),
            resource_version: "1".to_owned(),
            json,
        };
        self.memory.lock().unwrap().log.put(key, content);
    }

    async fn wait(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds().await {
            assert!(Instant::now() < deadline, "{what}: still not so");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn wait_reason(&self, sync: &Live, part: &str) {
        let state = &sync.state;
        let now = || state.borrow().to_string();
        self.wait(
            &format!("the state says `{part}`, it says `{}`", now()),
            async || now().contains(part),
        )
        .await;
    }

    async fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .store
            .objects(&["Device", "DeviceModel"])
            .await
            .unwrap()
            .into_iter()
            .map(|o| o.key.name)
            .collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn objects_come_and_records_go_over_a_link_that_breaks() {
    let rig = Rig::new();
    rig.object("boiler");
    let hub = rig.hub("localhost", 0, &rig.ca).await;
    let port = hub.port;
    let sync = rig.start(port);
    rig.wait("the device came", async || rig.names().await == ["boiler"])
        .await;
    assert_eq!(*sync.state.borrow(), LinkState::Connected);
    rig.put("one");
    rig.wait("the outbox is empty", async || {
        rig.store.outbox_size().records == 0
    })
    .await;

    hub.task.abort();
    let _ = hub.task.await;
    rig.wait("the edge noticed", async || {
        !sync.state.borrow().is_connected()
    })
    .await;
    rig.put("two");
    rig.object("meter");
    let hub = rig.hub("localhost", port, &rig.ca).await;
    rig.wait("the device that came meanwhile is there", async || {
        rig.names().await == ["boiler", "meter"]
    })
    .await;
    rig.wait("the outbox is empty", async || {
        rig.store.outbox_size().records == 0
    })
    .await;
    {
        let memory = hub.memory.lock().unwrap();
        let payloads: Vec<_> = memory
            .records
            .iter()
            .map(|r| String::from_utf8_lossy(&r.payload).into_owned())
            .collect();
        let ours: Vec<_> = payloads
            .iter()
            .filter(|p| ["one", "two"].contains(&p.as_str()))
            .collect();
        assert_eq!(ours, ["one", "two"], "each once, in order");
        assert_eq!(memory.snapshots, 1, "the second time it resumed");
    }
    sync.stop().await;
}

#[tokio::test]
async fn ten_minutes_of_samples_come_in_order_once_and_behind_what_is_live() {
    let rig = Rig::new();
    // Nobody is there for ten minutes: 20 samples each second, and twins that change.
    let began_ms = 1_732_000_000_000;
    for second in 0..600_i64 {
        let sample = |n: i64| PropertySample {
            property: format!("p{n}").into(),
            value: Some(Value::Int(second * 20 + n)),
            quality: Quality::Good,
            reason: Reason::None,
            time_ms: began_ms + second * 1000 + n,
        };
        let samples = Up::Samples(DeviceSamples {
            device: DeviceName::new("default", "boiler").unwrap(),
            uid: "u".to_owned(),
            samples: (0..20).map(sample).collect(),
        });
        let payloads = vec![samples.encode().to_vec()];
        let kept = rig.store.try_put_samples(payloads).unwrap();
        kept.await.unwrap().unwrap();
        let twin = Up::Node(NodeReport::default()).encode();
        rig.store.report(format!("twin/{}", second % 30), twin);
    }
    let empty = async || rig.store.outbox_size().records == 0;
    let hub = rig.hub("localhost", 0, &rig.ca).await;
    let port = hub.port;
    let sync = rig.start(port);
    // The line breaks once on the way.
    rig.wait("some have come", async || {
        rig.memory.lock().unwrap().telemetry.sequence > 0
    })
    .await;
    hub.task.abort();
    let _ = hub.task.await;
    let _hub = rig.hub("localhost", port, &rig.ca).await;
    rig.wait("all have come", empty).await;
    sync.stop().await;

    let memory = rig.memory.lock().unwrap();
    let is_live = |lane: &Lane| *lane == Lane::Live;
    let before = memory.lanes.iter().take_while(|lane| is_live(lane)).count();
    assert!(before >= 30, "{before} live ones came before the samples");
    let came = memory.records.iter().zip(&memory.lanes);
    let values = came
        .filter(|(_, lane)| !is_live(lane))
        .flat_map(|(record, _)| match Up::decode(&record.payload) {
            Ok(Up::Samples(batch)) => batch.samples,
            other => panic!("no samples: {other:?}"),
        })
        .map(|sample| sample.value);
    assert!(values.eq((0..600 * 20).map(|n| Some(Value::Int(n)))));
}

#[tokio::test]
async fn a_schema_goes_once_however_often_the_mapper_changes_its_state() {
    let rig = Rig::new();
    let hub = rig.hub("localhost", 0, &rig.ca).await;
    let text = r#"{"device": {}}"#;
    let hash = longshore_link::schema_hash(text);
    let mapper = |state: &str| {
        vec![MapperReport {
            name: "modbus".to_owned(),
            protocol: "modbus".to_owned(),
            version: "1.0.0".to_owned(),
            state: state.to_owned(),
            message: String::new(),
            schema: hash,
        }]
    };
    let (mappers, receiver) = watch::channel(mapper("Loading"));
    let schema = move |wanted| {
        (wanted == hash).then(|| SchemaReport {
            protocol: "modbus".to_owned(),
            text: text.to_owned(),
        })
    };
    let own = Own {
        mappers: receiver,
        schema: Box::new(schema),
    };
    let sync = rig.start_with(hub.port, own);
    let taken = || -> Vec<Up> {
        let memory = hub.memory.lock().unwrap();
        let ups = memory.records.iter().map(|r| Up::decode(&r.payload));
        ups.map(Result::unwrap).collect()
    };
    let is_schema = |up: &&Up| matches!(up, Up::Schema(_));
    rig.wait("the schema came", async || {
        taken().iter().any(|up| is_schema(&up))
    })
    .await;
    for state in ["Running", "Restarting"] {
        mappers.send_replace(mapper(state));
        rig.wait("the state came", async || {
            taken().iter().any(|up| {
                matches!(up, Up::Node(node) if node.mappers[0].state == state && node.mappers[0].schema == hash)
            })
        })
        .await;
    }
    assert_eq!(taken().iter().filter(is_schema).count(), 1);
    sync.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_certificates_reads_clearly() {
    let rig = Rig::new();
    let stranger = new_ca("another ca");

    let hub = rig.hub("elsewhere", 0, &rig.ca).await;
    let sync = rig.start(hub.port);
    rig.wait_reason(&sync, "certificate is not for `localhost`")
        .await;
    sync.stop().await;

    let hub = rig.hub("localhost", 0, &stranger).await;
    let sync = rig.start(hub.port);
    rig.wait_reason(&sync, "the hub refused the certificate")
        .await;
    sync.stop().await;

    std::fs::write(rig.folder.path().join("ca.crt"), stranger.pem()).unwrap();
    let hub = rig.hub("localhost", 0, &rig.ca).await;
    let sync = rig.start(hub.port);
    rig.wait_reason(&sync, "is not signed by the CA in").await;
    sync.stop().await;

    let sync = rig.start(1);
    rig.wait_reason(&sync, "cannot connect to localhost:1")
        .await;
    sync.stop().await;

    std::fs::remove_file(rig.folder.path().join("node.key")).unwrap();
    let sync = rig.start(1);
    rig.wait_reason(&sync, "node.key").await;
    sync.stop().await;
}

async fn serve(
    tls: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    memory: &Mutex<Memory>,
) {
    // The size of the error is the library's.
    #[allow(clippy::result_large_err)]
    let accept = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        response.headers_mut().insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(SUBPROTOCOL),
        );
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(tls, accept).await else {
        return;
    };
    let mut session = HubSession::new(SessionConfig::new("edge-1", Epoch(9)), Instant::now());
    while let Some(Ok(Message::Binary(bytes))) = socket.next().await {
        let mut events = VecDeque::from([HubEvent::Frame(Frame::decode(bytes).unwrap())]);
        while let Some(event) = events.pop_front() {
            for effect in session.step(event, Instant::now()) {
                match effect {
                    HubEffect::Send(frame) => {
                        socket.send(Message::Binary(frame.encode())).await.unwrap()
                    }
                    HubEffect::Close(_) => return,
                    effect => events.extend(answer(&mut memory.lock().unwrap(), effect)),
                }
            }
        }
    }
}

fn answer(memory: &mut Memory, effect: HubEffect) -> Option<HubEvent> {
    match effect {
        HubEffect::Open(hello) => {
            memory.position = memory.position.greet(hello.edge_epoch, hello.last_sequence);
            Some(HubEvent::Opened {
                taken: memory.position.sequence,
            })
        }
        HubEffect::OpenTelemetry {
            epoch,
            last_sequence,
        } => {
            memory.telemetry = memory.telemetry.greet(epoch, last_sequence);
            Some(HubEvent::TelemetryOpened {
                taken: memory.telemetry.sequence,
            })
        }
        HubEffect::ReadChanges { after, max_bytes } => {
            Some(HubEvent::Read(memory.log.read_after(after, max_bytes)))
        }
        HubEffect::ReadSnapshot { cursor, max_bytes } => {
            memory.snapshots += 1;
            Some(HubEvent::Snapshot(
                memory.log.read_snapshot(cursor.as_ref(), max_bytes),
            ))
        }
        HubEffect::Handle {
            lane,
            epoch,
            after,
            records,
        } => {
            let held = match lane {
                Lane::Live => &mut memory.position,
                Lane::Telemetry => &mut memory.telemetry,
            };
            let admitted = held.admit(epoch, after, &records).unwrap();
            let new = records.into_iter().skip(admitted.skip);
            memory.records.extend(new);
            memory.lanes.resize(memory.records.len(), lane);
            *held = admitted.position;
            Some(HubEvent::Handled {
                lane,
                through: admitted.position.sequence,
            })
        }
        _ => None,
    }
}

fn new_ca(name: &str) -> Ca {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// The files of a node.
fn issue(ca: &Ca, folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().signed_by(&key, ca).unwrap();
    std::fs::write(folder.join("ca.crt"), ca.pem()).unwrap();
    std::fs::write(folder.join("node.crt"), certificate.pem()).unwrap();
    std::fs::write(folder.join("node.key"), key.serialize_pem()).unwrap();
}

fn server_config(ca: &Ca, name: &str, clients: &Ca) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(clients.der().clone()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, ca)
        .unwrap();
    let certificate = CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

//! An edge with a memory for a store.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use longshore_link::{
    EdgeConfig, EdgeEffect, EdgeEvent, EdgePosition, EdgeSession, Epoch, Frame, LINK_PATH, Lane,
    SUBPROTOCOL, Up, UpRecord,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::{net::TcpStream, sync::Notify, task::JoinHandle};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    client_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
    },
};

/// Nothing is waited for that does not move for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Certificate and key of an edge.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) ca: String,
    pub(crate) holder: Option<(String, String)>,
}

/// What the edge remembers.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) objects: BTreeMap<String, Value>,
    /// The objects as they came, to the byte.
    pub(crate) raw: BTreeMap<String, Bytes>,
    pub(crate) position: EdgePosition,
    /// What the hub's greeting said.
    pub(crate) schemas_of_hub: Option<Vec<u64>>,
    pub(crate) outbox: BTreeMap<u64, Bytes>,
    pub(crate) telemetry: BTreeMap<u64, Bytes>,
    pub(crate) snapshots: usize,
    /// Changes that came, also those that changed nothing.
    pub(crate) changes: usize,
    pub(crate) connections: usize,
    pub(crate) ended: Option<String>,
}

impl Store {
    fn lane(&mut self, lane: Lane) -> &mut BTreeMap<u64, Bytes> {
        match lane {
            Lane::Live => &mut self.outbox,
            Lane::Telemetry => &mut self.telemetry,
        }
    }
}

/// A running edge. Dropping it cuts the connection.
pub(crate) struct Edge {
    pub(crate) store: Arc<Mutex<Store>>,
    changed: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Edge {
    /// Connects once; how it ended stands in the store.
    pub(crate) fn connect(hub: SocketAddr, node: &str, credentials: &Credentials) -> Self {
        let store = Store {
            position: EdgePosition {
                edge_epoch: Epoch(77),
                ..EdgePosition::default()
            },
            ..Store::default()
        };
        Self::connect_with(hub, node, credentials, Arc::new(Mutex::new(store)))
    }

    /// The same with a store that is there already.
    pub(crate) fn connect_with(
        hub: SocketAddr,
        node: &str,
        credentials: &Credentials,
        store: Arc<Mutex<Store>>,
    ) -> Self {
        let changed = Arc::new(Notify::new());
        let (node, credentials) = (node.to_owned(), credentials.clone());
        let (theirs, notify) = (Arc::clone(&store), Arc::clone(&changed));
        let task = tokio::spawn(async move {
            let outcome = serve(hub, &node, &credentials, &theirs, &notify).await;
            let text = outcome.map_or_else(|error| error, |()| "closed".to_owned());
            theirs.lock().unwrap().ended = Some(text);
        });
        Self {
            store,
            changed,
            task,
        }
    }

    pub(crate) fn report(&self, up: &Up) {
        let mut store = self.store.lock().unwrap();
        store.position.last_sequence += 1;
        let sequence = store.position.last_sequence;
        store.outbox.insert(sequence, up.encode());
        drop(store);
        self.changed.notify_one();
    }

    pub(crate) fn sample(&self, up: &Up) {
        let mut store = self.store.lock().unwrap();
        store.position.last_telemetry += 1;
        let sequence = store.position.last_telemetry;
        store.telemetry.insert(sequence, up.encode());
        drop(store);
        self.changed.notify_one();
    }

    pub(crate) async fn wait(&self, what: &str, mut holds: impl FnMut(&Store) -> bool) {
        // As long as something comes or goes, there is nothing wrong with waiting.
        let progress = |store: &Store| (store.changes, store.outbox.len(), store.connections);
        let mut before = progress(&self.store.lock().unwrap());
        let mut deadline = Instant::now() + PATIENCE;
        while !holds(&self.store.lock().unwrap()) {
            let now = progress(&self.store.lock().unwrap());
            if now != before {
                before = now;
                deadline = Instant::now() + PATIENCE;
            }
            if Instant::now() > deadline {
                let store = self.store.lock().unwrap();
                panic!(
                    "{what}: still not so; objects {:?}, outbox {:?}, ended {:?}",
                    store.objects.keys().take(20).collect::<Vec<_>>(),
                    store.outbox.keys(),
                    store.ended
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn wait_ended(&self) -> String {
        self.wait("the connection has ended", |store| store.ended.is_some())
            .await;
        self.store.lock().unwrap().ended.clone().unwrap_or_default()
    }
}

/// TLS with the port for edges.
pub(crate) async fn connect(
    hub: SocketAddr,
    credentials: &Credentials,
) -> Result<TlsStream<TcpStream>, String> {
    let tcp = TcpStream::connect(hub).await.map_err(|e| text(&e))?;
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(client_config(credentials)))
        .connect(name, tcp)
        .await
        .map_err(|e| text(&e))
}

fn text(error: &dyn std::error::Error) -> String {
    longshore_process::chain(error)
}

async fn serve(
    hub: SocketAddr,
    node: &str,
    credentials: &Credentials,
    store: &Mutex<Store>,
    changed: &Notify,
) -> Result<(), String> {
    let tls = connect(hub, credentials).await?;
    let mut request = format!("wss://localhost{LINK_PATH}")
        .into_client_request()
        .unwrap();
    request.headers_mut().insert(
        SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL),
    );
    let (mut socket, _) = client_async(request, tls).await.map_err(|e| text(&e))?;

    let mut session = EdgeSession::new(EdgeConfig::new(node));
    let position = store.lock().unwrap().position;
    let mut events = VecDeque::from([EdgeEvent::TransportUp(position)]);
    loop {
        while let Some(event) = events.pop_front() {
            for effect in session.step(event, Instant::now()) {
                match effect {
                    EdgeEffect::Send(frame) => {
                        let message = Message::Binary(frame.encode());
                        socket.send(message).await.map_err(|e| text(&e))?;
                    }
                    EdgeEffect::Close(reason) => return Err(text(&reason)),
                    EdgeEffect::Connected => {
                        let mut store = store.lock().unwrap();
                        store.connections += 1;
                        store.schemas_of_hub = session.schemas_of_hub().map(<[u64]>::to_vec);
                    }
                    effect => events.extend(apply(&mut store.lock().unwrap(), effect)),
                }
            }
        }
        let wake = session
            .wake_at()
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
        events.push_back(tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Binary(bytes))) => {
                    EdgeEvent::Frame(Frame::decode(bytes).map_err(|e| text(&e))?)
                }
                Some(Ok(Message::Close(_))) | None => return Ok(()),
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Err(text(&error)),
            },
            () = changed.notified() => EdgeEvent::OutboxChanged,
            () = tokio::time::sleep_until(wake.into()) => EdgeEvent::Tick,
        });
    }
}

fn apply(store: &mut Store, effect: EdgeEffect) -> Option<EdgeEvent> {
    match effect {
        EdgeEffect::Apply {
            epoch,
            revision,
            snapshot,
            changes,
        } => {
            if snapshot {
                store.objects.clear();
                store.raw.clear();
                store.snapshots += 1;
            }
            store.changes += changes.len();
            for change in changes {
                let key = change.key.to_string();
                match change.content {
                    Some(content) => {
                        let object = serde_json::from_slice(&content.json).unwrap();
                        store.objects.insert(key.clone(), object);
                        store.raw.insert(key, content.json);
                    }
                    None => {
                        store.objects.remove(&key);
                        store.raw.remove(&key);
                    }
                }
            }
            store.position.hub_epoch = epoch;
            store.position.revision = revision;
            Some(EdgeEvent::Applied { revision })
        }
        EdgeEffect::Forget { lane, through } => {
            let outbox = store.lane(lane);
            outbox.retain(|sequence, _| *sequence > through);
            None
        }
        EdgeEffect::Fetch {
            lane,
            after,
            max_records,
            ..
        } => {
            let records = store.lane(lane).range(after + 1..).take(max_records);
            let records = records.map(|(sequence, payload)| UpRecord {
                sequence: *sequence,
                payload: payload.clone(),
            });
            let records = records.collect();
            Some(EdgeEvent::Fetched { lane, records })
        }
        _ => None,
    }
}

fn client_config(credentials: &Credentials) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(credentials.ca.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    match &credentials.holder {
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
        None => builder.with_no_client_auth(),
    }
}

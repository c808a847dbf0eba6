//! Health, metrics and twins over HTTP, for whoever sits at the node.
//!
//! Served by [`longshore_process::http`].

mod text;
mod twins;

use std::sync::Arc;

use longshore_process::{
    Health, Stop,
    http::{self, Request, Response},
};
use longshore_types::{DeviceName, NodeName};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    bus::Bus,
    mappers::Mappers,
    ports::{BusPort, LinkState},
    store::StoreHandle,
    sync::LinkCounters,
    twin::TwinHandle,
};

/// What can be asked for.
const PAGES: [&str; 5] = ["/healthz", "/readyz", "/metrics", "/twins", "/status"];

/// What there is to tell.
pub struct Sources {
    /// Which tasks are lost.
    pub health: Health,
    /// What is wrong in the folder of manifests.
    pub manifest_faults: watch::Receiver<Vec<String>>,
    /// This node.
    pub node: NodeName,
    /// The twin engine.
    pub twin: TwinHandle,
    /// The store.
    pub store: StoreHandle,
    /// The mappers.
    pub mappers: Arc<Mappers>,
    /// The bus, if there is one.
    pub bus: Option<Arc<Bus>>,
    /// The link.
    pub link: watch::Receiver<LinkState>,
    /// What the link did, if there is a hub.
    pub link_counters: Option<Arc<LinkCounters>>,
}

/// Serves until the end is asked for.
pub async fn serve(listener: TcpListener, sources: Sources, stop: Stop) {
    let sources = Arc::new(sources);
    let answer = move |request: Request| {
        let sources = Arc::clone(&sources);
        async move { sources.answer(&request).await }
    };
    http::serve(listener, answer, stop).await;
}

impl Sources {
    async fn answer(&self, request: &Request) -> Response {
        match request.path() {
            "/healthz" => Response::text(200, "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => Response::metrics(text::metrics(self).await),
            "/twins" => self.twins(request).await,
            "/status" => self.status().await,
            _ => Response::not_found(&PAGES),
        }
    }

    /// Ready means that devices are served and nothing is lost. A hub that is
    /// away is normal and only told.
    fn ready(&self) -> Response {
        let link = format!("link: {}\n", *self.link.borrow());
        let notes = link + &self.ending().unwrap_or_default();
        Response::ready(&self.faults(), &notes)
    }

    /// That the node's certificate ends soon. It is no fault yet: all is served.
    fn ending(&self) -> Option<String> {
        let ends = self.link_counters.as_ref()?.certificate_ends()?;
        let soon = crate::sync::is_soon(ends, std::time::SystemTime::now().into());
        soon.then(|| format!("certificate: ends soon, at {ends}\n"))
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = self.health.faults();
        if let Some(fault) = self.store.health().fault {
            faults.push(format!("store: {fault}"));
        }
        if let Some(Err(why)) = self.bus.as_ref().map(|bus| bus.ready()) {
            faults.push(format!("bus: {why}"));
        }
        for mapper in self.mappers.iter() {
            let (state, why) = crate::mappers::describe(&mapper.state());
            if state != "Running" {
                faults.push(format!("mapper {}: {state} {why}", mapper.name()));
            }
        }
        faults
    }

    /// The node in short, for programs.
    async fn status(&self) -> Response {
        let stats = self.twin.stats().await.unwrap_or_default();
        let mut faults = self.faults();
        let ready = faults.is_empty();
        // They cost what they stand at, not the node.
        let of_manifests = self.manifest_faults.borrow().clone();
        faults.extend(
            of_manifests
                .iter()
                .map(|fault| format!("manifest: {fault}")),
        );
        let mappers = self.mappers.iter().map(|mapper| {
            let ((state, message), stats) = (crate::mappers::describe(&mapper.state()), mapper.stats());
            serde_json::json!({
                "name": mapper.name(), "protocol": mapper.protocol(), "version": mapper.version(),
                "state": state, "message": message, "pid": stats.process_id, "restarts": stats.restarts,
            })
        });
        let bus = self.bus.as_ref().map(|bus| {
            let ready = bus.ready();
            serde_json::json!({ "ready": ready.is_ok(), "message": ready.err(), "address": bus.address().map(|a| a.to_string()), "broker": bus.broker() })
        });
        let link = self.link.borrow().clone();
        let word = match &link {
            LinkState::NoHub => "none",
            LinkState::Connecting { .. } => "connecting",
            LinkState::Connected => "connected",
        };
        let outbox = self.store.outbox_size();
        let status = serde_json::json!({
            "node": self.node.as_str(),
            "ready": ready,
            "faults": faults,
            "devices": stats.devices,
            "properties": stats.properties,
            "mappers": mappers.collect::<Vec<_>>(),
            "bus": bus,
            "link": { "state": word, "message": link.to_string() },
            "outbox": { "records": outbox.records, "bytes": outbox.bytes },
        });
        Response::json(status.to_string().into_bytes())
    }

    async fn twins(&self, request: &Request) -> Response {
        let Some(wanted) = request.query("device") else {
            return Response::json(twins::list(&self.node, &self.twin.list().await));
        };
        let Ok(name) = wanted.parse::<DeviceName>() else {
            return Response::text(
                400,
                format!("`{wanted}` is no device, expected `namespace/name`\n"),
            );
        };
        match self.twin.get(name).await {
            Some(twin) => Response::json(twins::one(&twin)),
            None => Response::text(404, format!("device `{wanted}` is not on this node\n")),
        }
    }
}

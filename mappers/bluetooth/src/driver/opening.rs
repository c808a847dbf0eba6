//! From nothing to an open link: the bus, the adapter, the device, its services.

use std::{collections::HashMap, sync::Arc, time::Duration};

use longshore_sdk::{Reason, RequestError, Samples};
use tokio::time::{Instant, timeout_at};
use zbus::Variant;

use super::{Connected, Link};
use crate::{
    advert::Advert,
    bluez::{self, Client, Inbox, Scan, Shared, tree},
    bus::Bus,
    point::{Place, Point},
};

impl Link {
    /// Connects to the device, or begins to listen for it.
    ///
    /// # Errors
    /// `Line` with what was waited for: the bus, bluetoothd, the adapter, a
    /// free connection, the device, its services.
    pub async fn open(shared: Arc<Shared>, bus: Bus) -> Result<Self, RequestError> {
        let deadline = Instant::now() + bus.connect_timeout;
        let client = shared.client().await?;
        let adapter = client.adapter(bus.adapter.as_deref().or(shared.adapter.as_deref()))?;
        let inbox = client.inbox(&adapter, &bus.target);
        if !bus.connect {
            let scan = Scan::new(&client, &adapter);
            return Ok(Self::new(client, bus, inbox, None, Some(scan)));
        }
        let permits = Arc::clone(&shared.connections);
        let Ok(Ok(permit)) = timeout_at(deadline, permits.acquire_owned()).await else {
            let limit = shared.limit;
            return Err(RequestError::Line(format!(
                "all {limit} connections are in use; raise `maxConnections` of the mapper if the adapter can carry more"
            )));
        };
        let path = find(&client, &adapter, &bus, deadline).await?;
        client.use_device(&path);
        let device = Connected {
            client: Arc::clone(&client),
            path,
            permit: Some(permit),
        };
        connect(&client, &device.path, &bus, deadline).await?;
        let path = device.path.clone();
        let resolved = client.wait(deadline, |tree| {
            let device = tree.devices.get(&path);
            match device {
                Some(device) if device.connected && device.resolved => Some(true),
                Some(device) if device.connected => None,
                _ => Some(false),
            }
        });
        match resolved.await {
            Some(true) => {}
            Some(false) => {
                return Err(RequestError::Line(
                    "the device has disconnected at once".to_owned(),
                ));
            }
            None => {
                return Err(RequestError::Line(
                    "the device does not tell its services".to_owned(),
                ));
            }
        }
        // What happened while it was connecting is past.
        while inbox.take().is_some() {}
        Ok(Self::new(client, bus, inbox, Some(device), None))
    }

    fn new(
        client: Arc<Client>,
        bus: Bus,
        inbox: Arc<Inbox>,
        device: Option<Connected>,
        scan: Option<Scan>,
    ) -> Self {
        Self {
            client,
            bus,
            inbox,
            device,
            watching: Vec::new(),
            notifying: HashMap::new(),
            heard: Advert::default(),
            heard_ns: None,
            latest: HashMap::new(),
            silent_at: None,
            packet: None,
            unresolved_until: None,
            broken: false,
            _scan: scan,
        }
    }
}

/// The device's object. A device that BlueZ does not know is listened for.
pub(crate) async fn find(
    client: &Arc<Client>,
    adapter: &str,
    bus: &Bus,
    deadline: Instant,
) -> Result<String, RequestError> {
    let known = |tree: &tree::Tree| {
        let found = tree.find(adapter, &bus.target);
        found.map(|(path, _)| path.to_owned())
    };
    if let Some(path) = client.look(known) {
        return Ok(path);
    }
    let _scan = Scan::new(client, adapter);
    let found = client.wait(deadline, |tree| match tree.adapters.get(adapter) {
        Some(adapter) if adapter.powered => known(tree).map(Some),
        _ => Some(None),
    });
    match found.await {
        Some(Some(path)) => Ok(path),
        Some(None) => Err(RequestError::Line(
            "the adapter was pulled or switched off".to_owned(),
        )),
        None => Err(RequestError::Line(format!(
            "{} was not heard for {} s: is it on, near, and not connected to something else?",
            bus.target,
            bus.connect_timeout.as_secs_f64()
        ))),
    }
}

/// Connects, and pairs if that is wanted.
pub(crate) async fn connect(
    client: &Arc<Client>,
    path: &str,
    bus: &Bus,
    deadline: Instant,
) -> Result<(), RequestError> {
    let device =
        |at: fn(&tree::Device) -> bool| client.look(|tree| tree.devices.get(path).is_some_and(at));
    while !device(|device| device.connected) {
        let call = (path, tree::DEVICE, "Connect");
        match client.ask("connecting", deadline, call, &()).await {
            Ok(_) => {}
            // BlueZ is connecting it already, for somebody else.
            Err(RequestError::Timeout(_)) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            Err(RequestError::Refused(text))
                if text.contains("AlreadyConnected") || text.contains("Already Connected") => {}
            Err(RequestError::Refused(text) | RequestError::Timeout(text)) => {
                return Err(RequestError::Line(text));
            }
            Err(error) => return Err(error),
        }
        // The answer may come before the signal.
        let connected = client.wait(deadline, |tree| {
            let device = tree.devices.get(path)?;
            device.connected.then_some(())
        });
        if connected.await.is_none() {
            return Err(RequestError::Line("connecting took too long".to_owned()));
        }
    }
    if bus.pair && !device(|device| device.paired) {
        client.pair(path, bus.passkey, deadline).await?;
        let trusted = (tree::DEVICE, "Trusted", Variant::from(true));
        let call = (path, "org.freedesktop.DBus.Properties", "Set");
        // A device that is not trusted works as well; it only may not connect by itself.
        let _ = client.ask("trusting", deadline, call, &trusted).await;
    }
    Ok(())
}

/// Whether a characteristic takes values and gives none.
pub(super) fn is_only_written(flags: &[String]) -> bool {
    let can = |what: &str| flags.iter().any(|flag| flag.contains(what));
    can("write") && !can("read") && !can("notify") && !can("indicate")
}

/// What can only be written says so for each of its points.
pub(super) fn tell_only_written(points: &[(u32, Point)], samples: &mut Samples) {
    let now = bluez::now_ns();
    for (id, _) in points {
        samples.push_bad(*id, Reason::WriteOnly, "it can only be written", now);
    }
}

impl Link {
    pub(super) fn is_only_written(&self, place: Place) -> bool {
        matches!(self.object(place), Ok((_, flags, _)) if is_only_written(&flags))
    }
}

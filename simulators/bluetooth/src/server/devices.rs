//! Devices: heard, connected, paired, gone.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use longshore_sim_world::run::Stopping;
use zbus::{ObjectPath, Variant};

use super::{Answer, Call, NAME, Refusal, Server, unknown};
use crate::{
    fault::{Act, Fault},
    model::{ADAPTER, CHARACTERISTIC, DEVICE, Properties, SERVICE},
};

impl Server {
    pub(super) async fn device(&self, call: &Call) -> Result<Answer, Refusal> {
        let index = {
            let model = self.model();
            let known = model
                .devices
                .iter()
                .position(|device| device.path == call.path && device.known);
            known.ok_or_else(|| unknown(call))?
        };
        match &call.member[..] {
            "Connect" => self.connect(index).await,
            "Disconnect" => {
                self.disconnect(index).await;
                Ok(Answer::Nothing)
            }
            "Pair" => self.pair(index).await,
            "CancelPairing" => Ok(Answer::Nothing),
            "ConnectProfile" | "DisconnectProfile" => Err(Refusal(
                "NotSupported",
                "Operation is not supported".to_owned(),
            )),
            _ => Err(unknown(call)),
        }
    }

    async fn connect(&self, index: usize) -> Result<Answer, Refusal> {
        let (fault, wait) = {
            let mut model = self.model();
            model.counters.connects += 1;
            let device = &model.devices[index];
            if !model.is_up(device) {
                return Err(Refusal("NotReady", "Resource Not Ready".to_owned()));
            }
            if device.connected {
                return Ok(Answer::Nothing);
            }
            let fault = self
                .faults
                .strike(&device.names(), Act::Connect, Instant::now());
            if !device.spec.connectable {
                return Err(Refusal("Failed", "le-connection-abort-by-local".to_owned()));
            }
            (fault, device.spec.connect_ms)
        };
        match fault {
            Some(Fault::Unresponsive) => return Ok(Answer::Silence),
            Some(Fault::ConnectionAbort) => {
                return Err(Refusal("Failed", "le-connection-abort-by-local".to_owned()));
            }
            Some(Fault::Slow(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let (path, attributes) = {
            let mut model = self.model();
            let device = &mut model.devices[index];
            device.connected = true;
            device.resolved = true;
            let connected = model
                .devices
                .iter()
                .filter(|device| device.connected)
                .count() as u64;
            model.counters.most_connected = model.counters.most_connected.max(connected);
            let device = &model.devices[index];
            (device.path.clone(), model.attributes(device))
        };
        self.changed(
            &path,
            DEVICE,
            Properties::from([("Connected", Variant::from(true))]),
        )
        .await;
        for (object, interfaces) in attributes {
            self.added(&object, interfaces).await;
        }
        let resolved = Properties::from([("ServicesResolved", Variant::from(true))]);
        self.changed(&path, DEVICE, resolved).await;
        Ok(Answer::Nothing)
    }

    /// The connection ends, from whichever side.
    pub(crate) async fn disconnect(&self, index: usize) {
        let path = {
            let mut model = self.model();
            let device = &mut model.devices[index];
            if !device.connected {
                return;
            }
            device.connected = false;
            device.resolved = false;
            for service in &mut device.services {
                for characteristic in &mut service.characteristics {
                    characteristic.subscribers.clear();
                }
            }
            device.path.clone()
        };
        let resolved = Properties::from([("ServicesResolved", Variant::from(false))]);
        self.changed(&path, DEVICE, resolved).await;
        self.changed(
            &path,
            DEVICE,
            Properties::from([("Connected", Variant::from(false))]),
        )
        .await;
    }

    async fn pair(&self, index: usize) -> Result<Answer, Refusal> {
        let (path, passkey, agent) = {
            let mut model = self.model();
            model.counters.pairings += 1;
            let agent = model.agent.clone();
            let device = &model.devices[index];
            if device.paired {
                return Err(Refusal("AlreadyExists", "Already Exists".to_owned()));
            }
            (device.path.clone(), device.spec.passkey, agent)
        };
        if let Some(passkey) = passkey {
            let failed = || Refusal("AuthenticationFailed", "Authentication Failed".to_owned());
            let (owner, agent) = agent.ok_or_else(failed)?;
            let device = ObjectPath::from_string_unchecked(path.clone());
            let answer = self
                .connection
                .call_method(
                    Some(&owner[..]),
                    &agent[..],
                    Some("org.bluez.Agent1"),
                    "RequestPasskey",
                    &(device,),
                )
                .await;
            let entered: Option<u32> = answer
                .ok()
                .and_then(|answer| answer.body().deserialize().ok());
            if entered != Some(passkey) {
                return Err(failed());
            }
        }
        self.model().devices[index].paired = true;
        let paired = Properties::from([
            ("Paired", Variant::from(true)),
            ("Bonded", Variant::from(true)),
        ]);
        self.changed(&path, DEVICE, paired).await;
        Ok(Answer::Nothing)
    }

    /// BlueZ drops what it knows of a device.
    pub(crate) async fn forget(&self, path: &str) {
        let index = self
            .model()
            .devices
            .iter()
            .position(|device| device.path == path);
        let Some(index) = index else { return };
        self.disconnect(index).await;
        let attributes = {
            let mut model = self.model();
            let attributes = model.attributes(&model.devices[index]);
            let device = &mut model.devices[index];
            device.paired = false;
            if !std::mem::take(&mut device.known) {
                return;
            }
            attributes
        };
        for (object, _) in attributes {
            let kind = if object.contains("/char") {
                CHARACTERISTIC
            } else {
                SERVICE
            };
            self.removed(&object, kind).await;
        }
        self.removed(path, DEVICE).await;
    }

    /// Switches an adapter.
    pub(crate) async fn power(&self, path: &str, powered: bool) {
        let devices: Vec<usize> = {
            let mut model = self.model();
            let Some(adapter) = model.adapters.get_mut(path) else {
                return;
            };
            adapter.powered = powered;
            adapter.sessions.clear();
            let of = |device: &crate::model::Device| device.adapter == path;
            (0..model.devices.len())
                .filter(|index| of(&model.devices[*index]))
                .collect()
        };
        if !powered {
            for index in devices {
                self.disconnect(index).await;
            }
        }
        let changed = Properties::from([
            ("Powered", Variant::from(powered)),
            ("Discovering", Variant::from(false)),
        ]);
        self.changed(path, ADAPTER, changed).await;
    }

    /// Pulls an adapter, or puts it in again.
    pub(crate) async fn plug(&self, path: &str, present: bool) {
        let (was, devices, properties) = {
            let mut model = self.model();
            let devices: Vec<String> = model
                .devices
                .iter()
                .filter(|device| device.adapter == path)
                .map(|device| device.path.clone())
                .collect();
            let Some(adapter) = model.adapters.get_mut(path) else {
                return;
            };
            adapter.sessions.clear();
            let was = std::mem::replace(&mut adapter.present, present);
            (was, devices, adapter.properties())
        };
        if was == present {
            return;
        }
        if present {
            self.added(path, vec![(ADAPTER, properties)]).await;
            return;
        }
        for device in devices {
            self.forget(&device).await;
        }
        self.removed(path, ADAPTER).await;
    }

    /// bluetoothd ends: nobody is told but by the bus.
    pub(crate) async fn end(&self) {
        {
            let mut model = self.model();
            model.running = false;
            model.agent = None;
            for adapter in model.adapters.values_mut() {
                adapter.sessions.clear();
            }
            for device in &mut model.devices {
                device.connected = false;
                device.resolved = false;
                device.known = device.paired;
                for service in &mut device.services {
                    for characteristic in &mut service.characteristics {
                        characteristic.subscribers.clear();
                    }
                }
            }
        }
        if let Err(error) = self.connection.release_name(NAME).await {
            tracing::warn!(%error, "the name stays");
        }
    }

    /// … and begins again.
    pub(crate) async fn begin(&self) {
        self.model().running = true;
        if let Err(error) = self.connection.request_name(NAME).await {
            tracing::warn!(%error, "the name is not to be had");
        }
    }

    /// The device's services are found anew, as after an update of its firmware.
    pub(crate) async fn change_services(&self, index: usize) {
        let path = self.model().devices[index].path.clone();
        for resolved in [false, true] {
            self.model().devices[index].resolved = resolved;
            let resolved = Properties::from([("ServicesResolved", Variant::from(resolved))]);
            self.changed(&path, DEVICE, resolved).await;
        }
    }

    /// One packet of a device, if anybody listens.
    async fn send_packet(&self, index: usize) {
        let (path, is_new, properties) = {
            let mut model = self.model();
            let device = &model.devices[index];
            let listened = model
                .adapters
                .get(&device.adapter)
                .is_some_and(|adapter| !adapter.sessions.is_empty());
            let silent = || {
                self.faults
                    .strike(&device.names(), Act::Advertise, Instant::now())
                    .is_some()
            };
            if !listened || !model.is_up(device) || device.connected || silent() {
                return;
            }
            let mut properties = model.packet(index);
            model.counters.adverts += 1;
            let is_new = !std::mem::replace(&mut model.devices[index].known, true);
            if is_new {
                properties.extend(model.device_properties(&model.devices[index]));
            }
            (model.devices[index].path.clone(), is_new, properties)
        };
        if is_new {
            self.added(&path, vec![(DEVICE, properties)]).await;
        } else {
            self.changed(&path, DEVICE, properties).await;
        }
    }
}

/// Sends a device's packets until the simulator stops.
pub(crate) async fn advertise(server: Arc<Server>, index: usize, mut stop: Stopping) {
    let every = server.model().devices[index].spec.advertise_ms;
    if every == 0 {
        return;
    }
    let mut ticks = tokio::time::interval(Duration::from_millis(every));
    loop {
        tokio::select! {
            () = stop.told() => return,
            _ = ticks.tick() => server.send_packet(index).await,
        }
    }
}

/// Sends a characteristic's notifications until the simulator stops.
pub(crate) async fn notify(server: Arc<Server>, place: (usize, usize, usize), mut stop: Stopping) {
    let (d, s, c) = place;
    let every = server.model().devices[d].services[s].characteristics[c].notify_ms;
    let mut ticks = tokio::time::interval(Duration::from_millis(every));
    loop {
        tokio::select! {
            () = stop.told() => return,
            _ = ticks.tick() => {}
        }
        let (path, bytes) = {
            let mut model = server.model();
            let device = &model.devices[d];
            let characteristic = &device.services[s].characteristics[c];
            let silent = server
                .faults
                .is_unresponsive(&device.names(), Instant::now());
            if characteristic.subscribers.is_empty() || !device.connected || silent {
                continue;
            }
            let path = characteristic.path.clone();
            model.counters.notifications += 1;
            (path, model.value(place))
        };
        let value = Properties::from([("Value", Variant::from(bytes))]);
        server.changed(&path, CHARACTERISTIC, value).await;
    }
}

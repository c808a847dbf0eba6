//! The objects of `org.bluez`, answered by hand: they come and go with the
//! scenario, so no fixed set of classes would fit them.

mod attributes;
mod devices;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt;
use longshore_sim_world::run::{Stopping, joined};
use serde::{Serialize, de::DeserializeOwned};
use tokio::task::JoinSet;
use zbus::{
    Connection, DynamicType, Message, MessageStream, ObjectPath, OwnedObjectPath, OwnedVariant,
    Variant, message::Type,
};

use crate::{
    fault::Faults,
    introspect,
    model::{ADAPTER, CHARACTERISTIC, DEVICE, Model, Properties},
};

pub(crate) use devices::{advertise, notify};

pub(crate) const NAME: &str = "org.bluez";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const MANAGER: &str = "org.freedesktop.DBus.ObjectManager";

/// The simulated bluetoothd.
pub(crate) struct Server {
    pub(crate) connection: Connection,
    pub(crate) model: Mutex<Model>,
    pub(crate) faults: Faults,
}

/// A refusal: the end of its name, and what it says.
pub(crate) struct Refusal(pub(crate) &'static str, pub(crate) String);

impl Refusal {
    fn full_name(&self) -> String {
        match self.0 {
            "UnknownMethod" | "UnknownObject" | "UnknownInterface" | "UnknownProperty"
            | "PropertyReadOnly" | "InvalidArgs" => {
                format!("org.freedesktop.DBus.Error.{}", self.0)
            }
            other => format!("org.bluez.Error.{other}"),
        }
    }
}

/// What a call is answered with.
pub(crate) enum Answer {
    Nothing,
    Bytes(Vec<u8>),
    Text(String),
    Texts(Vec<&'static str>),
    Value(Variant<'static>),
    Values(Properties),
    Objects(Objects),
    /// Never.
    Silence,
}

type Objects = HashMap<ObjectPath<'static>, HashMap<&'static str, Properties>>;

/// One call, taken apart.
pub(crate) struct Call {
    pub(crate) sender: String,
    pub(crate) path: String,
    interface: String,
    member: String,
    message: Message,
}

impl Call {
    pub(crate) fn argument<T>(&self) -> Result<T, Refusal>
    where
        T: DeserializeOwned + zbus::Type,
    {
        let body = self.message.body();
        let found = body.deserialize::<T>();
        found.map_err(|error| Refusal("InvalidArgs", error.to_string()))
    }
}

impl Server {
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers calls until the simulator stops.
    pub(crate) async fn run(self: Arc<Self>, mut stream: MessageStream, mut stop: Stopping) {
        let mut answers = JoinSet::new();
        loop {
            let message = tokio::select! {
                () = stop.told() => return,
                Some(ended) = answers.join_next() => {
                    joined(ended);
                    continue;
                }
                next = stream.next() => match next {
                    Some(Ok(message)) => message,
                    _ => return,
                },
            };
            match message.message_type() {
                // A slow device holds up nobody else.
                Type::MethodCall => {
                    answers.spawn(Arc::clone(&self).answer(message));
                }
                Type::Signal => self.peer_left(&message),
                _ => {}
            }
        }
    }

    /// A client that leaves the bus takes its discovery and its notifications along.
    fn peer_left(&self, message: &Message) {
        let header = message.header();
        if header
            .member()
            .is_none_or(|member| member.as_str() != "NameOwnerChanged")
        {
            return;
        }
        let Ok((name, _, new)) = message.body().deserialize::<(String, String, String)>() else {
            return;
        };
        if !new.is_empty() {
            return;
        }
        let mut model = self.model();
        for adapter in model.adapters.values_mut() {
            adapter.sessions.remove(&name);
        }
        for device in &mut model.devices {
            for service in &mut device.services {
                for characteristic in &mut service.characteristics {
                    characteristic.subscribers.remove(&name);
                }
            }
        }
        model.agent.take_if(|(owner, _)| *owner == name);
    }

    async fn answer(self: Arc<Self>, message: Message) {
        let header = message.header();
        let part = |part: Option<&str>| part.unwrap_or_default().to_owned();
        let call = Call {
            sender: part(header.sender().map(|name| name.as_str())),
            path: part(header.path().map(|path| path.as_str())),
            interface: part(header.interface().map(|name| name.as_str())),
            member: part(header.member().map(|name| name.as_str())),
            message: message.clone(),
        };
        if !self.model().running {
            return;
        }
        let bus = &self.connection;
        // Who has left needs no answer.
        let _ = match self.carry_out(&call).await {
            Ok(Answer::Nothing) => bus.reply(&header, &()).await,
            Ok(Answer::Bytes(bytes)) => bus.reply(&header, &bytes).await,
            Ok(Answer::Text(text)) => bus.reply(&header, &text).await,
            Ok(Answer::Texts(texts)) => bus.reply(&header, &texts).await,
            Ok(Answer::Value(value)) => bus.reply(&header, &value).await,
            Ok(Answer::Values(values)) => bus.reply(&header, &values).await,
            Ok(Answer::Objects(objects)) => bus.reply(&header, &objects).await,
            Ok(Answer::Silence) => Ok(()),
            Err(refusal) => {
                bus.reply_error(&header, refusal.full_name(), &refusal.1)
                    .await
            }
        };
    }

    async fn carry_out(&self, call: &Call) -> Result<Answer, Refusal> {
        match (&call.interface[..], &call.member[..]) {
            (MANAGER, "GetManagedObjects") if call.path == "/" => {
                Ok(Answer::Objects(self.objects()))
            }
            ("org.freedesktop.DBus.Introspectable", "Introspect") => {
                Ok(Answer::Text(self.introspect(&call.path)))
            }
            ("org.freedesktop.DBus.Peer", "Ping") => Ok(Answer::Nothing),
            (PROPERTIES, "Get") => {
                let (interface, name): (String, String) = call.argument()?;
                let mut all = self.properties(&call.path, &interface)?;
                let found = all.remove(&name[..]);
                found
                    .map(Answer::Value)
                    .ok_or_else(|| Refusal("UnknownProperty", format!("no property {name}")))
            }
            (PROPERTIES, "GetAll") => {
                let interface: String = call.argument()?;
                Ok(Answer::Values(self.properties(&call.path, &interface)?))
            }
            (PROPERTIES, "Set") => self.set(call).await,
            ("org.bluez.AgentManager1", _) => self.agents(call),
            (ADAPTER, _) => self.adapter(call).await,
            (DEVICE, _) => self.device(call).await,
            (CHARACTERISTIC, _) => self.characteristic(call).await,
            _ => Err(unknown(call)),
        }
    }

    fn objects(&self) -> Objects {
        let objects = self.model().objects();
        objects
            .into_iter()
            .map(|(path, interfaces)| {
                let path = ObjectPath::from_string_unchecked(path);
                (path, interfaces.into_iter().collect())
            })
            .collect()
    }

    fn properties(&self, path: &str, interface: &str) -> Result<Properties, Refusal> {
        let objects = self.model().objects();
        let (_, interfaces) = objects
            .into_iter()
            .find(|(of, _)| of == path)
            .ok_or_else(|| Refusal("UnknownObject", format!("no object {path}")))?;
        let found = interfaces.into_iter().find(|(name, _)| *name == interface);
        found
            .map(|(_, properties)| properties)
            .ok_or_else(|| Refusal("UnknownInterface", format!("no interface {interface}")))
    }

    fn introspect(&self, path: &str) -> String {
        let objects = self.model().objects();
        let below = format!("{}/", path.trim_end_matches('/'));
        let mut nodes: Vec<String> = objects
            .iter()
            .filter_map(|(of, _)| of.strip_prefix(&below))
            .filter_map(|rest| rest.split('/').next())
            .map(str::to_owned)
            .collect();
        nodes.sort();
        nodes.dedup();
        let own = objects.iter().find(|(of, _)| of == path);
        let interfaces: Vec<&str> = own
            .into_iter()
            .flat_map(|(_, interfaces)| interfaces.iter().map(|(name, _)| *name))
            .collect();
        introspect::xml(path == "/", &interfaces, &nodes)
    }

    async fn set(&self, call: &Call) -> Result<Answer, Refusal> {
        let (interface, name, value): (String, String, OwnedVariant) = call.argument()?;
        let truth = match &*value {
            Variant::Bool(truth) => *truth,
            _ => {
                return Err(Refusal(
                    "InvalidArguments",
                    "expected a truth value".to_owned(),
                ));
            }
        };
        match (&interface[..], &name[..]) {
            (ADAPTER, "Powered") => self.power(&call.path, truth).await,
            (DEVICE, "Trusted") => {
                {
                    let mut model = self.model();
                    let device = model
                        .devices
                        .iter_mut()
                        .find(|device| device.path == call.path);
                    device.ok_or_else(|| unknown(call))?.trusted = truth;
                }
                self.changed(
                    &call.path,
                    DEVICE,
                    Properties::from([("Trusted", Variant::from(truth))]),
                )
                .await;
            }
            _ => return Err(Refusal("PropertyReadOnly", format!("{name} cannot be set"))),
        }
        Ok(Answer::Nothing)
    }

    fn agents(&self, call: &Call) -> Result<Answer, Refusal> {
        let mut model = self.model();
        match &call.member[..] {
            "RegisterAgent" => {
                let (path, _): (OwnedObjectPath, String) = call.argument()?;
                if model
                    .agent
                    .as_ref()
                    .is_some_and(|(owner, _)| *owner == call.sender)
                {
                    return Err(Refusal("AlreadyExists", "Already Exists".to_owned()));
                }
                model.agent = Some((call.sender.clone(), path.as_str().to_owned()));
            }
            "UnregisterAgent" => {
                model.agent.take_if(|(owner, _)| *owner == call.sender);
            }
            "RequestDefaultAgent" => {}
            _ => return Err(unknown(call)),
        }
        Ok(Answer::Nothing)
    }

    async fn adapter(&self, call: &Call) -> Result<Answer, Refusal> {
        {
            let mut model = self.model();
            let Some(adapter) = model
                .adapters
                .get_mut(&call.path)
                .filter(|adapter| adapter.present)
            else {
                return Err(unknown(call));
            };
            match &call.member[..] {
                "SetDiscoveryFilter" => {
                    call.argument::<(HashMap<String, OwnedVariant>,)>()?;
                    return Ok(Answer::Nothing);
                }
                "GetDiscoveryFilters" => {
                    return Ok(Answer::Texts(vec![
                        "UUIDs",
                        "RSSI",
                        "Transport",
                        "DuplicateData",
                    ]));
                }
                "StartDiscovery" if !adapter.powered => {
                    return Err(Refusal("NotReady", "Resource Not Ready".to_owned()));
                }
                "StartDiscovery" => {
                    if !adapter.sessions.insert(call.sender.clone()) {
                        return Err(Refusal(
                            "InProgress",
                            "Operation already in progress".to_owned(),
                        ));
                    }
                }
                "StopDiscovery" => {
                    if !adapter.sessions.remove(&call.sender) {
                        return Err(Refusal("Failed", "No discovery started".to_owned()));
                    }
                }
                "RemoveDevice" => {}
                _ => return Err(unknown(call)),
            }
        }
        if call.member == "RemoveDevice" {
            let path: OwnedObjectPath = call.argument()?;
            self.forget(path.as_str()).await;
        } else {
            let discovering = call.member == "StartDiscovery";
            let changed = Properties::from([("Discovering", Variant::from(discovering))]);
            self.changed(&call.path, ADAPTER, changed).await;
        }
        Ok(Answer::Nothing)
    }

    /// Tells that properties have changed.
    pub(crate) async fn changed(&self, path: &str, interface: &str, properties: Properties) {
        let body = (interface, properties, Vec::<&str>::new());
        self.emit(path, PROPERTIES, "PropertiesChanged", &body)
            .await;
    }

    /// Tells that an object is there.
    pub(crate) async fn added(&self, path: &str, interfaces: Vec<(&'static str, Properties)>) {
        let interfaces: HashMap<_, _> = interfaces.into_iter().collect();
        let body = (
            ObjectPath::from_string_unchecked(path.to_owned()),
            interfaces,
        );
        self.emit("/", MANAGER, "InterfacesAdded", &body).await;
    }

    /// Tells that an object is no more.
    pub(crate) async fn removed(&self, path: &str, interface: &str) {
        let body = (
            ObjectPath::from_string_unchecked(path.to_owned()),
            vec![interface],
        );
        self.emit("/", MANAGER, "InterfacesRemoved", &body).await;
    }

    async fn emit<B: Serialize + DynamicType>(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        body: &B,
    ) {
        let sent = self
            .connection
            .emit_signal(None::<&str>, path, interface, member, body)
            .await;
        if let Err(error) = sent {
            tracing::debug!(%error, path, member, "nobody was told");
        }
    }
}

pub(crate) fn unknown(call: &Call) -> Refusal {
    let message = format!(
        "no method {} of {} at {}",
        call.member, call.interface, call.path
    );
    Refusal("UnknownMethod", message)
}

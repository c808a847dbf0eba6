//! The connection to the bus: calls, and the signals that keep the tree.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures::StreamExt;
use longshore_sdk::RequestError;
use serde::Serialize;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};
use zbus::{Connection, DynamicType, Message, MessageStream, OwnedObjectPath, message::Type};

use super::{
    agent,
    inbox::{Event, Inbox},
    request_error, scan,
    tree::{self, Change, Interfaces, Properties, Tree},
};
use crate::bus::Target;

const BLUEZ: &str = "org.bluez";
const BUS: &str = "org.freedesktop.DBus";
/// A busy place has some hundred packets in a second.
const QUEUE: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// How long BlueZ may take to say what there is.
const SNAPSHOT: Duration = Duration::from_secs(5);
/// Signals that are kept meanwhile: more than a busy place has in that time.
const MOST_KEPT: usize = 4096;
/// How long until it is asked again, when it did not; the pauses grow.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is known, and who wants to know.
#[derive(Default)]
pub(super) struct State {
    /// bluetoothd's unique name, once its objects are known.
    owner: Option<String>,
    /// It is on the bus, and has not said yet what there is.
    unanswered: bool,
    pub(super) tree: Tree,
    inboxes: Vec<Weak<Inbox>>,
    /// Devices that are being paired, with their passkeys.
    pub(super) passkeys: HashMap<String, Option<u32>>,
    /// How many want each adapter to listen.
    pub(super) wanted: HashMap<String, usize>,
    /// The adapters that listen for us.
    pub(super) scanning: BTreeSet<String>,
    /// How many links use each connected device.
    users: HashMap<String, usize>,
}

/// An open connection to the bus.
pub struct Client {
    connection: Connection,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    pub(super) scans: Arc<Notify>,
}

impl Client {
    /// Connects, and learns what there is.
    pub(super) async fn open(address: Option<&str>) -> zbus::Result<Arc<Self>> {
        let builder = match address {
            Some(address) => zbus::connection::Builder::address(address),
            None => zbus::connection::Builder::system(),
        };
        let connection = builder.max_queued(QUEUE).build().await?;
        let stream = MessageStream::from(&connection);
        let client = Arc::new(Self {
            connection,
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            scans: Arc::new(Notify::new()),
        });
        // One stream for all, because the order between signals counts: a
        // device is added before it changes.
        for rule in [
            "type='signal',sender='org.bluez'",
            "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.bluez'",
        ] {
            let bus = &client.connection;
            bus.call_method(
                Some(BUS),
                "/org/freedesktop/DBus",
                Some(BUS),
                "AddMatch",
                &(rule,),
            )
            .await?;
        }
        let mut reader = Reader {
            client: Arc::downgrade(&client),
            stream,
            kept: VecDeque::new(),
            again: None,
            pause: FIRST_PAUSE,
        };
        reader.load(&client).await;
        tokio::spawn(reader.run());
        tokio::spawn(scan::keep(Arc::downgrade(&client)));
        Ok(client)
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether the bus is still there.
    pub fn is_open(&self) -> bool {
        !self.connection.is_closed()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what there is.
    pub fn look<T>(&self, at: impl FnOnce(&Tree) -> T) -> T {
        at(&self.state().tree)
    }

    /// Waits until what there is gives something; `None` when it does not in time.
    pub async fn wait<T>(
        &self,
        deadline: Instant,
        mut found: impl FnMut(&Tree) -> Option<T>,
    ) -> Option<T> {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(found) = self.look(&mut found) {
                return Some(found);
            }
            match timeout_at(deadline, changed.changed()).await {
                Ok(Ok(())) => {}
                _ => return None,
            }
        }
    }

    /// The object of an adapter that can be used.
    ///
    /// # Errors
    /// `Line`: what is missing.
    pub fn adapter(&self, name: Option<&str>) -> Result<String, RequestError> {
        let state = self.state();
        if state.unanswered {
            return Err(RequestError::Line(
                "bluetoothd does not say what there is; it is asked again".to_owned(),
            ));
        }
        if state.owner.is_none() {
            return Err(RequestError::Line(
                "bluetoothd is not on the bus; try `systemctl start bluetooth`".to_owned(),
            ));
        }
        state.tree.adapter(name).map_err(RequestError::Line)
    }

    /// A place for what happens to a device from now on.
    pub fn inbox(&self, adapter: &str, target: &Target) -> Arc<Inbox> {
        let inbox = Arc::new(Inbox::new(adapter.to_owned(), target.clone()));
        let mut state = self.state();
        state.inboxes.retain(|inbox| inbox.strong_count() > 0);
        state.inboxes.push(Arc::downgrade(&inbox));
        inbox
    }

    /// Calls a method of BlueZ.
    pub(crate) async fn call<B>(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        body: &B,
    ) -> zbus::Result<Message>
    where
        B: Serialize + DynamicType,
    {
        self.connection
            .call_method(Some(BLUEZ), path, Some(interface), member, body)
            .await
    }

    /// Calls a method of BlueZ with a limit, in the words of the SDK.
    pub(crate) async fn ask<B: Serialize + DynamicType>(
        &self,
        what: &str,
        deadline: Instant,
        (path, interface, member): (&str, &str, &str),
        body: &B,
    ) -> Result<Message, RequestError> {
        match timeout_at(deadline, self.call(path, interface, member, body)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(request_error(what, &error)),
            Err(_) => Err(RequestError::Timeout(format!("{what} took too long"))),
        }
    }

    /// Pairs a device, answering for it with the passkey.
    pub(crate) async fn pair(
        &self,
        device: &str,
        passkey: Option<u32>,
        deadline: Instant,
    ) -> Result<(), RequestError> {
        let registered = self.register_agent().await;
        registered.map_err(|error| request_error("registering for pairing", &error))?;
        self.state().passkeys.insert(device.to_owned(), passkey);
        let paired = self
            .ask("pairing", deadline, (device, tree::DEVICE, "Pair"), &())
            .await;
        self.state().passkeys.remove(device);
        match paired {
            Err(RequestError::Refused(text))
                if text.contains("AlreadyExists") || text.contains("Already Exists") =>
            {
                Ok(())
            }
            Err(RequestError::Refused(text)) => Err(RequestError::Line(text)),
            other => other.map(drop),
        }
    }

    /// One more link uses a connected device.
    pub(crate) fn use_device(&self, device: &str) {
        *self.state().users.entry(device.to_owned()).or_default() += 1;
    }

    /// Whether any link uses it.
    pub(crate) fn is_used(&self, device: &str) -> bool {
        self.state().users.contains_key(device)
    }

    /// A link uses it no more; `true` if it was the last.
    pub(crate) fn leave_device(&self, device: &str) -> bool {
        let mut state = self.state();
        let Some(count) = state.users.get_mut(device) else {
            return false;
        };
        *count -= 1;
        let last = *count == 0;
        if last {
            state.users.remove(device);
        }
        last
    }

    /// Tells the inboxes, and those who wait for the tree.
    fn tell(&self, state: &mut State, changes: Vec<Change>) {
        for change in changes {
            for inbox in state.inboxes.iter().filter_map(Weak::upgrade) {
                let is_meant = change
                    .device
                    .as_ref()
                    .is_none_or(|device| device.is(&inbox.target));
                if inbox.adapter == change.adapter && is_meant {
                    inbox.put(change.event.clone());
                }
            }
            if change.event == Event::AdapterDown {
                state.scanning.remove(&change.adapter);
            }
        }
    }

    fn lose_bluez(&self) {
        let mut state = self.state();
        state.owner = None;
        state.unanswered = false;
        state.tree = Tree::default();
        state.scanning.clear();
        for inbox in state.inboxes.iter().filter_map(Weak::upgrade) {
            inbox.put(Event::Gone);
        }
        drop(state);
        self.changed.send_replace(());
    }
}

/// Whether bluetoothd is not on the bus at all.
fn is_absent(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::MethodError(name, ..) => name.ends_with(".NameHasNoOwner"),
        zbus::Error::FDO(error) => matches!(**error, zbus::fdo::Error::NameHasNoOwner(_)),
        _ => false,
    }
}

/// Reads the bus until it or the client ends.
struct Reader {
    client: Weak<Client>,
    stream: MessageStream,
    /// Signals that came while BlueZ was saying what there is.
    kept: VecDeque<Message>,
    /// When BlueZ is asked again for what there is.
    again: Option<Instant>,
    /// The pause before the asking after that.
    pause: Duration,
}

impl Reader {
    async fn run(mut self) {
        loop {
            let next = match self.kept.pop_front() {
                Some(kept) => Some(Ok(kept)),
                None => match self.next().await {
                    Some(next) => next,
                    None => {
                        let Some(client) = self.client.upgrade() else {
                            return;
                        };
                        self.load(&client).await;
                        continue;
                    }
                },
            };
            let Some(client) = self.client.upgrade() else {
                return;
            };
            match next {
                Some(Ok(message)) => self.take(&client, &message).await,
                Some(Err(_)) | None => {
                    client.lose_bluez();
                    return;
                }
            }
        }
    }

    /// The next message; `None` when BlueZ is to be asked again before it comes.
    async fn next(&mut self) -> Option<Option<zbus::Result<Message>>> {
        match self.again {
            Some(at) => timeout_at(at, self.stream.next()).await.ok(),
            None => Some(self.stream.next().await),
        }
    }

    /// Asks again later. Until then devices are told that there is no answer.
    fn put_off(&mut self, client: &Client) {
        client.state().unanswered = true;
        self.again = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Asks BlueZ for all objects. Signals that come meanwhile are kept, so
    /// that they are applied after the answer, and only if they are newer.
    async fn load(&mut self, client: &Arc<Client>) {
        let owner = async {
            let bus = client.connection();
            let answer = bus
                .call_method(
                    Some(BUS),
                    "/org/freedesktop/DBus",
                    Some(BUS),
                    "GetNameOwner",
                    &(BLUEZ,),
                )
                .await?;
            let owner: String = answer.body().deserialize()?;
            let objects = client
                .call(
                    "/",
                    "org.freedesktop.DBus.ObjectManager",
                    "GetManagedObjects",
                    &(),
                )
                .await?;
            Ok::<_, zbus::Error>((owner, objects))
        };
        let deadline = Instant::now() + SNAPSHOT;
        let mut owner = std::pin::pin!(timeout_at(deadline, owner));
        let found = loop {
            tokio::select! {
                found = &mut owner => break found,
                next = self.stream.next() => match next {
                    Some(Ok(message)) if self.kept.len() < MOST_KEPT => {
                        self.kept.push_back(message);
                    }
                    Some(Ok(_)) => {
                        self.kept.clear();
                        return self.put_off(client);
                    }
                    _ => return,
                },
            }
        };
        self.again = None;
        let (owner, answer) = match found {
            Ok(Ok(found)) => found,
            // Its coming will be told.
            Ok(Err(error)) if is_absent(&error) => return,
            _ => return self.put_off(client),
        };
        self.pause = FIRST_PAUSE;
        let objects: HashMap<OwnedObjectPath, Interfaces> =
            answer.body().deserialize().unwrap_or_default();
        let newest = answer.recv_position();
        self.kept.retain(|message| message.recv_position() > newest);
        let mut state = client.state();
        state.owner = Some(owner);
        state.unanswered = false;
        state.tree = Tree::default();
        for (path, interfaces) in &objects {
            for (interface, properties) in interfaces {
                state.tree.put(path.as_str(), interface, properties, false);
            }
        }
        drop(state);
        client.changed.send_replace(());
        client.scans.notify_one();
    }

    async fn take(&mut self, client: &Arc<Client>, message: &Message) {
        let header = message.header();
        let (Some(path), Some(member)) = (header.path(), header.member()) else {
            return;
        };
        let interface = header.interface().map_or("", |name| name.as_str());
        match message.message_type() {
            Type::Signal => {
                self.signal(client, message, (path.as_str(), interface, member.as_str()))
                    .await
            }
            Type::MethodCall if path.as_str() == agent::PATH => {
                let body = message.body();
                let asked: (OwnedObjectPath, u32) = body
                    .deserialize()
                    .or_else(|_| {
                        body.deserialize()
                            .map(|path: OwnedObjectPath| (path, u32::MAX))
                    })
                    .unwrap_or_default();
                let shown = (asked.1 != u32::MAX).then_some(asked.1);
                let answer = agent::answer(
                    &client.state(),
                    member.as_str(),
                    Some(asked.0.as_str()),
                    shown,
                );
                // Who does not wait for the answer any more needs none.
                let _ = client.reply_as_agent(&header, answer).await;
            }
            _ => {}
        }
    }

    async fn signal(
        &mut self,
        client: &Arc<Client>,
        message: &Message,
        (path, interface, member): (&str, &str, &str),
    ) {
        let body = message.body();
        if (interface, member) == (BUS, "NameOwnerChanged") {
            if let Ok((_, _, new)) = body.deserialize::<(String, String, String)>() {
                client.lose_bluez();
                if !new.is_empty() {
                    self.load(client).await;
                }
            }
            return;
        }
        let mut state = client.state();
        let from = message
            .header()
            .sender()
            .map(|name| name.as_str().to_owned());
        if from.is_none() || from != state.owner {
            return;
        }
        let mut changes = Vec::new();
        match (interface, member) {
            ("org.freedesktop.DBus.Properties", "PropertiesChanged") => {
                if let Ok((of, properties, _)) =
                    body.deserialize::<(String, Properties, Vec<String>)>()
                {
                    changes = state.tree.put(path, &of, &properties, true);
                }
            }
            ("org.freedesktop.DBus.ObjectManager", "InterfacesAdded") => {
                if let Ok((of, interfaces)) = body.deserialize::<(OwnedObjectPath, Interfaces)>() {
                    for (interface, properties) in &interfaces {
                        changes.extend(state.tree.put(of.as_str(), interface, properties, true));
                    }
                }
            }
            ("org.freedesktop.DBus.ObjectManager", "InterfacesRemoved") => {
                if let Ok((of, interfaces)) = body.deserialize::<(OwnedObjectPath, Vec<String>)>() {
                    for interface in &interfaces {
                        changes.extend(state.tree.remove(of.as_str(), interface));
                    }
                }
            }
            _ => return,
        }
        client.tell(&mut state, changes);
        drop(state);
        client.changed.send_replace(());
        if path.matches('/').count() <= 3 {
            // An adapter came or was switched on: listening may begin anew.
            client.scans.notify_one();
        }
    }
}

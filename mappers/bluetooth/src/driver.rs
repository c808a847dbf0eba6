//! The open way to one device: connected, or listening for it.

mod opening;

use std::{collections::HashMap, sync::Arc, time::Duration};

use longshore_sdk::{
    Connection, Reason, Received, RequestError, SampleValue, Samples, WatchPoint, Watched,
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};
use zbus::Variant;

use crate::{
    advert::{Advert, Format, Seal},
    bluez::{self, Client, Event, Inbox, Scan, tree},
    bus::{Bus, Target, Unit},
    config::Bluetooth,
    point::{MAX_VALUE, Meaning, Place, Point, Source, WriteType},
    uuid::Uuid,
};

/// BlueZ takes the services back a moment before it says that the connection
/// has ended; that long it is not known which of the two it is.
const UNRESOLVED: Duration = Duration::from_millis(500);

const DISCONNECTED: &str = "the device has disconnected";

/// One exchange: a characteristic, or what was heard.
#[derive(Debug)]
pub struct Request {
    /// The characteristic; `None` for advertisements.
    pub place: Option<Place>,
    /// Its points.
    pub points: Vec<(u32, Point)>,
}

/// A point that comes by itself.
struct Watching {
    id: u32,
    point: Point,
    interval: Option<Duration>,
    sent: Option<Instant>,
}

/// The way to one device.
pub struct Link {
    client: Arc<Client>,
    bus: Bus,
    inbox: Arc<Inbox>,
    /// The connected device; `None` when listening is enough.
    device: Option<Connected>,
    watching: Vec<Watching>,
    /// The characteristics that notify, by their objects: one may be meant with
    /// its service and without.
    notifying: HashMap<String, Vec<Place>>,
    /// What was heard so far, and when last.
    heard: Advert,
    heard_ns: Option<i64>,
    /// The latest values that came by themselves.
    latest: HashMap<Place, (Vec<u8>, i64)>,
    /// When silence is long enough; `None` after it was told.
    silent_at: Option<Instant>,
    /// Of BTHome: the packet whose events were told.
    packet: Option<crate::value::Value>,
    /// The services were taken back: until then it may be the end of the connection.
    unresolved_until: Option<Instant>,
    broken: bool,
    _scan: Option<Scan>,
}

/// A connected device; it is let go some time after the last link to it ended.
struct Connected {
    client: Arc<Client>,
    path: String,
    permit: Option<OwnedSemaphorePermit>,
}

/// A device that is configured anew, or whose mapper is replaced by a newer
/// version, is wanted again at once: making a connection takes seconds.
const LINGER: Duration = Duration::from_secs(2);

impl Drop for Connected {
    fn drop(&mut self) {
        let is_last = self.client.leave_device(&self.path);
        let path = std::mem::take(&mut self.path);
        let is_connected = |client: &Client| {
            client.look(|tree| {
                tree.devices
                    .get(&path)
                    .is_some_and(|device| device.connected)
            })
        };
        if !is_last || !is_connected(&self.client) {
            return;
        }
        let (client, permit) = (Arc::clone(&self.client), self.permit.take());
        // When the whole mapper ends nobody is left to carry it out: the
        // device stays connected, and the mapper's successor finds it so.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(LINGER).await;
                if !client.is_used(&path) {
                    let _ = client.call(&path, tree::DEVICE, "Disconnect", &()).await;
                }
                drop(permit);
            });
        }
    }
}

impl Link {
    fn deadline(&self) -> Instant {
        Instant::now() + self.bus.timeout
    }

    fn seal(&self) -> Seal<'_> {
        // A device known by its name has the address that BlueZ tells.
        let address = match &self.bus.target {
            Target::Address(address) => *address,
            target => self.client.look(|tree| {
                let found = tree.find(&self.inbox.adapter, target);
                found.map_or([0; 6], |(_, device)| device.address)
            }),
        };
        Seal {
            address,
            key: self.bus.key.as_ref(),
        }
    }

    /// The object of a characteristic, with its flags and packet size.
    fn object(&self, place: Place) -> Result<(String, Vec<String>, Option<u16>), RequestError> {
        let Some(device) = &self.device else {
            return Err(RequestError::Refused(
                "the device is not connected: it is in mode advertisement".to_owned(),
            ));
        };
        self.client.look(|tree| {
            let found = tree.characteristic(&device.path, place);
            found
                .map(|(path, known)| (path.to_owned(), known.flags.clone(), known.mtu))
                .map_err(RequestError::Refused)
        })
    }

    /// The characteristics of the connected device: object, service, UUID, flags.
    pub(crate) fn characteristics(&self) -> Vec<(String, Uuid, Uuid, Vec<String>)> {
        let Some(device) = &self.device else {
            return Vec::new();
        };
        self.client.look(|tree| {
            let all = tree.characteristics_of(&device.path).into_iter();
            all.filter_map(|(path, service, known)| {
                Some((path.to_owned(), service?, known.uuid?, known.flags.clone()))
            })
            .collect()
        })
    }

    /// The bytes of a characteristic by its object, if it gives them.
    pub(crate) async fn read_object(&self, path: &str, deadline: Instant) -> Option<Vec<u8>> {
        let options: (HashMap<&str, Variant<'_>>,) = (HashMap::new(),);
        let call = (path, tree::CHARACTERISTIC, "ReadValue");
        let answer = self
            .client
            .ask("reading", deadline, call, &options)
            .await
            .ok()?;
        answer.body().deserialize().ok()
    }

    async fn read_value(&mut self, place: Place, path: &str) -> Result<Vec<u8>, RequestError> {
        let what = format!("reading {place}");
        let options: (HashMap<&str, Variant<'_>>,) = (HashMap::new(),);
        let call = (path, tree::CHARACTERISTIC, "ReadValue");
        let answer = self
            .client
            .ask(&what, self.deadline(), call, &options)
            .await;
        let answer = answer.map_err(|error| self.failed(error))?;
        let bytes = answer.body().deserialize::<Vec<u8>>();
        bytes.map_err(|_| RequestError::Garbled(format!("{what}: no bytes")))
    }

    /// Remembers that the connection is over.
    fn failed(&mut self, error: RequestError) -> RequestError {
        self.broken |= matches!(error, RequestError::Line(_));
        error
    }

    /// Asks one characteristic to send by itself; gives its first value if it can be read.
    async fn begin(&mut self, place: Place, samples: &mut Samples) -> Result<(), RequestError> {
        let (path, flags, _) = self.object(place)?;
        if !flags
            .iter()
            .any(|flag| flag == "notify" || flag == "indicate")
        {
            let message = format!("{place} cannot notify; it can {}", flags.join(", "));
            return Err(RequestError::Refused(message));
        }
        if !self.notifying.contains_key(&path) {
            let what = format!("asking {place} to notify");
            let call = (&path[..], tree::CHARACTERISTIC, "StartNotify");
            let begun = self.client.ask(&what, self.deadline(), call, &()).await;
            begun.map_err(|error| self.failed(error))?;
        }
        let places = self.notifying.entry(path.clone()).or_default();
        if !places.contains(&place) {
            places.push(place);
        }
        if flags.iter().any(|flag| flag == "read") {
            let bytes = self.read_value(place, &path).await?;
            let now = bluez::now_ns();
            for watching in &self.watching {
                if watching.point.source == Source::Characteristic(place) {
                    watching.point.decode(watching.id, &bytes, samples, now);
                }
            }
            self.latest.insert(place, (bytes, now));
        }
        Ok(())
    }

    /// Ends what is no longer wanted.
    async fn end_others(&mut self, wanted: &[Place]) {
        for places in self.notifying.values_mut() {
            places.retain(|place| wanted.contains(place));
        }
        let over: Vec<String> = self
            .notifying
            .iter()
            .filter(|(_, places)| places.is_empty())
            .map(|(path, _)| path.clone())
            .collect();
        for path in over {
            self.notifying.remove(&path);
            let call = (&path[..], tree::CHARACTERISTIC, "StopNotify");
            // It sends for nobody then, which does no harm.
            let _ = self.client.ask("ending", self.deadline(), call, &()).await;
        }
    }

    /// One event; `Some` when the schedule is to hear of it.
    fn take(
        &mut self,
        received: bluez::Received,
        samples: &mut Samples,
    ) -> Option<Result<Received<Unit>, RequestError>> {
        let connected = self.device.is_some();
        let line = match received.event {
            Event::Advert(advert) => return self.take_advert(&advert, received.time_ns, samples),
            Event::Value { path, bytes } => {
                let places = self.notifying.get(&path)?;
                let before = samples.len();
                for watching in &self.watching {
                    let is_meant =
                        |place: &Place| watching.point.source == Source::Characteristic(*place);
                    if places.iter().any(is_meant) {
                        watching
                            .point
                            .decode(watching.id, &bytes, samples, received.time_ns);
                    }
                }
                for place in places {
                    let latest = (bytes.clone(), received.time_ns);
                    self.latest.insert(*place, latest);
                }
                return (samples.len() > before).then_some(Ok(Received::Samples));
            }
            Event::Disconnected if connected => DISCONNECTED,
            Event::Unresolved if connected => {
                let until = Instant::now() + UNRESOLVED;
                self.unresolved_until.get_or_insert(until);
                return None;
            }
            Event::Removed if connected => "BlueZ has removed the device",
            Event::Disconnected | Event::Unresolved | Event::Removed => return None,
            Event::AdapterDown => "the adapter was pulled or switched off",
            Event::Gone => "bluetoothd has ended",
        };
        Some(Err(self.end(line)))
    }

    fn end(&mut self, why: &str) -> RequestError {
        self.broken = true;
        RequestError::Line(why.to_owned())
    }

    fn is_connected(&self) -> bool {
        let Some(device) = &self.device else {
            return false;
        };
        self.client.look(|tree| {
            let found = tree.devices.get(&device.path);
            found.is_some_and(|device| device.connected)
        })
    }

    fn take_advert(
        &mut self,
        advert: &Advert,
        time_ns: i64,
        samples: &mut Samples,
    ) -> Option<Result<Received<Unit>, RequestError>> {
        let now = Instant::now();
        self.heard.update(advert);
        self.heard_ns = Some(time_ns);
        self.silent_at = Some(now + self.bus.silent_after);
        let before = samples.len();
        let mut watching = std::mem::take(&mut self.watching);
        let is_new = self.is_new_packet(advert);
        for watched in &mut watching {
            let Source::Advert(format) = watched.point.source else {
                continue;
            };
            // More often than wanted: the next packet comes soon. An event is
            // in few packets, and must not be missed nor told twice.
            let is_event = matches!(&watched.point.meaning, Meaning::Part(name, _) if name == "button" || name == "dimmer");
            let soon = match (watched.interval, watched.sent) {
                (Some(interval), Some(sent)) => now < sent + interval,
                _ => false,
            };
            if (soon && !is_event) || (is_event && !is_new) {
                continue;
            }
            let length = samples.len();
            self.decode(watched.id, &watched.point, format, advert, time_ns, samples);
            if samples.len() > length {
                watched.sent = Some(now);
            }
        }
        self.watching = watching;
        (samples.len() > before).then_some(Ok(Received::Samples))
    }

    /// The same packet is sent several times; its id tells.
    fn is_new_packet(&mut self, advert: &Advert) -> bool {
        let Ok(Some(fields)) = advert.fields(Format::BtHome, self.seal()) else {
            return true;
        };
        let id = fields.into_iter().find(|field| field.name == "packetId");
        let id = id.map(|field| field.value);
        let is_new = id.is_none() || id != self.packet;
        self.packet = id;
        is_new
    }

    fn decode(
        &self,
        id: u32,
        point: &Point,
        format: Format,
        advert: &Advert,
        time_ns: i64,
        samples: &mut Samples,
    ) {
        let Meaning::Part(name, index) = &point.meaning else {
            if let Some(bytes) = advert.bytes(format) {
                point.decode(id, bytes, samples, time_ns);
            }
            return;
        };
        match advert.fields(format, self.seal()) {
            Ok(Some(fields)) => {
                let mut found = fields.iter().filter(|field| field.name == name);
                if let Some(field) = found.nth(index - 1) {
                    field.value.push(id, samples, time_ns);
                }
            }
            Ok(None) => {}
            Err(error) => samples.push_bad(id, Reason::Decode, &error.to_string(), time_ns),
        }
    }

    /// Nothing was heard for too long. Who asks for presence gets an answer;
    /// all else is not known any more.
    fn silence(&mut self, samples: &mut Samples) -> Received<Unit> {
        self.silent_at = None;
        let is_presence = |watching: &Watching| matches!(&watching.point.meaning, Meaning::Part(name, _) if name == "present");
        let seconds = self.bus.silent_after.as_secs_f64();
        let message = format!("no advertisement for {seconds} s");
        if !self.watching.iter().any(is_presence) {
            return Received::Lost {
                unit: Unit(self.bus.target.clone()),
                error: RequestError::Timeout(message),
            };
        }
        let now = bluez::now_ns();
        for watching in &self.watching {
            if is_presence(watching) {
                samples.push_bool(watching.id, false, now);
            } else if matches!(watching.point.source, Source::Advert(_)) {
                samples.push_bad(watching.id, Reason::Timeout, &message, now);
            }
        }
        Received::Samples
    }
}

impl Connection<Bluetooth> for Link {
    async fn read(
        &mut self,
        _unit: &Unit,
        request: &Request,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        let Some(place) = request.place else {
            let Some(heard_ns) = self.heard_ns else {
                return Err(RequestError::Timeout(
                    "nothing was heard of it yet".to_owned(),
                ));
            };
            for (id, point) in &request.points {
                let Source::Advert(format) = point.source else {
                    continue;
                };
                let before = samples.len();
                self.decode(*id, point, format, &self.heard, heard_ns, samples);
                if samples.len() == before {
                    samples.push_bad(*id, Reason::Refused, "its packets do not have it", heard_ns);
                }
            }
            return Ok(());
        };
        let (path, flags, _) = self.object(place)?;
        let (bytes, time_ns) =
            if flags.iter().any(|flag| flag.ends_with("read")) || flags.is_empty() {
                (self.read_value(place, &path).await?, bluez::now_ns())
            } else if let Some(latest) = self.latest.get(&place) {
                latest.clone()
            } else if opening::is_only_written(&flags) {
                opening::tell_only_written(&request.points, samples);
                return Ok(());
            } else {
                let message = format!("{place} cannot be read; it can {}", flags.join(", "));
                return Err(RequestError::Refused(message));
            };
        for (id, point) in &request.points {
            let before = samples.len();
            point.decode(*id, &bytes, samples, time_ns);
            if samples.len() == before {
                samples.push_bad(
                    *id,
                    Reason::Refused,
                    "the value has no such field now",
                    time_ns,
                );
            }
        }
        Ok(())
    }

    async fn write(
        &mut self,
        _unit: &Unit,
        point: &Point,
        value: &SampleValue,
    ) -> Result<(), RequestError> {
        let Source::Characteristic(place) = point.source else {
            let message = "an advertisement cannot be written".to_owned();
            return Err(RequestError::InvalidValue(message));
        };
        let (path, flags, mtu) = self.object(place)?;
        let can = |flag: &str| flags.iter().any(|known| known == flag);
        let how = point
            .write
            .unwrap_or(if can("write") || !can("write-without-response") {
                WriteType::Request
            } else {
                WriteType::Command
            });
        let present = if point.is_part() {
            self.read_value(place, &path).await?
        } else {
            Vec::new()
        };
        let bytes = point
            .encode(value, present)
            .map_err(RequestError::InvalidValue)?;
        // A command is one packet, three bytes of which are its head; BlueZ
        // splits a request into several (Core 5.4, volume 3, part F, section 3.4.5).
        let room = match (how, mtu) {
            (WriteType::Command, Some(mtu)) => usize::from(mtu.saturating_sub(3)),
            _ => MAX_VALUE,
        };
        if bytes.len() > room {
            let message = format!("{} bytes do not fit the {room} of a packet", bytes.len());
            return Err(RequestError::InvalidValue(message));
        }
        let word = match how {
            WriteType::Request => "request",
            WriteType::Command => "command",
        };
        let options = HashMap::from([("type", Variant::from(word))]);
        let what = format!("writing {place}");
        let call = (&path[..], tree::CHARACTERISTIC, "WriteValue");
        let written = self
            .client
            .ask(&what, self.deadline(), call, &(bytes, options))
            .await;
        written.map(drop).map_err(|error| self.failed(error))
    }

    async fn watch(
        &mut self,
        _unit: &Unit,
        points: &[WatchPoint<'_, Point>],
        samples: &mut Samples,
    ) -> Result<Watched, RequestError> {
        self.watching = points
            .iter()
            .map(|watch| Watching {
                id: watch.id,
                point: watch.point.clone(),
                interval: watch.interval,
                sent: None,
            })
            .collect();
        let mut places = Vec::new();
        let mut listens = false;
        for watching in &self.watching {
            match watching.point.source {
                Source::Characteristic(place) if !places.contains(&place) => places.push(place),
                Source::Characteristic(_) => {}
                Source::Advert(_) => listens = true,
            }
        }
        self.silent_at = listens.then(|| Instant::now() + self.bus.silent_after);
        self.end_others(&places).await;
        for place in places {
            let failure = match self.begin(place, samples).await {
                Ok(()) => continue,
                Err(error @ RequestError::Line(_)) => return Err(error),
                Err(error) => error,
            };
            let reason = match failure {
                RequestError::Timeout(_) => Reason::Timeout,
                _ if self.is_only_written(place) => Reason::WriteOnly,
                _ => Reason::Refused,
            };
            let (message, now) = (failure.to_string(), bluez::now_ns());
            for watching in &self.watching {
                if watching.point.source == Source::Characteristic(place) {
                    samples.push_bad(watching.id, reason, &message, now);
                }
            }
        }
        Ok(if self.device.is_some() {
            Watched::Answered
        } else {
            Watched::Waiting
        })
    }

    async fn receive(&mut self, samples: &mut Samples) -> Result<Received<Unit>, RequestError> {
        loop {
            // Nothing is awaited between the taking and the return.
            while let Some(received) = self.inbox.take() {
                if let Some(result) = self.take(received, samples) {
                    return result;
                }
            }
            if let Some(until) = self.unresolved_until {
                if !self.is_connected() {
                    return Err(self.end(DISCONNECTED));
                }
                if Instant::now() >= until {
                    return Err(self.end("the device's services have changed"));
                }
            }
            let ready = self.inbox.ready();
            let ends = [self.silent_at, self.unresolved_until];
            match ends.into_iter().flatten().min() {
                Some(at) => {
                    let is_over = timeout_at(at, ready).await.is_err();
                    if is_over && self.silent_at == Some(at) {
                        return Ok(self.silence(samples));
                    }
                }
                None => ready.await,
            }
        }
    }

    fn usable(&self) -> bool {
        let Some(device) = &self.device else {
            return !self.broken && self.client.is_open();
        };
        let connected = self.client.look(|tree| {
            let found = tree.devices.get(&device.path);
            found.is_some_and(|device| device.connected && device.resolved)
        });
        !self.broken && connected && self.client.is_open()
    }
}

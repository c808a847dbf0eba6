//! What an author writes: how to talk to one kind of bus.

use std::{fmt, future::Future, hash::Hash, time::Duration};

use serde::{Deserialize, Serialize};

/// A device's configuration as the host sends it (`COMMAND_CONFIGURE`).
///
/// Keys that this version does not know are ignored: a newer host may send them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceConfig {
    /// `namespace/name`, for messages.
    pub device: String,
    /// `protocol.configData` of the Device over `protocolConfigData` of its model.
    #[serde(default)]
    pub protocol: serde_json::Map<String, serde_json::Value>,
    /// The device's points.
    #[serde(default)]
    pub points: Vec<PointConfig>,
    /// The device's methods that the protocol carries out by itself.
    #[serde(default)]
    pub methods: Vec<MethodConfig>,
    /// What is written after each connecting. The schedule does it, by
    /// [`Connection::write`], before anything is read or watched.
    #[serde(default)]
    pub connect: Vec<ConnectWrite>,
    /// It is only to be judged. The schedule does it: nothing is taken over and
    /// no line is opened.
    #[serde(default)]
    pub check: bool,
}

/// A value that a device gets after each connecting.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ConnectWrite {
    /// The point.
    pub point: u32,
    /// A number, a truth value or a text.
    #[serde(default)]
    pub value: serde_json::Value,
    /// In place of a value.
    #[serde(default)]
    pub bytes: Option<Vec<u8>>,
}

impl ConnectWrite {
    /// The value, if it is one.
    pub fn value(&self) -> Option<crate::SampleValue> {
        use crate::SampleValue;
        if let Some(bytes) = &self.bytes {
            return Some(SampleValue::Bytes(bytes.clone()));
        }
        match &self.value {
            serde_json::Value::Bool(value) => Some(SampleValue::Bool(*value)),
            serde_json::Value::String(text) => Some(SampleValue::String(text.clone())),
            serde_json::Value::Number(number) => {
                let whole = number.as_i64().map(SampleValue::Int);
                let whole = whole.or_else(|| number.as_u64().map(SampleValue::Uint));
                whole.or_else(|| number.as_f64().map(SampleValue::Float))
            }
            _ => None,
        }
    }
}

/// A method of a device as the host sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodConfig {
    /// Its name.
    pub name: String,
    /// What and how to call; the protocol's own keys.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// How the values of a point come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// As the protocol finds best.
    #[default]
    Auto,
    /// The mapper asks, once in each interval.
    Poll,
    /// The device sends by itself: `subscribe` and `notify` of a profile.
    Push,
}

/// One property of a device as the host sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PointConfig {
    /// Chosen by the host, unique in the mapper instance.
    pub id: u32,
    /// The property's name, for messages.
    pub name: String,
    /// Whether it may be written.
    #[serde(default)]
    pub writable: bool,
    /// Time between two reads in milliseconds; 0 means that it is never polled.
    pub interval_ms: u64,
    /// The type of the twin (`INT`, `FLOAT`, `DOUBLE`, `STRING`, `BOOLEAN`,
    /// `BYTES`), which a protocol may take as the default of its raw type.
    #[serde(default, rename = "type")]
    pub twin_type: String,
    /// How its values shall come.
    #[serde(default)]
    pub sampling: Sampling,
    /// Polled points of one device with the same group and interval are read
    /// as one snapshot: their requests follow each other with nothing of the
    /// bus in between, and their samples come in one batch with the source
    /// time of the first request. When a request of a group fails, all of the
    /// group is bad. The schedule does all of this: a protocol plans as ever,
    /// once for a group that does not fit into one request.
    #[serde(default)]
    pub group: Option<String>,
    /// Writes of a greater priority go before those of a smaller one, on the
    /// whole bus; a method call has priority 0.
    #[serde(default)]
    pub priority: i32,
    /// What is written to it is a command: it is not read, polled or watched, and a
    /// write is sent once.
    #[serde(default)]
    pub command: bool,
    /// `visitors.configData` without the keys that the twin engine owns.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// Something wrong in a configuration, at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Key path, for example `points[3].config.address`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// A device's configuration, validated.
pub struct Parsed<P: Protocol> {
    /// The bus that it hangs on. Equal buses share one connection and queue.
    pub bus: P::Bus,
    /// Which unit on that bus; a dead unit is quarantined alone.
    pub unit: P::Unit,
    /// Each point of the configuration, in its order: usable or not.
    pub points: Vec<Result<P::Point, Fault>>,
    /// Things that are accepted but doubtful, such as unknown keys.
    pub warnings: Vec<Fault>,
}

/// A point that is to be read, as [`Protocol::plan`] gets it.
pub struct PlanPoint<'a, T> {
    /// The point's id.
    pub id: u32,
    /// Its address and coding.
    pub point: &'a T,
    /// The device refused it together with others and by itself: read it in a
    /// request of its own, and let no other request cover its place.
    pub alone: bool,
    /// The device refused a request that covered the place just before this
    /// point: no request may reach from a point before it to this one.
    pub cut: bool,
}

/// One exchange with the device, and the points that it brings.
pub struct Planned<R> {
    /// The exchange.
    pub request: R,
    /// The ids of its points, in the order of their addresses: when the device
    /// refuses the request, the schedule halves this list to find out which
    /// of them it minds.
    pub points: Vec<u32>,
}

/// How the schedule gets the values of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// [`Connection::read`], once in each interval.
    #[default]
    Polled,
    /// [`Connection::watch`] once, then [`Connection::receive`] whenever
    /// something comes. Such a point is still read when the host asks for it.
    Pushed,
}

/// A point that the device is to send by itself, as [`Connection::watch`] gets it.
pub struct WatchPoint<'a, T> {
    /// The point's id.
    pub id: u32,
    /// Its address and coding.
    pub point: &'a T,
    /// How often a new value is wanted at most; `None` for each change.
    pub interval: Option<Duration>,
}

/// What [`Connection::watch`] has learnt of the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// The unit has answered: it is online.
    Answered,
    /// Nothing was asked; the unit is online when its first sample comes.
    Waiting,
}

/// What [`Connection::receive`] brings.
#[derive(Debug)]
pub enum Received<U> {
    /// Samples were pushed; the units of their points are online.
    Samples,
    /// The unit has gone silent: its points become bad, and it is watched
    /// again with growing pauses. The bus is fine.
    Lost {
        /// Which.
        unit: U,
        /// Why.
        error: RequestError,
    },
}

/// What [`Protocol::discover`] has found; a DeviceModel and a Device can be
/// written from each entry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Discovered {
    /// The devices, in a stable order.
    #[serde(default)]
    pub devices: Vec<FoundDevice>,
    /// Things that people should know, such as what was not looked at.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A device that was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundDevice {
    /// A name for it: lower case letters, digits and `-`.
    pub name: String,
    /// What it says of itself, for people.
    #[serde(default)]
    pub description: String,
    /// `protocol.configData` that reaches it.
    #[serde(default)]
    pub protocol: serde_json::Map<String, serde_json::Value>,
    /// Its properties as far as the protocol tells.
    #[serde(default)]
    pub properties: Vec<FoundProperty>,
}

/// A property of a device that was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundProperty {
    /// A name for it: letters and digits, beginning with a small letter.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// The type of the twin (`INT`, `FLOAT`, …).
    #[serde(rename = "type")]
    pub twin_type: String,
    /// Whether it may be written.
    #[serde(default)]
    pub writable: bool,
    /// The unit, if it is known.
    #[serde(default)]
    pub unit: String,
    /// Its present value as text, if it was read.
    #[serde(default)]
    pub value: Option<String>,
    /// `visitors.configData`.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// Why nothing could be looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoverError {
    /// This protocol cannot look for devices.
    #[error("this mapper cannot look for devices")]
    Unsupported,
    /// The request is wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Request(Vec<Fault>),
    /// The bus failed.
    #[error(transparent)]
    Bus(#[from] RequestError),
}

/// How to talk to one kind of bus.
pub trait Protocol: Send + Sync + Sized + 'static {
    /// The address of a bus: a TCP endpoint, a serial port with its settings.
    type Bus: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static;
    /// The address of a unit on the bus, with the settings of its requests.
    type Unit: Clone + Eq + Hash + Ord + fmt::Display + Send + Sync + 'static;
    /// The validated address and coding of one point.
    type Point: Send + Sync + 'static;
    /// One exchange with the device that reads one or more points.
    type Request: Send + Sync + 'static;
    /// An open connection to a bus.
    type Connection: Connection<Self>;

    /// Validates the mapper's own configuration.
    fn new(config: &serde_json::Value) -> Result<Self, Vec<Fault>>;
    /// Validates a device; `Err` when its bus or unit cannot be known.
    fn parse(&self, device: &DeviceConfig) -> Result<Parsed<Self>, Vec<Fault>>;
    /// Coalesces points of one unit that are due together into few requests.
    /// Pure, and called once for each set of points: the schedule keeps plans.
    /// A set that is to be read as one snapshot ([`PointConfig::group`]) comes
    /// alone when one request cannot bring it together with the others.
    /// Each point stands in exactly one request.
    fn plan(
        &self,
        bus: &Self::Bus,
        unit: &Self::Unit,
        points: &[PlanPoint<'_, Self::Point>],
    ) -> Vec<Planned<Self::Request>>;
    /// Opens the bus.
    fn connect(
        &self,
        bus: &Self::Bus,
    ) -> impl Future<Output = Result<Self::Connection, RequestError>> + Send;
    /// The longest that opening the bus may take.
    fn connect_timeout(&self, _bus: &Self::Bus) -> Duration {
        Duration::from_secs(5)
    }
    /// The longest that one exchange with the unit may take. A connection
    /// keeps to it by itself where it can (so that it stays usable); the
    /// schedule drops a call that takes longer, and the connection with it.
    /// A watch may take this once more for each thousand points, and a method
    /// as long as the command that calls it.
    fn timeout(&self, bus: &Self::Bus, unit: &Self::Unit) -> Duration;
    /// How the values of a point come. Called once for each configuration,
    /// after [`Self::parse`], which has seen the wish of the profile
    /// ([`PointConfig::sampling`]).
    fn delivery(&self, _unit: &Self::Unit, _point: &Self::Point) -> Delivery {
        Delivery::Polled
    }
    /// Looks for devices, without disturbing the buses that are in use more
    /// than need be. `request` is what the schema describes under `discovery`.
    /// Runs beside the buses, at most four at a time, and is dropped when its
    /// command's time is over. It shares the thread with all buses: what blocks
    /// belongs into `tokio::task::spawn_blocking`.
    fn discover(
        &self,
        _request: &serde_json::Map<String, serde_json::Value>,
    ) -> impl Future<Output = Result<Discovered, DiscoverError>> + Send {
        async { Err(DiscoverError::Unsupported) }
    }
}

/// An open connection to a bus. One call at a time.
pub trait Connection<P: Protocol>: Send + 'static {
    /// Carries out one planned request and puts one sample for each of its
    /// points into `samples`; after an error the samples are thrown away.
    fn read(
        &mut self,
        unit: &P::Unit,
        request: &P::Request,
        samples: &mut Samples,
    ) -> impl Future<Output = Result<(), RequestError>> + Send;
    /// Writes one value.
    fn write(
        &mut self,
        unit: &P::Unit,
        point: &P::Point,
        value: &crate::SampleValue,
    ) -> impl Future<Output = Result<(), RequestError>> + Send;
    /// Replaces the set of the unit's points that are to come by themselves;
    /// an empty set ends it, also when the unit does not answer. Called after
    /// each connecting, whenever the set changes, and again with growing pauses
    /// for a unit that was lost. It is always the whole set: a connection to
    /// which that is dear compares it with the former one.
    ///
    /// First values may be pushed into `samples`, and a point that the device
    /// cannot watch gets a bad sample there. Once it has returned, no value
    /// that belongs to the former set may come: an id may be another place now.
    ///
    /// # Errors
    /// `Refused`: all of the set is bad, and it is tried again with growing
    /// pauses. `Timeout` and `Garbled`: at the second in a row the unit is
    /// offline. `Line`: the connection is dialled anew.
    fn watch(
        &mut self,
        _unit: &P::Unit,
        _points: &[WatchPoint<'_, P::Point>],
        _samples: &mut Samples,
    ) -> impl Future<Output = Result<Watched, RequestError>> + Send {
        async { Ok(Watched::Waiting) }
    }
    /// Waits for values that come by themselves, and gives some thousands of
    /// them at most. MUST be cancel safe: it is dropped whenever an exchange is
    /// due, and nothing may be lost by that (what it has pushed into `samples`
    /// by then is taken). Called whenever the bus is idle, and after each
    /// exchange for what is there already. Samples of points that are not
    /// being watched are thrown away. A good sample shows that its unit is
    /// online, a bad one does not.
    ///
    /// # Errors
    /// The connection is gone: it is dialled anew at once, and the bus is down
    /// when that fails or happens again and again.
    fn receive(
        &mut self,
        _samples: &mut Samples,
    ) -> impl Future<Output = Result<Received<P::Unit>, RequestError>> + Send {
        std::future::pending()
    }
    /// Calls a method of the unit and gives its result, at most a megabyte
    /// as JSON. `method` has the keys of the device's configuration unless the
    /// command brings its own.
    fn call(
        &mut self,
        _unit: &P::Unit,
        method: &MethodConfig,
        _arguments: &serde_json::Value,
    ) -> impl Future<Output = Result<serde_json::Value, RequestError>> + Send {
        let message = format!("`{}`: this protocol has no methods", method.name);
        async { Err(RequestError::Refused(message)) }
    }
    /// Whether the connection may carry another exchange. Asked after each
    /// error; `false` makes the schedule throw it away and dial anew, without
    /// telling anybody unless dialling fails.
    fn usable(&self) -> bool {
        true
    }
}

/// Why an exchange with a device failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The device answered and said no. The line is fine.
    #[error("device refused: {0}")]
    Refused(String),
    /// The device said no to the request as a whole, but each of its points
    /// may be fine: the schedule finds the one that is not and remembers it.
    #[error("device refused: {0}")]
    RefusedTogether(String),
    /// The unit did not answer, though the bus is up.
    #[error("no answer: {0}")]
    Timeout(String),
    /// What came was not an answer. The bus stays open.
    #[error("garbled answer: {0}")]
    Garbled(String),
    /// The line broke: the connection is thrown away and dialled anew.
    #[error("line broke: {0}")]
    Line(String),
    /// The value does not fit the point; nothing was sent.
    #[error("{0}")]
    InvalidValue(String),
}

pub use crate::samples::Samples;

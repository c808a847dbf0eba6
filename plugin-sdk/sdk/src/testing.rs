//! A mapper under test, without a host: driven as the host drives it, and all
//! that it emits is recorded.
//!
//! [`TestMapper`] runs a [`Protocol`] in a thread of its own, as it runs in the
//! field, while the test is async and may run the device's simulator in its own
//! runtime. Points are known by their names; what the host would fill into a
//! configuration is filled in. A wait has a bound of a minute and then panics
//! with what is there instead. [`Rig`] is the same for tests that block. [`Recorder`]
//! is the host behind both, for a [`crate::Mapper`] that is no `Protocol`.
//!
//! ```
//! use std::time::Duration;
//! use longshore_sdk::{testing::TestMapper, *};
//! use serde_json::{Value, json};
//!
//! /// Every point is a number that one unit keeps.
//! struct Numbers;
//! struct Open(std::collections::HashMap<u32, i64>);
//!
//! impl Protocol for Numbers {
//!     type Bus = String;
//!     type Unit = u8;
//!     type Point = u32;
//!     type Request = Vec<(u32, u32)>;
//!     type Connection = Open;
//!
//!     fn new(_: &Value) -> Result<Self, Vec<Fault>> {
//!         Ok(Self)
//!     }
//!     fn parse(&self, device: &DeviceConfig) -> Result<Parsed<Self>, Vec<Fault>> {
//!         let points = device.points.iter().map(|point| Ok(point.config["address"].as_u64().unwrap_or(0) as u32));
//!         Ok(Parsed { bus: "memory".to_owned(), unit: 1, points: points.collect(), warnings: Vec::new() })
//!     }
//!     fn plan(&self, _: &String, _: &u8, points: &[PlanPoint<'_, u32>]) -> Vec<Planned<Vec<(u32, u32)>>> {
//!         let request = points.iter().map(|of| (of.id, *of.point)).collect();
//!         vec![Planned { request, points: points.iter().map(|of| of.id).collect() }]
//!     }
//!     async fn connect(&self, _: &String) -> Result<Open, RequestError> {
//!         Ok(Open(Default::default()))
//!     }
//!     fn timeout(&self, _: &String, _: &u8) -> Duration {
//!         Duration::from_secs(1)
//!     }
//! }
//!
//! impl Connection<Numbers> for Open {
//!     async fn read(&mut self, _: &u8, request: &Vec<(u32, u32)>, samples: &mut Samples) -> Result<(), RequestError> {
//!         for (id, address) in request {
//!             samples.push_i64(*id, self.0.get(address).copied().unwrap_or(0), 1);
//!         }
//!         Ok(())
//!     }
//!     async fn write(&mut self, _: &u8, point: &u32, value: &SampleValue) -> Result<(), RequestError> {
//!         let SampleValue::Int(value) = value else {
//!             return Err(RequestError::InvalidValue("not a whole number".to_owned()));
//!         };
//!         self.0.insert(*point, *value);
//!         Ok(())
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let mapper = TestMapper::<Numbers>::start(json!({}));
//! mapper.configure(json!({"points": [{"name": "level", "config": {"address": 4}}]})).await;
//! mapper.wait_value("level", 0).await;
//! mapper.write_ok("level", 7).await;
//! mapper.wait_value("level", 7).await;
//! assert_eq!(mapper.write("level", "much").await.status, Status::InvalidArgument);
//! mapper.stop();
//! # });
//! ```

mod flood;
mod keys;
mod process;
mod recorder;
mod rig;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Map, Value, json};

use crate::{
    Command, CommandKind, Completion, CreateError, Discovered, Mapper, Protocol, ProtocolMapper,
    Reason, SampleValue, Status,
};

pub use self::{
    flood::Flood,
    keys::unread,
    process::{Kill, Ports, ports},
    recorder::{Record, Recorder, TestSample},
    rig::{Rig, Tally},
};

/// The time that each command has.
const BUDGET: Duration = Duration::from_secs(10);
/// How long a stop may take.
const STOP: Duration = Duration::from_secs(5);
/// `intervalMs` of a point that names none: tests are in a hurry.
const INTERVAL_MS: u64 = 50;
/// The name of a device that has none.
const DEVICE: &str = "default/device";

/// A running mapper and its recorded host. Stopped when it is dropped.
pub struct TestMapper<P: Protocol> {
    mapper: ProtocolMapper<P>,
    recorder: Recorder,
    names: Mutex<Names>,
    tokens: AtomicU64,
}

/// The ids that the host would choose.
#[derive(Default)]
struct Names {
    devices: BTreeMap<String, Device>,
    points: u32,
}

struct Device {
    id: u32,
    points: BTreeMap<String, u32>,
}

/// A fault or warning of a configuration, as its completion tells it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Finding {
    /// Key path.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// `error` or `warning`.
    pub level: String,
}

/// The findings in a completion's message; none when it has no such list.
pub fn findings(completion: &Completion) -> Vec<Finding> {
    serde_json::from_str(&completion.message).unwrap_or_default()
}

impl<P: Protocol> TestMapper<P> {
    /// Starts an instance with the mapper's own configuration.
    ///
    /// # Panics
    /// The mapper does not start.
    pub fn start(config: Value) -> Self {
        match Self::try_start(config) {
            Ok(started) => started,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`Self::start`].
    ///
    /// # Errors
    /// What the mapper says.
    pub fn try_start(config: Value) -> Result<Self, CreateError> {
        let recorder = Recorder::new();
        let mapper = ProtocolMapper::create(recorder.host(), &config)?;
        Ok(Self {
            mapper,
            recorder,
            names: Mutex::default(),
            tokens: AtomicU64::new(1),
        })
    }

    /// Configures a device and expects that it is taken. What is left out is
    /// filled in: the device's name (`default/device`), ids of points, that
    /// they are writable, and an interval of 50 ms. The same name again
    /// replaces the device.
    ///
    /// # Panics
    /// The completion is not `Ok`, or tells an error of a point.
    pub async fn configure(&self, device: Value) -> Completion {
        let completion = self.try_configure(device).await;
        let is_wrong = findings(&completion).iter().any(|of| of.level == "error");
        assert!(
            completion.status == Status::Ok && !is_wrong,
            "the configuration is refused: {completion:?}"
        );
        completion
    }

    /// As [`Self::configure`], whatever comes of it.
    pub async fn try_configure(&self, device: Value) -> Completion {
        let (id, text) = self.named(device);
        self.command(id, CommandKind::Configure(text)).await
    }

    /// Removes a device.
    pub async fn remove(&self, device: &str) -> Completion {
        let id = self.device(device);
        let completion = self.command(id, CommandKind::Remove).await;
        self.names().devices.remove(device);
        completion
    }

    /// Reads a point now.
    pub async fn read(&self, point: &str) -> Completion {
        let (device, point) = self.point(point);
        self.command(device, CommandKind::Read { point }).await
    }

    /// Writes a value to a point.
    pub async fn write(&self, point: &str, value: impl Into<SampleValue>) -> Completion {
        let (device, point) = self.point(point);
        let value = value.into();
        self.command(device, CommandKind::Write { point, value })
            .await
    }

    /// Writes a value and expects that the device takes it.
    ///
    /// # Panics
    /// It does not.
    pub async fn write_ok(&self, point: &str, value: impl Into<SampleValue>) {
        let completion = self.write(point, value).await;
        assert_eq!(completion.status, Status::Ok, "`{point}`: {completion:?}");
    }

    /// Calls a method of a device with the keys of its configuration.
    pub async fn call(&self, device: &str, method: &str, arguments: Value) -> Completion {
        let text = json!({"name": method, "arguments": arguments}).to_string();
        let id = self.device(device);
        self.command(id, CommandKind::Call(text)).await
    }

    /// Looks for devices.
    ///
    /// # Errors
    /// The completion, when it is not `Ok`.
    ///
    /// # Panics
    /// The result is not a [`Discovered`].
    pub async fn discover(&self, request: Value) -> Result<Discovered, Completion> {
        let kind = CommandKind::Discover(request.to_string());
        let completion = self.command(0, kind).await;
        if completion.status != Status::Ok {
            return Err(completion);
        }
        match serde_json::from_str(&completion.message) {
            Ok(found) => Ok(found),
            Err(error) => panic!("{error} in {}", completion.message),
        }
    }

    /// Waits until the latest sample of the point, or a newer one, is good and
    /// as wanted.
    pub async fn wait_sample(
        &self,
        point: &str,
        wanted: impl FnMut(&SampleValue) -> bool,
    ) -> TestSample {
        let id = self.point(point).1;
        self.wait_from(id, &format!("a good sample of `{point}`"), wanted)
            .await
    }

    /// Waits until a point has this value; numbers are compared as numbers,
    /// bytes with an array of numbers.
    pub async fn wait_value(&self, point: &str, value: impl Into<Value>) -> TestSample {
        let (id, value) = (self.point(point).1, value.into());
        let what = format!("`{point}` to be {value}");
        self.wait_from(id, &what, |sample| recorder::is_json(sample, &value))
            .await
    }

    /// Waits until the latest sample of a point, or a newer one, is bad; gives why.
    pub async fn wait_bad(&self, point: &str) -> (Option<Reason>, String) {
        let id = self.point(point).1;
        let what = format!("a bad sample of `{point}`");
        let start = self.seen(id);
        self.wait(&what, |record| {
            record.samples_since(id, start).find_map(TestSample::bad)
        })
        .await
    }

    /// Waits until `count` more good samples of the point have come; gives them.
    pub async fn wait_samples(&self, point: &str, count: usize) -> Vec<TestSample> {
        let id = self.point(point).1;
        let start = self.recorder.look(|record| record.count(id));
        self.wait(&format!("{count} samples of `{point}`"), |record| {
            let good = record
                .samples_since(id, start)
                .filter(|sample| sample.bad().is_none());
            let good: Vec<_> = good.take(count).cloned().collect();
            (good.len() == count).then_some(good)
        })
        .await
    }

    /// Waits until a device is online.
    pub async fn wait_online(&self, device: &str) {
        let id = self.device(device);
        self.wait(&format!("`{device}` to be online"), |record| {
            record.state(id).filter(|state| state.online).map(drop)
        })
        .await;
    }

    /// Waits until a device is offline; gives why.
    pub async fn wait_offline(&self, device: &str) -> String {
        let id = self.device(device);
        self.wait(&format!("`{device}` to be offline"), |record| {
            let state = record.state(id).filter(|state| !state.online)?;
            Some(state.message.clone())
        })
        .await
    }

    /// The latest sample of a point.
    pub fn latest(&self, point: &str) -> Option<TestSample> {
        let id = self.point(point).1;
        self.recorder.look(|record| record.latest(id).cloned())
    }

    /// All samples of a point, oldest first.
    pub fn samples(&self, point: &str) -> Vec<TestSample> {
        let id = self.point(point).1;
        self.recorder
            .look(|record| record.samples_since(id, 0).cloned().collect())
    }

    /// The recorded host.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Waits until the record gives something; see [`Recorder::wait`].
    pub async fn wait<T>(&self, what: &str, wanted: impl FnMut(&Record) -> Option<T>) -> T {
        self.recorder.wait(what, wanted).await
    }

    /// Begins a command and gives its token; `device` is an id.
    ///
    /// # Panics
    /// The mapper does not take it.
    pub fn submit(&self, device: u32, kind: CommandKind, budget: Duration) -> u64 {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let command = Command {
            token,
            budget,
            device,
            kind,
        };
        if let Err(error) = self.mapper.submit(vec![command]) {
            panic!("the mapper does not take the command: {error}");
        }
        token
    }

    /// Waits for the end of a command.
    pub async fn completion(&self, token: u64) -> Completion {
        self.wait(&format!("the end of command {token}"), |record| {
            record.completion(token).cloned()
        })
        .await
    }

    /// The id of a device.
    ///
    /// # Panics
    /// It was not configured.
    pub fn device(&self, device: &str) -> u32 {
        match self.names().devices.get(device) {
            Some(of) => of.id,
            None => panic!("device `{device}` was not configured"),
        }
    }

    /// The ids of the device and of the point with this name; where several
    /// devices have such a point, the name is `DEVICE/POINT`.
    ///
    /// # Panics
    /// There is none, or more than one.
    pub fn point(&self, point: &str) -> (u32, u32) {
        let names = self.names();
        let named = names.devices.iter().filter_map(|(name, device)| {
            let rest = point.strip_prefix(name.as_str());
            let within = rest.and_then(|rest| rest.strip_prefix('/'));
            let id = device.points.get(within.unwrap_or(point))?;
            Some((device.id, *id))
        });
        match *named.collect::<Vec<_>>() {
            [found] => found,
            [] => panic!("point `{point}` was not configured"),
            _ => panic!("several devices have a point `{point}`; say `DEVICE/{point}`"),
        }
    }

    /// Stops the instance, as the host does.
    pub fn stop(&self) {
        self.mapper.stop(STOP);
    }

    async fn command(&self, device: u32, kind: CommandKind) -> Completion {
        let token = self.submit(device, kind, BUDGET);
        self.completion(token).await
    }

    /// Where the latest sample of a point stands among all of it.
    fn seen(&self, point: u32) -> u64 {
        self.recorder
            .look(|record| record.count(point).saturating_sub(1))
    }

    async fn wait_from(
        &self,
        point: u32,
        what: &str,
        mut wanted: impl FnMut(&SampleValue) -> bool,
    ) -> TestSample {
        let start = self.seen(point);
        self.wait(what, |record| {
            let mut samples = record.samples_since(point, start);
            samples
                .find(|sample| sample.value.as_ref().is_ok_and(&mut wanted))
                .cloned()
        })
        .await
    }

    fn names(&self) -> std::sync::MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills in what is missing; gives the device's id and its JSON.
    fn named(&self, mut config: Value) -> (u32, String) {
        let Some(map) = config.as_object_mut() else {
            panic!("a device is a JSON object, found {config}");
        };
        let name = fill(map, "device", DEVICE.into());
        let name = name.as_str().unwrap_or(DEVICE).to_owned();
        let mut names = self.names();
        let next = u32::try_from(names.devices.len()).unwrap_or(u32::MAX) + 1;
        let free = (1..=next).find(|id| names.devices.values().all(|of| of.id != *id));
        let (id, former) = match names.devices.remove(&name) {
            Some(device) => (device.id, device.points),
            None => (free.unwrap_or(next), BTreeMap::new()),
        };
        let mut points = BTreeMap::new();
        for point in map
            .get_mut("points")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            let name = fill(point, "name", "point".into());
            let name = name.as_str().unwrap_or_default().to_owned();
            let fresh = names.points + 1;
            let id = *former.get(&name).unwrap_or(&fresh);
            let id = fill(point, "id", id.into()).as_u64().unwrap_or(0) as u32;
            names.points = names.points.max(id);
            fill(point, "writable", true.into());
            fill(point, "intervalMs", INTERVAL_MS.into());
            points.insert(name, id);
        }
        names.devices.insert(name, Device { id, points });
        (id, config.to_string())
    }
}

impl<P: Protocol> Drop for TestMapper<P> {
    fn drop(&mut self) {
        self.mapper.stop(STOP);
    }
}

/// The value of a key, which is set when it is missing.
fn fill(map: &mut Map<String, Value>, key: &str, value: Value) -> Value {
    map.entry(key).or_insert(value).clone()
}

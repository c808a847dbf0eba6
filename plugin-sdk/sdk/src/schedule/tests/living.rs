//! The driver and the router with a protocol that awaits, in real time.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::{
    CommandKind, Connection, Delivery, DeviceConfig, DiscoverError, Discovered, Fault, FoundDevice,
    MethodConfig, Parsed, PlanPoint, Planned, Protocol, Received, RequestError, SampleValue,
    Samples, Sampling, Status, WatchPoint, Watched,
    testing::{TestMapper, TestSample, findings},
};

/// What stands behind the wire, and what it does.
#[derive(Default)]
struct World {
    pushes: Mutex<VecDeque<Push>>,
    pushed: Notify,
    dials: AtomicU32,
    reads: AtomicU32,
    watches: Mutex<Vec<Vec<u32>>>,
}

enum Push {
    Value(u32, i64),
    /// Half of it is pushed, then the call goes on waiting.
    Half(u32, i64),
    Lost,
    Broken,
}

impl World {
    fn push(&self, push: Push) {
        self.pushes.lock().unwrap().push_back(push);
        self.pushed.notify_one();
    }
}

/// The worlds of the tests, by name: a protocol knows only its configuration.
static WORLDS: Mutex<BTreeMap<String, Arc<World>>> = Mutex::new(BTreeMap::new());

fn worlds() -> MutexGuard<'static, BTreeMap<String, Arc<World>>> {
    WORLDS.lock().unwrap()
}

fn start(name: &str) -> (TestMapper<Wire>, Arc<World>) {
    let world = Arc::new(World::default());
    worlds().insert(name.to_owned(), Arc::clone(&world));
    (TestMapper::start(json!({"world": name})), world)
}

fn number(map: &Map<String, Value>, key: &str) -> u64 {
    map.get(key).and_then(Value::as_u64).unwrap_or(0)
}

struct Wire(Arc<World>);
struct Line(Arc<World>);

struct Register {
    address: u32,
    sampling: Sampling,
}

impl Protocol for Wire {
    type Bus = String;
    type Unit = u8;
    type Point = Register;
    type Request = Vec<(u32, u32)>;
    type Connection = Line;

    fn new(config: &Value) -> Result<Self, Vec<Fault>> {
        let name = config["world"].as_str().unwrap_or_default();
        let world = worlds().get(name).cloned();
        world.map(Self).ok_or_else(|| {
            vec![Fault {
                path: "world".to_owned(),
                message: "unknown".to_owned(),
            }]
        })
    }

    fn parse(&self, device: &DeviceConfig) -> Result<Parsed<Self>, Vec<Fault>> {
        assert!(!device.protocol.contains_key("panic"), "cannot parse");
        let points = device.points.iter().enumerate().map(|(index, point)| {
            if let Some(bad) = point.config.get("bad") {
                return Err(Fault {
                    path: format!("points[{index}].config.bad"),
                    message: bad.to_string(),
                });
            }
            Ok(Register {
                address: number(&point.config, "address") as u32,
                sampling: point.sampling,
            })
        });
        Ok(Parsed {
            bus: "wire".to_owned(),
            unit: number(&device.protocol, "unit") as u8,
            points: points.collect(),
            warnings: Vec::new(),
        })
    }

    fn plan(
        &self,
        _: &String,
        _: &u8,
        points: &[PlanPoint<'_, Register>],
    ) -> Vec<Planned<Vec<(u32, u32)>>> {
        assert!(points[0].point.address != 666, "cannot plan");
        // Two points fit into one request.
        let pairs = points.chunks(2).map(|pair| Planned {
            request: pair.iter().map(|of| (of.id, of.point.address)).collect(),
            points: pair.iter().map(|of| of.id).collect(),
        });
        pairs.collect()
    }

    async fn connect(&self, _: &String) -> Result<Line, RequestError> {
        self.0.dials.fetch_add(1, Ordering::Relaxed);
        Ok(Line(Arc::clone(&self.0)))
    }

    fn timeout(&self, _: &String, _: &u8) -> Duration {
        Duration::from_secs(30)
    }

    fn delivery(&self, _: &u8, point: &Register) -> Delivery {
        match point.sampling {
            Sampling::Push => Delivery::Pushed,
            Sampling::Auto | Sampling::Poll => Delivery::Polled,
        }
    }

    async fn discover(&self, request: &Map<String, Value>) -> Result<Discovered, DiscoverError> {
        match request.get("find").and_then(Value::as_str) {
            Some("one") => Ok(Discovered {
                devices: vec![FoundDevice {
                    name: "one".to_owned(),
                    ..FoundDevice::default()
                }],
                notes: Vec::new(),
            }),
            Some("never") => std::future::pending().await,
            Some("panic") => panic!("a bug"),
            Some("bus") => Err(RequestError::Line("no such port".to_owned()).into()),
            _ => Err(DiscoverError::Request(vec![Fault {
                path: "find".to_owned(),
                message: "what?".to_owned(),
            }])),
        }
    }
}

impl Connection<Wire> for Line {
    async fn read(
        &mut self,
        _: &u8,
        request: &Vec<(u32, u32)>,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        let count = self.0.reads.fetch_add(1, Ordering::Relaxed);
        for (id, address) in request {
            samples.push_u64(*id, (*address).into(), count.into());
        }
        Ok(())
    }

    async fn write(&mut self, _: &u8, _: &Register, _: &SampleValue) -> Result<(), RequestError> {
        Ok(())
    }

    async fn watch(
        &mut self,
        unit: &u8,
        points: &[WatchPoint<'_, Register>],
        samples: &mut Samples,
    ) -> Result<Watched, RequestError> {
        if *unit == 13 {
            std::future::pending().await
        }
        let ids = points.iter().map(|point| point.id).collect();
        self.0.watches.lock().unwrap().push(ids);
        for point in points {
            samples.push_i64(point.id, -1, point.point.address.into());
        }
        Ok(Watched::Answered)
    }

    async fn receive(&mut self, samples: &mut Samples) -> Result<Received<u8>, RequestError> {
        loop {
            let push = self.0.pushes.lock().unwrap().pop_front();
            match push {
                Some(Push::Value(point, value)) => {
                    samples.push_i64(point, value, 1);
                    return Ok(Received::Samples);
                }
                Some(Push::Half(point, value)) => samples.push_i64(point, value, 1),
                Some(Push::Lost) => {
                    let error = RequestError::Timeout("silent".to_owned());
                    return Ok(Received::Lost { unit: 1, error });
                }
                Some(Push::Broken) => return Err(RequestError::Line("closed".to_owned())),
                None => self.0.pushed.notified().await,
            }
        }
    }

    async fn call(
        &mut self,
        _: &u8,
        method: &MethodConfig,
        arguments: &Value,
    ) -> Result<Value, RequestError> {
        match method.name.as_str() {
            "echo" => Ok(json!({"config": method.config, "arguments": arguments})),
            "long" => Ok("x".repeat(2 << 20).into()),
            "never" => std::future::pending().await,
            other => Err(RequestError::Refused(format!("no method `{other}`"))),
        }
    }
}

fn pushed(unit: u8) -> Value {
    json!({
        "protocol": {"unit": unit},
        "points": [
            {"name": "a", "sampling": "push", "config": {"address": 1}},
            {"name": "b", "sampling": "push", "config": {"address": 2}},
        ],
    })
}

#[tokio::test]
async fn what_is_pushed_arrives_in_order() {
    let (mapper, world) = start("order");
    mapper.configure(pushed(1)).await;
    mapper.wait_online("default/device").await;
    mapper.wait_value("a", -1).await;
    let (_, a) = mapper.point("a");
    for value in 0..1000 {
        world.push(Push::Value(a, value));
    }
    mapper.wait_value("a", 999).await;
    let values: Vec<_> = mapper.samples("a").into_iter().map(|of| of.value).collect();
    let expected = (-1..1000).map(|value| Ok(SampleValue::Int(value)));
    assert_eq!(values, expected.collect::<Vec<_>>());
    let batches = mapper.recorder().look(|record| record.batches);
    assert!(
        batches < 500,
        "what comes together goes together: {batches}"
    );
    assert_eq!(world.reads.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_is_pushed_arrives_on_a_bus_that_is_always_busy() {
    let (mapper, world) = start("busy");
    // A thousand requests each millisecond: it cannot keep up.
    let points = (0..2000).map(|index| json!({"name": format!("p{index}"), "intervalMs": 1}));
    let points: Vec<_> = points.collect();
    mapper
        .configure(json!({"device": "d/polled", "protocol": {"unit": 2}, "points": points}))
        .await;
    mapper.configure(pushed(1)).await;
    mapper.wait_value("a", -1).await;
    let (_, a) = mapper.point("a");
    for value in 0..20 {
        world.push(Push::Value(a, value));
        mapper.wait_value("a", value).await;
    }
    mapper.wait_samples("p1999", 2).await;
}

#[tokio::test]
async fn a_receive_that_is_dropped_loses_nothing() {
    let (mapper, world) = start("half");
    mapper.configure(pushed(1)).await;
    mapper.wait_value("b", -1).await;
    let (_, a) = mapper.point("a");
    for value in 0..50 {
        world.push(Push::Half(a, value));
        // The command ends the receive, whenever it comes.
        mapper.write_ok("b", 1).await;
    }
    mapper.write_ok("b", 1).await;
    mapper.wait_value("a", 49).await;
    assert_eq!(mapper.samples("a").len(), 51);
}

#[tokio::test]
async fn a_lost_unit_is_watched_again_and_a_lost_line_dialled() {
    let (mapper, world) = start("lost");
    mapper.configure(pushed(1)).await;
    mapper.wait_online("default/device").await;
    world.push(Push::Lost);
    let message = mapper.wait_offline("default/device").await;
    assert_eq!(message, "no answer: silent");
    mapper.wait_online("default/device").await;
    world.push(Push::Broken);
    let (_, a) = mapper.point("a");
    mapper
        .wait("the third watch", |_| {
            (world.watches.lock().unwrap().len() == 3).then_some(())
        })
        .await;
    world.push(Push::Value(a, 7));
    mapper.wait_value("a", 7).await;
    assert_eq!(world.dials.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_stop_ends_a_watch_and_a_receive_at_once() {
    for unit in [1, 13] {
        let (mapper, world) = start("stop");
        mapper.configure(pushed(unit)).await;
        mapper
            .wait("a connection", |_| {
                (world.dials.load(Ordering::Relaxed) > 0).then_some(())
            })
            .await;
        mapper.stop();
        // The thread has ended and given back what it had, long before the
        // watch and the receive would have.
        worlds().remove("stop");
        assert_eq!(Arc::strong_count(&world), 1);
        let batches = mapper.recorder().look(|record| record.batches);
        world.push(Push::Value(mapper.point("a").1, 1));
        assert_eq!(mapper.recorder().look(|record| record.batches), batches);
    }
}

#[tokio::test]
async fn a_method_is_called() {
    let (mapper, _) = start("call");
    let device = json!({
        "points": [{"name": "a"}],
        "methods": [{"name": "echo", "config": {"node": 5}}],
    });
    mapper.configure(device).await;
    let done = mapper.call("default/device", "echo", json!([1, 2])).await;
    assert_eq!(done.status, Status::Ok);
    assert_eq!(done.message, r#"{"config":{"node":5},"arguments":[1,2]}"#);
    let done = mapper.call("default/device", "reset", Value::Null).await;
    assert_eq!(done.status, Status::Refused);
    assert_eq!(done.message, "device refused: no method `reset`");
    let done = mapper.call("default/device", "long", Value::Null).await;
    assert_eq!(done.status, Status::Internal);
    let text = json!({"name": "never"}).to_string();
    let token = mapper.submit(1, CommandKind::Call(text), Duration::from_millis(50));
    assert_eq!(mapper.completion(token).await.status, Status::Timeout);
    let kind = CommandKind::Call("{}".to_owned());
    let token = mapper.submit(1, kind, Duration::from_secs(5));
    let done = mapper.completion(token).await;
    assert_eq!(done.status, Status::InvalidArgument);
    assert!(findings(&done)[0].message.contains("name"), "{done:?}");
}

#[tokio::test]
async fn devices_are_looked_for_a_few_at_a_time() {
    let (mapper, _) = start("discover");
    let found = mapper.discover(json!({"find": "one"})).await.unwrap();
    assert_eq!(found.devices[0].name, "one");
    let wrong = mapper.discover(json!({})).await.unwrap_err();
    assert_eq!(wrong.status, Status::InvalidArgument);
    assert_eq!(findings(&wrong)[0].path, "find");
    let wrong = mapper.discover(json!([])).await.unwrap_err();
    assert_eq!(wrong.status, Status::InvalidArgument);
    let broken = mapper.discover(json!({"find": "bus"})).await.unwrap_err();
    assert_eq!(broken.status, Status::Line);
    let panicked = mapper.discover(json!({"find": "panic"})).await.unwrap_err();
    assert_eq!(panicked.status, Status::Internal);

    let never = || CommandKind::Discover(json!({"find": "never"}).to_string());
    let short = mapper.submit(0, never(), Duration::from_millis(50));
    assert_eq!(mapper.completion(short).await.status, Status::Timeout);
    let long: Vec<_> = (0..5)
        .map(|_| mapper.submit(0, never(), Duration::from_secs(60)))
        .collect();
    assert_eq!(mapper.completion(long[4]).await.status, Status::Busy);
    mapper.stop();
    for token in &long[..4] {
        assert_eq!(mapper.completion(*token).await.status, Status::Stopped);
    }
}

#[tokio::test]
async fn a_group_comes_whole() {
    let (mapper, _) = start("group");
    let point = |name: &str| json!({"name": name, "group": "energy"});
    let points: Vec<_> = ["a", "b", "c", "d", "e"].map(point).into();
    let done = mapper.configure(json!({"points": points})).await;
    assert_eq!(done.message, "");
    // The first reading may have come before this: all of it is compared.
    mapper.wait_samples("e", 5).await;
    let all = ["a", "b", "c", "d", "e"].map(|name| mapper.samples(name));
    for reading in 0..5 {
        let of = |samples: &Vec<TestSample>| {
            let sample = &samples[reading];
            (sample.batch, sample.source_time_ns)
        };
        let whole = all.each_ref().map(of);
        assert!(whole.iter().all(|of| *of == whole[0]), "{whole:?}");
    }
    let slow = json!({"name": "b", "group": "energy", "intervalMs": 100});
    let done = mapper
        .configure(json!({"points": [point("a"), slow]}))
        .await;
    assert_eq!(findings(&done)[0].path, "points[1].group");
}

#[tokio::test]
async fn a_host_that_is_full_loses_no_push() {
    let (mapper, world) = start("full");
    mapper.configure(pushed(1)).await;
    mapper.wait_value("a", -1).await;
    let (_, a) = mapper.point("a");
    mapper.recorder().set_full(true);
    for value in 0..100 {
        world.push(Push::Value(a, value));
    }
    mapper.recorder().set_full(false);
    mapper.wait_value("a", 99).await;
    assert_eq!(mapper.samples("a").len(), 101);
}

#[tokio::test]
async fn a_panic_while_parsing_costs_only_its_device() {
    let (mapper, _) = start("panic-parse");
    mapper.configure(pushed(1)).await;
    let wrong =
        json!({"device": "d/wrong", "protocol": {"panic": true}, "points": [{"name": "c"}]});
    let done = mapper.try_configure(wrong).await;
    assert_eq!(done.status, Status::InvalidConfig);
    assert!(done.message.contains("cannot parse"), "{}", done.message);
    mapper.wait_bad("c").await;
    mapper.write_ok("a", 1).await;
}

#[tokio::test]
async fn a_panic_on_a_bus_ends_its_commands() {
    let (mapper, _) = start("panic-plan");
    let device = json!({"points": [{"name": "a", "intervalMs": 0, "config": {"address": 666}}]});
    mapper.configure(device).await;
    let (device, point) = mapper.point("a");
    let read = || {
        let kind = CommandKind::Read { point };
        mapper.submit(device, kind, Duration::from_secs(10))
    };
    let tokens = [read(), read(), read()];
    assert_eq!(mapper.completion(tokens[0]).await.status, Status::Internal);
    for token in &tokens[1..] {
        let done = mapper.completion(*token).await;
        let is_over = matches!(done.status, Status::Internal | Status::InvalidArgument);
        assert!(is_over, "{done:?}");
    }
    mapper.wait_offline("default/device").await;
    // Configured anew it lives again.
    mapper.configure(json!({"points": [{"name": "a"}]})).await;
    mapper.wait_value("a", 0).await;
}

#[tokio::test]
async fn a_batch_never_outgrows_the_contract() {
    let (mapper, _) = start("long");
    // Every one of them is wrong, and says so at length.
    let point = |index: u32| {
        let config = json!({"bad": "y".repeat(300)});
        json!({"name": format!("p{index}"), "config": config})
    };
    let points: Vec<_> = (0..12_000).map(point).collect();
    let done = mapper.try_configure(json!({"points": points})).await;
    assert_eq!(done.status, Status::Ok);
    assert!(done.message.len() < 1 << 20);
    let findings = findings(&done);
    assert_eq!(findings.len(), 1001);
    assert_eq!(findings[1000].message, "11000 more findings are not listed");
    mapper.wait_bad("p11999").await;
    let longest = mapper.recorder().look(|record| record.longest);
    assert!(longest < 4 << 20, "{longest}");
}

//! A mapper under test: it is driven as the host drives it, and all that it emits is recorded.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::{Child, Command as Process, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use longshore_sdk::{
    Command, CommandKind, Completion, Event, Host, HostFunctions, Level, Mapper, Reading, Reason,
    SampleValue, Status, Stopped,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ModbusMapper;

const PATIENCE: Duration = Duration::from_secs(20);

/// What has come from the mapper.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// The latest good value of each point.
    pub(super) values: BTreeMap<u32, SampleValue>,
    /// Every value that a point ever had, as text.
    pub(super) history: BTreeMap<u32, BTreeSet<String>>,
    /// How many good samples.
    pub(super) counts: BTreeMap<u32, u64>,
    /// The bad samples.
    pub(super) bad: Vec<(u32, Option<Reason>, String)>,
    pub(super) completions: BTreeMap<u64, Completion>,
    /// Whether each device is online, and why not.
    pub(super) online: BTreeMap<u32, (bool, String)>,
    /// How often a device went offline.
    pub(super) outages: u64,
    pub(super) events: u64,
    pub(super) logs: Vec<String>,
}

#[derive(Default)]
struct Recorder {
    record: Mutex<Record>,
    changed: Condvar,
}

impl HostFunctions for Recorder {
    fn try_emit(&self, event: &Event) -> Result<bool, Stopped> {
        let mut record = self.record.lock().unwrap();
        record.events += 1;
        for state in &event.states {
            record.outages += u64::from(!state.online);
            record
                .online
                .insert(state.device, (state.online, state.message.clone()));
        }
        for sample in event.samples.iter() {
            let value = match sample.reading {
                Reading::Bool(value) => SampleValue::Bool(value),
                Reading::Int(value) => SampleValue::Int(value),
                Reading::Uint(value) => SampleValue::Uint(value),
                Reading::Float(value) => SampleValue::Float(value),
                Reading::String(value) => SampleValue::String(value.to_owned()),
                Reading::Bytes(value) => SampleValue::Bytes(value.to_owned()),
                Reading::Bad { reason, message } => {
                    record.bad.push((sample.point, reason, message.to_owned()));
                    continue;
                }
            };
            record
                .history
                .entry(sample.point)
                .or_default()
                .insert(format!("{value:?}"));
            *record.counts.entry(sample.point).or_default() += 1;
            record.values.insert(sample.point, value);
        }
        record.completions.extend(
            event
                .completions
                .iter()
                .map(|completion| (completion.token, completion.clone())),
        );
        self.changed.notify_all();
        Ok(true)
    }

    fn wait_writable(&self, _timeout: Duration) -> Result<bool, Stopped> {
        Ok(true)
    }

    fn log(&self, _level: Level, message: &str) {
        self.record.lock().unwrap().logs.push(message.to_owned());
    }
}

pub(super) struct Rig {
    mapper: ModbusMapper,
    recorder: Arc<Recorder>,
    token: AtomicU64,
}

impl Rig {
    pub(super) fn new() -> Self {
        let recorder = Arc::new(Recorder::default());
        let functions: Arc<dyn HostFunctions> = recorder.clone();
        let mapper =
            ModbusMapper::create(Host::new(functions), &json!({})).expect("the mapper starts");
        Self {
            mapper,
            recorder,
            token: AtomicU64::new(1),
        }
    }

    /// Waits until the record is as wanted; else tells what is there.
    pub(super) fn wait(&self, what: &str, mut wanted: impl FnMut(&Record) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut record = self.recorder.record.lock().unwrap();
        while !wanted(&record) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited in vain for {what}; there is {record:#?}"
            );
            record = self.recorder.changed.wait_timeout(record, left).unwrap().0;
        }
    }

    pub(super) fn look<T>(&self, at: impl FnOnce(&Record) -> T) -> T {
        at(&self.recorder.record.lock().unwrap())
    }

    /// Waits until `count` more samples of the point have come.
    pub(super) fn wait_samples(&self, point: u32, count: u64) {
        let before = self.look(|record| record.counts.get(&point).copied().unwrap_or(0));
        self.wait(&format!("{count} more samples of {point}"), |record| {
            record
                .counts
                .get(&point)
                .is_some_and(|now| *now >= before + count)
        });
    }

    pub(super) fn start(&self, device: u32, kind: CommandKind) -> u64 {
        let token = self.token.fetch_add(1, Ordering::Relaxed);
        let command = Command {
            token,
            budget: Duration::from_secs(10),
            device,
            kind,
        };
        self.mapper
            .submit(vec![command])
            .expect("the mapper takes the command");
        token
    }

    pub(super) fn finish(&self, token: u64) -> Completion {
        self.wait(&format!("the end of command {token}"), |record| {
            record.completions.contains_key(&token)
        });
        self.look(|record| record.completions[&token].clone())
    }

    pub(super) fn command(&self, device: u32, kind: CommandKind) -> Completion {
        self.finish(self.start(device, kind))
    }

    /// Configures a device of points `(id, twin type, configuration)`, all writable.
    pub(super) fn configure(
        &self,
        device: u32,
        protocol: &Value,
        interval_ms: u64,
        points: &[(u32, &str, Value)],
    ) {
        let points: Vec<_> = points
            .iter()
            .map(|(id, twin, config)| {
                json!({"id": id, "name": format!("p{id}"), "writable": true, "intervalMs": interval_ms, "type": twin, "config": config})
            })
            .collect();
        let text =
            json!({"device": format!("default/d{device}"), "protocol": protocol, "points": points})
                .to_string();
        let completion = self.command(device, CommandKind::Configure(text));
        assert_eq!(completion.status, Status::Ok, "{}", completion.message);
    }

    pub(super) fn write(&self, device: u32, point: u32, value: SampleValue) -> Completion {
        self.command(device, CommandKind::Write { point, value })
    }

    pub(super) fn write_ok(&self, device: u32, point: u32, value: SampleValue) {
        let completion = self.write(device, point, value);
        assert_eq!(
            completion.status,
            Status::Ok,
            "point {point}: {}",
            completion.message
        );
    }

    pub(super) fn wait_value(&self, point: u32, value: &SampleValue) {
        self.wait(&format!("point {point} to be {value:?}"), |record| {
            record.values.get(&point) == Some(value)
        });
    }

    pub(super) fn wait_online(&self, device: u32, online: bool) {
        self.wait(
            &format!("device {device} to be online: {online}"),
            |record| {
                record
                    .online
                    .get(&device)
                    .is_some_and(|(is, _)| *is == online)
            },
        );
    }

    pub(super) fn stop(&self) {
        self.mapper.stop(Duration::from_secs(5));
    }
}

/// A pair of connected serial ports.
pub(super) struct Ports {
    pub(super) ours: PathBuf,
    pub(super) theirs: PathBuf,
    _socat: Kill,
    _folder: TempDir,
}

/// A process that ends with the test.
pub(super) struct Kill(pub(super) Child);

impl Drop for Kill {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// # Panics
/// When socat is missing.
pub(super) fn ports() -> Ports {
    let folder = TempDir::new().expect("a temporary folder");
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    let end = |path: &PathBuf| format!("pty,raw,echo=0,link={}", path.display());
    let socat = Process::new("socat")
        .args([end(&ours), end(&theirs)])
        .stderr(Stdio::null())
        .spawn()
        .expect("socat is missing; install it: apt-get install socat");
    let socat = Kill(socat);
    let deadline = Instant::now() + PATIENCE;
    while fs::metadata(&ours).is_err() || fs::metadata(&theirs).is_err() {
        assert!(
            Instant::now() < deadline,
            "socat made no ports in {}",
            folder.path().display()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    Ports {
        ours,
        theirs,
        _socat: socat,
        _folder: folder,
    }
}

/// The points of the common check, and the values that devices start with.
pub(super) fn readable() -> Vec<(u32, &'static str, Value, SampleValue)> {
    vec![
        (1, "INT", json!({"address": "hr:0"}), SampleValue::Int(215)),
        (
            2,
            "FLOAT",
            json!({"address": "hr:1"}),
            SampleValue::Float(21.5),
        ),
        (
            3,
            "FLOAT",
            json!({"address": "hr:3#CDAB"}),
            SampleValue::Float(21.5),
        ),
        (
            4,
            "INT",
            json!({"address": "hr:5", "rawType": "uint64"}),
            SampleValue::Uint(4_294_967_298),
        ),
        (
            5,
            "STRING",
            json!({"address": "hr:10:4"}),
            SampleValue::String("Shore".to_owned()),
        ),
        (
            6,
            "BOOLEAN",
            json!({"address": "hr:20.1"}),
            SampleValue::Bool(true),
        ),
        (
            7,
            "BOOLEAN",
            json!({"address": "hr:20.2"}),
            SampleValue::Bool(false),
        ),
        (
            8,
            "INT",
            json!({"address": "hr:20.0:4"}),
            SampleValue::Uint(10),
        ),
        (9, "INT", json!({"address": "ir:0"}), SampleValue::Int(-5)),
        (
            10,
            "INT",
            json!({"address": 30_002}),
            SampleValue::Int(1000),
        ),
        (
            11,
            "BOOLEAN",
            json!({"address": "co:0"}),
            SampleValue::Bool(true),
        ),
        (
            12,
            "BOOLEAN",
            json!({"address": "co:1"}),
            SampleValue::Bool(false),
        ),
        (
            13,
            "BOOLEAN",
            json!({"address": "di:3"}),
            SampleValue::Bool(true),
        ),
        (
            14,
            "INT",
            json!({"address": "di:0:4"}),
            SampleValue::Uint(9),
        ),
    ]
}

/// Points to write, and what to write. Functions 6, 16, 16 by wish, 22, 22, 5, 15.
pub(super) fn writable() -> Vec<(u32, &'static str, Value, SampleValue)> {
    vec![
        (20, "INT", json!({"address": "hr:30"}), SampleValue::Int(-7)),
        (
            21,
            "FLOAT",
            json!({"address": "hr:31"}),
            SampleValue::Float(3.25),
        ),
        (
            22,
            "INT",
            json!({"address": "hr:33", "writeFunction": "multiple"}),
            SampleValue::Int(42),
        ),
        (
            23,
            "BOOLEAN",
            json!({"address": "hr:34.3"}),
            SampleValue::Bool(true),
        ),
        (
            24,
            "INT",
            json!({"address": "hr:34.8:4"}),
            SampleValue::Uint(5),
        ),
        (
            25,
            "BOOLEAN",
            json!({"address": "co:5"}),
            SampleValue::Bool(true),
        ),
        (
            26,
            "INT",
            json!({"address": "co:8:4"}),
            SampleValue::Uint(9),
        ),
        (
            27,
            "STRING",
            json!({"address": "hr:40:3"}),
            SampleValue::String("abc".to_owned()),
        ),
    ]
}

/// The one check for all transports and peers: what is there is read, what is written is read back.
pub(super) fn check_device(protocol: &Value) {
    let rig = Rig::new();
    let (readable, writable) = (readable(), writable());
    let points: Vec<_> = readable
        .iter()
        .chain(&writable)
        .map(|(id, twin, config, _)| (*id, *twin, config.clone()))
        .collect();
    rig.configure(1, protocol, 50, &points);
    for (id, _, _, value) in &readable {
        rig.wait_value(*id, value);
    }
    for (id, _, _, value) in &writable {
        rig.write_ok(1, *id, value.clone());
    }
    for (id, _, _, value) in &writable {
        rig.wait_value(*id, value);
    }
    rig.look(|record| {
        assert!(record.bad.is_empty(), "{:?}", record.bad);
        assert_eq!(record.online.get(&1), Some(&(true, String::new())));
    });
    // Outside of the type, and what nothing can write.
    assert_eq!(
        rig.write(1, 20, SampleValue::Int(40_000)).status,
        Status::InvalidArgument
    );
    assert_eq!(
        rig.write(1, 9, SampleValue::Int(1)).status,
        Status::InvalidArgument
    );
    assert_eq!(
        rig.write(1, 99, SampleValue::Int(1)).status,
        Status::InvalidArgument
    );
    rig.stop();
    let events = rig.look(|record| record.events);
    assert_eq!(
        events,
        rig.look(|record| record.events),
        "nothing is emitted after the stop"
    );
}

/// The registers that [`readable`] expects, as a simulator.
pub(super) fn simulator() -> longshore_sim_modbus::Builder {
    let mut plc = longshore_sim_modbus::modbus();
    for unit in [2, 1] {
        plc = plc
            .unit(unit)
            .registers(40_001, &[215, 0x41AC, 0, 0, 0x41AC, 0, 1, 0, 2])
            .registers(40_011, &[0x5368, 0x6F72, 0x6500, 0])
            .registers(40_021, &[0x000A])
            .registers(40_010, &[0])
            .registers(40_015, &[0; 6])
            .registers(40_022, &[0; 30])
            .registers(30_001, &[0xFFFB, 1000]);
        for bit in 0..32 {
            plc = plc
                .bit(1 + bit, bit % 2 == 0)
                .bit(10_001 + bit, bit % 3 == 0);
        }
    }
    plc
}

//! A mapper under test for tests that block: devices and points by their ids,
//! and what came counted together.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{BUDGET, Record, TestMapper, findings, recorder::PATIENCE};
use crate::{CommandKind, Completion, Protocol, Reason, SampleValue, Status};

/// A wait looks again after this time.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A [`TestMapper`] that is driven without async code. Its waits block the
/// thread, so that a simulator needs a runtime with threads of its own.
pub struct Rig<P: Protocol>(TestMapper<P>);

/// What has come from the mapper, counted together.
#[derive(Debug, Default)]
pub struct Tally {
    /// The latest good value of each point.
    pub values: BTreeMap<u32, SampleValue>,
    /// The source time of the latest good value, in nanoseconds.
    pub times: BTreeMap<u32, i64>,
    /// Every value that a point ever had, as text.
    pub history: BTreeMap<u32, BTreeSet<String>>,
    /// How many good samples.
    pub counts: BTreeMap<u32, u64>,
    /// The bad samples, oldest first.
    pub bad: Vec<(u32, Option<Reason>, String)>,
    /// Whether each device is online, and why not.
    pub online: BTreeMap<u32, (bool, String)>,
    /// How often a device went offline.
    pub outages: u64,
    /// Batches taken.
    pub events: u64,
    /// The lines for the log.
    pub logs: Vec<String>,
}

impl Tally {
    fn of(record: &Record) -> Self {
        let mut tally = Self {
            events: record.batches,
            logs: record.logs.iter().map(|(_, line)| line.clone()).collect(),
            ..Self::default()
        };
        for state in &record.states {
            tally.outages += u64::from(!state.online);
            let state_now = (state.online, state.message.clone());
            tally.online.insert(state.device, state_now);
        }
        let mut bad = Vec::new();
        for sample in record.samples() {
            let point = sample.point;
            match &sample.value {
                Ok(value) => {
                    let history = tally.history.entry(point).or_default();
                    history.insert(format!("{value:?}"));
                    *tally.counts.entry(point).or_default() += 1;
                    tally.times.insert(point, sample.source_time_ns);
                    tally.values.insert(point, value.clone());
                }
                Err((reason, message)) => {
                    bad.push((sample.batch, (point, *reason, message.clone())));
                }
            }
        }
        bad.sort_by_key(|(batch, _)| *batch);
        tally.bad = bad.into_iter().map(|(_, bad)| bad).collect();
        tally
    }
}

impl<P: Protocol> Rig<P> {
    /// Starts an instance without a configuration of its own.
    ///
    /// # Panics
    /// The mapper does not start.
    #[expect(clippy::new_without_default, reason = "it starts a thread")]
    pub fn new() -> Self {
        Self::with(json!({}))
    }

    /// Starts an instance with the mapper's own configuration.
    ///
    /// # Panics
    /// The mapper does not start.
    pub fn with(config: Value) -> Self {
        Self(TestMapper::start(config))
    }

    /// Looks at what has come.
    pub fn look<T>(&self, at: impl FnOnce(&Tally) -> T) -> T {
        at(&self.0.recorder().look(Tally::of))
    }

    /// Waits until the record is as wanted.
    ///
    /// # Panics
    /// It is not within a minute. The message tells what is there.
    pub fn wait(&self, what: &str, mut wanted: impl FnMut(&Tally) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        self.until(deadline, what, |rig| rig.look(&mut wanted).then_some(()));
    }

    fn until<T>(
        &self,
        deadline: Instant,
        what: &str,
        mut wanted: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        loop {
            if let Some(found) = wanted(self) {
                return found;
            }
            if Instant::now() > deadline {
                self.look(|tally| panic!("waited in vain for {what}; there is {tally:#?}"));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Waits until `count` more samples of the point have come.
    pub fn wait_samples(&self, point: u32, count: u64) {
        let counted = |tally: &Tally| tally.counts.get(&point).copied().unwrap_or(0);
        let before = self.look(counted);
        self.wait(&format!("{count} more samples of {point}"), |tally| {
            counted(tally) >= before + count
        });
    }

    /// Begins a command and gives its token.
    pub fn start(&self, device: u32, kind: CommandKind) -> u64 {
        self.0.submit(device, kind, BUDGET)
    }

    /// Waits for the end of a command.
    pub fn finish(&self, token: u64) -> Completion {
        let deadline = Instant::now() + PATIENCE;
        self.until(deadline, &format!("the end of command {token}"), |rig| {
            rig.0
                .recorder()
                .look(|record| record.completion(token).cloned())
        })
    }

    /// A command and its end.
    pub fn command(&self, device: u32, kind: CommandKind) -> Completion {
        self.finish(self.start(device, kind))
    }

    /// Configures a device of points `(id, twin type, configuration)`, all writable.
    ///
    /// # Panics
    /// It is refused, or a point of it is.
    pub fn configure(
        &self,
        device: u32,
        protocol: &Value,
        interval_ms: u64,
        points: &[(u32, &str, Value)],
    ) {
        let points = points.iter().map(|(id, twin, config)| {
            json!({"id": id, "name": format!("p{id}"), "writable": true, "intervalMs": interval_ms, "type": twin, "config": config})
        });
        let points: Vec<_> = points.collect();
        let name = format!("default/d{device}");
        let text = json!({"device": name, "protocol": protocol, "points": points}).to_string();
        let completion = self.command(device, CommandKind::Configure(text));
        let is_wrong = findings(&completion).iter().any(|of| of.level == "error");
        assert!(
            completion.status == Status::Ok && !is_wrong,
            "the configuration is refused: {completion:?}"
        );
    }

    /// Writes a value to a point.
    pub fn write(&self, device: u32, point: u32, value: SampleValue) -> Completion {
        self.command(device, CommandKind::Write { point, value })
    }

    /// Writes a value and expects that the device takes it.
    ///
    /// # Panics
    /// It does not.
    pub fn write_ok(&self, device: u32, point: u32, value: SampleValue) {
        let completion = self.write(device, point, value);
        assert_eq!(
            completion.status,
            Status::Ok,
            "point {point}: {completion:?}"
        );
    }

    /// Waits until a point has this value.
    pub fn wait_value(&self, point: u32, value: &SampleValue) {
        self.wait(&format!("point {point} to be {value:?}"), |tally| {
            tally.values.get(&point) == Some(value)
        });
    }

    /// Waits until a device is online, or is not.
    pub fn wait_online(&self, device: u32, online: bool) {
        self.wait(
            &format!("device {device} to be online: {online}"),
            |tally| {
                tally
                    .online
                    .get(&device)
                    .is_some_and(|(is, _)| *is == online)
            },
        );
    }

    /// Stops the instance, as the host does.
    pub fn stop(&self) {
        self.0.stop();
    }
}

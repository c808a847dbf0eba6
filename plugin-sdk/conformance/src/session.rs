//! One instance under the judge's hand: orders out, what came back in.

use std::time::{Duration, Instant};

use longshore_abi as abi;
use longshore_host::{
    Status,
    bare::{Layout, Order, OrderValue},
};
use serde_json::json;

use crate::{
    child::Context,
    clock::Stopwatch,
    devices::Device,
    recorder::{Instance, Record, Recorder},
    rules::Finding,
    writes::{Journal, Kept, Pen},
};

/// Time that a command gets where the time is not the matter.
pub(crate) const BUDGET: Duration = Duration::from_secs(5);
/// What a completion may be late before it counts as lost.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// Time in which a device that was given has shown a first value, …
const FIRST_VALUE: Duration = Duration::from_secs(30);
/// … and one that the schema shows, which is hardly there.
const FIRST_SHOWN: Duration = Duration::from_secs(5);
/// Time for which a busy mapper is asked again.
const BUSY: Duration = Duration::from_secs(10);
/// Commands in one batch, so that a queue of moderate size takes it.
pub(crate) const BATCH: usize = 16;

/// How a command ended.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) status: Status,
    pub(crate) message: String,
}

impl Done {
    /// A warning says that a key of some point cannot be kept to.
    pub(crate) fn warns_of(&self, key: &str) -> bool {
        let faults = serde_json::from_str::<Vec<serde_json::Value>>(&self.message);
        faults.unwrap_or_default().iter().any(|fault| {
            let path = fault["path"].as_str().unwrap_or_default();
            fault["level"] == "warning" && path.rsplit('.').next() == Some(key)
        })
    }
}

pub(crate) struct Session {
    pub(crate) instance: Instance,
    pub(crate) recorder: &'static Recorder,
    pub(crate) journal: Journal,
    next_token: u64,
}

impl Session {
    /// An instance with the empty configuration.
    pub(crate) fn start(context: &Context) -> Result<Self, Finding> {
        Self::start_with(context, Layout::default())
    }

    pub(crate) fn start_with(context: &Context, layout: Layout) -> Result<Self, Finding> {
        let recorder = Recorder::new();
        let made = Instance::create(&context.mapper, b"{}", recorder, layout);
        let instance = made.map_err(|refused| {
            Finding::NotJudged(format!(
                "the mapper could not be started with the configuration {{}}: {} (status {})",
                refused.message.as_deref().unwrap_or("no reason"),
                refused.status
            ))
        })?;
        Ok(Self {
            instance,
            recorder,
            journal: context.journal.clone(),
            next_token: 1,
        })
    }

    /// Numbers an order.
    pub(crate) fn order(&mut self, kind: u32, device: u32, point: u32) -> Order {
        let token = self.next_token;
        self.next_token += 1;
        Order {
            kind,
            device,
            point,
            token,
            budget: BUDGET,
            value: OrderValue::None,
            text: Vec::new(),
        }
    }

    pub(crate) fn configuring(&mut self, device: &Device) -> Order {
        let mut order = self.order(abi::COMMAND_CONFIGURE, device.id, 0);
        order.text = device.text();
        order
    }

    /// Hands orders over, again while the mapper says that it is busy.
    pub(crate) fn submit(&mut self, orders: &[Order]) -> i32 {
        let watch = Stopwatch::start();
        loop {
            let status = self.instance.submit(orders);
            if status != abi::STATUS_BUSY || watch.has_passed(BUSY) {
                return status;
            }
            // Nobody tells when a mapper is less busy.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// As [`Session::submit`]; another status than OK ends the judgement.
    pub(crate) fn give(&mut self, orders: &[Order]) -> Result<(), Finding> {
        match self.submit(orders) {
            abi::STATUS_OK => Ok(()),
            status => Err(Finding::NotJudged(format!(
                "the mapper did not take the commands (status {status})"
            ))),
        }
    }

    /// Waits until the records give something, for so much time that counts.
    pub(crate) fn wait<T>(
        &self,
        patience: Duration,
        mut wanted: impl FnMut(&[Record]) -> Option<T>,
    ) -> Option<T> {
        let watch = Stopwatch::start();
        loop {
            let left = patience.saturating_sub(watch.elapsed());
            let found = self.recorder.wait(left, &mut wanted);
            if found.is_some() || watch.has_passed(patience) {
                return found;
            }
        }
    }

    /// The first completion of a command.
    pub(crate) fn done(&self, token: u64, patience: Duration) -> Option<Done> {
        let mut seen = 0;
        self.wait(patience, |records| {
            let found = completions(&records[seen..], |found| found == token).pop();
            seen = records.len();
            found.map(|(_, done)| done)
        })
    }

    /// Waits until each of these has ended; the number that has not.
    pub(crate) fn all_done(&self, tokens: &[u64], patience: Duration) -> usize {
        let mut left: std::collections::BTreeSet<u64> = tokens.iter().copied().collect();
        let mut seen = 0;
        self.wait(patience, |records| {
            for record in &records[seen..] {
                for completion in record.batch.completions() {
                    left.remove(&completion.token);
                }
            }
            seen = records.len();
            left.is_empty().then_some(())
        });
        left.len()
    }

    /// Carries one order out; a completion that does not come ends the judgement.
    pub(crate) fn carry_out(&mut self, order: Order) -> Result<Done, Finding> {
        let (token, patience) = (order.token, order.budget + GRACE);
        self.give(&[order])?;
        self.done(token, patience).ok_or_else(|| {
            Finding::NotJudged(
                "a command got no completion; see the rule `one-completion-each`".to_owned(),
            )
        })
    }

    pub(crate) fn configure(&mut self, device: &Device) -> Result<Done, Finding> {
        let order = self.configuring(device);
        self.carry_out(order)
    }

    /// Configures a device that answers. Tries what was given or what the
    /// schema shows, and waits for a good value; the judgement ends without.
    pub(crate) fn configure_live(
        &mut self,
        context: &Context,
        id: u32,
        interval_ms: u64,
    ) -> Result<Device, Finding> {
        let device = Device::new(&context.devices.any(), id, interval_ms);
        self.configure_answering(context, &device)?;
        Ok(device)
    }

    /// As [`Session::configure_live`], with a device that was made ready; how
    /// its configuration ended.
    pub(crate) fn configure_answering(
        &mut self,
        context: &Context,
        device: &Device,
    ) -> Result<Done, Finding> {
        let done = self.configure(device)?;
        let points = device.points();
        let interval = &device.config["points"][0]["intervalMs"];
        let was_given = context.devices.was_given();
        let patience = if was_given { FIRST_VALUE } else { FIRST_SHOWN };
        let watch = Stopwatch::start();
        while !watch.has_passed(patience) {
            let polled = interval.as_u64() > Some(0)
                && self
                    .wait_good(&points, Duration::from_millis(300))
                    .is_some();
            if polled || self.reads_good(&points)? {
                return Ok(done);
            }
        }
        let whose = if was_given {
            "the device that was given"
        } else {
            "no device was given, and what the mapper's schema shows"
        };
        Err(Finding::NotJudged(format!(
            "judged without a device: {whose} does not answer with a good value within {} s{}",
            patience.as_secs(),
            self.latest_fault()
        )))
    }

    /// What the mapper said last of a value that it does not have.
    fn latest_fault(&self) -> String {
        let records = self.recorder.records();
        let samples = records
            .iter()
            .rev()
            .flat_map(|record| record.batch.samples());
        let mut messages = samples.map(|sample| sample.message);
        let message = messages.find(|message| !message.is_empty());
        message.map_or_else(String::new, |message| format!(": {message}"))
    }

    /// Asks for the first point, and says whether a good value came.
    fn reads_good(&mut self, points: &[u32]) -> Result<bool, Finding> {
        let Some(point) = points.first() else {
            return Ok(false);
        };
        let device = point / 100;
        let mut order = self.order(abi::COMMAND_READ, device, *point);
        order.budget = Duration::from_secs(1);
        self.carry_out(order)?;
        Ok(self.wait_good(&[*point], Duration::ZERO).is_some())
    }

    /// The value that a point has now; nothing if it has none, or one that
    /// cannot be written.
    pub(crate) fn read(&mut self, device: u32, point: u32) -> Result<Option<Kept>, Finding> {
        let before = self.recorder.records().len();
        let order = self.order(abi::COMMAND_READ, device, point);
        self.carry_out(order)?;
        let records = self.recorder.records();
        let samples = records[before..].iter().flat_map(|record| {
            let samples = record.batch.samples();
            samples
                .filter(|sample| sample.point == point)
                .map(|sample| sample.value.and_then(Kept::of))
                .collect::<Vec<_>>()
        });
        Ok(samples.last().flatten())
    }

    /// As [`Session::read`], of a device that may need some time.
    pub(crate) fn read_patiently(
        &mut self,
        device: u32,
        point: u32,
    ) -> Result<Option<Kept>, Finding> {
        let watch = Stopwatch::start();
        loop {
            let found = self.read(device, point)?;
            if found.is_some() || watch.has_passed(FIRST_VALUE) {
                return Ok(found);
            }
            // Nobody tells when a device is back.
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn wait_good(&self, points: &[u32], patience: Duration) -> Option<()> {
        self.wait(patience, |records| {
            records
                .iter()
                .flat_map(|record| record.batch.samples())
                .any(|sample| points.contains(&sample.point) && sample.value.is_some())
                .then_some(())
        })
    }

    /// When samples of a point came, from a moment on.
    pub(crate) fn samples_since(&self, point: u32, since: Instant) -> Vec<Instant> {
        samples_of(&self.recorder.records(), point, since)
    }

    /// Waits until so many samples of a point came since a moment; when each
    /// came, or fewer if the time is over.
    pub(crate) fn wait_samples(
        &self,
        point: u32,
        since: Instant,
        count: usize,
        patience: Duration,
    ) -> Vec<Instant> {
        self.wait(patience, |records| {
            (samples_of(records, point, since).len() >= count).then_some(())
        });
        self.samples_since(point, since)
    }

    /// A mix of everything that a host asks for, for this device and for one
    /// that nobody knows. What is written is the pen's to say.
    pub(crate) fn mix(&mut self, pen: &Pen, device: &Device) -> Vec<Order> {
        let mut orders = vec![self.configuring(device)];
        for point in device.points().into_iter().take(3) {
            orders.push(self.order(abi::COMMAND_READ, device.id, point));
            let values = [OrderValue::Int(1), OrderValue::Text(b"on".to_vec())];
            orders.extend(pen.writes(self, device.id, point, values));
        }
        // Unknown: the point, the device, both.
        orders.push(self.order(abi::COMMAND_READ, device.id, 9_999));
        orders.push(self.order(abi::COMMAND_READ, 999, 9_999));
        orders.push(self.order(abi::COMMAND_REMOVE, 999, 0));
        let mut call = self.order(abi::COMMAND_CALL, pen.called(device.id), 0);
        call.text = json!({"name": "conformance", "config": {}, "arguments": {}})
            .to_string()
            .into_bytes();
        orders.push(call);
        orders.push(self.order(abi::COMMAND_REMOVE, device.id, 0));
        orders
    }
}

pub(crate) fn samples_of(records: &[Record], point: u32, since: Instant) -> Vec<Instant> {
    let records = records.iter().filter(|record| record.at >= since);
    let mut times = Vec::new();
    for record in records {
        let samples = record.batch.samples();
        let count = samples.filter(|sample| sample.point == point).count();
        times.extend(std::iter::repeat_n(record.at, count));
    }
    times
}

/// The completions whose tokens are wanted, in the order of their coming.
pub(crate) fn completions(
    records: &[Record],
    mut wanted: impl FnMut(u64) -> bool,
) -> Vec<(u64, Done)> {
    let mut found = Vec::new();
    for record in records {
        for completion in record.batch.completions() {
            if wanted(completion.token) {
                let done = Done {
                    status: completion.status,
                    message: completion.message.to_owned(),
                };
                found.push((completion.token, done));
            }
        }
    }
    found
}

/// Lets time pass: what must not happen has this long to happen.
pub(crate) fn watch_for(time: Duration) {
    std::thread::sleep(time);
}

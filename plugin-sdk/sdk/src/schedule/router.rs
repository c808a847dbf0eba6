//! Takes the host's commands apart and hands each to the task of its bus.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Command, CommandKind, Completion, Delivery, DeviceConfig, DeviceState, Fault, Level,
    MethodConfig, PointConfig, Protocol, Reason, Status, config,
    glue::panic_message,
    wire::{self, Line},
};

use super::{
    discovery::Discoveries,
    driver,
    emitter::{Emitter, Output},
    machine::{BusCommand, BusCommandKind, FAILED, MethodCall},
    unit::{Device, Slot},
};

/// Commands that may wait for one bus.
const BUS_QUEUE: usize = 16_384;

/// A command and when it came, which its budget counts from.
pub(super) struct Queued {
    pub(super) command: Command,
    pub(super) received: Instant,
}

struct BusHandle<P: Protocol> {
    commands: mpsc::Sender<BusCommand<P>>,
    devices: usize,
    /// What goes over it, for who wants to see it.
    line: Arc<Line>,
}

pub(super) struct Router<P: Protocol> {
    protocol: Arc<P>,
    queue: mpsc::Receiver<Queued>,
    emitter: Emitter,
    cancel: CancellationToken,
    buses: HashMap<P::Bus, BusHandle<P>>,
    devices: HashMap<u32, P::Bus>,
    tasks: JoinSet<()>,
    running: HashMap<Id, P::Bus>,
    discoveries: Discoveries,
    output: Output,
}

/// A method call as the host sends it.
#[derive(Deserialize)]
struct CallText {
    #[serde(flatten)]
    method: MethodConfig,
    #[serde(default)]
    arguments: serde_json::Value,
}

/// A fault or warning as the completion of a configuration tells it.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Finding<'a> {
    path: &'a str,
    message: &'a str,
    level: &'static str,
}

impl<P: Protocol> Router<P> {
    pub(super) fn new(
        protocol: Arc<P>,
        queue: mpsc::Receiver<Queued>,
        emitter: Emitter,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            protocol,
            queue,
            emitter,
            cancel,
            buses: HashMap::new(),
            devices: HashMap::new(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            discoveries: Discoveries::default(),
            output: Output::default(),
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => break,
                Some(ended) = self.tasks.join_next_with_id() => self.task_ended(ended),
                Some(ended) = self.discoveries.ended() => {
                    self.output.event.completions.push(ended);
                }
                queued = self.queue.recv() => match queued {
                    Some(queued) => self.route(queued),
                    None => break,
                },
            }
            self.emitter.flush(&mut self.output);
            // Thousands of configurations in a row must not keep the buses waiting.
            tokio::task::consume_budget().await;
        }
        self.queue.close();
        while let Some(queued) = self.queue.recv().await {
            self.complete(
                queued.command.token,
                Status::Stopped,
                "the mapper is stopped",
            );
        }
        let stopped = self.discoveries.stop();
        self.output.event.completions.extend(stopped);
        self.buses.clear();
        while self.tasks.join_next().await.is_some() {}
        self.emitter.flush(&mut self.output);
    }

    fn complete(&mut self, token: u64, status: Status, message: impl Into<String>) {
        self.output.event.completions.push(Completion {
            token,
            status,
            message: message.into(),
        });
    }

    fn route(&mut self, queued: Queued) {
        let Command {
            token,
            budget,
            device,
            kind,
        } = queued.command;
        let deadline = queued.received + budget;
        let kind = match kind {
            CommandKind::Configure(text) => return self.configure(token, deadline, device, &text),
            CommandKind::Remove => {
                match self.devices.get(&device).cloned() {
                    Some(bus) => {
                        self.remove(&bus, device, Some(token), deadline);
                    }
                    None => self.complete(token, Status::Ok, ""),
                }
                return;
            }
            CommandKind::Read { point } => BusCommandKind::Read { point },
            CommandKind::Write { point, value } => BusCommandKind::Write { point, value },
            CommandKind::Call(text) => match config::from_json::<CallText>("", &text) {
                Ok(CallText { method, arguments }) => {
                    BusCommandKind::Call(MethodCall { method, arguments })
                }
                Err(fault) => {
                    let message = report(&[finding(&fault, "error")]);
                    return self.complete(token, Status::InvalidArgument, message);
                }
            },
            CommandKind::Discover(text) => {
                let protocol = Arc::clone(&self.protocol);
                if let Err((status, message)) =
                    self.discoveries.start(protocol, token, deadline, &text)
                {
                    self.complete(token, status, message);
                }
                return;
            }
            CommandKind::Unknown(code) => {
                return self.complete(
                    token,
                    Status::Unsupported,
                    format!("unknown command {code}"),
                );
            }
        };
        match self.devices.get(&device).cloned() {
            Some(bus) => {
                let token = Some(token);
                self.send(
                    &bus,
                    BusCommand {
                        token,
                        deadline,
                        device,
                        kind,
                    },
                );
            }
            None => self.complete(
                token,
                Status::InvalidArgument,
                format!("device {device} is not configured"),
            ),
        }
    }

    /// `false`: the queue of the bus is full, and the command is ended as `Busy`.
    fn send(&mut self, bus: &P::Bus, command: BusCommand<P>) -> bool {
        let token = command.token;
        let sent = match self.buses.get(bus) {
            Some(handle) => handle.commands.try_send(command).is_ok(),
            None => false,
        };
        if let (false, Some(token)) = (sent, token) {
            self.busy(token, bus);
        }
        sent
    }

    fn busy(&mut self, token: u64, bus: &P::Bus) {
        self.complete(token, Status::Busy, format!("the queue of {bus} is full"));
    }

    /// Takes a device off its bus; `false` when the bus cannot be told now.
    fn remove(&mut self, bus: &P::Bus, device: u32, token: Option<u64>, deadline: Instant) -> bool {
        let kind = BusCommandKind::Remove;
        let command = BusCommand {
            token,
            deadline,
            device,
            kind,
        };
        if !self.send(bus, command) {
            return false;
        }
        self.devices.remove(&device);
        if let Some(handle) = self.buses.get_mut(bus) {
            handle.devices -= 1;
            handle.line.removed(device);
            if handle.devices == 0 {
                // The task ends, and closes the line, once it has done what it was told.
                self.buses.remove(bus);
            }
        }
        true
    }

    fn configure(&mut self, token: u64, deadline: Instant, id: u32, text: &str) {
        let mut config: DeviceConfig = match config::from_json("", text) {
            Ok(config) => config,
            Err(fault) => return self.refuse(token, deadline, id, None, &[fault]),
        };
        // The schedule's own key, whatever the protocol.
        let traced = config.protocol.remove(wire::KEY);
        let traced = traced.is_some_and(|traced| traced == true || traced == "true");
        let protocol = &self.protocol;
        // A bug of the protocol that one configuration shows costs one device.
        let parsed = catch_unwind(AssertUnwindSafe(|| protocol.parse(&config)));
        let parsed = parsed.unwrap_or_else(|payload| {
            let panic = panic_message(payload.as_ref());
            let message = format!("the mapper failed to read this configuration: {panic}");
            let path = String::new();
            Err(vec![Fault { path, message }])
        });
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(faults) if config.check => {
                let findings: Vec<_> = faults.iter().map(|fault| finding(fault, "error")).collect();
                return self.complete(token, Status::InvalidConfig, report(&findings));
            }
            Err(faults) => return self.refuse(token, deadline, id, Some(&config), &faults),
        };
        let mut findings: Vec<_> = parsed
            .warnings
            .iter()
            .map(|fault| finding(fault, "warning"))
            .collect();
        let faults = parsed
            .points
            .iter()
            .filter_map(|point| point.as_ref().err());
        findings.extend(faults.map(|fault| finding(fault, "error")));
        let doubts = group_doubts(&config.points);
        findings.extend(doubts.iter().map(|fault| finding(fault, "warning")));
        let message = report(&findings);
        drop(findings);
        if config.check {
            return self.complete(token, Status::Ok, message);
        }

        let mut device = Device {
            id,
            name: config.device,
            unit: parsed.unit,
            slots: Vec::with_capacity(config.points.len()),
            methods: config.methods,
            connect: Vec::new(),
            broken: Vec::new(),
        };
        for (point, parsed) in config.points.into_iter().zip(parsed.points) {
            match parsed {
                Ok(address) => device.slots.push(Slot {
                    id: point.id,
                    name: point.name.into(),
                    writable: point.writable,
                    priority: point.priority,
                    group: point.group.map(Into::into),
                    delivery: match point.command {
                        true => Delivery::Polled,
                        false => self.protocol.delivery(&device.unit, &address),
                    },
                    interval: (point.interval_ms > 0 && !point.command)
                        .then(|| Duration::from_millis(point.interval_ms)),
                    point: address,
                }),
                Err(fault) => device.broken.push((point.id, fault.to_string())),
            }
        }
        for write in &config.connect {
            // A point that is broken is told already.
            let slot = device.slots.iter().position(|slot| slot.id == write.point);
            device.connect.extend(slot.zip(write.value()));
        }

        match self.devices.get(&id).cloned() {
            Some(old) if old == parsed.bus => {}
            Some(old) if !self.remove(&old, id, None, deadline) => return self.busy(token, &old),
            _ => self.join(&parsed.bus),
        }
        self.devices.insert(id, parsed.bus.clone());
        if let Some(handle) = self.buses.get(&parsed.bus) {
            let points = device.slots.iter().map(|slot| (slot.id, &*slot.name));
            handle.line.configured(id, &device.name, traced, points);
        }
        let kind = BusCommandKind::Configure {
            device: Arc::new(device),
            message,
        };
        self.send(
            &parsed.bus,
            BusCommand {
                token: Some(token),
                deadline,
                device: id,
                kind,
            },
        );
    }

    /// A configuration without a bus: what the device was before is over.
    fn refuse(
        &mut self,
        token: u64,
        deadline: Instant,
        id: u32,
        config: Option<&DeviceConfig>,
        faults: &[Fault],
    ) {
        if let Some(bus) = self.devices.get(&id).cloned()
            && !self.remove(&bus, id, None, deadline)
        {
            return self.busy(token, &bus);
        }
        let text = faults
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        let text = shortened(&text, FINDING).to_owned();
        let time = driver::now().unix_ns;
        for point in config.iter().flat_map(|config| &config.points) {
            self.output
                .event
                .samples
                .push_bad(point.id, Reason::Config, &text, time);
        }
        self.output.event.states.push(DeviceState {
            device: id,
            online: false,
            message: text,
        });
        let findings: Vec<_> = faults.iter().map(|fault| finding(fault, "error")).collect();
        self.complete(token, Status::InvalidConfig, report(&findings));
    }

    /// One more device on the bus; the first one brings its task to life.
    fn join(&mut self, bus: &P::Bus) {
        if let Some(handle) = self.buses.get_mut(bus) {
            handle.devices += 1;
            return;
        }
        let (commands, queue) = mpsc::channel(BUS_QUEUE);
        let line = Line::new(self.emitter.host(), bus.to_string());
        let task = driver::run(
            Arc::clone(&self.protocol),
            bus.clone(),
            queue,
            self.emitter.clone(),
            self.cancel.clone(),
            Arc::clone(&line),
        );
        let id = self.tasks.spawn(Arc::clone(&line).scope(task)).id();
        self.running.insert(id, bus.clone());
        self.buses.insert(
            bus.clone(),
            BusHandle {
                commands,
                devices: 1,
                line,
            },
        );
    }

    /// A task that panicked takes its devices with it; they are offline until
    /// they are configured again.
    fn task_ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let (id, panicked) = match ended {
            Ok((id, ())) => (id, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        let Some(bus) = self.running.remove(&id).filter(|_| panicked) else {
            return;
        };
        self.output.logs.push((
            Level::Error,
            format!("the schedule of {bus} failed; its devices stand still"),
        ));
        self.buses.remove(&bus);
        let states = &mut self.output.event.states;
        self.devices.retain(|device, of| {
            let lost = *of == bus;
            if lost {
                let message = FAILED.to_owned();
                states.push(DeviceState {
                    device: *device,
                    online: false,
                    message,
                });
            }
            !lost
        });
    }
}

pub(super) fn finding<'a>(fault: &'a Fault, level: &'static str) -> Finding<'a> {
    Finding {
        path: &fault.path,
        message: shortened(&fault.message, FINDING),
        level,
    }
}

/// A group is read as one only where its points have one interval.
fn group_doubts(points: &[PointConfig]) -> Vec<Fault> {
    let mut intervals: HashMap<&str, u64> = HashMap::new();
    let mut doubts = Vec::new();
    for (index, point) in points.iter().enumerate() {
        let Some(group) = &point.group else { continue };
        let first = *intervals.entry(group).or_insert(point.interval_ms);
        if first != point.interval_ms {
            doubts.push(Fault {
                path: format!("points[{index}].group"),
                message: format!(
                    "group `{group}` is not read as one: `{}` is read every {} ms, another point of it every {first} ms",
                    point.name, point.interval_ms
                ),
            });
        }
    }
    doubts
}

/// Findings that a completion tells at most; who has more has one cause.
const FINDINGS: usize = 1000;
/// Characters of a finding's message at most.
const FINDING: usize = 500;

/// The findings as JSON; nothing when there are none. The batch that carries
/// them has its limit, which a device of many points must not reach.
pub(super) fn report(findings: &[Finding<'_>]) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let more = findings.len().saturating_sub(FINDINGS);
    let message = format!("{more} more findings are not listed");
    let mut told: Vec<Finding<'_>> = findings.iter().take(FINDINGS).copied().collect();
    if more > 0 {
        told.push(Finding {
            path: "",
            message: &message,
            level: "warning",
        });
    }
    serde_json::to_string(&told).unwrap_or_default()
}

fn shortened(text: &str, characters: usize) -> &str {
    let end = text.char_indices().nth(characters);
    end.map_or(text, |(end, _)| &text[..end])
}

//! The task of one mapper: carries out what the supervisor decides, and moves
//! commands one way and batches the other.

mod renew;

use std::{
    collections::VecDeque,
    future,
    sync::Arc,
    time::{Duration, Instant},
};

use longshore_abi as abi;
use tokio::sync::{mpsc, watch};

use self::renew::{Renewal, finished};
use crate::{
    batch::Batch,
    command::Status,
    event::{MapperEvent, MapperState},
    inbox::{Queued, Shared},
    inspect::Descriptor,
    peer::{MapperLog, Peer},
    spec::{HostOptions, MapperSpec},
    supervise::{Effect, Input, State, Supervisor},
    watchdog::Watchdog,
    wire::{FromMapper, ToMapper},
};

/// Pause before commands for which a mapper was too busy are offered again.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// An overdue answer counts after this time, in which messages are still read.
const SECOND_LOOK: Duration = Duration::from_millis(50);
/// Events, and bytes of their batches, that may wait while a mapper stops. An
/// edge that waits for the stop and takes nothing must not hold it up, so what
/// comes beyond is dropped.
const STOPPING_EVENTS: usize = 64;
const STOPPING_BYTES: usize = 1 << 20;

/// Where the edge hears of a mapper.
pub(crate) struct Told {
    pub(crate) events: mpsc::Sender<MapperEvent>,
    pub(crate) state: watch::Sender<MapperState>,
    /// What the library says of itself that runs.
    pub(crate) edition: watch::Sender<Option<Arc<Descriptor>>>,
}

pub(crate) struct Driver {
    pub(crate) spec: MapperSpec,
    options: HostOptions,
    pub(crate) events: mpsc::Sender<MapperEvent>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: watch::Sender<MapperState>,
    supervisor: Supervisor,
    watchdog: Watchdog,
    peer: Option<Peer>,
    generation: u64,
    /// Since when an answer is overdue.
    suspected: Option<Instant>,
    /// Which library runs, and which comes next.
    renewal: Renewal,
    /// Events that the edge has not taken yet. While there is one, nothing is
    /// read from the mapper: that is the back-pressure.
    outbox: VecDeque<MapperEvent>,
    /// The commands of the frame that the mapper has not answered.
    under_way: Vec<Queued>,
    /// What the mapper logs.
    log: Arc<MapperLog>,
    /// Lines that the present child says it left out.
    lost_in_child: u64,
    /// A frame is not answered yet; the next one waits for it.
    asked: bool,
    /// The mapper was too busy; not before this time.
    retry: Option<Instant>,
}

impl Driver {
    pub(crate) fn new(
        spec: MapperSpec,
        options: HostOptions,
        told: Told,
        shared: Arc<Shared>,
        now: Instant,
    ) -> Self {
        let patience = options.patience(spec.isolation);
        let log = MapperLog::new(spec.name.clone(), shared.counters.clone(), now);
        Self {
            supervisor: Supervisor::new(patience, now, fastrand::u64(..)),
            watchdog: Watchdog::new(options.limits(), now),
            renewal: Renewal::new(&spec, &options, told.edition, now),
            spec,
            options,
            events: told.events,
            shared,
            state: told.state,
            peer: None,
            generation: 0,
            suspected: None,
            outbox: VecDeque::new(),
            under_way: Vec::new(),
            log: Arc::new(log),
            lost_in_child: 0,
            asked: false,
            retry: None,
        }
    }

    pub(crate) async fn run(mut self) {
        let (shared, events) = (self.shared.clone(), self.events.clone());
        self.recall();
        loop {
            let deadline = self.advance(Instant::now());
            if self.outbox.is_empty() && matches!(self.supervisor.state, State::Ended { .. }) {
                return;
            }
            tokio::select! {
                biased;
                permit = events.reserve(), if !self.outbox.is_empty() => {
                    let Ok(permit) = permit else { return };
                    if let Some(event) = self.outbox.pop_front() {
                        permit.send(event);
                    }
                }
                message = receive(&mut self.peer), if self.may_receive() => self.handle(message, Instant::now()),
                message = receive(&mut self.renewal.next) => self.handle_candidate(message, Instant::now()),
                taken = finished(&mut self.renewal.job) => self.taken(taken, Instant::now()),
                () = shared.wake.notified() => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    fn may_receive(&self) -> bool {
        self.outbox.is_empty() || self.is_stopping()
    }

    fn is_stopping(&self) -> bool {
        matches!(
            self.supervisor.state,
            State::Stopping { .. } | State::Replacing { .. }
        )
    }

    /// The library's file is being read for a start: the disk's time, which
    /// does not count as the mapper's.
    fn is_reading(&self) -> bool {
        matches!(self.supervisor.state, State::Starting { .. }) && self.renewal.job.is_some()
    }

    /// Whether a stop goes on without waiting for the edge.
    fn is_full(&self) -> bool {
        let bytes = |event: &MapperEvent| match event {
            MapperEvent::Batch { batch, .. } => batch.size(),
            _ => 0,
        };
        self.outbox.len() >= STOPPING_EVENTS
            || self.outbox.iter().map(bytes).sum::<usize>() >= STOPPING_BYTES
    }

    /// Does all that is due; answers when to look again.
    fn advance(&mut self, now: Instant) -> Option<Instant> {
        let (stop, file) = {
            let mut inbox = self.shared.inbox();
            (inbox.stop.take(), inbox.file.take())
        };
        if let Some(file) = file {
            self.spec.file = file;
            self.renewal.look_now(now);
        }
        if let Some(budget) = stop {
            self.step(Input::Stop(budget), now);
        }
        if !self.is_reading() {
            self.step(Input::Tick, now);
        }
        self.watchdog.hold(!self.outbox.is_empty(), now);
        if !matches!(self.supervisor.state, State::Running { .. }) {
            return self.supervisor.deadline().filter(|_| !self.is_reading());
        }
        match (self.watchdog.overdue(now), self.suspected) {
            (None, _) => self.suspected = None,
            // This process itself may have been held up; what the mapper said
            // meanwhile is read before it is judged.
            (Some(_), None) => {
                self.suspected = Some(now);
                return Some(now + SECOND_LOOK);
            }
            (Some(_), Some(since)) if now < since + SECOND_LOOK => {
                return Some(since + SECOND_LOOK);
            }
            (Some(reason), Some(_)) => {
                self.suspected = None;
                self.shared.counters.fault();
                self.step(Input::Hung(reason), now);
                return self.supervisor.deadline();
            }
        }
        if !self.asked {
            self.dispatch(now);
        }
        let look = self.look(now);
        let deadlines = [
            self.watchdog.deadline(),
            self.retry,
            self.supervisor.deadline(),
            look,
        ];
        deadlines.into_iter().flatten().min()
    }

    pub(crate) fn step(&mut self, input: Input, now: Instant) {
        let effects = self.supervisor.step(input, now);
        for effect in effects {
            self.carry_out(effect, now);
        }
        self.publish();
    }

    fn carry_out(&mut self, effect: Effect, now: Instant) {
        let mapper = self.spec.name.clone();
        match effect {
            Effect::Spawn => self.spawn(now),
            Effect::Look => {
                if self.renewal.is_another(&self.spec.file) {
                    self.step(Input::Replaced, now);
                }
            }
            Effect::Up => {
                tracing::info!(
                    mapper = &*mapper,
                    generation = self.generation,
                    "mapper is up"
                );
                self.watchdog = Watchdog::new(self.options.limits(), now);
                (self.asked, self.retry) = (false, None);
                self.lost_in_child = 0;
                self.under_way.clear();
                self.renewal.up(self.supervisor.has_way_back());
                self.shared.inbox().accepting = true;
                self.outbox.push_back(MapperEvent::Up {
                    mapper,
                    generation: self.generation,
                });
            }
            Effect::Discard => {
                self.close_inbox();
                self.renewal.job = None;
                self.shared.counters.ended();
                if let Some(peer) = self.peer.take() {
                    peer.discard();
                }
            }
            Effect::Down(reason) => self.tell_down(reason, false),
            Effect::HandOver(reason) => self.tell_down(reason, true),
            Effect::SpawnCandidate => self.spawn_candidate(now),
            Effect::DiscardCandidate => self.discard_candidate(),
            Effect::Promote => self.promote(),
            Effect::Refuse(reason) => self.refuse_candidate(&reason),
            Effect::RollBack(reason) => self.roll_back(&reason),
            Effect::Settle => self.settle(),
            Effect::AskStop(budget) => {
                self.close_inbox();
                if let Some(peer) = &mut self.peer {
                    peer.send(ToMapper::Stop(budget));
                }
            }
        }
    }

    fn tell_down(&mut self, reason: Arc<str>, planned: bool) {
        self.outbox.push_back(MapperEvent::Down {
            mapper: (*self.spec.name).into(),
            generation: self.generation,
            reason,
            planned,
        });
    }

    fn close_inbox(&mut self) {
        let mut inbox = self.shared.inbox();
        inbox.accepting = false;
        inbox.queue = VecDeque::new();
        inbox.weight = 0;
    }

    /// Sends the next frame: commands if there are some, else a ping if it is time.
    fn dispatch(&mut self, now: Instant) {
        if self.retry.is_some_and(|retry| retry > now) {
            return;
        }
        self.retry = None;
        let mut refused = Vec::new();
        let frame = self.shared.inbox().next_frame(now, &mut refused);
        if !refused.is_empty() {
            self.complete(&refused);
        }
        if frame.is_empty() && !self.watchdog.ping_due(now) {
            return;
        }
        let Some(peer) = &mut self.peer else { return };
        if frame.is_empty() {
            peer.send(ToMapper::Ping);
        } else {
            let mut commands: Vec<_> = frame.iter().map(|queued| queued.command.clone()).collect();
            for (command, queued) in commands.iter_mut().zip(&frame) {
                command.budget = queued.due.saturating_duration_since(now);
                self.watchdog.sent(command.token, command.budget, now);
                self.renewal.sent(command);
            }
            peer.send(ToMapper::Commands(commands));
        }
        self.under_way = frame;
        self.asked = true;
        self.watchdog.asked(now);
    }

    pub(crate) fn handle(&mut self, message: FromMapper, now: Instant) {
        match message {
            FromMapper::Ready => self.step(Input::Ready, now),
            FromMapper::Failed {
                permanent: true,
                message,
            } => self.step(Input::Refused(message.into()), now),
            FromMapper::Failed {
                permanent: false,
                message,
            } => self.step(Input::Gone(message.into()), now),
            FromMapper::Answer(status) => self.answered(status, now),
            FromMapper::Pong { of_child } => {
                self.asked = false;
                self.watchdog.answered(now);
                self.log.tell_lost(now);
                if let Some(counts) = of_child {
                    self.shared.counters.blocked_in_child(counts.blocked);
                    let lost = counts.lost_lines.saturating_sub(self.lost_in_child);
                    self.lost_in_child = counts.lost_lines;
                    if lost > 0 {
                        self.log.lost_before(lost, now);
                    }
                }
            }
            FromMapper::Log { level, message } => self.log.line(level, &message, now),
            FromMapper::Batch(batch) => self.take_batch(batch, now),
            FromMapper::Stopped(status) => {
                if status != abi::STATUS_OK {
                    tracing::warn!(
                        mapper = &*self.spec.name,
                        status,
                        "mapper failed to stop cleanly"
                    );
                }
                self.step(Input::Stopped, now);
            }
            FromMapper::Exited { reason, fault } => {
                if fault {
                    self.shared.counters.fault();
                }
                self.step(Input::Gone(reason.into()), now);
            }
        }
    }

    fn take_batch(&mut self, batch: Batch, now: Instant) {
        // Before `create` returned there is no device to say something of.
        if matches!(self.supervisor.state, State::Starting { .. }) {
            return;
        }
        if self.is_stopping() && self.is_full() {
            return;
        }
        self.watchdog.is_active(now);
        self.shared
            .counters
            .batch(batch.sample_count(), batch.completion_count());
        let mut unfit = None;
        for completion in batch.completions() {
            self.watchdog.done(completion.token);
            let refused = self.renewal.completed(completion);
            unfit = unfit.or(refused);
        }
        self.outbox.push_back(MapperEvent::Batch {
            mapper: self.spec.name.clone(),
            generation: self.generation,
            batch,
        });
        if let Some(reason) = unfit {
            self.step(Input::Unfit(reason), now);
        }
    }

    fn answered(&mut self, status: i32, now: Instant) {
        self.asked = false;
        self.watchdog.answered(now);
        let frame = std::mem::take(&mut self.under_way);
        match status {
            abi::STATUS_OK => {}
            abi::STATUS_BUSY => {
                frame
                    .iter()
                    .for_each(|queued| self.watchdog.done(queued.command.token));
                self.shared.inbox().put_back(frame);
                self.retry = Some(now + BUSY_PAUSE);
            }
            abi::STATUS_PANIC => {
                self.step(Input::Gone("panicked while taking commands".into()), now)
            }
            abi::STATUS_STOPPED => self.step(
                Input::Gone("says that it is stopped, though nobody stopped it".into()),
                now,
            ),
            other => {
                for queued in &frame {
                    self.watchdog.done(queued.command.token);
                    self.renewal.returned(queued.command.token);
                }
                let status = crate::command::status_of(other);
                let ended: Vec<_> = frame
                    .iter()
                    .map(|queued| {
                        (
                            queued.command.token,
                            status,
                            "the mapper refused the commands",
                        )
                    })
                    .collect();
                self.complete(&ended);
            }
        }
    }

    /// Ends commands that no mapper took.
    fn complete(&mut self, ended: &[(u64, Status, &'static str)]) {
        let batch = Batch::from_completions(ended);
        self.outbox.push_back(MapperEvent::Batch {
            mapper: self.spec.name.clone(),
            generation: self.generation,
            batch,
        });
    }

    /// Shows the state; a function of the supervisor's.
    pub(crate) fn publish(&self) {
        let Supervisor {
            state,
            failures,
            reason,
            ..
        } = &self.supervisor;
        let state = match (state, reason) {
            (State::Waiting { .. } | State::Starting { .. }, Some(reason)) => {
                MapperState::Restarting {
                    reason: reason.clone(),
                    failures: *failures,
                }
            }
            (State::Waiting { .. }, None) => MapperState::Declared,
            (State::Starting { .. }, None) => MapperState::Loading,
            (State::Running { .. } | State::Replacing { .. }, _) => MapperState::Running {
                generation: self.generation,
                refused: self.renewal.refused(),
            },
            (State::Refused { .. }, reason) => MapperState::Failed {
                reason: reason.clone().unwrap_or_default(),
            },
            (State::Stopping { .. }, _) => MapperState::Stopping,
            (State::Ended { failed: None }, _) => MapperState::Stopped,
            (
                State::Ended {
                    failed: Some(reason),
                },
                _,
            ) => MapperState::Failed {
                reason: reason.clone(),
            },
        };
        self.state.send_if_modified(|shown| {
            let changed = *shown != state;
            if changed {
                match &state {
                    MapperState::Failed { reason } => tracing::error!(mapper = &*self.spec.name, %reason, "mapper failed"),
                    MapperState::Restarting { reason, failures } => {
                        tracing::warn!(mapper = &*self.spec.name, %reason, failures, "mapper restarts");
                    }
                    _ => {}
                }
                *shown = state;
            }
            changed
        });
    }
}

/// Pends for ever when there is no peer.
async fn receive(peer: &mut Option<Peer>) -> FromMapper {
    match peer {
        Some(peer) => peer.receive().await,
        None => future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => future::pending().await,
    }
}

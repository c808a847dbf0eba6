//! The task around the engine: mappers, store, local clients and time.

mod outgoing;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use longshore_host::{Batch, MapperEvent, MapperState};
use longshore_process::Stop;
use longshore_twin::{
    Engine, EngineStats, KINDS, MapperInfo, Now, Reading, Reconciliation, UpdateError,
};
use longshore_types::{NodeName, Topic, report::DeviceReport, topic::NodeEvent};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep_until,
};

use super::{
    handle::{Request, TwinInbox},
    saver::Saver,
};
use crate::{
    mappers::{Entry, Mappers, describe},
    ports::{BusPort, LinkState},
    store::{Object, Source, StoreHandle},
};

/// So soon after something happened the engine looks at the time, and says when
/// it has to again. Commands and payloads do not wait for it.
const TICK: Duration = Duration::from_millis(50);
/// Longest time between two looks.
const REST_AT_MOST: Duration = Duration::from_secs(60);
/// Events taken at once before others get their turn.
const EVENTS: usize = 64;
/// Requests taken at once before others get their turn.
const REQUESTS: usize = 64;
/// Turns that the bus gets to send what waits.
const TURNS: usize = 64;
/// Pause between two looks whether clients can use the bus.
const BUS_LOOK_MS: u64 = 1_000;
/// How long after a change of the objects memory is given back: the mappers
/// have their configurations by then.
const TIDY_MS: u64 = 3_000;

/// So long devices are made before what was made goes to the mappers and the bus
/// gets its turn.
const SLICE: Duration = Duration::from_millis(10);
/// Share of time that looking at objects may take which are as before: one part in
/// five. What comes of a look is worth its time, above all at a start.
const REST: u32 = 4;

/// What the engine's task is made of.
pub struct Parts {
    /// This node.
    pub node: NodeName,
    /// Requests of local clients.
    pub inbox: TwinInbox,
    /// The bus, or [`longshore_twin::Nobody`].
    pub bus: Arc<dyn BusPort>,
    /// The store.
    pub store: StoreHandle,
    /// The mappers, started already.
    pub mappers: Arc<Mappers>,
    /// What they emit.
    pub events: mpsc::Receiver<MapperEvent>,
    /// The link's state; [`LinkState::NoHub`] means that nothing is reported.
    pub link: watch::Receiver<LinkState>,
}

struct Driver {
    parts: Parts,
    engine: Engine,
    saver: Saver,
    objects: watch::Receiver<u64>,
    /// A mapper is in another state, or there is another one.
    mappers: watch::Receiver<u64>,
    /// When the engine looks at the time.
    tick_at: Instant,
    began: Instant,
    /// The generation of each mapper that is up.
    generations: Vec<Option<u64>>,
    /// Objects changed since they were last read.
    changed: bool,
    /// Reading all objects takes time where there are many; so long it rests.
    rest_until: Instant,
    reconciled: bool,
    /// When the bus is asked again whether clients can use it; not waited for
    /// while there is nothing that it would have to be told again.
    next_bus_look: u64,
    minds_bus: bool,
    /// When memory is to be given back.
    tidy_at: Option<u64>,
    /// Topic of the devices that come and go.
    membership: String,
    /// Who waits for the end of a call.
    calls: HashMap<u64, oneshot::Sender<Result<serde_json::Value, UpdateError>>>,
    /// Who waits for an update to be kept.
    updates: HashMap<u64, oneshot::Sender<Result<DeviceReport, UpdateError>>>,
}

/// Runs the engine until it is told to stop; saves everything at the end.
pub async fn run(parts: Parts, mut stop: Stop) {
    let mappers = parts.mappers.all();
    let infos: Vec<_> = mappers.iter().map(|mapper| info(mapper)).collect();
    let reports = *parts.link.borrow() != LinkState::NoHub;
    let mut driver = Driver {
        engine: Engine::new(parts.bus.clone(), infos, reports),
        saver: Saver::new(parts.store.clone()),
        objects: parts.store.changed(KINDS),
        mappers: parts.mappers.changes(),
        tick_at: Instant::now(),
        began: Instant::now(),
        generations: vec![None; mappers.len()],
        changed: true,
        rest_until: Instant::now(),
        reconciled: false,
        next_bus_look: 0,
        minds_bus: true,
        tidy_at: None,
        membership: Topic::node(parts.node.clone(), NodeEvent::MembershipUpdated).to_string(),
        calls: HashMap::new(),
        updates: HashMap::new(),
        parts,
    };
    driver.restore().await;
    driver.work(&mut stop).await;
    let now = driver.now();
    driver.engine.tick(now);
    driver.engine.close_history();
    // Commands would find no mapper any more.
    drop(driver.hand_out());
    driver.saver.finish(&mut driver.engine, now).await;
    // Who still waited for the disk hears how it went.
    drop(driver.hand_out());
}

impl Driver {
    fn now(&self) -> Now {
        // From 1 on, so that 0 can mean never.
        let ms = u64::try_from(self.began.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        Now {
            ms,
            unix_ms: longshore_process::clock::now_ms(),
        }
    }

    async fn restore(&mut self) {
        let twins = self.parts.store.twins().await;
        let rows = self.parts.store.rows().await;
        match (twins, rows) {
            (Ok(twins), Ok(rows)) => {
                let ended = self.parts.store.ended_well();
                self.engine.restore(twins, rows, ended);
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "twins of before could not be read")
            }
        }
        for (mapper, failure) in self.parts.mappers.failures() {
            let now = self.now();
            self.engine.mapper_down(mapper, &failure, now);
        }
        self.reconcile().await;
    }

    async fn work(&mut self, stop: &mut Stop) {
        // Without any mapper there is nothing to wait for there.
        let mut mappers = true;
        loop {
            let mut ticks = false;
            tokio::select! {
                event = self.parts.events.recv(), if mappers => match event {
                    Some(event) => {
                        self.events(event);
                        self.reconcile().await;
                        self.make_room().await;
                    }
                    None => mappers = false,
                },
                // More than the store may be asked for at once waits out there.
                Some(request) = self.parts.inbox.0.recv(), if self.engine.takes_requests() => {
                    self.requests(request);
                }
                answer = self.saver.answer() => {
                    let now = self.now();
                    self.saver.collect(answer, &mut self.engine, now);
                }
                Ok(()) = self.objects.changed() => {
                    self.changed = true;
                    self.reconcile().await;
                }
                // Objects that changed during the rest are read right after it.
                () = sleep_until(self.rest_until.into()), if self.changed => {
                    self.reconcile().await;
                }
                () = sleep_until(self.tick_at.into()) => ticks = true,
                Ok(()) = self.mappers.changed() => ticks = true,
                Ok(()) = self.parts.link.changed() => ticks = true,
                () = stop.asked() => return,
            }
            if ticks {
                self.tick();
                self.reconcile().await;
            }
            self.flush();
            // Who waits for the disk does not wait for the next tick.
            let now = self.now();
            let linked = self.parts.link.borrow().is_connected();
            self.saver.work(&mut self.engine, linked, now);
            self.sleep_until_due(ticks);
            if stop.is_asked() {
                return;
            }
        }
    }

    /// Says when to tick next: after a tick, when the first thing is due; after
    /// anything else in a moment, as that may have changed what is due.
    fn sleep_until_due(&mut self, ticked: bool) {
        let soon = Instant::now() + TICK;
        if !ticked || self.saver.waits() {
            self.tick_at = self.tick_at.min(soon);
            if ticked {
                self.tick_at = soon;
            }
            return;
        }
        let now = self.now();
        let bus = self.minds_bus.then_some(self.next_bus_look);
        let saver = self.saver.resumes(now.ms);
        let times = [self.engine.next_due(now), self.tidy_at, bus, saver];
        let first = times.into_iter().flatten().min();
        let rest = first.map_or(REST_AT_MOST, |at| {
            Duration::from_millis(at.saturating_sub(now.ms))
        });
        self.tick_at = Instant::now() + rest.clamp(TICK, REST_AT_MOST);
    }

    fn tick(&mut self) {
        let now = self.now();
        let linked = self.parts.link.borrow().is_connected();
        self.engine.set_linked(linked);
        self.look_at_mappers(now);
        if now.ms >= self.next_bus_look {
            self.next_bus_look = now.ms + BUS_LOOK_MS;
            self.engine.set_bus_ready(self.parts.bus.ready().is_ok());
            self.minds_bus = self.engine.has_events();
        }
        self.engine.tick(now);
        if self.tidy_at.is_some_and(|at| now.ms >= at) {
            self.tidy_at = None;
            self.engine.shrink();
            longshore_host::release_memory();
        }
    }

    /// Mappers may be added, and turn out to be others, at any time.
    fn know_mappers(&mut self, now: Now) {
        let mappers = self.parts.mappers.all();
        self.generations.resize(mappers.len(), None);
        for (index, mapper) in mappers.iter().enumerate() {
            let info = info(mapper);
            if !self.engine.knows_mapper(index, &info) {
                self.engine.know_mapper(index, info, now);
            }
        }
    }

    /// A mapper that is down says why, which may change while it is.
    fn look_at_mappers(&mut self, now: Now) {
        self.know_mappers(now);
        for (index, mapper) in self.parts.mappers.all().iter().enumerate() {
            if self.generations[index].is_none() {
                let state = mapper.state();
                let lasting = matches!(state, MapperState::Failed { .. });
                let (_, why) = describe(&state);
                self.engine.mapper_is_down(index, &why, lasting, now);
                // Its faults would show when it is back, which may be long.
                if lasting && self.engine.wants_check(index) {
                    self.engine.check_by_schema(index, mapper.schema(), now);
                }
            }
        }
    }

    fn events(&mut self, first: MapperEvent) {
        self.event(first);
        self.publish();
        for _ in 1..EVENTS {
            if !self.parts.bus.has_room() {
                break;
            }
            let Ok(event) = self.parts.events.try_recv() else {
                break;
            };
            self.event(event);
            self.publish();
        }
        let now = self.now();
        self.engine.pump(now);
    }

    /// Lets the bus send what waits before more comes, so that a burst is not
    /// dropped. One that cannot, as its broker does not take anything, gets
    /// some turns and no more: the twin goes on.
    async fn make_room(&self) {
        for _ in 0..TURNS {
            if self.parts.bus.has_room() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    fn event(&mut self, event: MapperEvent) {
        let now = self.now();
        if matches!(event, MapperEvent::Up { .. }) {
            self.know_mappers(now);
        }
        match event {
            MapperEvent::Up { mapper, generation } => {
                let Some(index) = self.index(&mapper) else {
                    return;
                };
                tracing::debug!(%mapper, generation, "configuring the mapper's devices");
                self.generations[index] = Some(generation);
                self.engine.mapper_up(index, now);
            }
            MapperEvent::Batch {
                mapper,
                generation,
                batch,
            } => {
                let Some(index) = self.index(&mapper) else {
                    return;
                };
                // What a former instance left in the queue means nothing any more.
                if self.generations[index] == Some(generation) {
                    self.batch(index, &batch, now);
                }
            }
            MapperEvent::Down {
                mapper,
                generation,
                reason,
                planned,
            } => {
                let Some(index) = self.index(&mapper) else {
                    return;
                };
                if self.generations[index].is_none_or(|current| current == generation) {
                    self.generations[index] = None;
                    if planned {
                        self.engine.mapper_hands_over(index, &reason, now);
                    } else {
                        self.engine.mapper_down(index, &reason, now);
                    }
                }
            }
        }
    }

    /// Index of a mapper that has to be there; told if it is not.
    fn index(&self, mapper: &str) -> Option<usize> {
        let index = self.parts.mappers.position(mapper);
        if index.is_none() {
            self.engine.unknown_mapper(mapper);
        }
        index
    }

    fn batch(&mut self, mapper: usize, batch: &Batch, now: Now) {
        for state in batch.states() {
            self.engine
                .device_state(mapper, state.device, state.online, state.message, now);
        }
        let readings = batch.samples().map(|sample| {
            let reading = Reading {
                quality: sample.quality,
                reason: sample.reason,
                source_time_ns: sample.source_time_ns,
                value: sample.value,
                message: sample.message,
            };
            (sample.point, reading)
        });
        self.engine.samples(mapper, readings, now);
        for completion in batch.completions() {
            self.engine.completion(
                mapper,
                completion.token,
                completion.status,
                completion.message,
                now,
            );
        }
    }

    /// Brings the engine in line with the store's objects, if they changed.
    async fn reconcile(&mut self) {
        let began = Instant::now();
        self.changed |= self.engine.take_wants_objects();
        if !self.changed || began < self.rest_until {
            return;
        }
        self.objects.mark_unchanged();
        let rest = match self.parts.store.objects(KINDS).await {
            Ok(objects) => {
                self.changed = false;
                let read = began.elapsed();
                (read + self.apply(&objects).await) * REST
            }
            // Level-triggered: it is looked at again with the next tick.
            Err(error) => {
                tracing::error!(%error, "objects could not be read from the store");
                TICK
            }
        };
        self.rest_until = Instant::now() + rest;
    }

    /// A device is configured as soon as it is known, and what was configured is
    /// read while others are still made. Gives the time that went to devices which
    /// are as before.
    async fn apply(&mut self, objects: &[Object]) -> Duration {
        let node = self.parts.node.clone();
        let all = objects.iter().map(view);
        let mut devices = Reconciliation::new(&node, all, longshore_link::fingerprint);
        let mut work = Duration::ZERO;
        loop {
            let (now, began) = (self.now(), Instant::now());
            let in_time = || began.elapsed() < SLICE;
            let more = devices.run_while(&mut self.engine, now, in_time);
            work += began.elapsed();
            if !more {
                break;
            }
            self.engine.pump(now);
            self.flush();
            while let Ok(event) = self.parts.events.try_recv() {
                self.events(event);
            }
            tokio::task::yield_now().await;
        }
        let in_vain = work.mul_f64(devices.passed_over());
        let seen = devices.finish(&mut self.engine);
        let now = self.now();
        self.engine.retain_devices(|name| seen.contains(name), now);
        if !std::mem::replace(&mut self.reconciled, true) {
            self.engine.forget_orphans();
        }
        self.engine.pump(now);
        self.tidy_at = Some(now.ms + TIDY_MS);
        in_vain
    }

    /// Those that wait are one group for the store.
    fn requests(&mut self, first: Request) {
        self.request(first);
        for _ in 1..REQUESTS {
            if !self.engine.takes_requests() {
                break;
            }
            let Ok(request) = self.parts.inbox.0.try_recv() else {
                break;
            };
            self.request(request);
        }
    }

    fn request(&mut self, request: Request) {
        let now = self.now();
        // An answer that nobody waits for any more is no error.
        match request {
            Request::Get { device, reply } => drop(reply.send(self.engine.get(&device))),
            Request::List { reply } => drop(reply.send(self.engine.list())),
            Request::Update {
                device,
                updates,
                reply,
            } => match self.engine.update(&device, &updates, now) {
                Ok(number) => drop(self.updates.insert(number, reply)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Request::SetState {
                device,
                state,
                reply,
            } => drop(reply.send(self.engine.set_state(&device, state, now))),
            Request::Call {
                device,
                method,
                arguments,
                reply,
            } => match self.engine.call(&device, &method, &arguments, now) {
                Ok(number) => drop(self.calls.insert(number, reply)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Request::Stats { reply } => drop(reply.send(self.stats())),
        }
    }

    fn stats(&self) -> EngineStats {
        let mut stats = self.engine.stats();
        let (unsaved, dropped) = self.saver.samples();
        stats.history_unsaved += unsaved;
        stats.history_dropped += dropped;
        stats
    }
}

fn view(object: &Object) -> longshore_twin::Object<'_> {
    longshore_twin::Object {
        kind: &object.key.kind,
        namespace: &object.key.namespace,
        name: &object.key.name,
        uid: &object.uid,
        of_folder: object.source == Source::Manifest,
        json: &object.json,
    }
}

fn info(mapper: &Entry) -> MapperInfo {
    MapperInfo {
        name: mapper.name().to_owned(),
        protocol: mapper.protocol().to_ascii_lowercase(),
        pushes: mapper.pushes(),
    }
}

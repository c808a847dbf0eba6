//! The server between its connections and its address space: sessions,
//! subscriptions, faults and counts. Pure: it is given requests and the time,
//! and gives back what to send.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use longshore_sim_world::{Faults, Problem, World};

use crate::binary::{Reader, Writer};
use crate::fault::{self, Fault, FaultRule};
use crate::node_id::NodeId;
use crate::plant;
use crate::record::{Record, Totals};
use crate::scenario::Scenario;
use crate::service::Service;
use crate::services;
use crate::space::Space;
use crate::status::StatusCode;
use crate::subscription::{Due, Subscription};
use crate::time::Now;

/// When a session has so many publish requests, the oldest is given back.
const PUBLISH_REQUESTS: usize = 100;

/// What happens to a message on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoil {
    No,
    Late(Duration),
    Half,
    Header,
    Close,
}

/// A message for a connection.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) connection: u64,
    pub(crate) request: u32,
    pub(crate) body: Vec<u8>,
    pub(crate) spoil: Spoil,
}

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From {
    pub(crate) connection: u64,
    pub(crate) request: u32,
    /// The client's number of the request.
    pub(crate) handle: u32,
    /// The session's number, 0 without one.
    pub(crate) session: u32,
    pub(crate) service: Service,
}

/// A publish request that waits for something to say.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) from: From,
    pub(crate) results: Vec<StatusCode>,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: u64,
    pub(crate) activated: bool,
    pub(crate) timeout: Duration,
    pub(crate) last: Instant,
    pub(crate) publish: VecDeque<Waiting>,
    /// Rests of browse results.
    pub(crate) rests: BTreeMap<u32, services::view::Rest>,
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) scenario: Scenario,
    pub(crate) space: Space,
    pub(crate) sessions: BTreeMap<u32, Session>,
    pub(crate) subscriptions: BTreeMap<u32, Subscription>,
    pub(crate) faults: Faults<FaultRule>,
    pub(crate) record: Record,
    pub(crate) out: Vec<Out>,
    pub(crate) started: Instant,
    next: u32,
    /// The last subscription's id; a restart begins to count anew.
    next_subscription: u32,
}

impl Core {
    pub(crate) fn new(scenario: Scenario, world: &World) -> Result<Self, Vec<Problem>> {
        let space = plant::build(&scenario, world, &scenario.namespaces)?;
        let now = Instant::now();
        let faults = Faults::default();
        for rule in &scenario.faults {
            faults.add(*rule, now);
        }
        Ok(Self {
            scenario,
            space,
            sessions: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            faults,
            record: Record::default(),
            out: Vec::new(),
            started: now,
            // So that numbers of a former start mean nothing to this one.
            next: fastrand::u32(1000..1 << 30),
            next_subscription: 0,
        })
    }

    pub(crate) fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Ids of subscriptions are small and come again after a restart, as those
    /// of many servers: who believes in an old one gets somebody else's.
    pub(crate) fn subscription_number(&mut self) -> u32 {
        self.next_subscription += 1;
        self.next_subscription
    }

    /// Starts anew: sessions and subscriptions are forgotten; values stay, as a
    /// controller keeps them. The namespaces may come in another order.
    pub(crate) fn restart(
        &mut self,
        order: Option<&[String]>,
        now: Now,
    ) -> Result<(), Vec<Problem>> {
        let order = order.unwrap_or(&self.space.namespaces[2..]).to_vec();
        let world = self.space.world.clone();
        let mut space = plant::build(&self.scenario, &world, &order)?;
        let names: Vec<_> = self.space.names.clone().into_iter().collect();
        for (name, id) in names {
            let new = space.names.get(&name).cloned();
            // Those with ids in them are made anew: their indexes may differ.
            let plain = |v: &crate::value::Value| {
                !matches!(
                    v.kind(),
                    Some(crate::value::Kind::Extension | crate::value::Kind::NodeId)
                )
            };
            if let (Some(new), Some(old)) = (new, self.space.peek(&id, now).filter(plain))
                && let Some(variable) = space.variable_mut(&new)
                && let crate::space::Source::Stored { value, .. } = &mut variable.source
            {
                *value = old;
            }
        }
        self.space = space;
        self.next_subscription = 0;
        self.forget_sessions();
        Ok(())
    }

    pub(crate) fn forget_sessions(&mut self) {
        self.sessions.clear();
        self.subscriptions.clear();
        self.out.clear();
    }

    /// A connection is gone; its session stays for a while.
    pub(crate) fn disconnected(&mut self, connection: u64) {
        for session in self.sessions.values_mut() {
            if session.connection == connection {
                session.connection = 0;
                session.publish.clear();
            }
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        let items = self.subscriptions.values().map(|s| s.items.len() as u64);
        Totals {
            open: 0,
            connections: self.record.connections,
            sessions: self.sessions.len() as u64,
            sessions_created: self.record.sessions_created,
            subscriptions: self.subscriptions.len() as u64,
            monitored_items: items.sum(),
            notifications: self.record.notifications,
            overflows: self.record.overflows,
            looks: self.record.looks,
        }
    }

    /// Milliseconds since the start, for records.
    pub(crate) fn at(&self, now: Now) -> u64 {
        let since = now.instant.saturating_duration_since(self.started);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes one request of a connection.
    pub(crate) fn request(&mut self, connection: u64, request: u32, body: &[u8], now: Now) {
        let mut reader = Reader::new(body);
        let mut from = From {
            connection,
            request,
            handle: 0,
            session: 0,
            service: Service::FindServers,
        };
        let Ok((id, token)) = header(&mut reader, &mut from) else {
            return self.refuse(from, StatusCode::BAD_DECODING_ERROR, now, Spoil::No);
        };
        let Some(service) = id.as_standard().and_then(Service::from_request) else {
            return self.refuse(from, StatusCode::BAD_SERVICE_UNSUPPORTED, now, Spoil::No);
        };
        from.service = service;
        self.record.at(service).requests += 1;
        // Publish requests wait anyhow: their faults strike when they are answered.
        let mut spoil = Spoil::No;
        if service != Service::Publish
            && let Some(fault) = fault::strike(&self.faults, service, now.instant)
        {
            self.record.at(service).faults += 1;
            match spoiled(fault) {
                Ok(found) => spoil = found,
                Err(None) => return,
                Err(Some(status)) => return self.refuse(from, status, now, Spoil::No),
            }
        }
        if let Err(status) = self.admit(&mut from, &token, now) {
            return self.refuse(from, status, now, spoil);
        }
        let mut writer = response(from, StatusCode::GOOD, now);
        match services::serve(self, &mut from, &mut reader, &mut writer, now) {
            Ok(true) => self.out.push(Out {
                connection,
                request,
                body: writer.bytes,
                spoil,
            }),
            Ok(false) => {}
            Err(status) => self.refuse(from, status, now, spoil),
        }
    }

    /// Finds the session of a request that needs one.
    fn admit(&mut self, from: &mut From, token: &NodeId, now: Now) -> Result<(), StatusCode> {
        use Service::{ActivateSession, CreateSession, FindServers, GetEndpoints};
        if matches!(from.service, FindServers | GetEndpoints | CreateSession) {
            return Ok(());
        }
        let number = match token.identifier {
            crate::node_id::Identifier::Number(number) if token.namespace == 1 => number,
            _ => return Err(StatusCode::BAD_SESSION_ID_INVALID),
        };
        let session = self
            .sessions
            .get_mut(&number)
            .ok_or(StatusCode::BAD_SESSION_ID_INVALID)?;
        if from.service != ActivateSession {
            if session.connection != from.connection {
                return Err(StatusCode::BAD_SECURE_CHANNEL_ID_INVALID);
            }
            if !session.activated && from.service != Service::CloseSession {
                return Err(StatusCode::BAD_SESSION_NOT_ACTIVATED);
            }
        }
        session.last = now.instant;
        from.session = number;
        Ok(())
    }

    pub(crate) fn refuse(&mut self, from: From, status: StatusCode, now: Now, spoil: Spoil) {
        self.record.at(from.service).refused += 1;
        let mut writer = Writer::default();
        writer.node_id(&NodeId::standard(397));
        response_header(&mut writer, from.handle, status, now);
        self.out.push(Out {
            connection: from.connection,
            request: from.request,
            body: writer.bytes,
            spoil,
        });
    }

    /// Keeps a publish request, and answers it at once if something is late.
    pub(crate) fn publish(&mut self, waiting: Waiting, now: Now) -> Result<(), StatusCode> {
        let number = waiting.from.session;
        if !self.subscriptions.values().any(|s| s.session == number) {
            return Err(StatusCode::BAD_NO_SUBSCRIPTION);
        }
        let Some(session) = self.sessions.get_mut(&number) else {
            return Err(StatusCode::BAD_SESSION_ID_INVALID);
        };
        session.publish.push_back(waiting);
        if session.publish.len() > PUBLISH_REQUESTS
            && let Some(oldest) = session.publish.pop_front()
        {
            let status = StatusCode::BAD_TOO_MANY_PUBLISH_REQUESTS;
            self.refuse(oldest.from, status, now, Spoil::No);
        }
        let late = |s: &Subscription| s.session == number && s.late;
        let ids: Vec<u32> = self.ids(late);
        for id in ids {
            self.say(id, now);
        }
        Ok(())
    }

    fn ids(&self, which: impl Fn(&Subscription) -> bool) -> Vec<u32> {
        let found = self.subscriptions.iter().filter(|(_, s)| which(s));
        found.map(|(id, _)| *id).collect()
    }

    /// Answers publish requests with what a subscription has to say, while
    /// there are both.
    fn say(&mut self, id: u32, now: Now) {
        while let Some(subscription) = self.subscriptions.get_mut(&id)
            && subscription.late
            && let Some(session) = self.sessions.get_mut(&subscription.session)
            && !session.publish.is_empty()
        {
            let mut spoil = Spoil::No;
            if let Some(fault) = fault::strike(&self.faults, Service::Publish, now.instant) {
                self.record.at(Service::Publish).faults += 1;
                match spoiled(fault) {
                    Ok(found) => spoil = found,
                    // Silent: it stays late, and is tried at the next interval.
                    Err(None) => return,
                    Err(Some(status)) => {
                        let waiting = session.publish.pop_front();
                        if let Some(waiting) = waiting {
                            self.refuse(waiting.from, status, now, Spoil::No);
                        }
                        continue;
                    }
                }
            }
            let Some(waiting) = session.publish.pop_front() else {
                return;
            };
            let (message, values) = subscription.say(now.ticks);
            let (available, more) = (subscription.available(), subscription.late);
            self.record.notifications += values;
            self.answer(waiting, id, &available, more, &message, spoil, now);
        }
    }

    #[allow(clippy::too_many_arguments)] // the fields of one message
    fn answer(
        &mut self,
        waiting: Waiting,
        id: u32,
        available: &[u32],
        more: bool,
        message: &[u8],
        spoil: Spoil,
        now: Now,
    ) {
        let mut w = response(waiting.from, StatusCode::GOOD, now);
        w.u32(id);
        w.list(available, |w, number| w.u32(*number));
        w.bool(more);
        w.bytes.extend_from_slice(message);
        w.list(&waiting.results, |w, status| w.status(*status));
        w.length(0);
        self.out.push(Out {
            connection: waiting.from.connection,
            request: waiting.from.request,
            body: w.bytes,
            spoil,
        });
    }

    /// When there is something to do next without a request.
    pub(crate) fn next(&self) -> Option<Instant> {
        let subscriptions = self.subscriptions.values().map(Subscription::next);
        let sessions = self.sessions.values().map(|s| s.last + s.timeout);
        subscriptions.chain(sessions).min()
    }

    /// Looks at what is due, publishes, and lets go of what was forgotten.
    pub(crate) fn tick(&mut self, now: Now) {
        let ids: Vec<u32> = self.subscriptions.keys().copied().collect();
        for id in ids {
            let Some(subscription) = self.subscriptions.get_mut(&id) else {
                continue;
            };
            let seen = subscription.sample(&mut self.space, now);
            self.record.looks += seen.looks;
            self.record.overflows += seen.lost;
            match subscription.turn(now.instant) {
                Due::Nothing => {}
                Due::Say => self.say(id, now),
                Due::Expired => self.expire(id, now),
            }
        }
        let over = |s: &Session| now.instant >= s.last + s.timeout;
        let ended: Vec<u32> = self
            .sessions
            .iter()
            .filter(|(_, s)| over(s))
            .map(|(number, _)| *number)
            .collect();
        for number in ended {
            self.end_session(number, true);
        }
    }

    fn expire(&mut self, id: u32, now: Now) {
        let Some(subscription) = self.subscriptions.remove(&id) else {
            return;
        };
        let waiting = self
            .sessions
            .get_mut(&subscription.session)
            .and_then(|s| s.publish.pop_front());
        if let Some(waiting) = waiting {
            let message = subscription.last_word(StatusCode::BAD_TIMEOUT, now.ticks);
            self.answer(waiting, id, &[], false, &message, Spoil::No, now);
        }
    }

    pub(crate) fn end_session(&mut self, number: u32, with_subscriptions: bool) {
        self.sessions.remove(&number);
        if with_subscriptions {
            self.subscriptions.retain(|_, s| s.session != number);
        }
    }
}

/// What a fault does to an answer; an error is no right answer: silence, or a status.
fn spoiled(fault: Fault) -> Result<Spoil, Option<StatusCode>> {
    match fault {
        Fault::Unresponsive => Err(None),
        Fault::Exception(status) => Err(Some(status)),
        Fault::Slow(ms) => Ok(Spoil::Late(Duration::from_millis(ms))),
        Fault::DropConnection => Ok(Spoil::Close),
        Fault::HalfFrame => Ok(Spoil::Half),
        Fault::WrongCrc => Ok(Spoil::Header),
    }
}

/// The type of the message and the RequestHeader (OPC 10000-4, 7.33); gives the
/// type and the session's token.
fn header(reader: &mut Reader<'_>, from: &mut From) -> crate::binary::Result<(NodeId, NodeId)> {
    let id = reader.node_id()?;
    let token = reader.node_id()?;
    reader.i64()?;
    from.handle = reader.u32()?;
    reader.u32()?;
    reader.string()?;
    reader.u32()?;
    reader.extension()?;
    Ok((id, token))
}

fn response_header(w: &mut Writer, handle: u32, status: StatusCode, now: Now) {
    w.i64(now.ticks);
    w.u32(handle);
    w.status(status);
    w.u8(0); // no diagnostics
    w.length(0);
    w.no_structure();
}

/// The beginning of a response (OPC 10000-4, 7.34).
fn response(from: From, status: StatusCode, now: Now) -> Writer {
    let mut w = Writer::default();
    w.node_id(&NodeId::standard(from.service.response()));
    response_header(&mut w, from.handle, status, now);
    w
}

//! The edge's end of a connection.

use std::time::{Duration, Instant};

use crate::effect::EdgeEffect;
use crate::flow::Sending;
use crate::frame::{Change, Frame, Hello, Objects, UpRecord, Welcome};
use crate::{CloseReason, Epoch, Lane, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION};

/// Bytes of objects that a snapshot may have before the edge gives up: a node
/// that needs more than this needs a larger node.
const MAX_SNAPSHOT_BYTES: usize = 256 * 1024 * 1024;

/// The edge's settings for a session.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// The node.
    pub node: String,
    /// Its software, for the hub's log.
    pub agent: String,
    /// The hub must answer the hello within this time.
    pub greeting_timeout: Duration,
    /// The connection ends when nothing was heard for so many keepalive intervals.
    pub silent_intervals: u32,
}

impl EdgeConfig {
    /// The defaults for a node.
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            agent: concat!("longshore/", env!("CARGO_PKG_VERSION")).to_owned(),
            // A hub that just started may still be listing devices.
            greeting_timeout: Duration::from_secs(10),
            silent_intervals: 3,
        }
    }
}

/// Where the edge's store stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EdgePosition {
    /// The hub's log that the objects come from.
    pub hub_epoch: Epoch,
    /// Their revision.
    pub revision: u64,
    /// Identity of the outbox.
    pub edge_epoch: Epoch,
    /// The highest sequence that it ever gave out.
    pub last_sequence: u64,
    /// The same of the telemetry.
    pub last_telemetry: u64,
}

/// What happens to an edge's session.
#[derive(Debug, Clone)]
pub enum EdgeEvent {
    /// A connection stands; the store is at this position.
    TransportUp(EdgePosition),
    /// The connection is gone.
    TransportDown,
    /// A message of the hub.
    Frame(Frame),
    /// The store holds what [`EdgeEffect::Apply`] asked for.
    Applied {
        /// The revision that it leads to.
        revision: u64,
    },
    /// The answer to [`EdgeEffect::Fetch`]: the next records, rising; empty when there are none.
    Fetched {
        /// As asked.
        lane: Lane,
        /// The records.
        records: Vec<UpRecord>,
    },
    /// The outbox has something new.
    OutboxChanged,
    /// Time passed; see [`EdgeSession::wake_at`].
    Tick,
}

/// Where an edge's session is.
#[derive(Debug)]
pub enum EdgeState {
    /// No connection. `TransportUp` sends the hello and enters `Greeting`.
    Offline,
    /// The hello is sent. `Welcome` enters `Live`; `Refuse` or the deadline ends the connection.
    Greeting {
        /// The hub must have answered by then.
        deadline: Instant,
    },
    /// Objects come, records go. Ends with the connection.
    Live(Box<Live>),
    /// `Close` was asked for; only `TransportDown` is of interest.
    Closing,
}

/// The state of a live session.
#[derive(Debug)]
pub struct Live {
    welcome: Welcome,
    records: Sending,
    /// None until the hub says that it takes telemetry.
    telemetry: Option<Sending>,
    /// The revision that the store holds or was asked to hold.
    revision: u64,
    snapshot: Option<Assembly>,
    last_heard: Instant,
    next_ping: Instant,
}

#[derive(Debug, Default)]
struct Assembly {
    next_part: u64,
    bytes: usize,
    changes: Vec<Change>,
}

/// The edge's end of the link. One for the process's life; it serves one
/// connection after the other.
#[derive(Debug)]
pub struct EdgeSession {
    config: EdgeConfig,
    position: EdgePosition,
    state: EdgeState,
}

impl EdgeSession {
    /// A session that is offline.
    pub fn new(config: EdgeConfig) -> Self {
        Self {
            config,
            position: EdgePosition::default(),
            state: EdgeState::Offline,
        }
    }

    /// Where it is.
    pub fn state(&self) -> &EdgeState {
        &self.state
    }

    /// Live records that are sent and not yet taken.
    pub fn in_flight(&self) -> usize {
        if let EdgeState::Live(live) = &self.state {
            live.records.in_flight()
        } else {
            0
        }
    }

    /// The schemas that the hub holds; `None` while there is no session, or
    /// when the hub keeps none.
    pub fn schemas_of_hub(&self) -> Option<&[u64]> {
        match &self.state {
            EdgeState::Live(live) => {
                let keeps = |capability: &String| capability == crate::SCHEMAS;
                let keeps = live.welcome.capabilities.iter().any(keeps);
                keeps.then_some(live.welcome.schemas.as_slice())
            }
            _ => None,
        }
    }

    /// When [`EdgeEvent::Tick`] is due at the latest.
    pub fn wake_at(&self) -> Option<Instant> {
        match &self.state {
            EdgeState::Offline | EdgeState::Closing => None,
            EdgeState::Greeting { deadline } => Some(*deadline),
            EdgeState::Live(live) => Some(live.next_ping.min(live.silent_at(&self.config))),
        }
    }

    /// Takes one event and says what to do.
    pub fn step(&mut self, event: EdgeEvent, now: Instant) -> Vec<EdgeEffect> {
        let mut effects = Vec::new();
        if let Err(reason) = self.advance(event, now, &mut effects) {
            self.state = EdgeState::Closing;
            effects.push(EdgeEffect::Close(reason));
        }
        effects
    }

    fn advance(
        &mut self,
        event: EdgeEvent,
        now: Instant,
        out: &mut Vec<EdgeEffect>,
    ) -> Result<(), CloseReason> {
        match (&mut self.state, event) {
            (_, EdgeEvent::TransportUp(position)) => {
                self.position = position;
                self.state = EdgeState::Greeting {
                    deadline: now + self.config.greeting_timeout,
                };
                out.push(EdgeEffect::Send(Frame::Hello(self.hello())));
            }
            (_, EdgeEvent::TransportDown) => self.state = EdgeState::Offline,
            (EdgeState::Greeting { .. }, EdgeEvent::Frame(frame)) => {
                self.greeted(frame, now, out)?
            }
            (EdgeState::Greeting { deadline }, EdgeEvent::Tick) if now >= *deadline => {
                return Err(CloseReason::GreetingTimeout);
            }
            (EdgeState::Live(live), EdgeEvent::Frame(frame)) => live.frame(frame, now, out)?,
            (EdgeState::Live(_), EdgeEvent::Applied { revision }) => {
                out.push(EdgeEffect::Send(Frame::Stored { revision }));
            }
            (EdgeState::Live(live), EdgeEvent::Fetched { lane, records }) => {
                if let Some(sending) = live.lane(lane) {
                    sending.fetched(records, out);
                }
                live.pump(out);
            }
            (EdgeState::Live(live), EdgeEvent::OutboxChanged) => {
                live.records.changed();
                if let Some(telemetry) = &mut live.telemetry {
                    telemetry.changed();
                }
                live.pump(out);
            }
            (EdgeState::Live(live), EdgeEvent::Tick) => {
                if now >= live.silent_at(&self.config) {
                    return Err(CloseReason::Silent);
                }
                if now >= live.next_ping {
                    live.next_ping = now + live.keepalive();
                    out.push(EdgeEffect::Send(Frame::Ping {
                        nonce: live.records.sent,
                    }));
                }
            }
            // Answers that belong to a connection that is no more, and early ticks.
            (EdgeState::Offline | EdgeState::Greeting { .. } | EdgeState::Closing, _) => {}
        }
        Ok(())
    }

    fn hello(&self) -> Hello {
        Hello {
            oldest_version: OLDEST_PROTOCOL_VERSION,
            version: PROTOCOL_VERSION,
            capabilities: Vec::new(),
            node: self.config.node.clone(),
            agent: self.config.agent.clone(),
            hub_epoch: self.position.hub_epoch,
            revision: self.position.revision,
            edge_epoch: self.position.edge_epoch,
            last_sequence: self.position.last_sequence,
            last_telemetry: self.position.last_telemetry,
        }
    }

    fn greeted(
        &mut self,
        frame: Frame,
        now: Instant,
        out: &mut Vec<EdgeEffect>,
    ) -> Result<(), CloseReason> {
        let welcome = match frame {
            Frame::Welcome(welcome) => welcome,
            Frame::Refuse { reason, message } => {
                return Err(CloseReason::Refused { reason, message });
            }
            other => return Err(CloseReason::Unexpected(other.kind())),
        };
        if welcome.window_records == 0 || welcome.window_bytes == 0 || welcome.keepalive_ms == 0 {
            return Err(CloseReason::Unexpected("Welcome without a window"));
        }
        let window = (welcome.window_records, welcome.window_bytes);
        let records = Sending::begin(Lane::Live, welcome.taken, window, out);
        let mut live = Live {
            records,
            telemetry: None,
            revision: self.position.revision,
            snapshot: None,
            last_heard: now,
            next_ping: now,
            welcome,
        };
        live.next_ping = now + live.keepalive();
        out.push(EdgeEffect::Connected);
        live.pump(out);
        self.state = EdgeState::Live(Box::new(live));
        Ok(())
    }
}

impl Live {
    fn keepalive(&self) -> Duration {
        Duration::from_millis(self.welcome.keepalive_ms.into())
    }

    fn silent_at(&self, config: &EdgeConfig) -> Instant {
        self.last_heard + self.keepalive() * config.silent_intervals
    }

    fn frame(
        &mut self,
        frame: Frame,
        now: Instant,
        out: &mut Vec<EdgeEffect>,
    ) -> Result<(), CloseReason> {
        self.last_heard = now;
        match frame {
            Frame::Objects(objects) => self.objects(objects, out)?,
            Frame::Taken { sequence } => self.taken(Lane::Live, sequence, out)?,
            Frame::TelemetryTaken { sequence } => self.taken(Lane::Telemetry, sequence, out)?,
            Frame::TelemetryFrom {
                taken,
                window_records,
                window_bytes,
            } => {
                if self.telemetry.is_some() || window_records == 0 || window_bytes == 0 {
                    return Err(CloseReason::Unexpected("TelemetryFrom"));
                }
                let window = (window_records, window_bytes);
                self.telemetry = Some(Sending::begin(Lane::Telemetry, taken, window, out));
                self.pump(out);
            }
            Frame::Ping { nonce } => out.push(EdgeEffect::Send(Frame::Pong { nonce })),
            Frame::Pong { .. } | Frame::Unknown => {}
            Frame::Refuse { reason, message } => {
                return Err(CloseReason::Refused { reason, message });
            }
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Stored { .. }
            | Frame::PartReceived { .. }
            | Frame::Records(_)
            | Frame::Telemetry(_) => return Err(CloseReason::Unexpected(frame.kind())),
        }
        Ok(())
    }

    fn objects(&mut self, objects: Objects, out: &mut Vec<EdgeEffect>) -> Result<(), CloseReason> {
        match objects {
            Objects::Changes { from, to, changes } => {
                if from != self.revision || self.snapshot.is_some() {
                    return Err(CloseReason::RevisionGap {
                        have: self.revision,
                        got: from,
                    });
                }
                self.revision = to;
                self.apply(false, changes, out);
            }
            Objects::Snapshot {
                revision,
                part,
                last,
                changes,
            } => {
                // Part 0 begins anew: the hub may start over when its log moved on too far.
                if part == 0 {
                    self.snapshot = None;
                }
                let assembly = self.snapshot.get_or_insert_with(Assembly::default);
                if part != assembly.next_part {
                    return Err(CloseReason::SnapshotOrder {
                        expected: assembly.next_part,
                        got: part,
                    });
                }
                assembly.next_part += 1;
                assembly.bytes += changes.iter().map(Change::size).sum::<usize>();
                assembly.changes.extend(changes);
                if assembly.bytes > MAX_SNAPSHOT_BYTES {
                    return Err(CloseReason::WindowExceeded);
                }
                if last {
                    let changes = self.snapshot.take().map(|a| a.changes).unwrap_or_default();
                    self.revision = revision;
                    self.apply(true, changes, out);
                } else {
                    out.push(EdgeEffect::Send(Frame::PartReceived { part }));
                }
            }
        }
        Ok(())
    }

    fn apply(&self, snapshot: bool, changes: Vec<Change>, out: &mut Vec<EdgeEffect>) {
        let (epoch, revision) = (self.welcome.hub_epoch, self.revision);
        out.push(EdgeEffect::Apply {
            epoch,
            revision,
            snapshot,
            changes,
        });
    }

    fn lane(&mut self, lane: Lane) -> Option<&mut Sending> {
        match lane {
            Lane::Live => Some(&mut self.records),
            Lane::Telemetry => self.telemetry.as_mut(),
        }
    }

    fn taken(
        &mut self,
        lane: Lane,
        sequence: u64,
        out: &mut Vec<EdgeEffect>,
    ) -> Result<(), CloseReason> {
        let Some(sending) = self.lane(lane).filter(|sending| sequence <= sending.sent) else {
            return Err(CloseReason::Unexpected(
                "confirmation of a record that was not sent",
            ));
        };
        sending.taken(sequence, out);
        self.pump(out);
        Ok(())
    }

    /// Asks for what may be sent. Telemetry has its turn when there is nothing
    /// live to send, not even something that waits for its window.
    fn pump(&mut self, out: &mut Vec<EdgeEffect>) {
        self.records.fetch(out);
        if let Some(telemetry) = &mut self.telemetry
            && self.records.is_idle()
        {
            telemetry.fetch(out);
        }
    }
}

//! The hub's end of a connection.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::effect::HubEffect;
use crate::flow::Receiving;
use crate::frame::{Change, Frame, Hello, ObjectKey, Objects, RefuseReason, Welcome};
use crate::{CloseReason, Epoch, Lane, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION};

/// The hub's settings for a session.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// The node that the certificate names.
    pub node: String,
    /// Identity of the node's log.
    pub epoch: Epoch,
    /// The edge must say hello within this time.
    pub greeting_timeout: Duration,
    /// How often the edge asks whether the hub is there.
    pub keepalive: Duration,
    /// The connection ends when nothing was heard for so long.
    pub silent_after: Duration,
    /// So many records may be under way.
    pub window_records: u32,
    /// So many bytes of records may be under way.
    pub window_bytes: u32,
    /// So many records of telemetry may be under way.
    pub telemetry_records: u32,
    /// So many bytes of telemetry may be under way.
    pub telemetry_bytes: u32,
    /// So many bytes of objects may be under way.
    pub window_down_bytes: usize,
    /// About so many bytes of objects go into one message.
    pub batch_bytes: usize,
    /// Schemas that the hub holds, by [`crate::schema_hash`].
    pub schemas: Vec<u64>,
}

impl HubConfig {
    /// The defaults for a node.
    pub fn new(node: impl Into<String>, epoch: Epoch) -> Self {
        Self {
            node: node.into(),
            epoch,
            greeting_timeout: Duration::from_secs(10),
            // Mobile networks forget a connection after 30 s or more.
            keepalive: Duration::from_secs(10),
            silent_after: Duration::from_secs(30),
            // 2 s of round trip at 500 records each second and node.
            window_records: 1024,
            window_bytes: 1024 * 1024,
            // On a thin line a live record waits behind what is under way: 6 s
            // at 20 kB/s. On a long one it is 64 kB/s at a round trip of 2 s.
            telemetry_records: 512,
            telemetry_bytes: 128 * 1024,
            window_down_bytes: 1024 * 1024,
            batch_bytes: 128 * 1024,
            schemas: Vec::new(),
        }
    }
}

/// The answer to [`HubEffect::ReadChanges`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The next changes; none when the edge has all.
    Changes {
        /// The revision that they lead to.
        to: u64,
        /// The changes.
        changes: Vec<Change>,
    },
    /// The log does not reach back so far: a snapshot is due.
    Compacted,
}

/// The answer to [`HubEffect::ReadSnapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPart {
    /// The log's latest revision when this part was read.
    pub head: u64,
    /// The objects.
    pub changes: Vec<Change>,
    /// There are no more.
    pub last: bool,
}

/// What happens to a hub's session.
#[derive(Debug, Clone)]
pub enum HubEvent {
    /// A message of the edge.
    Frame(Frame),
    /// The answer to [`HubEffect::Open`].
    Opened {
        /// The last record that the store holds.
        taken: u64,
    },
    /// The answer to [`HubEffect::OpenTelemetry`].
    TelemetryOpened {
        /// The last record of telemetry that is held.
        taken: u64,
    },
    /// The node's log has something new.
    LogChanged,
    /// The answer to [`HubEffect::ReadChanges`].
    Read(Reading),
    /// The answer to [`HubEffect::ReadSnapshot`].
    Snapshot(SnapshotPart),
    /// The records of one [`HubEffect::Handle`] are held.
    Handled {
        /// Of this lane.
        lane: Lane,
        /// The last record that is held now.
        through: u64,
    },
    /// The session must end: another connection took over, or the hub goes away.
    End(RefuseReason),
    /// Time passed; see [`HubSession::wake_at`].
    Tick,
}

/// Where a hub's session is. A session serves one connection.
#[derive(Debug)]
pub enum HubState {
    /// The edge must say hello. Enters `Opening`.
    Awaiting {
        /// It must have done so by then.
        deadline: Instant,
    },
    /// The driver looks up what is known of the edge. `Opened` sends the
    /// welcome and enters `Live`.
    Opening(Hello),
    /// Objects go, records come.
    Live(Box<Live>),
    /// Over.
    Closed,
}

/// The state of a live session.
#[derive(Debug)]
pub struct Live {
    hello: Hello,
    down: Down,
    reading: bool,
    /// The log may hold more than was sent.
    pending: bool,
    /// The log changed while it was being read.
    read_again: bool,
    in_flight: VecDeque<(Mark, usize)>,
    in_flight_bytes: usize,
    records: Receiving,
    /// None until it is known how far it is held.
    telemetry: Option<Receiving>,
}

/// What the edge answers when it has a message of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Revision(u64),
    Part(u64),
}

#[derive(Debug)]
enum Down {
    /// The edge has or will have `sent`; what changed after it follows.
    Changes { sent: u64 },
    /// Parts of a snapshot go out. After the last one: `Changes` from its revision.
    Snapshot {
        revision: Option<u64>,
        part: u64,
        cursor: Option<ObjectKey>,
    },
}

/// The hub's end of one connection.
#[derive(Debug)]
pub struct HubSession {
    config: HubConfig,
    state: HubState,
    last_heard: Instant,
}

impl HubSession {
    /// A session for a connection that was accepted now.
    pub fn new(config: HubConfig, now: Instant) -> Self {
        let deadline = now + config.greeting_timeout;
        Self {
            config,
            state: HubState::Awaiting { deadline },
            last_heard: now,
        }
    }

    /// Where it is.
    pub fn state(&self) -> &HubState {
        &self.state
    }

    /// When [`HubEvent::Tick`] is due at the latest.
    pub fn wake_at(&self) -> Option<Instant> {
        match &self.state {
            HubState::Awaiting { deadline } => Some(*deadline),
            HubState::Opening(_) | HubState::Live(_) => {
                Some(self.last_heard + self.config.silent_after)
            }
            HubState::Closed => None,
        }
    }

    /// Takes one event and says what to do.
    pub fn step(&mut self, event: HubEvent, now: Instant) -> Vec<HubEffect> {
        let mut effects = Vec::new();
        if let HubEvent::Frame(_) = event {
            self.last_heard = now;
        }
        if let Err(reason) = self.advance(event, now, &mut effects) {
            if let Some(refusal) = refusal_of(&reason) {
                effects.push(HubEffect::Send(refusal));
            }
            self.state = HubState::Closed;
            effects.push(HubEffect::Close(reason));
        }
        effects
    }

    fn advance(
        &mut self,
        event: HubEvent,
        now: Instant,
        out: &mut Vec<HubEffect>,
    ) -> Result<(), CloseReason> {
        match (&mut self.state, event) {
            (HubState::Closed, _) => {}
            (_, HubEvent::End(reason)) => {
                let message = match reason {
                    RefuseReason::Replaced => return Err(CloseReason::Replaced),
                    RefuseReason::Unavailable => "the hub is going away",
                    RefuseReason::Identity => {
                        "another edge with this node's certificate is connected: each edge needs a certificate of its own"
                    }
                    _ => "the hub ended the session",
                };
                return Err(CloseReason::Refused {
                    reason,
                    message: message.to_owned(),
                });
            }
            (HubState::Awaiting { .. }, HubEvent::Frame(Frame::Hello(hello))) => {
                self.check(&hello)?;
                out.push(HubEffect::Open(hello.clone()));
                self.state = HubState::Opening(hello);
            }
            (HubState::Awaiting { deadline }, HubEvent::Tick) if now >= *deadline => {
                return Err(CloseReason::GreetingTimeout);
            }
            (HubState::Awaiting { .. } | HubState::Opening(_), HubEvent::Frame(frame)) => {
                return Err(CloseReason::Unexpected(frame.kind()));
            }
            (HubState::Opening(hello), HubEvent::Opened { taken }) => {
                let hello = hello.clone();
                self.opened(hello, taken, out);
            }
            (HubState::Opening(_) | HubState::Live(_), HubEvent::Tick) => {
                if now >= self.last_heard + self.config.silent_after {
                    return Err(CloseReason::Silent);
                }
            }
            (HubState::Live(live), HubEvent::Frame(frame)) => {
                live.frame(frame, &self.config, out)?
            }
            (HubState::Live(live), HubEvent::LogChanged) => {
                live.pending = true;
                live.read_again = live.reading;
                live.pump(&self.config, out);
            }
            (HubState::Live(live), HubEvent::Read(reading)) => {
                live.read(reading, &self.config, out)
            }
            (HubState::Live(live), HubEvent::Snapshot(part)) => {
                live.snapshot(part, &self.config, out)
            }
            (HubState::Live(live), HubEvent::TelemetryOpened { taken }) => {
                let (records, bytes) = (self.config.telemetry_records, self.config.telemetry_bytes);
                live.telemetry = Some(Receiving::after(taken, Lane::Telemetry, records, bytes));
                out.push(HubEffect::Send(Frame::TelemetryFrom {
                    taken,
                    window_records: records,
                    window_bytes: bytes,
                }));
            }
            (HubState::Live(live), HubEvent::Handled { lane, through }) => match lane {
                Lane::Live => {
                    live.records.handled();
                    out.push(HubEffect::Send(Frame::Taken { sequence: through }));
                }
                Lane::Telemetry => {
                    if let Some(telemetry) = &mut live.telemetry {
                        telemetry.handled();
                    }
                    out.push(HubEffect::Send(Frame::TelemetryTaken { sequence: through }));
                }
            },
            // A log that changes before the session is live is read then anyway.
            (HubState::Awaiting { .. } | HubState::Opening(_) | HubState::Live(_), _) => {}
        }
        Ok(())
    }

    fn check(&self, hello: &Hello) -> Result<(), CloseReason> {
        if hello.oldest_version > PROTOCOL_VERSION || hello.version < OLDEST_PROTOCOL_VERSION {
            return Err(CloseReason::Refused {
                reason: RefuseReason::Version,
                message: format!(
                    "the edge speaks versions {} to {}, the hub {OLDEST_PROTOCOL_VERSION} to {PROTOCOL_VERSION}",
                    hello.oldest_version, hello.version
                ),
            });
        }
        if hello.node != self.config.node {
            return Err(CloseReason::Refused {
                reason: RefuseReason::Identity,
                message: format!(
                    "the edge calls itself node `{}`, its certificate is of node `{}`",
                    hello.node, self.config.node
                ),
            });
        }
        if hello.edge_epoch == Epoch::NONE {
            return Err(CloseReason::Unexpected("Hello without an epoch"));
        }
        Ok(())
    }

    fn opened(&mut self, hello: Hello, taken: u64, out: &mut Vec<HubEffect>) {
        out.push(HubEffect::Send(Frame::Welcome(Welcome {
            version: hello.version.min(PROTOCOL_VERSION),
            capabilities: vec![crate::SCHEMAS.to_owned()],
            hub_epoch: self.config.epoch,
            taken,
            window_records: self.config.window_records,
            window_bytes: self.config.window_bytes,
            keepalive_ms: self
                .config
                .keepalive
                .as_millis()
                .try_into()
                .unwrap_or(u32::MAX),
            schemas: self.config.schemas.clone(),
        })));
        out.push(HubEffect::Connected);
        out.push(HubEffect::OpenTelemetry {
            epoch: hello.edge_epoch,
            last_sequence: hello.last_telemetry,
        });
        let down = if hello.hub_epoch == self.config.epoch {
            Down::Changes {
                sent: hello.revision,
            }
        } else {
            Down::snapshot()
        };
        let mut live = Live {
            hello,
            down,
            reading: false,
            pending: true,
            read_again: false,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            records: Receiving::after(
                taken,
                Lane::Live,
                self.config.window_records,
                self.config.window_bytes,
            ),
            telemetry: None,
        };
        live.pump(&self.config, out);
        self.state = HubState::Live(Box::new(live));
    }
}

impl Down {
    fn snapshot() -> Self {
        Self::Snapshot {
            revision: None,
            part: 0,
            cursor: None,
        }
    }
}

impl Live {
    fn frame(
        &mut self,
        frame: Frame,
        config: &HubConfig,
        out: &mut Vec<HubEffect>,
    ) -> Result<(), CloseReason> {
        match frame {
            Frame::Records(records) => {
                self.records.came(self.hello.edge_epoch, records, out)?;
            }
            Frame::Telemetry(records) => match &mut self.telemetry {
                Some(telemetry) => telemetry.came(self.hello.edge_epoch, records, out)?,
                None => return Err(CloseReason::Unexpected("Telemetry")),
            },
            Frame::Stored { revision } => {
                self.landed(Mark::Revision(revision))?;
                out.push(HubEffect::Delivered { revision });
                self.pump(config, out);
            }
            Frame::PartReceived { part } => {
                self.landed(Mark::Part(part))?;
                self.pump(config, out);
            }
            Frame::Ping { nonce } => out.push(HubEffect::Send(Frame::Pong { nonce })),
            Frame::Pong { .. } | Frame::Unknown => {}
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Refuse { .. }
            | Frame::Objects(_)
            | Frame::Taken { .. }
            | Frame::TelemetryFrom { .. }
            | Frame::TelemetryTaken { .. } => {
                return Err(CloseReason::Unexpected(frame.kind()));
            }
        }
        Ok(())
    }

    /// Opens the window: messages land in the order in which they were sent.
    fn landed(&mut self, mark: Mark) -> Result<(), CloseReason> {
        match self.in_flight.pop_front() {
            Some((expected, bytes)) if expected == mark => {
                self.in_flight_bytes -= bytes;
                Ok(())
            }
            _ => Err(CloseReason::Unexpected(
                "confirmation of objects that were not sent",
            )),
        }
    }

    fn pump(&mut self, config: &HubConfig, out: &mut Vec<HubEffect>) {
        if self.reading || !self.pending || self.in_flight_bytes >= config.window_down_bytes {
            return;
        }
        self.reading = true;
        let max_bytes = config.batch_bytes;
        out.push(match &self.down {
            Down::Changes { sent } => HubEffect::ReadChanges {
                after: *sent,
                max_bytes,
            },
            Down::Snapshot { cursor, .. } => HubEffect::ReadSnapshot {
                cursor: cursor.clone(),
                max_bytes,
            },
        });
    }

    fn read(&mut self, reading: Reading, config: &HubConfig, out: &mut Vec<HubEffect>) {
        let Down::Changes { sent } = &mut self.down else {
            return;
        };
        self.reading = false;
        let again = std::mem::take(&mut self.read_again);
        match reading {
            Reading::Compacted => self.down = Down::snapshot(),
            Reading::Changes { to, changes } if changes.is_empty() && to == *sent => {
                self.pending = again
            }
            Reading::Changes { to, changes } => {
                let from = std::mem::replace(sent, to);
                self.send(
                    Mark::Revision(to),
                    Objects::Changes { from, to, changes },
                    out,
                );
            }
        }
        self.pump(config, out);
    }

    fn snapshot(&mut self, part: SnapshotPart, config: &HubConfig, out: &mut Vec<HubEffect>) {
        let Down::Snapshot {
            revision,
            part: number,
            cursor,
        } = &mut self.down
        else {
            return;
        };
        self.reading = false;
        self.read_again = false;
        // The revision of the first part stands for the whole: later parts may
        // be newer already, and what changed after the first part follows again.
        let revision = *revision.get_or_insert(part.head);
        let this = *number;
        *number += 1;
        *cursor = part.changes.last().map(|change| change.key.clone());
        let last = part.last;
        let mark = if last {
            Mark::Revision(revision)
        } else {
            Mark::Part(this)
        };
        if last {
            self.down = Down::Changes { sent: revision };
        }
        let objects = Objects::Snapshot {
            revision,
            part: this,
            last,
            changes: part.changes,
        };
        self.send(mark, objects, out);
        self.pump(config, out);
    }

    fn send(&mut self, mark: Mark, objects: Objects, out: &mut Vec<HubEffect>) {
        let (Objects::Changes { changes, .. } | Objects::Snapshot { changes, .. }) = &objects;
        // An empty message counts too, or a window would never fill with them.
        let bytes = 64 + changes.iter().map(Change::size).sum::<usize>();
        self.in_flight.push_back((mark, bytes));
        self.in_flight_bytes += bytes;
        out.push(HubEffect::Send(Frame::Objects(objects)));
    }
}

/// What to tell the edge before closing, where it can do something with it.
fn refusal_of(reason: &CloseReason) -> Option<Frame> {
    let (reason, message) = match reason {
        CloseReason::Refused { reason, message } => (*reason, message.clone()),
        CloseReason::Replaced => (RefuseReason::Replaced, reason.to_string()),
        CloseReason::Silent | CloseReason::GreetingTimeout => return None,
        _ => (RefuseReason::Protocol, reason.to_string()),
    };
    Some(Frame::Refuse { reason, message })
}

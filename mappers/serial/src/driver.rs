//! The open line to a bus: one request, one answer, and what comes by itself.
//! The only file that awaits.

mod discard;
mod greeting;

use std::{
    io,
    time::{Duration, SystemTime},
};

use longshore_sdk::{
    Connection, MethodConfig, Received, RequestError, SampleValue, Samples, WatchPoint, Watched,
};
use serde_json::{Value, json};
use tokio::{
    task::yield_now,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{
    bus::{Bus, Link, Unit},
    config::{Method, Serial},
    framer::{self, Found, Framing},
    io::Io,
    pattern::{self, Caught, shown},
    plan::Request,
    point::{Head, Point},
    stream::Streams,
};

/// How long to wait for another frame after a spoiled one.
const AFTER_SPOILED: Duration = Duration::from_millis(100);
/// The longest that the line is kept free for a late answer.
const LATE: Duration = Duration::from_millis(500);

/// So much at once is no answer of a device: other lines have their turn first.
const MUCH: usize = 512;

/// Silent units that are remembered: more than hang on any line.
const MOST_SILENT: usize = 256;

/// An open line.
pub struct Line {
    bus: Bus,
    io: Io,
    input: Vec<u8>,
    /// When the last bytes came.
    last_byte: Instant,
    /// The line is left alone until then: the gap of the last device.
    rest_until: Instant,
    /// An answer that was given up may still come until then. It may look like
    /// the answer to the next request, so it is waited for.
    late_until: Option<Instant>,
    /// Units that gave no answer to their last request: nobody waits for a
    /// late answer of a dead device again and again.
    silent: Vec<Unit>,
    streams: Streams,
    /// The speed that a device has asked for, where it is another one.
    speed: Option<u32>,
    broken: bool,
    /// The end of a wait that has had its one read after that end.
    overdue: Option<Instant>,
    dropped: u64,
    spoiled: u64,
}

/// One thing that was found in the input.
enum Step {
    Frame(Vec<u8>),
    Spoiled,
}

impl Line {
    /// Opens the bus.
    ///
    /// # Errors
    /// `Line`, with what the system says.
    pub async fn open(protocol: Serial, bus: Bus) -> Result<Self, RequestError> {
        let io = Io::open(&protocol, &bus).await?;
        sleep(bus.settings.pause_after_connect).await;
        let now = Instant::now();
        Ok(Self {
            bus,
            io,
            input: Vec::with_capacity(256),
            last_byte: now,
            rest_until: now,
            late_until: None,
            silent: Vec::new(),
            streams: Streams::default(),
            speed: None,
            broken: false,
            overdue: None,
            dropped: 0,
            spoiled: 0,
        })
    }

    /// Bytes that came and belonged to no message, since the line was opened.
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped
    }

    /// Messages whose checksum was wrong, since the line was opened.
    pub fn spoiled_messages(&self) -> u64 {
        self.spoiled
    }

    /// Samples of devices that talk by themselves that nobody took in time.
    pub fn thrown_samples(&self) -> u64 {
        self.streams.thrown()
    }

    /// Takes the next message off the input.
    fn take(&mut self, link: &Link, silent: bool) -> Option<Step> {
        loop {
            let found = framer::next(&link.framing, link.checksum.as_ref(), &self.input, silent);
            match found {
                Found::More => return None,
                Found::Skip(count) => {
                    self.dropped += count as u64;
                    self.input.drain(..count);
                }
                Found::Spoiled(count) => {
                    self.dropped += count as u64;
                    self.spoiled += 1;
                    self.streams.spoil();
                    self.input.drain(..count);
                    return Some(Step::Spoiled);
                }
                Found::Frame { frame, consumed } => {
                    let frame = &self.input[frame];
                    let message = match (&link.framing, &link.checksum) {
                        (Framing::Line { .. }, Some(checksum)) => checksum.strip(frame).to_vec(),
                        (framing, checksum) => {
                            let plain = framing.plain(checksum.as_ref(), frame);
                            plain.unwrap_or_default().into_owned()
                        }
                    };
                    self.input.drain(..consumed);
                    return Some(Step::Frame(message));
                }
            }
        }
    }

    /// Waits for more bytes; `false` when none came until `until`, `None` when
    /// only the silence within a message ended the waiting.
    ///
    /// What came in time may be read a little late, so one read is allowed
    /// after the end; with more of them a line that never stops would have no end.
    async fn more(&mut self, link: &Link, until: Instant) -> Result<Option<bool>, RequestError> {
        let idle = link.framing.idle().filter(|_| !self.input.is_empty());
        let idle = idle.map(|idle| self.last_byte + idle);
        let wake = idle.map_or(until, |idle| idle.min(until));
        if Instant::now() >= until && self.overdue.replace(until) == Some(until) {
            return Ok(Some(false));
        }
        match timeout_at(wake, self.io.read(&mut self.input)).await {
            Ok(Ok(0)) => Err(self.broke(&io::Error::from(io::ErrorKind::UnexpectedEof))),
            Ok(Ok(count)) => {
                self.last_byte = Instant::now();
                if count >= MUCH {
                    // What came is kept, should this be dropped meanwhile.
                    yield_now().await;
                }
                Ok(Some(true))
            }
            Ok(Err(error)) => Err(self.broke(&error)),
            Err(_) if idle.is_some_and(|idle| idle < until) => Ok(None),
            Err(_) => Ok(Some(false)),
        }
    }

    fn broke(&mut self, error: &io::Error) -> RequestError {
        self.broken = true;
        RequestError::Line(match error.kind() {
            io::ErrorKind::UnexpectedEof => "the other side has closed it".to_owned(),
            io::ErrorKind::TimedOut => "it takes no bytes (flow control?)".to_owned(),
            _ => error.to_string(),
        })
    }

    /// Sends a request.
    async fn send(&mut self, unit: &Unit, bytes: &[u8]) -> Result<(), RequestError> {
        let link = &unit.link;
        self.slow_down()?;
        sleep_until(self.rest_until.max(self.last_byte + link.gap)).await;
        self.settle(link).await?;
        self.discard(link).await?;
        let taken = self.bus.time_of(bytes.len());
        let deadline = Instant::now() + taken + link.timeout;
        match timeout_at(deadline, self.io.write_all(bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.broke(&error)),
            Err(_) => return Err(self.broke(&io::Error::from(io::ErrorKind::TimedOut))),
        }
        self.rest_until = Instant::now() + taken + link.gap;
        Ok(())
    }

    /// Lets an answer that was given up come and go.
    async fn settle(&mut self, link: &Link) -> Result<(), RequestError> {
        let Some(until) = self.late_until.take() else {
            return Ok(());
        };
        loop {
            while let Some(step) = self.take(link, false) {
                match step {
                    Step::Frame(message) if self.deliver(&message) => {}
                    _ => return Ok(()),
                }
            }
            if self.more(link, until).await? == Some(false) {
                return Ok(());
            }
            if self.take(link, true).is_some() {
                return Ok(());
            }
        }
    }

    /// Gives the messages in the input to those who listen, and drops the others.
    fn pass_on(&mut self, link: &Link) {
        while let Some(step) = self.take(link, false) {
            if let Step::Frame(message) = step
                && !self.deliver(&message)
            {
                self.dropped += message.len() as u64;
            }
        }
    }

    fn deliver(&mut self, message: &[u8]) -> bool {
        self.streams.deliver(message, Instant::now(), now_ns())
    }

    /// Sends a request and waits for the message that `is_answer`.
    async fn exchange(
        &mut self,
        unit: &Unit,
        bytes: &[u8],
        is_answer: &(dyn Fn(&[u8]) -> bool + Sync),
    ) -> Result<Vec<u8>, RequestError> {
        self.send(unit, bytes).await?;
        let deadline = Instant::now() + self.bus.time_of(bytes.len()) + unit.link.timeout;
        let greeted = match &unit.link.handshake {
            Some(handshake) => self.greet(&unit.link, handshake, bytes, deadline).await,
            None => Ok(()),
        };
        let answer = match greeted {
            Ok(()) if unit.link.handshake.is_some() => {
                let deadline = Instant::now() + unit.link.timeout;
                self.answer(&unit.link, bytes, is_answer, deadline).await
            }
            Ok(()) => self.answer(&unit.link, bytes, is_answer, deadline).await,
            Err(error) => Err(error),
        };
        // What fails here fails again at the next request, which tells it.
        let _ = self.slow_down();
        let now = Instant::now();
        self.rest_until = now + unit.link.gap;
        let was_silent = self.silent.contains(unit);
        match &answer {
            Err(RequestError::Timeout(_) | RequestError::Garbled(_)) if was_silent => {}
            Err(RequestError::Timeout(_) | RequestError::Garbled(_)) => {
                if self.silent.len() >= MOST_SILENT {
                    self.silent.remove(0);
                }
                self.silent.push(unit.clone());
                self.late_until = Some(now + unit.link.timeout.min(LATE));
            }
            _ if was_silent => self.silent.retain(|silent| silent != unit),
            _ => {}
        }
        answer
    }

    async fn answer(
        &mut self,
        link: &Link,
        sent: &[u8],
        is_answer: &(dyn Fn(&[u8]) -> bool + Sync),
        deadline: Instant,
    ) -> Result<Vec<u8>, RequestError> {
        let (mut until, mut silent, mut spoiled) = (deadline, false, false);
        let mut echo = link.echo;
        let mut other = None;
        let (start, before) = (Instant::now(), self.dropped);
        loop {
            while let Some(step) = self.take(link, silent) {
                match step {
                    Step::Spoiled => {
                        spoiled = true;
                        until = deadline.min(Instant::now() + AFTER_SPOILED);
                    }
                    Step::Frame(message) => {
                        if echo && is_echo(link, sent, &message) {
                            echo = false;
                        } else if let Some(reason) = link.refused(&message) {
                            return Err(RequestError::Refused(reason));
                        } else if is_answer(&message) {
                            return Ok(message);
                        } else if !self.deliver(&message) {
                            self.dropped += message.len() as u64;
                            other = Some(message);
                        }
                    }
                }
            }
            self.babbles(before, start)?;
            match self.more(link, until).await? {
                Some(true) => silent = false,
                None => silent = true,
                Some(false) => break,
            }
        }
        Err(match other {
            _ if spoiled => RequestError::Garbled("wrong checksum".to_owned()),
            Some(message) => {
                RequestError::Garbled(format!("`{}` is not what was expected", shown(&message)))
            }
            None if !self.input.is_empty() && self.streams.speaker().is_none() => {
                RequestError::Garbled(format!("only {} bytes of it came", self.input.len()))
            }
            None => RequestError::Timeout(format!("within {} ms", link.timeout.as_millis())),
        })
    }

    /// Waits for the next message of a device that talks by itself.
    async fn next_message(
        &mut self,
        unit: &Unit,
        request: &Request,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        let link = &unit.link;
        let deadline = Instant::now() + link.silent_after;
        let (before, mut silent) = (self.spoiled, false);
        loop {
            while let Some(step) = self.take(link, silent) {
                let Step::Frame(message) = step else { continue };
                let time_ns = now_ns();
                self.deliver(&message);
                let mut points = request.points.iter();
                if points.any(|(_, point)| point.answer().accepts(&message)) {
                    for (id, point) in &request.points {
                        point.answer().sample(*id, &message, time_ns, samples);
                    }
                    return Ok(());
                }
            }
            match self.more(link, deadline).await? {
                Some(true) => silent = false,
                None => silent = true,
                Some(false) => return Err(silence(link, self.spoiled - before)),
            }
        }
    }

    /// Sends something that is answered so, or not at all.
    async fn tell(
        &mut self,
        unit: &Unit,
        bytes: &[u8],
        response: Option<&Head>,
    ) -> Result<Vec<u8>, RequestError> {
        match response {
            Some(head) => {
                self.exchange(unit, bytes, &|message| head.fits(message))
                    .await
            }
            None => self.send(unit, bytes).await.map(|()| Vec::new()),
        }
    }
}

impl Connection<Serial> for Line {
    async fn read(
        &mut self,
        unit: &Unit,
        request: &Request,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        if request.send.is_empty() {
            return self.next_message(unit, request, samples).await;
        }
        let is_answer = |message: &[u8]| {
            let mut points = request.points.iter();
            points.any(|(_, point)| point.answer().accepts(message))
        };
        let message = self.exchange(unit, &request.send, &is_answer).await?;
        let time_ns = now_ns();
        for (id, point) in &request.points {
            point.answer().sample(*id, &message, time_ns, samples);
        }
        Ok(())
    }

    async fn write(
        &mut self,
        unit: &Unit,
        point: &Point,
        value: &SampleValue,
    ) -> Result<(), RequestError> {
        let Some(set) = point.set() else {
            return Err(RequestError::InvalidValue(
                "nothing says how to write it; give the property a `set`".to_owned(),
            ));
        };
        let bytes = set.request(value, &unit.link)?;
        self.tell(unit, &bytes, set.response.as_ref())
            .await
            .map(drop)
    }

    async fn watch(
        &mut self,
        unit: &Unit,
        points: &[WatchPoint<'_, Point>],
        _samples: &mut Samples,
    ) -> Result<Watched, RequestError> {
        if let Some(other) = self.streams.speaker()
            && !points.is_empty()
            && (&other.link.framing, &other.link.checksum)
                != (&unit.link.framing, &unit.link.checksum)
        {
            return Err(RequestError::Refused(format!(
                "{other} talks on this port with other `framing` or `checksum`; devices that talk by themselves on one port need the same"
            )));
        }
        self.streams.set(unit, points, Instant::now());
        Ok(Watched::Waiting)
    }

    async fn receive(&mut self, samples: &mut Samples) -> Result<Received<Unit>, RequestError> {
        let mut silent = false;
        loop {
            if self.streams.take(samples) {
                return Ok(Received::Samples);
            }
            let Some(speaker) = self.streams.speaker().cloned() else {
                return std::future::pending().await;
            };
            while let Some(step) = self.take(&speaker.link, silent) {
                if let Step::Frame(message) = step
                    && !self.deliver(&message)
                {
                    self.dropped += message.len() as u64;
                }
            }
            if self.streams.take(samples) {
                return Ok(Received::Samples);
            }
            if let Some((unit, spoiled)) = self.streams.lost(Instant::now()) {
                let error = silence(&unit.link, spoiled);
                return Ok(Received::Lost { unit, error });
            }
            self.streams.miss(Instant::now(), now_ns());
            if self.streams.take(samples) {
                return Ok(Received::Samples);
            }
            // A day is for ever here: all are lost, and only bytes can change that.
            let forever = Instant::now() + Duration::from_secs(86_400);
            let until = self.streams.deadline().unwrap_or(forever);
            silent = self.more(&speaker.link, until).await?.is_none();
        }
    }

    async fn call(
        &mut self,
        unit: &Unit,
        method: &MethodConfig,
        arguments: &Value,
    ) -> Result<Value, RequestError> {
        let called = Method::parse(method, &unit.link)?;
        let bytes = called.request(unit, arguments)?;
        let message = self.tell(unit, &bytes, called.response.as_ref()).await?;
        Ok(result(called.response.as_ref(), &message))
    }

    fn usable(&self) -> bool {
        !self.broken
    }
}

/// The named fields of a method's answer.
fn result(response: Option<&Head>, message: &[u8]) -> Value {
    match response {
        None => Value::Null,
        Some(Head::Bytes(_)) => {
            let digits: Vec<_> = message.iter().map(|byte| format!("{byte:02X}")).collect();
            json!({"answer": digits.join(" ")})
        }
        Some(Head::Pattern(pattern)) => {
            let captures = pattern.matches(message).unwrap_or_default();
            let value = |caught: Caught<'_>| match caught {
                Caught::Float(number) => json!(number),
                Caught::Int(number) => json!(number),
                Caught::Hex(number) => json!(number),
                Caught::Text(text) => json!(text),
            };
            let fields = captures.into_iter();
            Value::Object(
                fields
                    .map(|(name, caught)| (name.to_owned(), value(caught)))
                    .collect(),
            )
        }
    }
}

fn is_echo(link: &Link, sent: &[u8], message: &[u8]) -> bool {
    let plain = link.framing.plain(link.checksum.as_ref(), sent);
    pattern::trim(plain.as_deref().unwrap_or(sent)) == pattern::trim(message)
}

/// Nothing of use came for too long; messages with a wrong checksum may have.
fn silence(link: &Link, spoiled: u64) -> RequestError {
    let seconds = link.silent_after.as_secs_f64();
    match spoiled {
        0 => RequestError::Timeout(format!("the device has said nothing for {seconds} s")),
        1 => RequestError::Garbled(format!(
            "1 message came within {seconds} s and its checksum was wrong"
        )),
        count => RequestError::Garbled(format!(
            "{count} messages came within {seconds} s and their checksum was wrong"
        )),
    }
}

fn now_ns() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

//! One request and its answer.

use std::{io, time::Duration};

use longshore_sdk::{RequestError, wire};
use tokio::time::{Instant, error::Elapsed, sleep_until, timeout_at};

use super::{Line, anew::Lost};
use crate::{
    bus::{Framing, Unit},
    frame::{self, Asked, Found},
    pdu,
};

/// How long a serial answer that was given up is still expected.
const LATE: Duration = Duration::from_secs(5);

/// What has come of an answer so far.
#[derive(Default)]
struct Progress {
    /// Something, whatever it is.
    came: bool,
    /// A frame that is not the answer though it looks like it.
    spoiled: bool,
    /// The own request is expected to come back first, or may do so.
    echo: Echo,
}

#[derive(Default, PartialEq, Clone, Copy)]
enum Echo {
    /// It may come.
    #[default]
    Open,
    /// It has come, with functions 15 and 16 perhaps as the answer.
    Came,
    /// It does not.
    Not,
}

impl Line {
    /// Sends a request and waits for its answer; gives where the answer's PDU stands in `input`.
    pub(super) async fn exchange(
        &mut self,
        unit: &Unit,
        request: &pdu::Request,
    ) -> Result<(usize, usize), RequestError> {
        if self.io.is_none() {
            self.connect_again(unit).await?;
        }
        let mut answer = self.try_exchange(unit, request).await;
        let lost = self.lost.take();
        if let (Err(_), Some(lost)) = (&answer, lost)
            && self.may_ask_again(lost, request)
        {
            self.connect_again(unit).await?;
            answer = self.try_exchange(unit, request).await;
            self.lost = None;
        }
        if answer.is_ok() {
            self.answers = self.answers.saturating_add(1);
            self.learned.answered = true;
            self.tell_other_unit(unit);
            if self.is_brief() {
                self.hang_up();
            }
        }
        answer
    }

    async fn try_exchange(
        &mut self,
        unit: &Unit,
        request: &pdu::Request,
    ) -> Result<(usize, usize), RequestError> {
        self.await_turn(unit).await;
        self.discard_input().await?;
        self.transaction = self.transaction.wrapping_add(1);
        (self.heard.transaction, self.heard.unit) = (None, None);
        frame::encode(
            self.bus.framing,
            unit.id,
            self.transaction,
            request,
            &mut self.output,
        );
        let timeout = self.pace.timeout(unit);
        let asked = Instant::now();
        let deadline = asked + self.bus.time_of(self.output.len() as u32) + timeout;
        match timeout_at(deadline, self.send()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                // The system takes a request whole or not at all.
                self.loses(Lost::Unsent);
                return Err(self.broke(&error));
            }
            Err(_) => return Err(self.broke(&io::Error::from(io::ErrorKind::TimedOut))),
        }
        let answer = self.await_answer(unit, request, (deadline, timeout)).await;
        self.last_use = Instant::now();
        match &answer {
            Ok(_) => {
                self.silent = 0;
                self.pace.answered(unit.id, self.last_use - asked);
            }
            Err(RequestError::Timeout(_)) => {
                self.pace.missed(unit.id);
                self.silent = self.silent.saturating_add(1);
                self.given_up = Some((unit.id, request.clone(), self.last_use + LATE));
                // An adapter that no longer hears itself: the answer of a write may look so.
                self.learned.echoes = false;
                if self.bus.any_transaction {
                    // A late answer could not be told from the next one.
                    self.hang_up();
                }
            }
            Err(_) => self.given_up = Some((unit.id, request.clone(), self.last_use + LATE)),
        }
        answer
    }

    async fn send(&mut self) -> io::Result<()> {
        match &mut self.io {
            Some(io) => io.write_all(&self.output).await,
            None => Err(io::Error::from(io::ErrorKind::NotConnected)),
        }
    }

    /// The silence between frames, and what the device needs on top.
    async fn await_turn(&self, unit: &Unit) {
        let gap =
            Duration::from_millis(u64::from(unit.settings.request_gap_ms)).max(self.bus.silence());
        if !gap.is_zero() {
            sleep_until(self.last_use + gap).await;
        }
    }

    async fn await_answer(
        &mut self,
        unit: &Unit,
        request: &pdu::Request,
        (deadline, timeout): (Instant, Duration),
    ) -> Result<(usize, usize), RequestError> {
        let is_tcp_frame = self.bus.framing == Framing::Mbap;
        let mut progress = Progress {
            // The answer before may have left the start of a late one.
            came: is_tcp_frame && !self.input.is_empty(),
            ..Progress::default()
        };
        let mut is_last = false;
        let (start, before) = (Instant::now(), self.heard.dropped);
        loop {
            self.babbles(before, start)?;
            // What came in time may be read a little late: one read is allowed
            // after the end, as a line that never stops would have none.
            let is_over = Instant::now() >= deadline;
            let wake = (!(is_over && is_last)).then_some(deadline);
            is_last = is_over;
            match self.read_until(wake).await {
                Ok(Ok(0)) => {
                    return Err(
                        self.ended(&io::Error::from(io::ErrorKind::UnexpectedEof), &progress)
                    );
                }
                Ok(Ok(_)) => progress.came = true,
                Ok(Err(error)) => return Err(self.ended(&error, &progress)),
                Err(_) => return Err(self.nothing_came(&progress, timeout)),
            }
            if !is_tcp_frame && self.is_echo(request, &mut progress) {
                continue;
            }
            if let Some(found) = self.find_answer(unit, request, &mut progress) {
                return found;
            }
        }
    }

    /// Looks through what has come.
    fn find_answer(
        &mut self,
        unit: &Unit,
        request: &pdu::Request,
        progress: &mut Progress,
    ) -> Option<Result<(usize, usize), RequestError>> {
        let asked = Asked {
            framing: self.bus.framing,
            unit: unit.id,
            transaction: (!self.bus.any_transaction).then_some(self.transaction),
            request,
        };
        loop {
            match frame::decode(&asked, &mut self.input, &mut self.heard) {
                Found::Answer { start, length }
                    if self.is_late(unit.id, request, start, length) =>
                {
                    self.heard.dropped += (start + length) as u64;
                    self.input.drain(..start + length);
                }
                Found::Answer { start, length } => return Some(Ok((start, length))),
                Found::Incomplete => return None,
                // The answer may still come: the timeout counts.
                Found::Spoiled => {
                    progress.spoiled = true;
                    return None;
                }
                // A write is not sent twice: its answer may still come behind this.
                Found::NotModbus if self.learned.answered && !request.is_read() => {
                    progress.spoiled = true;
                    frame::drop_strange(&mut self.input, &mut self.heard.dropped);
                    return None;
                }
                Found::NotModbus => {
                    self.broken = true;
                    self.loses(Lost::Surplus);
                    return Some(Err(RequestError::Line(
                        "what comes is not Modbus TCP".to_owned(),
                    )));
                }
            }
        }
    }

    /// Whether what has come is, or may still become, the request itself; it is
    /// dropped when it is whole.
    fn is_echo(&mut self, request: &pdu::Request, progress: &mut Progress) -> bool {
        let is_expected = self.bus.echo || self.learned.echoes;
        if progress.echo != Echo::Open || (!is_expected && request.comes_back_whole()) {
            return false;
        }
        if self.input.starts_with(&self.output) {
            progress.echo = Echo::Came;
            self.learned.echoes |= request.is_read();
            self.heard.dropped += self.output.len() as u64;
            self.input.drain(..self.output.len());
            return self.input.is_empty();
        }
        if self.output.starts_with(&self.input) {
            return true;
        }
        progress.echo = Echo::Not;
        false
    }

    /// The time is over.
    fn nothing_came(&mut self, progress: &Progress, timeout: Duration) -> RequestError {
        let within = format!("within {} ms", timeout.as_millis());
        if progress.spoiled {
            return RequestError::Garbled("wrong checksum or contents".to_owned());
        }
        if progress.came && !self.input.is_empty() {
            // In the middle of a frame a TCP stream cannot be picked up again.
            self.broken |= self.bus.framing == Framing::Mbap;
            return RequestError::Garbled(format!("only {} bytes of it came", self.input.len()));
        }
        if let Some(theirs) = self.heard.transaction {
            let ours = self.transaction;
            if theirs != ours.wrapping_sub(1) {
                return RequestError::Timeout(format!(
                    "{within}; answers bear transaction {theirs}, not {ours}: a gateway that counts by itself needs `anyTransactionId: true`"
                ));
            }
        }
        match progress.echo {
            Echo::Came if !self.bus.echo => RequestError::Timeout(format!(
                "{within}; the request itself came back: an adapter that hears itself, or a device that answers so"
            )),
            _ => RequestError::Timeout(within),
        }
    }

    /// Reads what comes until then; not at all without a time.
    async fn read_until(&mut self, until: Option<Instant>) -> Result<io::Result<usize>, Elapsed> {
        let Some(io) = &mut self.io else {
            return Ok(Err(io::Error::from(io::ErrorKind::NotConnected)));
        };
        match until {
            Some(until) => timeout_at(until, io.read(&mut self.input)).await,
            None => timeout_at(Instant::now(), std::future::pending()).await,
        }
    }

    /// Whether an answer on a serial line may be that of the request given up
    /// before: then it is dropped once, and the own one awaited.
    fn is_late(&mut self, unit: u8, request: &pdu::Request, start: usize, length: usize) -> bool {
        if self.bus.framing == Framing::Mbap {
            return false;
        }
        let Some((of, other, until)) = self.given_up.take() else {
            return false;
        };
        let fits = of == unit
            && other != *request
            && other.is_answered_exactly_by(&self.input[start..start + length]);
        fits && Instant::now() < until
    }

    /// The peer has ended the connection while an answer was awaited.
    fn ended(&mut self, error: &io::Error, progress: &Progress) -> RequestError {
        if !progress.came {
            self.loses(Lost::Unanswered);
        }
        self.broke(error)
    }

    pub(super) fn broke(&mut self, error: &io::Error) -> RequestError {
        self.broken = true;
        RequestError::Line(match error.kind() {
            io::ErrorKind::UnexpectedEof => "closed by the device".to_owned(),
            _ => error.to_string(),
        })
    }

    /// The transaction is ours and the unit is not: most devices do so for want of
    /// care, but a gateway may have asked another one.
    fn tell_other_unit(&mut self, unit: &Unit) {
        let Some(theirs) = self.heard.unit.take() else {
            return;
        };
        if !std::mem::replace(&mut self.learned.unit(unit.id).told_unit, true) {
            wire::warn(&format!(
                "answers to unit {unit} bear unit {theirs}: look whether the values are those of unit {unit}"
            ));
        }
    }
}

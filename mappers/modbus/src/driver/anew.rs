//! Connecting, and connecting again where a device hangs up.
//!
//! Devices with one connection close it behind each answer, or after a minute.
//! That is nobody's fault: a read is asked for again on a new connection, and so is
//! a write of which nothing went out. A write that went out is not sent twice.

use std::{io, time::Duration};

use longshore_sdk::RequestError;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};

use super::Line;
use crate::{
    bus::{Bus, Close, Endpoint, Unit},
    io::{Io, open_serial},
    pdu,
};

/// The pause before a device that has only one connection is dialled again.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_LAST: Duration = Duration::from_millis(200);

/// How a connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// Before anything of the request was sent.
    Unsent,
    /// Behind the request, and nothing of an answer came.
    Unanswered,
    /// What came is no message.
    Surplus,
}

/// Opens the bus once.
pub(super) async fn connect(bus: &Bus) -> Result<Io, RequestError> {
    let broke = |error: io::Error| RequestError::Line(error.to_string());
    let io = match &bus.endpoint {
        Endpoint::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port))
                .await
                .map_err(broke)?;
            // A request is one small segment; waiting for more would only delay it.
            stream.set_nodelay(true).map_err(broke)?;
            Io::Tcp(stream)
        }
        Endpoint::Serial(serial) => Io::Serial(open_serial(serial)?),
    };
    sleep(bus.pause_after_connect).await;
    Ok(io)
}

impl Line {
    /// Whether the connection ends behind each answer.
    pub(super) fn is_brief(&self) -> bool {
        self.bus.close == Close::AfterRequest || (self.bus.is_tcp() && self.learned.hangs_up())
    }

    /// Ends the connection; the next request opens another one.
    pub(super) fn hang_up(&mut self) {
        self.io = None;
    }

    /// Takes note of a lost connection.
    pub(super) fn loses(&mut self, lost: Lost) {
        self.lost = Some(lost);
        if lost != Lost::Surplus {
            self.learned.hung_up(self.answers);
        }
    }

    /// Whether the request may go out once more on another connection.
    pub(super) fn may_ask_again(&self, lost: Lost, request: &pdu::Request) -> bool {
        let is_safe = lost == Lost::Unsent || request.is_read();
        is_safe && self.bus.is_tcp() && self.learned.answered
    }

    /// Opens another connection in place of this one. A device that is known to
    /// hang up may need a moment until it takes the next.
    pub(super) async fn connect_again(&mut self, unit: &Unit) -> Result<(), RequestError> {
        // A serial port can be opened once at a time, and so can many devices.
        self.io = None;
        self.input.clear();
        (self.silent, self.answers, self.given_up) = (0, 0, None);
        let until = Instant::now() + Duration::from_millis(u64::from(unit.settings.timeout_ms));
        let is_patient = self.is_brief() || self.bus.close != Close::Never;
        let mut pause = PAUSE_FIRST;
        let error = loop {
            match timeout_at(until, connect(&self.bus)).await {
                Ok(Ok(io)) => {
                    self.io = Some(io);
                    self.broken = false;
                    return Ok(());
                }
                Ok(Err(error)) if !is_patient || Instant::now() + pause >= until => break error,
                Ok(Err(_)) => sleep(pause).await,
                Err(_) => {
                    break RequestError::Line(format!(
                        "no connection within {} ms",
                        unit.settings.timeout_ms
                    ));
                }
            }
            pause = (pause * 2).min(PAUSE_LAST);
        };
        self.broken = true;
        Err(error)
    }
}

//! One connection or serial line, without its input and output: bytes in,
//! answers out.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use longshore_sim_world::Fault;

use crate::frame::{self, Found, Frame, Framing};
use crate::pdu;
use crate::unit::{Devices, LineTotals};

/// Room for several dozen requests that come at once.
const INPUT: usize = 16 * 1024;

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// An answer was appended, to be sent so much later than usual.
    Answer(Duration),
    /// No answer.
    Nothing,
    /// Hang up.
    Close,
}

/// The state of one line: what came and is not yet a frame.
#[derive(Debug)]
pub(crate) struct Line {
    framing: Framing,
    devices: Arc<Devices>,
    input: Vec<u8>,
    /// Where the unread part of the input begins.
    from: usize,
    scratch: Vec<u8>,
    /// The last bytes belonged to no frame: the next such are of the same one.
    lost_track: bool,
    /// A serial line cannot be closed by a device.
    can_close: bool,
}

impl Line {
    pub(crate) fn new(framing: Framing, devices: Arc<Devices>, can_close: bool) -> Self {
        Self {
            framing,
            devices,
            input: Vec::with_capacity(INPUT),
            from: 0,
            scratch: Vec::new(),
            lost_track: false,
            can_close,
        }
    }

    /// Where new input is to be appended; the capacity that is left is never 0.
    pub(crate) fn space(&mut self) -> &mut Vec<u8> {
        self.input.drain(..self.from);
        self.from = 0;
        self.input.reserve(INPUT / 4);
        &mut self.input
    }

    /// How long the line may be silent within a frame before the frame is given up.
    ///
    /// Far more than the 1.5 characters of Modbus over Serial Line V1.02,
    /// section 2.5.1.1, which no pty and no TCP connection keeps; ASCII allows
    /// a second by itself (section 2.5.2.1).
    pub(crate) fn patience(&self) -> Option<Duration> {
        match self.framing {
            _ if self.from == self.input.len() => None,
            Framing::Tcp => None,
            Framing::Rtu => Some(Duration::from_millis(50)),
            Framing::Ascii => Some(Duration::from_secs(1)),
        }
    }

    /// Deals with the next request in the input and appends its answer; `None` if there is none.
    pub(crate) fn next(&mut self, silent: bool, now: Instant, out: &mut Vec<u8>) -> Option<Step> {
        loop {
            let input = &self.input[self.from..];
            match frame::find(
                self.framing,
                input,
                silent,
                self.lost_track,
                &mut self.scratch,
            ) {
                Found::More => return None,
                Found::Lost => {
                    LineTotals::add(&self.devices.line.bad_frames, 1);
                    self.from = self.input.len();
                    return Some(Step::Close);
                }
                Found::Skip { bytes, bad } => {
                    if bad && !self.lost_track {
                        LineTotals::add(&self.devices.line.bad_frames, 1);
                    }
                    self.lost_track = bad;
                    LineTotals::add(&self.devices.line.dropped_bytes, bytes as u64);
                    self.from += bytes;
                }
                Found::Frame(frame) => {
                    self.lost_track = false;
                    let start = self.from;
                    self.from += frame.bytes;
                    let request = match self.framing {
                        Framing::Ascii => &self.scratch[frame.pdu.clone()],
                        _ => &self.input[start..][frame.pdu.clone()],
                    };
                    let step = self.serve(&frame, request, now, out);
                    return Some(match step {
                        Step::Close if !self.can_close => Step::Nothing,
                        step => step,
                    });
                }
            }
        }
    }

    fn serve(&self, frame: &Frame, request: &[u8], now: Instant, out: &mut Vec<u8>) -> Step {
        let function = request.first().copied().unwrap_or(0);
        if self.framing != Framing::Tcp && frame.unit == 0 {
            self.broadcast(function, request, out);
            return Step::Nothing;
        }
        let Some(id) = self.resolve(frame.unit) else {
            LineTotals::add(&self.devices.line.unknown_units, 1);
            if self.framing != Framing::Tcp {
                return Step::Nothing;
            }
            self.wrap(frame, out, |out| {
                pdu::exception(function, pdu::NO_TARGET, out)
            });
            return Step::Answer(Duration::ZERO);
        };
        let fault = self.devices.faults.strike_unit(id, now);
        if let Some(mut unit) = self.devices.unit(id)
            && let Some(fault) = fault
        {
            let count = unit.count(function);
            count.faults += 1;
            // Those that keep the request from being carried out are counted here.
            match fault {
                Fault::Unresponsive | Fault::DropConnection => count.requests += 1,
                Fault::Exception(_) => {
                    count.requests += 1;
                    count.exceptions += 1;
                }
                Fault::Slow(_) | Fault::WrongCrc | Fault::HalfFrame => {}
            }
        }
        match fault {
            Some(Fault::Unresponsive) => return Step::Nothing,
            Some(Fault::DropConnection) => return Step::Close,
            Some(Fault::Exception(code)) => {
                self.wrap(frame, out, |out| pdu::exception(function, code, out));
                return Step::Answer(Duration::ZERO);
            }
            _ => {}
        }
        let start = out.len();
        self.wrap(frame, out, |out| {
            if let Some(mut unit) = self.devices.unit(id) {
                pdu::answer(&self.devices, &mut unit, request, out);
            }
        });
        match fault {
            Some(Fault::Slow(by)) => return Step::Answer(by),
            Some(Fault::WrongCrc) => frame::spoil(self.framing, start, out),
            Some(Fault::HalfFrame) => out.truncate(start + (out.len() - start) / 2),
            _ => {}
        }
        Step::Answer(Duration::ZERO)
    }

    fn wrap(&self, frame: &Frame, out: &mut Vec<u8>, answer: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        frame::begin(self.framing, frame.unit, frame.transaction, out);
        answer(out);
        frame::end(self.framing, start, out);
    }

    /// The unit that is meant. Through TCP a device may be asked without
    /// knowing its unit, as 255 or 0 (Messaging on TCP/IP Implementation Guide
    /// V1.0b, section 4.4).
    fn resolve(&self, unit: u8) -> Option<u8> {
        if self.devices.unit(unit).is_some() {
            return Some(unit);
        }
        match (self.framing, unit) {
            (Framing::Tcp, 0 | 255) => self.devices.only_unit(),
            _ => None,
        }
    }

    /// A write to all units; nobody answers (Modbus over Serial Line V1.02, section 2.1).
    fn broadcast(&self, function: u8, request: &[u8], out: &mut Vec<u8>) {
        if !pdu::may_broadcast(function) {
            return;
        }
        let start = out.len();
        for mut unit in self.devices.units() {
            pdu::answer(&self.devices, &mut unit, request, out);
            out.truncate(start);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.devices.line.open.fetch_sub(1, Ordering::Relaxed);
    }
}

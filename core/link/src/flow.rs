//! What both ends of a lane keep of the records on it.

use std::collections::VecDeque;

use crate::effect::{EdgeEffect, HubEffect};
use crate::frame::{Frame, Records, UpRecord};
use crate::{CloseReason, Epoch, Gap, Lane, MAX_FRAME_BYTES};

/// The most bytes of live records in one frame.
const LIVE_FRAME_BYTES: usize = 128 * 1024;

/// The most bytes of telemetry in one frame: a live record waits for the line
/// behind at most this and what is in the line's buffers.
const TELEMETRY_FRAME_BYTES: usize = 32 * 1024;

/// The edge's end of a lane: its records on their way.
#[derive(Debug)]
pub(crate) struct Sending {
    lane: Lane,
    window_records: usize,
    window_bytes: usize,
    frame_bytes: usize,
    /// The last record sent.
    pub(crate) sent: u64,
    in_flight: VecDeque<(u64, usize)>,
    in_flight_bytes: usize,
    fetching: bool,
    /// Something came while a fetch was under way, which may have missed it.
    fetch_again: bool,
    /// The last fetch found nothing more.
    empty: bool,
}

/// The hub's end of a lane: its records that came.
#[derive(Debug)]
pub(crate) struct Receiving {
    lane: Lane,
    window_records: usize,
    window_bytes: usize,
    /// Records and bytes of each batch that is not handled yet.
    unhandled: VecDeque<(usize, usize)>,
    unhandled_records: usize,
    unhandled_bytes: usize,
    last_record: u64,
}

impl Sending {
    /// Goes on after what the hub holds.
    pub(crate) fn begin(
        lane: Lane,
        taken: u64,
        window: (u32, u32),
        out: &mut Vec<EdgeEffect>,
    ) -> Self {
        if taken > 0 {
            out.push(EdgeEffect::Forget {
                lane,
                through: taken,
            });
        }
        Self {
            lane,
            window_records: window.0 as usize,
            window_bytes: window.1 as usize,
            frame_bytes: match lane {
                Lane::Live => LIVE_FRAME_BYTES,
                Lane::Telemetry => TELEMETRY_FRAME_BYTES,
            },
            sent: taken,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            fetching: false,
            fetch_again: false,
            empty: false,
        }
    }

    /// Records that are sent and not yet taken.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Nothing is left to send, as far as is known.
    pub(crate) fn is_idle(&self) -> bool {
        self.empty && !self.fetching
    }

    pub(crate) fn changed(&mut self) {
        self.empty = false;
        self.fetch_again = self.fetching;
    }

    pub(crate) fn taken(&mut self, sequence: u64, out: &mut Vec<EdgeEffect>) {
        let taken = self
            .in_flight
            .partition_point(|(sent, _)| *sent <= sequence);
        for (_, bytes) in self.in_flight.drain(..taken) {
            self.in_flight_bytes -= bytes;
        }
        if taken > 0 {
            out.push(EdgeEffect::Forget {
                lane: self.lane,
                through: sequence,
            });
        }
    }

    pub(crate) fn fetched(&mut self, records: Vec<UpRecord>, out: &mut Vec<EdgeEffect>) {
        self.fetching = false;
        if records.is_empty() {
            self.empty = !std::mem::take(&mut self.fetch_again);
            return;
        }
        let after = self.sent;
        for record in &records {
            self.sent = record.sequence;
            self.in_flight.push_back((record.sequence, record.size()));
            self.in_flight_bytes += record.size();
        }
        let records = Records { after, records };
        out.push(EdgeEffect::Send(match self.lane {
            Lane::Live => Frame::Records(records),
            Lane::Telemetry => Frame::Telemetry(records),
        }));
    }

    pub(crate) fn fetch(&mut self, out: &mut Vec<EdgeEffect>) {
        let records = self.window_records.saturating_sub(self.in_flight.len());
        let bytes = self.window_bytes.saturating_sub(self.in_flight_bytes);
        if self.fetching || self.empty || records == 0 || bytes == 0 {
            return;
        }
        self.fetching = true;
        out.push(EdgeEffect::Fetch {
            lane: self.lane,
            after: self.sent,
            max_records: records,
            max_bytes: bytes.min(self.frame_bytes),
        });
    }
}

impl Receiving {
    pub(crate) fn after(taken: u64, lane: Lane, records: u32, bytes: u32) -> Self {
        Self {
            lane,
            window_records: records as usize,
            window_bytes: bytes as usize,
            unhandled: VecDeque::new(),
            unhandled_records: 0,
            unhandled_bytes: 0,
            last_record: taken,
        }
    }

    pub(crate) fn came(
        &mut self,
        epoch: Epoch,
        records: Records,
        out: &mut Vec<HubEffect>,
    ) -> Result<(), CloseReason> {
        let Records { after, records } = records;
        if after > self.last_record {
            return Err(Gap {
                after,
                held: self.last_record,
            }
            .into());
        }
        let Some(last) = records.last() else {
            return Ok(());
        };
        self.last_record = self.last_record.max(last.sequence);
        let bytes = records.iter().map(UpRecord::size).sum::<usize>();
        self.unhandled.push_back((records.len(), bytes));
        self.unhandled_records += records.len();
        self.unhandled_bytes += bytes;
        // A record that is larger than what is left of the window may go; so one frame more.
        let limit = self.window_bytes + MAX_FRAME_BYTES;
        if self.unhandled_records > self.window_records || self.unhandled_bytes > limit {
            return Err(CloseReason::WindowExceeded);
        }
        out.push(HubEffect::Handle {
            lane: self.lane,
            epoch,
            after,
            records,
        });
        Ok(())
    }

    pub(crate) fn handled(&mut self) {
        if let Some((records, bytes)) = self.unhandled.pop_front() {
            self.unhandled_records -= records;
            self.unhandled_bytes -= bytes;
        }
    }
}

//! What comes and belongs to no exchange: noise, late answers, and lines that
//! never stop talking.

use std::{io, time::Duration};

use longshore_sdk::RequestError;
use tokio::{task::yield_now, time::Instant};

use super::{Line, anew::Lost};
use crate::{bus::Framing, frame};

/// What waits on a line before a request is a late answer or noise. More than
/// this, or for longer, is a line that never stops: no receive buffer that
/// nobody has emptied for a while holds as much.
const MOST_DISCARDED: u64 = 1024 * 1024;
const LONGEST_DISCARD: Duration = Duration::from_millis(100);
/// Reads between two pauses in which other lines have their turn.
const READS_AT_ONCE: usize = 16;

impl Line {
    /// What has come since the last answer is late or noise. Over TCP it is whole
    /// messages, and the stream must stay in step: the start of one stays.
    pub(super) async fn discard_input(&mut self) -> Result<(), RequestError> {
        let (start, before) = (Instant::now(), self.heard.dropped);
        loop {
            let is_all = self.take_some()?;
            if self.bus.framing == Framing::Mbap {
                frame::drop_surplus(&mut self.input, &mut self.heard.dropped);
            } else {
                self.heard.dropped += self.input.len() as u64;
                self.input.clear();
            }
            if is_all {
                break;
            }
            let (count, taken) = (self.heard.dropped - before, start.elapsed());
            if count >= MOST_DISCARDED || taken >= LONGEST_DISCARD {
                return Err(self.babble(before, start));
            }
            yield_now().await;
        }
        Ok(())
    }

    /// Takes some of what has come; `true` when that was all.
    fn take_some(&mut self) -> Result<bool, RequestError> {
        let mut some = [0; 512];
        for _ in 0..READS_AT_ONCE {
            let read = match &mut self.io {
                Some(io) => io.try_read(&mut some),
                None => Ok(0),
            };
            let error = match read {
                Ok(count @ 1..) => {
                    self.input.extend_from_slice(&some[..count]);
                    continue;
                }
                Ok(_) => io::Error::from(io::ErrorKind::UnexpectedEof),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            self.loses(Lost::Unsent);
            return Err(self.broke(&error));
        }
        Ok(false)
    }

    /// Ends an exchange in which far more came than belongs to any message.
    pub(super) fn babbles(&mut self, before: u64, start: Instant) -> Result<(), RequestError> {
        if self.heard.dropped - before < MOST_DISCARDED {
            return Ok(());
        }
        Err(self.babble(before, start))
    }

    /// The line is opened anew, which takes its time: others have their turn.
    fn babble(&mut self, before: u64, start: Instant) -> RequestError {
        self.broken = true;
        RequestError::Line(format!(
            "the line does not stop talking: {} bytes in {} ms that belong to no message",
            self.heard.dropped - before + self.input.len() as u64,
            start.elapsed().as_millis()
        ))
    }
}

//! What comes and belongs to no exchange: noise, late answers, and lines that
//! never stop talking.

use std::{io, time::Duration};

use longshore_sdk::RequestError;
use tokio::{task::yield_now, time::Instant};

use super::Line;
use crate::bus::Link;

/// What waits on a line before a request is a late answer or noise. More than
/// this, or for longer, is a line that never stops: no receive buffer that
/// nobody has emptied for a while holds as much.
const MOST_DISCARDED: u64 = 1024 * 1024;
const LONGEST_DISCARD: Duration = Duration::from_millis(100);
/// Reads between two pauses in which other lines have their turn.
const READS_AT_ONCE: usize = 16;

impl Line {
    /// What has come before the request is not its answer.
    pub(super) async fn discard(&mut self, link: &Link) -> Result<(), RequestError> {
        let (start, before) = (Instant::now(), self.dropped);
        let mut count = 0;
        while !self.discard_some(link, &mut count)? {
            let taken = start.elapsed();
            if count as u64 >= MOST_DISCARDED || taken >= LONGEST_DISCARD {
                return Err(self.babble(before, start));
            }
            yield_now().await;
        }
        self.pass_on(link);
        // The beginning of a message that comes by itself is kept.
        if self.streams.speaker().is_none() {
            self.dropped += self.input.len() as u64;
            self.input.clear();
        }
        Ok(())
    }

    /// Takes some of what has come; `true` when that was all.
    fn discard_some(&mut self, link: &Link, total: &mut usize) -> Result<bool, RequestError> {
        let mut buffer = [0; 512];
        for _ in 0..READS_AT_ONCE {
            match self.io.try_read(&mut buffer) {
                Ok(0) => return Err(self.broke(&io::Error::from(io::ErrorKind::UnexpectedEof))),
                Ok(count) => {
                    *total += count;
                    self.input.extend_from_slice(&buffer[..count]);
                    self.pass_on(link);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broke(&error)),
            }
        }
        Ok(false)
    }

    /// Ends an exchange in which far more came than belongs to any message.
    pub(super) fn babbles(&mut self, before: u64, start: Instant) -> Result<(), RequestError> {
        if self.dropped - before < MOST_DISCARDED {
            return Ok(());
        }
        Err(self.babble(before, start))
    }

    /// The line is opened anew, which takes its time: others have their turn.
    fn babble(&mut self, before: u64, start: Instant) -> RequestError {
        self.broken = true;
        RequestError::Line(format!(
            "the line does not stop talking: {} bytes in {} ms that belong to no message",
            self.dropped - before + self.input.len() as u64,
            start.elapsed().as_millis()
        ))
    }
}

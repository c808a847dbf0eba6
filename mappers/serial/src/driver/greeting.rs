//! The line before the answer, and the change of speed that it asks for.

use std::{io, time::Duration};

use longshore_sdk::RequestError;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Line, is_echo};
use crate::{
    bus::Link,
    framer::MAX_FRAME,
    handshake::Handshake,
    pattern::{self, shown},
};

/// Between two looks whether all has left the port.
const SENDING: Duration = Duration::from_millis(5);

impl Line {
    /// Takes the device's first line, confirms it and follows its change of speed.
    pub(super) async fn greet(
        &mut self,
        link: &Link,
        handshake: &Handshake,
        sent: &[u8],
        deadline: Instant,
    ) -> Result<(), RequestError> {
        let mut echo = link.echo;
        let line = loop {
            let line = self.first_line(link, deadline).await?;
            if echo && is_echo(link, sent, &line) {
                echo = false;
            } else if !pattern::trim(&line).is_empty() {
                break line;
            }
        };
        if let Some(reason) = link.refused(&line) {
            return Err(RequestError::Refused(reason));
        }
        let turn = handshake.turn(&line)?;
        sleep(handshake.pause).await;
        let mut taken = Duration::ZERO;
        if let Some(confirm) = &turn.confirm {
            taken = self.bus.time_of(confirm.len());
            let until = Instant::now() + taken + link.timeout;
            let begun = Instant::now();
            match timeout_at(until, self.io.write_all(confirm)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(self.broke(&error)),
                Err(_) => return Err(self.broke(&io::Error::from(io::ErrorKind::TimedOut))),
            }
            taken = taken.saturating_sub(begun.elapsed());
        }
        let Some(baud) = turn.baud.filter(|baud| *baud != self.bus.settings.baud) else {
            return Ok(());
        };
        // The last character must have left at the old speed: the time that all
        // take on the line is passed, and then the port says that it is empty.
        sleep(taken).await;
        while self.io.is_sending() && Instant::now() < deadline {
            sleep(SENDING).await;
        }
        self.speed = Some(baud);
        self.io.set_speed(baud).map_err(RequestError::Line)
    }

    /// Back to the speed that the port is set to.
    pub(super) fn slow_down(&mut self) -> Result<(), RequestError> {
        if self.speed.is_none() {
            return Ok(());
        }
        let baud = self.bus.settings.baud;
        let back = self.io.set_speed(baud).map_err(RequestError::Line);
        match &back {
            Ok(()) => self.speed = None,
            // It is opened anew, which sets it.
            Err(_) => self.broken = true,
        }
        back
    }

    async fn first_line(
        &mut self,
        link: &Link,
        deadline: Instant,
    ) -> Result<Vec<u8>, RequestError> {
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                return Ok(pattern::trim(&line).to_vec());
            }
            if self.input.len() >= MAX_FRAME {
                self.dropped += self.input.len() as u64;
                self.input.clear();
            }
            if self.more(link, deadline).await? == Some(false) {
                return Err(match &self.input[..] {
                    [] => RequestError::Timeout(format!("within {} ms", link.timeout.as_millis())),
                    part => RequestError::Garbled(format!(
                        "`{}` came and no line end (`handshake` waits for a line first)",
                        shown(part)
                    )),
                });
            }
        }
    }
}

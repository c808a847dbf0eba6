//! Blocks that a device refuses, or does not answer though it is there.
//!
//! Some devices keep silent where the specification wants exception 2 or 3. For the
//! schedule silence is a unit that is away; so it is found out here whether the unit
//! is there: if it answers something else, its silence was a refusal.

use longshore_sdk::RequestError;
use tokio::time::Instant;

use super::{BUSY, Line};
use crate::{
    bus::Unit,
    learned::Block,
    pdu::{self, Exception},
    plan,
    point::Table,
};

impl Line {
    /// Reads a block; gives where its data stands in `input`.
    pub(super) async fn read_block(
        &mut self,
        unit: &Unit,
        request: &plan::Request,
    ) -> Result<(usize, usize), RequestError> {
        let block = Block::of(unit.id, request);
        if self.learned.is_left_alone(block, Instant::now()) {
            return Err(silent(request));
        }
        let ask = pdu::Request::read(
            request.table.read_function(),
            request.address,
            request.count,
        );
        let mut answer = self.ask(unit, &ask).await;
        if let Ok(Err(Exception::BUSY)) = answer {
            tokio::time::sleep(BUSY).await;
            answer = self.ask(unit, &ask).await;
        }
        match answer {
            Ok(Ok(place)) => {
                self.learned.was_read(unit.id, request);
                Ok(place)
            }
            // Which of the addresses it is that the device minds, or whether
            // it is their number, only smaller requests can tell.
            Ok(Err(exception)) => Err(RequestError::RefusedTogether(format!(
                "{exception}: {}",
                place(request)
            ))),
            Err(RequestError::Timeout(why)) => {
                if !self.learned.missed(block) || !self.is_there(unit, request).await? {
                    return Err(RequestError::Timeout(why));
                }
                self.learned.keeps_silent(block, Instant::now());
                Err(silent(request))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the unit answers anything else: what it has answered before, or the
    /// first or last value of the block by itself. A refusal is an answer.
    async fn is_there(
        &mut self,
        unit: &Unit,
        request: &plan::Request,
    ) -> Result<bool, RequestError> {
        let within = |field: &plan::Field| {
            let is_bits = request.table.is_bits();
            let skip = if is_bits {
                field.offset
            } else {
                field.offset / 2
            };
            (request.table, request.address + skip, 1)
        };
        let whole = (request.table, request.address, request.count);
        let known = self.learned.unit(unit.id).answers;
        let tries = known
            .into_iter()
            .chain(request.fields.first().map(within))
            .chain(request.fields.last().map(within));
        let mut tried = vec![whole];
        for (table, address, count) in tries.collect::<Vec<(Table, u16, u16)>>() {
            if tried.contains(&(table, address, count)) {
                continue;
            }
            tried.push((table, address, count));
            let probe = pdu::Request::read(table.read_function(), address, count);
            match self.ask(unit, &probe).await {
                Ok(answer) => {
                    if let Ok((_, end)) = answer {
                        self.consume(end);
                    }
                    return Ok(true);
                }
                Err(RequestError::Timeout(_) | RequestError::Garbled(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

fn silent(request: &plan::Request) -> RequestError {
    RequestError::RefusedTogether(format!(
        "no answer, though the unit answers others: {}",
        place(request)
    ))
}

/// What was asked for, and what keeps from asking so.
fn place(request: &plan::Request) -> String {
    let (table, first, count) = (request.table, request.address, request.count);
    if count <= 1 {
        return format!("{table} {first} (0x{first:04X} on the wire)");
    }
    let last = first + (count - 1);
    let places = format!("{table}s {first} to {last} (0x{first:04X} on the wire, {count} of them)");
    if request.fields.len() <= 1 {
        return places;
    }
    let most = if table.is_bits() {
        "maxBits"
    } else {
        "maxRegisters"
    };
    format!("{places}; `gapFill: 0` or a smaller `{most}` asks for less at once")
}

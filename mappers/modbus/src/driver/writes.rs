//! What changes the device: functions 5, 6, 15, 16 and 22.
//!
//! Which of them a device knows is found out by its refusals, unless the point's
//! `writeFunction` says it. An answer is taken at its word: a device that answers
//! another value has taken that one.

use std::time::Duration;

use longshore_sdk::{RequestError, SampleValue};
use tokio::time::{Instant, sleep};

use super::Line;
use crate::{
    bus::Unit,
    pdu::{self, Exception, function},
    point::{Coding, Point, Table, WriteWith},
};

/// Pauses before a device that is busy is asked again, doubling.
const BUSY_FIRST: Duration = Duration::from_millis(50);
const BUSY_TIMES: u32 = 4;

impl Line {
    /// Sends a write, again where the device was busy, and waits where it is at work.
    pub(super) async fn command(
        &mut self,
        unit: &Unit,
        request: &pdu::Request,
    ) -> Result<Result<(), Exception>, RequestError> {
        let mut pause = BUSY_FIRST;
        for _ in 0..BUSY_TIMES {
            match self.command_once(unit, request).await? {
                Err(Exception::BUSY) => {
                    sleep(pause).await;
                    pause *= 2;
                }
                Err(Exception::ACKNOWLEDGE) => return self.settle(unit, request).await.map(Ok),
                answer => return Ok(answer),
            }
        }
        self.command_once(unit, request).await
    }

    async fn command_once(
        &mut self,
        unit: &Unit,
        request: &pdu::Request,
    ) -> Result<Result<(), Exception>, RequestError> {
        let (start, end) = match self.ask(unit, request).await? {
            Ok(place) => place,
            Err(exception) => return Ok(Err(exception)),
        };
        let taken = taken_instead(request, &self.input[start..end]);
        self.consume(end);
        match taken {
            None => Ok(Ok(())),
            Some(message) => Err(RequestError::Refused(message)),
        }
    }

    /// The device has taken the order and is at work: reads what is written until
    /// it shows, for as long as an answer may take.
    async fn settle(&mut self, unit: &Unit, request: &pdu::Request) -> Result<(), RequestError> {
        let whole = Duration::from_millis(u64::from(unit.settings.timeout_ms));
        let until = Instant::now() + whole;
        let mut pause = BUSY_FIRST;
        if let Some(read) = request.settled_by() {
            while Instant::now() + pause < until {
                sleep(pause).await;
                pause = (pause * 2).min(whole / 4);
                // Refusals and silence are those of a device that is at work.
                match self.fetch(unit, &read).await {
                    Ok(Ok(data)) if request.is_shown_by(&data) => return Ok(()),
                    Ok(_) | Err(RequestError::Timeout(_) | RequestError::Garbled(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Err(RequestError::Garbled(format!(
            "{}: not done within {} ms",
            Exception::ACKNOWLEDGE,
            whole.as_millis()
        )))
    }

    pub(super) async fn write_bits(
        &mut self,
        unit: &Unit,
        point: &Point,
        value: &SampleValue,
    ) -> Result<(), RequestError> {
        let number = bits_of(point, value)?;
        if point.count == 1 && self.tries_single(unit, point) {
            let single = pdu::Request::write_coil(point.address, number == 1);
            match self.command(unit, &single).await? {
                Err(Exception::ILLEGAL_FUNCTION) if point.write_with == WriteWith::Any => {
                    self.learned.unit(unit.id).without_single = true;
                }
                result => return result.map_err(|exception| refused(exception, &single)),
            }
        }
        let packed = number.to_le_bytes();
        let packed = &packed[..usize::from(point.count).div_ceil(8)];
        let request = pdu::Request::write_coils(point.address, point.count, packed);
        let result = self.command(unit, &request).await?;
        result.map_err(|exception| refused(exception, &request))
    }

    /// Whether to write one register or coil by function 6 or 5.
    fn tries_single(&mut self, unit: &Unit, point: &Point) -> bool {
        match point.write_with {
            WriteWith::Any => !self.learned.unit(unit.id).without_single,
            WriteWith::Single => true,
            WriteWith::Multiple | WriteWith::Mask => false,
        }
    }

    pub(super) async fn write_registers(
        &mut self,
        unit: &Unit,
        point: &Point,
        value: &SampleValue,
    ) -> Result<(), RequestError> {
        let Coding::Registers { codec, skip } = point.coding else {
            return Err(RequestError::InvalidValue(
                "the point has no registers".to_owned(),
            ));
        };
        let encode = |registers: &mut [u8], value: &SampleValue| {
            codec
                .encode(value, &mut registers[usize::from(skip)..])
                .map_err(|error| RequestError::InvalidValue(error.to_string()))
        };
        let is_part = codec.bit_range().is_some() || codec.size() == 1;
        let mut registers = vec![0; usize::from(point.count) * 2];
        // Before anything is sent: whether the value fits.
        encode(&mut registers, value)?;
        if let Some(block) = point.write_block {
            return self.write_within(unit, point, block, &encode, value).await;
        }
        if is_part && point.count == 1 {
            let mut and = [0xFF, 0xFF];
            encode(&mut and, &SampleValue::Uint(0))?;
            let or = u16::from_be_bytes([registers[0], registers[1]]);
            let mask = pdu::Request::mask_write(point.address, u16::from_be_bytes(and), or);
            if self.write_by_mask(unit, point, &mask).await? {
                return Ok(());
            }
        }
        if is_part {
            // Another client may write between the two; function 22 is there to avoid that.
            self.read_present(unit, (point.address, point.count), &mut registers)
                .await?;
            encode(&mut registers, value)?;
        }
        self.write_whole(unit, point, &registers).await
    }

    /// Function 22, if the device knows it. `false`: it has to be done by reading
    /// and writing back.
    async fn write_by_mask(
        &mut self,
        unit: &Unit,
        point: &Point,
        mask: &pdu::Request,
    ) -> Result<bool, RequestError> {
        let may_fall_back = match point.write_with {
            WriteWith::Single | WriteWith::Multiple => return Ok(false),
            WriteWith::Any if self.learned.unit(unit.id).without_mask => return Ok(false),
            WriteWith::Any => true,
            WriteWith::Mask => false,
        };
        let result = self.command(unit, mask).await;
        match result {
            Ok(Ok(())) => Ok(true),
            Ok(Err(exception)) if !may_fall_back => Err(refused(exception, mask)),
            // Whatever the device minds of function 22: the usual ones tell whether it
            // minds the register.
            Ok(Err(_)) => {
                self.learned.unit(unit.id).without_mask = true;
                Ok(false)
            }
            // It may have been done all the same. What is set and does not clear itself
            // shows that; of a command nobody can know.
            Err(RequestError::Timeout(_)) if may_fall_back && !point.is_command => {
                let read = mask.settled_by();
                let Some(read) = read else { return Ok(false) };
                let data = self.fetch(unit, &read).await?;
                self.learned.unit(unit.id).without_mask = true;
                Ok(data.is_ok_and(|data| mask.is_shown_by(&data)))
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the block that the device takes only as a whole, changes the value's
    /// registers in it, and writes it back.
    async fn write_within(
        &mut self,
        unit: &Unit,
        point: &Point,
        (first, count): (u16, u16),
        encode: &impl Fn(&mut [u8], &SampleValue) -> Result<(), RequestError>,
        value: &SampleValue,
    ) -> Result<(), RequestError> {
        let mut block = vec![0; usize::from(count) * 2];
        self.read_present(unit, (first, count), &mut block).await?;
        let at = usize::from(point.address - first) * 2;
        let place = &mut block[at..at + usize::from(point.count) * 2];
        encode(place, value)?;
        let request = pdu::Request::write_registers(first, &block);
        let result = self.command(unit, &request).await?;
        result.map_err(|exception| refused(exception, &request))
    }

    async fn read_present(
        &mut self,
        unit: &Unit,
        (first, count): (u16, u16),
        into: &mut [u8],
    ) -> Result<(), RequestError> {
        let function = Table::HoldingRegisters.read_function();
        let request = pdu::Request::read(function, first, count);
        let answer = self.ask(unit, &request).await?;
        let (start, end) = answer.map_err(|exception| refused(exception, &request))?;
        into.copy_from_slice(&self.input[start..end]);
        self.consume(end);
        Ok(())
    }

    async fn write_whole(
        &mut self,
        unit: &Unit,
        point: &Point,
        registers: &[u8],
    ) -> Result<(), RequestError> {
        if let ([high, low], true) = (registers, self.tries_single(unit, point)) {
            let value = u16::from_be_bytes([*high, *low]);
            let single = pdu::Request::write_register(point.address, value);
            match self.command(unit, &single).await? {
                Err(Exception::ILLEGAL_FUNCTION) if point.write_with == WriteWith::Any => {
                    self.learned.unit(unit.id).without_single = true;
                }
                result => return result.map_err(|exception| refused(exception, &single)),
            }
        }
        let request = pdu::Request::write_registers(point.address, registers);
        let result = self.command(unit, &request).await?;
        result.map_err(|exception| refused(exception, &request))
    }
}

/// What a device says to have taken in place of the value, by the answer of
/// functions 5 and 6: address and value. Some answer another address with the
/// right value; reading back tells whether it arrived.
fn taken_instead(request: &pdu::Request, answer: &[u8]) -> Option<String> {
    let (asked, answered) = (request.bytes().get(3..5)?, answer.get(2..4)?);
    if asked == answered {
        return None;
    }
    let number = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
    let (asked, answered) = (number(asked), number(answered));
    Some(match request.function() {
        function::WRITE_SINGLE_COIL => {
            format!("the device answered 0x{answered:04X} and not 0x{asked:04X}")
        }
        _ => format!("the device took {answered} in place of {asked} (numbers as on the wire)"),
    })
}

/// A refusal, with the function and the place that it was asked for.
pub(super) fn refused(exception: Exception, request: &pdu::Request) -> RequestError {
    let (function, place) = (request.function(), request.address());
    RequestError::Refused(match place {
        Some(address) => {
            format!("{exception} to function {function} at {address} (0x{address:04X} on the wire)")
        }
        None => format!("{exception} to function {function}"),
    })
}

/// The value of a point of a bit table as its bits.
pub(super) fn bits_of(point: &Point, value: &SampleValue) -> Result<u64, RequestError> {
    let invalid = |message: String| RequestError::InvalidValue(message);
    let number = match value {
        SampleValue::Bool(truth) => u64::from(*truth),
        SampleValue::Uint(number) => *number,
        SampleValue::Int(number) => u64::try_from(*number)
            .map_err(|_| invalid(format!("{number} does not fit {} coils", point.count)))?,
        SampleValue::Float(number) if number.fract() == 0.0 && (0.0..1.8e19).contains(number) => {
            *number as u64
        }
        _ => {
            return Err(invalid(
                "expected a truth value or a whole number for coils".to_owned(),
            ));
        }
    };
    if point.count < 64 && number >> point.count != 0 {
        return Err(invalid(format!(
            "{number} does not fit {} coils",
            point.count
        )));
    }
    Ok(number)
}

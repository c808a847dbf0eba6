//! The open line to a bus: one request, one answer. The only file that awaits.

mod discard;
mod many;

use std::{
    io,
    time::{Duration, SystemTime},
};

use longshore_sdk::{Connection, MethodConfig, RequestError, SampleValue, Samples};
use tokio::{
    net::TcpStream,
    time::{Instant, error::Elapsed, sleep_until, timeout_at},
};

use crate::{
    bus::{Bus, Endpoint, Framing, Unit},
    config::Modbus,
    frame::{self, Found},
    io::{Io, open_serial},
    method::{self, Method},
    pace::Pace,
    pdu::{self, Exception},
    plan,
    point::{Coding, Point, Table},
};

/// How long to wait for another frame after a spoiled one.
const AFTER_SPOILED: Duration = Duration::from_millis(100);
/// Requests in a row without any answer after which a TCP connection is taken for dead.
const SILENT: u8 = 2;
/// How long a serial answer that was given up is still expected.
const LATE: Duration = Duration::from_secs(5);

/// An open line.
pub struct Line {
    bus: Bus,
    io: Io,
    input: Vec<u8>,
    output: Vec<u8>,
    transaction: u16,
    /// Requests in a row that nothing answered.
    silent: u8,
    broken: bool,
    /// When the line was last in use.
    last_use: Instant,
    /// A request on a serial line that was given up: its answer may still come
    /// and look like the answer to the next one.
    given_up: Option<(u8, pdu::Request, Instant)>,
    pace: Pace,
    /// Units that have shown that they do not know function 22.
    without_mask: [bool; 256],
    /// Bytes that belonged to no answer.
    dropped: u64,
}

impl Line {
    /// Opens the bus.
    ///
    /// # Errors
    /// `Line`, with what the system says.
    pub async fn open(bus: Bus) -> Result<Self, RequestError> {
        let io = match &bus.endpoint {
            Endpoint::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.map_err(|error| RequestError::Line(error.to_string()))?;
                // A request is one small segment; waiting for more would only delay it.
                stream
                    .set_nodelay(true)
                    .map_err(|error| RequestError::Line(error.to_string()))?;
                Io::Tcp(stream)
            }
            Endpoint::Serial(serial) => Io::Serial(open_serial(serial)?),
        };
        tokio::time::sleep(bus.pause_after_connect).await;
        Ok(Self {
            bus,
            io,
            input: Vec::with_capacity(frame::MAX_FRAME + 64),
            output: Vec::with_capacity(frame::MAX_FRAME),
            transaction: 0,
            silent: 0,
            broken: false,
            last_use: Instant::now(),
            given_up: None,
            pace: Pace::new(),
            without_mask: [false; 256],
            dropped: 0,
        })
    }

    /// Bytes that came and belonged to no answer, since the line was opened.
    pub fn dropped_bytes(&self) -> u64 {
        self.dropped
    }

    /// Sends a request and waits for its answer; gives where the answer's PDU stands in `input`.
    async fn exchange(
        &mut self,
        unit: &Unit,
        request: &pdu::Request,
    ) -> Result<(usize, usize), RequestError> {
        self.await_turn(unit).await;
        self.discard_input().await?;
        self.transaction = self.transaction.wrapping_add(1);
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
        match timeout_at(deadline, self.io.write_all(&self.output)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.broke(&error)),
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
            }
            Err(_) => self.given_up = Some((unit.id, request.clone(), self.last_use + LATE)),
        }
        answer
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
        let framing = self.bus.framing;
        let mut until = deadline;
        let mut spoiled = false;
        let mut came = false;
        if framing == Framing::Mbap && !self.input.is_empty() {
            // The answer before may have left the start of a late one.
            came = true;
        }
        let mut is_last = false;
        let (start, before) = (Instant::now(), self.dropped);
        loop {
            self.babbles(before, start)?;
            // What came in time may be read a little late: one read is allowed
            // after the end, as a line that never stops would have none.
            let is_over = Instant::now() >= until;
            let wake = if is_over && is_last {
                None
            } else {
                Some(until)
            };
            is_last = is_over;
            match self.read_until(wake).await {
                Ok(Ok(0)) => return Err(self.broke(&io::Error::from(io::ErrorKind::UnexpectedEof))),
                Ok(Ok(_)) => came = true,
                Ok(Err(error)) => return Err(self.broke(&error)),
                Err(_) if spoiled => {
                    return Err(RequestError::Garbled(
                        "wrong checksum or contents".to_owned(),
                    ));
                }
                Err(_) if came && !self.input.is_empty() => {
                    // In the middle of a frame a TCP stream cannot be picked up again.
                    self.broken |= framing == Framing::Mbap;
                    return Err(RequestError::Garbled(format!(
                        "only {} bytes of it came",
                        self.input.len()
                    )));
                }
                Err(_) => {
                    return Err(RequestError::Timeout(format!(
                        "within {} ms",
                        timeout.as_millis()
                    )));
                }
            }
            loop {
                let found = frame::decode(
                    framing,
                    unit.id,
                    self.transaction,
                    request,
                    &mut self.input,
                    &mut self.dropped,
                );
                match found {
                    Found::Answer { start, length }
                        if self.is_late(unit.id, request, start, length) =>
                    {
                        self.dropped += (start + length) as u64;
                        self.input.drain(..start + length);
                    }
                    Found::Answer { start, length } => return Ok((start, length)),
                    Found::Incomplete => break,
                    Found::Spoiled => {
                        spoiled = true;
                        until = deadline.min(Instant::now() + AFTER_SPOILED);
                        break;
                    }
                    Found::NotModbus => {
                        self.broken = true;
                        return Err(RequestError::Line(
                            "what comes is not Modbus TCP".to_owned(),
                        ));
                    }
                }
            }
        }
    }

    /// Reads what comes until then; not at all without a time.
    async fn read_until(&mut self, until: Option<Instant>) -> Result<io::Result<usize>, Elapsed> {
        match until {
            Some(until) => timeout_at(until, self.io.read(&mut self.input)).await,
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
            && other.is_answered_by(&self.input[start..start + length]);
        fits && Instant::now() < until
    }

    fn broke(&mut self, error: &io::Error) -> RequestError {
        self.broken = true;
        RequestError::Line(match error.kind() {
            io::ErrorKind::UnexpectedEof => "closed by the device".to_owned(),
            _ => error.to_string(),
        })
    }

    /// Exchanges, and takes the answer apart; the answer stays in `input`.
    async fn ask(
        &mut self,
        unit: &Unit,
        request: &pdu::Request,
    ) -> Result<Result<(usize, usize), Exception>, RequestError> {
        let (start, length) = self.exchange(unit, request).await?;
        match request.open(&self.input[start..start + length]) {
            Ok(data) => {
                let skip = length - data.len();
                Ok(Ok((start + skip, start + length)))
            }
            Err(exception) => {
                self.consume(start + length);
                if exception.is_of_gateway() {
                    // The gateway is well, the unit behind it is not.
                    return Err(RequestError::Timeout(exception.to_string()));
                }
                Ok(Err(exception))
            }
        }
    }

    /// Forgets an answer that was used.
    fn consume(&mut self, end: usize) {
        // ASCII keeps only the decoded answer, RTU nothing behind a frame.
        if self.bus.framing == Framing::Mbap {
            self.input.drain(..end.min(self.input.len()));
        } else {
            self.input.clear();
        }
    }

    async fn command(
        &mut self,
        unit: &Unit,
        request: &pdu::Request,
    ) -> Result<Result<(), Exception>, RequestError> {
        let answer = self.ask(unit, request).await?;
        if let Ok((_, end)) = answer {
            self.consume(end);
        }
        Ok(answer.map(drop))
    }

    /// Exchanges; the data of the answer as a copy.
    pub(crate) async fn fetch(
        &mut self,
        unit: &Unit,
        request: &pdu::Request,
    ) -> Result<Result<Vec<u8>, Exception>, RequestError> {
        let answer = self.ask(unit, request).await?;
        Ok(answer.map(|(start, end)| {
            let data = self.input[start..end].to_vec();
            self.consume(end);
            data
        }))
    }

    /// Function 23: gives the argument and takes the result in one exchange.
    async fn read_write(
        &mut self,
        unit: &Unit,
        (write, read): (&Point, &Point),
        value: &SampleValue,
    ) -> Result<serde_json::Value, RequestError> {
        let Coding::Registers { codec, skip } = write.coding else {
            return Err(RequestError::InvalidValue(
                "the place to write has no registers".to_owned(),
            ));
        };
        let mut registers = vec![0; usize::from(write.count) * 2];
        codec
            .encode(value, &mut registers[usize::from(skip)..])
            .map_err(|error| RequestError::InvalidValue(error.to_string()))?;
        let request = pdu::Request::read_write(read.address, read.count, write.address, &registers);
        let data = self.fetch(unit, &request).await?.map_err(refused)?;
        method::decoded(read, &data)
    }

    async fn write_bits(
        &mut self,
        unit: &Unit,
        point: &Point,
        value: &SampleValue,
    ) -> Result<(), RequestError> {
        let number = bits_of(point, value)?;
        if point.count == 1 && !point.write_multiple {
            let single = pdu::Request::write_coil(point.address, number == 1);
            match self.command(unit, &single).await? {
                Err(Exception::ILLEGAL_FUNCTION) => {}
                result => return result.map_err(refused),
            }
        }
        let packed = number.to_le_bytes();
        let packed = &packed[..usize::from(point.count).div_ceil(8)];
        let request = pdu::Request::write_coils(point.address, point.count, packed);
        self.command(unit, &request).await?.map_err(refused)
    }

    async fn write_registers(
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
        encode(&mut registers, value)?;
        if is_part && point.count == 1 && !self.without_mask[usize::from(unit.id)] {
            let mut and = [0xFF, 0xFF];
            encode(&mut and, &SampleValue::Uint(0))?;
            let or = u16::from_be_bytes([registers[0], registers[1]]);
            let request = pdu::Request::mask_write(point.address, u16::from_be_bytes(and), or);
            match self.command(unit, &request).await? {
                Err(Exception::ILLEGAL_FUNCTION) => self.without_mask[usize::from(unit.id)] = true,
                result => return result.map_err(refused),
            }
        }
        if is_part {
            // Another client may write between the two; function 22 is there to avoid that.
            let request = pdu::Request::read(
                Table::HoldingRegisters.read_function(),
                point.address,
                point.count,
            );
            let (start, end) = self.ask(unit, &request).await?.map_err(refused)?;
            registers.copy_from_slice(&self.input[start..end]);
            self.consume(end);
            encode(&mut registers, value)?;
        }
        if let ([high, low], false) = (&registers[..], point.write_multiple) {
            let single =
                pdu::Request::write_register(point.address, u16::from_be_bytes([*high, *low]));
            match self.command(unit, &single).await? {
                Err(Exception::ILLEGAL_FUNCTION) => {}
                result => return result.map_err(refused),
            }
        }
        let request = pdu::Request::write_registers(point.address, &registers);
        self.command(unit, &request).await?.map_err(refused)
    }
}

impl Connection<Modbus> for Line {
    async fn read(
        &mut self,
        unit: &Unit,
        request: &plan::Request,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        let ask = pdu::Request::read(
            request.table.read_function(),
            request.address,
            request.count,
        );
        let (start, end) = match self.ask(unit, &ask).await? {
            Ok(place) => place,
            // Which of the addresses it is that the device minds, or whether
            // it is their number, only smaller requests can tell.
            Err(exception @ (Exception::ILLEGAL_DATA_ADDRESS | Exception::ILLEGAL_DATA_VALUE)) => {
                return Err(RequestError::RefusedTogether(exception.to_string()));
            }
            Err(exception) => return Err(refused(exception)),
        };
        decode(request, &self.input[start..end], now_ns(), samples);
        self.consume(end);
        Ok(())
    }

    async fn write(
        &mut self,
        unit: &Unit,
        point: &Point,
        value: &SampleValue,
    ) -> Result<(), RequestError> {
        match point.table {
            Table::Coils => self.write_bits(unit, point, value).await,
            Table::HoldingRegisters => self.write_registers(unit, point, value).await,
            table => Err(RequestError::InvalidValue(format!(
                "{table}s are read-only"
            ))),
        }
    }

    async fn call(
        &mut self,
        unit: &Unit,
        called: &MethodConfig,
        arguments: &serde_json::Value,
    ) -> Result<serde_json::Value, RequestError> {
        let parsed = method::of_call(called).map_err(|faults| {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            RequestError::InvalidValue(format!("method `{}`: {}", called.name, faults.join("; ")))
        })?;
        match parsed {
            Method::ReadWrite { write, read } => {
                let value = method::argument(arguments)?;
                self.read_write(unit, (&write, &read), &value).await
            }
            Method::Write { write } => {
                let values = method::all_arguments(arguments)?;
                self.write_many(unit, &write, &values).await?;
                Ok(serde_json::Value::Null)
            }
            Method::Identify => self.identify(unit).await.map(serde_json::Value::Object),
        }
    }

    fn usable(&self) -> bool {
        let is_tcp = matches!(self.bus.endpoint, Endpoint::Tcp { .. });
        let is_dead = is_tcp && self.silent >= SILENT;
        !self.broken && !is_dead
    }
}

/// Puts one sample for each field of a request into `samples`.
pub fn decode(request: &plan::Request, data: &[u8], time_ns: i64, samples: &mut Samples) {
    samples.reserve(request.fields.len());
    for field in &request.fields {
        let offset = usize::from(field.offset);
        match &field.coding {
            Coding::Registers { codec, .. } => {
                codec.decode(
                    field.point,
                    data.get(offset..).unwrap_or_default(),
                    time_ns,
                    samples,
                );
            }
            Coding::Bit => samples.push_bool(field.point, bit(data, offset), time_ns),
            Coding::Number => {
                let bits = (0..usize::from(field.bits)).rev();
                let number = bits.fold(0, |number, index| {
                    number << 1 | u64::from(bit(data, offset + index))
                });
                samples.push_u64(field.point, number, time_ns);
            }
        }
    }
}

/// Eight to a byte, the first in the lowest bit (Application Protocol V1.1b3, section 6.1).
fn bit(data: &[u8], index: usize) -> bool {
    data.get(index / 8)
        .is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

/// The value of a point of a bit table as its bits.
fn bits_of(point: &Point, value: &SampleValue) -> Result<u64, RequestError> {
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

fn refused(exception: Exception) -> RequestError {
    RequestError::Refused(exception.to_string())
}

fn now_ns() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

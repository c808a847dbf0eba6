//! The open line to a bus: one request, one answer. The only files that await are
//! this one and its parts: [`anew`] is the connection, [`exchange`] the way of one
//! request, [`discard`] what belongs to none, [`silence`] blocks that bring no
//! answer, [`writes`] and [`many`] what changes the device.

mod anew;
mod discard;
mod exchange;
mod many;
mod silence;
mod writes;

use std::time::{Duration, SystemTime};

use longshore_sdk::{Connection, MethodConfig, Received, RequestError, SampleValue, Samples};
use tokio::time::Instant;

use crate::{
    bus::{Bus, Close, Framing, Unit},
    config::Modbus,
    frame::{self, Heard},
    io::Io,
    learned::{Learned, Shelf},
    method::{self, Method},
    pace::Pace,
    pdu::{self, Exception},
    plan,
    point::{Coding, Point, Table},
};

/// Requests in a row without any answer after which a TCP connection is taken for dead.
const SILENT: u8 = 2;
/// How long a device that is busy is given before a read is asked for again.
const BUSY: Duration = Duration::from_millis(50);

/// An open line.
pub struct Line {
    bus: Bus,
    /// `None` between the requests of a bus whose connection is not kept.
    io: Option<Io>,
    input: Vec<u8>,
    output: Vec<u8>,
    transaction: u16,
    /// Requests in a row that nothing answered.
    silent: u8,
    broken: bool,
    /// What the last exchange lost the connection by.
    lost: Option<anew::Lost>,
    /// Answers on this connection.
    answers: u32,
    /// When the line was last in use.
    last_use: Instant,
    /// A request on a serial line that was given up: its answer may still come
    /// and look like the answer to the next one.
    given_up: Option<(u8, pdu::Request, Instant)>,
    pace: Pace,
    learned: Learned,
    /// Where that goes when the line is closed.
    shelf: Option<Shelf>,
    /// What came and was no answer.
    heard: Heard,
}

impl Line {
    /// Opens the bus.
    ///
    /// # Errors
    /// `Line`, with what the system says.
    pub async fn open(bus: Bus) -> Result<Self, RequestError> {
        Self::open_with(bus, None).await
    }

    /// Opens the bus, with what was learnt of it before.
    pub(crate) async fn open_with(bus: Bus, shelf: Option<Shelf>) -> Result<Self, RequestError> {
        let io = anew::connect(&bus).await?;
        let learned = shelf.as_ref().map(|shelf| shelf.take(&bus));
        Ok(Self {
            bus,
            io: Some(io),
            input: Vec::with_capacity(frame::MAX_FRAME + 64),
            output: Vec::with_capacity(frame::MAX_FRAME),
            transaction: 0,
            silent: 0,
            broken: false,
            lost: None,
            answers: 0,
            last_use: Instant::now(),
            given_up: None,
            pace: Pace::new(),
            learned: learned.unwrap_or_default(),
            shelf,
            heard: Heard::default(),
        })
    }

    /// Bytes that came and belonged to no answer, since the line was opened.
    pub fn dropped_bytes(&self) -> u64 {
        self.heard.dropped
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
        let data = self.fetch(unit, &request).await?;
        let data = data.map_err(|exception| writes::refused(exception, &request))?;
        method::decoded(read, &data)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(shelf) = &self.shelf {
            shelf.put(&self.bus, std::mem::take(&mut self.learned));
        }
    }
}

impl Connection<Modbus> for Line {
    async fn read(
        &mut self,
        unit: &Unit,
        request: &plan::Request,
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        let (start, end) = self.read_block(unit, request).await?;
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

    /// Nothing is due: a connection that is not kept makes room for others.
    async fn receive(&mut self, _samples: &mut Samples) -> Result<Received<Unit>, RequestError> {
        if self.bus.close != Close::Never {
            self.hang_up();
        }
        std::future::pending().await
    }

    fn usable(&self) -> bool {
        let is_dead = self.bus.is_tcp() && self.silent >= SILENT;
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

fn now_ns() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

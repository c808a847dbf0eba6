//! Buses and units: what a device's protocol configuration comes down to.

use std::{
    fmt,
    hash::{Hash, Hasher},
    time::Duration,
};

/// Where a bus is and how its frames look. Devices with equal buses share one connection.
#[derive(Debug, Clone)]
pub struct Bus {
    /// Where it is.
    pub endpoint: Endpoint,
    /// How its frames look.
    pub framing: Framing,
    /// Time that the peer needs between the connection and the first request.
    /// Not part of the identity: the first device of the bus decides.
    pub pause_after_connect: Duration,
    /// When the connection is closed to make room for others. As the pause,
    /// this and what follows is no part of the identity.
    pub close: Close,
    /// Answers may bear any transaction id.
    pub any_transaction: bool,
    /// What is sent comes back before the answer, as RS-485 adapters do that hear themselves.
    pub echo: bool,
}

/// When a connection is closed, for devices that have only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Close {
    /// It stays open.
    #[default]
    Never,
    /// When nothing more is due.
    AfterCycle,
    /// After each answer.
    AfterRequest,
}

pub(crate) const CLOSES: &[(&str, Close)] = &[
    ("never", Close::Never),
    ("afterCycle", Close::AfterCycle),
    ("afterRequest", Close::AfterRequest),
];

/// Where a bus is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP peer.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A serial port.
    Serial(Serial),
}

/// A serial port with its settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Serial {
    /// For example `/dev/serial/by-id/usb-FTDI_…`.
    pub path: String,
    /// Bits per second.
    pub baud: u32,
    /// 7 or 8.
    pub data_bits: u8,
    /// Parity.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
}

/// Parity of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parity {
    /// None.
    None,
    /// Even, the default of the specification.
    Even,
    /// Odd.
    Odd,
}

/// How a PDU is put on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// With a transaction id and a length.
    Mbap,
    /// Binary with a CRC, delimited by silence.
    Rtu,
    /// Hexadecimal between `:` and CR LF.
    Ascii,
}

/// A unit (slave) on a bus, and how its requests are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit {
    /// Its number.
    pub id: u8,
    /// How to talk to it.
    pub settings: Settings,
}

/// How requests to a unit are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Settings {
    /// Time until an answer must have come, in milliseconds.
    pub timeout_ms: u32,
    /// Silence before each request, in milliseconds.
    pub request_gap_ms: u32,
    /// Registers in one request at most.
    pub max_registers: u16,
    /// Coils or discrete inputs in one request at most.
    pub max_bits: u16,
    /// Registers that nobody wants but that are read to save a request.
    pub gap_fill: u16,
    /// For devices that answer only requests for exactly one of their fields.
    pub one_request_per_field: bool,
}

/// As the specification has them, and a timeout that a slow gateway keeps.
pub(crate) const DEFAULTS: Settings = Settings {
    timeout_ms: 1000,
    request_gap_ms: 0,
    // Application Protocol V1.1b3, section 6.3: 1 to 125 registers.
    max_registers: 125,
    // Section 6.1: 1 to 2000 coils.
    max_bits: 2000,
    // 16 registers are 32 bytes, which cost less than one more request on
    // any line: at 9600 baud 33 ms against two frames and a turnaround.
    gap_fill: 16,
    one_request_per_field: false,
};

impl Default for Settings {
    fn default() -> Self {
        DEFAULTS
    }
}

impl PartialEq for Bus {
    fn eq(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.framing == other.framing
    }
}

impl Eq for Bus {}

impl Hash for Bus {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.endpoint.hash(state);
        self.framing.hash(state);
    }
}

impl Bus {
    /// Whether it goes over TCP, whatever its frames.
    pub fn is_tcp(&self) -> bool {
        matches!(self.endpoint, Endpoint::Tcp { .. })
    }

    /// How long `count` characters take on the line.
    pub fn time_of(&self, count: u32) -> Duration {
        match &self.endpoint {
            Endpoint::Tcp { .. } => Duration::ZERO,
            Endpoint::Serial(serial) => serial.character() * count,
        }
    }

    /// The silence that delimits RTU frames: 3.5 characters, and from 19200
    /// baud on a fixed 1.75 ms (Serial Line V1.02, section 2.5.1.1).
    pub fn silence(&self) -> Duration {
        match (&self.endpoint, self.framing) {
            (Endpoint::Serial(serial), Framing::Rtu) if serial.baud > 19_200 => {
                Duration::from_micros(1750)
            }
            (Endpoint::Serial(serial), Framing::Rtu) => serial.character().mul_f64(3.5),
            _ => Duration::ZERO,
        }
    }
}

impl Serial {
    fn character(&self) -> Duration {
        let parity = u32::from(self.parity != Parity::None);
        let bits = 1 + u32::from(self.data_bits) + parity + u32::from(self.stop_bits);
        Duration::from_secs(1) * bits / self.baud.max(1)
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.endpoint, self.framing) {
            (Endpoint::Tcp { .. }, Framing::Mbap) => f.write_str("tcp://")?,
            (Endpoint::Tcp { .. }, Framing::Rtu) => f.write_str("rtu+tcp://")?,
            (Endpoint::Tcp { .. }, Framing::Ascii) => f.write_str("ascii+tcp://")?,
            (Endpoint::Serial(_), Framing::Ascii) => f.write_str("ascii://")?,
            (Endpoint::Serial(_), _) => f.write_str("rtu://")?,
        }
        match &self.endpoint {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Serial(serial) => f.write_str(&serial.path),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)
    }
}

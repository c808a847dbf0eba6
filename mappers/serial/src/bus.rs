//! Buses and units: what a device's protocol configuration comes down to.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    checksum::Checksum,
    framer::Framing,
    handshake::Handshake,
    pattern::{Caught, Pattern, shown},
    ports::UsbId,
};

/// A port with its settings. Devices with equal buses share one connection and queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bus {
    /// Where it is.
    pub port: Port,
    /// How it is set.
    pub settings: Settings,
}

/// Where a port is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Port {
    /// A device file.
    Path(String),
    /// A USB adapter, wherever it is plugged in; found anew at each connect.
    Usb(UsbId),
    /// A serial server that passes bytes through a TCP connection.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
}

/// How a port is set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Bits per second.
    pub baud: u32,
    /// 5 to 8.
    pub data_bits: u8,
    /// Parity.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
    /// Flow control.
    pub flow: Flow,
    /// Time that the device needs between the opening and the first request.
    pub pause_after_connect: Duration,
}

/// Parity of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parity {
    /// None.
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

/// Flow control of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flow {
    /// None.
    None,
    /// XON and XOFF.
    Software,
    /// RTS and CTS.
    Hardware,
}

impl Settings {
    /// 9600 baud, 8N1: what most instruments are delivered with.
    pub const DEFAULT: Self = Self {
        baud: 9600,
        data_bits: 8,
        parity: Parity::None,
        stop_bits: 1,
        flow: Flow::None,
        pause_after_connect: Duration::ZERO,
    };
}

/// A device on a bus, and how to talk to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit {
    /// What tells it from the others on the line; may be empty.
    pub address: String,
    /// How to talk to it.
    pub link: Arc<Link>,
}

/// How to talk to a device.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    /// Where its messages begin and end.
    pub framing: Framing,
    /// Their checksum.
    pub checksum: Option<Checksum>,
    /// Time until an answer must have come.
    pub timeout: Duration,
    /// Silence before each request.
    pub gap: Duration,
    /// Whether it talks by itself.
    pub stream: bool,
    /// The silence after which a device that talks by itself is lost.
    pub silent_after: Duration,
    /// What it says when it refuses.
    pub refused: Vec<Pattern>,
    /// Whether what is sent comes back before the answer.
    pub echo: bool,
    /// Characters that a text in a request must not hold.
    pub reserved: String,
    /// What is said between a request and its answer.
    pub handshake: Option<Handshake>,
}

impl Link {
    /// A request as it goes on the line.
    pub(crate) fn sent(&self, request: Vec<u8>) -> Vec<u8> {
        self.framing.sent(self.checksum.as_ref(), request)
    }

    /// What the device says when it refuses, if this is such a message.
    pub(crate) fn refused(&self, message: &[u8]) -> Option<String> {
        let mut patterns = self.refused.iter();
        let captures = patterns.find_map(|pattern| pattern.matches(message))?;
        let reason = captures
            .into_iter()
            .find_map(|(name, caught)| match caught {
                Caught::Text(text) if name == "message" => Some(text.into_owned()),
                _ => None,
            });
        Some(reason.unwrap_or_else(|| shown(message)))
    }
}

impl Bus {
    /// How long `count` characters take on the line.
    pub fn time_of(&self, count: usize) -> Duration {
        if matches!(self.port, Port::Tcp { .. }) {
            return Duration::ZERO;
        }
        let settings = &self.settings;
        let parity = u32::from(settings.parity != Parity::None);
        let bits = 1 + u32::from(settings.data_bits) + parity + u32::from(settings.stop_bits);
        let character = Duration::from_secs(1) * bits / settings.baud.max(1);
        character * u32::try_from(count).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        write!(
            f,
            "{} {}{parity}{}",
            self.baud, self.data_bits, self.stop_bits
        )?;
        match self.flow {
            Flow::None => Ok(()),
            Flow::Software => f.write_str(" XON/XOFF"),
            Flow::Hardware => f.write_str(" RTS/CTS"),
        }
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.port {
            Port::Path(path) => f.write_str(path),
            Port::Usb(usb) => write!(f, "{usb}"),
            Port::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Port::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.address.is_empty() {
            f.write_str("the device")
        } else {
            f.write_str(&self.address)
        }
    }
}

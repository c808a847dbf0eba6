//! The open port: opening it, reading and writing bytes.

use std::{fs, io, path::Path};

use longshore_sdk::{RequestError, wire};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_serial::{ClearBuffer, SerialPort, SerialPortBuilderExt, SerialStream};

use crate::{
    bus::{Bus, Flow, Parity, Port, Settings},
    config::{Serial, Taken},
};

/// An open port.
pub(crate) enum Io {
    Tcp(TcpStream),
    Serial {
        port: SerialStream,
        /// Nobody else of this mapper opens it with other settings.
        _taken: Taken,
    },
}

impl Io {
    pub(crate) async fn open(protocol: &Serial, bus: &Bus) -> Result<Self, RequestError> {
        let line = |error: io::Error| RequestError::Line(error.to_string());
        match &bus.port {
            Port::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port))
                    .await
                    .map_err(line)?;
                // A request is one small segment; waiting for more would only delay it.
                stream.set_nodelay(true).map_err(line)?;
                Ok(Self::Tcp(stream))
            }
            Port::Path(path) => Self::serial(protocol, bus, path.as_ref()),
            Port::Usb(usb) => {
                let path = protocol.roots.resolve(usb).map_err(RequestError::Line)?;
                Self::serial(protocol, bus, &path)
            }
        }
    }

    fn serial(protocol: &Serial, bus: &Bus, path: &Path) -> Result<Self, RequestError> {
        let place = fs::canonicalize(path).map_err(|error| {
            RequestError::Line(format!(
                "no port {}: {error} (is it plugged in?)",
                path.display()
            ))
        })?;
        let taken = protocol.open.take(place, bus)?;
        let port = open(path, &bus.settings)?;
        // What came while nobody listened is old. A port that cannot forget it
        // has other troubles, and tells them at the first request.
        let _ = port.clear(ClearBuffer::Input);
        Ok(Self::Serial {
            port,
            _taken: taken,
        })
    }

    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        // No flush: of a serial port it would block the thread until all is sent.
        wire::sent(bytes);
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Serial { port, .. } => port.write_all(bytes).await,
        }
    }

    /// Whether bytes wait in the port that have not been sent.
    pub(crate) fn is_sending(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Serial { port, .. } => port.bytes_to_write().is_ok_and(|count| count > 0),
        }
    }

    /// Sets another speed.
    pub(crate) fn set_speed(&mut self, baud: u32) -> Result<(), String> {
        match self {
            Self::Tcp(_) => Err(format!(
                "the device wants {baud} baud, and a serial server keeps its own speed; let `handshake.confirm` name the speed that it has"
            )),
            Self::Serial { port, .. } => port
                .set_baud_rate(baud)
                .map_err(|error| format!("failed to set {baud} baud: {error}")),
        }
    }

    /// Cancel safe: nothing is read if this is dropped.
    pub(crate) async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        let before = into.len();
        let count = match self {
            Self::Tcp(stream) => stream.read_buf(into).await,
            Self::Serial { port, .. } => port.read_buf(into).await,
        }?;
        wire::came(&into[before..]);
        Ok(count)
    }

    pub(crate) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(into),
            Self::Serial { port, .. } => port.try_read(into),
        }
    }
}

fn open(path: &Path, settings: &Settings) -> Result<SerialStream, RequestError> {
    let builder = tokio_serial::new(path.to_string_lossy(), settings.baud)
        .data_bits(match settings.data_bits {
            5 => tokio_serial::DataBits::Five,
            6 => tokio_serial::DataBits::Six,
            7 => tokio_serial::DataBits::Seven,
            _ => tokio_serial::DataBits::Eight,
        })
        .stop_bits(match settings.stop_bits {
            2 => tokio_serial::StopBits::Two,
            _ => tokio_serial::StopBits::One,
        })
        .parity(match settings.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        })
        .flow_control(match settings.flow {
            Flow::None => tokio_serial::FlowControl::None,
            Flow::Software => tokio_serial::FlowControl::Software,
            Flow::Hardware => tokio_serial::FlowControl::Hardware,
        });
    builder.open_native_async().map_err(|error| {
        let hint = match error.kind() {
            tokio_serial::ErrorKind::NoDevice => {
                " (is it plugged in, and is no one else using it?)"
            }
            tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
                " (is the edge core's user in the group of serial ports, `dialout` or `uucp`?)"
            }
            _ => "",
        };
        RequestError::Line(format!("failed to open {}: {error}{hint}", path.display()))
    })
}

//! The two kinds of lines, as one stream of bytes.

use std::io;

use longshore_sdk::{RequestError, wire};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_serial::{SerialPortBuilderExt, SerialStream};

use crate::bus::{Parity, Serial};

pub(crate) enum Io {
    Tcp(TcpStream),
    Serial(SerialStream),
}

pub(crate) fn open_serial(serial: &Serial) -> Result<SerialStream, RequestError> {
    let builder = tokio_serial::new(&serial.path, serial.baud)
        .data_bits(if serial.data_bits == 7 {
            tokio_serial::DataBits::Seven
        } else {
            tokio_serial::DataBits::Eight
        })
        .stop_bits(if serial.stop_bits == 2 {
            tokio_serial::StopBits::Two
        } else {
            tokio_serial::StopBits::One
        })
        .parity(match serial.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        });
    builder.open_native_async().map_err(|error| {
        let hint = match error.kind() {
            tokio_serial::ErrorKind::NoDevice => {
                " (is it plugged in, and is no one else using it?)"
            }
            _ => "",
        };
        RequestError::Line(format!("failed to open the serial port: {error}{hint}"))
    })
}

impl Io {
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        // No flush: of a serial port it would block the thread until all is sent.
        wire::sent(bytes);
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Serial(port) => port.write_all(bytes).await,
        }
    }

    pub(crate) async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        let before = into.len();
        let count = match self {
            Self::Tcp(stream) => stream.read_buf(into).await,
            Self::Serial(port) => port.read_buf(into).await,
        }?;
        wire::came(&into[before..]);
        Ok(count)
    }

    pub(crate) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(into),
            Self::Serial(port) => port.try_read(into),
        }
    }
}

//! Moves the bytes of a channel, and loses one answer where the library's own
//! transport would lose the channel.
//!
//! An answer that cannot be decoded (a text over the bounds, a body that is cut
//! short) is whole on the wire: its chunks were counted and verified before anybody
//! looked into it. So only its request fails, and all others go on. With a channel
//! lost in its place, one value of five megabytes would keep a whole server away for
//! ever: it comes again with each connection.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::StreamExt;
use opcua::{
    client::transport::{
        Connector, RequestRecv, SecureChannelState, Transport, TransportConfiguration,
        TransportPollResult, TransportState,
    },
    core::{
        RequestMessage,
        comms::{
            buffer::SendBuffer,
            tcp_codec::{Message, TcpCodec},
            tcp_types::{AcknowledgeMessage, HelloMessage, MIN_CHUNK_SIZE},
        },
    },
    types::{EndpointDescription, Error, SimpleBinaryEncodable, StatusCode},
};
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
};
use tokio_util::codec::FramedRead;

use crate::bounded::Bounded;

/// Message, security and sequence header of a chunk that is not an OPN (OPC 10000-6, 6.7.2).
const CHUNK_LEAST: usize = 24;

/// Answers that came and could not be read.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    count: AtomicU64,
    latest: Mutex<String>,
}

impl Unread {
    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// What was wrong with the latest.
    pub(crate) fn latest(&self) -> String {
        self.latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, fault: &Error) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = fault.to_string();
        self.count.fetch_add(1, Ordering::Release);
    }
}

/// Makes one transport of a stream that is connected.
pub(crate) struct Once {
    pub(crate) stream: Mutex<Option<TcpStream>>,
    pub(crate) url: String,
    /// Bytes of one chunk at most.
    pub(crate) chunk: u32,
    pub(crate) unread: Arc<Unread>,
}

impl Connector for Once {
    type Transport = Tcp;

    async fn connect(
        &self,
        channel: Arc<SecureChannelState>,
        requests: RequestRecv,
        config: TransportConfiguration,
    ) -> Result<Tcp, Error> {
        let stream = self
            .stream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let gone = || Error::new(StatusCode::BadNotConnected, "dialled once only");
        let (reader, mut writer) = tokio::io::split(stream.ok_or_else(gone)?);
        let (options, legacy) = {
            let channel = channel.secure_channel().read();
            (
                channel.decoding_options(),
                channel.security_policy().legacy_sequence_numbers(),
            )
        };
        let mut reader = FramedRead::new(Bounded::new(reader, self.chunk), TcpCodec::new(options));
        let answer = greet(&mut reader, &mut writer, &self.url, &config).await?;
        let mut buffer = SendBuffer::new(
            config.send_buffer_size,
            config.max_message_size,
            config.max_chunk_count,
            legacy,
        );
        buffer.revise(
            answer.receive_buffer_size as usize,
            answer.max_message_size as usize,
            answer.max_chunk_count as usize,
        );
        let receives = (answer.send_buffer_size as usize).min(config.recv_buffer_size);
        let state = TransportState::new(channel, requests, config.max_chunk_count, receives);
        Ok(Tcp {
            state,
            reader,
            writer,
            buffer,
            is_closing: false,
            closed: None,
            url: self.url.clone(),
            unread: self.unread.clone(),
        })
    }

    fn default_endpoint(&self) -> EndpointDescription {
        EndpointDescription::from(self.url.as_str())
    }
}

type Reader = FramedRead<Bounded<ReadHalf<TcpStream>>, TcpCodec>;

/// Hello and Acknowledge (OPC 10000-6, 7.1.2.3).
async fn greet(
    reader: &mut Reader,
    writer: &mut WriteHalf<TcpStream>,
    url: &str,
    config: &TransportConfiguration,
) -> Result<AcknowledgeMessage, Error> {
    let hello = HelloMessage::new(
        url,
        config.send_buffer_size,
        config.recv_buffer_size,
        config.max_message_size,
        config.max_chunk_count,
    );
    let hello = SimpleBinaryEncodable::encode_to_vec(&hello);
    let broken = |error: io::Error| Error::new(StatusCode::BadCommunicationError, error);
    writer.write_all(&hello).await.map_err(broken)?;
    writer.flush().await.map_err(broken)?;
    match reader.next().await {
        Some(Ok(Message::Acknowledge(answer))) => {
            let least = answer.send_buffer_size.min(answer.receive_buffer_size) as usize;
            if answer.protocol_version > 0 || least < MIN_CHUNK_SIZE {
                let what = "the server asks for another protocol or for chunks that are too small";
                return Err(Error::new(StatusCode::BadTcpInternalError, what));
            }
            Ok(answer)
        }
        Some(Ok(Message::Error(refusal))) => Err(Error::new(
            refusal.error,
            refusal.reason.as_ref().to_owned(),
        )),
        Some(Err(error)) => Err(Error::new(StatusCode::BadConnectionClosed, error)),
        _ => Err(Error::new(
            StatusCode::BadConnectionClosed,
            "the server does not greet",
        )),
    }
}

/// A connected stream with the requests that wait on it.
pub(crate) struct Tcp {
    state: TransportState,
    reader: Reader,
    writer: WriteHalf<TcpStream>,
    buffer: SendBuffer,
    /// The good-bye is on its way.
    is_closing: bool,
    closed: Option<StatusCode>,
    url: String,
    unread: Arc<Unread>,
}

impl Tcp {
    fn take(&mut self, message: Option<io::Result<Message>>) -> TransportPollResult {
        let message = match message {
            None => return TransportPollResult::Closed(StatusCode::BadCommunicationError),
            Some(Err(_)) => return TransportPollResult::Closed(StatusCode::BadConnectionClosed),
            Some(Ok(message)) => message,
        };
        if self.is_short(&message) {
            return TransportPollResult::Closed(StatusCode::BadSecurityChecksFailed);
        }
        match self.state.handle_incoming_message(message) {
            Ok(()) => TransportPollResult::IncomingMessage,
            Err(error) if is_of_one_answer(error.status()) => {
                self.unread.note(&error);
                TransportPollResult::RecoverableError(error.status())
            }
            Err(error) => TransportPollResult::Closed(error.status()),
        }
    }

    /// A chunk that has not even room for its signature: the library takes the size
    /// of the one off of the other and does not look.
    fn is_short(&self, message: &Message) -> bool {
        let Message::Chunk(chunk) = message else {
            return false;
        };
        let channel = self.state.channel_state.secure_channel().read();
        use opcua::types::MessageSecurityMode as Mode;
        let is_signed = matches!(channel.security_mode(), Mode::Sign | Mode::SignAndEncrypt);
        let is_open = chunk.data.starts_with(b"OPN");
        let signature = match is_signed && !is_open {
            true => channel.security_policy().symmetric_signature_size(),
            false => 0,
        };
        chunk.data.len() < CHUNK_LEAST + signature
    }

    async fn step(&mut self) -> TransportPollResult {
        if self.buffer.should_encode_chunks() {
            let channel = self.state.channel_state.secure_channel().read();
            if let Err(status) = self.buffer.encode_next_chunk(&channel) {
                return TransportPollResult::Closed(status);
            }
        }
        if self.buffer.can_read() {
            return tokio::select! {
                sent = self.buffer.read_into_async(&mut self.writer) => match sent {
                    Ok(()) => TransportPollResult::OutgoingMessageSent,
                    Err(_) => TransportPollResult::Closed(StatusCode::BadCommunicationError),
                },
                message = self.reader.next() => self.take(message),
            };
        }
        if self.is_closing {
            return TransportPollResult::Closed(StatusCode::Good);
        }
        let request = tokio::select! {
            request = self.state.wait_for_outgoing_message(&mut self.buffer) => request,
            message = self.reader.next() => return self.take(message),
        };
        let Some((request, id)) = request else {
            return TransportPollResult::Closed(StatusCode::Good);
        };
        self.is_closing = matches!(request, RequestMessage::CloseSecureChannel(_));
        let written = {
            let channel = self.state.channel_state.secure_channel().read();
            self.buffer.write(id, request, &channel)
        };
        match written {
            Ok(_) => TransportPollResult::OutgoingMessage,
            // It is too large for the server: it was not sent, and the next one can be.
            Err(error) if error.full_context().is_some() => {
                let status = error.status();
                self.state.message_send_failed(id, error);
                TransportPollResult::RecoverableError(status)
            }
            Err(error) => TransportPollResult::Closed(error.status()),
        }
    }
}

impl Transport for Tcp {
    /// Each step awaits one thing that may be given up, as the library's own does;
    /// closing is taken up where it was left.
    async fn poll(&mut self) -> TransportPollResult {
        let status = match self.closed {
            Some(status) => status,
            None => match self.step().await {
                TransportPollResult::Closed(status) => status,
                other => return other,
            },
        };
        self.closed = Some(status);
        TransportPollResult::Closed(self.state.close(status).await)
    }

    fn connected_url(&self) -> &str {
        &self.url
    }
}

/// Whether an error is of what an answer says, and not of how it came.
fn is_of_one_answer(status: StatusCode) -> bool {
    [
        StatusCode::BadDecodingError,
        StatusCode::BadEncodingLimitsExceeded,
    ]
    .contains(&status)
}

//! The secure channel, and the task that moves its bytes.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::FutureExt;
use longshore_sdk::RequestError;
use opcua::{
    client::{
        SessionRetryPolicy,
        transport::{
            AsyncSecureChannel, StreamConnection, StreamConnector, TransportConfiguration,
            TransportPollResult,
        },
    },
    core::comms::tcp_codec::TcpCodec,
    sync::RwLock,
    types::{
        ContextOwned, DecodingOptions, EndpointDescription, Error, MessageSecurityMode,
        NamespaceMap, StatusCode,
    },
};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_util::codec::FramedRead;

use crate::{
    bounded::Bounded,
    bus::{Bus, Url},
    session::{Shared, line},
    wire::status_text,
};

/// Bytes in one chunk, as most servers have it; a server that takes less says so.
const CHUNK: usize = 65_535;
/// Where a chunk is no longer one: some servers round up what was agreed.
const CHUNK_MOST: u32 = 2 * CHUNK as u32;
/// The largest answer: 16 MiB, 1000 values of 16 KiB each.
const CHUNKS: usize = 256;
/// Bounds for one value, so that a mad server cannot fill the memory.
const ELEMENTS: usize = 1_000_000;
const BYTES: usize = 4 << 20;
/// An hour, as servers and tools have it; renewed at three quarters of it.
const CHANNEL_LIFETIME_MS: u32 = 3_600_000;

/// The task that moves the bytes of a channel; ends with it.
pub(crate) struct Transport(JoinHandle<StatusCode>);

impl Drop for Transport {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl std::future::Future for Transport {
    type Output = StatusCode;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<StatusCode> {
        self.0
            .poll_unpin(context)
            .map(|ended| ended.unwrap_or(StatusCode::BadConnectionClosed))
    }
}

/// Why there is no channel.
pub(crate) enum ChannelError {
    /// Nobody is there, or we are not ready ourselves.
    Dial(RequestError),
    /// Somebody is there, who may be another one than before.
    Open(RequestError),
}

impl From<ChannelError> for RequestError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Dial(error) | ChannelError::Open(error) => error,
        }
    }
}

/// Dials and opens a secure channel.
pub(crate) async fn channel(
    shared: &Shared,
    bus: &Bus,
    endpoint: &EndpointDescription,
) -> Result<(Arc<AsyncSecureChannel>, Transport), ChannelError> {
    if endpoint.security_mode != MessageSecurityMode::None {
        // Made before the library looks for it.
        let own = shared.pki.own().await;
        own.map_err(|error| ChannelError::Dial(line(&error)))?;
    }
    let limit = bus.timeout * 2;
    let late = |what: &str| {
        RequestError::Line(format!("{what} took longer than {} ms", limit.as_millis()))
    };
    let stream = tokio::time::timeout(limit, dial(&bus.url))
        .await
        .unwrap_or_else(|_| Err(late("connecting")))
        .map_err(ChannelError::Dial)?;
    let channel = Arc::new(AsyncSecureChannel::new(
        shared.pki.store(),
        endpoint.clone().into(),
        SessionRetryPolicy::never(),
        // Times are put right again where they are shown; without this, a PLC
        // with a clock of 1970 gets a new key for each request.
        true,
        Arc::default(),
        TransportConfiguration {
            send_buffer_size: CHUNK,
            recv_buffer_size: CHUNK,
            max_message_size: CHUNK * CHUNKS,
            max_chunk_count: CHUNKS,
        },
        CHANNEL_LIFETIME_MS,
        Arc::new(RwLock::new(context())),
    ));
    let slot = Mutex::new(Some(stream));
    let connector = StreamConnector::new(
        move |url: String, options: DecodingOptions| {
            let stream = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            let connection = stream.map(|stream| {
                let (reader, writer) = tokio::io::split(stream);
                let reader = Bounded::new(reader, CHUNK_MOST);
                StreamConnection::new(FramedRead::new(reader, TcpCodec::new(options)), writer, url)
            });
            let gone = || Error::new(StatusCode::BadNotConnected, "dialled once only");
            std::future::ready(connection.ok_or_else(gone))
        },
        bus.url.to_string(),
    );
    let opening = channel.connect_no_retry(&connector);
    let opened = tokio::time::timeout(limit, opening)
        .await
        .map_err(|_| ChannelError::Open(late("opening the secure channel")))?;
    let mut events = opened.map_err(|error| {
        let hint = match endpoint.security_mode {
            MessageSecurityMode::None => String::new(),
            // Most servers only hang up on a client that they do not know.
            _ => format!(
                "\n\nhint: the server may not trust us yet: accept our certificate there ({}, {})",
                shared.pki.own_certificate().display(),
                shared.pki.application_uri()
            ),
        };
        ChannelError::Open(RequestError::Line(format!(
            "the server did not open a secure channel: {}{hint}",
            status_text(error.status())
        )))
    })?;
    let task = tokio::spawn(async move {
        loop {
            if let TransportPollResult::Closed(status) = events.poll().await {
                break status;
            }
        }
    });
    Ok((channel, Transport(task)))
}

/// The bounds of what is decoded.
pub(crate) fn context() -> ContextOwned {
    ContextOwned::new_default(
        NamespaceMap::new(),
        DecodingOptions {
            max_message_size: CHUNK * CHUNKS,
            max_chunk_count: CHUNKS,
            max_string_length: BYTES,
            max_byte_string_length: BYTES,
            max_array_length: ELEMENTS,
            ..DecodingOptions::default()
        },
    )
}

async fn dial(url: &Url) -> Result<TcpStream, RequestError> {
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await;
    let stream = stream.map_err(|error| RequestError::Line(error.to_string()))?;
    // A request is a small segment; waiting for more would only delay it.
    stream
        .set_nodelay(true)
        .map_err(|error| RequestError::Line(error.to_string()))?;
    Ok(stream)
}

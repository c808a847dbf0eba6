//! The secure channel, and the task that moves its bytes.

use std::{
    ops::Deref,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use futures::FutureExt;
use longshore_sdk::RequestError;
use opcua::{
    client::{
        SessionRetryPolicy,
        transport::{AsyncSecureChannel, TransportConfiguration, TransportPollResult},
    },
    sync::RwLock,
    types::{
        ContextOwned, DecodingOptions, EndpointDescription, MessageSecurityMode, NamespaceMap,
        StatusCode,
    },
};
use tokio::{net::TcpStream, task::JoinHandle};

use crate::{
    bus::{Bounds, Bus, Url},
    loader::loaders,
    session::{Shared, line},
    transport::{Once, Unread},
    wire::status_text,
};

/// Bytes in one chunk, as most servers have it; a server that takes less says so.
const CHUNK: usize = 65_535;
/// Where a chunk is no longer one: some servers round up what was agreed.
const CHUNK_MOST: u32 = 2 * CHUNK as u32;
/// An hour, as servers and tools have it; renewed at three quarters of it.
const CHANNEL_LIFETIME_MS: u32 = 3_600_000;

/// An open channel, and what came over it that could not be read.
pub(crate) struct Channel {
    inner: AsyncSecureChannel,
    pub(crate) unread: Arc<Unread>,
}

impl Channel {
    /// Takes times as the server says them. The library shifts what it decodes by the
    /// difference of the clocks, which is right for nobody: a time is about when
    /// something was at the server, and a fixed date is no time of its clock at all.
    fn as_the_server_says(&self) {
        let is_shifted = |context: &ContextOwned| !context.options().client_offset.is_zero();
        if is_shifted(&self.inner.encoding_context().read()) {
            let mut context = self.inner.encoding_context().write();
            context.options_mut().client_offset = Default::default();
        }
    }
}

impl Deref for Channel {
    type Target = AsyncSecureChannel;

    fn deref(&self) -> &AsyncSecureChannel {
        &self.inner
    }
}

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
) -> Result<(Arc<Channel>, Transport), ChannelError> {
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
    let unread = Arc::new(Unread::default());
    let channel = Arc::new(Channel {
        inner: AsyncSecureChannel::new(
            shared.pki.store(),
            endpoint.clone().into(),
            SessionRetryPolicy::never(),
            // Else a PLC with a clock of 1970 gets a new key for each request.
            true,
            Arc::default(),
            TransportConfiguration {
                send_buffer_size: CHUNK,
                recv_buffer_size: CHUNK,
                max_message_size: bus.bounds.message as usize,
                max_chunk_count: chunks(&bus.bounds),
            },
            CHANNEL_LIFETIME_MS,
            Arc::new(RwLock::new(context(&bus.bounds))),
        ),
        unread: unread.clone(),
    });
    let connector = Once {
        stream: Mutex::new(Some(stream)),
        url: bus.url.to_string(),
        chunk: CHUNK_MOST,
        unread,
    };
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
    channel.as_the_server_says();
    let weak = Arc::downgrade(&channel);
    let task = tokio::spawn(async move {
        loop {
            if let TransportPollResult::Closed(status) = events.poll().await {
                break status;
            }
            // With a new key the library measures the clocks anew.
            if let Some(channel) = weak.upgrade() {
                channel.as_the_server_says();
            }
        }
    });
    Ok((channel, Transport(task)))
}

/// The bounds of what is decoded.
pub(crate) fn context(bounds: &Bounds) -> ContextOwned {
    ContextOwned::new(
        NamespaceMap::new(),
        loaders(),
        DecodingOptions {
            max_message_size: bounds.message as usize,
            max_chunk_count: chunks(bounds),
            max_string_length: bounds.text as usize,
            max_byte_string_length: bounds.text as usize,
            max_array_length: bounds.array as usize,
            ..DecodingOptions::default()
        },
    )
}

/// Chunks of a message; a server may make them a little smaller than agreed.
fn chunks(bounds: &Bounds) -> usize {
    (bounds.message as usize).div_ceil(CHUNK) + 1
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

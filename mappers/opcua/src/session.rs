//! From nothing to a session that is logged on, and back to one that the server still holds.
//!
//! The session is ours and not the library's: its own one reconnects by itself
//! and calls back, while a bus must say when it is down, lose nothing when a
//! call is given up, and never redial beside the schedule's own pauses. What is
//! used of the library is the secure channel, which knows no sessions.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use longshore_sdk::RequestError;
use opcua::{
    core::ResponseMessage,
    types::{
        ByteString, CloseSessionRequest, EndpointDescription, GetEndpointsRequest,
        MessageSecurityMode, NodeId,
    },
};

use crate::{
    bus::Bus,
    channel::{Channel, ChannelError, Transport, channel},
    endpoint, issuer,
    login::{create, first_certificate, log_on},
    node::Namespaces,
    pki::{self, Pki, PkiError},
    subscription::Subscriptions,
    wire::{self, Limits, Wire, WireError, answer},
};

/// How long to wait for a server to say good-bye.
const CLOSE: Duration = Duration::from_secs(1);

/// What all sessions of one mapper share.
#[derive(Debug)]
pub struct Shared {
    pub(crate) pki: Pki,
    kept: Mutex<HashMap<Bus, Kept>>,
}

/// A session whose line was cut, while the server may still hold it.
struct Kept {
    login: Login,
    subscriptions: Subscriptions,
    until: Instant,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}", self.login.token)
    }
}

/// What it takes to come back to a session.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) endpoint: EndpointDescription,
    pub(crate) token: NodeId,
    /// The server's latest: the next log-on is signed with it.
    pub(crate) nonce: ByteString,
    /// Since when the server ran as it logged us on, by its own clock in ticks of
    /// 100 ns; `None` when it does not tell.
    pub(crate) started: Option<i64>,
}

/// A session that is logged on.
pub(crate) struct Opened {
    pub(crate) wire: Arc<Wire>,
    pub(crate) transport: Transport,
    pub(crate) login: Login,
    pub(crate) namespaces: Namespaces,
    /// Of the former session: as they were, or what the new session could take over.
    pub(crate) subscriptions: Subscriptions,
}

impl Shared {
    pub(crate) fn new(pki: Pki) -> Self {
        Self {
            pki,
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Bus, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a session whose line was cut, for as long as the server does.
    pub(crate) fn keep(&self, bus: &Bus, login: Login, subscriptions: Subscriptions) {
        let until = Instant::now() + bus.session_timeout;
        let kept = Kept {
            login,
            subscriptions,
            until,
        };
        self.kept().insert(bus.clone(), kept);
    }

    fn login(&self, bus: &Bus) -> Option<Login> {
        let mut all = self.kept();
        let now = Instant::now();
        all.retain(|_, kept| kept.until > now);
        all.get(bus).map(|kept| kept.login.clone())
    }

    fn take_subscriptions(&self, bus: &Bus) -> Subscriptions {
        let kept = self.kept().remove(bus);
        kept.map(|kept| kept.subscriptions).unwrap_or_default()
    }
}

/// Comes back to the session that the server may still hold, or makes a new one.
pub(crate) async fn open(shared: &Shared, bus: &Bus) -> Result<Opened, RequestError> {
    if let Some(login) = shared.login(bus)
        && let Some(opened) = resume(shared, bus, login).await?
    {
        return Ok(opened);
    }
    let former = shared.login(bus).and_then(|login| login.started);
    let endpoints = endpoints(shared, bus).await?;
    let mut opened = open_new(shared, bus, &endpoints).await?;
    opened.subscriptions = shared.take_subscriptions(bus);
    if is_same_run(former, opened.login.started) {
        transfer(&opened.wire, &mut opened.subscriptions).await?;
    } else {
        for id in opened.subscriptions.server_ids() {
            opened.subscriptions.drop_subscription(id, Instant::now());
        }
    }
    Ok(opened)
}

/// Whether the server certainly has not been restarted in between. The ids of a
/// former run mean nothing to this one, or belong to somebody else by now: many
/// servers begin to count anew.
fn is_same_run(former: Option<i64>, now: Option<i64>) -> bool {
    former
        .zip(now)
        .is_some_and(|(former, now)| former.abs_diff(now) <= wire::STARTED_SLACK as u64)
}

/// Comes back to a session; `None` when the server has forgotten it, or is
/// another one by now.
async fn resume(shared: &Shared, bus: &Bus, login: Login) -> Result<Option<Opened>, RequestError> {
    let (channel, transport) = match channel(shared, bus, &login.endpoint).await {
        Ok(opened) => opened,
        Err(ChannelError::Dial(error)) => return Err(error),
        Err(ChannelError::Open(_)) => return Ok(None),
    };
    let former = login.started;
    let Ok(login) = log_on(shared, bus, &channel, login).await else {
        return Ok(None);
    };
    let opened = opened(bus, channel, transport, login).await?;
    if !is_same_run(former, opened.login.started) {
        // What took the token for its own is another session, perhaps somebody's.
        return Ok(None);
    }
    Ok(Some(Opened {
        subscriptions: shared.take_subscriptions(bus),
        ..opened
    }))
}

/// Makes a session of its own.
pub(crate) async fn open_new(
    shared: &Shared,
    bus: &Bus,
    endpoints: &[EndpointDescription],
) -> Result<Opened, RequestError> {
    let chosen = endpoint::choose(endpoints, bus).map_err(RequestError::Line)?;
    let endpoint = prepared(shared, bus, chosen).map_err(|error| line(&error))?;
    let (channel, transport) = channel(shared, bus, &endpoint).await?;
    let login = create(shared, bus, &channel, endpoint).await?;
    let login = log_on(shared, bus, &channel, login).await?;
    opened(bus, channel, transport, login).await
}

/// What the server offers. Needs no session and no certificate.
pub(crate) async fn endpoints(
    shared: &Shared,
    bus: &Bus,
) -> Result<Vec<EndpointDescription>, RequestError> {
    let plain = EndpointDescription::from(bus.url.to_string().as_str());
    let (channel, transport) = channel(shared, bus, &plain).await?;
    let request = GetEndpointsRequest {
        request_header: wire::header(&channel, &NodeId::null(), bus.timeout),
        endpoint_url: bus.url.to_string().into(),
        locale_ids: None,
        profile_uris: None,
    };
    let answer = wire::ask(&channel, "GetEndpoints", request, bus.timeout).await?;
    channel.close_channel().await;
    // A moment for the good-bye; the server closes the connection.
    let _ = tokio::time::timeout(Duration::from_millis(100), transport).await;
    match answer {
        ResponseMessage::GetEndpoints(answer) => Ok(answer.endpoints.unwrap_or_default()),
        _ => Err(WireError::Unexpected {
            service: "GetEndpoints",
        }
        .into()),
    }
}

/// An endpoint that may be used: its certificate is trusted, and it is the
/// server's own one without those of its issuers.
fn prepared(
    shared: &Shared,
    bus: &Bus,
    mut endpoint: EndpointDescription,
) -> Result<EndpointDescription, PkiError> {
    let chain = issuer::chain(endpoint.server_certificate.as_ref());
    endpoint.server_certificate = first_certificate(&endpoint.server_certificate);
    if endpoint.security_mode != MessageSecurityMode::None {
        let certificate = pki::server_certificate(&endpoint.server_certificate)?;
        let issuers = chain.get(1..).unwrap_or_default();
        shared.pki.check(&certificate, issuers, &bus.trust)?;
    }
    Ok(endpoint)
}

/// Asks for what each connection needs to know.
async fn opened(
    bus: &Bus,
    channel: Arc<Channel>,
    transport: Transport,
    mut login: Login,
) -> Result<Opened, RequestError> {
    let mut wire = Wire {
        channel,
        token: login.token.clone(),
        timeout: bus.timeout,
        limits: Limits::default(),
        bounds: bus.bounds,
    };
    let (namespaces, started) = wire.read_capabilities().await?;
    login.started = started;
    Ok(Opened {
        wire: Arc::new(wire),
        transport,
        login,
        namespaces,
        subscriptions: Subscriptions::default(),
    })
}

/// Takes over the subscriptions of the former session, if the server lets us:
/// what it queued for them is not lost then.
async fn transfer(wire: &Wire, subscriptions: &mut Subscriptions) -> Result<(), RequestError> {
    let ids = subscriptions.server_ids();
    if ids.is_empty() {
        return Ok(());
    }
    match wire.transfer_subscriptions(ids.clone()).await {
        Ok(results) => {
            for (id, result) in ids.into_iter().zip(results) {
                match result.status_code.is_bad() {
                    true => subscriptions.drop_subscription(id, Instant::now()),
                    false => subscriptions.taken_over(id),
                }
            }
            Ok(())
        }
        Err(error) if error.ends_session() => Err(error.into()),
        // The server does not know the service, or the user may not.
        Err(_) => {
            for id in ids {
                subscriptions.drop_subscription(id, Instant::now());
            }
            Ok(())
        }
    }
}

/// Says good-bye, so that the server has room for the next session.
pub(crate) async fn close(wire: Arc<Wire>, transport: Transport) {
    let good_bye = async {
        let request = CloseSessionRequest {
            request_header: wire.header(CLOSE),
            delete_subscriptions: true,
        };
        answer!(wire, CloseSession, request, CLOSE)?;
        wire.channel.close_channel().await;
        transport.await;
        Ok::<_, WireError>(())
    };
    // Whatever the server says, it is over.
    let _ = tokio::time::timeout(CLOSE, good_bye).await;
}

pub(crate) fn line(error: &PkiError) -> RequestError {
    RequestError::Line(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_tells_the_same_start_is_the_same() {
        let start = 133_000_000_000_000_000;
        assert!(is_same_run(Some(start), Some(start + 1)));
        // A second later.
        assert!(!is_same_run(Some(start), Some(start + 10_000_000)));
        assert!(!is_same_run(None, None));
        assert!(!is_same_run(Some(start), None));
    }
}

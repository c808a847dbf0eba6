//! From nothing to a session that is logged on, and back to one that the server still holds.
//!
//! The session is ours and not the library's: its own one reconnects by itself
//! and calls back, while a bus must say when it is down, lose nothing when a
//! call is given up, and never redial beside the schedule's own pauses. What is
//! used of the library is the secure channel, which knows no sessions.

use std::{
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
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
    core::{ResponseMessage, comms::tcp_codec::TcpCodec},
    crypto::{
        PrivateKey, X509, create_signature_data, legacy_encrypt_secret, verify_signature_data,
    },
    sync::RwLock,
    types::{
        ActivateSessionRequest, AnonymousIdentityToken, ApplicationDescription, ApplicationType,
        ByteString, CloseSessionRequest, ContextOwned, CreateSessionRequest, DecodingOptions,
        EndpointDescription, Error, ExtensionObject, GetEndpointsRequest, LocalizedText,
        MessageSecurityMode, NamespaceMap, NodeId, SignatureData, StatusCode, UAString,
        UserNameIdentityToken, X509IdentityToken,
    },
};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_util::codec::FramedRead;

use crate::{
    bus::{Bus, Password, Policy, Url, User},
    endpoint,
    node::Namespaces,
    pki::{self, Pki, PkiError, text},
    subscription::Subscriptions,
    wire::{self, Limits, Wire, WireError, answer, status_text},
};

/// Bytes in one chunk: the smallest that every server must take and 8 KiB less
/// than the largest that any does.
const CHUNK: usize = 65_535;
/// The largest answer: 16 MiB, 1000 values of 16 KiB each.
const CHUNKS: usize = 256;
/// Bounds for one value, so that a mad server cannot fill the memory.
const ELEMENTS: usize = 1_000_000;
const BYTES: usize = 4 << 20;
/// An hour, as servers and tools have it; renewed at three quarters of it.
const CHANNEL_LIFETIME_MS: u32 = 3_600_000;
/// Bytes of our nonce (Part 4, section 5.6.2: at least 32).
const NONCE: usize = 32;
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
    endpoint: EndpointDescription,
    token: NodeId,
    /// The server's latest: the next log-on is signed with it.
    nonce: ByteString,
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
    if let Some(login) = shared.login(bus) {
        let (channel, transport) = channel(shared, bus, &login.endpoint).await?;
        if let Ok(login) = log_on(shared, bus, &channel, login).await {
            let opened = opened(bus, channel, transport, login).await?;
            return Ok(Opened {
                subscriptions: shared.take_subscriptions(bus),
                ..opened
            });
        }
        // The server has forgotten it, or is another one by now.
    }
    let endpoints = endpoints(shared, bus).await?;
    let mut opened = open_new(shared, bus, &endpoints).await?;
    opened.subscriptions = shared.take_subscriptions(bus);
    transfer(&opened.wire, &mut opened.subscriptions).await?;
    Ok(opened)
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
    endpoint.server_certificate = first_certificate(&endpoint.server_certificate);
    if endpoint.security_mode != MessageSecurityMode::None {
        let certificate = pki::server_certificate(&endpoint.server_certificate)?;
        shared.pki.check(&certificate, &bus.trust)?;
    }
    Ok(endpoint)
}

/// The first of a chain of certificates in DER (Part 6, section 6.2.6): a
/// sequence with its length in two bytes, as all of that size have.
fn first_certificate(chain: &ByteString) -> ByteString {
    match chain.as_ref() {
        [0x30, 0x82, high, low, ..] => {
            let length = 4 + usize::from(u16::from_be_bytes([*high, *low]));
            match chain.as_ref().get(..length) {
                Some(first) => ByteString::from(first),
                None => chain.clone(),
            }
        }
        _ => chain.clone(),
    }
}

/// Dials and opens a secure channel.
async fn channel(
    shared: &Shared,
    bus: &Bus,
    endpoint: &EndpointDescription,
) -> Result<(Arc<AsyncSecureChannel>, Transport), RequestError> {
    if endpoint.security_mode != MessageSecurityMode::None {
        // Made before the library looks for it.
        shared.pki.own().await.map_err(|error| line(&error))?;
    }
    let limit = bus.timeout * 2;
    let late = |what: &str| {
        RequestError::Line(format!("{what} took longer than {} ms", limit.as_millis()))
    };
    let stream = tokio::time::timeout(limit, dial(&bus.url))
        .await
        .map_err(|_| late("connecting"))??;
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
        Arc::new(RwLock::new(ContextOwned::new_default(
            NamespaceMap::new(),
            DecodingOptions {
                max_message_size: CHUNK * CHUNKS,
                max_chunk_count: CHUNKS,
                max_string_length: BYTES,
                max_byte_string_length: BYTES,
                max_array_length: ELEMENTS,
                ..DecodingOptions::default()
            },
        ))),
    ));
    let slot = Mutex::new(Some(stream));
    let connector = StreamConnector::new(
        move |url: String, options: DecodingOptions| {
            let stream = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            let connection = stream.map(|stream| {
                let (reader, writer) = tokio::io::split(stream);
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
        .map_err(|_| late("opening the secure channel"))?;
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
        RequestError::Line(format!(
            "the server did not open a secure channel: {}{hint}",
            status_text(error.status())
        ))
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

async fn dial(url: &Url) -> Result<TcpStream, RequestError> {
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await;
    let stream = stream.map_err(|error| RequestError::Line(error.to_string()))?;
    // A request is a small segment; waiting for more would only delay it.
    stream
        .set_nodelay(true)
        .map_err(|error| RequestError::Line(error.to_string()))?;
    Ok(stream)
}

/// Makes a session, and makes sure that it is the server of the certificate that made it.
async fn create(
    shared: &Shared,
    bus: &Bus,
    channel: &AsyncSecureChannel,
    endpoint: EndpointDescription,
) -> Result<Login, RequestError> {
    let policy = endpoint::policy(&endpoint).unwrap_or(Policy::None);
    let own = own(shared, policy).await?;
    let nonce = opcua::crypto::random::byte_string(NONCE);
    let request = CreateSessionRequest {
        request_header: wire::header(channel, &NodeId::null(), bus.timeout),
        client_description: ApplicationDescription {
            application_uri: shared.pki.application_uri().into(),
            product_uri: "urn:longshore".into(),
            application_name: LocalizedText::from(shared.pki.application_name()),
            application_type: ApplicationType::Client,
            gateway_server_uri: UAString::null(),
            discovery_profile_uri: UAString::null(),
            discovery_urls: None,
        },
        server_uri: UAString::null(),
        endpoint_url: bus.url.to_string().into(),
        session_name: shared.pki.application_name().into(),
        client_nonce: nonce.clone(),
        client_certificate: own
            .as_ref()
            .map(|(certificate, _)| certificate.as_byte_string())
            .unwrap_or_default(),
        requested_session_timeout: bus.session_timeout.as_millis() as f64,
        max_response_message_size: 0,
    };
    let answer = wire::ask(channel, "CreateSession", request, bus.timeout).await?;
    let ResponseMessage::CreateSession(answer) = answer else {
        return Err(WireError::Unexpected {
            service: "CreateSession",
        }
        .into());
    };
    if let Some((own, _)) = &own {
        let shown = first_certificate(&answer.server_certificate);
        let known =
            pki::server_certificate(&endpoint.server_certificate).map_err(|error| line(&error))?;
        let verified = verify_signature_data(
            &answer.server_signature,
            policy.wire(),
            &known,
            own,
            nonce.as_ref(),
        );
        if shown != endpoint.server_certificate || verified.is_err() {
            return Err(RequestError::Line(
                "the server does not prove that the certificate is its own".to_owned(),
            ));
        }
    }
    Ok(Login {
        endpoint,
        token: answer.authentication_token,
        nonce: answer.server_nonce,
    })
}

/// Our certificate and key, if the policy needs one.
async fn own(shared: &Shared, policy: Policy) -> Result<Option<(X509, PrivateKey)>, RequestError> {
    match policy {
        Policy::None => Ok(None),
        _ => shared
            .pki
            .own()
            .await
            .map(Some)
            .map_err(|error| line(&error)),
    }
}

/// Logs on to a session, new or former, over this channel.
async fn log_on(
    shared: &Shared,
    bus: &Bus,
    channel: &AsyncSecureChannel,
    login: Login,
) -> Result<Login, RequestError> {
    let policy = endpoint::policy(&login.endpoint).unwrap_or(Policy::None);
    let client_signature = match own(shared, policy).await? {
        None => SignatureData::null(),
        Some((_, key)) => create_signature_data(
            &key,
            policy.wire(),
            &login.endpoint.server_certificate,
            &login.nonce,
        )
        .map_err(|error| refused(error.status()))?,
    };
    let (user_identity_token, user_token_signature) = identity(&bus.user, &login)?;
    let request = ActivateSessionRequest {
        request_header: wire::header(channel, &login.token, bus.timeout),
        client_signature,
        client_software_certificates: None,
        locale_ids: None,
        user_identity_token,
        user_token_signature,
    };
    match wire::ask(channel, "ActivateSession", request, bus.timeout).await {
        Ok(ResponseMessage::ActivateSession(answer)) => {
            channel.set_auth_token(login.token.clone());
            Ok(Login {
                nonce: answer.server_nonce,
                ..login
            })
        }
        Ok(_) => Err(WireError::Unexpected {
            service: "ActivateSession",
        }
        .into()),
        Err(error) => Err(match error.status() {
            Some(status) => refused(status),
            None => error.into(),
        }),
    }
}

fn refused(status: StatusCode) -> RequestError {
    let hint = match status {
        StatusCode::BadIdentityTokenRejected
        | StatusCode::BadUserAccessDenied
        | StatusCode::BadIdentityTokenInvalid => {
            "\n\nhint: look at user (or certificate) in the device's protocol.configData"
        }
        _ => "",
    };
    RequestError::Line(format!(
        "the server refused the log-on: {}{hint}",
        status_text(status)
    ))
}

/// The user's token, and its signature.
fn identity(user: &User, login: &Login) -> Result<(ExtensionObject, SignatureData), RequestError> {
    let endpoint = &login.endpoint;
    let token = endpoint::token_policy(endpoint, endpoint::token_type(user));
    let Some(token) = token else {
        return Err(RequestError::Line(
            "the server does not take this kind of user any more".to_owned(),
        ));
    };
    let channel_policy = endpoint::policy(endpoint).unwrap_or(Policy::None).wire();
    match user {
        User::Anonymous => {
            let policy_id = token.policy_id.clone();
            let token = AnonymousIdentityToken { policy_id };
            Ok((ExtensionObject::from_message(token), SignatureData::null()))
        }
        User::Name { name, password } => {
            let password = password_of(password)?;
            let server = X509::from_byte_string(&endpoint.server_certificate).ok();
            let is_plain = endpoint.security_mode == MessageSecurityMode::None
                && Policy::of_uri(text(&token.security_policy_uri)).unwrap_or(Policy::None)
                    == Policy::None;
            if server.is_none() && !is_plain {
                return Err(RequestError::Line(
                    "the server has no certificate to encrypt the password with".to_owned(),
                ));
            }
            let secret = legacy_encrypt_secret(
                channel_policy,
                endpoint.security_mode,
                token,
                login.nonce.as_ref(),
                &server,
                password.as_bytes(),
            )
            .map_err(|error| refused(error.status()))?;
            let token = UserNameIdentityToken {
                policy_id: secret.policy,
                user_name: UAString::from(name.as_str()),
                password: secret.secret,
                encryption_algorithm: secret.encryption_algorithm,
            };
            Ok((ExtensionObject::from_message(token), SignatureData::null()))
        }
        User::Certificate { file, key } => {
            let certificate = pki::read_certificate(file).map_err(|error| line(&error))?;
            let key = pki::read_key(key).map_err(|error| line(&error))?;
            let own_policy = text(&token.security_policy_uri);
            let policy = match own_policy {
                "" => channel_policy,
                uri => Policy::of_uri(uri).unwrap_or(Policy::None).wire(),
            };
            let signature =
                create_signature_data(&key, policy, &endpoint.server_certificate, &login.nonce)
                    .map_err(|error| refused(error.status()))?;
            let token = X509IdentityToken {
                policy_id: token.policy_id.clone(),
                certificate_data: certificate.as_byte_string(),
            };
            Ok((ExtensionObject::from_message(token), signature))
        }
    }
}

fn password_of(password: &Password) -> Result<String, RequestError> {
    match password {
        Password::Text(text) => Ok(text.clone()),
        Password::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                RequestError::Line(format!(
                    "failed to read the password file {}: {error}",
                    path.display()
                ))
            })?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        }
    }
}

/// Asks for what each connection needs to know.
async fn opened(
    bus: &Bus,
    channel: Arc<AsyncSecureChannel>,
    transport: Transport,
    login: Login,
) -> Result<Opened, RequestError> {
    let mut wire = Wire {
        channel,
        token: login.token.clone(),
        timeout: bus.timeout,
        limits: Limits::default(),
    };
    let namespaces = wire.read_capabilities().await?;
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
                if result.status_code.is_bad() {
                    subscriptions.drop_subscription(id);
                }
            }
            Ok(())
        }
        Err(error) if error.ends_session() => Err(error.into()),
        // The server does not know the service, or the user may not.
        Err(_) => {
            for id in ids {
                subscriptions.drop_subscription(id);
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

fn line(error: &PkiError) -> RequestError {
    RequestError::Line(error.to_string())
}

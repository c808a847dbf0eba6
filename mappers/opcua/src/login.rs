//! Logging on: the session is made, both sides prove who they are.

use longshore_sdk::{RequestError, files};
use opcua::{
    core::ResponseMessage,
    crypto::{
        PrivateKey, X509, create_signature_data, legacy_encrypt_secret, verify_signature_data,
    },
    types::{
        ActivateSessionRequest, AnonymousIdentityToken, ApplicationDescription, ApplicationType,
        ByteString, CreateSessionRequest, EndpointDescription, ExtensionObject, LocalizedText,
        MessageSecurityMode, NodeId, SignatureData, StatusCode, UAString, UserNameIdentityToken,
        X509IdentityToken,
    },
};

use crate::{
    bus::{Bus, Password, Policy, User},
    channel::Channel,
    endpoint::{self, Secrecy},
    issuer,
    pki::{self, text},
    session::{Login, Shared, line},
    wire::{self, WireError, status_text},
};

/// Bytes of our nonce (Part 4, section 5.6.2: at least 32).
const NONCE: usize = 32;

/// Makes a session, and makes sure that it is the server of the certificate that made it.
pub(crate) async fn create(
    shared: &Shared,
    bus: &Bus,
    channel: &Channel,
    endpoint: EndpointDescription,
) -> Result<Login, RequestError> {
    let policy = endpoint::policy(&endpoint).unwrap_or(Policy::None);
    let own = own(shared, policy).await?;
    let nonce = opcua::crypto::random::byte_string(NONCE);
    // A certificate that somebody else has signed says who we are.
    let uri = own
        .as_ref()
        .and_then(|(certificate, _)| issuer::application_uri(certificate))
        .unwrap_or_else(|| shared.pki.application_uri().to_owned());
    let request = CreateSessionRequest {
        request_header: wire::header(channel, &NodeId::null(), bus.timeout),
        client_description: ApplicationDescription {
            application_uri: uri.into(),
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
        max_response_message_size: bus.bounds.message,
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
        started: None,
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
pub(crate) async fn log_on(
    shared: &Shared,
    bus: &Bus,
    channel: &Channel,
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
    let (user_identity_token, user_token_signature) = identity(shared, bus, &login)?;
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
fn identity(
    shared: &Shared,
    bus: &Bus,
    login: &Login,
) -> Result<(ExtensionObject, SignatureData), RequestError> {
    let (user, endpoint) = (&bus.user, &login.endpoint);
    let Some(token) = endpoint::token_policy(endpoint, user) else {
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
        User::Name {
            name,
            password,
            unprotected,
        } => {
            let server = X509::from_byte_string(&endpoint.server_certificate).ok();
            if endpoint::secrecy(endpoint, token) == Some(Secrecy::Encrypted)
                && endpoint.security_mode == MessageSecurityMode::None
                && !unprotected
            {
                // Nobody has looked at it: the channel needs none.
                is_for(shared, bus, server.as_ref())?;
            }
            let password = password_of(password)?;
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

/// Whether a password may be encrypted for a certificate: anybody can make one.
fn is_for(shared: &Shared, bus: &Bus, server: Option<&X509>) -> Result<(), RequestError> {
    let server = server.ok_or_else(|| {
        RequestError::Line(
            "the server has no certificate to encrypt the password with that can be read"
                .to_owned(),
        )
    })?;
    shared.pki.check(server, &[], &bus.trust).map_err(|error| {
        RequestError::Line(format!(
            "the password is not sent, it would be encrypted for a certificate that nobody has accepted: {error}\n\
             or, where anybody may know the password, write user: {{allowUnprotected: true}}"
        ))
    })
}

fn password_of(password: &Password) -> Result<String, RequestError> {
    match password {
        Password::Text(text) => Ok(text.clone()),
        Password::File(path) => {
            let text = files::read_text(path).map_err(|error| {
                RequestError::Line(format!(
                    "failed to read the password file {}: {error}",
                    path.display()
                ))
            })?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        }
    }
}

/// The first of a chain of certificates in DER (Part 6, section 6.2.6): a
/// sequence with its length in two bytes, as all of that size have.
pub(crate) fn first_certificate(chain: &ByteString) -> ByteString {
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

//! Which of a server's endpoints to take. Pure.

use opcua::types::{EndpointDescription, MessageSecurityMode, UserTokenPolicy, UserTokenType};

use crate::bus::{Bus, Policy, User};

/// The endpoint of the device's configuration, the best protected one where
/// that leaves a choice.
///
/// # Errors
/// What the server offers, for people.
pub(crate) fn choose(
    endpoints: &[EndpointDescription],
    bus: &Bus,
) -> Result<EndpointDescription, String> {
    let speaks = |endpoint: &&EndpointDescription| {
        endpoint.endpoint_url.as_ref().starts_with("opc.tcp") && policy(endpoint).is_some()
    };
    let wanted = |endpoint: &&EndpointDescription| {
        let mode = bus.security.mode.map(crate::bus::Mode::wire);
        bus.security
            .policy
            .is_none_or(|wanted| policy(endpoint) == Some(wanted))
            && mode.is_none_or(|mode| endpoint.security_mode == mode)
    };
    let secured: Vec<_> = endpoints.iter().filter(speaks).filter(wanted).collect();
    if secured.is_empty() {
        return Err(format!(
            "the server has no endpoint with the security that is asked for; it offers {}",
            offers(endpoints)
        ));
    }
    let kind = token_type(&bus.user);
    let usable = secured
        .iter()
        .filter(|endpoint| token_policy(endpoint, kind).is_some());
    let best = usable.max_by_key(|endpoint| rank(endpoint));
    let best = best.ok_or_else(|| {
        let taken: Vec<_> = secured
            .iter()
            .flat_map(|endpoint| endpoint.user_identity_tokens.iter().flatten())
            .map(|token| token_name(token.token_type))
            .collect();
        format!(
            "the server does not take {}; it takes {}",
            token_name(kind),
            distinct(taken)
        )
    })?;
    Ok((*best).clone())
}

/// The policy of an endpoint, if it is spoken.
pub(crate) fn policy(endpoint: &EndpointDescription) -> Option<Policy> {
    let uri = endpoint.security_policy_uri.as_ref();
    let policy = Policy::of_uri(uri)?;
    let is_none = endpoint.security_mode == MessageSecurityMode::None;
    (is_none == (policy == Policy::None)).then_some(policy)
}

/// How an endpoint takes users of a kind.
pub(crate) fn token_policy(
    endpoint: &EndpointDescription,
    kind: UserTokenType,
) -> Option<&UserTokenPolicy> {
    let mut policies = endpoint.user_identity_tokens.iter().flatten();
    policies.find(|policy| {
        let uri = policy.security_policy_uri.as_ref();
        policy.token_type == kind && (uri.is_empty() || Policy::of_uri(uri).is_some())
    })
}

pub(crate) fn token_type(user: &User) -> UserTokenType {
    match user {
        User::Anonymous => UserTokenType::Anonymous,
        User::Name { .. } => UserTokenType::UserName,
        User::Certificate { .. } => UserTokenType::Certificate,
    }
}

/// Better protected is greater; what the server thinks of it decides the rest.
fn rank(endpoint: &EndpointDescription) -> (u8, u8, u8) {
    let mode = match endpoint.security_mode {
        MessageSecurityMode::SignAndEncrypt => 2,
        MessageSecurityMode::Sign => 1,
        _ => 0,
    };
    let policy = match policy(endpoint) {
        Some(Policy::Aes256Sha256RsaPss) => 3,
        Some(Policy::Aes128Sha256RsaOaep) => 2,
        Some(Policy::Basic256Sha256) => 1,
        Some(Policy::None) | None => 0,
    };
    (mode, policy, endpoint.security_level)
}

/// The protections that a server offers, for people.
pub(crate) fn offers(endpoints: &[EndpointDescription]) -> String {
    distinct(endpoints.iter().map(describe).collect())
}

fn describe(endpoint: &EndpointDescription) -> String {
    let uri = endpoint.security_policy_uri.as_ref();
    let policy = uri.rsplit('#').next().unwrap_or(uri).replace('_', "");
    match endpoint.security_mode {
        MessageSecurityMode::SignAndEncrypt => format!("{policy}/signAndEncrypt"),
        MessageSecurityMode::Sign => format!("{policy}/sign"),
        _ => policy.to_ascii_lowercase(),
    }
}

fn token_name(kind: UserTokenType) -> String {
    match kind {
        UserTokenType::Anonymous => "anonymous users",
        UserTokenType::UserName => "a user name with password",
        UserTokenType::Certificate => "a user's certificate",
        UserTokenType::IssuedToken => "issued tokens",
    }
    .to_owned()
}

fn distinct(mut words: Vec<String>) -> String {
    words.sort();
    words.dedup();
    match words.is_empty() {
        true => "nothing".to_owned(),
        false => words.join(", "),
    }
}

//! Which of a server's endpoints to take. Pure.

use std::cmp::Reverse;

use opcua::types::{EndpointDescription, MessageSecurityMode, UserTokenPolicy, UserTokenType};

use crate::bus::{Bus, Policy, Url, User};

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
    let usable = secured
        .iter()
        .enumerate()
        .filter(|(_, endpoint)| token_policy(endpoint, &bus.user).is_some());
    // Of those that are as good, the first, as the server's own order has it.
    let best = usable.max_by_key(|(index, endpoint)| {
        (
            closeness(endpoint, &bus.url),
            rank(endpoint),
            Reverse(*index),
        )
    });
    let best = best.ok_or_else(|| {
        let anyhow = unprotected(&bus.user);
        if secured
            .iter()
            .any(|endpoint| token_policy(endpoint, &anyhow).is_some())
        {
            return format!(
                "the server takes a password in the clear only, and it is not sent so; the server offers {}\n\n\
                 hint: let the server offer Basic256Sha256 and leave security.policy out, or, where everybody on \
                 the line may know the password, write user: {{allowUnprotected: true}} into the device's protocol.configData",
                offers(endpoints)
            );
        }
        let taken: Vec<_> = secured
            .iter()
            .flat_map(|endpoint| endpoint.user_identity_tokens.iter().flatten())
            .map(|token| token_name(token.token_type))
            .collect();
        format!(
            "the server does not take {}; it takes {}",
            token_name(token_type(&bus.user)),
            distinct(taken)
        )
    })?;
    Ok((*best.1).clone())
}

/// How much of an endpoint's URL is the dialled one. A server may have several, each
/// with users and a certificate of its own; behind a translated address none is.
fn closeness(endpoint: &EndpointDescription, dialled: &Url) -> u8 {
    let Ok(url) = Url::parse(endpoint.endpoint_url.as_ref()) else {
        return 0;
    };
    let path = |url: &Url| url.path.trim_end_matches('/').to_owned();
    let has_host = url.host.eq_ignore_ascii_case(&dialled.host);
    let (has_port, has_path) = (url.port == dialled.port, path(&url) == path(dialled));
    match (has_host, has_port, has_path) {
        (true, true, true) => 5,
        (true, true, false) => 4,
        (false, true, true) => 3,
        (true, false, true) => 2,
        (false, false, true) => 1,
        _ => 0,
    }
}

/// The policy of an endpoint, if it is spoken.
pub(crate) fn policy(endpoint: &EndpointDescription) -> Option<Policy> {
    let uri = endpoint.security_policy_uri.as_ref();
    let policy = Policy::of_uri(uri)?;
    let is_none = endpoint.security_mode == MessageSecurityMode::None;
    (is_none == (policy == Policy::None)).then_some(policy)
}

/// What becomes of a password on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Secrecy {
    /// Everybody can read it.
    Clear,
    /// The channel is encrypted for a certificate that was accepted.
    Channel,
    /// It is itself encrypted, for the server's certificate.
    Encrypted,
}

/// How an endpoint takes such a user, a password as well protected as there is.
pub(crate) fn token_policy<'a>(
    endpoint: &'a EndpointDescription,
    user: &User,
) -> Option<&'a UserTokenPolicy> {
    let kind = token_type(user);
    let policies = endpoint.user_identity_tokens.iter().flatten();
    let mut usable = policies.filter(|policy| {
        let uri = policy.security_policy_uri.as_ref();
        policy.token_type == kind && (uri.is_empty() || Policy::of_uri(uri).is_some())
    });
    let User::Name { unprotected, .. } = user else {
        return usable.next();
    };
    let known = usable.filter_map(|token| Some((secrecy(endpoint, token)?, token)));
    let allowed = known.filter(|(secrecy, _)| *unprotected || *secrecy != Secrecy::Clear);
    // Of equals the first.
    let best = allowed.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, token)| token)
}

/// What becomes of a password at an endpoint (Part 4, section 7.40.4); `None` where it
/// cannot be sent.
pub(crate) fn secrecy(endpoint: &EndpointDescription, token: &UserTokenPolicy) -> Option<Secrecy> {
    let own = match token.security_policy_uri.as_ref() {
        "" => None,
        uri => Some(Policy::of_uri(uri)?),
    };
    let effective = own.or(policy(endpoint))?;
    match (endpoint.security_mode, effective) {
        (MessageSecurityMode::None, Policy::None) => Some(Secrecy::Clear),
        (MessageSecurityMode::SignAndEncrypt, Policy::None) => Some(Secrecy::Channel),
        // Signed only: everybody could read it, and the specification has no such log-on.
        (_, Policy::None) => None,
        _ if endpoint.server_certificate.is_null_or_empty() => None,
        _ => Some(Secrecy::Encrypted),
    }
}

/// The same user, whose password may be sent anyhow.
fn unprotected(user: &User) -> User {
    match user.clone() {
        User::Name { name, password, .. } => User::Name {
            name,
            password,
            unprotected: true,
        },
        other => other,
    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opcua::types::{ByteString, UserTokenPolicy};

    use super::*;
    use crate::bus::{Password, Security, Trust};

    fn bus(url: &str, unprotected: Option<bool>) -> Bus {
        Bus {
            url: Url::parse(url).expect("an address"),
            security: Security {
                policy: None,
                mode: None,
            },
            user: match unprotected {
                None => User::Anonymous,
                Some(unprotected) => User::Name {
                    name: "operator".to_owned(),
                    password: Password::Text("secret".to_owned()),
                    unprotected,
                },
            },
            trust: Trust::Folder,
            timeout: Duration::from_secs(4),
            session_timeout: Duration::from_secs(60),
            bounds: crate::bus::Bounds::default(),
        }
    }

    fn endpoint(
        url: &str,
        policy: Policy,
        tokens: &[(&str, Option<Policy>)],
    ) -> EndpointDescription {
        let names = tokens.iter().map(|(id, policy)| UserTokenPolicy {
            policy_id: (*id).into(),
            token_type: UserTokenType::UserName,
            security_policy_uri: policy
                .map_or_else(Default::default, |of| of.wire().to_uri().into()),
            ..UserTokenPolicy::default()
        });
        let anonymous = UserTokenPolicy {
            policy_id: "anonymous".into(),
            token_type: UserTokenType::Anonymous,
            ..UserTokenPolicy::default()
        };
        EndpointDescription {
            endpoint_url: url.into(),
            security_mode: match policy {
                Policy::None => MessageSecurityMode::None,
                _ => MessageSecurityMode::SignAndEncrypt,
            },
            security_policy_uri: policy.wire().to_uri().into(),
            server_certificate: ByteString::from(vec![1]),
            user_identity_tokens: Some(names.chain([anonymous]).collect()),
            ..EndpointDescription::default()
        }
    }

    #[test]
    fn the_endpoint_of_the_dialled_url_comes_before_better_protected_ones_of_others() {
        let of = |url: &str| endpoint(url, Policy::None, &[]);
        let all = [
            of("opc.tcp://inner:4840/a"),
            of("opc.tcp://Press:4840/b/"),
            endpoint("opc.tcp://press:4841/a", Policy::Basic256Sha256, &[]),
            of("opc.tcp://press:4840/a"),
        ];
        let chosen = |url: &str| {
            let chosen = choose(&all, &bus(url, None)).expect("there is one");
            chosen.endpoint_url.to_string()
        };
        assert_eq!(chosen("opc.tcp://press:4840/b"), "opc.tcp://Press:4840/b/");
        assert_eq!(chosen("opc.tcp://press/a"), "opc.tcp://press:4840/a");
        assert_eq!(chosen("opc.tcp://press:4841"), "opc.tcp://press:4841/a");
        // Behind a translated address: the first with its port and path.
        assert_eq!(
            chosen("opc.tcp://192.0.2.7:4840/a"),
            "opc.tcp://inner:4840/a"
        );
        // None is near: the best protected one.
        assert_eq!(chosen("opc.tcp://192.0.2.7:9/x"), "opc.tcp://press:4841/a");
    }

    #[test]
    fn a_password_is_not_sent_in_the_clear_unless_it_may_be() {
        let plain = endpoint("opc.tcp://press", Policy::None, &[("plain", None)]);
        let refusal = choose(
            std::slice::from_ref(&plain),
            &bus("opc.tcp://press", Some(false)),
        );
        let refusal = refusal.expect_err("nothing protects it");
        assert!(refusal.contains("in the clear only"), "{refusal}");
        assert!(
            refusal.contains("user: {allowUnprotected: true}"),
            "{refusal}"
        );
        assert!(choose(&[plain], &bus("opc.tcp://press", Some(true))).is_ok());
        // Of two ways the one that encrypts it, wherever it stands.
        let both = [("plain", None), ("sealed", Some(Policy::Basic256Sha256))];
        let both = endpoint("opc.tcp://press", Policy::None, &both);
        for unprotected in [false, true] {
            let user = bus("opc.tcp://press", Some(unprotected)).user;
            let token = token_policy(&both, &user).expect("taken");
            assert_eq!(token.policy_id.as_ref(), "sealed");
            assert_eq!(secrecy(&both, token), Some(Secrecy::Encrypted));
        }
        // An encrypted channel protects what is in it; a signed one does not.
        let none = [("plain", Some(Policy::None))];
        let mut inside = endpoint("opc.tcp://press", Policy::Basic256Sha256, &none);
        let user = bus("opc.tcp://press", Some(false)).user;
        assert!(token_policy(&inside, &user).is_some());
        inside.security_mode = MessageSecurityMode::Sign;
        assert!(token_policy(&inside, &user).is_none());
    }
}

//! Acting for somebody else: the headers `Impersonate-User`, `-Group`, `-Uid` and
//! `-Extra-…`, which `kubectl --as` sends.
//!
//! Whoever may not do that is refused. To overlook the headers would do with all rights
//! what was meant to be done with few.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::request::decode;
use super::status::ApiError;
use super::{Api, authorize};
use crate::identity::{ANONYMOUS, AUTHENTICATED, Attributes, UNAUTHENTICATED, User};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// How the name of a service account begins: namespace and name follow.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Group of all service accounts.
const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";

/// Group of what has to do with who somebody is.
const AUTHENTICATION: &str = "authentication.k8s.io";

/// The user as whom the request acts: `user`, unless its headers name another one.
///
/// # Errors
/// `user` may not act for that one, or the headers name none.
pub(super) fn acting(api: &Api, user: User, headers: &HeaderMap) -> Result<User, ApiError> {
    let Some(other) = named(headers)? else {
        return Ok(user);
    };
    for attributes in asked(&other) {
        authorize(api, &user, &attributes)?;
    }
    tracing::debug!(
        user = user.name,
        acting_for = other.name,
        "a request acts for another user"
    );
    Ok(complete(other))
}

/// The user whom the headers name.
fn named(headers: &HeaderMap) -> Result<Option<User>, ApiError> {
    let all = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter();
        let values = values.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
        values
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in headers.keys() {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            extra.insert(decode(key, false), all(name.as_str()));
        }
    }
    let (names, groups, uid) = (all(USER), all(GROUP), all(UID).into_iter().next());
    let Some(name) = names.into_iter().next() else {
        let first = match (groups.first(), &uid, extra.keys().next()) {
            (Some(group), _, _) => format!("group {group:?}"),
            (_, Some(uid), _) => format!("uid {uid:?}"),
            (_, _, Some(key)) => format!("extra {key:?}"),
            (None, None, None) => return Ok(None),
        };
        let text = format!("requested {first} without impersonating a user name");
        return Err(ApiError::bad_request(text));
    };
    Ok(Some(User {
        uid,
        extra,
        ..User::new(name, groups)
    }))
}

/// What somebody must be allowed to act for `other`.
fn asked(other: &User) -> Vec<Attributes> {
    let plain = |resource: &str, name: &str| Attributes {
        verb: "impersonate".to_owned(),
        resource: resource.to_owned(),
        name: Some(name.to_owned()),
        ..Attributes::default()
    };
    let mut all = vec![match service_account(&other.name) {
        Some((namespace, name)) => Attributes {
            namespace: Some(namespace.to_owned()),
            ..plain("serviceaccounts", name)
        },
        None => plain("users", &other.name),
    }];
    all.extend(other.groups.iter().map(|group| plain("groups", group)));
    let more = |resource: &str, name: &str| Attributes {
        group: AUTHENTICATION.to_owned(),
        ..plain(resource, name)
    };
    all.extend(other.uid.iter().map(|uid| more("uids", uid)));
    for (key, values) in &other.extra {
        all.extend(values.iter().map(|value| Attributes {
            subresource: Some(key.clone()),
            ..more("userextras", value)
        }));
    }
    all
}

fn service_account(name: &str) -> Option<(&str, &str)> {
    let (namespace, name) = name.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty()).then_some((namespace, name))
}

/// With the groups that everybody of its kind is in.
fn complete(mut user: User) -> User {
    if let Some((namespace, _)) = service_account(&user.name)
        && user.groups.is_empty()
    {
        let of_namespace = format!("{SERVICE_ACCOUNTS}:{namespace}");
        user.groups
            .extend([SERVICE_ACCOUNTS.to_owned(), of_namespace]);
    }
    let everybody = match user.name.as_str() {
        ANONYMOUS => UNAUTHENTICATED,
        _ => AUTHENTICATED,
    };
    if !user.groups.iter().any(|group| group == everybody) {
        user.groups.push(everybody.to_owned());
    }
    user
}

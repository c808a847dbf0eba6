//! Who asks, and whether they may.

use std::collections::BTreeMap;
use std::fmt;

/// Members of this group may do everything.
pub const MASTERS: &str = "system:masters";

/// Everybody who showed credentials is in this group, …
pub(crate) const AUTHENTICATED: &str = "system:authenticated";

/// … and who did not goes by this name, in that group.
pub(crate) const ANONYMOUS: &str = "system:anonymous";
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";

/// The identity behind a request. Whoever terminates TLS puts it into the
/// request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's name, for example `system:admin`.
    pub name: String,
    /// The groups the user belongs to.
    pub groups: Vec<String>,
    /// Tells users of one name apart, where somebody keeps track.
    pub uid: Option<String>,
    /// More about the user, as whoever acts for it says.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Somebody who showed no credentials.
    pub(crate) fn anonymous() -> User {
        User::new(ANONYMOUS, [UNAUTHENTICATED.to_owned()])
    }

    /// A user who may do everything.
    pub fn admin(name: impl Into<String>) -> User {
        User::new(name, [MASTERS, AUTHENTICATED].map(str::to_owned))
    }

    /// A user with exactly these groups.
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = String>) -> User {
        User {
            name: name.into(),
            groups: groups.into_iter().collect(),
            uid: None,
            extra: BTreeMap::new(),
        }
    }
}

/// What a request wants to do, as an [`Authorizer`] sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`,
    /// `deletecollection` or `impersonate`; for paths that are no resources the HTTP method in
    /// lower case.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural of the resource; empty for paths that are no resources.
    pub resource: String,
    /// `status` and its like.
    pub subresource: Option<String>,
    /// Namespace of a namespaced request.
    pub namespace: Option<String>,
    /// Name of the object.
    pub name: Option<String>,
    /// The path of the request.
    pub path: String,
}

/// Decides whether a user may do something. Called for each request, so it must
/// not block.
pub trait Authorizer: Send + Sync + 'static {
    /// Whether `user` may do what `attributes` says.
    fn allows(&self, user: &User, attributes: &Attributes) -> bool;
}

/// The default: members of `system:masters` may do everything, others may read
/// what every client needs for a start (version, health, discovery) and no more.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowMasters;

impl Authorizer for AllowMasters {
    fn allows(&self, user: &User, attributes: &Attributes) -> bool {
        if user.groups.iter().any(|group| group == MASTERS) {
            return true;
        }
        let review = attributes.verb == "create"
            && matches!(
                attributes.resource.as_str(),
                "selfsubjectaccessreviews" | "selfsubjectreviews"
            );
        review || (attributes.resource.is_empty() && attributes.verb == "get")
    }
}

/// Bearer tokens and the users behind them.
#[derive(Clone, Default)]
pub struct Tokens(Vec<(String, User)>);

impl Tokens {
    /// No token at all: only client certificates open the door.
    pub fn none() -> Tokens {
        Tokens::default()
    }

    /// Adds a token for `user`. An empty token is ignored.
    pub fn with(mut self, token: impl Into<String>, user: User) -> Tokens {
        let token = token.into();
        if !token.is_empty() {
            self.0.push((token, user));
        }
        self
    }

    /// The user of `token`. Every token is compared in full, so that the time
    /// tells nothing about a near miss.
    pub(crate) fn user(&self, token: &str) -> Option<User> {
        let mut found = None;
        for (known, user) in &self.0 {
            let same = known.len() == token.len()
                && known
                    .bytes()
                    .zip(token.bytes())
                    .fold(0, |acc, (a, b)| acc | (a ^ b))
                    == 0;
            if same {
                found = Some(user.clone());
            }
        }
        found
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

/// Reads common name and organisations from the subject of a certificate that
/// rustls has verified already.
///
/// A walk over five DER elements; a parser of X.509 would be a dependency of
/// megabytes for it.
pub(crate) fn user_of_certificate(der: &[u8]) -> Option<User> {
    let (certificate, _) = element(der)?;
    let (mut body, _) = element(certificate.1)?;
    // version [0] is optional; then serial, algorithm, issuer, validity, subject
    let (first, rest) = element(body.1)?;
    let mut cursor = if first.0 == 0xa0 { rest } else { body.1 };
    for _ in 0..4 {
        cursor = element(cursor)?.1;
    }
    body = element(cursor)?.0;
    let (mut name, mut groups) = (None, vec![AUTHENTICATED.to_owned()]);
    let mut names = body.1;
    while !names.is_empty() {
        let (set, rest) = element(names)?;
        names = rest;
        let (pair, _) = element(set.1)?;
        let (oid, value) = element(pair.1)?;
        let text = std::str::from_utf8(element(value)?.0.1).ok()?.to_owned();
        match oid.1 {
            [0x55, 4, 3] => name = Some(text),
            [0x55, 4, 10] => groups.push(text),
            _ => {}
        }
    }
    Some(User::new(name?, groups))
}

type Element<'a> = (u8, &'a [u8]);

/// Splits the first DER element off: (tag, content) and what follows it.
fn element(der: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let count = usize::from(first & 0x7f);
        if count > 4 || rest.len() < count {
            return None;
        }
        length = rest[..count]
            .iter()
            .fold(0, |acc, byte| acc << 8 | usize::from(*byte));
        rest = &rest[count..];
    }
    (rest.len() >= length).then(|| ((tag, &rest[..length]), &rest[length..]))
}

//! What a request asks for: its path, parameters and the form of the answer.

use std::collections::HashMap;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/healthz`, `/version` and their like, by their path.
    Plain(String),
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/g`
    Group(String),
    /// `/api/v1` or `/apis/g/v`
    Resources {
        group: String,
        version: String,
    },
    Resource(ResourcePath),
}

/// A path to a collection or an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Target {
    /// Reads the path of a URI; `None` when it has the form of no path we know.
    pub(crate) fn parse(path: &str) -> Option<Target> {
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| decode(segment, false))
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["api"] => Some(Target::CoreVersions),
            ["apis"] => Some(Target::Groups),
            ["apis", group] => Some(Target::Group((*group).to_owned())),
            ["api", version, rest @ ..] => Target::resource("", version, rest),
            ["apis", group, version, rest @ ..] => Target::resource(group, version, rest),
            _ => Some(Target::Plain(path.trim_end_matches('/').to_owned())),
        }
    }

    fn resource(group: &str, version: &str, rest: &[&str]) -> Option<Target> {
        let own = |text: &&str| (*text).to_owned();
        let mut path = ResourcePath {
            group: group.into(),
            version: version.into(),
            ..ResourcePath::default()
        };
        let rest = match rest {
            [] => {
                return Some(Target::Resources {
                    group: path.group,
                    version: path.version,
                });
            }
            ["namespaces", _, "status" | "finalize"] if group.is_empty() => rest,
            ["namespaces", namespace, inner @ ..] if !inner.is_empty() => {
                path.namespace = Some(own(namespace));
                inner
            }
            _ => rest,
        };
        let (plural, tail) = rest.split_first()?;
        path.plural = own(plural);
        path.name = tail.first().map(own);
        path.subresource = tail.get(1).map(own);
        (tail.len() <= 2).then_some(Target::Resource(path))
    }
}

/// The query of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(HashMap<String, String>);

impl Params {
    /// Empty pairs, as in `?&a=b`, are ignored.
    pub(crate) fn parse(query: &str) -> Params {
        let pairs = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name, true), decode(value, true))
            });
        Params(pairs.collect())
    }

    /// A parameter that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1" | "True" | "TRUE" | "t"))
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }
}

pub(super) fn decode(text: &str, plus: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' if plus => bytes.push(b' '),
            b'%' => {
                let hex = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let value = std::str::from_utf8(&hex)
                    .ok()
                    .and_then(|hex| u8::from_str_radix(hex, 16).ok());
                bytes.push(value.unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ResourcePath {
        match Target::parse(text) {
            Some(Target::Resource(path)) => path,
            other => panic!("{text} is {other:?}"),
        }
    }

    #[test]
    fn paths() {
        let status = path("/apis/d.io/v1/namespaces/a/devices/b/status");
        assert_eq!(
            (status.namespace.as_deref(), status.name.as_deref()),
            (Some("a"), Some("b"))
        );
        assert_eq!(status.subresource.as_deref(), Some("status"));
        let namespace = path("/api/v1/namespaces/a");
        assert_eq!(
            (namespace.plural.as_str(), namespace.name.as_deref()),
            ("namespaces", Some("a"))
        );
        assert_eq!(
            path("/api/v1/namespaces/a/finalize").subresource.as_deref(),
            Some("finalize")
        );
        assert_eq!(path("/api/v1/namespaces/a/configmaps").plural, "configmaps");
        assert_eq!(path("/api/v1/nodes/n%2F1").name.as_deref(), Some("n/1"));
        assert_eq!(Target::parse("/api/v1/nodes/n/a/b/c"), None);
    }

    #[test]
    fn queries_as_clients_write_them() {
        let params = Params::parse(
            "&labelSelector=app+in+%28x%2Cy%29%2C%21z&limit=500&watch=true&continue=",
        );
        assert_eq!(params.get("labelSelector"), Some("app in (x,y),!z"));
        assert_eq!(params.number("limit"), Some(500));
        assert!(params.flag("watch"));
        assert_eq!(params.get("continue"), None);
    }
}

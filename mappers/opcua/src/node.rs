//! Names of nodes: by id or by browse path, with namespaces by index or by URI.

use std::{collections::HashMap, fmt, str::FromStr};

use opcua::types::{
    Identifier, NodeId, QualifiedName, RelativePath, RelativePathElement, UAString,
};

/// The `HierarchicalReferences` type (Part 6, annex A): what browse paths follow.
const HIERARCHICAL_REFERENCES: u32 = 33;
/// The root folder (Part 6, annex A), where absolute browse paths begin.
const ROOT: u32 = 84;
/// Folders right below the root, which are always in namespace 0.
const STANDARD_FOLDERS: [&str; 3] = ["Objects", "Types", "Views"];

/// A namespace as a configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// Its index in the server's NamespaceArray, which may change with a restart.
    Index(u16),
    /// Its URI, looked up in the NamespaceArray after each connecting.
    Uri(String),
}

/// A node id whose namespace is not yet looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeName {
    /// The namespace.
    pub namespace: Namespace,
    /// The identifier in it.
    pub identifier: Identifier,
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The node, or where the path begins.
    pub start: NodeName,
    /// Browse names from there on; empty for the node itself.
    pub steps: Vec<(Namespace, String)>,
}

/// The namespaces of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces(Vec<String>);

/// Why a node cannot be named on this server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server has no namespace `{uri}`; it has {known}")]
pub struct UnknownNamespace {
    uri: String,
    known: String,
}

impl Namespaces {
    /// The NamespaceArray of a server.
    pub fn new(uris: Vec<String>) -> Self {
        Self(uris)
    }

    /// The index of a namespace.
    ///
    /// # Errors
    /// The server does not have it.
    pub fn index(&self, namespace: &Namespace) -> Result<u16, UnknownNamespace> {
        let uri = match namespace {
            Namespace::Index(index) => return Ok(*index),
            Namespace::Uri(uri) => uri,
        };
        let found = self.0.iter().position(|known| known == uri);
        found
            .and_then(|index| u16::try_from(index).ok())
            .ok_or_else(|| UnknownNamespace {
                uri: uri.clone(),
                known: self.0.join(", "),
            })
    }

    /// The URI of an index.
    pub fn uri(&self, index: u16) -> Option<&str> {
        self.0.get(usize::from(index)).map(String::as_str)
    }

    /// A node id as text, with the namespace by URI where the server names it.
    pub fn text(&self, node: &NodeId) -> String {
        match self.uri(node.namespace) {
            _ if node.namespace == 0 => node.identifier.to_string(),
            Some(uri) => {
                let uri = uri.replace('%', "%25").replace(';', "%3B");
                format!("nsu={uri};{}", node.identifier)
            }
            None => node.to_string(),
        }
    }
}

impl NodeName {
    /// A node of namespace 0.
    pub fn standard(id: u32) -> Self {
        Self {
            namespace: Namespace::Index(0),
            identifier: Identifier::Numeric(id),
        }
    }

    /// Reads `i=85`, `ns=2;s=Machine.Temp` or `nsu=http://vendor/ns;s=Machine.Temp`
    /// (Part 6, section 5.3.1.10); without a namespace it is `default`.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(text: &str, default: &Namespace) -> Result<Self, String> {
        // What stands behind belongs to the name: a text may end with blanks.
        let text = text.trim_start();
        let (namespace, identifier) = if let Some(rest) = text.strip_prefix("nsu=") {
            // A URI may hold `;` only escaped (%3B).
            let (uri, rest) = rest
                .split_once(';')
                .ok_or("no identifier behind the namespace; write nsu=URI;s=NAME")?;
            let uri = uri.replace("%3B", ";").replace("%25", "%");
            (Namespace::Uri(uri), rest)
        } else if let Some(rest) = text.strip_prefix("ns=") {
            let (index, rest) = rest
                .split_once(';')
                .ok_or("no identifier behind the namespace; write ns=2;s=NAME")?;
            let index = index
                .trim()
                .parse()
                .map_err(|_| format!("`{index}` is not a namespace index (0…65535)"))?;
            (Namespace::Index(index), rest)
        } else {
            (default.clone(), text)
        };
        Ok(Self {
            namespace,
            identifier: identifier_of(identifier)?,
        })
    }

    /// The node id on this server.
    ///
    /// # Errors
    /// The server does not have the namespace.
    pub fn resolve(&self, namespaces: &Namespaces) -> Result<NodeId, UnknownNamespace> {
        Ok(NodeId {
            namespace: namespaces.index(&self.namespace)?,
            identifier: self.identifier.clone(),
        })
    }
}

fn identifier_of(text: &str) -> Result<Identifier, String> {
    let wrong = |what: &str| format!("`{text}` is not an identifier: {what}");
    let Some((kind, value)) = text.split_once('=') else {
        return Err(wrong("write i=NUMBER, s=NAME, g=GUID or b=BASE64"));
    };
    match kind {
        "i" => value
            .trim()
            .parse()
            .map(Identifier::Numeric)
            .map_err(|_| wrong("i= takes a number up to 4294967295")),
        "s" if value.is_empty() => Err(wrong("the name is empty")),
        "s" => Ok(Identifier::String(UAString::from(value))),
        "g" | "b" => Identifier::from_str(text.trim_end())
            .map_err(|_| wrong("g= takes a GUID, b= takes base64")),
        _ => Err(wrong("write i=NUMBER, s=NAME, g=GUID or b=BASE64")),
    }
}

impl Place {
    /// A node by its id.
    pub fn node(node: NodeName) -> Self {
        Self {
            start: node,
            steps: Vec::new(),
        }
    }

    /// Reads a browse path: `/Objects/2:Machine/3:Temp` from the root, or
    /// `2:Temp` from `start`. An element without index is in `default`, except
    /// the standard folders at the root. `&` takes the next character as it is
    /// (Part 4, annex A.2).
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn path(text: &str, start: Option<NodeName>, default: &Namespace) -> Result<Self, String> {
        let absolute = text.starts_with('/');
        let start = match (start, absolute) {
            (Some(start), _) => start,
            (None, true) => NodeName::standard(ROOT),
            (None, false) => {
                return Err(format!(
                    "`{text}` does not begin with `/`; write /Objects/…, or name the node that it begins at"
                ));
            }
        };
        let from_root = start == NodeName::standard(ROOT);
        let mut steps = Vec::new();
        for (element, name_at) in elements(text.trim_start_matches('/')) {
            if element.is_empty() {
                return Err(format!("`{text}` has an empty element"));
            }
            let (namespace, name) = match name_at {
                Some(at) => {
                    let index = element[..at].parse().map_err(|_| {
                        format!(
                            "`{}` is not a namespace index; write `&:` for a colon in a name",
                            &element[..at]
                        )
                    })?;
                    (Namespace::Index(index), element[at..].to_owned())
                }
                None if from_root
                    && steps.is_empty()
                    && STANDARD_FOLDERS.contains(&element.as_str()) =>
                {
                    (Namespace::Index(0), element)
                }
                None => (default.clone(), element),
            };
            steps.push((namespace, name));
        }
        Ok(Self { start, steps })
    }

    /// The browse path on this server; `None` for a node by its id.
    ///
    /// # Errors
    /// The server does not have a namespace.
    pub fn relative_path(
        &self,
        namespaces: &Namespaces,
    ) -> Result<Option<RelativePath>, UnknownNamespace> {
        if self.steps.is_empty() {
            return Ok(None);
        }
        let elements: Result<Vec<_>, _> = self
            .steps
            .iter()
            .map(|(namespace, name)| {
                Ok(RelativePathElement {
                    reference_type_id: NodeId::new(0, HIERARCHICAL_REFERENCES),
                    is_inverse: false,
                    include_subtypes: true,
                    target_name: QualifiedName {
                        namespace_index: namespaces.index(namespace)?,
                        name: UAString::from(name.as_str()),
                    },
                })
            })
            .collect();
        Ok(Some(RelativePath {
            elements: Some(elements?),
        }))
    }
}

/// The elements of a path without their escapes, and where the name begins
/// behind `INDEX:` (then the colon is gone).
fn elements(path: &str) -> Vec<(String, Option<usize>)> {
    let mut all = Vec::new();
    let (mut element, mut name_at, mut escaped) = (String::new(), None, false);
    for character in path.chars() {
        match character {
            _ if escaped => {
                element.push(character);
                escaped = false;
            }
            '&' => escaped = true,
            '/' => all.push((std::mem::take(&mut element), name_at.take())),
            // A second colon belongs to the name.
            ':' if name_at.is_none() => name_at = Some(element.len()),
            _ => element.push(character),
        }
    }
    all.push((element, name_at));
    all
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "ns={index}"),
            Self::Uri(uri) => write!(f, "nsu={uri}"),
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace != Namespace::Index(0) {
            write!(f, "{};", self.namespace)?;
        }
        write!(f, "{}", self.identifier)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.start != NodeName::standard(ROOT) || self.steps.is_empty() {
            write!(f, "{}", self.start)?;
        }
        for (namespace, name) in &self.steps {
            match namespace {
                Namespace::Index(0) | Namespace::Uri(_) => write!(f, "/{name}")?,
                Namespace::Index(index) => write!(f, "/{index}:{name}")?,
            }
        }
        Ok(())
    }
}

/// Node ids that were found for browse paths, on one connection.
#[derive(Debug, Default)]
pub(crate) struct Resolved(HashMap<Place, NodeId>);

impl Resolved {
    pub(crate) fn get(&self, place: &Place) -> Option<&NodeId> {
        self.0.get(place)
    }

    pub(crate) fn put(&mut self, place: Place, node: NodeId) {
        self.0.insert(place, node);
    }

    /// The server does not know the node any more: look again.
    pub(crate) fn forget(&mut self, place: &Place) {
        self.0.remove(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: Namespace = Namespace::Index(0);

    #[test]
    fn node_ids_are_read_as_the_specification_writes_them() {
        for (text, namespace, identifier) in [
            ("i=2258", ZERO, Identifier::Numeric(2258)),
            (
                "ns=2;s=Machine.Temp",
                Namespace::Index(2),
                Identifier::String("Machine.Temp".into()),
            ),
            (
                "ns=3;s=\"DB\".\"a;b=c\"",
                Namespace::Index(3),
                Identifier::String("\"DB\".\"a;b=c\"".into()),
            ),
            (
                "nsu=http://vendor/ns?a=b;i=7",
                Namespace::Uri("http://vendor/ns?a=b".into()),
                Identifier::Numeric(7),
            ),
            (
                "nsu=urn:a%3Bb;i=7",
                Namespace::Uri("urn:a;b".into()),
                Identifier::Numeric(7),
            ),
        ] {
            let name = NodeName::parse(text, &ZERO).expect(text);
            assert_eq!((name.namespace, name.identifier), (namespace, identifier));
        }
        for text in [
            "", "Machine", "ns=2", "ns=x;i=1", "i=-1", "s=", "g=12", "x=1",
        ] {
            assert!(NodeName::parse(text, &ZERO).is_err(), "{text}");
        }
    }

    #[test]
    fn a_namespace_by_uri_follows_its_index() {
        let name = NodeName::parse("nsu=urn:b;i=7", &ZERO).expect("reads");
        let at = |uris: &[&str]| {
            let namespaces = Namespaces::new(uris.iter().map(|uri| (*uri).to_owned()).collect());
            name.resolve(&namespaces)
        };
        assert_eq!(
            at(&["urn:0", "urn:a", "urn:b"])
                .expect("is there")
                .namespace,
            2
        );
        assert_eq!(
            at(&["urn:0", "urn:b", "urn:a"])
                .expect("is there")
                .namespace,
            1
        );
        assert_eq!(
            at(&["urn:0", "urn:a"]).expect_err("is gone").to_string(),
            "the server has no namespace `urn:b`; it has urn:0, urn:a"
        );
    }

    #[test]
    fn what_is_shown_is_read_back() {
        let uris = ["urn:0", "urn:a;b%c", "urn:b"].map(str::to_owned);
        let namespaces = Namespaces::new(uris.to_vec());
        for (namespace, name) in [(1, "a;b%3B=c "), (2, " x  "), (0, "50%25")] {
            let node = NodeId::new(namespace, UAString::from(name));
            let text = namespaces.text(&node);
            let back = NodeName::parse(&text, &ZERO).expect("reads");
            assert_eq!(back.resolve(&namespaces), Ok(node), "{text}");
        }
    }

    #[test]
    fn browse_paths_know_indexes_defaults_and_escapes() {
        let vendor = Namespace::Uri("urn:v".to_owned());
        let place =
            Place::path("/Objects/2:Machine/Te&/mp/4:a:b/c&:d", None, &vendor).expect("reads");
        assert_eq!(place.start, NodeName::standard(84));
        let steps = [
            (ZERO, "Objects"),
            (Namespace::Index(2), "Machine"),
            (vendor.clone(), "Te/mp"),
            (Namespace::Index(4), "a:b"),
            (vendor.clone(), "c:d"),
        ];
        assert_eq!(
            place.steps,
            steps.map(|(namespace, name)| (namespace, name.to_owned()))
        );
        assert!(Place::path("Machine", None, &ZERO).is_err());
        assert!(Place::path("/Objects//x", None, &ZERO).is_err());
        assert!(Place::path("/Objects/a:b", None, &ZERO).is_err());
    }
}

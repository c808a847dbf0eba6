//! Names as newtypes: what has one of these types has been checked.

use std::{fmt, str::FromStr, sync::Arc};

/// A name that Kubernetes would refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a valid {what}: {why}")]
pub struct InvalidName {
    what: &'static str,
    name: String,
    why: &'static str,
}

/// Namespace and name of a device; `default/boiler` as text. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceName {
    text: Arc<str>,
    slash: u32,
}

/// Name of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

impl DeviceName {
    /// Checks both parts: DNS-1123 label and DNS-1123 subdomain.
    pub fn new(namespace: &str, name: &str) -> Result<Self, InvalidName> {
        check("namespace", namespace, 63, false)?;
        check("device name", name, 253, true)?;
        Ok(Self {
            text: format!("{namespace}/{name}").into(),
            slash: namespace.len() as u32,
        })
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.text[..self.slash as usize]
    }

    /// The name within the namespace.
    pub fn name(&self) -> &str {
        &self.text[self.slash as usize + 1..]
    }

    /// `namespace/name`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl NodeName {
    /// Checks that it is a DNS-1123 subdomain.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check("node name", name, 253, true)?;
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DeviceName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (namespace, name) = text.split_once('/').ok_or_else(|| InvalidName {
            what: "device",
            name: text.to_owned(),
            why: "expected `namespace/name`",
        })?;
        Self::new(namespace, name)
    }
}

impl FromStr for NodeName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

fn check(what: &'static str, name: &str, max: usize, dots: bool) -> Result<(), InvalidName> {
    let refuse = |why| {
        Err(InvalidName {
            what,
            name: name.to_owned(),
            why,
        })
    };
    if name.is_empty() {
        return refuse("it is empty");
    }
    if name.len() > max {
        return refuse("it is too long");
    }
    let labels_ok = name.split('.').all(|label| {
        let bytes = label.as_bytes();
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
            && bytes.iter().all(|b| plain(b) || *b == b'-')
    });
    if !labels_ok || (!dots && name.contains('.')) {
        return refuse(
            "use lower case letters, digits and `-`, beginning and ending with a letter or digit",
        );
    }
    Ok(())
}

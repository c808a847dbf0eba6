//! Objects, what is to become of them, and what has.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

/// Where an object lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// `group/plural`, the same for all versions of a resource.
    pub resource: Arc<str>,
    /// Empty for resources of the cluster.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// A stored object.
#[derive(Clone, Debug)]
pub struct Record {
    /// The revision of its last change.
    pub revision: u64,
    /// Name.
    pub name: String,
    /// Namespace; empty for resources of the cluster.
    pub namespace: String,
    /// The object as JSON, its `resourceVersion` inside.
    pub json: Bytes,
}

impl Record {
    /// The object as a tree. Stored JSON was written by us, so a failure means
    /// the file was changed by somebody else; the object then reads as empty.
    pub fn object(&self) -> Value {
        serde_json::from_slice(&self.json).unwrap_or_else(|_| Value::Object(Default::default()))
    }
}

/// What a writer believes about the object it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is none.
    Absent,
    /// Its newest revision is this.
    At(u64),
}

/// One change.
#[derive(Debug)]
pub struct Write {
    /// Of which object.
    pub key: Key,
    /// On which state it builds.
    pub expect: Expect,
    /// The object; the log stamps the revision into it.
    pub object: Value,
    /// Whether this removes the object. `object` is then its last state.
    pub delete: bool,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is new.
    Added = 0,
    /// It changed.
    Modified = 1,
    /// It is gone.
    Deleted = 2,
}

/// One change of one object.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Of which resource.
    pub resource: Arc<str>,
    /// The object after the change; after a deletion, its last state.
    pub record: Record,
    object: OnceLock<Value>,
    previous: Option<Bytes>,
}

impl Event {
    pub(crate) fn new(
        kind: EventKind,
        resource: Arc<str>,
        record: Record,
        object: Option<Value>,
        previous: Option<Bytes>,
    ) -> Event {
        let cell = OnceLock::new();
        if let Some(object) = object {
            let _ = cell.set(object);
        }
        Event {
            kind,
            resource,
            record,
            object: cell,
            previous,
        }
    }

    /// The object after the change; after a deletion, its last state.
    pub fn object(&self) -> &Value {
        self.object.get_or_init(|| self.record.object())
    }

    /// The object before a modification, if that is known.
    pub fn previous(&self) -> Option<Value> {
        self.previous
            .as_ref()
            .and_then(|json| serde_json::from_slice(json).ok())
    }
}

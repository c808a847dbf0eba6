//! Objects, what is to become of them, and what has.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

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

/// The text of an object that is to be written: whole but for its revision, for which
/// it has a place. Who makes one knows its size, and the writer has only to copy it.
#[derive(Clone, Debug)]
pub struct Draft {
    json: Vec<u8>,
    /// Where the digits of the revision go.
    place: usize,
    pub(crate) uid: String,
    /// Uids of the owners.
    pub(crate) owners: Vec<String>,
}

impl Draft {
    /// Writes an object down.
    pub fn new(object: &Value) -> Draft {
        let mut draft = Draft {
            json: Vec::with_capacity(1024),
            place: 0,
            uid: String::new(),
            owners: Vec::new(),
        };
        let nothing = Map::new();
        draft.json.push(b'{');
        for (name, value) in object.as_object().unwrap_or(&nothing) {
            draft.name(name);
            if name == "metadata" {
                draft.metadata(value.as_object().unwrap_or(&nothing));
            } else {
                draft.value(value);
            }
        }
        if draft.place == 0 {
            draft.name("metadata");
            draft.metadata(&nothing);
        }
        draft.json.push(b'}');
        draft
    }

    /// Bytes of the text, without the revision.
    pub fn size(&self) -> usize {
        self.json.len()
    }

    fn name(&mut self, name: &str) {
        if !self.json.ends_with(b"{") {
            self.json.push(b',');
        }
        let _ = serde_json::to_writer(&mut self.json, name);
        self.json.push(b':');
    }

    fn value(&mut self, value: &Value) {
        // A tree with names as keys, into memory: nothing of it can fail.
        let _ = serde_json::to_writer(&mut self.json, value);
    }

    fn metadata(&mut self, metadata: &Map<String, Value>) {
        self.json.push(b'{');
        for (name, value) in metadata {
            if name != "resourceVersion" {
                self.name(name);
                self.value(value);
            }
        }
        self.name("resourceVersion");
        self.json.push(b'"');
        self.place = self.json.len();
        self.json.extend_from_slice(b"\"}");
        let text = |value: &Value| Some(value.as_str()?.to_owned());
        self.uid = metadata.get("uid").and_then(text).unwrap_or_default();
        let owners = metadata.get("ownerReferences").and_then(Value::as_array);
        let owners = owners.into_iter().flatten();
        self.owners = owners.filter_map(|owner| text(&owner["uid"])).collect();
    }

    /// The text as of a revision.
    pub(crate) fn stamped(&self, revision: u64) -> Bytes {
        let digits = revision.to_string();
        let (before, after) = self.json.split_at(self.place);
        [before, digits.as_bytes(), after].concat().into()
    }
}

impl From<Value> for Draft {
    fn from(object: Value) -> Self {
        Self::new(&object)
    }
}

/// One change.
#[derive(Debug)]
pub struct Write {
    /// Of which object.
    pub key: Key,
    /// On which state it builds.
    pub expect: Expect,
    /// The object; the log stamps the revision into it.
    pub object: Draft,
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
    previous: Option<Bytes>,
}

impl Event {
    pub(crate) fn new(
        kind: EventKind,
        resource: Arc<str>,
        record: Record,
        previous: Option<Bytes>,
    ) -> Event {
        Event {
            kind,
            resource,
            record,
            previous,
        }
    }

    /// The object after the change; after a deletion, its last state. It is made of the
    /// text each time: a tree takes many times the memory, and events are kept.
    pub fn object(&self) -> Value {
        self.record.object()
    }

    /// Bytes that it takes. What was before is shared with the event before, as long as
    /// that is kept.
    pub(crate) fn size(&self) -> usize {
        self.record.json.len() + self.previous.as_ref().map_or(0, Bytes::len)
    }

    /// The object before a modification, if that is known.
    pub fn previous(&self) -> Option<Value> {
        self.previous
            .as_ref()
            .and_then(|json| serde_json::from_slice(json).ok())
    }
}

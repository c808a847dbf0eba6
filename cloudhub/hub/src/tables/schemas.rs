//! The schemas of the nodes' mappers: what may stand in a Device, known here
//! also while its node is away.
//!
//! A text is known by its hash, which nobody can make another text for. Each node
//! says which one each of its mappers has, and is judged by that: nodes may run
//! different versions, and what one node sends says nothing about the devices of
//! another. A node that never said anything is judged by nobody.
//!
//! Each schema counts for the node that sent it first. A node has room for some, and
//! sends its own oldest away with more; no node's go for another's.
//!
//! Written by the sessions; read by the status writer, and by the sessions, which
//! tell the edges what need not be sent again.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use longshore_link::{SchemaReport, schema_hash};
use longshore_types::schema_check::Document;

use super::lock;
use crate::store::StoredSchema;

/// So many are kept of a node: a version or two of each of its mappers.
const OF_A_NODE: usize = 16;
/// And so many bytes of them.
const BYTES_OF_A_NODE: usize = 2 * 1024 * 1024;
/// Of all nodes together.
const BYTES: usize = 32 * 1024 * 1024;

/// One schema, ready to be held against devices.
#[derive(Debug)]
struct Schema {
    hash: u64,
    node: String,
    protocol: String,
    bytes: usize,
    document: Arc<Document>,
}

/// What is to be done with a schema that a node sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is kept, and the schemas of these hashes go for it.
    Keep(Vec<u64>),
    /// It is known.
    Known,
    /// It is larger than a node's room, or all rooms are full.
    Full,
}

/// All that are known, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Schemas(Mutex<VecDeque<Schema>>);

impl Schemas {
    /// What the store held.
    pub(crate) fn new(stored: Vec<StoredSchema>) -> Self {
        let schemas = Self::default();
        for StoredSchema { node, report } in stored {
            schemas.keep(&node, &report);
        }
        schemas
    }

    /// The hashes, for the edges.
    pub(crate) fn hashes(&self) -> Vec<u64> {
        lock(&self.0).iter().map(|schema| schema.hash).collect()
    }

    /// What a schema of a node would come to.
    pub(crate) fn admit(&self, node: &str, report: &SchemaReport) -> Admission {
        let schemas = lock(&self.0);
        let hash = schema_hash(&report.text);
        if schemas.iter().any(|known| known.hash == hash) {
            return Admission::Known;
        }
        let own: Vec<_> = schemas.iter().filter(|known| known.node == node).collect();
        let mut count = own.len();
        let mut bytes: usize = own.iter().map(|known| known.bytes).sum();
        let mut all: usize = schemas.iter().map(|known| known.bytes).sum();
        let mut gone = Vec::new();
        for oldest in own {
            if count < OF_A_NODE && bytes + report.text.len() <= BYTES_OF_A_NODE {
                break;
            }
            gone.push(oldest.hash);
            count -= 1;
            bytes -= oldest.bytes;
            all -= oldest.bytes;
        }
        if bytes + report.text.len() > BYTES_OF_A_NODE || all + report.text.len() > BYTES {
            return Admission::Full;
        }
        Admission::Keep(gone)
    }

    /// Keeps one as the newest of its node. False if it is known, has no room or is
    /// none.
    pub(crate) fn keep(&self, node: &str, report: &SchemaReport) -> bool {
        let Admission::Keep(gone) = self.admit(node, report) else {
            return false;
        };
        let Ok(document) = Document::parse(&report.text) else {
            return false;
        };
        let schema = Schema {
            hash: schema_hash(&report.text),
            node: node.to_owned(),
            protocol: report.protocol.clone(),
            bytes: report.text.len(),
            document: Arc::new(document),
        };
        let mut schemas = lock(&self.0);
        schemas.retain(|known| !gone.contains(&known.hash));
        schemas.push_back(schema);
        true
    }

    /// The schema of this hash, if it has come and is one of the protocol.
    pub(crate) fn find(&self, protocol: &str, hash: u64) -> Option<Arc<Document>> {
        let schemas = lock(&self.0);
        let found = schemas
            .iter()
            .find(|schema| schema.hash == hash && schema.protocol.eq_ignore_ascii_case(protocol));
        found.map(|schema| schema.document.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(protocol: &str, number: usize) -> SchemaReport {
        SchemaReport {
            protocol: protocol.to_owned(),
            text: format!(r#"{{"device": {{"maxProperties": {number}}}}}"#),
        }
    }

    fn hash(number: usize) -> u64 {
        schema_hash(&schema("modbus", number).text)
    }

    fn stored(node: &str, report: SchemaReport) -> StoredSchema {
        StoredSchema {
            node: node.to_owned(),
            report,
        }
    }

    #[test]
    fn the_version_that_a_node_names_counts() {
        let schemas = Schemas::new(vec![
            stored("a", schema("modbus", 1)),
            stored("b", schema("modbus", 2)),
        ]);
        let of = |number| Document::parse(&schema("modbus", number).text).unwrap();
        assert_eq!(*schemas.find("Modbus", hash(1)).unwrap(), of(1));
        assert_eq!(*schemas.find("modbus", hash(2)).unwrap(), of(2));
        assert!(schemas.find("modbus", 7).is_none(), "not here yet");
        assert!(schemas.find("opcua", hash(1)).is_none());
    }

    #[test]
    fn a_node_with_too_many_loses_its_own() {
        let schemas = Schemas::default();
        let mut broken = schema("modbus", 1);
        broken.text = "{".to_owned();
        assert!(!schemas.keep("a", &broken));
        assert!(schemas.keep("other", &schema("modbus", 10_000)));
        for number in 0..OF_A_NODE + 5 {
            assert!(schemas.keep("a", &schema("modbus", number)));
        }
        assert_eq!(schemas.hashes().len(), OF_A_NODE + 1);
        assert!(schemas.find("modbus", hash(10_000)).is_some(), "of another");
        assert!(schemas.find("modbus", hash(4)).is_none());
        assert!(schemas.find("modbus", hash(5)).is_some());
        // Sent by another node as well, it stays the first one's.
        assert_eq!(
            schemas.admit("a", &schema("modbus", 10_000)),
            Admission::Known
        );
        let mut large = schema("modbus", 1);
        large.text.push_str(&" ".repeat(BYTES_OF_A_NODE));
        assert_eq!(schemas.admit("a", &large), Admission::Full);
    }

    #[test]
    fn all_nodes_together_have_a_bound() {
        let schemas = Schemas::default();
        let large = |number| {
            let mut large = schema("modbus", number);
            large.text.push_str(&" ".repeat(BYTES_OF_A_NODE - 1000));
            large
        };
        let kept = (0..20).filter(|n| schemas.keep(&format!("n{n}"), &large(*n)));
        assert_eq!(kept.count(), BYTES / BYTES_OF_A_NODE);
    }
}

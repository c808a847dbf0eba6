//! The schemas of the nodes' mappers: what may stand in a Device, known here
//! also while its node is away.
//!
//! A text is known by its hash. Each node says which one each of its mappers
//! has, so that nodes may run different versions; a node that never said
//! anything gets the newest text of the protocol.
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
use crate::store::SCHEMAS;

/// One schema, ready to be held against devices.
#[derive(Debug)]
struct Schema {
    hash: u64,
    protocol: String,
    document: Arc<Document>,
}

/// All that are known, the oldest first; at most [`SCHEMAS`].
#[derive(Debug, Default)]
pub(crate) struct Schemas(Mutex<VecDeque<Schema>>);

impl Schemas {
    /// What the store held.
    pub(crate) fn new(stored: Vec<SchemaReport>) -> Self {
        let schemas = Self::default();
        for schema in stored {
            schemas.keep(&schema);
        }
        schemas
    }

    /// The hashes, for the edges.
    pub(crate) fn hashes(&self) -> Vec<u64> {
        lock(&self.0).iter().map(|schema| schema.hash).collect()
    }

    /// Keeps one as the newest; the oldest goes when there are too many. False
    /// if it is none.
    pub(crate) fn keep(&self, report: &SchemaReport) -> bool {
        let Ok(document) = Document::parse(&report.text) else {
            return false;
        };
        let schema = Schema {
            hash: schema_hash(&report.text),
            protocol: report.protocol.clone(),
            document: Arc::new(document),
        };
        let mut schemas = lock(&self.0);
        schemas.retain(|known| known.hash != schema.hash);
        schemas.push_back(schema);
        while schemas.len() > SCHEMAS {
            schemas.pop_front();
        }
        true
    }

    /// The schema of this hash, else the newest one of the protocol. None where
    /// the hash is known to be another one that has not come yet.
    pub(crate) fn find(&self, protocol: &str, hash: Option<u64>) -> Option<Arc<Document>> {
        let schemas = lock(&self.0);
        let mut newest_first = schemas.iter().rev();
        let found = match hash {
            Some(hash) => newest_first.find(|schema| schema.hash == hash),
            None => newest_first.find(|schema| schema.protocol.eq_ignore_ascii_case(protocol)),
        };
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

    #[test]
    fn the_node_s_own_version_counts_else_the_newest() {
        let schemas = Schemas::new(vec![schema("modbus", 1), schema("modbus", 2)]);
        let of = |number| Document::parse(&schema("modbus", number).text).unwrap();
        let hash = schema_hash(&schema("modbus", 1).text);
        assert_eq!(*schemas.find("modbus", Some(hash)).unwrap(), of(1));
        assert_eq!(*schemas.find("Modbus", None).unwrap(), of(2));
        assert!(schemas.find("modbus", Some(7)).is_none(), "not here yet");
        assert!(schemas.find("opcua", None).is_none());
        assert!(schemas.keep(&schema("modbus", 1)));
        assert_eq!(*schemas.find("modbus", None).unwrap(), of(1), "sent again");
    }

    #[test]
    fn what_is_no_schema_and_what_is_too_many_is_not_kept() {
        let schemas = Schemas::default();
        let mut broken = schema("modbus", 1);
        broken.text = "{".to_owned();
        assert!(!schemas.keep(&broken));
        for number in 0..SCHEMAS + 5 {
            schemas.keep(&schema("modbus", number));
        }
        assert_eq!(schemas.hashes().len(), SCHEMAS);
    }
}

//! What the engine is to serve, device by device.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
};

use longshore_types::EffectiveDevice;

/// What a Device object comes to.
#[derive(Debug)]
pub(crate) enum Planned {
    /// As before.
    Same,
    /// To be served.
    Serve(Box<EffectiveDevice>),
    /// Not usable as a whole: one word, and the text for people.
    Broken {
        uid: String,
        reason: &'static str,
        message: String,
    },
}

/// Fingerprints live only as long as the process, so any hasher will do.
pub(crate) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

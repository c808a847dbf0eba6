//! A second reading of the documents that the strict reader refused, so that
//! what else is wrong in them shows too.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use longshore_types::{
    Device, DeviceModel, Manifests,
    manifest::{Loaded, Place},
};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

/// Adds what can be made of the refused documents. Their faults have been
/// told; what cannot be read at all is left out.
pub(super) fn complete(manifests: &mut Manifests) {
    let mut refused: BTreeMap<Arc<Path>, BTreeMap<usize, Place>> = BTreeMap::new();
    for fault in manifests.errors() {
        let documents = refused.entry(Arc::clone(&fault.place.file)).or_default();
        documents
            .entry(fault.place.document)
            .or_insert_with(|| fault.place.clone());
    }
    for (file, documents) in refused {
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        for (number, text) in split(&text).iter().enumerate() {
            let Some(place) = documents.get(&(number + 1)) else {
                continue;
            };
            let Ok(json) = serde_saphyr::from_str::<Json>(text) else {
                continue;
            };
            match json["kind"].as_str() {
                Some("Device") => add(&mut manifests.devices, json, place, |it: &Device| {
                    &it.metadata.name
                }),
                Some("DeviceModel") => {
                    add(&mut manifests.models, json, place, |it: &DeviceModel| {
                        &it.metadata.name
                    })
                }
                _ => {}
            }
        }
    }
}

fn add<T: DeserializeOwned>(
    list: &mut Vec<Loaded<T>>,
    mut json: Json,
    place: &Place,
    name: impl Fn(&T) -> &String,
) {
    if json["metadata"]["namespace"].is_null() && json["metadata"].is_object() {
        json["metadata"]["namespace"] = "default".into();
    }
    let Ok(object) = serde_json::from_value::<T>(json) else {
        return;
    };
    let is_new = !list
        .iter()
        .any(|known| name(&known.object) == name(&object));
    if is_new && !name(&object).is_empty() {
        let place = place.clone();
        list.push(Loaded { object, place });
    }
}

/// The documents of a stream without empty ones, as the strict reader counts them.
fn split(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        let is_end = line == "---" || line == "..." || line.starts_with("--- ");
        match documents.last_mut() {
            Some(last) if !is_end => {
                last.push_str(line);
                last.push('\n');
            }
            _ => documents.push(String::new()),
        }
    }
    let is_content = |line: &str| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with(['#', '%'])
    };
    documents.retain(|document| document.lines().any(is_content));
    documents
}

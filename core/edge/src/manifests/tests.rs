use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::config::StoreConfig;

const ALL: &[&str] = &["Device", "DeviceModel"];
const MODELS: &[&str] = &["DeviceModel"];

/// A file with a model and a device of it; `pad` makes it larger.
fn file(number: usize, pad: usize) -> String {
    let name = format!("pump-{number:03}");
    let model = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel",
        "metadata": {"name": name, "annotations": {"note": "x".repeat(pad)}},
        "spec": {"protocol": "modbus", "properties": [{"name": "speed", "type": "INT", "accessMode": "ReadOnly"}]},
    });
    let device = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "metadata": {"name": name},
        "spec": {"deviceModelRef": {"name": name}, "protocol": {"protocolName": "modbus"}},
    });
    format!("{model}\n---\n{device}\n")
}

struct Node {
    folder: TempDir,
    store: StoreHandle,
}

impl Node {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("manifests")).unwrap();
        let store = StoreHandle::open(folder.path(), StoreConfig::with_outbox(1 << 20)).unwrap();
        Self { folder, store }
    }

    fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    fn put(&self, number: usize, text: &str) {
        let path = self.manifests().join(format!("{number:03}.yaml"));
        fs::write(path, text).unwrap();
    }

    async fn apply(&self) {
        let (faults, told) = watch::channel(Vec::new());
        assert!(apply(&self.manifests(), &self.store, &faults).await);
        assert!(told.borrow().is_empty(), "{:?}", told.borrow());
    }

    async fn devices(&self) -> usize {
        self.store.objects(&["Device"]).await.unwrap().len()
    }
}

/// The first devices are served before the last file is read.
#[tokio::test]
async fn a_large_folder_is_applied_in_slices() {
    let node = Node::new();
    let files = 3 * PART as usize / 50_000;
    for number in 0..files {
        node.put(number, &file(number, 50_000));
    }
    let read = read(&node.manifests(), &node.store).await.unwrap().unwrap();
    assert_eq!(read.devices.len(), files);
    // Nothing was applied but what was read while more was to come.
    let early = node.devices().await;
    assert!(early > 0 && early < files, "{early} of {files}");
    node.apply().await;
    assert_eq!(node.devices().await, files);
}

/// Flash wears, and nobody need look at what is as it was: a start, a file that was
/// touched, and a change beside it.
#[tokio::test]
async fn unchanged_manifests_are_not_written_again() {
    let node = Node::new();
    for number in 0..20 {
        node.put(number, &file(number, 20_000));
    }
    node.apply().await;
    let (all, models) = (node.store.changed(ALL), node.store.changed(MODELS));
    let database = node.folder.path().join("edge.db-wal");
    let written = || fs::metadata(&database).unwrap().len();
    let before = written();
    node.put(3, &file(3, 20_000));
    node.apply().await;
    assert!(!all.has_changed().unwrap(), "somebody was woken");
    let one = file(5, 20_000).replace(r#""protocolName":"modbus""#, r#""protocolName":"other""#);
    node.put(5, &one);
    node.apply().await;
    assert!(all.has_changed().unwrap());
    assert!(!models.has_changed().unwrap(), "only a device is another");
    // One small row: not the twenty files, which would be 400 kB.
    let grown = written() - before;
    assert!(grown < 100_000, "{grown} bytes were written");
    assert_eq!(node.devices().await, 20);
}

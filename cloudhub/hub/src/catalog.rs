//! Which objects belong to which node. Pure: watch events in, dirty things out.
//!
//! A node holds the devices bound to it and the models that they use. A model
//! that changes reaches the nodes that use it without any change of a device.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use longshore_link::{ChangeLog, Content, Epoch, LogConfig, ObjectKey};
use longshore_types::DeviceName;

/// A device as far as the hub needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceEntry {
    /// Its uid.
    pub(crate) uid: String,
    /// Its resource version.
    pub(crate) resource_version: String,
    /// The node that it is bound to; empty for none.
    pub(crate) node: String,
    /// The model that it names; empty for none.
    pub(crate) model: String,
    /// The whole object.
    pub(crate) json: Bytes,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelEntry {
    /// Its uid.
    pub(crate) uid: String,
    /// Its resource version.
    pub(crate) resource_version: String,
    /// The whole object.
    pub(crate) json: Bytes,
}

/// Namespace and name of a model.
pub(crate) type ModelKey = (String, String);

/// What a change of the catalog touches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Devices whose status must be looked at.
    pub(crate) devices: BTreeSet<DeviceName>,
    /// Nodes whose log changed.
    pub(crate) nodes: BTreeSet<String>,
    /// Devices that are gone.
    pub(crate) deleted: BTreeSet<DeviceName>,
}

/// All devices and models, and the log of each node.
#[derive(Debug)]
pub(crate) struct Catalog {
    epoch: Epoch,
    devices: HashMap<DeviceName, DeviceEntry>,
    models: HashMap<ModelKey, ModelEntry>,
    /// Who uses a model, by node.
    users: HashMap<ModelKey, HashMap<String, BTreeSet<DeviceName>>>,
    by_node: HashMap<String, BTreeSet<DeviceName>>,
    logs: HashMap<String, ChangeLog>,
    devices_known: bool,
    models_known: bool,
}

impl Catalog {
    /// An empty catalog. The logs live as long as it does, hence the epoch.
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            devices: HashMap::new(),
            models: HashMap::new(),
            users: HashMap::new(),
            by_node: HashMap::new(),
            logs: HashMap::new(),
            devices_known: false,
            models_known: false,
        }
    }

    /// Identity of the logs.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether all devices and models are known. Before that no edge may be
    /// served: what it holds and the hub does not know yet would be deleted.
    pub(crate) fn is_complete(&self) -> bool {
        self.devices_known && self.models_known
    }

    /// A device.
    pub(crate) fn device(&self, name: &DeviceName) -> Option<&DeviceEntry> {
        self.devices.get(name)
    }

    /// A model.
    pub(crate) fn model(&self, namespace: &str, name: &str) -> Option<&ModelEntry> {
        self.models.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// All devices.
    pub(crate) fn devices(&self) -> Vec<DeviceName> {
        self.devices.keys().cloned().collect()
    }

    /// The devices that are bound to a node.
    pub(crate) fn devices_of(&self, node: &str) -> Vec<DeviceName> {
        self.by_node
            .get(node)
            .map(|names| names.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Number of devices and models.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.devices.len(), self.models.len())
    }

    /// The log of a node.
    pub(crate) fn log(&mut self, node: &str) -> &mut ChangeLog {
        let epoch = self.epoch;
        self.logs
            .entry(node.to_owned())
            .or_insert_with(|| ChangeLog::new(epoch, LogConfig::default()))
    }

    /// A device is new or changed.
    pub(crate) fn put_device(&mut self, name: DeviceName, entry: DeviceEntry) -> Touched {
        let mut touched = Touched::default();
        let old = self.devices.insert(name.clone(), entry.clone());
        if old.as_ref() == Some(&entry) {
            return touched;
        }
        if let Some(old) = &old {
            self.unlink(&name, old);
        }
        self.link(&name, &entry);
        for node in [old.map(|old| old.node), Some(entry.node)]
            .into_iter()
            .flatten()
        {
            self.refresh_device(&node, &name, &mut touched);
        }
        touched.devices.insert(name);
        touched
    }

    /// A device is gone.
    pub(crate) fn delete_device(&mut self, name: &DeviceName) -> Touched {
        let mut touched = Touched::default();
        if let Some(old) = self.devices.remove(name) {
            self.unlink(name, &old);
            self.refresh_device(&old.node, name, &mut touched);
            self.refresh_model(&old.node, &model_key(name, &old.model), &mut touched);
            touched.devices.insert(name.clone());
            touched.deleted.insert(name.clone());
        }
        touched
    }

    /// These are all devices.
    pub(crate) fn replace_devices(&mut self, all: HashMap<DeviceName, DeviceEntry>) -> Touched {
        let mut touched = Touched::default();
        let gone: Vec<_> = self
            .devices
            .keys()
            .filter(|name| !all.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            touched.extend(self.delete_device(&name));
        }
        for (name, entry) in all {
            touched.extend(self.put_device(name, entry));
        }
        self.devices_known = true;
        touched
    }

    /// A model is new or changed.
    pub(crate) fn put_model(&mut self, key: ModelKey, entry: ModelEntry) -> Touched {
        let old = self.models.insert(key.clone(), entry.clone());
        if old.as_ref() == Some(&entry) {
            return Touched::default();
        }
        self.touch_users(&key)
    }

    /// A model is gone.
    pub(crate) fn delete_model(&mut self, key: &ModelKey) -> Touched {
        if self.models.remove(key).is_none() {
            return Touched::default();
        }
        self.touch_users(key)
    }

    /// These are all models.
    pub(crate) fn replace_models(&mut self, all: HashMap<ModelKey, ModelEntry>) -> Touched {
        let mut touched = Touched::default();
        let gone: Vec<_> = self
            .models
            .keys()
            .filter(|key| !all.contains_key(*key))
            .cloned()
            .collect();
        for key in gone {
            touched.extend(self.delete_model(&key));
        }
        for (key, entry) in all {
            touched.extend(self.put_model(key, entry));
        }
        self.models_known = true;
        touched
    }

    fn link(&mut self, name: &DeviceName, entry: &DeviceEntry) {
        self.users
            .entry(model_key(name, &entry.model))
            .or_default()
            .entry(entry.node.clone())
            .or_default()
            .insert(name.clone());
        self.by_node
            .entry(entry.node.clone())
            .or_default()
            .insert(name.clone());
    }

    fn unlink(&mut self, name: &DeviceName, entry: &DeviceEntry) {
        let key = model_key(name, &entry.model);
        if let Some(users) = self.users.get_mut(&key) {
            remove(users, &entry.node, name);
            if users.is_empty() {
                self.users.remove(&key);
            }
        }
        remove(&mut self.by_node, &entry.node, name);
    }

    /// The status of a model's users tells whether it exists, and what is wrong
    /// with device and model together.
    fn touch_users(&mut self, key: &ModelKey) -> Touched {
        let mut touched = Touched::default();
        let nodes: Vec<String> = self
            .users
            .get(key)
            .map(|users| users.keys().cloned().collect())
            .unwrap_or_default();
        for node in nodes {
            self.refresh_model(&node, key, &mut touched);
        }
        if let Some(users) = self.users.get(key) {
            touched.devices = users.values().flatten().cloned().collect();
        }
        touched
    }

    /// Makes a node's log say what is true of a device and its model.
    fn refresh_device(&mut self, node: &str, name: &DeviceName, touched: &mut Touched) {
        if node.is_empty() {
            return;
        }
        let bound = self
            .devices
            .get(name)
            .filter(|device| device.node == node)
            .cloned();
        let key = ObjectKey {
            kind: "Device".to_owned(),
            namespace: name.namespace().to_owned(),
            name: name.name().to_owned(),
        };
        let changed = match &bound {
            Some(device) => {
                let content = Content {
                    uid: device.uid.clone(),
                    resource_version: device.resource_version.clone(),
                    json: device.json.clone(),
                };
                self.log(node).put(key, content)
            }
            None => self.log(node).delete(&key),
        };
        if changed {
            touched.nodes.insert(node.to_owned());
        }
        if let Some(device) = bound {
            self.refresh_model(node, &model_key(name, &device.model), touched);
        }
        self.drop_unused_models(node, name.namespace(), touched);
    }

    fn refresh_model(&mut self, node: &str, key: &ModelKey, touched: &mut Touched) {
        if node.is_empty() || key.1.is_empty() {
            return;
        }
        let used = self.is_used(node, key);
        let content = self.models.get(key).filter(|_| used).map(|model| Content {
            uid: model.uid.clone(),
            resource_version: model.resource_version.clone(),
            json: model.json.clone(),
        });
        let object = model_object(key);
        let changed = match content {
            Some(content) => self.log(node).put(object, content),
            None => self.log(node).delete(&object),
        };
        if changed {
            touched.nodes.insert(node.to_owned());
        }
    }

    fn is_used(&self, node: &str, key: &ModelKey) -> bool {
        self.users
            .get(key)
            .is_some_and(|users| users.contains_key(node))
    }

    /// A device that left, or took another model, may have been the last user.
    fn drop_unused_models(&mut self, node: &str, namespace: &str, touched: &mut Touched) {
        let held = self.log(node).names("DeviceModel", namespace);
        for name in held {
            let key = (namespace.to_owned(), name);
            if !self.is_used(node, &key) {
                self.refresh_model(node, &key, touched);
            }
        }
    }
}

impl Touched {
    /// Both together.
    pub(crate) fn extend(&mut self, other: Self) {
        self.devices.extend(other.devices);
        self.nodes.extend(other.nodes);
        self.deleted.extend(other.deleted);
    }
}

fn model_key(device: &DeviceName, model: &str) -> ModelKey {
    (device.namespace().to_owned(), model.to_owned())
}

fn model_object((namespace, name): &ModelKey) -> ObjectKey {
    ObjectKey {
        kind: "DeviceModel".to_owned(),
        namespace: namespace.clone(),
        name: name.clone(),
    }
}

fn remove(map: &mut HashMap<String, BTreeSet<DeviceName>>, key: &str, name: &DeviceName) {
    if let Some(names) = map.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_link::Reading;

    fn name(text: &str) -> DeviceName {
        DeviceName::new("default", text).unwrap()
    }

    fn device(version: u32, node: &str, model: &str) -> DeviceEntry {
        DeviceEntry {
            uid: "u".to_owned(),
            resource_version: version.to_string(),
            node: node.to_owned(),
            model: model.to_owned(),
            json: Bytes::from_static(b"{}"),
        }
    }

    fn model(version: u32) -> ModelEntry {
        ModelEntry {
            uid: "m".to_owned(),
            resource_version: version.to_string(),
            json: Bytes::from_static(b"{}"),
        }
    }

    fn key(text: &str) -> ModelKey {
        ("default".to_owned(), text.to_owned())
    }

    fn held(catalog: &mut Catalog, node: &str) -> Vec<String> {
        let part = catalog.log(node).read_snapshot(None, usize::MAX);
        part.changes
            .iter()
            .map(|change| format!("{}/{}", change.key.kind, change.key.name))
            .collect()
    }

    #[test]
    fn a_node_holds_its_devices_and_their_models() {
        let mut catalog = Catalog::new(Epoch(1));
        catalog.put_device(name("a"), device(1, "n1", "boiler"));
        assert_eq!(
            held(&mut catalog, "n1"),
            ["Device/a"],
            "the model is not there yet"
        );
        let touched = catalog.put_model(key("boiler"), model(2));
        assert!(
            touched.devices.contains(&name("a")),
            "its status says so no more"
        );
        assert_eq!(held(&mut catalog, "n1"), ["Device/a", "DeviceModel/boiler"]);

        let touched = catalog.put_model(key("boiler"), model(3));
        assert_eq!(touched.nodes.len(), 1, "a changed model reaches the node");
        assert!(touched.devices.contains(&name("a")), "it may not fit now");

        catalog.put_device(name("a"), device(4, "n2", "boiler"));
        assert!(held(&mut catalog, "n1").is_empty());
        assert_eq!(held(&mut catalog, "n2"), ["Device/a", "DeviceModel/boiler"]);

        catalog.put_device(name("a"), device(5, "n2", "meter"));
        assert_eq!(held(&mut catalog, "n2"), ["Device/a"]);
        catalog.put_model(key("meter"), model(6));
        let touched = catalog.delete_device(&name("a"));
        assert!(touched.deleted.contains(&name("a")));
        assert!(held(&mut catalog, "n2").is_empty());
    }

    #[test]
    fn a_relist_changes_only_what_changed() {
        let mut catalog = Catalog::new(Epoch(1));
        let all = HashMap::from([
            (name("a"), device(1, "n1", "boiler")),
            (name("b"), device(2, "n1", "boiler")),
        ]);
        catalog.replace_devices(all.clone());
        catalog.replace_models(HashMap::from([(key("boiler"), model(3))]));
        assert!(catalog.is_complete());
        let head = catalog.log("n1").head();
        assert_eq!(catalog.replace_devices(all), Touched::default());
        assert_eq!(catalog.log("n1").head(), head);
        catalog.replace_devices(HashMap::from([(name("b"), device(2, "n1", "boiler"))]));
        let Reading::Changes { changes, .. } = catalog.log("n1").read_after(head, usize::MAX)
        else {
            panic!("the log reaches back");
        };
        assert_eq!(changes.len(), 1);
        assert_eq!(held(&mut catalog, "n1"), ["Device/b", "DeviceModel/boiler"]);
    }
}

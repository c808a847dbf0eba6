//! Which objects belong to which node. Pure: what the watches see goes in,
//! what it touches comes out.
//!
//! Written by the watches; read by the status writer (what a device is), the
//! sessions (whose it is) and the metrics.
//!
//! A node holds the objects that are bound to it and those that they need. An
//! object that is needed reaches the nodes of its users, without any change of
//! these. What the kinds are is no matter here, see [`crate::kinds`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use longshore_link::{Content, MAX_OBJECT_BYTES, ObjectKey};

use super::logs::LogChange;
use crate::kinds::{Kind, Object, Status};

/// What a change of the catalog touches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Objects whose status must be looked at.
    pub(crate) statuses: BTreeSet<ObjectKey>,
    /// What the nodes should hold now.
    pub(crate) logs: Vec<LogChange>,
}

/// All objects of the kinds that go to edges.
#[derive(Debug)]
pub(crate) struct Catalog {
    kinds: &'static [Kind],
    objects: BTreeMap<ObjectKey, Object>,
    by_node: HashMap<String, BTreeSet<ObjectKey>>,
    /// Who needs an object, by node.
    users: HashMap<ObjectKey, HashMap<String, BTreeSet<ObjectKey>>>,
    /// Kinds that were never listed since the start.
    unlisted: HashSet<&'static str>,
}

impl Catalog {
    /// An empty catalog, which waits for a listing of each kind.
    pub(crate) fn new(kinds: &'static [Kind]) -> Self {
        Self {
            kinds,
            objects: BTreeMap::new(),
            by_node: HashMap::new(),
            users: HashMap::new(),
            unlisted: kinds.iter().map(|kind| kind.name).collect(),
        }
    }

    /// Whether every kind was listed. Before that no edge may be served: what it
    /// holds and the hub does not know yet would be deleted.
    pub(crate) fn is_complete(&self) -> bool {
        self.unlisted.is_empty()
    }

    /// An object.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key)
    }

    /// All objects of a kind.
    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &ObjectKey> {
        let first = ObjectKey {
            kind: kind.to_owned(),
            namespace: String::new(),
            name: String::new(),
        };
        let kind = kind.to_owned();
        let keys = self.objects.range(first..).map(|(key, _)| key);
        keys.take_while(move |key| key.kind == kind)
    }

    /// The objects that are bound to a node.
    pub(crate) fn bound_to(&self, node: &str) -> impl Iterator<Item = &ObjectKey> {
        self.by_node.get(node).into_iter().flatten()
    }

    /// An object is new or changed.
    pub(crate) fn put(&mut self, key: ObjectKey, object: Object) -> Touched {
        if self.objects.get(&key) == Some(&object) {
            return Touched::default();
        }
        let old = self.objects.insert(key.clone(), object.clone());
        self.link(&key, &object);
        self.changed(&key, [old.as_ref(), Some(&object)])
    }

    /// An object is gone.
    pub(crate) fn delete(&mut self, key: &ObjectKey) -> Touched {
        match self.objects.remove(key) {
            Some(old) => self.changed(key, [Some(&old), None]),
            None => Touched::default(),
        }
    }

    /// These are all objects of a kind.
    pub(crate) fn replace(
        &mut self,
        kind: &'static str,
        all: HashMap<ObjectKey, Object>,
    ) -> Touched {
        let mut touched = Touched::default();
        let gone = self.of_kind(kind).filter(|key| !all.contains_key(key));
        for key in gone.cloned().collect::<Vec<_>>() {
            touched.extend(self.delete(&key));
        }
        for (key, object) in all {
            touched.extend(self.put(key, object));
        }
        if self.unlisted.remove(kind) && self.unlisted.is_empty() {
            touched.logs = vec![LogChange::All(self.content())];
        }
        touched
    }

    /// Tells what follows from a change of an object; the new one is linked
    /// already, the old one is unlinked here.
    fn changed(&mut self, key: &ObjectKey, [old, new]: [Option<&Object>; 2]) -> Touched {
        if let Some(old) = old {
            self.unlink(key, old, new);
        }
        // Each pair of a node and an object of which the one may now hold the
        // other, or may no more.
        let mut pairs = BTreeSet::new();
        for side in [old, new].into_iter().flatten() {
            for object in std::iter::once(key).chain(&side.needs) {
                pairs.insert((side.node.as_str(), object));
            }
        }
        let users = self.users.get(key);
        for node in users.into_iter().flat_map(HashMap::keys) {
            pairs.insert((node.as_str(), key));
        }
        let logs = pairs
            .into_iter()
            .filter(|(node, _)| !node.is_empty() && self.is_complete())
            .map(|(node, key)| LogChange::One {
                node: node.to_owned(),
                key: key.clone(),
                content: self.content_for(node, key),
            })
            .collect();
        let users = users.into_iter().flat_map(HashMap::values).flatten();
        let statuses = std::iter::once(key)
            .chain(users)
            .filter(|key| self.has_status(key))
            .cloned()
            .collect();
        Touched { statuses, logs }
    }

    fn link(&mut self, key: &ObjectKey, object: &Object) {
        let node = &object.node;
        let bound = self.by_node.entry(node.clone()).or_default();
        bound.insert(key.clone());
        for needed in &object.needs {
            let users = self.users.entry(needed.clone()).or_default();
            let of_node = users.entry(node.clone()).or_default();
            of_node.insert(key.clone());
        }
    }

    /// Takes away what linked the old object and does not link the new one.
    fn unlink(&mut self, key: &ObjectKey, old: &Object, new: Option<&Object>) {
        let new = new.filter(|new| new.node == old.node);
        if new.is_none() {
            remove(&mut self.by_node, &old.node, key);
        }
        for needed in &old.needs {
            if new.is_some_and(|new| new.needs.contains(needed)) {
                continue;
            }
            if let Some(users) = self.users.get_mut(needed) {
                remove(users, &old.node, key);
                if users.is_empty() {
                    self.users.remove(needed);
                }
            }
        }
    }

    /// What a node should hold of an object; none if it should not.
    fn content_for(&self, node: &str, key: &ObjectKey) -> Option<Content> {
        let object = self.objects.get(key)?;
        let users = self.users.get(key);
        let holds = object.node == node || users.is_some_and(|users| users.contains_key(node));
        (holds && fits(object)).then(|| object.content.clone())
    }

    /// What all nodes should hold.
    fn content(&self) -> HashMap<String, Vec<(ObjectKey, Content)>> {
        let nodes = self.by_node.iter().filter(|(node, _)| !node.is_empty());
        let content = nodes.map(|(node, bound)| {
            let needs = bound.iter().flat_map(|key| &self.objects[key].needs);
            let keys: BTreeSet<_> = bound.iter().chain(needs).collect();
            let objects = keys.into_iter().filter_map(|key| {
                let object = self.objects.get(key).filter(|object| fits(object))?;
                Some((key.clone(), object.content.clone()))
            });
            (node.clone(), objects.collect())
        });
        content.collect()
    }

    fn has_status(&self, key: &ObjectKey) -> bool {
        let mut kinds = self.kinds.iter();
        kinds.any(|kind| kind.name == key.kind && kind.status != Status::None)
    }
}

/// Whether an object fits a message of the link. One that does not would break the
/// connection of its node again and again; the node does without it, and its status
/// says so.
fn fits(object: &Object) -> bool {
    object.content.json.len() <= MAX_OBJECT_BYTES
}

impl Touched {
    fn extend(&mut self, other: Self) {
        self.statuses.extend(other.statuses);
        self.logs.extend(other.logs);
    }
}

fn remove(map: &mut HashMap<String, BTreeSet<ObjectKey>>, node: &str, key: &ObjectKey) {
    if let Some(keys) = map.get_mut(node) {
        keys.remove(key);
        if keys.is_empty() {
            map.remove(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{kinds::made_up, store::KeptLogs, tables::logs::Logs};

    /// A catalog and the logs that follow it.
    struct Followed {
        catalog: Catalog,
        logs: Logs,
    }

    impl Followed {
        /// Nothing is listed yet.
        fn new() -> Self {
            Self {
                catalog: Catalog::new(&made_up::TABLE),
                logs: Logs::new(KeptLogs::default()),
            }
        }

        /// Everything is listed, and there is nothing.
        fn listed() -> Self {
            let mut followed = Self::new();
            for kind in made_up::TABLE.iter() {
                followed.change(|catalog| catalog.replace(kind.name, HashMap::new()));
            }
            assert!(followed.catalog.is_complete());
            followed
        }

        fn change(&mut self, change: impl FnOnce(&mut Catalog) -> Touched) -> Touched {
            let mut touched = change(&mut self.catalog);
            self.logs.apply_at_once(std::mem::take(&mut touched.logs));
            touched
        }

        fn put(&mut self, (key, object): (ObjectKey, Object)) -> Touched {
            self.change(|catalog| catalog.put(key, object))
        }
    }

    /// An object as a watch would bring it.
    fn object(
        kind: &str,
        name: &str,
        version: u32,
        spec: serde_json::Value,
    ) -> (ObjectKey, Object) {
        let mut kinds = made_up::TABLE.iter();
        let kind = kinds.find(|row| row.name == kind).unwrap();
        let object = json!({
            "metadata": {"name": name, "namespace": "default", "resourceVersion": version.to_string()},
            "spec": spec,
        });
        kind.take(serde_json::from_value(object).unwrap())
    }

    fn device(name: &str, version: u32, node: &str, model: &str) -> (ObjectKey, Object) {
        let spec = json!({"nodeName": node, "deviceModelRef": {"name": model}});
        object("Device", name, version, spec)
    }

    fn model(name: &str, version: u32) -> (ObjectKey, Object) {
        object("DeviceModel", name, version, json!({}))
    }

    #[test]
    fn a_node_holds_its_devices_and_their_models() {
        let mut hub = Followed::listed();
        let a = device("a", 1, "n1", "boiler").0;
        hub.put(device("a", 1, "n1", "boiler"));
        assert_eq!(hub.logs.held("n1"), ["Device/a@1"], "there is no model yet");
        let touched = hub.put(model("boiler", 2));
        assert!(touched.statuses.contains(&a), "its status says so no more");
        assert_eq!(hub.logs.held("n1"), ["Device/a@1", "DeviceModel/boiler@2"]);

        let touched = hub.put(model("boiler", 3));
        assert!(touched.statuses.contains(&a), "it may not fit now");
        assert_eq!(hub.logs.held("n1"), ["Device/a@1", "DeviceModel/boiler@3"]);

        hub.put(device("a", 4, "n2", "boiler"));
        assert!(hub.logs.held("n1").is_empty());
        assert_eq!(hub.logs.held("n2"), ["Device/a@4", "DeviceModel/boiler@3"]);

        hub.put(device("a", 5, "n2", "meter"));
        assert_eq!(hub.logs.held("n2"), ["Device/a@5"]);
        hub.put(model("meter", 6));
        let touched = hub.change(|catalog| catalog.delete(&a));
        assert_eq!(touched.statuses, BTreeSet::from([a]));
        assert!(hub.logs.held("n2").is_empty());
    }

    #[test]
    fn what_fits_no_message_of_the_link_is_left_out_and_the_rest_goes_on() {
        let large = |version| {
            let (key, mut object) = device("large", version, "n1", "boiler");
            object.content.json = vec![b' '; MAX_OBJECT_BYTES + 1].into();
            (key, object)
        };
        let mut hub = Followed::listed();
        hub.put(device("large", 1, "n1", "boiler"));
        hub.put(large(2));
        hub.put(device("small", 3, "n1", "boiler"));
        assert_eq!(hub.logs.held("n1"), ["Device/small@3"]);
        // So it is for a hub that starts.
        let mut later = Followed::new();
        let all = HashMap::from([large(2), device("small", 3, "n1", "boiler")]);
        for kind in made_up::TABLE.iter() {
            let all = if kind.name == "Device" {
                all.clone()
            } else {
                HashMap::new()
            };
            later.change(|catalog| catalog.replace(kind.name, all));
        }
        assert_eq!(later.logs.held("n1"), ["Device/small@3"]);
        hub.put(device("large", 4, "n1", "boiler"));
        assert_eq!(hub.logs.held("n1"), ["Device/large@4", "Device/small@3"]);
    }

    #[test]
    fn a_relist_changes_only_what_changed() {
        let mut hub = Followed::listed();
        let all = HashMap::from([
            device("a", 1, "n1", "boiler"),
            device("b", 2, "n1", "boiler"),
        ]);
        hub.change(|catalog| catalog.replace("Device", all.clone()));
        hub.change(|catalog| catalog.replace("DeviceModel", HashMap::from([model("boiler", 3)])));
        let touched = hub.catalog.replace("Device", all);
        assert_eq!(touched, Touched::default());
        let rest = HashMap::from([device("b", 2, "n1", "boiler")]);
        hub.change(|catalog| catalog.replace("Device", rest));
        assert_eq!(hub.logs.held("n1"), ["Device/b@2", "DeviceModel/boiler@3"]);
    }

    /// A log that outlived the hub holds what nobody binds any more, and what is
    /// not listed yet.
    #[test]
    fn nothing_is_written_before_everything_is_listed() {
        let mut hub = Followed::new();
        let left = [device("a", 1, "n1", "boiler"), device("gone", 1, "n2", "")];
        for (key, object) in left {
            let (node, content) = (object.node, Some(object.content));
            hub.logs
                .apply_at_once(vec![LogChange::One { node, key, content }]);
        }
        hub.change(|catalog| catalog.replace("DeviceModel", HashMap::from([model("boiler", 2)])));
        hub.put(model("meter", 3));
        hub.change(|catalog| catalog.replace("Widget", HashMap::new()));
        hub.change(|catalog| catalog.replace("WidgetClass", HashMap::new()));
        assert_eq!(hub.logs.held("n2"), ["Device/gone@1"]);
        let devices = HashMap::from([device("a", 1, "n1", "boiler")]);
        hub.change(|catalog| catalog.replace("Device", devices));
        assert_eq!(hub.logs.held("n1"), ["Device/a@1", "DeviceModel/boiler@2"]);
        assert!(hub.logs.held("n2").is_empty());
    }

    const NAMES: [&str; 3] = ["a", "b", "c"];
    const NODES: [&str; 3] = ["", "n1", "n2"];

    #[derive(Debug, Clone)]
    enum Step {
        Put((ObjectKey, Object)),
        Delete(ObjectKey),
        Relist(&'static str, Vec<(ObjectKey, Object)>),
    }

    fn any_of(kind: &'static str) -> impl Strategy<Value = (ObjectKey, Object)> {
        use proptest::{sample::select, sample::subsequence};
        let (name, node) = (select(&NAMES[..]), select(&NODES[..]));
        let needs = subsequence(NAMES.to_vec(), 0..=2);
        (name, node, needs, 0..3_u32).prop_map(move |(name, node, needs, version)| {
            let spec = json!({
                "nodeName": node, "deviceModelRef": {"name": needs.first()},
                "on": node, "classes": needs,
            });
            object(kind, name, version, spec)
        })
    }

    fn step() -> impl Strategy<Value = Step> {
        let kinds: Vec<_> = made_up::TABLE.iter().map(|kind| kind.name).collect();
        proptest::sample::select(kinds).prop_flat_map(|kind| {
            prop_oneof![
                6 => any_of(kind).prop_map(Step::Put),
                2 => any_of(kind).prop_map(|(key, _)| Step::Delete(key)),
                1 => proptest::collection::vec(any_of(kind), 0..4)
                    .prop_map(move |all| Step::Relist(kind, all)),
            ]
        })
    }

    /// What a node should hold, the long way round.
    fn expected(objects: &BTreeMap<ObjectKey, Object>, node: &str) -> Vec<String> {
        let bound = objects.iter().filter(|(_, object)| object.node == node);
        let keys: BTreeSet<&ObjectKey> = bound
            .flat_map(|(key, object)| std::iter::once(key).chain(&object.needs))
            .collect();
        let held = keys.into_iter().filter_map(|key| {
            let version = &objects.get(key)?.content.resource_version;
            Some(format!("{}/{}@{version}", key.kind, key.name))
        });
        held.collect()
    }

    proptest! {
        #[test]
        fn a_node_s_log_holds_what_is_bound_to_it_and_what_that_needs(
            listed in any::<bool>(),
            steps in proptest::collection::vec(step(), 1..60),
        ) {
            let mut hub = if listed { Followed::listed() } else { Followed::new() };
            let mut objects = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put((key, object)) => {
                        objects.insert(key.clone(), object.clone());
                        hub.put((key, object));
                    }
                    Step::Delete(key) => {
                        objects.remove(&key);
                        hub.change(|catalog| catalog.delete(&key));
                    }
                    Step::Relist(kind, all) => {
                        objects.retain(|key, _| key.kind != kind);
                        objects.extend(all.clone());
                        let all = all.into_iter().collect();
                        hub.change(|catalog| catalog.replace(kind, all));
                    }
                }
                for node in &NODES[1..] {
                    let held = hub.logs.held(node);
                    if hub.catalog.is_complete() {
                        prop_assert_eq!(held, expected(&objects, node));
                    } else {
                        prop_assert!(held.is_empty());
                    }
                }
                for kind in made_up::TABLE.iter() {
                    let of_kind = objects.keys().filter(|key| key.kind == kind.name);
                    prop_assert!(hub.catalog.of_kind(kind.name).eq(of_kind));
                }
            }
            // Nothing is left of what is gone.
            for kind in made_up::TABLE.iter() {
                hub.change(|catalog| catalog.replace(kind.name, HashMap::new()));
            }
            prop_assert!(hub.catalog.users.is_empty() && hub.catalog.by_node.is_empty());
        }
    }
}

//! What resources there are, and what is known about each.
//!
//! Built-in ones come from a table, the others from CustomResourceDefinition
//! objects. Everything else in this crate works from a [`Resource`].

mod builtin;
mod crd;
mod jsonpath;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::schema::{Components, Schema};

pub(crate) use crd::{check as check_crd, establish as establish_crd};
use jsonpath::JsonPath;

/// Resources with rules of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Namespace,
    Node,
    ConfigMap,
    Secret,
    Event,
    /// The events.k8s.io view of [`Class::Event`].
    EventsEvent,
    Lease,
    /// Listed because clients ask for a node's pods; none can be made here.
    Pod,
    Definition,
    Custom,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub(crate) kind: String,
    pub(crate) format: String,
    pub(crate) description: String,
    pub(crate) priority: i64,
    pub(crate) cell: Cell,
}

/// A field that lists can be selected by.
#[derive(Clone, Debug)]
pub(crate) struct Selectable {
    /// As a selector names it.
    pub(crate) label: String,
    /// Where its value stands: the first that has one counts.
    pub(crate) places: Vec<String>,
    /// What it is where no place has a value.
    pub(crate) absent: &'static str,
}

impl Selectable {
    /// A field that stands where its name says, and is empty where it is not.
    pub(crate) fn plain(path: &str) -> Selectable {
        Selectable {
            label: path.to_owned(),
            places: vec![path.to_owned()],
            absent: "",
        }
    }
}

/// How a cell is made.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Path(JsonPath),
    Code(fn(&Value) -> Value),
}

/// One version of one resource.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) class: Class,
    /// Has a status subresource.
    pub(crate) status: bool,
    /// `group/plural` of the store, the same for all versions.
    pub(crate) storage: Arc<str>,
    /// `apiVersion` that objects are stored with.
    pub(crate) stored_as: String,
    pub(crate) schema: Arc<Schema>,
    /// The JSON schema behind `schema`, for OpenAPI.
    pub(crate) document: Arc<Value>,
    pub(crate) columns: Vec<Column>,
    /// Name of the schema in OpenAPI documents.
    pub(crate) schema_name: String,
    /// Fields that lists can be selected by, beside name and namespace.
    pub(crate) selectable: Vec<Selectable>,
    /// A text for the `Warning` header of each answer.
    pub(crate) deprecation: Option<String>,
}

impl Resource {
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether objects count their generations.
    pub(crate) fn generations(&self) -> bool {
        matches!(self.class, Class::Custom | Class::Definition)
    }

    /// The verbs of the resource itself.
    pub(crate) fn verbs(&self) -> &'static [&'static str] {
        match self.class {
            Class::Pod => &["get", "list", "watch"],
            Class::Namespace => &[
                "create", "delete", "get", "list", "patch", "update", "watch",
            ],
            _ => &[
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ],
        }
    }
}

/// Schemas of the built-in types by their full names.
pub(crate) static COMPONENTS: LazyLock<Components> =
    LazyLock::new(|| crate::schema::text::components(include_str!("registry/builtin.types")));

/// Full name of the schema of `metadata`.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// All resources that are served. Cheap to clone, never changed in place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    builtin: Vec<Arc<Resource>>,
    /// By the name of the definition.
    custom: BTreeMap<String, Vec<Arc<Resource>>>,
    index: HashMap<(String, String, String), Arc<Resource>>,
    /// Grows with each change, for hashes of documents.
    pub(crate) generation: u64,
}

impl Registry {
    /// The built-in resources.
    pub(crate) fn builtin() -> Registry {
        let mut registry = Registry {
            builtin: builtin::resources(),
            ..Registry::default()
        };
        registry.reindex();
        registry
    }

    /// Takes in a definition, in place of an older state of it.
    pub(crate) fn define(&mut self, definition: &Value) {
        let name = definition["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.custom.insert(name, crd::resources(definition));
        self.reindex();
    }

    /// Forgets a definition.
    pub(crate) fn forget(&mut self, name: &str) {
        self.custom.remove(name);
        self.reindex();
    }

    fn reindex(&mut self) {
        self.generation += 1;
        self.index = self
            .all()
            .map(|resource| {
                (
                    (
                        resource.group.clone(),
                        resource.version.clone(),
                        resource.plural.clone(),
                    ),
                    resource.clone(),
                )
            })
            .collect();
    }

    /// Built-in ones first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.builtin.iter().chain(self.custom.values().flatten())
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.index
            .get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
            .cloned()
    }

    /// A resource by what an owner reference says.
    pub(crate) fn by_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        self.all()
            .find(|resource| resource.kind == kind && resource.api_version() == api_version)
            .cloned()
    }

    /// Some version of what is stored under `storage`; the stored one if it is served.
    pub(crate) fn by_storage(&self, storage: &str) -> Option<Arc<Resource>> {
        let candidates: Vec<_> = self
            .all()
            .filter(|resource| &*resource.storage == storage)
            .collect();
        let best = candidates
            .iter()
            .find(|resource| resource.api_version() == resource.stored_as);
        best.or(candidates.first())
            .map(|resource| Arc::clone(resource))
    }

    /// Groups with their versions, in the order of discovery: core first.
    pub(crate) fn groups(&self) -> Vec<(String, Vec<String>)> {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for resource in self.all() {
            let known = groups
                .iter()
                .position(|(group, _)| *group == resource.group);
            let at = known.unwrap_or_else(|| {
                groups.push((resource.group.clone(), Vec::new()));
                groups.len() - 1
            });
            if !groups[at].1.contains(&resource.version) {
                groups[at].1.push(resource.version.clone());
            }
        }
        for (_, versions) in &mut groups {
            versions.sort_by_key(|version| std::cmp::Reverse(crd::priority(version)));
        }
        groups
    }
}

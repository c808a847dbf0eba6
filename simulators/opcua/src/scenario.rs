//! The scenario file: a world, and the nodes that show it.

use std::collections::BTreeMap;
use std::path::Path;

use longshore_sim_world::{
    Clock, ScenarioError, World, WorldSpec,
    scenario::{self, parse},
};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::fault::FaultRule;
use crate::plant;
use crate::status::StatusCode;

/// A scenario file of the OPC UA simulator.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// The signals.
    #[serde(default)]
    pub world: WorldSpec,
    /// Who the server is and whom it lets in.
    #[serde(default)]
    pub server: ServerSpec,
    /// The URIs of the namespaces from index 2 on; 0 is OPC UA's and 1 the server's own.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Structures and enumerations by name.
    #[serde(default)]
    pub types: BTreeMap<String, TypeSpec>,
    /// What is below the Objects folder.
    pub objects: Vec<ObjectSpec>,
    /// Faults in force from the start.
    #[serde(default)]
    pub faults: Vec<FaultRule>,
}

/// Who the server is and whom it lets in.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServerSpec {
    /// Its name, shown by GetEndpoints.
    pub name: String,
    /// Its application URI, also namespace 1.
    pub uri: String,
    /// The path of its URL, like `/press`.
    pub path: String,
    /// Whether it lets users in who do not say who they are.
    pub anonymous: bool,
    /// Names of users with their passwords.
    pub users: BTreeMap<String, String>,
    /// What it can take.
    pub limits: Limits,
}

impl Default for ServerSpec {
    fn default() -> Self {
        Self {
            name: "Longshore OPC UA simulator".to_owned(),
            uri: "urn:longshore:sim-opcua".to_owned(),
            path: String::new(),
            anonymous: true,
            users: BTreeMap::new(),
            limits: Limits::default(),
        }
    }
}

/// What a server can take; 0 means any number. Those with an OPC UA name are
/// shown in its ServerCapabilities (OPC 10000-5, 6.3.2 and 6.3.11).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Sessions at a time.
    pub max_sessions: u32,
    /// Subscriptions at a time.
    pub max_subscriptions: u32,
    /// Items at a time, in all subscriptions together.
    pub max_monitored_items: u32,
    /// Nodes in one Read.
    pub max_nodes_per_read: u32,
    /// Nodes in one Write.
    pub max_nodes_per_write: u32,
    /// Nodes in one Browse.
    pub max_nodes_per_browse: u32,
    /// Methods in one Call.
    pub max_nodes_per_method_call: u32,
    /// Paths in one TranslateBrowsePathsToNodeIds.
    pub max_nodes_per_translate_browse_paths: u32,
    /// Items in one CreateMonitoredItems or ModifyMonitoredItems.
    pub max_monitored_items_per_call: u32,
    /// A client that asks for less gets this (milliseconds).
    pub min_publishing_interval: f64,
    /// A client that asks for less gets this (milliseconds).
    pub min_sampling_interval: f64,
    /// Values that an item keeps at most until they are published.
    pub max_queue_size: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_sessions: 0,
            max_subscriptions: 0,
            max_monitored_items: 0,
            max_nodes_per_read: 0,
            max_nodes_per_write: 0,
            max_nodes_per_browse: 0,
            max_nodes_per_method_call: 0,
            max_nodes_per_translate_browse_paths: 0,
            max_monitored_items_per_call: 0,
            min_publishing_interval: 10.0,
            min_sampling_interval: 10.0,
            max_queue_size: 10_000,
        }
    }
}

/// A data type of the scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TypeSpec {
    /// Fields in their order.
    Structure(Vec<FieldSpec>),
    /// The names of 0, 1, 2, …
    Enumeration(Vec<String>),
}

/// A field of a structure.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FieldSpec {
    /// Its name.
    pub name: String,
    /// A built-in type, or another structure or enumeration of the scenario.
    #[serde(rename = "type")]
    pub of: String,
    /// Whether it is a list.
    #[serde(default)]
    pub array: bool,
}

/// An object or folder and what is in it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectSpec {
    /// The name of its browse name.
    pub name: String,
    /// Its id, with or without `ns=N;`. Absent: the names from the top, with
    /// dots between, as `s=Press.Motor`.
    #[serde(default)]
    pub id: Option<String>,
    /// The index of the namespace of its browse name, and of its id where that
    /// has none. Absent: as above it; at the top 2, or 1 where there is no other.
    #[serde(default)]
    pub namespace: Option<u16>,
    /// Whether it is of FolderType.
    #[serde(default)]
    pub folder: bool,
    /// The objects in it.
    #[serde(default)]
    pub objects: Vec<ObjectSpec>,
    /// The variables in it.
    #[serde(default)]
    pub variables: Vec<VariableSpec>,
    /// The methods of it.
    #[serde(default)]
    pub methods: Vec<MethodSpec>,
    /// Many variables that change by themselves.
    #[serde(default)]
    pub fill: Vec<FillSpec>,
}

/// A variable: a signal, or a value that stays until it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VariableSpec {
    /// As for objects.
    pub name: String,
    /// As for objects.
    #[serde(default)]
    pub id: Option<String>,
    /// As for objects.
    #[serde(default)]
    pub namespace: Option<u16>,
    /// Its type: built-in, or of `types`. Absent: as the value is, `double` for
    /// a number and for a signal.
    #[serde(default, rename = "type")]
    pub of: Option<String>,
    /// The value at the start; a list makes an array.
    #[serde(default)]
    pub value: Option<Json>,
    /// The signal that is shown here; a setpoint is set by a write.
    #[serde(default)]
    pub signal: Option<String>,
    /// Shows the text of this number in place of the signal's number.
    #[serde(default)]
    pub texts: Vec<String>,
    /// Whether clients may write it. A setpoint always may, unless this is false.
    #[serde(default)]
    pub writable: Option<bool>,
    /// Whether clients may read it.
    #[serde(default)]
    pub readable: Option<bool>,
    /// Its unit.
    #[serde(default)]
    pub unit: Option<UnitSpec>,
    /// Lowest and highest value, its EURange.
    #[serde(default)]
    pub range: Option<[f64; 2]>,
    /// Its status from the start.
    #[serde(default)]
    pub status: Option<StatusCode>,
    /// Whether it hangs there by HasProperty, as properties do.
    #[serde(default)]
    pub property: bool,
}

/// A unit of measure (OPC 10000-8, 5.6.3).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitSpec {
    /// What is shown, like `°C`.
    pub symbol: String,
    /// Its code in UNECE recommendation 20, like `CEL`.
    pub code: String,
    /// Its name, like `degree Celsius`.
    #[serde(default)]
    pub name: String,
}

/// A method.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MethodSpec {
    /// As for objects.
    pub name: String,
    /// As for objects.
    #[serde(default)]
    pub id: Option<String>,
    /// As for objects.
    #[serde(default)]
    pub namespace: Option<u16>,
    /// Its arguments.
    #[serde(default)]
    pub inputs: Vec<InputSpec>,
    /// Its results.
    #[serde(default)]
    pub outputs: Vec<OutputSpec>,
    /// Signals that a call sets to these numbers.
    #[serde(default)]
    pub set: BTreeMap<String, f64>,
    /// Refuses each call with this status.
    #[serde(default)]
    pub status: Option<StatusCode>,
}

/// An argument of a method.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// Its built-in type.
    #[serde(rename = "type")]
    pub of: String,
    /// The signal that is set to it.
    #[serde(default)]
    pub signal: Option<String>,
}

/// A result of a method: a signal, a fixed value, or reckoned from arguments.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputSpec {
    /// Its name.
    pub name: String,
    /// Its built-in type.
    #[serde(rename = "type")]
    pub of: String,
    /// The value of this signal after the call.
    #[serde(default)]
    pub signal: Option<String>,
    /// Always this.
    #[serde(default)]
    pub value: Option<Json>,
    /// The product of these arguments.
    #[serde(default)]
    pub product: Vec<String>,
    /// The sum of these arguments.
    #[serde(default)]
    pub sum: Vec<String>,
}

/// Many variables that change by themselves, named NAME0, NAME1, …
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FillSpec {
    /// What their names begin with.
    pub name: String,
    /// How many.
    pub count: u32,
    /// Their type, a number; `double` if absent.
    #[serde(default, rename = "type")]
    pub of: Option<String>,
    /// How often they change, in milliseconds.
    #[serde(default = "default_change")]
    pub every_ms: u64,
}

fn default_change() -> u64 {
    100
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// The file cannot be read, or its text is wrong; the error names file and key path.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        scenario::read(path, Self::parse)
    }

    /// Reads a scenario from text; `file` serves the errors.
    ///
    /// # Errors
    /// The text is wrong; the error names file and key path, all faults at once.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let read: Self = parse(file, text)?;
        // Building it is the check.
        let problems = match World::new(&read.world, Clock::manual()) {
            Ok(world) => plant::build(&read, &world, &read.namespaces).err(),
            Err(error) => Some(error.in_scenario()),
        };
        scenario::check(file, problems.unwrap_or_default())?;
        Ok(read)
    }
}

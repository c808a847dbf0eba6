//! Looking for what a server has: its endpoints, and its variables by browsing.

use std::collections::{HashMap, HashSet};

use longshore_sdk::{
    DiscoverError, Discovered, FoundDevice, FoundProperty, RequestError, config::Section,
};
use opcua::types::{
    AttributeId, BrowseDescription, BrowseDirection, DataValue, EUInformation, NodeClass, NodeId,
    ReadValueId, ReferenceDescription, Variant,
};
use serde_json::{Map, Value};

use self::glob::matches;
use crate::{
    bus::Bus,
    config,
    endpoint::offers,
    keys,
    node::{NodeName, Place},
    server::Server,
    session::{self, Shared},
    wire::WireError,
};

mod glob;

/// The Objects folder and the Server object (Part 6, annex A).
const OBJECTS: u32 = 85;
const SERVER: u32 = 2253;
/// Reference types.
const HIERARCHICAL_REFERENCES: u32 = 33;
const HAS_PROPERTY: u32 = 46;
/// Node classes Object and Variable (Part 3, section 8.29).
const OBJECT_OR_VARIABLE: u32 = 3;
/// Reference type, node class, browse name, display name (Part 4, section 7.4).
const RESULT_MASK: u32 = 0x01 | 0x04 | 0x08 | 0x10;
/// Levels below the root that are looked at, when nobody says.
pub(crate) const DEPTH: i64 = 10;
/// Properties that are given, when nobody says.
pub(crate) const MOST: i64 = 1000;
/// Nodes that are looked at: a server of a million is not browsed to its end.
const NODES: usize = 200_000;
/// CurrentWrite of an access level (Part 3, section 8.57).
const CURRENT_WRITE: f64 = 2.0;

/// What to look for.
struct Search {
    bus: Bus,
    root: Place,
    globs: Vec<String>,
    depth: usize,
    most: usize,
}

/// A variable that was found.
struct Found {
    node: NodeId,
    path: String,
    name: String,
    parent: String,
    display: String,
    unit: Option<NodeId>,
}

/// Browses a server.
pub(crate) async fn discover(
    shared: std::sync::Arc<Shared>,
    request: Map<String, Value>,
) -> Result<Discovered, DiscoverError> {
    let section = Section::new(&keys::DISCOVERY, "", &request);
    let search = search(&section);
    let (faults, unknown) = section.finish();
    let Some(search) = search.filter(|_| faults.is_empty()) else {
        return Err(DiscoverError::Request(faults));
    };
    let mut notes: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    let endpoints = session::endpoints(&shared, &search.bus).await?;
    let offered = offers(&endpoints);
    notes.push(match offered.as_str() {
        "none" => "the server offers no security (policy none)".to_owned(),
        offered => format!("the server offers {offered}"),
    });
    let opened = session::open_new(&shared, &search.bus, &endpoints).await?;
    let server = Server::new(opened.wire, opened.namespaces);
    let browsed = browse(&server, &search, &mut notes).await;
    let result = match browsed {
        Ok(found) => describe(&server, found).await,
        Err(error) => Err(error),
    };
    session::close(server.wire.clone(), opened.transport).await;
    let properties = result.map_err(RequestError::from)?;
    let application = endpoints.first().map(|endpoint| &endpoint.server);
    let title = application.map_or("", |server| server.application_name.text.as_ref());
    let uri = application.map_or("", |server| server.application_uri.as_ref());
    let kept = [
        "url",
        "security",
        "user",
        "certificate",
        "trust",
        "timeout",
        "sessionTimeout",
        "publishingInterval",
    ];
    let protocol = request
        .iter()
        .filter(|(key, _)| kept.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Ok(Discovered {
        devices: vec![FoundDevice {
            name: device_name(title),
            description: format!("{title} ({uri})"),
            protocol,
            properties,
        }],
        notes,
    })
}

fn search(section: &Section<'_>) -> Option<Search> {
    let bus = config::bus(section);
    let none = config::namespace(section);
    // A device's key; nothing is watched here.
    section.pass_over(&["publishingInterval"]);
    let root = match section.text("root") {
        None => Ok(Place::node(NodeName::standard(OBJECTS))),
        Some(path) if path.starts_with('/') => Place::path(path, None, &none),
        Some(node) => NodeName::parse(node, &none).map(Place::node),
    };
    let root = root.map_err(|message| section.fault("root", message)).ok();
    let globs = match section.value("match") {
        None => Vec::new(),
        Some(Value::String(glob)) => vec![glob.clone()],
        Some(Value::Array(globs)) => globs
            .iter()
            .filter_map(|glob| glob.as_str().map(str::to_owned))
            .collect(),
        Some(other) => {
            section.fault(
                "match",
                format!("expected globs such as /Objects/Machine/**, found {other}"),
            );
            Vec::new()
        }
    };
    let depth = section.integer_or_default("depth");
    let most = section.integer_or_default("max");
    Some(Search {
        bus: bus?,
        root: root?,
        globs,
        depth,
        most,
    })
}

/// Level by level from the root on; each node once.
async fn browse(
    server: &Server,
    search: &Search,
    notes: &mut Vec<String>,
) -> Result<Vec<Found>, WireError> {
    let root = match server.nodes(&[&search.root]).await?.into_iter().next() {
        Some(Ok(root)) => root,
        Some(Err(refusal)) => {
            notes.push(format!("the root is not there: {}", refusal.message));
            return Ok(Vec::new());
        }
        None => return Ok(Vec::new()),
    };
    let is_objects = root == NodeId::new(0, OBJECTS);
    let start = match is_objects {
        true => "/Objects".to_owned(),
        false => search.root.to_string(),
    };
    let mut seen = HashSet::from([root.clone()]);
    if is_objects {
        // It holds hundreds of variables about the server itself.
        seen.insert(NodeId::new(0, SERVER));
    }
    let (mut level, mut found) = (vec![(root, start)], Vec::new());
    let mut units: HashMap<NodeId, NodeId> = HashMap::new();
    let mut skipped = 0;
    for _ in 0..search.depth {
        let asked: Vec<_> = level.iter().map(|(node, _)| down_from(node)).collect();
        let all = server.wire.browse(&asked).await?;
        let mut next = Vec::new();
        for ((parent, path), references) in level.iter().zip(all) {
            for reference in references {
                let node = reference.node_id.node_id.clone();
                let name = reference.browse_name.name.to_string();
                if reference.reference_type_id == NodeId::new(0, HAS_PROPERTY) {
                    if name == "EngineeringUnits" {
                        units.insert(parent.clone(), node);
                    }
                    continue;
                }
                if reference.node_id.server_index != 0 || !seen.insert(node.clone()) {
                    continue;
                }
                let inner = format!("{path}/{}", element(&reference));
                if reference.node_class == NodeClass::Variable && matches(&search.globs, &inner) {
                    match found.len() < search.most {
                        true => found.push(variable(&node, &inner, path, &reference)),
                        false => skipped += 1,
                    }
                }
                next.push((node, inner));
            }
        }
        if next.is_empty() {
            level = next;
            break;
        }
        if seen.len() > NODES {
            notes.push(format!(
                "stopped after {NODES} nodes; name a root below the Objects folder"
            ));
            break;
        }
        level = next;
    }
    if !level.is_empty() {
        notes.push(format!(
            "there may be more below {} levels; depth asks for them",
            search.depth
        ));
    }
    if skipped > 0 {
        notes.push(format!(
            "{skipped} more variables were left out; max or match choose others"
        ));
    }
    for one in &mut found {
        one.unit = units.remove(&one.node);
    }
    Ok(found)
}

fn variable(node: &NodeId, path: &str, parent: &str, reference: &ReferenceDescription) -> Found {
    Found {
        node: node.clone(),
        path: path.to_owned(),
        name: reference.browse_name.name.to_string(),
        parent: parent.rsplit('/').next().unwrap_or_default().to_owned(),
        display: reference.display_name.text.to_string(),
        unit: None,
    }
}

/// One element of a browse path, with its index and escapes (Part 4, annex A.2).
fn element(reference: &ReferenceDescription) -> String {
    let mut text = match reference.browse_name.namespace_index {
        0 => String::new(),
        index => format!("{index}:"),
    };
    for character in reference.browse_name.name.as_ref().chars() {
        if matches!(character, '/' | ':' | '&') {
            text.push('&');
        }
        text.push(character);
    }
    text
}

fn down_from(node: &NodeId) -> BrowseDescription {
    BrowseDescription {
        node_id: node.clone(),
        browse_direction: BrowseDirection::Forward,
        reference_type_id: NodeId::new(0, HIERARCHICAL_REFERENCES),
        include_subtypes: true,
        node_class_mask: OBJECT_OR_VARIABLE,
        result_mask: RESULT_MASK,
    }
}

/// Types, access, units and present values of what was found.
async fn describe(server: &Server, found: Vec<Found>) -> Result<Vec<FoundProperty>, WireError> {
    const EACH: usize = 5;
    let mut asked = Vec::with_capacity(found.len() * EACH);
    for one in &found {
        let of = |attribute| ReadValueId::new(one.node.clone(), attribute);
        asked.extend([
            of(AttributeId::Value),
            of(AttributeId::DataType),
            of(AttributeId::ValueRank),
            of(AttributeId::UserAccessLevel),
            of(AttributeId::Description),
        ]);
    }
    let values = server.wire.read(&asked).await?;
    let types = values.iter().skip(1).step_by(EACH).filter_map(node_of);
    server
        .types
        .load_types(&server.wire, types.collect())
        .await?;
    server.load_types(values.iter().step_by(EACH)).await?;
    let units: Vec<_> = found.iter().filter_map(|one| one.unit.clone()).collect();
    let asked: Vec<_> = units.iter().cloned().map(ReadValueId::from).collect();
    let known = match asked.is_empty() {
        true => Vec::new(),
        false => server.wire.read(&asked).await?,
    };
    let units: HashMap<NodeId, String> = units
        .into_iter()
        .zip(known)
        .filter_map(|(node, value)| Some((node, unit_of(&value)?)))
        .collect();
    let mut names = Names::default();
    let chunks = values.chunks(EACH);
    let properties = found.into_iter().zip(chunks).map(|(one, values)| {
        let unit = one.unit.as_ref().and_then(|node| units.get(node));
        property(server, &one, values, unit, &mut names)
    });
    Ok(properties.collect())
}

fn property(
    server: &Server,
    one: &Found,
    values: &[DataValue],
    unit: Option<&String>,
    names: &mut Names,
) -> FoundProperty {
    let number = |index: usize| {
        let value = values.get(index).and_then(|value| value.value.as_ref());
        value.and_then(Variant::as_f64)
    };
    let scalar = values
        .get(1)
        .and_then(node_of)
        .and_then(|id| server.types.scalar_of(&id));
    let value = values.first().and_then(|value| value.value.as_ref());
    let is_array = match value {
        Some(value) => value.is_array(),
        None => number(2).unwrap_or(-1.0) >= 0.0,
    };
    let description = match values.get(4).and_then(|value| value.value.as_ref()) {
        Some(Variant::LocalizedText(text)) if !text.text.is_empty() => text.text.to_string(),
        _ if one.display.is_empty() => one.path.clone(),
        _ => format!("{} ({})", one.display, one.path),
    };
    let access = number(3).unwrap_or(0.0) as u32 & CURRENT_WRITE as u32;
    let mut config = Map::new();
    config.insert("node".to_owned(), server.namespaces.text(&one.node).into());
    FoundProperty {
        name: names.next(&one.name, &one.parent),
        description,
        twin_type: twin_type(scalar, is_array).to_owned(),
        writable: access != 0,
        unit: unit.cloned().unwrap_or_default(),
        value: value.map(|value| match server.decoder().json(value) {
            Value::String(text) => text,
            value => value.to_string(),
        }),
        config,
    }
}

fn node_of(value: &DataValue) -> Option<NodeId> {
    match &value.value {
        Some(Variant::NodeId(id)) => Some((**id).clone()),
        _ => None,
    }
}

/// The type of the twin for a built-in type.
fn twin_type(scalar: Option<u32>, is_array: bool) -> &'static str {
    match scalar {
        _ if is_array => "STRING",
        Some(1) => "BOOLEAN",
        Some(2..=9 | 27..=29) => "INT",
        Some(10) => "FLOAT",
        Some(11 | 26) => "DOUBLE",
        Some(15) => "BYTES",
        _ => "STRING",
    }
}

/// The unit in UCUM where the UNECE code is a common one, else as it is shown
/// (Part 8, section 5.6.3: the code's characters are the bytes of the id).
fn unit_of(value: &DataValue) -> Option<String> {
    let Some(Variant::ExtensionObject(object)) = &value.value else {
        return None;
    };
    let information = object.inner_as::<EUInformation>()?;
    let bytes = information.unit_id.to_be_bytes();
    let code: String = bytes
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .map(|byte| char::from(*byte))
        .collect();
    let ucum = UNITS.iter().find(|(known, _)| *known == code);
    Some(match ucum {
        Some((_, ucum)) => (*ucum).to_owned(),
        None => information.display_name.text.to_string(),
    })
}

/// UNECE recommendation 20 codes and UCUM.
const UNITS: &[(&str, &str)] = &[
    ("CEL", "Cel"),
    ("FAH", "[degF]"),
    ("KEL", "K"),
    ("BAR", "bar"),
    ("MBR", "mbar"),
    ("PAL", "Pa"),
    ("KPA", "kPa"),
    ("MPA", "MPa"),
    ("MTR", "m"),
    ("CMT", "cm"),
    ("MMT", "mm"),
    ("MTS", "m/s"),
    ("KGM", "kg"),
    ("GRM", "g"),
    ("TNE", "t"),
    ("SEC", "s"),
    ("C26", "ms"),
    ("MIN", "min"),
    ("HUR", "h"),
    ("HTZ", "Hz"),
    ("KHZ", "kHz"),
    ("WTT", "W"),
    ("KWT", "kW"),
    ("MAW", "MW"),
    ("WHR", "W.h"),
    ("KWH", "kW.h"),
    ("VLT", "V"),
    ("KVT", "kV"),
    ("AMP", "A"),
    ("4K", "mA"),
    ("D46", "V.A"),
    ("P1", "%"),
    ("LTR", "L"),
    ("MTQ", "m3"),
    ("MQH", "m3/h"),
    ("L2", "L/min"),
    ("NEW", "N"),
    ("B47", "kN"),
    ("NU", "N.m"),
    ("RPM", "/min"),
    ("DD", "deg"),
    ("C81", "rad"),
    ("59", "[ppm]"),
];

/// Names of properties, each once.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    fn next(&mut self, name: &str, parent: &str) -> String {
        let short = camel(name);
        let long = camel(&format!(
            "{} {name}",
            parent.rsplit(':').next().unwrap_or(parent)
        ));
        let numbered = (2..).map(|number| format!("{long}{number}"));
        let mut candidates = [short, long.clone()].into_iter().chain(numbered);
        // The numbers have no end.
        let free = candidates
            .find(|name| !self.0.contains(name))
            .unwrap_or_default();
        self.0.insert(free.clone());
        free
    }
}

/// Letters and digits, beginning with a small letter.
fn camel(text: &str) -> String {
    let mut name = String::new();
    for word in text.split(|character: char| !character.is_ascii_alphanumeric()) {
        let mut characters = word.chars();
        let Some(first) = characters.next() else {
            continue;
        };
        if name.is_empty() {
            name.push(first.to_ascii_lowercase());
        } else {
            name.push(first.to_ascii_uppercase());
        }
        name.extend(characters);
    }
    match name.chars().next() {
        Some(first) if first.is_ascii_lowercase() => name,
        _ => format!("p{name}"),
    }
}

/// Small letters, digits and `-`.
fn device_name(title: &str) -> String {
    let words: Vec<_> = title
        .split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    match words.is_empty() {
        true => "server".to_owned(),
        false => words.join("-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_and_each_is_given_once() {
        let mut names = Names::default();
        assert_eq!(
            names.next("Actual Position [mm]", "2:Axis1"),
            "actualPositionMm"
        );
        assert_eq!(
            names.next("actualPositionMm", "2:Axis1"),
            "axis1ActualPositionMm"
        );
        assert_eq!(
            names.next("actualPositionMm", "2:Axis1"),
            "axis1ActualPositionMm2"
        );
        assert_eq!(names.next("1st", ""), "p1st");
        assert_eq!(device_name("Longshore's peer"), "longshore-s-peer");
    }
}

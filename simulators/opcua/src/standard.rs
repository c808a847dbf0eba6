//! The part of namespace 0 that clients look for: folders, the Server object,
//! and the types that nodes of scenarios refer to (OPC 10000-5; numbers as in
//! OPC 10000-6, A.3).

use crate::node_id::NodeId;
use crate::scenario::Scenario;
use crate::space::{Body, CAN_READ, Class, Node, Source, Space, Variable};
use crate::status::StatusCode;
use crate::time::Now;
use crate::value::{Array, Kind, QualifiedName, Scalar, Value};

/// Numbers that other modules use.
pub(crate) mod id {
    pub(crate) const STRUCTURE: u32 = 22;
    pub(crate) const ENUMERATION: u32 = 29;
    pub(crate) const ORGANIZES: u32 = 35;
    pub(crate) const HAS_ENCODING: u32 = 38;
    pub(crate) const HAS_TYPE_DEFINITION: u32 = 40;
    pub(crate) const HAS_SUBTYPE: u32 = 45;
    pub(crate) const HAS_PROPERTY: u32 = 46;
    pub(crate) const HAS_COMPONENT: u32 = 47;
    pub(crate) const BASE_OBJECT_TYPE: u32 = 58;
    pub(crate) const FOLDER_TYPE: u32 = 61;
    pub(crate) const BASE_DATA_VARIABLE_TYPE: u32 = 63;
    pub(crate) const PROPERTY_TYPE: u32 = 68;
    pub(crate) const DATA_TYPE_ENCODING_TYPE: u32 = 76;
    pub(crate) const OBJECTS: u32 = 85;
    pub(crate) const ANALOG_ITEM_TYPE: u32 = 2368;
    pub(crate) const EU_INFORMATION: u32 = 887;
    pub(crate) const RANGE: u32 = 884;
    pub(crate) const ARGUMENT: u32 = 296;
}

/// The URI of the product: this simulator.
pub(crate) const PRODUCT: &str = "urn:longshore:sim-opcua";

use Class::{DataType, Object, ObjectType, ReferenceType, VariableType};

/// Number, name, class, parent, reference from the parent. Objects of a type
/// other than FolderType are in `TYPED`.
#[rustfmt::skip]
const NODES: &[(u32, &str, Class, u32, u32)] = &[
    (84, "Root", Object, 0, 0),
    (85, "Objects", Object, 84, id::ORGANIZES),
    (86, "Types", Object, 84, id::ORGANIZES),
    (87, "Views", Object, 84, id::ORGANIZES),
    (88, "ObjectTypes", Object, 86, id::ORGANIZES),
    (89, "VariableTypes", Object, 86, id::ORGANIZES),
    (90, "DataTypes", Object, 86, id::ORGANIZES),
    (91, "ReferenceTypes", Object, 86, id::ORGANIZES),
    (58, "BaseObjectType", ObjectType, 88, id::ORGANIZES),
    (61, "FolderType", ObjectType, 58, id::HAS_SUBTYPE),
    (76, "DataTypeEncodingType", ObjectType, 58, id::HAS_SUBTYPE),
    (2004, "ServerType", ObjectType, 58, id::HAS_SUBTYPE),
    (2013, "ServerCapabilitiesType", ObjectType, 58, id::HAS_SUBTYPE),
    (11564, "OperationLimitsType", ObjectType, 61, id::HAS_SUBTYPE),
    (62, "BaseVariableType", VariableType, 89, id::ORGANIZES),
    (63, "BaseDataVariableType", VariableType, 62, id::HAS_SUBTYPE),
    (68, "PropertyType", VariableType, 62, id::HAS_SUBTYPE),
    (2138, "ServerStatusType", VariableType, 63, id::HAS_SUBTYPE),
    (2365, "DataItemType", VariableType, 63, id::HAS_SUBTYPE),
    (15318, "BaseAnalogType", VariableType, 2365, id::HAS_SUBTYPE),
    (2368, "AnalogItemType", VariableType, 15318, id::HAS_SUBTYPE),
    (31, "References", ReferenceType, 91, id::ORGANIZES),
    (32, "NonHierarchicalReferences", ReferenceType, 31, id::HAS_SUBTYPE),
    (33, "HierarchicalReferences", ReferenceType, 31, id::HAS_SUBTYPE),
    (34, "HasChild", ReferenceType, 33, id::HAS_SUBTYPE),
    (35, "Organizes", ReferenceType, 33, id::HAS_SUBTYPE),
    (44, "Aggregates", ReferenceType, 34, id::HAS_SUBTYPE),
    (45, "HasSubtype", ReferenceType, 34, id::HAS_SUBTYPE),
    (46, "HasProperty", ReferenceType, 44, id::HAS_SUBTYPE),
    (47, "HasComponent", ReferenceType, 44, id::HAS_SUBTYPE),
    (38, "HasEncoding", ReferenceType, 32, id::HAS_SUBTYPE),
    (40, "HasTypeDefinition", ReferenceType, 32, id::HAS_SUBTYPE),
    (24, "BaseDataType", DataType, 90, id::ORGANIZES),
    (26, "Number", DataType, 24, id::HAS_SUBTYPE),
    (27, "Integer", DataType, 26, id::HAS_SUBTYPE),
    (28, "UInteger", DataType, 26, id::HAS_SUBTYPE),
    (1, "Boolean", DataType, 24, id::HAS_SUBTYPE),
    (2, "SByte", DataType, 27, id::HAS_SUBTYPE),
    (3, "Byte", DataType, 28, id::HAS_SUBTYPE),
    (4, "Int16", DataType, 27, id::HAS_SUBTYPE),
    (5, "UInt16", DataType, 28, id::HAS_SUBTYPE),
    (6, "Int32", DataType, 27, id::HAS_SUBTYPE),
    (7, "UInt32", DataType, 28, id::HAS_SUBTYPE),
    (8, "Int64", DataType, 27, id::HAS_SUBTYPE),
    (9, "UInt64", DataType, 28, id::HAS_SUBTYPE),
    (10, "Float", DataType, 26, id::HAS_SUBTYPE),
    (11, "Double", DataType, 26, id::HAS_SUBTYPE),
    (12, "String", DataType, 24, id::HAS_SUBTYPE),
    (13, "DateTime", DataType, 24, id::HAS_SUBTYPE),
    (14, "Guid", DataType, 24, id::HAS_SUBTYPE),
    (15, "ByteString", DataType, 24, id::HAS_SUBTYPE),
    (16, "XmlElement", DataType, 24, id::HAS_SUBTYPE),
    (17, "NodeId", DataType, 24, id::HAS_SUBTYPE),
    (19, "StatusCode", DataType, 24, id::HAS_SUBTYPE),
    (20, "QualifiedName", DataType, 24, id::HAS_SUBTYPE),
    (21, "LocalizedText", DataType, 24, id::HAS_SUBTYPE),
    (22, "Structure", DataType, 24, id::HAS_SUBTYPE),
    (29, "Enumeration", DataType, 24, id::HAS_SUBTYPE),
    (290, "Duration", DataType, 11, id::HAS_SUBTYPE),
    (294, "UtcTime", DataType, 13, id::HAS_SUBTYPE),
    (295, "LocaleId", DataType, 12, id::HAS_SUBTYPE),
    (296, "Argument", DataType, 22, id::HAS_SUBTYPE),
    (338, "BuildInfo", DataType, 22, id::HAS_SUBTYPE),
    (852, "ServerState", DataType, 29, id::HAS_SUBTYPE),
    (862, "ServerStatusDataType", DataType, 22, id::HAS_SUBTYPE),
    (884, "Range", DataType, 22, id::HAS_SUBTYPE),
    (887, "EUInformation", DataType, 22, id::HAS_SUBTYPE),
    (2253, "Server", Object, 85, id::ORGANIZES),
    (2268, "ServerCapabilities", Object, 2253, id::HAS_COMPONENT),
    (11704, "OperationLimits", Object, 2268, id::HAS_COMPONENT),
];

const TYPED: &[(u32, u32)] = &[(2253, 2004), (2268, 2013), (11704, 11564)];

fn plain(number: u32, name: &str, class: Class) -> Node {
    Node {
        id: NodeId::standard(number),
        class,
        browse_name: QualifiedName {
            namespace: 0,
            name: name.to_owned(),
        },
        references: Vec::new(),
        body: if class == DataType {
            Body::DataType(Value::Empty)
        } else {
            Body::Plain
        },
    }
}

/// Fills an empty space with namespace 0.
pub(crate) fn fill(space: &mut Space, scenario: &Scenario) {
    for (number, name, class, _, _) in NODES {
        space.add(plain(*number, name, *class), None);
    }
    for (number, _, class, parent, kind) in NODES {
        let this = NodeId::standard(*number);
        if *parent != 0 {
            space.refer(&NodeId::standard(*parent), *kind, &this);
        }
        if *class == Object {
            let typed = TYPED.iter().find(|(object, _)| object == number);
            let of = typed.map_or(id::FOLDER_TYPE, |(_, of)| *of);
            space.refer(&this, id::HAS_TYPE_DEFINITION, &NodeId::standard(of));
        }
    }
    server(space, scenario);
    capabilities(space, scenario);
}

fn server(space: &mut Space, scenario: &Scenario) {
    let texts = |list: &[String]| {
        Value::Many(Array {
            kind: Kind::String,
            items: list.iter().cloned().map(Scalar::String).collect(),
            dimensions: Vec::new(),
        })
    };
    let namespaces = texts(&space.namespaces);
    property(space, 2255, "NamespaceArray", 2253, 12, namespaces);
    let own = texts(std::slice::from_ref(&scenario.server.uri));
    property(space, 2254, "ServerArray", 2253, 12, own);
    let level = Value::One(Scalar::Byte(255));
    property(space, 2267, "ServiceLevel", 2253, 3, level);
    let auditing = Value::One(Scalar::Boolean(false));
    property(space, 2994, "Auditing", 2253, 1, auditing);
    component(space, 2256, "ServerStatus", 2253, 862, Source::ServerStatus);
    component(space, 2258, "CurrentTime", 2256, 294, Source::CurrentTime);
    let stored = |scalar| Source::Stored {
        value: Value::One(scalar),
        at: Now::read().ticks,
    };
    let started = stored(Scalar::DateTime(Now::read().ticks));
    component(space, 2257, "StartTime", 2256, 294, started);
    component(space, 2259, "State", 2256, 852, stored(Scalar::Int32(0)));
    let seconds = stored(Scalar::UInt32(0));
    component(space, 2992, "SecondsTillShutdown", 2256, 7, seconds);
    let build = Source::Stored {
        value: space.build_info(),
        at: Now::read().ticks,
    };
    component(space, 2260, "BuildInfo", 2256, 338, build);
    let texts = [
        (2261, "ProductName", scenario.server.name.as_str()),
        (2262, "ProductUri", PRODUCT),
        (2263, "ManufacturerName", "Longshore"),
        (2264, "SoftwareVersion", env!("CARGO_PKG_VERSION")),
    ];
    for (number, name, text) in texts {
        let text = stored(Scalar::String(text.to_owned()));
        component(space, number, name, 2260, 12, text);
    }
}

fn capabilities(space: &mut Space, scenario: &Scenario) {
    let limits = &scenario.server.limits;
    let rate = Value::One(Scalar::Double(limits.min_sampling_interval));
    property(space, 2272, "MinSupportedSampleRate", 2268, 290, rate);
    let rows = [
        (24095, "MaxSessions", 2268, limits.max_sessions),
        (24096, "MaxSubscriptions", 2268, limits.max_subscriptions),
        (24097, "MaxMonitoredItems", 2268, limits.max_monitored_items),
        (11705, "MaxNodesPerRead", 11704, limits.max_nodes_per_read),
        (11707, "MaxNodesPerWrite", 11704, limits.max_nodes_per_write),
        (
            11709,
            "MaxNodesPerMethodCall",
            11704,
            limits.max_nodes_per_method_call,
        ),
        (
            11710,
            "MaxNodesPerBrowse",
            11704,
            limits.max_nodes_per_browse,
        ),
        (
            11712,
            "MaxNodesPerTranslateBrowsePathsToNodeIds",
            11704,
            limits.max_nodes_per_translate_browse_paths,
        ),
        (
            11714,
            "MaxMonitoredItemsPerCall",
            11704,
            limits.max_monitored_items_per_call,
        ),
    ];
    for (number, name, parent, limit) in rows {
        let value = Value::One(Scalar::UInt32(limit));
        property(space, number, name, parent, 7, value);
    }
}

fn property(space: &mut Space, number: u32, name: &str, parent: u32, of: u32, value: Value) {
    let source = Source::Stored {
        value,
        at: Now::read().ticks,
    };
    variable(
        space,
        (number, name, of),
        (parent, id::HAS_PROPERTY),
        id::PROPERTY_TYPE,
        source,
    );
}

fn component(space: &mut Space, number: u32, name: &str, parent: u32, of: u32, source: Source) {
    let kind = id::BASE_DATA_VARIABLE_TYPE;
    variable(
        space,
        (number, name, of),
        (parent, id::HAS_COMPONENT),
        kind,
        source,
    );
}

fn variable(
    space: &mut Space,
    (number, name, data_type): (u32, &str, u32),
    (parent, reference): (u32, u32),
    definition: u32,
    source: Source,
) {
    let (kind, rank) = match &source {
        Source::Stored { value, .. } => (value.kind(), value.rank()),
        _ => (None, -1),
    };
    let body = Body::Variable(Box::new(Variable {
        data_type: NodeId::standard(data_type),
        kind: kind.unwrap_or(Kind::Extension),
        rank,
        dimensions: if rank > 0 { vec![0] } else { Vec::new() },
        access: CAN_READ,
        source,
        status: StatusCode::GOOD,
        range: None,
    }));
    let mut node = plain(number, name, Class::Variable);
    node.body = body;
    space.add(node, Some((&NodeId::standard(parent), reference)));
    space.refer(
        &NodeId::standard(number),
        id::HAS_TYPE_DEFINITION,
        &NodeId::standard(definition),
    );
}

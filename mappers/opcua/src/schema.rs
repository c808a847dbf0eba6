//! What may stand in the configurations, for `schema.json`: the reference that
//! `longshore explain opcua` prints. The types are never read into; a test
//! holds them against what the reader knows.

#![allow(dead_code, reason = "only their shape is used")]

use longshore_sdk::schema::Document;
use schemars::{JsonSchema, schema_for};
use serde_json::{Map, Value, json};

/// The words of a policy. Those of both vocabularies; the reader also takes
/// them in other letters.
const POLICIES: &[&str] = &[
    "auto",
    "none",
    "None",
    "Basic256Sha256",
    "Aes128Sha256RsaOaep",
    "Aes256Sha256RsaPss",
    "Aes128_Sha256_RsaOaep",
    "Aes256_Sha256_RsaPss",
];
/// The words of a mode.
const MODES: &[&str] = &[
    "auto",
    "none",
    "None",
    "sign",
    "Sign",
    "signAndEncrypt",
    "SignAndEncrypt",
];

/// How a server is reached: `protocol.configData` of a Device, or
/// `protocolConfigData` of its model as the default. Devices that agree in all
/// but `namespace` and `publishingInterval` share one session.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("examples" = [
    {"url": "opc.tcp://192.0.2.7:4840", "security": {"policy": "none"}},
    {"url": "opc.tcp://plc.example", "security": {"policy": "Basic256Sha256", "mode": "signAndEncrypt"},
     "user": {"name": "longshore", "passwordFile": "/etc/longshore/plc.password"}}
]))]
struct Device {
    /// The server: `opc.tcp://host[:4840][/path]`.
    url: String,
    /// How messages are protected. Without it, as well as the server offers.
    security: Option<Security>,
    /// A user name with its password. Without it and without `certificate` the
    /// log-on is anonymous.
    user: Option<User>,
    /// A user's X.509 certificate; a text is KubeEdge's form of `certificate.file`.
    certificate: Option<Certificate>,
    /// Which server certificates are accepted beside those in the folder
    /// `trusted` of the mapper's `pki`.
    trust: Option<Trust>,
    /// Until an answer must have come: `500ms`, `4s`, or a number of milliseconds.
    #[schemars(extend("default" = "4s"))]
    timeout: Option<Time>,
    /// How long the server is to keep the session, and to queue values for it,
    /// while the line is cut.
    #[schemars(extend("default" = "60s"))]
    session_timeout: Option<Time>,
    /// Between two notifications. Without it, the `collectCycle` of each property.
    publishing_interval: Option<Time>,
    /// The namespace (URI) of node ids and path elements that name none.
    #[schemars(extend("examples" = ["http://www.siemens.com/simatic-s7-opcua"]))]
    namespace: Option<String>,
    /// KubeEdge's form of `user.name`.
    user_name: Option<String>,
    /// KubeEdge's form of `user.password`.
    password: Option<String>,
    /// KubeEdge's form of `security.policy`.
    #[schemars(extend("enum" = POLICIES))]
    security_policy: Option<String>,
    /// KubeEdge's form of `security.mode`; `None` is the policy none.
    #[schemars(extend("enum" = MODES))]
    security_mode: Option<String>,
    /// KubeEdge's form of `certificate.key`.
    private_key: Option<String>,
}

/// How messages are protected (OPC 10000-7, 6.6).
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Security {
    /// `none`, `Basic256Sha256`, `Aes128Sha256RsaOaep`, `Aes256Sha256RsaPss`, or
    /// `auto`: the best that the server offers.
    #[schemars(extend("default" = "auto", "enum" = POLICIES))]
    policy: Option<String>,
    /// `sign`, `signAndEncrypt`, or `auto`: encrypted where the server can.
    #[schemars(extend("default" = "auto", "enum" = MODES))]
    mode: Option<String>,
}

/// A user.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct User {
    /// Its name.
    name: String,
    /// Its password.
    password: Option<String>,
    /// A file with its password, read at each log-on; a line end does not count.
    password_file: Option<String>,
}

/// A user's certificate.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Certificate {
    /// With its key.
    Files {
        /// The certificate, PEM or DER.
        file: String,
        /// Its RSA private key, PEM.
        key: String,
    },
    /// KubeEdge's form: the file of the certificate, beside `privateKey`.
    File(String),
}

/// Which server certificates are accepted.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Trust {
    /// `folder`, the default, or `all`: any certificate, for laboratories.
    Word(String),
    /// Exactly one.
    Pinned {
        /// Its SHA-1 thumbprint: 40 hexadecimal digits, with colons or without.
        thumbprint: String,
    },
}

/// Which node a property is, and how it is watched: `visitors.configData`. With
/// `sampling: poll`, or in a group, the node is read; else the server watches it
/// and tells its changes.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("examples" = [
    {"node": "nsu=http://vendor.example/press;s=Machine.Temperature"},
    {"path": "/Objects/2:Machine/3:Temperature", "serverDeadband": {"abs": 0.5}},
    {"node": "ns=3;s=\"DB_Axes\".\"position\"", "element": 2}
]))]
struct Property {
    /// The node: `nsu=URI;s=NAME`, `ns=2;s=NAME`, or with `i=NUMBER`, `g=GUID`,
    /// `b=BASE64`. A namespace by its URI follows its index, which a server may
    /// change with a restart.
    node: Option<String>,
    /// A browse path instead: `/Objects/2:Machine/3:Temperature`, or from `node`
    /// on: `2:Temperature`. `&` before `/`, `:` or `&` of a name.
    path: Option<String>,
    /// The namespace (URI) of names that say none.
    namespace: Option<String>,
    /// The attribute: Value, DisplayName, Description, DataType, AccessLevel, ….
    #[schemars(extend("default" = "Value"))]
    attribute: Option<String>,
    /// The part of an array that the server is to give: `2`, `0:3`, `0:1,2:3`.
    index_range: Option<NumberOrText>,
    /// The part of the value that is meant: `3` of an array, `limits.high` of a
    /// structure, `axes.0.position` of both. Arrays and structures that are
    /// not taken apart come as JSON text.
    element: Option<NumberOrText>,
    /// The type that writes are sent in; without it, the node's: bool, int8,
    /// uint8, …, int64, uint64, float32, float64, string, dateTime, guid,
    /// byteString, nodeId, qualifiedName, localizedText.
    raw_type: Option<String>,
    /// Values that the server keeps between two notifications; all of them are
    /// given, in order.
    #[schemars(extend("minimum" = 1, "maximum" = 10000, "default" = 1))]
    queue_size: Option<Number>,
    /// Between two looks of the server at the value. Without it, the
    /// `collectCycle` divided by `queueSize`.
    sampling_interval: Option<Time>,
    /// Between two notifications, in place of the device's.
    publishing_interval: Option<Time>,
    /// Changes that the server does not tell (OPC 10000-8, 7.2). `deadband` does
    /// the same at the edge, for any server.
    server_deadband: Option<Deadband>,
    /// KubeEdge's form of `node`.
    #[serde(rename = "nodeID")]
    node_id: Option<String>,
    /// KubeEdge's; accepted and not needed.
    browse_name: Option<Value>,
}

/// Changes that the server does not tell.
#[derive(JsonSchema)]
struct Deadband {
    /// Up to this much.
    #[schemars(extend("minimum" = 0))]
    abs: Option<Number>,
    /// Up to this many percent of the node's EURange.
    #[schemars(extend("minimum" = 0, "maximum" = 100))]
    percent: Option<Number>,
}

/// A method of the server. Its arguments are given by the names of its
/// InputArguments, or as an array; the result is an object by the names of its
/// OutputArguments.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("examples" = [
    {"object": "ns=2;s=Machine", "method": "ns=2;s=Machine.reset"}
]))]
struct Method {
    /// The object, as `node` or a path from the root.
    object: String,
    /// The method, as `node` or a path from the root.
    method: String,
    /// The namespace (URI) of names that say none.
    namespace: Option<String>,
}

/// A search: the variables of a server, by browsing.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("examples" = [
    {"url": "opc.tcp://192.0.2.7", "match": ["/Objects/Machine/**"]}
]))]
struct Discovery {
    #[serde(flatten)]
    server: Device,
    /// Where to begin: a node id or a browse path. Without it, the Objects
    /// folder without the Server object.
    root: Option<String>,
    /// Browse paths that are wanted, with or without the indexes of namespaces;
    /// `*` is anything in one element, `**` anything at all. A glob without `/` is
    /// a name at any depth, with all that is below it. One or several.
    #[serde(rename = "match")]
    globs: Option<Globs>,
    /// Levels below the root.
    #[schemars(extend("minimum" = 1, "maximum" = 100, "default" = 10))]
    depth: Option<Number>,
    /// Properties at most.
    #[schemars(extend("minimum" = 1, "maximum" = 100000, "default" = 1000))]
    max: Option<Number>,
}

/// One glob or several.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Globs {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// The mapper's own configuration.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Mapper {
    /// The folder of certificates: `own/cert.der` and `private/private.pem`, made
    /// at the first use; `trusted` and `rejected` with those of servers. Without
    /// it, `/var/lib/longshore/opcua`, or `longshore/opcua` in the user's state folder.
    pki: Option<String>,
    /// Our application's URI, also in our certificate. Without it,
    /// `urn:HOST:longshore:opcua`.
    application_uri: Option<String>,
    /// Our application's name.
    #[schemars(extend("default" = "Longshore"))]
    application_name: Option<String>,
}

/// A time: a number of milliseconds, or a text such as `500ms`, `5s`, `1m`.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Time {
    /// Milliseconds.
    Millis(f64),
    /// With a unit.
    Text(String),
}

/// A number, also written as a text.
#[derive(JsonSchema)]
#[serde(untagged)]
enum Number {
    /// As a number.
    Number(f64),
    /// As a text.
    Text(String),
}

/// A number or a text.
#[derive(JsonSchema)]
#[serde(untagged)]
enum NumberOrText {
    /// A number.
    Number(u32),
    /// A text.
    Text(String),
}

fn document() -> Document {
    Document {
        protocol: "opcua",
        description: "OPC UA over TCP: watching, reading, writing, methods, browsing.",
        device: schema_for!(Device).to_value(),
        property: schema_for!(Property).to_value(),
        method: Some(schema_for!(Method).to_value()),
        discovery: Some(schema_for!(Discovery).to_value()),
        mapper: Some(schema_for!(Mapper).to_value()),
    }
}

#[test]
fn the_schema_is_what_the_types_say() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json");
    document().check_file(file).unwrap();
    if std::env::var_os("LONGSHORE_UPDATE").is_none() {
        assert_eq!(crate::SCHEMA, document().to_json());
    }
}

/// The reader must know each key of the schema, and no others.
#[test]
fn the_reader_knows_the_keys_of_the_schema() {
    use longshore_sdk::{DeviceConfig, Protocol};
    let wrong = |part: &Value| -> Map<String, Value> {
        let keys = part["properties"].as_object().expect("an object").keys();
        keys.map(|key| (key.clone(), json!([]))).collect()
    };
    let whole = document();
    let parse = |protocol: Map<String, Value>, property: Map<String, Value>| {
        let device: DeviceConfig = serde_json::from_value(json!({
            "device": "default/all", "protocol": protocol,
            "points": [{"id": 1, "name": "a", "intervalMs": 0, "config": property}],
            "methods": [{"name": "m", "config": wrong(whole.method.as_ref().unwrap())}],
        }))
        .unwrap();
        let opcua = crate::Opcua::new(&Value::Null).unwrap();
        opcua.parse(&device)
    };
    let faults = parse(wrong(&whole.device), Map::new())
        .err()
        .expect("all is wrong");
    let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert!(
        told.iter().any(|fault| fault.starts_with("protocol.url: ")),
        "{told:?}"
    );
    // With a right url, what is wrong with the keys that are left shows as
    // warnings only if the reader does not know them.
    let right = json!({"url": "opc.tcp://192.0.2.7"})
        .as_object()
        .unwrap()
        .clone();
    let nulls = |part: &Value| -> Map<String, Value> {
        wrong(part)
            .into_iter()
            .map(|(key, _)| (key, Value::Null))
            .collect()
    };
    let mut protocol = nulls(&whole.device);
    protocol.extend(right);
    let mut property = nulls(&whole.property);
    property.insert("node".to_owned(), json!("i=2258"));
    let parsed = parse(protocol, property).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert!(parsed.points[0].is_ok());
    let unknown = parsed
        .warnings
        .iter()
        .filter(|warning| warning.message.starts_with("unknown"));
    assert_eq!(unknown.count(), 0, "{:?}", parsed.warnings);
}

/// A word that the schema refuses is one that the reader refuses, and the reverse.
#[test]
fn the_words_of_a_choice_are_those_of_the_reader() {
    use crate::bus::{Mode, Policy};
    fn same<'a>(words: &[&str], read: impl Iterator<Item = &'a str>) {
        let lower = |word: &str| word.to_ascii_lowercase();
        let known: std::collections::BTreeSet<_> = read.map(lower).collect();
        let told: std::collections::BTreeSet<_> = words.iter().map(|word| lower(word)).collect();
        assert_eq!(told, known);
    }
    same(POLICIES, Policy::NAMES.iter().map(|(word, _)| *word));
    same(MODES, Mode::NAMES.iter().map(|(word, _)| *word));
    let device = document().device;
    let list = device["properties"]["securityPolicy"]["enum"].as_array();
    assert_eq!(list.map(Vec::len), Some(POLICIES.len()), "{device}");
}

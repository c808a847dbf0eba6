//! The keys of opcua, said once: the reader takes them from here, `schema.json`
//! and docs/reference/protocol-opcua.md are made of it.

use std::time::Duration;

use longshore_sdk::{
    keys::{Default, Form, Key, Table, key},
    schema::Document,
};

use crate::{
    bus::{Mode, Policy},
    config::{SESSION_TIMEOUT, TIMEOUT},
    discover::{DEPTH, MOST},
    point::{ATTRIBUTES, TYPES},
};

const HOUR: Duration = Duration::from_secs(3600);

const fn millis(least: u64, most: Duration) -> Form {
    Form::Duration(Duration::from_millis(least), most)
}

const NAMESPACE: &str = "The namespace (URI) of names that say none.";
const NO_NODE: &str = "no node: write for example `ns=2;s=Machine`";

#[rustfmt::skip]
const SECURITY: Table = Table {
    about: "How messages are protected (OPC 10000-7, 6.6).",
    keys: &[&[
        key("policy", Form::Words(&Policy::NAMES), "`none`, `Basic256Sha256`, `Aes128Sha256RsaOaep`, `Aes256Sha256RsaPss`, or `auto`: the best that the server offers.").or(Default::Text("auto")),
        key("mode", Form::Words(&Mode::NAMES), "`sign`, `signAndEncrypt`, or `auto`: encrypted where the server can.").or(Default::Text("auto")),
    ]],
    examples: &[],
};

#[rustfmt::skip]
const USER: Table = Table {
    about: "A user.",
    keys: &[&[
        key("name", Form::Text, "Its name.").required("no name of the user"),
        key("password", Form::Text, "Its password."),
        key("passwordFile", Form::Text, "A file with its password, read at each log-on; a line end does not count."),
        key("allowUnprotected", Form::Boolean, "Whether the password may be sent where nobody protects it: in the clear, or encrypted for a certificate that nobody has accepted.").or(Default::Truth(false)),
    ]],
    examples: &[],
};

#[rustfmt::skip]
const CERTIFICATE: Table = Table {
    about: "With its key.",
    keys: &[&[
        key("file", Form::Text, "The certificate, PEM or DER.").required("no file named"),
        key("key", Form::Text, "Its RSA private key, PEM.").required("no file named"),
    ]],
    examples: &[],
};

#[rustfmt::skip]
const PINNED: Table = Table {
    about: "Exactly one.",
    keys: &[&[
        key("thumbprint", Form::Text, "Its SHA-1 thumbprint: 40 hexadecimal digits, with colons or without.")
            .required("no thumbprint: write its 40 hexadecimal digits"),
    ]],
    examples: &[],
};

#[rustfmt::skip]
const BOUNDS: Table = Table {
    about: "How much one answer of the server may come to, so that it cannot fill the memory.",
    keys: &[&[
        key("message", Form::Integer(65_536, 1 << 28), "Bytes of a message.").or(Default::Whole(16 << 20)),
        key("text", Form::Integer(1024, 1 << 28), "Bytes of a text or of a byte string.").or(Default::Whole(4 << 20)),
        key("array", Form::Integer(1, 1 << 28), "Elements of an array.").or(Default::Whole(1_000_000)),
    ]],
    examples: &[],
};

#[rustfmt::skip]
const SERVER: &[Key] = &[
    key("url", Form::Text, "The server: `opc.tcp://host[:4840][/path]`.").required("no address of the server: write url: opc.tcp://HOST:4840"),
    key("security", Form::Object(&SECURITY), "How messages are protected. Without it, as well as the server offers."),
    key("user", Form::Object(&USER), "A user name with its password. Without it and without `certificate` the log-on is anonymous."),
    key("certificate", Form::Either(&[Form::Object(&CERTIFICATE), Form::Text]), "A user's X.509 certificate; a text is KubeEdge's form of `certificate.file`."),
    key("trust", Form::Either(&[Form::Text, Form::Object(&PINNED)]), "Which server certificates are accepted beside those in the folder `trusted` of the mapper's `pki`: `folder`, the default, `all` (any certificate, for laboratories), or one by its thumbprint."),
    key("timeout", millis(50, Duration::from_secs(600)), "Until an answer must have come: `500ms`, `4s`, or a number of milliseconds.").or(Default::Time(TIMEOUT)),
    key("sessionTimeout", millis(5_000, Duration::from_secs(86_400)), "How long the server is to keep the session, and to queue values for it, while the line is cut.").or(Default::Time(SESSION_TIMEOUT)),
    key("bounds", Form::Object(&BOUNDS), "How much one answer may come to. A value beyond is bad and says so; the other values come as ever."),
    key("publishingInterval", millis(10, HOUR), "Between two notifications. Without it, the `collectCycle` of each property."),
    key("namespace", Form::Text, "The namespace (URI) of node ids and path elements that name none, for example `http://www.siemens.com/simatic-s7-opcua`."),
    key("userName", Form::Text, "KubeEdge's form of `user.name`."),
    key("password", Form::Text, "KubeEdge's form of `user.password`."),
    key("securityPolicy", Form::Words(&Policy::NAMES), "KubeEdge's form of `security.policy`."),
    key("securityMode", Form::Words(&Mode::NAMES), "KubeEdge's form of `security.mode`; `None` is the policy none."),
    key("privateKey", Form::Text, "KubeEdge's form of `certificate.key`."),
];

/// `protocol.configData`.
#[rustfmt::skip]
pub const DEVICE: Table = Table {
    about: "How a server is reached: `protocol.configData` of a Device, or `protocolConfigData` of its model as the default. Devices that agree in all but `namespace` and `publishingInterval` share one session.",
    keys: &[SERVER],
    examples: &[
        r#"{"url": "opc.tcp://192.0.2.7:4840", "security": {"policy": "none"}}"#,
        r#"{"url": "opc.tcp://plc.example", "security": {"policy": "Basic256Sha256", "mode": "signAndEncrypt"}, "user": {"name": "longshore", "passwordFile": "/etc/longshore/plc.password"}}"#,
    ],
};

#[rustfmt::skip]
const DEADBAND: Table = Table {
    about: "Changes that the server does not tell.",
    keys: &[&[
        key("abs", Form::Number(0.0, f64::INFINITY), "Up to this much."),
        key("percent", Form::Number(0.0, 100.0), "Up to this many percent of the node's EURange."),
    ]],
    examples: &[],
};

/// `visitors.configData`.
#[rustfmt::skip]
pub const PROPERTY: Table = Table {
    about: "Which node a property is, and how it is watched: `visitors.configData`. With `sampling: poll`, or in a group, the node is read; else the server watches it and tells its changes.",
    keys: &[&[
        key("node", Form::Text, "The node: `nsu=URI;s=NAME`, `ns=2;s=NAME`, or with `i=NUMBER`, `g=GUID`, `b=BASE64`. A namespace by its URI follows its index, which a server may change with a restart."),
        key("path", Form::Text, "A browse path instead: `/Objects/2:Machine/3:Temperature`, or from `node` on: `2:Temperature`. `&` before `/`, `:` or `&` of a name."),
        key("namespace", Form::Text, NAMESPACE),
        key("attribute", Form::AnyCase(&ATTRIBUTES), "The attribute: Value, DisplayName, Description, DataType, AccessLevel, ….").or(Default::Text("Value")),
        key("indexRange", Form::Label, "The part of an array that the server is to give: `2`, `0:3`, `0:1,2:3`."),
        key("element", Form::Label, "The part of the value that is meant: `3` of an array, `limits.high` of a structure, `axes.0.position` of both. Arrays and structures that are not taken apart come as JSON text."),
        key("rawType", Form::AnyCase(&TYPES), "The type that writes are sent in; without it, the node's: bool, int8, uint8, …, int64, uint64, float32, float64, string, dateTime, guid, byteString, nodeId, qualifiedName, localizedText, statusCode."),
        key("queueSize", Form::Integer(1, 10_000), "Values that the server keeps between two notifications; all of them are given, in order.").or(Default::Whole(1)),
        key("samplingInterval", millis(0, HOUR), "Between two looks of the server at the value. Without it, the `collectCycle` divided by `queueSize`."),
        key("publishingInterval", millis(10, HOUR), "Between two notifications, in place of the device's."),
        key("serverDeadband", Form::Object(&DEADBAND), "Changes that the server does not tell (OPC 10000-8, 7.2). `deadband` does the same at the edge, for any server."),
        key("nodeID", Form::Text, "KubeEdge's form of `node`."),
        key("browseName", Form::Any, "KubeEdge's; accepted and not needed."),
    ]],
    examples: &[
        r#"{"node": "nsu=http://vendor.example/press;s=Machine.Temperature"}"#,
        r#"{"path": "/Objects/2:Machine/3:Temperature", "serverDeadband": {"abs": 0.5}}"#,
        r#"{"node": "ns=3;s=\"DB_Axes\".\"position\"", "element": 2}"#,
    ],
};

/// `call` of a method.
#[rustfmt::skip]
pub const METHOD: Table = Table {
    about: "A method of the server. Its arguments are given by the names of its InputArguments, or as an array; the result is an object by the names of its OutputArguments.",
    keys: &[&[
        key("object", Form::Text, "The object, as `node` or a path from the root.").required(NO_NODE),
        key("method", Form::Text, "The method, as `node` or a path from the root.").required(NO_NODE),
        key("namespace", Form::Text, NAMESPACE),
    ]],
    examples: &[r#"{"object": "ns=2;s=Machine", "method": "ns=2;s=Machine.reset"}"#],
};

/// A request to look for devices.
#[rustfmt::skip]
pub const DISCOVERY: Table = Table {
    about: "A search: the variables of a server, by browsing.",
    keys: &[SERVER, &[
        key("root", Form::Text, "Where to begin: a node id or a browse path. Without it, the Objects folder without the Server object."),
        key("match", Form::Either(&[Form::Text, Form::List(&Form::Text)]), "Browse paths that are wanted, with or without the indexes of namespaces; `*` is anything in one element, `**` anything at all. A glob without `/` is a name at any depth, with all that is below it. One or several."),
        key("depth", Form::Integer(1, 100), "Levels below the root.").or(Default::Whole(DEPTH)),
        key("max", Form::Integer(1, 100_000), "Properties at most.").or(Default::Whole(MOST)),
    ]],
    examples: &[r#"{"url": "opc.tcp://192.0.2.7", "match": ["/Objects/Machine/**"]}"#],
};

/// The mapper's own configuration.
#[rustfmt::skip]
pub const MAPPER: Table = Table {
    about: "The mapper's own configuration.",
    keys: &[&[
        key("pki", Form::Text, "The folder of certificates: `own/cert.der` and `private/private.pem`, made at the first use; `trusted` and `rejected` with those of servers. Without it, `/var/lib/longshore/opcua`, or `longshore/opcua` in the user's state folder."),
        key("applicationUri", Form::Text, "Our application's URI, also in our certificate. Without it, `urn:HOST:longshore:opcua`."),
        key("applicationName", Form::Text, "Our application's name.").or(Default::Text("Longshore")),
    ]],
    examples: &[],
};

/// All of them, as `schema.json` has them.
pub const DOCUMENT: Document = Document {
    protocol: "opcua",
    description: "OPC UA over TCP: watching, reading, writing, methods, browsing.",
    device: &DEVICE,
    property: &PROPERTY,
    method: Some(&METHOD),
    discovery: Some(&DISCOVERY),
    mapper: Some(&MAPPER),
};

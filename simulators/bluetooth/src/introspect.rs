//! What the objects say of themselves, as org.freedesktop.DBus.Introspectable.
//!
//! The names and signatures are those of BlueZ's documentation (doc/adapter-api,
//! device-api, gatt-api, agent-api). The tests compare them with the template
//! of python-dbusmock.

use crate::model::{ADAPTER, CHARACTERISTIC, DEVICE, SERVICE};

/// A method with the signatures of what goes in and what comes out.
pub(crate) struct Method(pub(crate) &'static str, &'static str, &'static str);
/// A property with its signature and whether it can be set.
pub(crate) struct Property(&'static str, &'static str, bool);

pub(crate) struct Interface {
    pub(crate) name: &'static str,
    pub(crate) methods: &'static [Method],
    properties: &'static [Property],
}

pub(crate) const INTERFACES: &[Interface] = &[
    Interface {
        name: "org.bluez.AgentManager1",
        methods: &[
            Method("RegisterAgent", "os", ""),
            Method("UnregisterAgent", "o", ""),
            Method("RequestDefaultAgent", "o", ""),
        ],
        properties: &[],
    },
    Interface {
        name: ADAPTER,
        methods: &[
            Method("StartDiscovery", "", ""),
            Method("StopDiscovery", "", ""),
            Method("SetDiscoveryFilter", "a{sv}", ""),
            Method("GetDiscoveryFilters", "", "as"),
            Method("RemoveDevice", "o", ""),
        ],
        properties: &[
            Property("Address", "s", false),
            Property("AddressType", "s", false),
            Property("Name", "s", false),
            Property("Alias", "s", true),
            Property("Class", "u", false),
            Property("Powered", "b", true),
            Property("Discoverable", "b", true),
            Property("DiscoverableTimeout", "u", true),
            Property("Pairable", "b", true),
            Property("PairableTimeout", "u", true),
            Property("Discovering", "b", false),
            Property("UUIDs", "as", false),
            Property("Roles", "as", false),
        ],
    },
    Interface {
        name: DEVICE,
        methods: &[
            Method("Connect", "", ""),
            Method("Disconnect", "", ""),
            Method("ConnectProfile", "s", ""),
            Method("DisconnectProfile", "s", ""),
            Method("Pair", "", ""),
            Method("CancelPairing", "", ""),
        ],
        properties: &[
            Property("Address", "s", false),
            Property("AddressType", "s", false),
            Property("Name", "s", false),
            Property("Alias", "s", true),
            Property("Paired", "b", false),
            Property("Bonded", "b", false),
            Property("Trusted", "b", true),
            Property("Blocked", "b", true),
            Property("LegacyPairing", "b", false),
            Property("Connected", "b", false),
            Property("ServicesResolved", "b", false),
            Property("UUIDs", "as", false),
            Property("Adapter", "o", false),
            Property("RSSI", "n", false),
            Property("TxPower", "n", false),
            Property("ManufacturerData", "a{qv}", false),
            Property("ServiceData", "a{sv}", false),
        ],
    },
    Interface {
        name: SERVICE,
        methods: &[],
        properties: &[
            Property("UUID", "s", false),
            Property("Device", "o", false),
            Property("Primary", "b", false),
            Property("Includes", "ao", false),
        ],
    },
    Interface {
        name: CHARACTERISTIC,
        methods: &[
            Method("ReadValue", "a{sv}", "ay"),
            Method("WriteValue", "aya{sv}", ""),
            Method("StartNotify", "", ""),
            Method("StopNotify", "", ""),
        ],
        properties: &[
            Property("UUID", "s", false),
            Property("Service", "o", false),
            Property("Value", "ay", false),
            Property("Notifying", "b", false),
            Property("Flags", "as", false),
            Property("MTU", "q", false),
        ],
    },
];

/// What every object has.
const COMMON: &str = r#"<interface name="org.freedesktop.DBus.Introspectable"><method name="Introspect"><arg name="xml" type="s" direction="out"/></method></interface>
<interface name="org.freedesktop.DBus.Properties"><method name="Get"><arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="v" direction="out"/></method><method name="Set"><arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="v" direction="in"/></method><method name="GetAll"><arg type="s" direction="in"/><arg type="a{sv}" direction="out"/></method><signal name="PropertiesChanged"><arg type="s"/><arg type="a{sv}"/><arg type="as"/></signal></interface>
"#;
const MANAGER: &str = r#"<interface name="org.freedesktop.DBus.ObjectManager"><method name="GetManagedObjects"><arg type="a{oa{sa{sv}}}" direction="out"/></method><signal name="InterfacesAdded"><arg type="o"/><arg type="a{sa{sv}}"/></signal><signal name="InterfacesRemoved"><arg type="o"/><arg type="as"/></signal></interface>
"#;

/// The XML of an object with these interfaces and these nodes below it.
pub(crate) fn xml(is_root: bool, interfaces: &[&str], nodes: &[String]) -> String {
    let mut xml = String::from("<node>\n");
    xml.push_str(COMMON);
    if is_root {
        xml.push_str(MANAGER);
    }
    for interface in INTERFACES
        .iter()
        .filter(|known| interfaces.contains(&known.name))
    {
        xml.push_str(&format!("<interface name=\"{}\">", interface.name));
        for Method(name, input, output) in interface.methods {
            xml.push_str(&format!("<method name=\"{name}\">"));
            for (signature, direction) in [(input, "in"), (output, "out")] {
                for one in split(signature) {
                    xml.push_str(&format!("<arg type=\"{one}\" direction=\"{direction}\"/>"));
                }
            }
            xml.push_str("</method>");
        }
        for Property(name, signature, settable) in interface.properties {
            let access = if *settable { "readwrite" } else { "read" };
            xml.push_str(&format!(
                "<property name=\"{name}\" type=\"{signature}\" access=\"{access}\"/>"
            ));
        }
        xml.push_str("</interface>\n");
    }
    for node in nodes {
        xml.push_str(&format!("<node name=\"{node}\"/>\n"));
    }
    xml.push_str("</node>\n");
    xml
}

/// The complete types of a signature; those that are used here.
fn split(signature: &str) -> Vec<&str> {
    let mut types = Vec::new();
    let mut rest = signature;
    while !rest.is_empty() {
        let mut end = rest.find(|c| c != 'a').unwrap_or(0);
        end += match rest[end..].find('}') {
            Some(close) if rest[end..].starts_with('{') => close + 1,
            _ => 1,
        };
        types.push(&rest[..end]);
        rest = &rest[end..];
    }
    types
}

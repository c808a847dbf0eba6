//! How a device of each protocol comes to hang on its simulator.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use longshore_types::device::FreeObject;
use serde_json::{Value as Json, json};

/// A protocol whose profiles can be tested without hardware.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// The protocol's name.
    pub(super) protocol: String,
    /// Keys of `protocol.configData` that say where the device is.
    keys: &'static [&'static str],
    /// The simulator is a command of the test, and says itself where it is.
    is_own: bool,
}

/// A protocol with a simulator of ours.
struct Known {
    protocol: &'static str,
    keys: &'static [&'static str],
}

const LINES: [Known; 4] = [
    Known {
        protocol: "modbus",
        keys: &[
            "url",
            "communicateMode",
            "ip",
            "port",
            "serialPort",
            "baudRate",
            "dataBits",
            "parity",
            "stopBits",
        ],
    },
    Known {
        protocol: "opcua",
        keys: &[
            "url",
            "security",
            "user",
            "certificate",
            "userName",
            "password",
            "securityPolicy",
            "securityMode",
            "privateKey",
        ],
    },
    Known {
        protocol: "serial",
        keys: &["port", "usb", "url"],
    },
    Known {
        protocol: "bluetooth",
        keys: &[],
    },
];

impl Line {
    /// The line of a protocol, if there is a simulator for it.
    pub(super) fn of(protocol: &str) -> Option<Self> {
        let mut lines = LINES.iter();
        let known = lines.find(|line| line.protocol == protocol)?;
        Some(Self {
            protocol: protocol.to_owned(),
            keys: known.keys,
            is_own: false,
        })
    }

    /// The line of any protocol, whose simulator the test brings itself.
    pub(super) fn own(protocol: &str) -> Self {
        Self {
            protocol: protocol.to_owned(),
            keys: &[],
            is_own: true,
        }
    }

    /// The protocols.
    pub(super) fn protocols() -> String {
        LINES.each_ref().map(|line| line.protocol).join(", ")
    }

    /// Whether the test brings its simulator itself.
    pub(super) fn is_own(&self) -> bool {
        self.is_own
    }

    /// Arguments of the simulator behind the scenario.
    pub(super) fn arguments(&self, folder: &Path) -> Vec<PathBuf> {
        let free = "127.0.0.1:0";
        let mut arguments: Vec<PathBuf> = vec!["--control".into(), free.into()];
        match &*self.protocol {
            _ if self.is_own => return Vec::new(),
            "modbus" => arguments.extend(["--tcp".into(), free.into()]),
            "serial" => arguments.extend(["--port-link".into(), folder.join("port")]),
            _ => {}
        }
        arguments
    }

    /// Takes the device off its own line.
    pub(super) fn clear(&self, config: &mut FreeObject) {
        for key in self.keys {
            config.shift_remove(*key);
        }
    }

    /// Hangs the device on the simulator that has said `ready`.
    pub(super) fn place(&self, config: &mut FreeObject, ready: &Json) -> Result<()> {
        self.clear(config);
        let told = |key: &str| {
            let text = ready[key].as_str();
            text.with_context(|| {
                format!("the {} simulator did not tell its `{key}`", self.protocol)
            })
        };
        if self.is_own {
            let keys = ready["protocol"].as_object().context(
                "the simulator's line has no `protocol`, such as {\"protocol\": {\"url\": \"tcp://127.0.0.1:7000\"}}: the keys of the device's protocol that lead to it",
            )?;
            config.extend(keys.iter().map(|(key, value)| (key.clone(), value.clone())));
            return Ok(());
        }
        match &*self.protocol {
            "modbus" => {
                config.insert("url".into(), json!(format!("tcp://{}", told("tcp")?)));
            }
            "opcua" => {
                config.insert("url".into(), json!(told("url")?));
            }
            "serial" => {
                config.insert("port".into(), json!(told("port")?));
            }
            _ => {}
        }
        Ok(())
    }

    /// The mapper's own configuration for the simulator.
    pub(super) fn mapper_config(&self, folder: &Path, ready: &Json) -> Json {
        match &*self.protocol {
            _ if self.is_own => json!({}),
            "opcua" => json!({"pki": folder.join("pki")}),
            "bluetooth" => json!({"bus": ready["bus"]}),
            _ => json!({}),
        }
    }
}

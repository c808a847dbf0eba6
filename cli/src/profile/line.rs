//! How a device of each protocol comes to hang on its simulator.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use longshore_types::device::FreeObject;
use serde_json::{Value as Json, json};

/// A protocol whose profiles can be tested without hardware.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// The protocol's name.
    pub(super) protocol: &'static str,
    /// Keys of `protocol.configData` that say where the device is.
    keys: &'static [&'static str],
}

const LINES: [Line; 4] = [
    Line {
        protocol: "modbus",
        keys: &[
            "url",
            "unit",
            "slaveID",
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
    Line {
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
    Line {
        protocol: "serial",
        keys: &["port", "usb", "url"],
    },
    Line {
        protocol: "bluetooth",
        keys: &[],
    },
];

impl Line {
    /// The line of a protocol, if there is a simulator for it.
    pub(super) fn of(protocol: &str) -> Option<Self> {
        LINES.into_iter().find(|line| line.protocol == protocol)
    }

    /// The protocols.
    pub(super) fn protocols() -> String {
        LINES.map(|line| line.protocol).join(", ")
    }

    /// Arguments of the simulator behind the scenario.
    pub(super) fn arguments(self, folder: &Path) -> Vec<PathBuf> {
        let free = "127.0.0.1:0";
        let mut arguments: Vec<PathBuf> = vec!["--control".into(), free.into()];
        match self.protocol {
            "modbus" => arguments.extend(["--tcp".into(), free.into()]),
            "serial" => arguments.extend(["--port-link".into(), folder.join("port")]),
            _ => {}
        }
        arguments
    }

    /// Takes the device off its own line.
    pub(super) fn clear(self, config: &mut FreeObject) {
        for key in self.keys {
            config.shift_remove(*key);
        }
    }

    /// Hangs the device on the simulator that has said `ready`.
    pub(super) fn place(
        self,
        config: &mut FreeObject,
        ready: &Json,
        unit: Option<u8>,
    ) -> Result<()> {
        self.clear(config);
        let told = |key: &str| {
            let text = ready[key].as_str();
            text.with_context(|| {
                format!("the {} simulator did not tell its `{key}`", self.protocol)
            })
        };
        match self.protocol {
            "modbus" => {
                config.insert("url".into(), json!(format!("tcp://{}", told("tcp")?)));
                config.insert("unit".into(), json!(unit));
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
    pub(super) fn mapper_config(self, folder: &Path, ready: &Json) -> Json {
        match self.protocol {
            "opcua" => json!({"pki": folder.join("pki")}),
            "bluetooth" => json!({"bus": ready["bus"]}),
            _ => json!({}),
        }
    }
}

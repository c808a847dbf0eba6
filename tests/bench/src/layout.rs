//! How a load is laid out on devices and connections.
//!
//! A device is one Modbus unit with 1,000 float32 in its input registers, so a
//! cycle of it is 17 requests of up to 125 registers. Devices are spread over
//! at most ten connections. All of them share one model, as a fleet of equal
//! meters would.

use std::net::SocketAddr;

use serde_json::{Value as Json, json};

/// Floats of a device.
pub const FLOATS: u16 = 1_000;
/// Connections of the larger loads: as many as there are listeners.
pub const CONNECTIONS: usize = 10;
/// Units that Modbus knows.
const UNITS: usize = 247;
/// The register that is written, beyond those that change.
const SETPOINT: u16 = 60_000;
/// The property that is written.
pub const SETPOINT_NAME: &str = "setpoint";

/// A load.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Devices.
    pub devices: usize,
    /// Floats of each device.
    pub floats: u16,
    /// Milliseconds between two readings of each point.
    pub cycle_ms: u32,
    /// Whether each device has a writable property, too.
    pub writable: bool,
}

impl Layout {
    /// So many points each second, each read once a second.
    pub fn of_rate(points: u32) -> Self {
        let floats = points.min(u32::from(FLOATS)) as u16;
        Self {
            devices: (points / u32::from(floats.max(1))).max(1) as usize,
            floats,
            cycle_ms: 1_000,
            writable: false,
        }
    }

    /// 10,000 points each second from 1,000 small devices: as many messages
    /// as a million points from large ones.
    pub fn small() -> Self {
        Self {
            devices: 1_000,
            floats: 10,
            cycle_ms: 1_000,
            writable: false,
        }
    }

    /// Points each second.
    pub fn rate(&self) -> f64 {
        self.devices as f64 * f64::from(self.floats) * 1_000.0 / f64::from(self.cycle_ms)
    }

    /// Listeners that are used.
    pub fn connections(&self) -> usize {
        self.devices.min(CONNECTIONS)
    }

    /// Units that the simulator needs.
    pub fn units(&self) -> u8 {
        self.unit(self.devices - 1)
    }

    /// The unit of a device: one of its own as long as there are enough, else
    /// one that it shares with a device on each of the other connections.
    pub fn unit(&self, device: usize) -> u8 {
        let index = if self.devices <= UNITS {
            device
        } else {
            device / self.connections()
        };
        u8::try_from(index + 1).unwrap_or(u8::MAX)
    }

    /// The name of a device.
    pub fn device_name(&self, device: usize) -> String {
        format!("plant-{device:04}")
    }

    /// The model and all devices, for the node's folder of manifests: file names and texts.
    pub fn manifests(&self, listeners: &[SocketAddr]) -> Vec<(String, String)> {
        let mut files = vec![("model.yaml".to_owned(), self.model().to_string())];
        for device in 0..self.devices {
            let name = self.device_name(device);
            let at = listeners[device % listeners.len()];
            files.push((format!("{name}.yaml"), self.device(device, at).to_string()));
        }
        files
    }

    fn point_name(index: u16) -> String {
        format!("p{index:03}")
    }

    fn model(&self) -> Json {
        let mut properties: Vec<Json> = (0..self.floats)
            .map(|index| {
                let config = json!({"address": format!("ir:{}", index * 2), "rawType": "float32"});
                property_model(&Self::point_name(index), "FLOAT", "ReadOnly", config)
            })
            .collect();
        if self.writable {
            let config = json!({"address": format!("hr:{SETPOINT}"), "rawType": "uint16"});
            properties.push(property_model(SETPOINT_NAME, "INT", "ReadWrite", config));
        }
        json!({
            "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel",
            "metadata": {"name": "plant", "namespace": "default"},
            "spec": {"protocol": "modbus", "properties": properties},
        })
    }

    fn device(&self, device: usize, at: SocketAddr) -> Json {
        let mut names: Vec<String> = (0..self.floats).map(Self::point_name).collect();
        if self.writable {
            names.push(SETPOINT_NAME.to_owned());
        }
        let properties: Vec<Json> = names
            .into_iter()
            .map(|name| json!({"name": name, "collectCycle": self.cycle_ms}))
            .collect();
        json!({
            "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device",
            "metadata": {"name": self.device_name(device), "namespace": "default"},
            "spec": {
                "nodeName": "edge-1",
                "deviceModelRef": {"name": "plant"},
                "protocol": {
                    "protocolName": "modbus",
                    "configData": {"url": format!("tcp://{at}"), "unit": self.unit(device)},
                },
                "properties": properties,
            },
        })
    }
}

fn property_model(name: &str, kind: &str, access: &str, config: Json) -> Json {
    json!({
        "name": name, "type": kind, "accessMode": access,
        "visitors": {"protocolName": "modbus", "configData": config},
    })
}

//! Devices and their models, told in a line.

use longshore_sim_modbus::{Endpoint, Simulator};
use serde_json::{Value as Json, json};

/// A Device and its DeviceModel.
#[derive(Debug, Clone)]
pub struct DeviceManifest {
    name: String,
    node: String,
    protocol_name: String,
    protocol: Json,
    of_model: Json,
    model: Vec<Json>,
    device: Vec<Json>,
    cycle: i64,
}

/// A device of namespace `default` on node `edge-1`, polled every 50 ms.
pub fn device(name: &str) -> DeviceManifest {
    DeviceManifest {
        name: name.to_owned(),
        node: "edge-1".to_owned(),
        protocol_name: "modbus".to_owned(),
        protocol: json!({}),
        of_model: json!({}),
        model: vec![],
        device: vec![],
        cycle: 50,
    }
}

impl DeviceManifest {
    /// Unit 1 of this simulator.
    #[must_use]
    pub fn on(self, plc: &Simulator) -> Self {
        self.unit(plc, 1)
    }

    /// A unit of this simulator.
    #[must_use]
    pub fn unit(mut self, plc: &Simulator, unit: u8) -> Self {
        let scheme = match plc.endpoints().first() {
            Some(Endpoint::RtuTcp(_)) => "rtu+tcp",
            _ => "tcp",
        };
        let url = format!("{scheme}://{}", plc.addr());
        self.protocol = json!({"url": url, "unit": unit, "timeoutMs": 300});
        self
    }

    /// Of another protocol, reached by this `configData`.
    #[must_use]
    pub fn speaking(mut self, protocol: &str, config: Json) -> Self {
        self.protocol_name = protocol.to_owned();
        self.protocol = config;
        self
    }

    /// On another node.
    #[must_use]
    pub fn node(mut self, node: &str) -> Self {
        self.node = node.to_owned();
        self
    }

    /// The model's `protocolConfigData`: events, methods, groups.
    #[must_use]
    pub fn model_config(mut self, config: Json) -> Self {
        self.of_model = config;
        self
    }

    /// The time between two readings.
    #[must_use]
    pub fn every(mut self, milliseconds: i64) -> Self {
        self.cycle = milliseconds;
        self
    }

    /// A property that is only read.
    #[must_use]
    pub fn read(self, name: &str, kind: &str, config: Json) -> Self {
        self.property(
            json!({"name": name, "type": kind, "accessMode": "ReadOnly"}),
            config,
            None,
        )
    }

    /// A property that may be written.
    #[must_use]
    pub fn read_write(self, name: &str, kind: &str, config: Json) -> Self {
        self.property(
            json!({"name": name, "type": kind, "accessMode": "ReadWrite"}),
            config,
            None,
        )
    }

    /// A property as the model has it, its visitor, and what it should be.
    #[must_use]
    pub fn property(mut self, model: Json, config: Json, desired: Option<&str>) -> Self {
        let mut property = json!({
            "name": model["name"], "collectCycle": self.cycle, "reportCycle": self.cycle, "reportToCloud": true,
            "visitors": {"protocolName": self.protocol_name, "configData": config},
        });
        if let Some(value) = desired {
            property["desired"] = json!({"value": value});
        }
        self.model.push(model);
        self.device.push(property);
        self
    }

    /// Sets what a property should be.
    #[must_use]
    pub fn desired(mut self, name: &str, value: &str) -> Self {
        for property in self
            .device
            .iter_mut()
            .filter(|property| property["name"] == name)
        {
            property["desired"] = json!({"value": value});
        }
        self
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The DeviceModel object.
    pub fn model(&self) -> Json {
        json!({
            "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel",
            "metadata": {"name": format!("{}-model", self.name), "namespace": "default"},
            "spec": {
                "protocol": self.protocol_name,
                "protocolConfigData": self.of_model,
                "properties": self.model,
            },
        })
    }

    /// The Device object.
    pub fn device(&self) -> Json {
        json!({
            "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device",
            "metadata": {"name": self.name, "namespace": "default"},
            "spec": {
                "nodeName": self.node,
                "deviceModelRef": {"name": format!("{}-model", self.name)},
                "protocol": {"protocolName": self.protocol_name, "configData": self.protocol},
                "properties": self.device,
            },
        })
    }

    /// Both as YAML documents.
    pub fn yaml(&self) -> String {
        // JSON is YAML.
        format!("---\n{:#}\n---\n{:#}\n", self.model(), self.device())
    }
}

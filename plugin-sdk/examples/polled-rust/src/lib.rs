//! A whole mapper in one small file: each point is a file that holds one value,
//! as the files of Linux's sysfs do (`/sys/class/thermal/thermal_zone0/temp`).
//!
//! What it does not have is the schedule: intervals, time-outs, a device that
//! is gone and comes back, deadlines of commands. That is the SDK's.
//! `longshore new mapper NAME` writes a mapper in several files, with tests.

use std::{
    fmt,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use longshore_sdk::{
    Connection, DeviceConfig, Fault, Parsed, PlanPoint, Planned, PointConfig, Protocol,
    ProtocolMapper, Reason, RequestError, SampleValue, Samples,
    config::Section,
    keys::{Form, Table, key},
};
use serde_json::Value;

longshore_sdk::export_mapper!(
    ProtocolMapper<Files>, name: "file", protocol: "file", capabilities: READ | WRITE | POLL,
    schema: r#"{
      "protocol": "file",
      "description": "Files that hold one value, such as those of sysfs.",
      "device": {"type": "object", "required": ["folder"], "properties":
        {"folder": {"type": "string", "description": "Where the files are."}}},
      "property": {"type": "object", "required": ["address"], "properties":
        {"address": {"type": "string", "description": "The name of the file in the folder."}}}
    }"#,
);

/// What may stand in a device's configuration, for the reader.
const DEVICE: Table = Table {
    about: "A folder.",
    keys: &[&[key("folder", Form::Text, "Where the files are.")
        .required("missing; name the folder of the files")]],
    examples: &[],
};

struct Files;

/// The bus: a folder. Its files are read one after the other.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Folder(PathBuf);

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Protocol for Files {
    type Bus = Folder;
    type Unit = u8; // There is one unit in a folder.
    type Point = String;
    type Request = (u32, String);
    type Connection = Folder;

    fn new(_: &Value) -> Result<Self, Vec<Fault>> {
        Ok(Self)
    }

    fn parse(&self, device: &DeviceConfig) -> Result<Parsed<Self>, Vec<Fault>> {
        let section = Section::new(&DEVICE, "protocol", &device.protocol);
        let folder = section.text("folder");
        let (faults, warnings) = section.finish();
        let points = device.points.iter().enumerate().map(point).collect();
        match folder {
            Some(folder) if faults.is_empty() => Ok(Parsed {
                bus: Folder(PathBuf::from(folder)),
                unit: 1,
                points,
                warnings,
            }),
            _ => Err(faults),
        }
    }

    fn plan(
        &self,
        _: &Folder,
        _: &u8,
        points: &[PlanPoint<'_, String>],
    ) -> Vec<Planned<(u32, String)>> {
        let one = |of: &PlanPoint<'_, String>| Planned {
            request: (of.id, of.point.clone()),
            points: vec![of.id],
        };
        points.iter().map(one).collect()
    }

    async fn connect(&self, folder: &Folder) -> Result<Folder, RequestError> {
        let found = tokio::fs::read_dir(&folder.0).await;
        found
            .map(|_| folder.clone())
            .map_err(|error| RequestError::Line(error.to_string()))
    }

    fn timeout(&self, _: &Folder, _: &u8) -> Duration {
        Duration::from_secs(1)
    }
}

fn point((index, point): (usize, &PointConfig)) -> Result<String, Fault> {
    let name = point.config.get("address").and_then(Value::as_str);
    // Only files of the folder itself.
    let inside = |name: &&str| !name.is_empty() && !name.contains('/') && *name != "..";
    name.filter(inside).map(str::to_owned).ok_or_else(|| Fault {
        path: format!("points[{index}].config.address"),
        message: "expected the name of a file in the folder".to_owned(),
    })
}

impl Connection<Files> for Folder {
    async fn read(
        &mut self,
        _: &u8,
        (id, name): &(u32, String),
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        let text = tokio::fs::read_to_string(self.0.join(name)).await;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_nanos() as i64);
        match text.as_deref().map(str::trim) {
            Ok(text) => match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(whole), _) => samples.push_i64(*id, whole, now),
                (_, Ok(number)) => samples.push_f64(*id, number, now),
                _ => samples.push_str(*id, text, now),
            },
            Err(error) => samples.push_bad(*id, Reason::Refused, &error.to_string(), now),
        }
        Ok(())
    }

    async fn write(
        &mut self,
        _: &u8,
        name: &String,
        value: &SampleValue,
    ) -> Result<(), RequestError> {
        let text = match value {
            SampleValue::Int(number) => number.to_string(),
            SampleValue::Float(number) => number.to_string(),
            SampleValue::String(text) => text.clone(),
            _ => return Err(RequestError::InvalidValue("expected a number".to_owned())),
        };
        let written = tokio::fs::write(self.0.join(name), text).await;
        written.map_err(|error| RequestError::Refused(error.to_string()))
    }
}

//! A whole mapper in one small file: each point is a file that holds one value,
//! as the files of Linux's sysfs do (`/sys/class/thermal/thermal_zone0/temp`).
//!
//! What it does not have is the schedule: intervals, time-outs, a device that
//! is gone and comes back, deadlines of commands. That is the SDK's.
//! `longshore new mapper NAME` writes a mapper in several files, with tests.

use std::path::PathBuf;

use longshore_sdk::{
    ProtocolMapper, RequestError, SampleValue,
    config::Section,
    polled::{Polled, PolledProtocol},
};

longshore_sdk::export_mapper!(
    ProtocolMapper<PolledProtocol<Folder>>, name: "file", protocol: "file",
    capabilities: READ | WRITE | POLL | CHECK, schema: include_str!("../schema.json"),
);

longshore_sdk::keys! {
    /// Files that hold one value.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Device {
        /// The folder of the files.
        folder: String,
    }
}

longshore_sdk::keys! {
    /// One of the files.
    #[derive(Debug, Clone)]
    pub struct Point {
        /// The name of the file in the folder.
        address: String,
    }
}

/// The open connection: here nothing but a folder that is there.
struct Folder(PathBuf);

impl Polled for Folder {
    type Device = Device;
    type Point = Point;

    async fn connect(device: &Device) -> Result<Self, RequestError> {
        let found = tokio::fs::read_dir(&device.folder).await;
        found
            .map(|_| Self(PathBuf::from(&device.folder)))
            .map_err(|error| RequestError::Line(error.to_string()))
    }

    async fn read(&mut self, point: &Point) -> Result<SampleValue, RequestError> {
        let text = tokio::fs::read_to_string(self.0.join(&point.address)).await;
        let text = text.map_err(|error| RequestError::Refused(error.to_string()))?;
        let text = text.trim();
        Ok(match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(whole), _) => SampleValue::Int(whole),
            (_, Ok(number)) => SampleValue::Float(number),
            _ => SampleValue::String(text.to_owned()),
        })
    }

    async fn write(&mut self, point: &Point, value: &SampleValue) -> Result<(), RequestError> {
        // A FLOAT that was read as `21` is written as 24.5 all the same.
        let text = match value {
            SampleValue::Int(number) => number.to_string(),
            SampleValue::Uint(number) => number.to_string(),
            SampleValue::Float(number) if number.is_finite() => number.to_string(),
            SampleValue::String(text) => text.clone(),
            _ => {
                return Err(RequestError::InvalidValue(
                    "expected a number or a text".to_owned(),
                ));
            }
        };
        let written = tokio::fs::write(self.0.join(&point.address), text).await;
        written.map_err(|error| RequestError::Refused(error.to_string()))
    }

    fn check_point(point: &Point, section: &Section<'_>) {
        // Only files of the folder itself.
        let name = &point.address;
        if name.is_empty() || name.contains('/') || name == ".." {
            section.fault("address", "expected the name of a file in the folder");
        }
    }
}

#[test]
fn schema_json_is_what_the_keys_say() {
    let document = longshore_sdk::polled::document::<Folder>(
        "file",
        "Files that hold one value, such as those of sysfs.",
    );
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.json");
    document
        .check_file(file)
        .expect("schema.json is up to date");
}

//! `longshore discover`: what devices there are, as a start for manifests.
//!
//! It runs the protocol's mapper inside of this program, asks it, and shows
//! what it has found or writes a DeviceModel and a Device for each.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use longshore_host::{
    Command, CommandKind, HostOptions, Isolation, Mapper, MapperEvent, MapperSpec, MapperState,
    Status,
};
use longshore_sdk::{Discovered, FoundDevice};
use serde_json::{Map, Value as Json, json};
use tokio::sync::mpsc;

use crate::{
    libraries,
    output::{advised, say},
    table,
};

/// Arguments of `longshore discover`.
#[derive(Debug, clap::Args)]
pub struct DiscoverArgs {
    /// The protocol
    protocol: String,
    /// Where to look, short for --set url=URL
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// What to look for; `longshore explain PROTOCOL.discovery` shows the keys. A value may be JSON
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Configuration of the mapper, as in that of the edge core
    #[arg(long, value_name = "KEY=VALUE")]
    config: Vec<String>,
    /// Seconds that it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// Write a DeviceModel and a Device for each found device to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Node that the written devices are bound to
    #[arg(long, value_name = "NAME", default_value = "edge-1")]
    node: String,
    /// Only devices with this name
    #[arg(long, value_name = "NAME")]
    device: Vec<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    /// This library [default: found near the program]
    #[arg(long, value_name = "FILE")]
    mapper: Option<PathBuf>,
    /// Folder of the mappers' libraries [default: found near the program]
    #[arg(long, value_name = "FOLDER")]
    mapper_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// As the mapper has found it
    Json,
    /// Manifests, as --write has them
    Yaml,
}

/// Runs the command.
pub(crate) async fn run(args: DiscoverArgs) -> Result<bool> {
    let mut request = pairs("--set", &args.set)?;
    if let Some(url) = &args.url {
        request.insert("url".to_owned(), url.as_str().into());
    }
    let config = Json::Object(pairs("--config", &args.config)?);
    let library = libraries::of_protocol(
        &args.protocol,
        args.mapper.as_deref(),
        args.mapper_dir.as_deref(),
    )?;
    let protocol = library.descriptor.protocol.clone();
    let spec = MapperSpec {
        name: Arc::from(protocol.as_str()),
        file: library.file,
        isolation: Isolation::InProcess,
        config,
    };
    let text = Json::Object(request).to_string();
    let mut found = ask(spec, text, Duration::from_secs(args.timeout)).await?;
    if !args.device.is_empty() {
        found
            .devices
            .retain(|device| args.device.contains(&device.name));
    }
    // A file that is there may hold somebody's work.
    if let Some(file) = &args.write {
        if file.exists() {
            return Err(advised(
                format!("{} exists already", file.display()),
                "name another file, or remove it",
            ));
        }
        if found.devices.is_empty() {
            bail!("nothing was found, so {} was not written", file.display());
        }
        std::fs::write(file, manifests(&found.devices, &protocol, &args.node)?)
            .with_context(|| format!("failed to write {}", file.display()))?;
    }
    match args.output {
        Format::Json => say(&format!("{:#}\n", serde_json::to_value(&found)?)),
        Format::Yaml => say(&manifests(&found.devices, &protocol, &args.node)?),
        Format::Table => say(&shown(&found, args.write.as_ref())),
    };
    Ok(!found.devices.is_empty())
}

/// `key=value`; a value that is JSON is taken as such, anything else as a text.
fn pairs(flag: &str, given: &[String]) -> Result<Map<String, Json>> {
    let mut map = Map::new();
    for pair in given {
        let (key, value) = pair
            .split_once('=')
            .with_context(|| format!("{flag} `{pair}`: expected KEY=VALUE"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        map.insert(key.to_owned(), value);
    }
    Ok(map)
}

/// Starts the mapper, asks it, stops it.
async fn ask(spec: MapperSpec, request: String, budget: Duration) -> Result<Discovered> {
    let name = Arc::clone(&spec.name);
    let (sender, mut events) = mpsc::channel(16);
    let mapper = Mapper::start(spec, HostOptions::default(), sender);
    let answer = tokio::time::timeout(
        budget + Duration::from_secs(5),
        converse(&mapper, &mut events, request, budget),
    )
    .await
    .unwrap_or_else(|_| {
        Err(anyhow!(
            "the mapper `{name}` did not answer within {} s",
            budget.as_secs()
        ))
    });
    // The rest of what it emits is of no interest, and must not hold it up.
    events.close();
    mapper.stop(Duration::from_secs(1)).await;
    answer
}

async fn converse(
    mapper: &Mapper,
    events: &mut mpsc::Receiver<MapperEvent>,
    request: String,
    budget: Duration,
) -> Result<Discovered> {
    let mut state = mapper.state();
    let mut request = Some(request);
    loop {
        tokio::select! {
            event = events.recv() => match event.context("the mapper has ended")? {
                MapperEvent::Up { .. } => {
                    let text = request.take().context("the mapper failed while it looked")?;
                    let kind = CommandKind::Discover(text);
                    mapper.submit(vec![Command { token: 1, device: 0, budget, kind }])?;
                }
                MapperEvent::Batch { batch, .. } => {
                    if let Some(done) = batch.completions().next() {
                        return answer(done.status, done.message);
                    }
                }
                MapperEvent::Down { reason, .. } => bail!("the mapper failed: {reason}"),
            },
            changed = state.changed() => {
                changed.context("the mapper has ended")?;
                if let MapperState::Failed { reason, .. } = &*state.borrow_and_update() {
                    bail!("the mapper cannot start: {reason}");
                }
            }
        }
    }
}

fn answer(status: Status, message: &str) -> Result<Discovered> {
    match status {
        Status::Ok => serde_json::from_str(message).context("the mapper's answer makes no sense"),
        Status::Unsupported => Err(advised(
            "this mapper cannot look for devices",
            "write the Device by hand; `longshore explain PROTOCOL` shows its keys",
        )),
        Status::Timeout => Err(advised(
            format!("not finished in time: {message}"),
            "look for less, or give it more time with --timeout",
        )),
        _ => bail!("{}", faults(message)),
    }
}

/// Faults as the SDK lists them, or the message as it is.
fn faults(message: &str) -> String {
    let Ok(Json::Array(list)) = serde_json::from_str(message) else {
        return message.to_owned();
    };
    let told = list.iter().map(|fault| {
        format!(
            "{}: {}",
            fault["path"].as_str().unwrap_or_default(),
            fault["message"].as_str().unwrap_or_default()
        )
    });
    told.collect::<Vec<_>>().join("; ")
}

fn shown(found: &Discovered, written: Option<&PathBuf>) -> String {
    let mut out = String::new();
    if found.devices.is_empty() {
        out.push_str("nothing found\n");
    } else {
        let rows: Vec<Vec<String>> = found
            .devices
            .iter()
            .map(|device| {
                vec![
                    device.name.clone(),
                    reached(&device.protocol),
                    device.properties.len().to_string(),
                    table::or_dash(&device.description),
                ]
            })
            .collect();
        out.push_str(&table::render(
            &["NAME", "REACHED BY", "PROPERTIES", "DESCRIPTION"],
            &rows,
        ));
    }
    for device in &found.devices {
        if device.properties.is_empty() {
            continue;
        }
        let rows: Vec<Vec<String>> = device
            .properties
            .iter()
            .map(|property| {
                vec![
                    property.name.clone(),
                    property.twin_type.clone(),
                    if property.writable {
                        "ReadWrite"
                    } else {
                        "ReadOnly"
                    }
                    .to_owned(),
                    table::or_dash(property.value.as_deref().unwrap_or_default()),
                    table::or_dash(&property.unit),
                    reached(&property.config),
                ]
            })
            .collect();
        out.push_str(&format!("\n{}\n", device.name));
        out.push_str(&table::render(
            &["PROPERTY", "TYPE", "ACCESS", "VALUE", "UNIT", "CONFIG"],
            &rows,
        ));
    }
    for note in &found.notes {
        out.push_str(&format!("\nnote: {note}\n"));
    }
    match written {
        Some(file) => out.push_str(&format!(
            "\nwritten: {}\n\nhint: read it, then kubectl apply -f {}\n",
            file.display(),
            file.display()
        )),
        None if !found.devices.is_empty() => {
            out.push_str("\nhint: --write FILE writes a DeviceModel and a Device for each\n")
        }
        None => {}
    }
    out
}

/// Keys and values in one line.
fn reached(config: &Map<String, Json>) -> String {
    let words: Vec<String> = config
        .iter()
        .map(|(key, value)| match value {
            Json::String(text) => format!("{key}={text}"),
            other => format!("{key}={other}"),
        })
        .collect();
    words.join(" ")
}

/// A DeviceModel and a Device for each found device, as YAML documents.
fn manifests(devices: &[FoundDevice], protocol: &str, node: &str) -> Result<String> {
    let mut documents = Vec::new();
    for device in devices {
        let properties: Vec<Json> = device
            .properties
            .iter()
            .map(|property| {
                let mut made = json!({
                    "name": property.name,
                    "description": property.description,
                    "type": property.twin_type,
                    "accessMode": if property.writable { "ReadWrite" } else { "ReadOnly" },
                    "unit": property.unit,
                    "visitors": {"protocolName": protocol, "configData": property.config},
                });
                if let Some(map) = made.as_object_mut() {
                    map.retain(|_, value| value != "");
                }
                made
            })
            .collect();
        let used: Vec<Json> = device
            .properties
            .iter()
            .map(|property| json!({"name": property.name, "collectCycle": 1000}))
            .collect();
        documents.push(json!({
            "apiVersion": "devices.kubeedge.io/v1beta1",
            "kind": "DeviceModel",
            "metadata": {"name": device.name, "namespace": "default"},
            "spec": {"protocol": protocol, "properties": properties},
        }));
        documents.push(json!({
            "apiVersion": "devices.kubeedge.io/v1beta1",
            "kind": "Device",
            "metadata": {"name": device.name, "namespace": "default"},
            "spec": {
                "deviceModelRef": {"name": device.name},
                "nodeName": node,
                "protocol": {"protocolName": protocol, "configData": device.protocol},
                "properties": used,
            },
        }));
    }
    let mut out = String::new();
    for (index, document) in documents.iter().enumerate() {
        if index > 0 {
            out.push_str("---\n");
        }
        out.push_str(&serde_saphyr::to_string(document)?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Discovered {
        serde_json::from_value(json!({
            "devices": [{
                "name": "meter-2", "description": "Acme, EM24", "protocol": {"url": "tcp://192.0.2.7", "unit": 2},
                "properties": [{"name": "input0", "type": "INT", "value": "7", "config": {"address": "ir:0"}}],
            }],
            "notes": ["asked 32 units"],
        }))
        .unwrap()
    }

    #[test]
    fn what_was_found_is_shown() {
        insta::assert_snapshot!(shown(&found(), None), @r"
        NAME      REACHED BY                   PROPERTIES   DESCRIPTION
        meter-2   url=tcp://192.0.2.7 unit=2   1            Acme, EM24

        meter-2
        PROPERTY   TYPE   ACCESS     VALUE   UNIT   CONFIG
        input0     INT    ReadOnly   7       -      address=ir:0

        note: asked 32 units

        hint: --write FILE writes a DeviceModel and a Device for each
        ");
    }

    #[test]
    fn what_is_written_is_a_sound_profile() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("found.yaml");
        std::fs::write(
            &file,
            manifests(&found().devices, "modbus", "edge-7").unwrap(),
        )
        .unwrap();
        let read = longshore_types::Manifests::load(&file).unwrap();
        assert_eq!(
            read.errors().map(ToString::to_string).collect::<Vec<_>>(),
            Vec::<String>::new()
        );
        let (device, model) = (&read.devices[0].object, &read.models[0].object);
        assert_eq!(device.spec.node_name, "edge-7");
        let effective = longshore_types::EffectiveDevice::build(device, model).unwrap();
        assert_eq!(effective.protocol_config["unit"], 2);
        assert_eq!(effective.properties[0].config["address"], "ir:0");
    }

    #[test]
    fn values_may_be_json_or_text() {
        let given = [
            "units=1-4".to_owned(),
            "timeoutMs=50".to_owned(),
            "all=true".to_owned(),
            "list=[1,2]".to_owned(),
        ];
        assert_eq!(
            Json::Object(pairs("--set", &given).unwrap()),
            json!({"units": "1-4", "timeoutMs": 50, "all": true, "list": [1, 2]})
        );
        assert_eq!(
            pairs("--set", &["x".to_owned()]).unwrap_err().to_string(),
            "--set `x`: expected KEY=VALUE"
        );
    }
}

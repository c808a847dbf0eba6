//! `longshore discover`: what devices there are, as a start for manifests.
//!
//! It runs the protocol's mapper inside of this program, asks it, and shows
//! what it has found or writes a DeviceModel and a Device for each.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use longshore_host::{CommandKind, Status};
use longshore_process::printable;
use longshore_sdk::{Discovered, FoundDevice};
use longshore_types::{
    near::near,
    schema_check::{Document, Part},
};
use serde_json::{Map, Value as Json, json};

use crate::{
    conversation::Conversation,
    libraries,
    output::{advised, emit, hint, say},
    table,
};

/// Arguments of `longshore discover`.
#[derive(Debug, clap::Args)]
pub struct DiscoverArgs {
    /// The protocol
    protocol: String,
    /// Where to look, short for url=URL, and what to look for, as with --set
    #[arg(value_name = "URL|KEY=VALUE")]
    what: Vec<String>,
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
    let request = request(&args.what, &args.set)?;
    let config = Json::Object(pairs("--config", &args.config)?);
    let library = libraries::of_protocol(
        &args.protocol,
        args.mapper.as_deref(),
        args.mapper_dir.as_deref(),
    )?;
    let protocol = library.descriptor.protocol.clone();
    if let Some(schema) = &library.descriptor.schema {
        check(&protocol, &Document::parse(schema)?, &request)?;
    }
    let place = place(&protocol, &request, &config);
    let kind = CommandKind::Discover(Json::Object(request).to_string());
    let budget = Duration::from_secs(args.timeout);
    let mut mapper = Conversation::start(&protocol, &library.file, config);
    let asked = mapper.ask(0, kind, budget).await;
    mapper.end().await;
    let (status, message) = asked?;
    let mut found = answer(status, &message, &protocol, &place)?;
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
        Format::Json => emit(&format!("{:#}\n", serde_json::to_value(&found)?)),
        Format::Yaml => emit(&manifests(&found.devices, &protocol, &args.node)?),
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

/// What to look for: a word alone is the URL, and may stand once.
fn request(what: &[String], set: &[String]) -> Result<Map<String, Json>> {
    let is_pair = |word: &&String| {
        word.split_once('=').is_some_and(|(key, _)| {
            key.starts_with(|c: char| c.is_ascii_alphabetic())
                && key.chars().all(|c| c.is_ascii_alphanumeric())
        })
    };
    let (given, alone): (Vec<&String>, Vec<&String>) = what.iter().partition(is_pair);
    let given: Vec<String> = set.iter().chain(given).cloned().collect();
    let mut request = pairs("--set", &given)?;
    match alone.as_slice() {
        [] => {}
        [url] if !request.contains_key("url") => {
            request.insert("url".to_owned(), url.as_str().into());
        }
        [.., other] => bail!("`{other}`: expected KEY=VALUE, since there is a URL already"),
    }
    Ok(request)
}

/// A request against the mapper's schema: a key that it does not know would
/// look like a device that does not exist.
fn check(protocol: &str, schema: &Document, request: &Map<String, Json>) -> Result<()> {
    let keys = |part: Part| -> Vec<&str> {
        let known = schema
            .part(part)
            .and_then(|part| part["properties"].as_object());
        known
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .collect()
    };
    let asked = keys(Part::Discovery);
    // Where a bus is named, all that a device says of its bus may stand.
    let mut known = asked.clone();
    if known.contains(&"url") {
        known.extend(keys(Part::Device));
    }
    let mut told = Vec::new();
    for key in request.keys().filter(|key| !known.contains(&key.as_str())) {
        let meant = near(key, known.iter().copied());
        told.push(match meant.first() {
            Some(meant) => format!("{key}: unknown key, did you mean `{meant}`?"),
            None if asked.is_empty() => format!("{key}: unknown key, there is nothing to say"),
            None => format!("{key}: unknown key, expected {}", asked.join(", ")),
        });
    }
    // What a value has to be, the mapper itself says.
    let value = Json::Object(request.clone());
    for fault in schema.check(Part::Discovery, &value, "request") {
        let text = fault.to_string();
        if fault.is_error() && fault.message == "is missing" {
            told.push(text.strip_prefix("request.").unwrap_or(&text).to_owned());
        }
    }
    if told.is_empty() {
        return Ok(());
    }
    Err(advised(
        told.join("; "),
        format!("`longshore explain {protocol}.discovery` shows the keys"),
    ))
}

/// Where is looked, for errors.
fn place(protocol: &str, request: &Map<String, Json>, config: &Json) -> String {
    let named = request.get("url").or_else(|| config.get("bus"));
    match named.and_then(Json::as_str) {
        Some(place) => format!("{protocol} at {place}"),
        None => protocol.to_owned(),
    }
}

fn answer(status: Status, message: &str, protocol: &str, place: &str) -> Result<Discovered> {
    match status {
        Status::Ok => serde_json::from_str(message).context("the mapper's answer makes no sense"),
        Status::Unsupported => Err(advised(
            "this mapper cannot look for devices",
            format!("write the Device by hand; `longshore explain {protocol}` shows its keys"),
        )),
        Status::Timeout => Err(advised(
            format!("{place}: not finished in time: {message}"),
            "look for less, or give it more time with --timeout",
        )),
        Status::InvalidArgument => Err(advised(
            faults(message),
            format!("`longshore explain {protocol}.discovery` shows the keys"),
        )),
        _ if protocol == "bluetooth" && message.contains("D-Bus") => Err(advised(
            format!("{place}: {}", faults(message)),
            "bluetoothd runs on the system bus; `--config bus=unix:path=…` names another one",
        )),
        Status::Line => Err(advised(
            format!("{place}: {}", faults(message)),
            "is the address right, and does the device answer there?",
        )),
        _ => Err(anyhow!("{place}: {}", faults(message))),
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
        out.push_str(&format!("\n{}\n", printable::line(&device.name)));
        out.push_str(&table::render(
            &["PROPERTY", "TYPE", "ACCESS", "VALUE", "UNIT", "CONFIG"],
            &rows,
        ));
    }
    for note in &found.notes {
        out.push_str(&format!("\nnote: {note}\n"));
    }
    match written {
        Some(file) => {
            let file = file.display();
            out.push_str(&format!("\nwritten: {file}\n"));
            out.push_str(&hint(&format!("read it, then kubectl apply -f {file}")));
        }
        None if !found.devices.is_empty() => out.push_str(&hint(
            "--write FILE writes a DeviceModel and a Device for each",
        )),
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

    fn schema() -> Document {
        let text = json!({
            "device": {"type": "object", "properties": {"serialPort": {"type": "string"}}},
            "discovery": {"type": "object", "required": ["url"], "properties": {
                "url": {"type": "string"}, "units": {}, "timeoutMs": {"type": "integer"},
            }},
        });
        Document::parse(&text.to_string()).unwrap()
    }

    #[test]
    fn a_request_that_the_mapper_does_not_know_is_refused_before_it_runs() {
        let words = ["tcp://192.0.2.7?a=b", "units=1-4", "serialPort=/dev/ttyS0"];
        let good = request(&words.map(str::to_owned), &["timeoutMs=5".to_owned()]).unwrap();
        assert_eq!(good["url"], "tcp://192.0.2.7?a=b");
        check("modbus", &schema(), &good).unwrap();

        let bad = ["unitz=1"].map(str::to_owned);
        let bad = request(&bad, &[]).unwrap();
        let told = crate::output::explain(&check("modbus", &schema(), &bad).unwrap_err());
        assert!(
            told.starts_with("error: unitz: unknown key, did you mean `units`?; "),
            "{told}"
        );
        assert!(told.contains("url: is missing"), "{told}");
        assert!(
            told.ends_with("hint: `longshore explain modbus.discovery` shows the keys\n"),
            "{told}"
        );

        let twice = ["tcp://a", "tcp://b"].map(str::to_owned);
        assert!(request(&twice, &[]).is_err());
    }

    #[test]
    fn a_line_that_broke_is_told_with_its_place() {
        let of = |text: &str| serde_json::from_str::<Json>(text).unwrap();
        let empty = Map::new();
        let bus = of(r#"{"bus": "unix:path=/no/bus"}"#);
        let place = place("bluetooth", &empty, &bus);
        let error =
            answer(Status::Line, "line broke: D-Bus at …", "bluetooth", &place).unwrap_err();
        let told = crate::output::explain(&error);
        assert!(
            told.starts_with("error: bluetooth at unix:path=/no/bus: line broke"),
            "{told}"
        );
        assert!(told.contains("--config bus="), "{told}");
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

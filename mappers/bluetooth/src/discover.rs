//! Looking for devices: who is heard, and what those that are asked for can do.

use std::{sync::Arc, time::Duration};

use longshore_sdk::{
    DiscoverError, Discovered, Fault, FoundDevice, FoundProperty, RequestError, config::Section,
};
use serde_json::{Map, Value as Json};
use tokio::time::Instant;

use crate::{
    advert::{Format, Seal},
    bluez::{Client, Scan, Shared, tree},
    bus::{self, Bus, Target},
    driver::Link,
    gatt, keys,
    uuid::Uuid,
    value::Value,
};

/// Sensors advertise at least every few seconds.
pub(crate) const SECONDS: i64 = 8;
/// The formats that a device's packets may tell something in, the telling ones first.
const TELLING: &[Format] = &[
    Format::BtHome,
    Format::Thermometer,
    Format::Xiaomi,
    Format::EddystoneTlm,
    Format::EddystoneUid,
    Format::IBeacon,
];

struct Request {
    adapter: Option<String>,
    seconds: u64,
    connect: Vec<[u8; 6]>,
}

/// `adapter`, `seconds`, `connect`: the addresses of devices to be asked.
pub(crate) async fn discover(
    shared: Arc<Shared>,
    request: Map<String, Json>,
) -> Result<Discovered, DiscoverError> {
    let request = parse(&request).map_err(DiscoverError::Request)?;
    let client = shared.client().await?;
    let adapter = client.adapter(request.adapter.as_deref().or(shared.adapter.as_deref()))?;
    let name = adapter.rsplit('/').next().unwrap_or_default().to_owned();
    listen(&client, &adapter, request.seconds).await;
    let mut found = Discovered::default();
    let devices: Vec<tree::Device> = client.look(|tree| {
        let all = tree.devices.values();
        all.filter(|device| device.adapter == adapter && device.advert.rssi.is_some())
            .cloned()
            .collect()
    });
    for device in &devices {
        let mut entry = describe(device, request.adapter.is_some().then_some(&name[..]));
        if request.connect.contains(&device.address) {
            match ask(&shared, &request, device).await {
                Ok(properties) => entry.properties.extend(properties),
                Err(error) => found
                    .notes
                    .push(format!("{}: {error}", Target::Address(device.address))),
            }
        }
        found.devices.push(entry);
    }
    for address in &request.connect {
        if !devices.iter().any(|device| device.address == *address) {
            let address = Target::Address(*address);
            found.notes.push(format!(
                "{address} was not heard within {} s",
                request.seconds
            ));
        }
    }
    if request.connect.is_empty() {
        found.notes.push("only advertisements were looked at; `connect: [ADDRESS]` asks a device for its characteristics".to_owned());
    }
    Ok(found)
}

fn parse(request: &Map<String, Json>) -> Result<Request, Vec<Fault>> {
    let section = Section::new(&keys::DISCOVERY, "", request);
    let adapter = section.text("adapter").map(str::to_owned);
    let seconds = section.integer_or_default("seconds");
    let list = match section.value("connect") {
        None => Vec::new(),
        Some(Json::String(one)) => vec![Some(&one[..])],
        Some(Json::Array(list)) => list.iter().map(Json::as_str).collect(),
        Some(_) => vec![None],
    };
    let connect: Option<Vec<_>> = list.into_iter().map(|text| bus::address(text?)).collect();
    if connect.is_none() {
        section.fault(
            "connect",
            "expected addresses, for example `A4:C1:38:01:02:03`",
        );
    }
    let (faults, _) = section.finish();
    match connect {
        Some(connect) if faults.is_empty() => Ok(Request {
            adapter,
            seconds,
            connect,
        }),
        _ => Err(faults),
    }
}

async fn listen(client: &Arc<Client>, adapter: &str, seconds: u64) {
    let _scan = Scan::new(client, adapter);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// What its packets say.
fn describe(device: &tree::Device, adapter: Option<&str>) -> FoundDevice {
    let address = Target::Address(device.address).to_string();
    let name = device.name.as_deref().unwrap_or("");
    let mut protocol = Map::new();
    protocol.insert("address".to_owned(), address.clone().into());
    if let Some(adapter) = adapter {
        protocol.insert("adapter".to_owned(), adapter.into());
    }
    let seal = Seal {
        address: device.address,
        key: None,
    };
    let mut properties = Vec::new();
    let mut sealed = String::new();
    for format in TELLING {
        match device.advert.fields(*format, seal) {
            Ok(Some(fields)) => {
                let mut seen: Vec<&str> = Vec::new();
                for field in &fields {
                    let is_signal = matches!(field.name, "rssi" | "txPower" | "present");
                    if is_signal
                        && properties
                            .iter()
                            .any(|known: &FoundProperty| known.name == field.name)
                    {
                        continue;
                    }
                    seen.push(field.name);
                    let index = seen.iter().filter(|name| **name == field.name).count();
                    properties.push(part(
                        device.advert.word(*format),
                        field.name,
                        field.unit,
                        &field.value,
                        index,
                    ));
                }
            }
            Ok(None) => {}
            Err(error) => sealed = format!("; {error}"),
        }
    }
    if properties.is_empty() {
        let fields = device.advert.fields(Format::Any, seal).ok().flatten();
        for field in fields.into_iter().flatten() {
            properties.push(part("any", field.name, field.unit, &field.value, 1));
        }
    }
    let services: Vec<_> = device.services.iter().map(ToString::to_string).collect();
    let level = device
        .advert
        .rssi
        .map_or(String::new(), |rssi| format!(", {rssi} dBm"));
    let services = if services.is_empty() {
        String::new()
    } else {
        format!(", services {}", services.join(" "))
    };
    FoundDevice {
        name: slug(name, &address),
        description: format!("{name} {address}{level}{services}{sealed}")
            .trim()
            .to_owned(),
        protocol,
        properties,
    }
}

fn part(word: &str, name: &str, unit: &str, value: &Value, index: usize) -> FoundProperty {
    let mut config = Map::new();
    config.insert("advertisement".to_owned(), word.into());
    config.insert("field".to_owned(), name.into());
    let mut own = name.to_owned();
    if index > 1 {
        config.insert("index".to_owned(), index.into());
        own.push_str(&index.to_string());
    }
    FoundProperty {
        name: own,
        twin_type: twin_type(value).to_owned(),
        unit: unit.to_owned(),
        value: Some(value.to_string()),
        config,
        ..FoundProperty::default()
    }
}

fn twin_type(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "BOOLEAN",
        Value::Int(_) | Value::Uint(_) => "INT",
        Value::Float(_) | Value::Unknown(_) => "FLOAT",
        Value::Text(_) => "STRING",
        Value::Bytes(_) => "BYTES",
    }
}

/// Lower case letters, digits and dashes, with the end of the address.
fn slug(name: &str, address: &str) -> String {
    let end: String = address.chars().filter(|c| *c != ':').skip(6).collect();
    let mut slug = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    let slug = if slug.is_empty() { "ble" } else { slug };
    let end = end.to_ascii_lowercase();
    if slug.ends_with(&end) {
        // Many names have it already.
        return slug.to_owned();
    }
    format!("{slug}-{end}")
}

/// Connects, and lists the characteristics; those that can be read are.
async fn ask(
    shared: &Arc<Shared>,
    request: &Request,
    device: &tree::Device,
) -> Result<Vec<FoundProperty>, RequestError> {
    let bus = Bus {
        adapter: request.adapter.clone(),
        target: Target::Address(device.address),
        connect: true,
        pair: false,
        passkey: None,
        timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(20),
        silent_after: Duration::from_secs(60),
        key: None,
    };
    let link = Link::open(Arc::clone(shared), bus).await?;
    let mut properties: Vec<FoundProperty> = Vec::new();
    for (path, service, uuid, flags) in link.characteristics() {
        // The services of the attribute protocol itself tell nothing.
        if service.number() == Some(0x1801) {
            continue;
        }
        let bytes = if flags.iter().any(|flag| flag == "read") {
            let deadline = Instant::now() + Duration::from_secs(5);
            link.read_object(&path, deadline).await
        } else {
            None
        };
        let mut found = characteristic(service, uuid, &flags, bytes.as_deref());
        let is_same = |known: &&FoundProperty| known.name.starts_with(&found.name);
        let same = properties.iter().filter(is_same).count();
        if same > 0 {
            found.name.push_str(&(same + 1).to_string());
        }
        properties.push(found);
    }
    Ok(properties)
}

/// A characteristic as a property, with its value if it was read.
fn characteristic(
    service: Uuid,
    uuid: Uuid,
    flags: &[String],
    bytes: Option<&[u8]>,
) -> FoundProperty {
    let can = |flag: &str| flags.iter().any(|known| known == flag);
    let known = uuid.number().and_then(gatt::standard);
    let mut config = Map::new();
    config.insert("service".to_owned(), service.to_string().into());
    config.insert("characteristic".to_owned(), uuid.to_string().into());
    if can("notify") || can("indicate") {
        config.insert("notify".to_owned(), true.into());
    }
    let value = match (known, bytes) {
        (Some(known), Some(bytes)) => {
            let parts = known.decode(bytes).ok();
            parts.and_then(|parts| Some(parts.into_iter().next()?.1))
        }
        (None, Some(bytes)) => Some(Value::Bytes(bytes.to_vec())),
        _ => None,
    };
    let (name, unit) = match known {
        Some(known) => (known.name.to_owned(), known.unit),
        None => (format!("c{}", uuid.to_string().replace('-', "")), ""),
    };
    let twin_type = match known.map(|known| known.shape) {
        Some(gatt::Shape::Text | gatt::Shape::CurrentTime) => "STRING",
        Some(gatt::Shape::Truth) => "BOOLEAN",
        Some(gatt::Shape::Number { decimals: 0, .. } | gatt::Shape::HeartRate) => "INT",
        Some(_) => "FLOAT",
        None => "BYTES",
    };
    FoundProperty {
        name,
        description: format!("can {}", flags.join(", ")),
        twin_type: twin_type.to_owned(),
        writable: can("write") || can("write-without-response"),
        unit: unit.to_owned(),
        value: value.map(|value| value.to_string()),
        config,
    }
}

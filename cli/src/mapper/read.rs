//! `longshore mapper read`: each point of a device, read once.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::Result;
use longshore_host::{CommandKind, Status, inspect};
use serde_json::{Value as Json, json};

use super::devices;
use crate::{
    conversation::{Conversation, Reading},
    output::{advised, emit, say},
    table,
};

/// Arguments of `longshore mapper read`.
#[derive(Debug, clap::Args)]
pub struct ReadArgs {
    /// The mapper library
    file: PathBuf,
    /// The device: a file with a Device and its DeviceModel, or the JSON of the mapper contract, `{"device", "protocol", "points"}`
    #[arg(long, value_name = "FILE")]
    device: PathBuf,
    /// Seconds until a value must have come
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    timeout: u64,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = super::Format::Text)]
    output: super::Format,
}

/// One point and what came of it.
struct Row {
    device: String,
    point: String,
    reading: Result<Reading, String>,
}

/// Runs the command. Nothing is written, and nothing stays.
pub(crate) async fn run(args: ReadArgs) -> Result<bool> {
    let descriptor = inspect(&args.file)?;
    let devices = devices::load(&args.device)?;
    let budget = Duration::from_secs(args.timeout.max(1));
    let mut mapper = Conversation::start(&descriptor.protocol, &args.file, json!({}));
    let mut rows = Vec::new();
    for (number, device) in (1..).zip(devices) {
        rows.extend(read(&mut mapper, number, device, budget).await?);
    }
    mapper.end().await;
    if rows.is_empty() {
        return Err(advised(
            format!("{} has no points to read", args.device.display()),
            "a Device lists its properties, or the JSON has `points`",
        ));
    }
    match args.output {
        super::Format::Text => say(&text(&rows)),
        super::Format::Json => emit(&format!("{:#}\n", json(&rows))),
    };
    Ok(rows
        .iter()
        .all(|row| row.reading.as_ref().is_ok_and(|reading| reading.is_good)))
}

async fn read(
    mapper: &mut Conversation,
    number: u32,
    mut device: Json,
    budget: Duration,
) -> Result<Vec<Row>> {
    let name = device["device"]
        .as_str()
        .unwrap_or("default/device")
        .to_owned();
    device["device"] = name.clone().into();
    let mut points = BTreeMap::new();
    let listed = device["points"].as_array_mut();
    for (place, point) in (0..).zip(listed.into_iter().flatten()) {
        let id = number * 1000 + place;
        point["id"] = id.into();
        point["intervalMs"] = 0.into();
        let named = point["name"]
            .as_str()
            .map_or_else(|| format!("p{place}"), str::to_owned);
        point["name"] = named.clone().into();
        points.insert(id, named);
    }
    let configure = CommandKind::Configure(device.to_string());
    let (status, message) = mapper.ask(number, configure, budget).await?;
    for fault in told(&message, &points, number) {
        say(&format!("{name}: {fault}\n"));
    }
    let mut rows = Vec::new();
    for (point, named) in points {
        let reading = if status == Status::Ok {
            one(mapper, number, point, budget).await?
        } else {
            Err("the mapper refuses the device".to_owned())
        };
        rows.push(Row {
            device: name.clone(),
            point: named,
            reading,
        });
    }
    Ok(rows)
}

/// The value of one point: what a read brings, or what came by itself.
async fn one(
    mapper: &mut Conversation,
    device: u32,
    point: u32,
    budget: Duration,
) -> Result<Result<Reading, String>> {
    let (status, message) = mapper
        .ask(device, CommandKind::Read { point }, budget)
        .await?;
    let reading = mapper.reading(point, budget, status == Status::Ok).await?;
    Ok(match (reading, status) {
        (Some(reading), _) => Ok(reading),
        (None, Status::Ok) => Err(format!("no value within {} s", budget.as_secs())),
        (None, status) => Err(match message.is_empty() {
            true => format!("{status:?}").to_lowercase(),
            false => message,
        }),
    })
}

/// The faults of a configuration, with the names of the points.
fn told(message: &str, points: &BTreeMap<u32, String>, number: u32) -> Vec<String> {
    let faults: Vec<longshore_types::Fault> = serde_json::from_str(message).unwrap_or_default();
    if faults.is_empty() && !message.is_empty() && !message.starts_with('[') {
        return vec![message.to_owned()];
    }
    let named = |path: &str| {
        let (place, rest) = path.strip_prefix("points[")?.split_once(']')?;
        let point = points.get(&(number * 1000 + place.parse::<u32>().ok()?))?;
        Some(format!("{point}{}", rest.replacen(".config.", ": ", 1)))
    };
    faults
        .iter()
        .map(|fault| {
            let word = if fault.is_error() { "error" } else { "warning" };
            let path = named(&fault.path).unwrap_or_else(|| fault.path.clone());
            format!("{word}: {path}: {}", fault.message)
        })
        .collect()
}

fn text(rows: &[Row]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let (value, state) = match &row.reading {
                Ok(reading) => (table::or_dash(&reading.value), reading.state()),
                Err(why) => ("-".to_owned(), format!("bad: {why}")),
            };
            vec![row.device.clone(), row.point.clone(), value, state]
        })
        .collect();
    let table = table::render(&["DEVICE", "POINT", "RAW VALUE", "QUALITY"], &cells);
    format!(
        "{table}\nread once, as the mapper gives it: before `scale`, `enum` and the like; nothing was written\n"
    )
}

fn json(rows: &[Row]) -> Json {
    rows.iter()
        .map(|row| match &row.reading {
            Ok(reading) => json!({"device": row.device, "point": row.point, "value": reading.json, "quality": reading.state()}),
            Err(why) => json!({"device": row.device, "point": row.point, "value": null, "quality": format!("bad: {why}")}),
        })
        .collect()
}

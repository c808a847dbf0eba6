//! `longshore get`: one line for each device, model or node.

use std::collections::HashMap;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DynamicObject, ListParams};
use longshore_types::{Device, DeviceModel, DeviceStatus, Timestamp};
use serde_json::{Value as Json, json};

use crate::edge::EdgeArgs;
use crate::{
    api::{ApiArgs, Connection, Kind, typed},
    output::{advised, emit, say},
    table::{or_dash, render},
    view::{age_of, now},
};

/// Arguments of `longshore get`.
#[derive(Debug, clap::Args)]
pub struct GetArgs {
    /// What to list
    #[arg(value_enum)]
    what: What,
    /// Only this one
    name: Option<String>,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    edge: EdgeArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Devices with their state and values
    #[value(alias = "device")]
    Devices,
    /// Device models
    #[value(alias = "model", alias = "devicemodels")]
    Models,
    /// Edge nodes
    #[value(alias = "node")]
    Nodes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// The objects of the API
    Json,
    /// The objects of the API
    Yaml,
}

/// Runs the command.
pub(crate) async fn run(args: GetArgs) -> Result<bool> {
    if let Some(node) = args.edge.node()? {
        if args.what != What::Devices {
            bail!("an edge node is asked for its devices; models and nodes are on an API server");
        }
        return node
            .get(args.name.as_deref(), args.output != Format::Table)
            .await;
    }
    let connection = Connection::open(&args.api).await?;
    if args.what == What::Nodes {
        return nodes(&connection, &args).await;
    }
    let kind = if args.what == What::Devices {
        Kind::Device
    } else {
        Kind::Model
    };
    let objects = list(&connection, kind, &args).await?;
    if args.output != Format::Table {
        return print(args.output, &objects, args.name.is_some());
    }
    if objects.is_empty() {
        return Ok(nothing(&connection, &args));
    }
    let now = now();
    let text = match args.what {
        What::Devices => {
            let devices = objects
                .into_iter()
                .map(typed)
                .collect::<Result<Vec<Device>>>()?;
            let statuses = list(&connection, Kind::Status, &args).await?;
            let statuses = statuses
                .into_iter()
                .map(typed)
                .collect::<Result<Vec<DeviceStatus>>>()?;
            device_table(&devices, &statuses, args.all_namespaces, now)
        }
        _ => {
            let models = objects
                .into_iter()
                .map(typed)
                .collect::<Result<Vec<DeviceModel>>>()?;
            model_table(&models, args.all_namespaces, now)
        }
    };
    say(&text);
    Ok(true)
}

fn nothing(connection: &Connection, args: &GetArgs) -> bool {
    let place = match args.all_namespaces {
        true => String::new(),
        false => format!(" in namespace `{}`", connection.namespace()),
    };
    let what = match args.what {
        What::Devices => "devices",
        What::Models => "models",
        What::Nodes => "nodes",
    };
    say(&format!("no {what}{place}\n"))
}

async fn list(connection: &Connection, kind: Kind, args: &GetArgs) -> Result<Vec<DynamicObject>> {
    let api = if args.all_namespaces {
        connection.all_objects(kind)
    } else {
        connection.objects(kind)
    };
    let Some(name) = &args.name else {
        let list = connection.ask(api.list(&ListParams::default())).await?;
        let types = kind.resource();
        let typed = |mut object: DynamicObject| {
            // Items of a list come without their kind.
            object.types.get_or_insert_with(|| kube::api::TypeMeta {
                api_version: types.api_version.clone(),
                kind: types.kind.clone(),
            });
            object
        };
        return Ok(list.items.into_iter().map(typed).collect());
    };
    if args.all_namespaces {
        bail!("a name and --all-namespaces exclude each other");
    }
    match (kind, connection.ask(api.get_opt(name)).await?) {
        (_, Some(object)) => Ok(vec![object]),
        (Kind::Status, None) => Ok(Vec::new()),
        (kind, None) => Err(advised(
            format!(
                "{} `{name}` not found in namespace `{}`",
                kind.resource().kind,
                connection.namespace()
            ),
            format!(
                "longshore get {} -A",
                if matches!(kind, Kind::Model) {
                    "models"
                } else {
                    "devices"
                }
            ),
        )),
    }
}

/// The objects as the API has them, but for `managedFields`, which only a
/// server reads.
fn print<T: serde::Serialize>(format: Format, objects: &[T], single: bool) -> Result<bool> {
    let mut objects = objects
        .iter()
        .map(serde_json::to_value)
        .collect::<Result<Vec<Json>, _>>()?;
    for object in &mut objects {
        if let Some(metadata) = object.get_mut("metadata").and_then(Json::as_object_mut) {
            metadata.shift_remove("managedFields");
        }
    }
    let json = match (single, objects.as_slice()) {
        (true, [object]) => object.clone(),
        _ => json!({"apiVersion": "v1", "kind": "List", "items": objects}),
    };
    emit(&match format {
        Format::Yaml => serde_saphyr::to_string(&json)?,
        _ => format!("{json:#}\n"),
    });
    Ok(true)
}

fn with_namespace<'a>(all: bool, header: &[&'a str]) -> Vec<&'a str> {
    let mut columns = if all { vec!["NAMESPACE"] } else { Vec::new() };
    columns.extend(header);
    columns
}

/// The values of a device. Those of one that is not there are what it had last.
fn values(status: &longshore_types::device::DeviceStatusStatus) -> String {
    let summary = status.summary();
    let is_away = matches!(&*status.state, "" | "offline" | "unknown");
    match is_away && !summary.is_empty() {
        true => format!("{summary} (last known)"),
        false => summary,
    }
}

fn device_table(
    devices: &[Device],
    statuses: &[DeviceStatus],
    all: bool,
    now: Timestamp,
) -> String {
    let key = |meta: &longshore_types::device::ObjectMeta| {
        (meta.namespace_or_default().to_owned(), meta.name.clone())
    };
    let by_name: HashMap<_, _> = statuses
        .iter()
        .map(|status| (key(&status.metadata), &status.status))
        .collect();
    let rows: Vec<Vec<String>> = devices
        .iter()
        .map(|device| {
            let meta = &device.metadata;
            let status = by_name.get(&key(meta));
            let mut row = if all {
                vec![meta.namespace_or_default().to_owned()]
            } else {
                Vec::new()
            };
            row.extend([
                meta.name.clone(),
                or_dash(&device.spec.node_name),
                or_dash(device.model_name()),
                or_dash(&device.spec.protocol.protocol_name),
                status
                    .map(|status| status.state.as_str())
                    .filter(|state| !state.is_empty())
                    .unwrap_or("unknown")
                    .into(),
                or_dash(&status.map(|status| values(status)).unwrap_or_default()),
                age_of(meta.creation_timestamp.as_deref().unwrap_or_default(), now),
            ]);
            row
        })
        .collect();
    render(
        &with_namespace(
            all,
            &["NAME", "NODE", "MODEL", "PROTOCOL", "STATE", "TWINS", "AGE"],
        ),
        &rows,
    )
}

fn model_table(models: &[DeviceModel], all: bool, now: Timestamp) -> String {
    let rows: Vec<Vec<String>> = models
        .iter()
        .map(|model| {
            let meta = &model.metadata;
            let mut row = if all {
                vec![meta.namespace_or_default().to_owned()]
            } else {
                Vec::new()
            };
            row.extend([
                meta.name.clone(),
                or_dash(&model.spec.protocol),
                model.spec.properties.len().to_string(),
                age_of(meta.creation_timestamp.as_deref().unwrap_or_default(), now),
            ]);
            row
        })
        .collect();
    render(
        &with_namespace(all, &["NAME", "PROTOCOL", "PROPERTIES", "AGE"]),
        &rows,
    )
}

async fn nodes(connection: &Connection, args: &GetArgs) -> Result<bool> {
    let api: Api<Node> = Api::all(connection.client().clone());
    let nodes = match &args.name {
        None => {
            connection
                .ask(api.list(&ListParams::default()))
                .await?
                .items
        }
        Some(name) => match connection.ask(api.get_opt(name)).await? {
            Some(node) => vec![node],
            None => {
                return Err(advised(
                    format!("node `{name}` not found"),
                    "longshore get nodes",
                ));
            }
        },
    };
    let nodes = nodes
        .into_iter()
        .map(serde_json::to_value)
        .collect::<Result<Vec<Json>, _>>()?;
    if args.output != Format::Table {
        return print(args.output, &nodes, args.name.is_some());
    }
    if nodes.is_empty() {
        say("no nodes\n");
        return Ok(true);
    }
    let devices = connection
        .ask(
            connection
                .all_objects(Kind::Device)
                .list(&ListParams::default()),
        )
        .await?;
    let bound: Vec<String> = devices
        .items
        .iter()
        .filter_map(|device| {
            device
                .data
                .pointer("/spec/nodeName")?
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    say(&node_table(&nodes, &bound, now()));
    Ok(true)
}

/// `bound` holds the node's name of each device.
fn node_table(nodes: &[Json], bound: &[String], now: Timestamp) -> String {
    let text = |node: &Json, path: &str| {
        node.pointer(path)
            .and_then(Json::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let rows: Vec<Vec<String>> = nodes
        .iter()
        .map(|node| {
            let name = text(node, "/metadata/name");
            let conditions = node.pointer("/status/conditions").and_then(Json::as_array);
            let ready = conditions
                .and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
            let status = match ready.and_then(|ready| ready["status"].as_str()) {
                Some("True") => "Ready",
                Some("False") => "NotReady",
                _ => "Unknown",
            };
            vec![
                name.clone(),
                status.to_owned(),
                bound
                    .iter()
                    .filter(|node| **node == name)
                    .count()
                    .to_string(),
                or_dash(&text(node, "/status/nodeInfo/kubeletVersion")),
                age_of(&text(node, "/metadata/creationTimestamp"), now),
            ]
        })
        .collect();
    render(&["NAME", "STATUS", "DEVICES", "VERSION", "AGE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_732_000_000_000);

    #[test]
    fn tables() {
        let view = crate::describe::tests::boiler();
        let mut other = Device::default();
        other.metadata.name = "meter-with-a-long-name".into();
        other.metadata.namespace = "plant".into();
        let devices = [view.device.clone(), other];
        insta::assert_snapshot!(device_table(&devices, &[view.status.clone().unwrap()], true, NOW), @r"
        NAMESPACE   NAME                     NODE     MODEL    PROTOCOL   STATE     TWINS                          AGE
        default     boiler                   edge-1   boiler   modbus     online    temperature=21.5 setpoint=60   2h
        plant       meter-with-a-long-name   -        -        -          unknown   -                              -
        ");
        insta::assert_snapshot!(device_table(&devices[..1], &[], false, NOW), @r"
        NAME     NODE     MODEL    PROTOCOL   STATE     TWINS   AGE
        boiler   edge-1   boiler   modbus     unknown   -       2h
        ");
        insta::assert_snapshot!(model_table(&[view.model.unwrap()], false, NOW), @r"
        NAME     PROTOCOL   PROPERTIES   AGE
        boiler   modbus     7            2h
        ");
        let nodes = [
            json!({"metadata": {"name": "edge-1", "creationTimestamp": "2024-11-19T06:06:40Z"},
                   "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.33.0"}}}),
            json!({"metadata": {"name": "edge-2"}}),
        ];
        insta::assert_snapshot!(node_table(&nodes, &["edge-1".into(), "edge-1".into()], NOW), @r"
        NAME     STATUS    DEVICES   VERSION   AGE
        edge-1   Ready     2         v1.33.0   60m
        edge-2   Unknown   0         -         -
        ");
    }
}

//! `longshore describe device`: all that is known of a device in one text.

use std::{borrow::Cow, fmt::Write};

use anyhow::Result;
use longshore_types::{
    Timestamp,
    device::{DeviceProperty, Extensions, PropertyStatus},
    effective::EffectiveProperty,
    method::Method,
};

use crate::edge::EdgeArgs;
use crate::{
    api::{ApiArgs, Connection},
    output::{emit, say},
    table::or_dash,
    view::{DeviceView, age_of, moment, now, with_unit},
};

/// Arguments of `longshore describe device`.
#[derive(Debug, clap::Args)]
pub struct DescribeArgs {
    /// Name of the device
    name: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    edge: EdgeArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// The objects of the API: device, model and status
    Json,
}

/// Runs the command.
pub(crate) async fn run(args: DescribeArgs) -> Result<bool> {
    if let Some(node) = args.edge.node()? {
        let namespace = args.api.namespace.as_deref();
        return node
            .describe(&args.name, namespace, args.output == Format::Json)
            .await;
    }
    let view = Connection::open(&args.api).await?.view(&args.name).await?;
    match args.output {
        Format::Text => say(&render(&view.shown()?, now())),
        Format::Json => emit(&format!("{:#}\n", objects(&view))),
    };
    Ok(true)
}

fn objects(view: &DeviceView) -> serde_json::Value {
    serde_json::json!({"device": view.device, "model": view.model, "status": view.status})
}

/// The text.
pub(crate) fn render(view: &DeviceView, now: Timestamp) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(&mut out, view, now);
    out
}

fn write_all(out: &mut String, view: &DeviceView, now: Timestamp) -> std::fmt::Result {
    let device = &view.device;
    let extensions = view.extensions();
    let last_online = view
        .status
        .as_ref()
        .map(|status| status.status.last_online_time.as_str())
        .unwrap_or_default();
    writeln!(out, "Name:         {}", device.metadata.name)?;
    writeln!(out, "Namespace:    {}", view.namespace())?;
    writeln!(out, "Node:         {}", or_dash(&device.spec.node_name))?;
    writeln!(out, "Model:        {}", or_dash(device.model_name()))?;
    writeln!(out, "Protocol:     {}", protocol(view))?;
    writeln!(out, "State:        {}", view.state())?;
    if !last_online.is_empty() {
        writeln!(
            out,
            "Last online:  {last_online} ({} ago)",
            age_of(last_online, now)
        )?;
    }
    conditions(out, &extensions, now)?;
    events(out, &extensions, now)?;
    let effective = view.effective();
    writeln!(out, "Properties:")?;
    let model = view.model.as_ref();
    let properties = model.map_or_else(
        || Cow::Borrowed(device.spec.properties.as_slice()),
        |model| device.properties(model),
    );
    if properties.is_empty() {
        writeln!(out, "  none")?;
    }
    for property in properties.iter() {
        let merged = effective
            .as_ref()
            .ok()
            .and_then(|effective| effective.property(&property.name));
        one(
            out,
            view,
            property,
            merged,
            extensions.property(&property.name),
            now,
        )?;
    }
    if let Ok(effective) = &effective {
        methods(out, &effective.methods)?;
    }
    warnings(out, view, &extensions)
}

fn protocol(view: &DeviceView) -> String {
    let (name, config) = match view.effective() {
        Ok(effective) => (effective.protocol, effective.protocol_config),
        Err(_) => {
            let protocol = &view.device.spec.protocol;
            (protocol.protocol_name.clone(), protocol.config_data.clone())
        }
    };
    let url = config.get("url").and_then(|url| url.as_str());
    let unit = config.get("unit").or_else(|| config.get("slaveID"));
    let mut text = or_dash(&name);
    if let Some(url) = url {
        text.push(' ');
        text.push_str(url);
    }
    if let Some(unit) = unit {
        text.push_str(&format!(" unit {unit}"));
    }
    text
}

fn conditions(out: &mut String, extensions: &Extensions, now: Timestamp) -> std::fmt::Result {
    if extensions.conditions.is_empty() {
        return Ok(());
    }
    writeln!(out, "Conditions:")?;
    let names = extensions
        .conditions
        .iter()
        .map(|condition| condition.condition.chars().count());
    let width = names.max().unwrap_or(0);
    for condition in &extensions.conditions {
        write!(
            out,
            "  {:<width$}  {}",
            condition.condition, condition.status
        )?;
        if let Some(since) = condition.last_transition_time {
            write!(out, " for {}", crate::view::age(since, now))?;
        }
        if !condition.reason.is_empty() {
            write!(out, ", {}", condition.reason)?;
        }
        if !condition.message.is_empty() {
            write!(out, ": {}", condition.message)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The events that are active.
fn events(out: &mut String, extensions: &Extensions, now: Timestamp) -> std::fmt::Result {
    let mut active = extensions
        .events
        .iter()
        .filter(|event| event.active)
        .peekable();
    if active.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "Events:")?;
    for event in active {
        write!(out, "  {}  {}", event.name, event.severity)?;
        if let Some(since) = event.since {
            write!(out, " for {}", crate::view::age(since, now))?;
        }
        if !event.message.is_empty() {
            write!(out, ": {}", event.message)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// What can be called.
fn methods(out: &mut String, methods: &[Method]) -> std::fmt::Result {
    if !methods.is_empty() {
        writeln!(out, "Methods:")?;
    }
    for method in methods {
        let parameters: Vec<_> = method
            .parameters
            .iter()
            .map(|parameter| format!("{}: {}", parameter.name, parameter.value_type))
            .collect();
        write!(out, "  {}({})", method.name, parameters.join(", "))?;
        if !method.description.is_empty() {
            write!(out, "  {}", method.description)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn one(
    out: &mut String,
    view: &DeviceView,
    property: &DeviceProperty,
    merged: Option<&EffectiveProperty>,
    report: Option<&PropertyStatus>,
    now: Timestamp,
) -> std::fmt::Result {
    let unit = view
        .model_property(&property.name)
        .map(|model| model.unit.as_str())
        .unwrap_or_default();
    write!(out, "  {}", property.name)?;
    match merged {
        Some(merged) => {
            write!(out, "  {}, {}", merged.value_type, merged.access)?;
            let range = merged.range_text();
            if !range.is_empty() {
                write!(out, ", {range}")?;
            }
            writeln!(out)?;
        }
        None => writeln!(out)?,
    }
    let reported = view
        .twin(&property.name)
        .and_then(|twin| twin.reported.as_ref());
    let reported = reported
        .map(|reported| reported.value.as_str())
        .unwrap_or_default();
    let mut line =
        |name: &str, value: &str| writeln!(out, "    {:<13} {value}", format!("{name}:"));
    line("Reported", &or_dash(&with_unit(reported, unit)))?;
    line("Desired", &desired(property, report, unit))?;
    if let Some(broken) = merged.and_then(|merged| merged.broken.as_deref()) {
        line("Unusable", broken)?;
    }
    let Some(report) = report else {
        return line("Quality", "not reported yet");
    };
    let quality = match report.reason {
        longshore_types::Reason::None => report.quality.to_string(),
        reason => format!("{}, {}", report.quality, reason.as_str()),
    };
    let when =
        |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |time| moment(time, now));
    line("Quality", &quality)?;
    line("Source time", &when(report.source_time))?;
    line("Last read", &when(report.last_read))?;
    line("Last error", report.last_error.as_deref().unwrap_or("-"))?;
    let write = match &report.write {
        None => "-".to_owned(),
        Some(write) => {
            let mut text = write.state.to_string();
            if let Some(time) = write.time {
                text.push_str(&format!(" {}", moment(time, now)));
            }
            if !write.message.is_empty() {
                text.push_str(&format!(": {}", write.message));
            }
            text
        }
    };
    line("Last write", &write)
}

/// The desired value in force, and where it came from when it is not the Device's.
fn desired(property: &DeviceProperty, report: Option<&PropertyStatus>, unit: &str) -> String {
    let wanted = property.desired_value();
    let in_force = report
        .and_then(|report| report.desired.as_deref())
        .or(wanted);
    let shown = or_dash(&with_unit(in_force.unwrap_or_default(), unit));
    let local = report.and_then(|report| report.desired_by.as_deref()) == Some("local");
    match (local, wanted) {
        (true, Some(wanted)) if in_force != Some(wanted) => {
            format!("{shown} (set locally over MQTT; the Device says {wanted})")
        }
        (true, _) => format!("{shown} (set locally over MQTT)"),
        // The edge has not taken it over yet, or has refused it.
        (false, Some(wanted)) if in_force != Some(wanted) => {
            format!("{shown} (the Device says {wanted})")
        }
        (false, _) => shown,
    }
}

/// What the edge has said, and what can be seen from here.
fn warnings(out: &mut String, view: &DeviceView, extensions: &Extensions) -> std::fmt::Result {
    let mut all = extensions.warnings.clone();
    let seen = match view.effective() {
        Ok(effective) => effective.faults,
        Err(faults) => faults,
    };
    for fault in seen {
        if !all
            .iter()
            .any(|known| known.to_string() == fault.to_string())
        {
            all.push(fault);
        }
    }
    let (faults, warnings): (Vec<_>, Vec<_>) = all.into_iter().partition(|fault| fault.is_error());
    for (title, list) in [("Faults", faults), ("Warnings", warnings)] {
        if !list.is_empty() {
            writeln!(out, "{title}:")?;
        }
        for fault in list {
            writeln!(out, "  {fault}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_732_000_000_000);

    /// The boiler of the demo with a status as the hub writes it.
    pub(crate) fn boiler() -> DeviceView {
        let text = include_str!("../../devices/demo/boiler.yaml");
        let manifests = longshore_types::Manifests::from_text("boiler.yaml".as_ref(), text);
        assert_eq!(manifests.faults, []);
        let mut device = manifests.devices[0].object.clone();
        device.metadata.creation_timestamp = Some("2024-11-19T05:06:40Z".into());
        device.spec.properties.truncate(3);
        device.spec.properties[1].desired = Some(longshore_types::device::TwinProperty {
            value: "60".into(),
            ..Default::default()
        });
        let mut model = manifests.models[0].object.clone();
        model.metadata.creation_timestamp = device.metadata.creation_timestamp.clone();
        let status = serde_json::from_value(json!({
            "metadata": {"name": "boiler", "namespace": "default"},
            "status": {
                "state": "online", "lastOnlineTime": "2024-11-19T07:06:38Z",
                "twins": [
                    {"propertyName": "temperature", "reported": {"value": "21.5"}},
                    {"propertyName": "setpoint", "reported": {"value": "60"}, "observedDesired": {"value": "60"}},
                ],
                "extensions": {
                    "conditions": [
                        {"type": "Reachable", "status": "True", "lastTransitionTime": "2024-11-19T07:00:00.000Z"},
                        {"type": "ConfigValid", "status": "False", "reason": "Faults", "message": "1 fault"},
                    ],
                    "properties": [
                        {"name": "temperature", "quality": "good", "sourceTime": "2024-11-19T07:06:39.500Z",
                         "lastRead": "2024-11-19T07:06:39.900Z"},
                        {"name": "setpoint", "quality": "uncertain", "reason": "stale",
                         "sourceTime": "2024-11-19T07:05:00.000Z", "lastError": "no answer within 1 s", "desired": "60",
                         "write": {"state": "confirmed", "time": "2024-11-19T07:04:00.000Z"}},
                    ],
                    "warnings": [{"path": "spec.protocol.configData.colour", "message": "unknown key", "level": "warning"}],
                },
            },
        }))
        .unwrap();
        DeviceView {
            device,
            model: Some(model),
            status: Some(status),
        }
    }

    #[test]
    fn all_that_is_known() {
        insta::assert_snapshot!(render(&boiler(), NOW), @r"
        Name:         boiler
        Namespace:    default
        Node:         edge-1
        Model:        boiler
        Protocol:     modbus tcp://127.0.0.1:5020 unit 1
        State:        online
        Last online:  2024-11-19T07:06:38Z (2s ago)
        Conditions:
          Reachable    True for 6m
          ConfigValid  False, Faults: 1 fault
        Properties:
          temperature  FLOAT, ReadOnly
            Reported:     21.5 °C
            Desired:      -
            Quality:      good
            Source time:  2024-11-19T07:06:39.500Z (0s ago)
            Last read:    2024-11-19T07:06:39.900Z (0s ago)
            Last error:   -
            Last write:   -
          setpoint  FLOAT, ReadWrite, 20 to 90 °C
            Reported:     60 °C
            Desired:      60 °C
            Quality:      uncertain, stale
            Source time:  2024-11-19T07:05:00.000Z (100s ago)
            Last read:    -
            Last error:   no answer within 1 s
            Last write:   confirmed 2024-11-19T07:04:00.000Z (2m ago)
          heating  BOOLEAN, ReadWrite
            Reported:     -
            Desired:      -
            Quality:      not reported yet
        Warnings:
          spec.protocol.configData.colour: unknown key
        ");
    }

    #[test]
    fn active_events_and_methods_are_shown() {
        let mut view = boiler();
        let status = view.status.as_mut().unwrap();
        let object = status.status.extensions.as_mut().unwrap();
        object["conditions"] = json!([]);
        object["properties"] = json!([]);
        object["warnings"] = json!([]);
        object.insert(
            "events".to_owned(),
            json!([
                {"name": "overTemperature", "active": true, "severity": "major", "message": "91.5 °C", "since": "2024-11-19T07:05:40Z"},
                {"name": "dry", "active": false, "severity": "info", "since": "2024-11-19T07:05:40Z"},
            ]),
        );
        view.device.spec.properties.clear();
        view.model.as_mut().unwrap().spec.properties.clear();
        view.device.spec.protocol.config_data.insert(
            "methods".to_owned(),
            json!([{"name": "reset", "description": "Back to the start", "call": {"node": "x"},
                    "parameters": [{"name": "mode", "type": "STRING"}]}]),
        );
        insta::assert_snapshot!(render(&view, NOW), @r"
        Name:         boiler
        Namespace:    default
        Node:         edge-1
        Model:        boiler
        Protocol:     modbus tcp://127.0.0.1:5020 unit 1
        State:        online
        Last online:  2024-11-19T07:06:38Z (2s ago)
        Events:
          overTemperature  major for 60s: 91.5 °C
        Properties:
          none
        Methods:
          reset(mode: STRING)  Back to the start
        ");
    }

    #[test]
    fn a_device_without_model_and_status() {
        let view = DeviceView {
            model: None,
            status: None,
            ..boiler()
        };
        insta::assert_snapshot!(render(&view, NOW), @r"
        Name:         boiler
        Namespace:    default
        Node:         edge-1
        Model:        boiler
        Protocol:     modbus tcp://127.0.0.1:5020 unit 1
        State:        unknown
        Properties:
          temperature
            Reported:     -
            Desired:      -
            Quality:      not reported yet
          setpoint
            Reported:     -
            Desired:      60
            Quality:      not reported yet
          heating
            Reported:     -
            Desired:      -
            Quality:      not reported yet
        Faults:
          spec.deviceModelRef: model `boiler` does not exist in namespace `default`
        ");
    }

    #[test]
    fn the_desired_value_in_force_comes_first() {
        let line = |report: serde_json::Value| {
            let mut view = boiler();
            let status = view.status.as_mut().unwrap();
            let object = status.status.extensions.as_mut().unwrap();
            object["properties"] = json!([report]);
            let text = render(&view, NOW);
            let setpoint = text.split("  setpoint ").nth(1).unwrap();
            let line = setpoint.lines().find(|line| line.contains("Desired:"));
            line.unwrap().trim().to_owned()
        };
        let lines = [
            line(json!({"name": "setpoint", "desired": "66", "desiredBy": "local"})),
            line(json!({"name": "setpoint", "desired": "60", "desiredBy": "local"})),
            line(json!({"name": "setpoint", "desired": "66", "desiredBy": "device"})),
            line(json!({"name": "setpoint"})),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        Desired:      66 °C (set locally over MQTT; the Device says 60)
        Desired:      60 °C (set locally over MQTT)
        Desired:      66 °C (the Device says 60)
        Desired:      60 °C
        ");
        assert_eq!(objects(&boiler())["device"]["metadata"]["name"], "boiler");
    }
}

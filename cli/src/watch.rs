//! `longshore watch device`: a line for each change.

use std::{collections::BTreeMap, pin::pin};

use anyhow::Result;
use futures::StreamExt;
use kube::runtime::{
    WatchStreamExt,
    watcher::{self, Event},
};
use longshore_types::{DeviceModel, DeviceStatus, Timestamp, device::WriteStatus};

use crate::edge::EdgeArgs;
use crate::{
    api::{ApiArgs, Connection, Kind, typed},
    output::{say, shown},
    view::{DeviceView, now, with_unit},
    wire,
};

/// Arguments of `longshore watch device`.
#[derive(Debug, clap::Args)]
pub struct WatchArgs {
    /// Name of the device
    name: String,
    /// The bytes on the wire instead, of a device with `trace: true`, out of the log of edgecore [default: that of `longshore up`]
    #[arg(long, value_name = "LOG", num_args = 0..=1, conflicts_with = "edge")]
    wire: Option<Option<std::path::PathBuf>>,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    edge: EdgeArgs,
}

/// What was last seen of a device.
#[derive(Debug, Default)]
struct Seen {
    state: String,
    properties: BTreeMap<String, Shown>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Shown {
    value: String,
    quality: String,
    write: Option<WriteStatus>,
    error: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(args: WatchArgs) -> Result<bool> {
    if let Some(log) = &args.wire {
        return wire::follow(&args.name, log.as_deref()).await;
    }
    if let Some(node) = args.edge.node()? {
        return node.watch(&args.name, args.api.namespace.as_deref()).await;
    }
    let connection = Connection::open(&args.api).await?;
    // Tells at once where there is no such device.
    let view = connection.view(&args.name).await?.shown()?;
    let mut seen = Seen::default();
    let config = watcher::Config::default().fields(&format!("metadata.name={}", args.name));
    let stream = watcher::watcher(connection.objects(Kind::Status), config).default_backoff();
    let mut stream = pin!(stream);
    let mut open = true;
    while open {
        let text = match stream.next().await {
            None => return Ok(true),
            Some(Ok(Event::Apply(object) | Event::InitApply(object))) => {
                let status: DeviceStatus = shown(&typed(object)?)?;
                seen.update(&status, view.model.as_ref(), now())
            }
            Some(Ok(Event::Delete(_))) => format!("{}  the device status is gone\n", clock(now())),
            Some(Ok(Event::Init | Event::InitDone)) => continue,
            Some(Err(error)) => format!(
                "{}  the watch broke and starts again: {error}\n",
                clock(now())
            ),
        };
        open = text.is_empty() || say(&text);
    }
    Ok(true)
}

/// `07:06:40.123`: the day is known to who watches.
fn clock(moment: Timestamp) -> String {
    moment.to_string()[11..23].to_owned()
}

impl Seen {
    /// The lines for what has changed.
    fn update(
        &mut self,
        status: &DeviceStatus,
        model: Option<&DeviceModel>,
        now: Timestamp,
    ) -> String {
        let mut out = String::new();
        let view = DeviceView {
            status: Some(status.clone()),
            model: model.cloned(),
            ..DeviceView::default()
        };
        let extensions = view.extensions();
        if self.state != view.state() {
            self.state = view.state().to_owned();
            out.push_str(&format!("{}  device is {}\n", clock(now), self.state));
        }
        for twin in &status.status.twins {
            let name = &twin.property_name;
            let report = extensions.property(name);
            let shown = Shown {
                value: twin
                    .reported
                    .as_ref()
                    .map(|reported| reported.value.clone())
                    .unwrap_or_default(),
                quality: report
                    .map(|report| report.quality.to_string())
                    .unwrap_or_default(),
                write: report.and_then(|report| report.write.clone()),
                error: report.and_then(|report| report.last_error.clone()),
            };
            if self.properties.get(name) == Some(&shown) {
                continue;
            }
            let before = self
                .properties
                .insert(name.clone(), shown.clone())
                .unwrap_or_default();
            let time = report.and_then(|report| report.source_time).unwrap_or(now);
            let unit = view
                .model_property(name)
                .map(|property| property.unit.as_str())
                .unwrap_or_default();
            out.push_str(&line(time, name, unit, &before, &shown));
        }
        out
    }
}

fn line(time: Timestamp, name: &str, unit: &str, before: &Shown, shown: &Shown) -> String {
    let mut line = format!(
        "{}  {name} = {}",
        clock(time),
        with_unit(&shown.value, unit)
    );
    if !shown.quality.is_empty() && shown.quality != "good" {
        line.push_str(&format!("  ({})", shown.quality));
    }
    if let Some(write) = shown.write.as_ref().filter(|_| shown.write != before.write) {
        line.push_str(&format!("  write {}", write.state));
        if !write.message.is_empty() {
            line.push_str(&format!(": {}", write.message));
        }
    }
    if let Some(error) = shown.error.as_ref().filter(|_| shown.error != before.error) {
        line.push_str(&format!("  error: {error}"));
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let now = Timestamp::from_millis(1_732_000_000_000);
        let view = crate::describe::tests::boiler();
        let mut status = view.status.unwrap();
        let mut seen = Seen::default();
        insta::assert_snapshot!(seen.update(&status, view.model.as_ref(), now), @r"
        07:06:40.000  device is online
        07:06:39.500  temperature = 21.5 °C
        07:05:00.000  setpoint = 60 °C  (uncertain)  write confirmed  error: no answer within 1 s
        ");
        assert_eq!(seen.update(&status, view.model.as_ref(), now), "");
        status.status.twins[0].reported.as_mut().unwrap().value = "22".into();
        status.status.state = "offline".into();
        insta::assert_snapshot!(seen.update(&status, view.model.as_ref(), now), @r"
        07:06:40.000  device is offline
        07:06:39.500  temperature = 22 °C
        ");
    }
}

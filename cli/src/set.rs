//! `longshore set device`: desired values, checked before they are sent.

use std::{str::FromStr, time::Duration};

use anyhow::{Result, bail};
use kube::api::{DynamicObject, PostParams};
use longshore_types::{
    Device, EffectiveDevice,
    device::WriteState,
    effective::{EffectiveProperty, RefusedValue},
};
use serde_json::json;

use crate::{
    api::{Connection, Kind, typed},
    args::ApiArgs,
    output::{advised, say},
    view::{DeviceView, with_unit},
};

/// How often a change is tried again when somebody else was faster.
const CONFLICTS: usize = 10;
/// How often the status is looked at with `--wait`.
const LOOK: Duration = Duration::from_millis(200);

/// Arguments of `longshore set device`.
#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// Name of the device
    name: String,
    /// New desired values; an empty value takes the desired value away
    #[arg(required = true, value_name = "PROPERTY=VALUE")]
    assignments: Vec<Assignment>,
    /// Wait so many seconds until the device has confirmed the values
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "10")]
    wait: Option<u64>,
    #[command(flatten)]
    api: ApiArgs,
}

/// `property=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Assignment {
    property: String,
    value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((property, value)) if !property.trim().is_empty() => Ok(Self {
                property: property.trim().to_owned(),
                value: value.to_owned(),
            }),
            _ => Err("expected PROPERTY=VALUE".to_owned()),
        }
    }
}

/// What will stand in one property of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    property: String,
    /// Canonical text; none takes the desired value away.
    value: Option<String>,
    unit: String,
}

/// Runs the command.
pub(crate) async fn run(args: SetArgs) -> Result<bool> {
    let connection = Connection::open(&args.api).await?;
    let changes = send(&connection, &args).await?;
    for change in &changes {
        say(&match &change.value {
            Some(value) => format!(
                "{} of {} shall be {}\n",
                change.property,
                args.name,
                with_unit(value, &change.unit)
            ),
            None => format!(
                "{} of {} has no desired value any more\n",
                change.property, args.name
            ),
        });
    }
    match args.wait {
        Some(seconds) => {
            wait(
                &connection,
                &args.name,
                &changes,
                Duration::from_secs(seconds),
            )
            .await
        }
        None => Ok(true),
    }
}

/// Fetch, check, change, replace; again where somebody else was faster, so
/// that no other change is lost and the check holds for what is replaced.
async fn send(connection: &Connection, args: &SetArgs) -> Result<Vec<Change>> {
    let api = connection.objects(Kind::Device);
    for _ in 0..CONFLICTS {
        let mut object = connection.device(&args.name).await?;
        let device: Device = typed(object.clone())?;
        let model = connection.model(&device).await?;
        let view = DeviceView {
            device,
            model,
            status: None,
        };
        let changes = check(&view, &args.assignments)?;
        apply(&mut object, &changes);
        match api
            .replace(&args.name, &PostParams::default(), &object)
            .await
        {
            Ok(_) => return Ok(changes),
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(connection.reached(error)),
        }
    }
    bail!(
        "device `{}` is changed by others all the time, gave up after {CONFLICTS} tries",
        args.name
    )
}

/// All assignments against the model: type, access and range.
fn check(view: &DeviceView, assignments: &[Assignment]) -> Result<Vec<Change>> {
    let name = &view.device.metadata.name;
    let effective = view.effective().map_err(|faults| {
        let text = faults
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        advised(
            format!("device `{name}` cannot be checked: {text}"),
            format!("longshore describe device {name}"),
        )
    })?;
    assignments
        .iter()
        .map(|assignment| check_one(view, &effective, assignment))
        .collect()
}

fn check_one(
    view: &DeviceView,
    effective: &EffectiveDevice,
    assignment: &Assignment,
) -> Result<Change> {
    let name = &view.device.metadata.name;
    let Some(property) = effective.property(&assignment.property) else {
        let known: Vec<&str> = effective
            .properties
            .iter()
            .map(|property| property.name.as_str())
            .collect();
        return Err(match view.model_property(&assignment.property) {
            Some(_) => advised(
                format!(
                    "device `{name}` does not use property `{}` of its model",
                    assignment.property
                ),
                "add it to spec.properties of the Device first",
            ),
            None => advised(
                format!("device `{name}` has no property `{}`", assignment.property),
                format!("its properties are {}", known.join(", ")),
            ),
        });
    };
    if let Some(broken) = &property.broken {
        bail!(
            "property `{}` of device `{name}` cannot be used: {broken}",
            property.name
        );
    }
    let change = |value| Change {
        property: property.name.clone(),
        value,
        unit: property.unit.clone(),
    };
    if assignment.value.is_empty() {
        return Ok(change(None));
    }
    match property.check_text(&assignment.value) {
        Ok(value) => Ok(change(Some(value.to_string()))),
        Err(refused) => Err(refuse(property, effective, refused)),
    }
}

fn refuse(
    property: &EffectiveProperty,
    effective: &EffectiveDevice,
    refused: RefusedValue,
) -> anyhow::Error {
    let hint = match &refused {
        RefusedValue::ReadOnly { .. } => {
            let writable: Vec<&str> = effective
                .properties
                .iter()
                .filter(|property| {
                    property.access == longshore_types::device::AccessMode::ReadWrite
                })
                .map(|property| property.name.as_str())
                .collect();
            match writable.is_empty() {
                true => format!(
                    "model `{}` has no property that may be written",
                    effective.model
                ),
                false => format!("properties that may be written: {}", writable.join(", ")),
            }
        }
        RefusedValue::Range { .. } => format!("the range stands in model `{}`", effective.model),
        RefusedValue::Type { .. } => {
            let mut text = format!("`{}` is of type {}", property.name, property.value_type);
            let range = property.range_text();
            if !range.is_empty() {
                text.push_str(&format!(", {range}"));
            }
            text
        }
    };
    advised(refused.to_string(), hint)
}

/// Only `desired` of the named properties changes; all else stays as it came.
fn apply(object: &mut DynamicObject, changes: &[Change]) {
    let Some(properties) = object
        .data
        .pointer_mut("/spec/properties")
        .and_then(|all| all.as_array_mut())
    else {
        return;
    };
    for change in changes {
        // The first one counts, where a name stands twice.
        let found = properties
            .iter_mut()
            .find(|property| property["name"] == change.property.as_str());
        let Some(property) = found.and_then(|property| property.as_object_mut()) else {
            continue;
        };
        match &change.value {
            Some(value) => {
                let desired = property.entry("desired").or_insert_with(|| json!({}));
                if !desired.is_object() {
                    *desired = json!({});
                }
                desired["value"] = json!(value);
            }
            None => {
                property.remove("desired");
            }
        }
    }
}

async fn wait(
    connection: &Connection,
    name: &str,
    changes: &[Change],
    patience: Duration,
) -> Result<bool> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let view = connection.view(name).await?;
        let states: Vec<Outcome> = changes
            .iter()
            .map(|change| outcome(&view, change))
            .collect();
        if let Some(Outcome::Failed(message)) = states
            .iter()
            .find(|state| matches!(state, Outcome::Failed(_)))
        {
            return Err(advised(
                message.clone(),
                format!("longshore describe device {name}"),
            ));
        }
        if states.iter().all(|state| *state == Outcome::Confirmed) {
            say("confirmed\n");
            return Ok(true);
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(advised(
                format!("not confirmed within {} s", patience.as_secs()),
                format!("longshore describe device {name}"),
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Waiting,
    Confirmed,
    Failed(String),
}

/// What became of one change. A report about another value is an old one.
fn outcome(view: &DeviceView, change: &Change) -> Outcome {
    let Some(value) = &change.value else {
        return Outcome::Confirmed;
    };
    let extensions = view.extensions();
    let Some(report) = extensions.property(&change.property) else {
        return Outcome::Waiting;
    };
    let (Some(desired), Some(write)) = (&report.desired, &report.write) else {
        return Outcome::Waiting;
    };
    match write.state {
        _ if desired != value => Outcome::Waiting,
        WriteState::Pending => Outcome::Waiting,
        WriteState::Confirmed => Outcome::Confirmed,
        WriteState::Failed => Outcome::Failed(format!(
            "{} was not written: {}",
            change.property, write.message
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{describe::tests::boiler, output::explain};

    fn try_set(text: &str) -> String {
        match check(&boiler(), &[text.parse().unwrap()]) {
            Ok(changes) => format!("{:?}\n", changes[0].value),
            Err(error) => explain(&error),
        }
    }

    #[test]
    fn values_are_checked_before_they_are_sent() {
        let tries = [
            "setpoint=55.50",
            "setpoint=",
            "setpoint=200",
            "setpoint=warm",
            "temperature=20",
            "colour=red",
            "burner=true",
        ];
        let told: String = tries
            .iter()
            .map(|text| format!("> {text}\n{}", try_set(text)))
            .collect();
        insta::assert_snapshot!(told, @r#"
        > setpoint=55.50
        Some("55.5")
        > setpoint=
        None
        > setpoint=200
        error: 200 is out of range for `setpoint`, expected 20 to 90 °C

        hint: the range stands in model `boiler`
        > setpoint=warm
        error: `warm` is not a value of type FLOAT: expected a number such as 21.5

        hint: `setpoint` is of type FLOAT, 20 to 90 °C
        > temperature=20
        error: property `temperature` is read-only

        hint: properties that may be written: setpoint, heating
        > colour=red
        error: device `boiler` has no property `colour`

        hint: its properties are temperature, setpoint, heating
        > burner=true
        error: device `boiler` does not use property `burner` of its model

        hint: add it to spec.properties of the Device first
        "#);
        assert!("setpoint".parse::<Assignment>().is_err() && "=5".parse::<Assignment>().is_err());
    }

    #[test]
    fn only_the_desired_value_changes() {
        let mut object: DynamicObject = serde_json::from_value(json!({
            "metadata": {"name": "boiler", "resourceVersion": "7"},
            "spec": {"new": 1, "properties": [{"name": "a", "x": 2}, {"name": "b", "desired": {"value": "1", "metadata": {"k": "v"}}},
                                               {"name": "c", "desired": {"value": "1"}}]},
        }))
        .unwrap();
        let change = |property: &str, value: Option<&str>| Change {
            property: property.into(),
            value: value.map(Into::into),
            unit: String::new(),
        };
        apply(
            &mut object,
            &[
                change("a", Some("5")),
                change("b", Some("6")),
                change("c", None),
            ],
        );
        assert_eq!(
            object.data["spec"],
            json!({"new": 1, "properties": [{"name": "a", "x": 2, "desired": {"value": "5"}},
                                             {"name": "b", "desired": {"value": "6", "metadata": {"k": "v"}}}, {"name": "c"}]})
        );
        assert_eq!(object.metadata.resource_version.as_deref(), Some("7"));
    }

    #[test]
    fn an_old_report_is_not_taken_for_the_answer() {
        let change = |value: &str| Change {
            property: "setpoint".into(),
            value: Some(value.into()),
            unit: String::new(),
        };
        assert_eq!(outcome(&boiler(), &change("60")), Outcome::Confirmed);
        assert_eq!(outcome(&boiler(), &change("55")), Outcome::Waiting);
    }
}

//! `longshore set device`: desired values, checked before they are sent.

use std::{str::FromStr, time::Duration};

use anyhow::{Result, bail};
use kube::api::DynamicObject;
use longshore_types::{
    Device, EffectiveDevice, Timestamp,
    device::{ModelProperty, WriteState},
    effective::{EffectiveProperty, RefusedValue},
    policy::InverseError,
};
use serde_json::{Value as Json, json};

use crate::edge::EdgeArgs;
use crate::{
    api::{ApiArgs, Connection, typed},
    output::{advised, say},
    view::{DeviceView, now, with_unit},
};

/// How often a change is tried again when somebody else was faster.
const TRIES: u32 = 12;
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
    #[command(flatten)]
    edge: EdgeArgs,
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
    if let Some(node) = args.edge.node()? {
        let values = args.assignments.iter();
        let values: Vec<_> = values.map(|it| (&*it.property, &*it.value)).collect();
        let namespace = args.api.namespace.as_deref();
        return node.set(&args.name, namespace, &values, args.wait).await;
    }
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

/// Fetch, check, change only what is meant; again where somebody else was
/// faster, so that no other change is lost and each is made to the right
/// property.
async fn send(connection: &Connection, args: &SetArgs) -> Result<Vec<Change>> {
    for attempt in 1..=TRIES {
        let object = connection.device(&args.name).await?;
        let device: Device = typed(object.clone())?;
        let model = connection.model(&device).await?;
        let view = DeviceView {
            device,
            model,
            status: None,
        };
        let changes = check(&view, &args.assignments)?;
        let patch = match listed(&object).is_empty() {
            true => all_listed(&object, &view, &changes, now()),
            false => patch(&object, &changes, now()),
        };
        if patch.is_empty() {
            return Ok(changes);
        }
        match connection
            .in_time(connection.patch_device(&args.name, &patch))
            .await?
        {
            Ok(()) => return Ok(changes),
            Err(error) if is_conflict(&error) => tokio::time::sleep(pause(attempt)).await,
            Err(error) => return Err(connection.reached(error)),
        }
    }
    bail!(
        "device `{}` is changed by others all the time, gave up after {TRIES} tries",
        args.name
    )
}

/// Somebody else has written in between, or has moved the property.
fn is_conflict(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            status.code == 409 || (status.code == 422 && status.message.contains("test failed"))
        }
        _ => false,
    }
}

/// Longer each time, and another one for each process: those who collided
/// must not come back all at once.
fn pause(attempt: u32) -> Duration {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos());
    let mixed = (nanos ^ std::process::id().rotate_left(16)).wrapping_mul(0x9E37_79B1) >> 16;
    Duration::from_millis(u64::from(5 + mixed % (30 * attempt)))
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
        Ok(value) => {
            let text = value.to_string();
            check_step(property, &text)?;
            Ok(change(Some(text)))
        }
        Err(refused) => Err(refuse(property, effective, refused)),
    }
}

/// A register of whole numbers holds only whole steps. Which one is meant is
/// for people to say, and better now than after a write that failed.
fn check_step(property: &EffectiveProperty, text: &str) -> Result<()> {
    let raw = property.config.get("rawType").and_then(Json::as_str);
    let whole = raw.is_some_and(|raw| raw.starts_with("int") || raw.starts_with("uint"));
    let transform = &property.policy.transform;
    // What an expression makes of it only the edge tells.
    let plain = property.policy.names.is_none() && property.policy.calculation.is_none();
    let numbers = whole && plain;
    let (true, Ok(value)) = (numbers, text.parse::<f64>()) else {
        return Ok(());
    };
    let Err(InverseError::BetweenSteps { step, .. }) = transform.invert_whole(value) else {
        return Ok(());
    };
    let raw = transform.invert(value)?;
    let (one, other) = (transform.apply(raw.floor()), transform.apply(raw.ceil()));
    Err(advised(
        format!(
            "{text} is between two steps of {step} for `{}`",
            property.name
        ),
        format!(
            "the nearest are {} and {}",
            tidy(one.min(other)),
            tidy(one.max(other))
        ),
    ))
}

/// Without the dust of a multiplication: 33.300000000000004 is 33.3.
fn tidy(value: f64) -> f64 {
    format!("{value:.12e}").parse().unwrap_or(value)
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

/// A JSON patch of `desired` of the named properties; all else stays as it is.
///
/// The moment goes with the value, so that the same value set again is an
/// order again: the edge lets it win over what was set locally in between.
fn patch(object: &DynamicObject, changes: &[Change], now: Timestamp) -> Vec<Json> {
    let properties = listed(object);
    let mut patch = Vec::new();
    for change in changes {
        // The first one counts, where a name stands twice.
        let found = properties
            .iter()
            .position(|property| property["name"] == change.property.as_str());
        let Some(index) = found else {
            continue;
        };
        let former = properties[index].get("desired");
        let place = format!("/spec/properties/{index}");
        let desired = format!("{place}/desired");
        let operation = match &change.value {
            Some(value) => {
                let metadata = former.and_then(|former| former.get("metadata"));
                let mut metadata = metadata.filter(|it| it.is_object()).cloned();
                let metadata = metadata.get_or_insert_with(|| json!({}));
                metadata["timestamp"] = now.as_millis().to_string().into();
                json!({"op": "add", "path": desired, "value": {"value": value, "metadata": metadata}})
            }
            None if former.is_some() => json!({"op": "remove", "path": desired}),
            None => continue,
        };
        patch
            .push(json!({"op": "test", "path": format!("{place}/name"), "value": change.property}));
        patch.push(operation);
    }
    patch
}

/// The properties that the Device lists.
fn listed(object: &DynamicObject) -> &[Json] {
    let properties = object.data.pointer("/spec/properties");
    let properties = properties.and_then(Json::as_array);
    properties.map(Vec::as_slice).unwrap_or_default()
}

/// As [`patch`], of a Device that uses all properties of its model by listing none:
/// from now on it lists them, since one alone would leave out the others.
fn all_listed(
    object: &DynamicObject,
    view: &DeviceView,
    changes: &[Change],
    now: Timestamp,
) -> Vec<Json> {
    let wanted = |name: &str| changes.iter().find(|change| change.property == name);
    if changes.iter().all(|change| change.value.is_none()) {
        return Vec::new();
    }
    let Some(model) = &view.model else {
        return Vec::new();
    };
    let entry = |property: &ModelProperty| {
        let mut entry = json!({"name": property.name});
        if let Some(value) = wanted(&property.name).and_then(|change| change.value.as_ref()) {
            let metadata = json!({"timestamp": now.as_millis().to_string()});
            entry["desired"] = json!({"value": value, "metadata": metadata});
        }
        entry
    };
    let all: Vec<_> = model.spec.properties.iter().map(entry).collect();
    vec![
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": object.metadata.resource_version}),
        json!({"op": "add", "path": "/spec/properties", "value": all}),
    ]
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
        WriteState::Unknown => Outcome::Failed(format!(
            "nobody knows whether {} was written: {}",
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
            "setpoint=33.33",
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
        > setpoint=33.33
        error: 33.33 is between two steps of 0.1 for `setpoint`

        hint: the nearest are 33.3 and 33.4
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
        let object: DynamicObject = serde_json::from_value(json!({
            "metadata": {"name": "boiler", "resourceVersion": "7"},
            "spec": {"new": 1, "properties": [
                {"name": "a", "x": 2},
                {"name": "b", "desired": {"value": "6", "metadata": {"k": "v", "timestamp": "5"}}},
                {"name": "c", "desired": {"value": "1"}}, {"name": "d"}]},
        }))
        .unwrap();
        let change = |property: &str, value: Option<&str>| Change {
            property: property.into(),
            value: value.map(Into::into),
            unit: String::new(),
        };
        let changes = [
            change("a", Some("5")),
            change("b", Some("6")),
            change("c", None),
            change("d", None),
        ];
        assert_eq!(
            json!(patch(&object, &changes, Timestamp::from_millis(9))),
            json!([
                {"op": "test", "path": "/spec/properties/0/name", "value": "a"},
                {"op": "add", "path": "/spec/properties/0/desired", "value": {"value": "5", "metadata": {"timestamp": "9"}}},
                {"op": "test", "path": "/spec/properties/1/name", "value": "b"},
                {"op": "add", "path": "/spec/properties/1/desired", "value": {"value": "6", "metadata": {"k": "v", "timestamp": "9"}}},
                {"op": "test", "path": "/spec/properties/2/name", "value": "c"},
                {"op": "remove", "path": "/spec/properties/2/desired"},
            ])
        );
    }

    /// One entry alone would leave out the other properties of its model.
    #[test]
    fn a_device_that_listed_nothing_lists_all_from_then_on() {
        let mut view = boiler();
        view.device.spec.properties.clear();
        let object: DynamicObject = serde_json::from_value(
            json!({"metadata": {"name": "boiler", "resourceVersion": "7"}, "spec": {"properties": []}}),
        )
        .unwrap();
        let changes = check(&view, &["setpoint=60".parse().unwrap()]).unwrap();
        let patch = all_listed(&object, &view, &changes, Timestamp::from_millis(9));
        assert_eq!(patch[0]["value"], "7");
        let names: Vec<_> = patch[1]["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["name"])
            .collect();
        assert_eq!(names[..3], ["temperature", "setpoint", "heating"]);
        assert_eq!(patch[1]["value"][1]["desired"]["value"], "60");
        assert_eq!(patch[1]["value"][0].get("desired"), None);
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

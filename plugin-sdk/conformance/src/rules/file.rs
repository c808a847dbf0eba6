//! What stands in the file.

use std::path::Path;

use longshore_host::{Descriptor, bare::Bare, inspect};
use longshore_types::schema_check;
use serde_json::Value;

use super::{Finding, Found, broken};

fn descriptor_of(file: &Path) -> Result<Descriptor, Finding> {
    inspect(file).map_err(|error| Finding::NotJudged(error.to_string()))
}

pub(super) fn descriptor(file: &Path) -> Found {
    match inspect(file) {
        // The schema has a rule of its own.
        Ok(_) | Err(longshore_host::InspectError::BadSchema { .. }) => Ok(()),
        Err(error) => broken(error.to_string()),
    }
}

pub(super) fn texts(file: &Path) -> Found {
    let descriptor = descriptor_of(file)?;
    let mut faults = Vec::new();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if descriptor.name.is_empty() || !descriptor.name.chars().all(plain) {
        faults.push(format!("the name is `{}`", descriptor.name));
    }
    // What follows `-` or `+` is free.
    let core = descriptor.version.split(['-', '+']).next().unwrap_or("");
    let numbers: Vec<_> = core.split('.').map(str::parse::<u32>).collect();
    if numbers.len() != 3 || numbers.iter().any(Result::is_err) {
        faults.push(format!("the version is `{}`", descriptor.version));
    }
    for (what, text) in [
        ("protocol", &descriptor.protocol),
        ("target", &descriptor.target),
    ] {
        if text.is_empty() {
            faults.push(format!("the {what} is empty"));
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        broken(faults.join("; "))
    }
}

pub(super) fn table(file: &Path) -> Found {
    descriptor_of(file)?;
    match Bare::load(file) {
        Ok(_) => Ok(()),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            broken(format!("{error}: {}", cause.unwrap_or_default()))
        }
    }
}

pub(super) fn versions(file: &Path) -> Found {
    let descriptor = descriptor_of(file)?;
    let mapper = Bare::load(file).map_err(|error| Finding::NotJudged(error.to_string()))?;
    let (_, minor) = mapper.version();
    if minor == descriptor.abi_minor {
        Ok(())
    } else {
        broken(format!(
            "the descriptor states minor version {}, the table {minor}",
            descriptor.abi_minor
        ))
    }
}

pub(super) fn schema(file: &Path) -> Found {
    let descriptor = match inspect(file) {
        Err(error @ longshore_host::InspectError::BadSchema { .. }) => {
            return broken(error.to_string());
        }
        other => other.map_err(|error| Finding::NotJudged(error.to_string()))?,
    };
    let Some(text) = &descriptor.schema else {
        return Err(Finding::NotJudged(
            "the mapper carries no schema; `longshore explain` will know nothing of it".to_owned(),
        ));
    };
    let schema: Value = serde_json::from_str(text)
        .map_err(|error| Finding::Broken(format!("it is not JSON: {error}")))?;
    if schema["protocol"] != descriptor.protocol.as_str() {
        return broken(format!(
            "it is of the protocol {}, the descriptor of `{}`",
            schema["protocol"], descriptor.protocol
        ));
    }
    for part in ["device", "property", "method", "discovery", "mapper"] {
        match &schema[part] {
            Value::Null if part != "device" && part != "property" => {}
            Value::Object(_) => {}
            other => {
                let found = if other.is_null() {
                    "missing"
                } else {
                    "no object"
                };
                return broken(format!("its part `{part}` is {found}"));
            }
        }
        for (i, example) in list(&schema[part]["examples"]).iter().enumerate() {
            let at = format!("{part}.examples[{i}]");
            let faults = schema_check::check(&schema[part], example, &at);
            if let Some(fault) = faults.first() {
                return broken(format!("an example does not keep to it: {fault}"));
            }
        }
    }
    Ok(())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

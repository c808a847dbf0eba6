//! `longshore validate`: what is wrong in manifests, before anything gets them.
//!
//! Three readers look at each device, as on an edge node: the strict one of
//! files, the vocabulary of all protocols, and the schema that the protocol's
//! mapper carries. Nothing is run and no server is asked.

use std::path::PathBuf;

use anyhow::{Context, Result};
use longshore_types::{
    Device, EffectiveDevice, Manifests,
    schema_check::{Document, Part},
};
use serde_json::Value as Json;

use crate::{
    libraries,
    output::{advised, say},
};

/// Arguments of `longshore validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// Manifests (YAML or JSON), or folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Warnings count as errors
    #[arg(long)]
    strict: bool,
    /// Folder of the mappers' libraries [default: found near the program]
    #[arg(long, value_name = "FOLDER")]
    mapper_dir: Option<PathBuf>,
}

/// What was found in all files.
#[derive(Debug, Default)]
struct Found {
    lines: Vec<String>,
    devices: usize,
    errors: usize,
    warnings: usize,
}

/// Runs the command.
pub(crate) async fn run(args: ValidateArgs) -> Result<bool> {
    let mut found = Found::default();
    for file in &args.files {
        let manifests =
            Manifests::load(file).with_context(|| format!("failed to read {}", file.display()))?;
        for fault in &manifests.faults {
            found.add(
                fault.to_string(),
                fault.level == longshore_types::Level::Error,
            );
        }
        for device in &manifests.devices {
            found.devices += 1;
            let place = format!("{}:{}", device.place.file.display(), device.place.line);
            look_at(&args, &device.object, &manifests, &place, &mut found)?;
        }
    }
    for line in &found.lines {
        say(&format!("{line}\n"));
    }
    if found.devices == 0 && found.errors == 0 {
        return Err(advised(
            "there is no Device in these files",
            "a profile is a DeviceModel and a Device; `longshore explain` lists the protocols",
        ));
    }
    let count = |number: usize, what: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { "s" })
    };
    say(&format!(
        "{}: {}, {}\n",
        count(found.devices, "device"),
        count(found.errors, "error"),
        count(found.warnings, "warning")
    ));
    Ok(found.errors == 0 && !(args.strict && found.warnings > 0))
}

fn look_at(
    args: &ValidateArgs,
    device: &Device,
    manifests: &Manifests,
    place: &str,
    found: &mut Found,
) -> Result<()> {
    let name = &device.metadata.name;
    let wanted = device.model_name();
    let mut models = manifests.models.iter().map(|model| &model.object);
    let Some(model) = models.find(|model| model.metadata.name == wanted) else {
        found.add(format!("{place}: device `{name}`: spec.deviceModelRef.name: no model `{wanted}` in these files"), true);
        return Ok(());
    };
    let effective = match EffectiveDevice::build(device, model) {
        Ok(effective) => effective,
        Err(faults) => {
            for fault in faults {
                found.add(format!("{place}: device `{name}`: {fault}"), true);
            }
            return Ok(());
        }
    };
    for fault in &effective.faults {
        found.add(
            format!("{place}: device `{name}`: {fault}"),
            fault.is_error(),
        );
    }
    let library =
        match libraries::of_protocol(&effective.protocol, None, args.mapper_dir.as_deref()) {
            Ok(library) => library,
            Err(error) => {
                found.add(
                    format!("{place}: device `{name}`: not checked by a mapper: {error}"),
                    false,
                );
                return Ok(());
            }
        };
    let Some(schema) = &library.descriptor.schema else {
        found.add(
            format!(
                "{place}: device `{name}`: the mapper `{}` carries no schema",
                library.descriptor.name
            ),
            false,
        );
        return Ok(());
    };
    let schema = Document::parse(schema)?;
    let protocol = Json::Object(effective.protocol_config.clone());
    let mut faults = schema.check(Part::Device, &protocol, "spec.protocol.configData");
    for property in effective
        .properties
        .iter()
        .filter(|property| property.broken.is_none())
    {
        let at = format!("spec.properties[{}].visitors.configData", property.index);
        faults.extend(schema.check(Part::Property, &Json::Object(property.config.clone()), &at));
    }
    for fault in faults {
        found.add(
            format!("{place}: device `{name}`: {fault}"),
            fault.is_error(),
        );
    }
    Ok(())
}

impl Found {
    fn add(&mut self, text: String, is_error: bool) {
        let word = if is_error { "error" } else { "warning" };
        *(if is_error {
            &mut self.errors
        } else {
            &mut self.warnings
        }) += 1;
        // What two devices share, such as a fault of their model, is told once.
        let line = format!("{word}: {text}");
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }
}

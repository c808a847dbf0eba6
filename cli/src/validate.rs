//! `longshore validate`: what is wrong in manifests, before anything gets them.
//!
//! Three readers look at each device, as on an edge node: the strict one of
//! files, the vocabulary of all protocols, and the schema that the protocol's
//! mapper carries. Nothing is run and no server is asked. A fourth one knows
//! more than a schema can say, but may open the line to a device: the mapper
//! itself, with `--ask-mapper`.
//!
//! A document that the strict reader refuses is still looked at by the others,
//! and so is a model that no Device uses, so that all faults are told at once.

mod ask;
mod lenient;

use std::path::PathBuf;

use anyhow::{Context, Result};
use longshore_types::{
    Device, DeviceModel, EffectiveDevice, Fault, Manifests, schema_check::Document,
};
use serde_json::json;

use self::ask::Mappers;
use crate::{
    libraries,
    output::{advised, hint, say},
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
    /// Run the mapper and ask it too: what an address or a URL has to look like, which functions there
    /// are. Nothing is read or written, but the mapper may connect. Without it, keys, types and
    /// ranges are checked by the mapper's schema
    #[arg(long)]
    ask_mapper: bool,
    /// Folder of the mappers' libraries [default: found near the program]
    #[arg(long, value_name = "FOLDER")]
    mapper_dir: Option<PathBuf>,
}

/// What was found in all files.
#[derive(Debug, Default)]
struct Found {
    lines: Vec<String>,
    devices: usize,
    models: usize,
    errors: usize,
    warnings: usize,
}

/// Runs the command.
pub(crate) async fn run(args: ValidateArgs) -> Result<bool> {
    let mut found = Found::default();
    let mut mappers = Mappers::default();
    for file in &args.files {
        let mut manifests =
            Manifests::load(file).with_context(|| format!("failed to read {}", file.display()))?;
        for fault in &manifests.faults {
            found.add(
                fault.to_string(),
                fault.level == longshore_types::Level::Error,
            );
        }
        lenient::complete(&mut manifests);
        for device in &manifests.devices {
            found.devices += 1;
            let place = format!("{}: device `{}`", device.place, device.object.metadata.name);
            let wanted = device.object.model_name();
            let mut models = manifests.models.iter().map(|model| &model.object);
            let Some(model) = models.find(|model| model.metadata.name == wanted) else {
                found.add(
                    format!(
                        "{place}: spec.deviceModelRef.name: no model `{wanted}` in these files"
                    ),
                    true,
                );
                continue;
            };
            if device.object.spec.properties.is_empty() {
                found.add(
                    format!("{place}: spec.properties: is empty, so nothing of the device is read"),
                    false,
                );
            }
            let faults = look_at(&args, &device.object, model, &mut mappers).await?;
            found.add_all(&place, faults);
        }
        for model in &manifests.models {
            found.models += 1;
            let name = &model.object.metadata.name;
            let used = |device: &Device| device.model_name() == name;
            if !manifests.devices.iter().any(|device| used(&device.object)) {
                let place = format!("{}: model `{name}`", model.place);
                let faults = look_at_model(&args, &model.object, &mut mappers).await?;
                found.add_all(&place, faults);
            }
        }
    }
    mappers.end().await;
    found.tell()?;
    if !args.ask_mapper && found.errors == 0 {
        say(&hint(
            "--ask-mapper also runs the mapper, which knows what an address or a URL must be; it may connect",
        ));
    }
    Ok(found.errors == 0 && !(args.strict && found.warnings > 0))
}

/// All that the vocabulary, the schema and the mapper say of a device.
async fn look_at(
    args: &ValidateArgs,
    device: &Device,
    model: &DeviceModel,
    mappers: &mut Mappers,
) -> Result<Vec<Fault>> {
    let effective = match EffectiveDevice::build(device, model) {
        Ok(effective) => effective,
        Err(faults) => return Ok(faults),
    };
    let mut faults = effective.faults.clone();
    let doubt = |text: String| Fault::warning("spec.protocol", text);
    let library =
        match libraries::of_protocol(&effective.protocol, None, args.mapper_dir.as_deref()) {
            Ok(library) => library,
            Err(error) => {
                faults.push(doubt(format!("not checked by a mapper: {error}")));
                return Ok(faults);
            }
        };
    match &library.descriptor.schema {
        Some(schema) => faults.extend(effective.check(&Document::parse(schema)?)),
        None => faults.push(doubt(format!(
            "the mapper `{}` carries no schema",
            library.descriptor.name
        ))),
    }
    if args.ask_mapper {
        let of_schema: Vec<String> = faults.iter().map(|fault| fault.path.clone()).collect();
        let more = mappers.ask(&library, &effective).await?;
        // At one key the schema and the mapper mean the same, in other words.
        faults.extend(
            more.into_iter()
                .filter(|fault| !of_schema.contains(&fault.path)),
        );
    }
    Ok(faults)
}

/// A model that no Device uses, as a Device with all of its properties would
/// have it. Where such a device is to be found nobody has said yet.
async fn look_at_model(
    args: &ValidateArgs,
    model: &DeviceModel,
    mappers: &mut Mappers,
) -> Result<Vec<Fault>> {
    let properties: Vec<_> = model
        .spec
        .properties
        .iter()
        .map(|property| json!({"name": property.name}))
        .collect();
    let device = serde_json::from_value(json!({
        "metadata": {"name": model.metadata.name, "namespace": model.metadata.namespace_or_default()},
        "spec": {
            "deviceModelRef": {"name": model.metadata.name},
            "nodeName": "none",
            "protocol": {"protocolName": model.spec.protocol},
            "properties": properties,
        },
    }))
    .context("failed to make a device of the model")?;
    let schema_only = ValidateArgs {
        files: Vec::new(),
        ask_mapper: false,
        strict: args.strict,
        mapper_dir: args.mapper_dir.clone(),
    };
    let mut faults = look_at(&schema_only, &device, model, mappers).await?;
    faults.retain(|fault| {
        !(fault.path.starts_with("spec.protocol.configData") && fault.message.contains("missing"))
    });
    Ok(faults)
}

impl Found {
    fn add_all(&mut self, place: &str, faults: Vec<Fault>) {
        for fault in faults {
            self.add(format!("{place}: {fault}"), fault.is_error());
        }
    }

    fn tell(&self) -> Result<()> {
        for line in &self.lines {
            say(&format!("{line}\n"));
        }
        if self.devices == 0 && self.models == 0 && self.errors == 0 {
            return Err(advised(
                "there is no Device and no DeviceModel in these files",
                "a profile is a DeviceModel and a Device; `longshore explain` lists the protocols",
            ));
        }
        let count = |number: usize, what: &str| {
            format!("{number} {what}{}", if number == 1 { "" } else { "s" })
        };
        let what = match self.devices {
            0 => count(self.models, "model"),
            devices => count(devices, "device"),
        };
        say(&format!(
            "{what}: {}, {}\n",
            count(self.errors, "error"),
            count(self.warnings, "warning")
        ));
        Ok(())
    }

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

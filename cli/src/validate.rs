//! `longshore validate`: what is wrong in manifests, before anything gets them.
//!
//! Four readers look at each device, as on an edge node: the strict one of files,
//! the vocabulary of all protocols, the schema that the protocol's mapper carries,
//! and the mapper itself, which knows more than a schema can say. No server is
//! asked and no line opened; a mapper that cannot judge without opening one is
//! asked with `--ask-mapper` alone.
//!
//! A document that the strict reader refuses is still looked at by the others,
//! and so is a model that no Device uses, so that all faults are told at once.

mod ask;
mod lenient;
mod places;

use std::path::PathBuf;

use anyhow::{Context, Result};
use longshore_types::{
    Device, DeviceModel, EffectiveDevice, Fault, Level, Manifests,
    manifest::{Lines, Loaded, Place, Refused},
    near::nearest,
    schema_check::Document,
};
use serde_json::json;

use self::{ask::Mappers, places::Places};
pub(crate) use self::{ask::configuration, places::Told};
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
    /// The mappers may connect: devices that share a line are seen beside each other, and mappers that
    /// cannot judge a configuration without taking it over are asked too. Nothing is read or written
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
    let mut manifests = Manifests::load_all(&args.files).map_err(|(file, error)| {
        anyhow::Error::from(error).context(format!("failed to read {}", file.display()))
    })?;
    let mut found = Found::default();
    for fault in &manifests.faults {
        let is_error = fault.level == Level::Error;
        let word = if is_error { "error" } else { "warning" };
        found.add(format!("{word}: {fault}"), is_error);
    }
    lenient::complete(&mut manifests);
    let mut judge = Judge {
        mapper_dir: args.mapper_dir.clone(),
        library: None,
        mappers: Some(Mappers::new(args.ask_mapper)),
        places: Places::default(),
    };
    for device in &manifests.devices {
        found.devices += 1;
        let wanted = device.object.model_name();
        let mut models = manifests.models.iter();
        let Some(model) = models.find(|model| model.object.metadata.name == wanted) else {
            found.no_model(device, wanted, &manifests);
            continue;
        };
        let faults = judge.device(device, model).await?;
        found.add_all(&faults, &manifests);
    }
    for model in &manifests.models {
        found.models += 1;
        let name = &model.object.metadata.name;
        let used = |device: &Loaded<Device>| device.object.model_name() == name;
        if !manifests.devices.iter().any(used) {
            let faults = judge.model(model).await?;
            found.add_all(&faults, &manifests);
        }
    }
    let was_spared = judge.end().await;
    found.tell()?;
    if was_spared && found.errors == 0 {
        say(&hint(
            "--ask-mapper also asks a mapper that cannot judge without taking the device over; it may connect",
        ));
    }
    Ok(found.errors == 0 && !(args.strict && found.warnings > 0))
}

/// Says of devices and models what is wrong with them, and where.
pub(crate) struct Judge {
    /// Folder of the mappers' libraries, if somebody named it.
    mapper_dir: Option<PathBuf>,
    /// The one library, if it was named.
    library: Option<PathBuf>,
    /// The mappers that are asked; none while a model stands without a device.
    mappers: Option<Mappers>,
    places: Places,
}

impl Judge {
    /// One that opens no line.
    pub(crate) fn quiet(mapper_dir: Option<PathBuf>, library: Option<PathBuf>) -> Self {
        Self {
            mapper_dir,
            library,
            mappers: Some(Mappers::new(false)),
            places: Places::default(),
        }
    }

    /// All that the vocabulary, the schema and the mapper say of a device.
    pub(crate) async fn device(
        &mut self,
        device: &Loaded<Device>,
        model: &Loaded<DeviceModel>,
    ) -> Result<Vec<Told>> {
        let faults = self.look_at(&device.object, &model.object).await?;
        let placed = faults.into_iter();
        let placed = placed.map(|fault| self.places.place(fault, Some(device), model));
        Ok(placed.collect())
    }

    /// A model that no Device uses, as a Device with all of its properties would
    /// have it. Where such a device is to be found nobody has said yet.
    async fn model(&mut self, loaded: &Loaded<DeviceModel>) -> Result<Vec<Told>> {
        let model = &loaded.object;
        let properties: Vec<_> = model
            .spec
            .properties
            .iter()
            .map(|property| json!({"name": property.name}))
            .collect();
        let device: Device = serde_json::from_value(json!({
            "metadata": {"name": model.metadata.name, "namespace": model.metadata.namespace_or_default()},
            "spec": {
                "deviceModelRef": {"name": model.metadata.name},
                "nodeName": "none",
                "protocol": {"protocolName": model.spec.protocol},
                "properties": properties,
            },
        }))
        .context("failed to make a device of the model")?;
        let mappers = self.mappers.take();
        let faults = self.look_at(&device, model).await;
        self.mappers = mappers;
        let mut faults = faults?;
        faults.retain(|fault| {
            !(fault.path.starts_with("spec.protocol.configData")
                && fault.message.contains("missing"))
        });
        let placed = faults.into_iter();
        let placed = placed.map(|fault| self.places.place(fault, None, loaded));
        Ok(placed.collect())
    }

    async fn look_at(&mut self, device: &Device, model: &DeviceModel) -> Result<Vec<Fault>> {
        let effective = match EffectiveDevice::build(device, model) {
            Ok(effective) => effective,
            Err(faults) => return Ok(faults),
        };
        let mut faults = effective.faults.clone();
        let doubt = |text: String| Fault::warning("spec.protocol.protocolName", text);
        let (file, folder) = (self.library.as_deref(), self.mapper_dir.as_deref());
        let library = match libraries::of_protocol(&effective.protocol, file, folder) {
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
        if let Some(mappers) = &mut self.mappers {
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

    /// Ends the mappers; whether one was spared because it would have connected.
    pub(crate) async fn end(self) -> bool {
        let Some(mappers) = self.mappers else {
            return false;
        };
        let was_spared = mappers.was_spared;
        mappers.end().await;
        was_spared
    }
}

impl Found {
    /// What the reader of the file has said at a key is not said again.
    fn add_all(&mut self, faults: &[Told], manifests: &Manifests) {
        for fault in faults {
            let known = manifests
                .faults
                .iter()
                .any(|known| known.place == fault.place && known.path == fault.path);
            if !known {
                self.add(fault.line(), fault.is_error());
            }
        }
    }

    /// A model that is there and cannot be read is a fault of the model.
    fn no_model(&mut self, device: &Loaded<Device>, wanted: &str, manifests: &Manifests) {
        let may_be_it = |refused: &Refused| {
            let kind = &*refused.kind;
            kind.is_empty() || (kind == "DeviceModel" && refused.name == wanted)
        };
        if manifests.refused.iter().any(may_be_it) {
            return;
        }
        let models = manifests.models.iter();
        let known = models.map(|model| &*model.object.metadata.name);
        let hint = nearest(wanted, known)
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        let path = "spec.deviceModelRef.name";
        let line =
            Lines::read(&device.place).map_or(device.place.line, |lines| lines.find(path).line);
        let place = Place {
            line,
            ..device.place.clone()
        };
        self.add(
            format!(
                "error: {place} (document {}): device `{}`: {path}: no model `{wanted}` in these files{hint}",
                place.document, device.object.metadata.name
            ),
            true,
        );
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

    /// What two devices share, such as a fault of their model, is told once.
    fn add(&mut self, line: String, is_error: bool) {
        if self.lines.contains(&line) {
            return;
        }
        *(if is_error {
            &mut self.errors
        } else {
            &mut self.warnings
        }) += 1;
        self.lines.push(line);
    }
}

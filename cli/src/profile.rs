//! `longshore test profile`: proves a device profile with no hardware.
//!
//! A profile is a file with a DeviceModel and a Device; beside it,
//! `NAME.test.yaml` says what a device sends and which values, reports and
//! events shall come of it. The real edge core and the real mapper read it from
//! a simulated device, so that what passes here is what will run.

mod line;
mod report;
mod spec;
mod stage;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use futures::StreamExt;
use longshore_types::{Device, DeviceModel, EffectiveDevice, Manifests};

use self::{
    line::Line,
    report::Row,
    spec::TestFile,
    stage::{Stage, Tools},
};
use crate::output::{advised, explain, say};

/// Arguments of `longshore test profile`.
#[derive(Debug, clap::Args)]
pub struct ProfileArgs {
    /// Profiles (NAME.yaml), their tests (NAME.test.yaml), or folders of tests
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Seconds until the values must be there
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
    /// Folder of edgecore and the simulators [default: that of this program]
    #[arg(long, value_name = "FOLDER")]
    bin_dir: Option<PathBuf>,
    /// Folder of the mappers' libraries [default: found near the programs]
    #[arg(long, value_name = "FOLDER")]
    mapper_dir: Option<PathBuf>,
}

/// Profiles that are tested side by side: most of the time each of them waits.
const AT_ONCE: usize = 4;

/// A profile and its test.
struct Case {
    /// The test's file.
    file: PathBuf,
    line: Line,
    device: Device,
    model: DeviceModel,
    test: TestFile,
}

/// Runs the command.
pub(crate) async fn run(args: ProfileArgs) -> Result<bool> {
    let files = once_each(&args.files)?;
    let (bin, mappers) = (args.bin_dir.as_deref(), args.mapper_dir.as_deref());
    let patience = std::time::Duration::from_secs(args.timeout);
    let mut failed = Vec::new();
    let mut proofs = futures::stream::iter(&files)
        .map(|file| async move {
            let result = async {
                let case = load(file)?;
                let tools = Tools::find(case.line, bin, mappers)?;
                prove(&tools, &case, patience).await
            };
            (file, result.await)
        })
        .buffered(AT_ONCE);
    while let Some((file, result)) = proofs.next().await {
        say(&format!("{}\n", file.display()));
        let (text, passed) = match &result {
            Ok(rows) => (report::table(rows), rows.iter().all(Row::passed)),
            Err(error) => (explain(error), false),
        };
        say(&format!("{text}\n"));
        if !passed {
            failed.push(file.display().to_string());
        }
    }
    say(&match failed.as_slice() {
        [] => format!("{} passed\n", report::count(files.len(), "profile")),
        some => format!(
            "{} failed: {}\n",
            report::count(some.len(), "profile"),
            some.join(", ")
        ),
    });
    Ok(failed.is_empty())
}

/// The files without a profile whose test is there too, as in `devices/*.yaml`;
/// of a folder, its tests.
fn once_each(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in named {
        if !path.exists() {
            anyhow::bail!("{} does not exist", path.display());
        }
        if path.is_dir() {
            files.extend(tests_in(path)?);
        } else {
            files.push(path.clone());
        }
    }
    let mut tests = Vec::new();
    files.retain(|file| {
        let (_, test) = pair(file);
        let new = !tests.contains(&test);
        tests.push(test);
        new
    });
    Ok(files)
}

fn tests_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("failed to read folder {}", folder.display()))?;
    let mut tests: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| {
            let name = file.to_string_lossy();
            name.ends_with(".test.yaml") || name.ends_with(".test.yml")
        })
        .collect();
    if tests.is_empty() {
        return Err(advised(
            format!("folder {} has no profile tests", folder.display()),
            "the test of NAME.yaml stands beside it as NAME.test.yaml",
        ));
    }
    tests.sort();
    Ok(tests)
}

/// Sets the stage, waits for the values, then for what is written.
async fn prove(tools: &Tools, case: &Case, patience: std::time::Duration) -> Result<Vec<Row>> {
    let mut stage = Stage::set(tools, case).await?;
    let mut rows = stage.expect_values(&case.test.expect, patience).await?;
    for step in &case.test.steps {
        let of_step = stage.expect_step(case, step, patience).await?;
        rows.extend(of_step.into_iter().map(|row| row.within(&step.name)));
    }
    for write in &case.test.write {
        rows.extend(stage.expect_write(case, write, patience).await?);
    }
    stage.strike().await;
    Ok(rows)
}

/// Reads a test and the profile that it is about.
fn load(file: &Path) -> Result<Case> {
    let (profile, test_file) = pair(file);
    let text = std::fs::read_to_string(&test_file).map_err(|error| {
        advised(
            format!("failed to read {}: {error}", test_file.display()),
            format!(
                "the test of {} stands beside it under this name",
                profile.display()
            ),
        )
    })?;
    let test = TestFile::parse(&text).with_context(|| format!("in {}", test_file.display()))?;
    let profile = test
        .profile
        .as_ref()
        .map_or(profile, |named| test_file.with_file_name(named));
    let manifests = Manifests::load(&profile)
        .with_context(|| format!("failed to read {}", profile.display()))?;
    if let Some(fault) = manifests.errors().next() {
        anyhow::bail!("{fault}");
    }
    let device = choose(&manifests, &test, &profile)?;
    let named = device.model_name();
    let model = manifests
        .models
        .iter()
        .find(|model| model.object.metadata.name == named);
    let Some(model) = model.map(|model| model.object.clone()) else {
        anyhow::bail!(
            "{} has no model `{named}`, which device `{}` refers to",
            profile.display(),
            device.metadata.name
        );
    };
    let protocol = model.spec.protocol.to_ascii_lowercase();
    let protocol = match device.spec.protocol.protocol_name.as_str() {
        "" => protocol,
        named => named.to_ascii_lowercase(),
    };
    let Some(line) = Line::of(&protocol) else {
        return Err(advised(
            format!("no simulator for protocol `{protocol}`"),
            format!(
                "profiles of these protocols can be tested without hardware: {}",
                Line::protocols()
            ),
        ));
    };
    let case = Case {
        file: test_file.to_owned(),
        line,
        device,
        model,
        test,
    };
    check(&case).with_context(|| format!("in {}", test_file.display()))?;
    Ok(case)
}

/// `boiler.yaml` and `boiler.test.yaml`, whichever of them was named.
fn pair(file: &Path) -> (PathBuf, PathBuf) {
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let base = [".test.yaml", ".test.yml", ".yaml", ".yml"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(&name);
    if name.contains(".test.") {
        return (file.with_file_name(format!("{base}.yaml")), file.to_owned());
    }
    (
        file.to_owned(),
        file.with_file_name(format!("{base}.test.yaml")),
    )
}

fn choose(manifests: &Manifests, test: &TestFile, profile: &Path) -> Result<Device> {
    let names: Vec<&str> = manifests
        .devices
        .iter()
        .map(|device| device.object.metadata.name.as_str())
        .collect();
    let found = match (&test.device, manifests.devices.as_slice()) {
        (None, [only]) => Some(only),
        (None, _) => None,
        (Some(name), devices) => devices
            .iter()
            .find(|device| device.object.metadata.name == *name),
    };
    found.map(|device| device.object.clone()).ok_or_else(|| {
        advised(
            format!("no device to test in {}", profile.display()),
            format!(
                "`device:` in the test must name one of its devices: {}",
                names.join(", ")
            ),
        )
    })
}

/// What can be known to be wrong before anything runs.
fn check(case: &Case) -> Result<()> {
    let effective = EffectiveDevice::build(&case.device, &case.model).map_err(|faults| {
        anyhow::anyhow!(
            "{}",
            faults
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        )
    })?;
    if let Some(fault) = effective.faults.iter().find(|fault| fault.is_error()) {
        anyhow::bail!("device `{}`: {fault}", case.device.metadata.name);
    }
    let sets = case.test.write.iter().flat_map(|write| write.set.keys());
    let steps = case.test.steps.iter().flat_map(|step| {
        let reports = step.reports.keys().chain(step.quality.keys());
        step.expect.keys().chain(reports)
    });
    for name in case.test.expect.keys().chain(sets).chain(steps) {
        if effective.property(name).is_none() {
            let known: Vec<&str> = effective
                .properties
                .iter()
                .map(|property| property.name.as_str())
                .collect();
            return Err(advised(
                format!(
                    "device `{}` has no property `{name}`",
                    case.device.metadata.name
                ),
                format!("its properties are {}", known.join(", ")),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../devices")
    }

    /// All that can be said without running anything: files are there, load
    /// strictly, and name properties that exist.
    #[test]
    fn the_profiles_are_sound_and_each_has_its_test() {
        let mut count = 0;
        for folder in std::fs::read_dir(devices()).unwrap() {
            let folder = folder.unwrap().path();
            if !folder.is_dir() {
                continue;
            }
            for entry in std::fs::read_dir(folder).unwrap() {
                let file = entry.unwrap().path();
                let (profile, test) = pair(&file);
                assert!(
                    profile.is_file() && test.is_file(),
                    "{} has no counterpart",
                    file.display()
                );
                let case =
                    load(&file).unwrap_or_else(|error| panic!("{}: {error:#}", file.display()));
                let tested = |name: &String| {
                    let steps = case.test.steps.iter();
                    case.test.expect.contains_key(name)
                        || steps.clone().any(|step| step.expect.contains_key(name))
                };
                let untested: Vec<_> = case
                    .device
                    .spec
                    .properties
                    .iter()
                    .filter(|property| !tested(&property.name))
                    .map(|property| property.name.as_str())
                    .collect();
                assert!(
                    untested.is_empty(),
                    "{} does not test {untested:?}",
                    test.display()
                );
                count += 1;
            }
        }
        assert!(count >= 10, "{count}");
    }

    #[test]
    fn a_folder_stands_for_its_tests() {
        let demo = devices().join("demo");
        let files = once_each(&[demo.clone(), demo.join("boiler.yaml")]).unwrap();
        let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).collect();
        assert!(
            names.contains(&std::ffi::OsStr::new("boiler.test.yaml")),
            "{names:?}"
        );
        assert!(
            names
                .iter()
                .all(|name| name.to_string_lossy().ends_with(".test.yaml")),
            "{names:?}"
        );
        let told = |path: &str| once_each(&[path.into()]).unwrap_err().to_string();
        assert_eq!(told("/nope"), "/nope does not exist");
        let empty = tempfile::tempdir().unwrap();
        assert!(told(empty.path().to_str().unwrap()).ends_with("has no profile tests"));
    }

    #[test]
    fn what_is_wrong_is_told_before_anything_runs() {
        let folder = tempfile::tempdir().unwrap();
        let profile = std::fs::read_to_string(devices().join("demo/boiler.yaml")).unwrap();
        let try_it = |profile: &str, test: &str| {
            std::fs::write(folder.path().join("a.yaml"), profile).unwrap();
            std::fs::write(folder.path().join("a.test.yaml"), test).unwrap();
            let error = explain(&load(&folder.path().join("a.yaml")).err().expect("an error"));
            error.replace(&folder.path().display().to_string(), "DIR")
        };
        let given = "given: {unit: 1, registers: {\"ir:0\": [1]}}\n";
        let told = [
            try_it(&profile, &format!("{given}expect: {{colour: red}}\n")),
            try_it(
                &profile.replace("modbus", "bacnet"),
                &format!("{given}expect: {{temperature: 1}}\n"),
            ),
            try_it(
                &profile,
                "given: {unit: 1, registers: {\"xr:0\": [1]}}\nexpect: {temperature: 1}\n",
            ),
            try_it(&profile, "given: {unit: 1}\nexpects: {temperature: 1}\n"),
            try_it(
                &profile.replace("kind: Device\n", "kind: Gadget\n"),
                &format!("{given}expect: {{temperature: 1}}\n"),
            ),
        ];
        insta::assert_snapshot!(told.join(""), @r"
        error: in DIR/a.test.yaml: device `boiler` has no property `colour`

        hint: its properties are temperature, setpoint, heating, burner, pressure, flow, burnerSeconds
        error: no simulator for protocol `bacnet`

        hint: profiles of these protocols can be tested without hardware: modbus, opcua, serial, bluetooth
        error: in DIR/a.test.yaml: given.registers.xr:0: `xr` is not a table, expected co, di, ir or hr
        error: in DIR/a.test.yaml: unknown field `expects`, expected one of profile, device, given, expect, steps, write at line 2, column 1
        error: DIR/a.yaml:71 (document 2): kind: unknown kind `Gadget`, expected Device or DeviceModel
        ");
    }
}

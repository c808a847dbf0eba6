//! `longshore test profile`: proves a device profile with no hardware.
//!
//! A profile is a file with a DeviceModel and a Device; beside it,
//! `NAME.test.yaml` says what a device sends and which values, reports and
//! events shall come of it. The real edge core and the real mapper read it from
//! a simulated device, so that what passes here is what will run.

mod compare;
mod heard;
mod line;
mod report;
mod spec;
mod stage;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use futures::StreamExt;
use longshore_types::{Device, DeviceModel, EffectiveDevice, Manifests, manifest::Loaded};

use self::{
    line::Line,
    report::Row,
    spec::TestFile,
    stage::{Stage, Tools},
};
use crate::{
    output::{advised, explain, say},
    validate::{Judge, Told},
};

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
    /// The mapper library, of a protocol of one's own
    #[arg(long, value_name = "FILE", conflicts_with = "mapper_dir")]
    mapper: Option<PathBuf>,
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
    /// Both of them, where they stand.
    loaded: (Loaded<Device>, Loaded<DeviceModel>),
    test: TestFile,
}

/// Runs the command.
pub(crate) async fn run(args: ProfileArgs) -> Result<bool> {
    let files = once_each(&args.files)?;
    let (bin, mappers) = (args.bin_dir.as_deref(), args.mapper_dir.as_deref());
    let patience = std::time::Duration::from_secs(args.timeout);
    let mut failed = Vec::new();
    let args = &args;
    let mut proofs = futures::stream::iter(&files)
        .map(|file| async move {
            let result = async {
                let case = load(file)?;
                let (mapper, doubts) = (args.mapper.clone(), doubts(&case, args).await?);
                let line = case.line.clone();
                let tools = Tools::find(line, bin, mappers, mapper.as_deref())?;
                let (rows, heard) = prove(&tools, &case, patience).await?;
                Ok((doubts, rows, heard))
            };
            (file, result.await)
        })
        .buffered(AT_ONCE);
    while let Some((file, result)) = proofs.next().await {
        say(&format!("{}\n", file.display()));
        let (text, passed) = match &result {
            Ok((doubts, rows, heard)) => {
                let text = format!("{doubts}{}{heard}", report::table(rows));
                (text, rows.iter().all(Row::passed))
            }
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

/// What `longshore validate` has to say of the profile: errors end the test, and
/// warnings stand before its table.
async fn doubts(case: &Case, args: &ProfileArgs) -> Result<String> {
    let folder = args.mapper_dir.clone();
    let mut judge = Judge::quiet(folder, args.mapper.clone());
    let (device, model) = &case.loaded;
    let faults = judge.device(device, model).await;
    judge.end().await;
    let faults = faults?;
    let lines = |errors: bool| {
        let some = faults.iter().filter(|fault| fault.is_error() == errors);
        some.map(Told::line).collect::<Vec<_>>()
    };
    let errors = lines(true);
    if !errors.is_empty() {
        let text = errors.join("\n");
        anyhow::bail!(
            "{}",
            text.strip_prefix("error: ").unwrap_or(&text).to_owned()
        );
    }
    let warnings = lines(false).into_iter().map(|line| format!("{line}\n"));
    Ok(warnings.collect())
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
/// What the device heard is told where something is not as it should be.
async fn prove(
    tools: &Tools,
    case: &Case,
    patience: std::time::Duration,
) -> Result<(Vec<Row>, String)> {
    let mut stage = Stage::set(tools, case).await?;
    let mut rows = stage.expect_values(&case.test.expect, patience).await?;
    for step in &case.test.steps {
        let of_step = stage.expect_step(case, step, patience).await?;
        rows.extend(of_step.into_iter().map(|row| row.within(&step.name)));
    }
    for write in &case.test.write {
        rows.extend(stage.expect_write(case, write, patience).await?);
    }
    let heard = match rows.iter().all(Row::passed) {
        true => String::new(),
        false => {
            let heard = heard::told(&stage.state().await, &case.test.scenario()?);
            let units = other_unit(case);
            if heard.is_empty() && units.is_empty() {
                heard
            } else {
                format!("\n{heard}{units}")
            }
        }
    };
    stage.strike().await;
    Ok((rows, heard))
}

/// A Modbus device that asks another unit than the simulated one.
fn other_unit(case: &Case) -> String {
    let of_model = case.model.spec.protocol_config_data.as_ref();
    let configs = [Some(&case.device.spec.protocol.config_data), of_model];
    let asked = configs.into_iter().flatten().find_map(|config| {
        let unit = config.get("unit").or_else(|| config.get("slaveID"))?;
        unit.as_u64().or_else(|| unit.as_str()?.parse().ok())
    });
    match (asked, case.test.given.unit.map(u64::from)) {
        (Some(asked), Some(given)) if asked != given => format!(
            "the device asks unit {asked}, and the simulated one is unit {given} (given.unit)\n"
        ),
        _ => String::new(),
    }
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
    let faults: Vec<String> = manifests.errors().map(ToString::to_string).collect();
    if !faults.is_empty() {
        anyhow::bail!("{}", faults.join("\nerror: "));
    }
    let device = choose(&manifests, &test, &profile)?;
    let named = device.object.model_name();
    let model = manifests
        .models
        .iter()
        .find(|model| model.object.metadata.name == named);
    let Some(model) = model.cloned() else {
        anyhow::bail!(
            "{} has no model `{named}`, which device `{}` refers to",
            profile.display(),
            device.object.metadata.name
        );
    };
    let loaded = (device.clone(), model.clone());
    let (device, model) = (device.object, model.object);
    let protocol = model.spec.protocol.to_ascii_lowercase();
    let protocol = match device.spec.protocol.protocol_name.as_str() {
        "" => protocol,
        named => named.to_ascii_lowercase(),
    };
    let line = match Line::of(&protocol) {
        _ if !test.given.command.is_empty() => Line::own(&protocol),
        Some(line) => line,
        None => {
            return Err(advised(
                format!("no simulator for protocol `{protocol}`"),
                format!(
                    "there are simulators of {}; for any other protocol, `given.command` names a program that simulates the device and prints one line of JSON when it is ready, such as {{\"protocol\": {{\"url\": \"tcp://127.0.0.1:7000\"}}}}",
                    Line::protocols()
                ),
            ));
        }
    };
    let case = Case {
        file: test_file.to_owned(),
        line,
        device,
        model,
        loaded,
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

fn choose(manifests: &Manifests, test: &TestFile, profile: &Path) -> Result<Loaded<Device>> {
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
    found.cloned().ok_or_else(|| {
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
    let untested = untested(&effective, &case.test);
    if !untested.is_empty() {
        return Err(advised(
            format!(
                "nothing is expected of {}; a test says of each property of the device what becomes of it",
                untested.join(", ")
            ),
            "write its value under `expect` (or under `expect` or `quality` of a step)",
        ));
    }
    Ok(())
}

/// Properties of which the test expects no value.
fn untested<'e>(device: &'e EffectiveDevice, test: &TestFile) -> Vec<&'e str> {
    let names = device.properties.iter().map(|property| &*property.name);
    let is_tested = |name: &str| {
        let mut steps = test.steps.iter();
        test.expect.contains_key(name)
            || steps.any(|step| step.expect.contains_key(name) || step.quality.contains_key(name))
    };
    names.filter(|name| !is_tested(name)).collect()
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
        insta::assert_snapshot!(told.join(""), @r#"
        error: in DIR/a.test.yaml: device `boiler` has no property `colour`

        hint: its properties are temperature, setpoint, heating, burner, pressure, flow, burnerSeconds
        error: no simulator for protocol `bacnet`

        hint: there are simulators of modbus, opcua, serial, bluetooth; for any other protocol, `given.command` names a program that simulates the device and prints one line of JSON when it is ready, such as {"protocol": {"url": "tcp://127.0.0.1:7000"}}
        error: in DIR/a.test.yaml: given.registers.xr:0: `xr` is not a table, expected co, di, ir or hr
        error: in DIR/a.test.yaml: unknown field `expects`, expected one of profile, device, given, expect, steps, write at line 2, column 1; did you mean `expect`?
        error: DIR/a.yaml:71 (document 2): kind: unknown kind `Gadget`, expected Device or DeviceModel
        "#);
    }
}

//! The stage of a profile's test: a simulated device, the edge core with the
//! real mapper, and a folder of manifests between them.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use longshore_process::{http, run_file};
use longshore_types::{
    Device,
    device::{FreeObject, TwinProperty},
};
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::Instant,
};

use super::{
    Case,
    compare::{compare, confirmed, graded, held, raised, reported, written},
    line::Line,
    report::{Row, text},
    spec::{Step, WriteTest},
};
use crate::{libraries, output::advised};

/// The node that the device hangs on during the test.
const NODE: &str = "profile-test";
/// Time between two reads: short, so that a test takes no longer than it must.
const CYCLE_MS: i64 = 100;
/// Time between two looks at the twins.
const LOOK: Duration = Duration::from_millis(50);
/// Time for a program to start, slow machines included.
const START: Duration = Duration::from_secs(20);
/// What the simulator says on its standard error.
const SIMULATOR_LOG: &str = "simulator.log";
/// The programs that a test runs.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    line: Line,
    simulator: PathBuf,
    edge: PathBuf,
    mapper: PathBuf,
}

/// A test's processes and files. Dropping it ends and removes them.
pub(super) struct Stage {
    folder: tempfile::TempDir,
    device: Device,
    simulator: Child,
    edge: Child,
    /// The simulator's own HTTP face, if it has one.
    control: Option<SocketAddr>,
    twins: SocketAddr,
    path: String,
}

impl Tools {
    /// Finds those of a protocol beside this program (`.longshore/bin`, `target/debug`).
    pub(super) fn find(
        line: Line,
        bin: Option<&Path>,
        mappers: Option<&Path>,
        mapper: Option<&Path>,
    ) -> Result<Self> {
        let bin = match bin {
            Some(named) => named.to_owned(),
            None => libraries::program_folder()?,
        };
        let library = format!("libmapper_{}.so", line.protocol);
        let mapper = match mapper {
            Some(file) => Some(file.to_owned()),
            None => libraries::all(&libraries::folders(mappers, &bin))
                .into_iter()
                .find(|library| library.descriptor.protocol == line.protocol)
                .map(|library| library.file),
        };
        let program = |name: &str| Some(bin.join(name)).filter(|file| file.is_file());
        let missing = |name: &str, flag: &str| {
            advised(
                format!("`{name}` not found near {}", bin.display()),
                format!("`make build` brings it, or name its folder with {flag}"),
            )
        };
        let simulator = libraries::SIMULATOR;
        Ok(Self {
            simulator: match line.is_own() {
                true => PathBuf::new(),
                false => program(simulator).ok_or_else(|| missing(simulator, "--bin-dir"))?,
            },
            line,
            edge: program("edgecore").ok_or_else(|| missing("edgecore", "--bin-dir"))?,
            mapper: mapper.ok_or_else(|| missing(&library, "--mapper FILE.so or --mapper-dir"))?,
        })
    }
}

impl Stage {
    /// Starts the simulated device, then the edge core.
    pub(super) async fn set(tools: &Tools, case: &Case) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("longshore-profile-")
            .tempdir()?;
        let scenario = folder.path().join("scenario.yaml");
        fs::write(&scenario, case.test.scenario()?.to_string())?;
        let mut command = match case.test.given.command.split_first() {
            Some((program, arguments)) => own_simulator(case, program, arguments, &scenario)?,
            None => {
                let mut command = Command::new(&tools.simulator);
                command
                    .arg(&tools.line.protocol)
                    .arg(&scenario)
                    .args(tools.line.arguments(folder.path()));
                command
            }
        };
        let mut simulator = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(fs::File::create(
                folder.path().join(SIMULATOR_LOG),
            )?))
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                let program = command.as_std().get_program();
                format!("failed to start the simulator {}", program.display())
            })?;
        let Some(ready) = first_line(&mut simulator).await? else {
            let told = fs::read_to_string(folder.path().join(SIMULATOR_LOG)).unwrap_or_default();
            let whole = scenario.display().to_string();
            return Err(refused(&case.file, &tools.line, &told, &whole));
        };
        let control = match ready["control"].as_str() {
            Some(address) => Some(address.parse().with_context(|| {
                format!("the simulator's `control` is `{address}`, expected an address such as 127.0.0.1:8000")
            })?),
            None if tools.line.is_own() => None,
            None => bail!("the simulator did not tell its `control` address"),
        };
        let device = placed(&tools.line, case, &ready)?;
        let config = configure(folder.path(), tools, case, &device, &ready)?;
        let log = fs::File::create(folder.path().join("edgecore.log"))?;
        let mut edge = Command::new(&tools.edge)
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {}", tools.edge.display()))?;
        let twins = metrics_address(folder.path(), &mut edge).await?;
        let path = format!(
            "/twins?device={}/{}",
            device.metadata.namespace_or_default(),
            device.metadata.name
        );
        Ok(Self {
            control,
            folder,
            device,
            simulator,
            edge,
            twins,
            path,
        })
    }

    /// Waits until the twins are as the test says; else says how they are.
    pub(super) async fn expect_values(
        &mut self,
        expect: &BTreeMap<String, Json>,
        patience: Duration,
    ) -> Result<Vec<Row>> {
        let deadline = Instant::now() + patience;
        loop {
            let twins = self.twins().await?;
            let rows: Vec<Row> = expect
                .iter()
                .map(|(name, value)| compare(name, value, &twins))
                .collect();
            if rows.iter().all(Row::passed) || Instant::now() >= deadline {
                return Ok(rows);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sets desired values and waits until the device holds them.
    pub(super) async fn expect_write(
        &mut self,
        case: &Case,
        write: &WriteTest,
        patience: Duration,
    ) -> Result<Vec<Row>> {
        for (name, value) in &write.set {
            let property = self
                .device
                .spec
                .properties
                .iter_mut()
                .find(|property| property.name == *name);
            if let Some(property) = property {
                property.desired = Some(TwinProperty {
                    value: text(value),
                    ..TwinProperty::default()
                });
            }
        }
        write_manifest(self.folder.path(), &self.device)?;
        let deadline = Instant::now() + patience;
        loop {
            let twins = self.twins().await?;
            let state = match self.control {
                Some(control) => http::get_json(control, "/state").await?.unwrap_or_default(),
                None if write.state.is_empty() && write.registers.is_empty() => Json::Null,
                None => return Err(no_control("write.state")),
            };
            let mut rows: Vec<Row> = write
                .set
                .iter()
                .map(|(name, value)| confirmed(name, &text(value), &twins))
                .collect();
            for (table, address, word) in write.words()? {
                rows.push(written(
                    table,
                    address,
                    word,
                    case.test.given.unit.unwrap_or_default(),
                    &state["writes"],
                ));
            }
            for (pointer, expected) in &write.state {
                rows.push(held(pointer, expected, &state));
            }
            if rows.iter().all(Row::passed) || Instant::now() >= deadline {
                return Ok(rows);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Lets something happen at the device and waits for what comes of it.
    pub(super) async fn expect_step(
        &mut self,
        case: &Case,
        step: &Step,
        patience: Duration,
    ) -> Result<Vec<Row>> {
        let before = self.twins().await?;
        for words in step.words(case.test.given.unit.unwrap_or_default())? {
            let control = self.control.ok_or_else(|| no_control("steps.registers"))?;
            http::put_json(control, "/registers", &words).await?;
        }
        for (name, value) in &step.signals {
            let control = self.control.ok_or_else(|| no_control("steps.signals"))?;
            http::put_json(control, &format!("/signals/{name}"), &json!(value)).await?;
        }
        tokio::time::sleep(step.pause()?).await;
        let deadline = Instant::now() + patience;
        loop {
            let answer = self.answer().await?;
            let twins = by_name(&answer);
            let mut rows: Vec<Row> = Vec::new();
            rows.extend(
                step.expect
                    .iter()
                    .map(|(name, value)| compare(name, value, &twins)),
            );
            rows.extend(
                step.quality
                    .iter()
                    .map(|(name, quality)| graded(name, quality, &twins)),
            );
            for (name, count) in &step.reports {
                rows.push(reported(name, *count, &before, &twins));
            }
            for (name, active) in &step.events {
                rows.push(raised(name, *active, &answer["events"]));
            }
            if rows.iter().all(Row::passed) || Instant::now() >= deadline {
                return Ok(rows);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the simulator tells of itself, if it has a face for it.
    pub(super) async fn state(&self) -> Json {
        match self.control {
            Some(control) => http::get_json(control, "/state")
                .await
                .ok()
                .flatten()
                .unwrap_or_default(),
            None => Json::Null,
        }
    }

    /// Ends the processes.
    pub(super) async fn strike(mut self) {
        for child in [&mut self.edge, &mut self.simulator] {
            // A process that has ended by itself is as good.
            let _ = child.kill().await;
        }
    }

    /// The device's twins by property.
    async fn twins(&mut self) -> Result<BTreeMap<String, Json>> {
        Ok(by_name(&self.answer().await?))
    }

    /// What the edge core says of the device; null before the manifests have been read.
    async fn answer(&mut self) -> Result<Json> {
        if let Some(status) = self.edge.try_wait()? {
            return Err(ended(self.folder.path(), status));
        }
        let answer = http::get_json(self.twins, &self.path).await?;
        Ok(answer.unwrap_or_default())
    }
}

fn by_name(answer: &Json) -> BTreeMap<String, Json> {
    let properties = answer["properties"].as_array();
    let named = |twin: &Json| Some((twin["name"].as_str()?.to_owned(), twin.clone()));
    properties.into_iter().flatten().filter_map(named).collect()
}

/// The device of the profile on the simulator's line.
fn placed(line: &Line, case: &Case, ready: &Json) -> Result<Device> {
    let mut device = case.device.clone();
    device.spec.node_name = NODE.to_owned();
    let config: &mut FreeObject = &mut device.spec.protocol.config_data;
    line.place(config, ready)?;
    device.spec.properties = device.properties(&case.model).into_owned();
    for property in &mut device.spec.properties {
        property.collect_cycle = CYCLE_MS;
        property.desired = None;
    }
    Ok(device)
}

/// Writes manifests and configuration; gives the configuration's file.
fn configure(
    folder: &Path,
    tools: &Tools,
    case: &Case,
    device: &Device,
    ready: &Json,
) -> Result<PathBuf> {
    fs::create_dir(folder.join("manifests"))?;
    let mut model = case.model.clone();
    if let Some(config) = &mut model.spec.protocol_config_data {
        tools.line.clear(config);
    }
    fs::write(
        folder.join("manifests/model.json"),
        serde_json::to_vec(&model)?,
    )?;
    write_manifest(folder, device)?;
    let config = json!({
        "node": NODE,
        "stateDir": folder.join("state"),
        "mappers": [{
            "name": tools.line.protocol,
            "file": fs::canonicalize(&tools.mapper)?,
            "config": tools.line.mapper_config(folder, ready),
        }],
        "bus": {"mode": "off"},
        "manifests": folder.join("manifests"),
        "metrics": {"listen": "127.0.0.1:0"},
        "log": {"level": "info"},
    });
    let file = folder.join("edgecore.yaml");
    fs::write(&file, config.to_string())?;
    Ok(file)
}

/// Replaced as a whole, so that the edge never reads half of it.
fn write_manifest(folder: &Path, device: &Device) -> Result<()> {
    let new = folder.join("device.json.new");
    fs::write(&new, serde_json::to_vec(device)?)?;
    fs::rename(&new, folder.join("manifests/device.json"))?;
    Ok(())
}

/// The simulator that the test names: a program of the path, or one that lies
/// beside the test, with that folder as its own.
fn own_simulator(
    case: &Case,
    program: &str,
    arguments: &[String],
    scenario: &Path,
) -> Result<Command> {
    let folder = fs::canonicalize(&case.file)?;
    let folder = folder.parent().context("a test lies in a folder")?;
    let mut command = match program.contains('/') {
        true => Command::new(folder.join(program)),
        false => Command::new(program),
    };
    command
        .args(arguments)
        .current_dir(folder)
        .env("LONGSHORE_SCENARIO", scenario);
    Ok(command)
}

fn no_control(key: &str) -> anyhow::Error {
    advised(
        format!("{key}: the simulator's line has no `control`, so nobody can ask it"),
        "a simulator that prints `control` answers GET /state with JSON, and takes PUT /signals/NAME with a number",
    )
}

/// A scenario that the simulator did not take, in its own words. Its path is
/// that of a file which is gone by now, so the test's stands in its place.
fn refused(test: &Path, line: &Line, told: &str, scenario: &str) -> anyhow::Error {
    let protocol = &line.protocol;
    let told = told.trim();
    let told = told.strip_prefix("error: ").unwrap_or(told);
    let told = told.replace(scenario, "the scenario");
    if line.is_own() {
        return advised(
            format!(
                "in {}: given.command: the simulator ended before it was ready: {}",
                test.display(),
                if told.is_empty() {
                    "it said nothing"
                } else {
                    &told
                }
            ),
            "it prints one line of JSON on its standard output when it is ready, and runs until it is killed",
        );
    }
    advised(
        format!(
            "in {}: given.scenario: the {protocol} simulator ended before it was ready: {}",
            test.display(),
            if told.is_empty() {
                "it said nothing"
            } else {
                &told
            },
        ),
        format!("simulators/README.md shows what a scenario of {protocol} holds"),
    )
}

/// The line of JSON that says that the simulator is ready; none if it ended.
async fn first_line(simulator: &mut Child) -> Result<Option<Json>> {
    let out = simulator
        .stdout
        .take()
        .context("the simulator has no output")?;
    let mut line = String::new();
    let mut reader = BufReader::new(out);
    tokio::time::timeout(START, reader.read_line(&mut line))
        .await
        .context("the simulator does not start")?
        .context("failed to read from the simulator")?;
    if line.is_empty() {
        // What it has to say is written once it is gone.
        simulator
            .wait()
            .await
            .context("failed to wait for the simulator")?;
        return Ok(None);
    }
    let ready = serde_json::from_str(&line);
    ready
        .map(Some)
        .context("the simulator's first line is not JSON")
}

/// Waits for the edge core's `run.json`.
async fn metrics_address(folder: &Path, edge: &mut Child) -> Result<SocketAddr> {
    let deadline = Instant::now() + START;
    loop {
        if let Some(status) = edge.try_wait()? {
            return Err(ended(folder, status));
        }
        let run = run_file::read(&folder.join("state"));
        if let Some(address) = run.and_then(|run| run["metrics"].as_str()?.parse().ok()) {
            return Ok(address);
        }
        if Instant::now() >= deadline {
            bail!(
                "edgecore is not ready after {} s: {}",
                START.as_secs(),
                log(folder)
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn ended(folder: &Path, status: std::process::ExitStatus) -> anyhow::Error {
    anyhow::anyhow!("edgecore has ended ({status}): {}", log(folder))
}

/// The last lines of the edge core's log.
fn log(folder: &Path) -> String {
    let log = fs::read_to_string(folder.join("edgecore.log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

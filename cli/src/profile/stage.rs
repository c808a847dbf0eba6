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
    device::{FreeObject, TwinProperty, WriteState},
};
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::Instant,
};

use super::{
    Case,
    line::Line,
    report::{Row, agree, text},
    spec::{Step, Table, WriteTest},
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
    control: SocketAddr,
    twins: SocketAddr,
    path: String,
}

impl Tools {
    /// Finds those of a protocol beside this program (`.longshore/bin`, `target/debug`).
    pub(super) fn find(line: Line, bin: Option<&Path>, mappers: Option<&Path>) -> Result<Self> {
        let bin = match bin {
            Some(named) => named.to_owned(),
            None => libraries::program_folder()?,
        };
        let library = format!("libmapper_{}.so", line.protocol);
        let mapper = libraries::folders(mappers, &bin)
            .iter()
            .map(|folder| folder.join(&library))
            .find(|file| file.is_file());
        let program = |name: &str| Some(bin.join(name)).filter(|file| file.is_file());
        let missing = |name: &str, flag: &str| {
            advised(
                format!("`{name}` not found near {}", bin.display()),
                format!("`make build` brings it, or name its folder with {flag}"),
            )
        };
        let simulator = libraries::SIMULATOR;
        Ok(Self {
            line,
            simulator: program(simulator).ok_or_else(|| missing(simulator, "--bin-dir"))?,
            edge: program("edgecore").ok_or_else(|| missing("edgecore", "--bin-dir"))?,
            mapper: mapper.ok_or_else(|| missing(&library, "--mapper-dir"))?,
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
        let mut simulator = Command::new(&tools.simulator)
            .arg(tools.line.protocol)
            .arg(&scenario)
            .args(tools.line.arguments(folder.path()))
            .stdout(Stdio::piped())
            .stderr(Stdio::from(fs::File::create(
                folder.path().join(SIMULATOR_LOG),
            )?))
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start {}", tools.simulator.display()))?;
        let Some(ready) = first_line(&mut simulator).await? else {
            let told = fs::read_to_string(folder.path().join(SIMULATOR_LOG)).unwrap_or_default();
            let whole = scenario.display().to_string();
            return Err(refused(&case.file, tools.line.protocol, &told, &whole));
        };
        let control = ready["control"].as_str();
        let control = control.context("the simulator did not tell its `control` address")?;
        let control = control.parse()?;
        let device = placed(tools.line, case, &ready)?;
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
            let state = http::get_json(self.control, "/state")
                .await?
                .unwrap_or_default();
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
            http::put_json(self.control, "/registers", &words).await?;
        }
        for (name, value) in &step.signals {
            http::put_json(self.control, &format!("/signals/{name}"), &json!(value)).await?;
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
fn placed(line: Line, case: &Case, ready: &Json) -> Result<Device> {
    let mut device = case.device.clone();
    device.spec.node_name = NODE.to_owned();
    let config: &mut FreeObject = &mut device.spec.protocol.config_data;
    line.place(config, ready, case.test.given.unit)?;
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

/// A scenario that the simulator did not take, in its own words. Its path is
/// that of a file which is gone by now, so the test's stands in its place.
fn refused(test: &Path, protocol: &str, told: &str, scenario: &str) -> anyhow::Error {
    let told = told.trim();
    let told = told.strip_prefix("error: ").unwrap_or(told);
    let told = told.replace(scenario, "the scenario");
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

fn compare(name: &str, value: &Json, twins: &BTreeMap<String, Json>) -> Row {
    let expected = text(value);
    let twin = twins.get(name).unwrap_or(&Json::Null);
    let got = text(&twin["value"]);
    let quality = twin["quality"].as_str().unwrap_or("not reported");
    let mut remark = String::new();
    if quality != "good" {
        remark.push_str(quality);
        for more in ["reason", "lastError"] {
            if let Some(more) = twin[more].as_str().filter(|more| *more != "none") {
                remark.push_str(", ");
                remark.push_str(more);
            }
        }
    }
    let agree = quality == "good" && agree(&expected, &got);
    Row {
        name: name.to_owned(),
        expected,
        got: crate::table::or_dash(&got),
        remark,
        agree,
    }
}

fn graded(name: &str, expected: &str, twins: &BTreeMap<String, Json>) -> Row {
    let got = twins
        .get(name)
        .and_then(|twin| twin["quality"].as_str())
        .unwrap_or("-");
    plain(format!("{name} quality"), expected, got)
}

/// Reports of a property since `before`.
fn reported(
    name: &str,
    expected: u64,
    before: &BTreeMap<String, Json>,
    twins: &BTreeMap<String, Json>,
) -> Row {
    let version = |twins: &BTreeMap<String, Json>| {
        twins
            .get(name)
            .and_then(|twin| twin["version"].as_u64())
            .unwrap_or_default()
    };
    let got = version(twins).wrapping_sub(version(before));
    plain(
        format!("{name} reports"),
        &expected.to_string(),
        &got.to_string(),
    )
}

fn raised(name: &str, expected: bool, events: &Json) -> Row {
    let active = events
        .as_array()
        .into_iter()
        .flatten()
        .any(|event| event["name"] == name && event["active"].as_bool().unwrap_or(true));
    let word = |active: bool| if active { "active" } else { "clear" };
    plain(format!("event {name}"), word(expected), word(active))
}

/// What stands in the simulator's state.
fn held(pointer: &str, expected: &Json, state: &Json) -> Row {
    let got = state.pointer(pointer).map(text).unwrap_or_default();
    let expected = text(expected);
    Row {
        name: format!("  {pointer}"),
        agree: agree(&expected, &got),
        got: crate::table::or_dash(&got),
        expected,
        remark: String::new(),
    }
}

fn plain(name: String, expected: &str, got: &str) -> Row {
    Row {
        name,
        expected: expected.to_owned(),
        got: got.to_owned(),
        remark: String::new(),
        agree: expected == got,
    }
}

fn confirmed(name: &str, expected: &str, twins: &BTreeMap<String, Json>) -> Row {
    let twin = twins.get(name).unwrap_or(&Json::Null);
    let write = &twin["write"];
    let state = write["state"].as_str().unwrap_or("not written");
    let got = text(&twin["value"]);
    let done = state == WriteState::Confirmed.as_str();
    let remark = match (done, write["message"].as_str()) {
        (true, _) => String::new(),
        (false, Some(message)) if !message.is_empty() => format!("{state}, {message}"),
        (false, _) => state.to_owned(),
    };
    let agree = done && agree(expected, &got);
    Row {
        name: format!("{name} := {expected}"),
        expected: expected.to_owned(),
        got: crate::table::or_dash(&got),
        remark,
        agree,
    }
}

/// The last word that was written to a register.
fn written(table: Table, address: u16, word: u16, unit: u8, writes: &Json) -> Row {
    let covers = |write: &&Json| {
        let first = write["address"].as_u64().unwrap_or(u64::MAX);
        let count = write["values"].as_array().map_or(0, Vec::len) as u64;
        let named = write["table"]
            .as_str()
            .is_some_and(|found| found == table.name().trim_end_matches('s'));
        named && write["unit"] == unit && (first..first + count).contains(&u64::from(address))
    };
    let last = writes
        .as_array()
        .and_then(|writes| writes.iter().rev().find(covers));
    let got = last.and_then(|write| {
        let offset = u64::from(address) - write["address"].as_u64()?;
        write["values"].get(offset as usize)?.as_u64()
    });
    Row {
        name: format!("  {}:{address}", table.short()),
        expected: format!("{word:#06x}"),
        got: got.map_or_else(|| "-".to_owned(), |got| format!("{got:#06x}")),
        remark: if got.is_none() {
            "not written".to_owned()
        } else {
            String::new()
        },
        agree: got == Some(u64::from(word)),
    }
}

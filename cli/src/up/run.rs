//! The life of `longshore up`: prepare, start in order, tell, wait, end.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use longshore_process::{Lost, Signals, Stage, Tasks};

use super::{
    cluster,
    demo::{Demo, NODE, PARTS, Part},
    extras::Extras,
    guide,
    ports::{Ports, Service},
    process::{self, Condition, Supervised},
    status::{self, Written},
};
use crate::home::Home;
use crate::output::{advised, hint, say};

/// How long a process may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How long all processes may take to end; each of them has 8 s, and a stage of
/// them up to half of what is left.
const DRAIN: Duration = Duration::from_secs(40);
/// How long leftovers of a killed run may take to end.
const LEFTOVERS: Duration = Duration::from_secs(10);
/// A certificate of a year has thirty days left then.
const RENEW_AFTER: Duration = Duration::from_secs(335 * 24 * 3600);
/// How long the first readings of all devices may take.
const ALL_READ: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(20);

/// Everything that `longshore up` runs, in the order in which it starts.
struct Fleet {
    simulators: Vec<Supervised>,
    hub: Supervised,
    edge: Supervised,
}

impl Fleet {
    /// Writes what the processes read, and adds the tasks that supervise them. The
    /// edge ends first: it hands what it has to the hub.
    fn build(demo: &Demo<'_>, tasks: &mut Tasks) -> Result<Self> {
        let mut add = |program, stage| Supervised::add(program, stage, tasks);
        let mut simulators = Vec::new();
        for part in &demo.parts {
            simulators.push(add(demo.simulator(part)?, Stage::Workers));
        }
        Ok(Self {
            simulators,
            hub: add(demo.hub()?, Stage::Links),
            edge: add(demo.edge()?, Stage::Engines),
        })
    }

    fn all(&self) -> impl Iterator<Item = &Supervised> {
        let daemons = [&self.hub, &self.edge];
        self.simulators.iter().chain(daemons)
    }

    /// The end of a supervisor, and where more is to be found.
    fn loss(&self, lost: &Lost) -> anyhow::Error {
        let mut all = self.all();
        match all.find(|supervised| supervised.program.name == lost.task) {
            Some(Supervised { program, .. }) => {
                advised(lost.to_string(), format!("see {}", program.log.display()))
            }
            None => anyhow::anyhow!("{lost}"),
        }
    }
}

/// Runs the demo until SIGINT or SIGTERM.
pub(super) async fn run(home: &Home) -> Result<()> {
    let begun = Instant::now();
    for folder in ["run", "log", "state"] {
        let folder = home.path().join(folder);
        fs::create_dir_all(&folder)
            .with_context(|| format!("failed to create {}", folder.display()))?;
    }
    end_leftovers(home).await?;
    let ports = Ports::choose(&home.state("ports.json"))?;
    ports
        .remember(&home.state("ports.json"))
        .context("failed to keep the ports")?;
    for note in &ports.notes {
        say(&format!("{note}\n"));
    }
    let extras = Extras::find(home).context("failed to look for further mappers")?;
    let demo = Demo {
        home,
        ports: &ports,
        parts: PARTS
            .into_iter()
            .filter(|part| can_run(part, home))
            .collect(),
        mappers: extras.mappers().to_vec(),
    };
    let mut signals = Signals::listen()?;
    let mut tasks = Tasks::new();
    let fleet = Fleet::build(&demo, &mut tasks)?;
    let mut running = tasks.spawn();
    let result = tokio::select! {
        result = serve(home, &demo, &fleet, begun, extras) => result,
        lost = running.lost() => Err(fleet.loss(&lost)),
        _ = signals.asked() => Ok(()),
    };
    say("\nstopping\n");
    running.drain(DRAIN).await;
    written(home, &demo, &fleet, status::STOPPED)
        .write(home)
        .context("failed to write down the end")?;
    say("stopped; the state is kept, `make up` goes on from here, `make reset` forgets it\n");
    result
}

async fn serve(
    home: &Home,
    demo: &Demo<'_>,
    fleet: &Fleet,
    begun: Instant,
    extras: Extras,
) -> Result<()> {
    let write = |state: &str| written(home, demo, fleet, state).write(home);
    for (part, simulator) in demo.parts.iter().zip(&fleet.simulators) {
        simulator.begin().await;
        step(
            "simulator",
            &format!("{} on {}", part.protocol, demo.place(part)),
        );
    }
    fleet.hub.begin().await;
    write("starting")?;
    ready(&fleet.hub, &http(demo, Service::HubMetrics)).await?;
    step(
        "hub",
        &format!("Kubernetes API on https://{}", demo.address(Service::Api)),
    );
    issue_certificate(home).await?;
    let client = cluster::connect(&home.kubeconfig()).await?;
    cluster::apply(&client, &demo.manifests()).await?;
    step(
        "devices",
        &format!("{} in namespace default", demo.devices().join(", ")),
    );
    let started = Instant::now();
    fleet.edge.begin().await;
    write("starting")?;
    ready(&fleet.edge, &http(demo, Service::EdgeMetrics)).await?;
    first_reading(demo, &fleet.edge).await?;
    let first = started.elapsed().as_millis();
    let silent = all_read(demo).await;
    step(
        "edge node",
        &format!(
            "{NODE}, first reading after {first} ms, all devices after {} ms",
            started.elapsed().as_millis()
        ),
    );
    if !silent.is_empty() {
        let log = home.log("edgecore");
        let advice = format!(
            "longshore describe device {}; the log is {}",
            silent[0],
            log.display()
        );
        let silent = silent.join(", ");
        say(&format!("\nno reading of {silent} yet\n{}", hint(&advice)));
    }
    write("running")?;
    say(&guide::what_to_try(home, demo, begun.elapsed()));
    let restart = |mappers: &[(String, PathBuf)]| {
        demo.write_edge_config(mappers)?;
        // The supervisor starts it again, with what it reads now.
        if let Some(pid) = fleet.edge.condition().pid {
            process::terminate(pid);
        }
        Ok(())
    };
    tokio::select! {
        result = watch_processes(fleet, || write("running")) => result,
        result = extras.follow(&client, restart) => result,
    }
}

fn step(what: &str, detail: &str) {
    say(&format!("  {what:10} {detail}\n"));
}

fn http(demo: &Demo<'_>, service: Service) -> String {
    format!("http://{}", demo.address(service))
}

/// Waits until a process says that it is ready; its log is named if it does not.
async fn ready(process: &Supervised, base: &str) -> Result<()> {
    wait(process, async || status::is_ready(base).await).await
}

async fn first_reading(demo: &Demo<'_>, process: &Supervised) -> Result<()> {
    let base = http(demo, Service::EdgeMetrics);
    wait(process, async || {
        let twins = status::get_json(&base, "/twins").await.unwrap_or_default();
        twins.to_string().contains("\"quality\":\"good\"")
    })
    .await
}

/// Waits for a reading of each device; gives those that have none in time.
async fn all_read(demo: &Demo<'_>) -> Vec<String> {
    let deadline = Instant::now() + ALL_READ;
    let base = http(demo, Service::EdgeMetrics);
    let mut missing = demo.devices();
    loop {
        let twins = status::get_json(&base, "/twins").await.unwrap_or_default();
        let devices = twins["devices"].as_array().cloned().unwrap_or_default();
        missing.retain(|name| {
            let device = devices.iter().find(|device| device["name"] == **name);
            !device.is_some_and(|device| device.to_string().contains("\"quality\":\"good\""))
        });
        if missing.is_empty() || Instant::now() > deadline {
            return missing;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A part needs its mapper, and Bluetooth a D-Bus of its own.
fn can_run(part: &Part, home: &Home) -> bool {
    let library = home.mapper(part.protocol);
    if !library.is_file() {
        say(&format!(
            "{} is missing: the demo goes without {}; `make build` brings it\n",
            library.display(),
            part.protocol
        ));
        return false;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if part.protocol == "bluetooth" && !guide::is_on(&path, "dbus-daemon") {
        say(
            "dbus-daemon is not here: the demo goes without Bluetooth; apt-get install dbus-daemon\n",
        );
        return false;
    }
    true
}

async fn wait(process: &Supervised, condition: impl AsyncFn() -> bool) -> Result<()> {
    let deadline = Instant::now() + READY;
    loop {
        if condition().await {
            return Ok(());
        }
        let Condition {
            restarts, last_end, ..
        } = process.condition();
        let (name, log) = (process.program.name, &process.program.log);
        let see = format!("see {}", log.display());
        if restarts > 3 {
            let how = last_end.unwrap_or_default();
            let told = format!("{name} does not stay up: {how}\n{}", tail(log));
            return Err(advised(told, see));
        }
        if Instant::now() > deadline {
            let told = format!("{name} is not ready after {} s", READY.as_secs());
            return Err(advised(told, see));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// The hub signs the node's certificate where it is missing or soon ends.
async fn issue_certificate(home: &Home) -> Result<()> {
    let folder = home.state("certificates");
    if is_fresh(&folder.join("node.crt")) {
        return Ok(());
    }
    let output = tokio::process::Command::new(home.binary("cloudhub")?)
        .arg("issue-node")
        .arg(NODE)
        .arg("--out")
        .arg(&folder)
        .arg("--config")
        .arg(home.run("cloudhub.yaml"))
        .output()
        .await?;
    if !output.status.success() {
        bail!(
            "the hub issued no certificate for {NODE}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// The hub issues for a year, and the file is as old as its certificate.
fn is_fresh(certificate: &Path) -> bool {
    fs::metadata(certificate)
        .and_then(|known| known.modified())
        .is_ok_and(|issued| issued.elapsed().is_ok_and(|age| age < RENEW_AFTER))
}

/// Writes the status anew whenever a process ends or starts, for ever.
async fn watch_processes(fleet: &Fleet, write: impl Fn() -> std::io::Result<()>) -> Result<()> {
    let conditions = || fleet.all().map(Supervised::condition).collect::<Vec<_>>();
    let mut known = conditions();
    loop {
        let all = fleet.all().zip(&known);
        let changes = all.map(|(supervised, known)| Box::pin(supervised.changed(known)));
        futures::future::select_all(changes).await;
        let now = conditions();
        for ((supervised, known), now) in fleet.all().zip(&known).zip(&now) {
            if now != known && now.pid.is_none() {
                let how = now.last_end.as_deref().unwrap_or("unknown");
                say(&format!(
                    "{} ended ({how}), starting it again\n",
                    supervised.program.name
                ));
            }
        }
        known = now;
        write()?;
    }
}

/// Another supervisor is an error; processes whose supervisor was killed are ended.
async fn end_leftovers(home: &Home) -> Result<()> {
    let Some(former) = Written::read(home) else {
        return Ok(());
    };
    if former.is_alive() {
        let told = format!("longshore is already up here (pid {})", former.pid);
        return Err(advised(told, "longshore status"));
    }
    for (_, pid) in former.left() {
        process::terminate(pid);
    }
    let deadline = Instant::now() + LEFTOVERS;
    while let Some((process, pid)) = former.left().next() {
        if Instant::now() > deadline {
            bail!("{} of a former run does not end (pid {pid})", process.name);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn written(home: &Home, demo: &Demo<'_>, fleet: &Fleet, state: &str) -> Written {
    let processes = fleet.all().map(|supervised| {
        let now = supervised.condition();
        status::Process {
            name: supervised.program.name.to_owned(),
            binary: supervised.program.binary.clone(),
            pid: now.pid,
            restarts: now.restarts,
            last_end: now.last_end,
            log: supervised.program.log.display().to_string(),
        }
    });
    Written {
        pid: std::process::id(),
        binary: std::env::current_exe().unwrap_or_default(),
        state: state.to_owned(),
        api_server: status::Api {
            url: format!("https://{}", demo.address(Service::Api)),
            kubeconfig: home.kubeconfig().display().to_string(),
        },
        bus: status::Address {
            url: format!("mqtt://{}", demo.address(Service::Bus)),
        },
        link: status::Address {
            url: format!("wss://{}", demo.address(Service::Link)),
        },
        metrics: status::Metrics {
            edge: http(demo, Service::EdgeMetrics),
            hub: http(demo, Service::HubMetrics),
        },
        simulators: demo
            .parts
            .iter()
            .map(|part| status::Simulator {
                name: part.protocol.to_owned(),
                process: part.simulator.to_owned(),
                address: demo.place(part),
                control: demo.control(part),
            })
            .collect(),
        node: NODE.to_owned(),
        processes: processes.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_before_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.crt");
        assert!(!is_fresh(&file), "there is none");
        let written = fs::File::create(&file).unwrap();
        assert!(is_fresh(&file));
        let old = std::time::SystemTime::now() - RENEW_AFTER;
        written.set_modified(old).unwrap();
        assert!(!is_fresh(&file));
    }
}

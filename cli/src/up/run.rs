//! The life of `longshore up`: prepare, start in order, tell, wait, end.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use longshore_process::{Owned, Signals};
use tokio::sync::watch;

use super::{
    cluster,
    demo::{Demo, NODE, PARTS, Part},
    guide,
    home::Home,
    ports::{Ports, Service},
    process::{self, Program, Running, supervise},
    say,
    status::{self, Written},
};

/// How long a process may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How long leftovers of a killed run may take to end.
const LEFTOVERS: Duration = Duration::from_secs(10);
/// A certificate of a year has thirty days left then.
const RENEW_AFTER: Duration = Duration::from_secs(335 * 24 * 3600);
/// How long the first readings of all devices may take.
const ALL_READ: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(20);

/// A process under supervision.
struct Supervised {
    program: Program,
    state: watch::Receiver<Running>,
    stop: watch::Sender<bool>,
    task: Owned<std::io::Result<()>>,
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
    let demo = Demo {
        home,
        ports: &ports,
        parts: PARTS.into_iter().filter(can_run).collect(),
    };
    let mut running = Vec::new();
    let mut signals = Signals::listen()?;
    let result = tokio::select! {
        result = serve(home, &demo, &mut running, begun) => result,
        _ = signals.asked() => Ok(()),
    };
    say("\nstopping\n");
    // The edge first: it hands what it has to the hub.
    while let Some(supervised) = running.pop() {
        let _ = supervised.stop.send(true);
        let _ = supervised.task.await;
    }
    written(home, &demo, &[], status::STOPPED)
        .write(home)
        .context("failed to write down the end")?;
    say("stopped; the state is kept, `make up` goes on from here, `make reset` forgets it\n");
    result
}

async fn serve(
    home: &Home,
    demo: &Demo<'_>,
    running: &mut Vec<Supervised>,
    begun: Instant,
) -> Result<()> {
    let write =
        |running: &[Supervised], state: &str| written(home, demo, running, state).write(home);
    for part in &demo.parts {
        running.push(start(demo.simulator(part)?));
        step(
            "simulator",
            &format!("{} on {}", part.protocol, demo.place(part)),
        );
    }
    running.push(start(demo.hub()?));
    write(running, "starting")?;
    ready(&http(demo, Service::HubMetrics), running).await?;
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
    running.push(start(demo.edge()?));
    write(running, "starting")?;
    let started = Instant::now();
    ready(&http(demo, Service::EdgeMetrics), running).await?;
    first_reading(demo, running).await?;
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
        say(&format!(
            "\nno reading of {} yet\n\nhint: longshore describe device {}; the log is {}\n",
            silent.join(", "),
            silent[0],
            home.log("edgecore").display()
        ));
    }
    write(running, "running")?;
    say(&guide::what_to_try(home, demo, begun.elapsed()));
    watch_processes(running, |running| write(running, "running")).await
}

fn start(program: Program) -> Supervised {
    let (sender, state) = watch::channel(Running::default());
    let (stop, stopped) = watch::channel(false);
    let task = Owned::spawn(program.name, supervise(program.clone(), sender, stopped));
    Supervised {
        program,
        state,
        stop,
        task,
    }
}

fn step(what: &str, detail: &str) {
    say(&format!("  {what:10} {detail}\n"));
}

fn http(demo: &Demo<'_>, service: Service) -> String {
    format!("http://{}", demo.address(service))
}

/// Waits until a process says that it is ready; its log is named if it does not.
async fn ready(base: &str, running: &[Supervised]) -> Result<()> {
    let process = running.last().context("nothing was started")?;
    wait(process, async || status::is_ready(base).await).await
}

async fn first_reading(demo: &Demo<'_>, running: &[Supervised]) -> Result<()> {
    let process = running.last().context("nothing was started")?;
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

/// Bluetooth needs a D-Bus of its own.
fn can_run(part: &Part) -> bool {
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
        let state = process.state.borrow().clone();
        let log = process.program.log.display().to_string();
        if process.task.is_finished() || state.restarts > 3 {
            let how = state
                .last_end
                .unwrap_or_else(|| "it could not be started".to_owned());
            bail!(
                "{} does not stay up: {how}\n{}\n\nhint: see {log}",
                process.program.name,
                tail(&process.program.log)
            );
        }
        if Instant::now() > deadline {
            bail!(
                "{} is not ready after {} s\n\nhint: see {log}",
                process.program.name,
                READY.as_secs()
            );
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

/// Writes the status anew whenever a process ends or starts; never returns
/// while all can be started.
async fn watch_processes(
    running: &mut [Supervised],
    write: impl Fn(&[Supervised]) -> std::io::Result<()>,
) -> Result<()> {
    let mut known: Vec<Running> = running
        .iter()
        .map(|supervised| supervised.state.borrow().clone())
        .collect();
    loop {
        let changes = running
            .iter_mut()
            .map(|supervised| Box::pin(supervised.state.changed()));
        let (changed, _, _) = futures::future::select_all(changes).await;
        for (supervised, known) in running.iter().zip(&mut known) {
            let now = supervised.state.borrow().clone();
            if now != *known && now.pid.is_none() {
                let how = now.last_end.as_deref().unwrap_or("unknown");
                say(&format!(
                    "{} ended ({how}), starting it again\n",
                    supervised.program.name
                ));
            }
            *known = now;
        }
        write(running)?;
        if changed.is_err() {
            bail!(
                "a process of the demo can no longer be started\n\nhint: see {}",
                running[0].program.log.display()
            );
        }
    }
}

/// Another supervisor is an error; processes whose supervisor was killed are ended.
async fn end_leftovers(home: &Home) -> Result<()> {
    let Some(former) = Written::read(home) else {
        return Ok(());
    };
    if former.is_alive() {
        bail!(
            "longshore is already up here (pid {})\n\nhint: longshore status",
            former.pid
        );
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

fn written(home: &Home, demo: &Demo<'_>, running: &[Supervised], state: &str) -> Written {
    let processes = running.iter().map(|supervised| {
        let now = supervised.state.borrow();
        status::Process {
            name: supervised.program.name.to_owned(),
            binary: supervised.program.binary.clone(),
            pid: now.pid,
            restarts: now.restarts,
            last_end: now.last_end.clone(),
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

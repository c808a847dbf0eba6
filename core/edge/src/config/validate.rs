//! Raw YAML → [`Config`].

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use longshore_broker::{Bound, Limits};
use longshore_host::Isolation;
use longshore_process::config::Section;
use longshore_types::{NodeName, files};

use super::{
    BusMode, Config, DEFAULT_BUS_LISTEN, DEFAULT_COMMIT_INTERVAL_MS, DEFAULT_METRICS_LISTEN,
    DEFAULT_OUTBOX_MIB, DEFAULT_STATE_DIR, EmbeddedOptions, ExternalOptions, HubConfig,
    KubeEdgeTopics, LONGEST_COMMIT_INTERVAL_MS, MapperConfig, StoreConfig, TlsOptions, User,
};

/// Takes the file apart. None only where a fault was noted.
pub(super) fn config(root: &mut Section) -> Option<Config> {
    let node = root.required::<String>("node").and_then(|name| {
        let node = NodeName::new(&name);
        node.map_err(|error| root.fault("node", error.to_string()))
            .ok()
    });
    let state_dir = root
        .path("stateDir")
        .unwrap_or_else(|| PathBuf::from(DEFAULT_STATE_DIR));
    let mappers = mappers(root);
    let mapper_dir = root.path("mapperDir");
    let (bus, kubeedge_topics) = bus(root.section("bus"), &state_dir);
    let hub = root.section("hub");
    let hub = hub.is_present().then(|| hub_of(hub)).flatten();
    let manifests = root.path("manifests");
    let metrics_listen = root
        .section("metrics")
        .address("listen", DEFAULT_METRICS_LISTEN);
    let outbox_mib = root
        .section("outbox")
        .number("maxMiB", DEFAULT_OUTBOX_MIB, 1..=u64::MAX);
    let commit_interval_ms = root.section("store").number(
        "commitInterval",
        DEFAULT_COMMIT_INTERVAL_MS,
        0..=LONGEST_COMMIT_INTERVAL_MS,
    );
    let log = root.section("log").log();
    Some(Config {
        node: node?,
        state_dir,
        mappers,
        mapper_dir,
        bus,
        kubeedge_topics,
        hub,
        manifests,
        metrics_listen,
        store: StoreConfig {
            outbox_budget: outbox_mib.saturating_mul(1024 * 1024),
            commit_interval: Duration::from_millis(commit_interval_ms),
        },
        log,
    })
}

fn mappers(root: &mut Section) -> Vec<MapperConfig> {
    let mut names = HashSet::new();
    let mut mappers = Vec::new();
    for mut section in root.list("mappers") {
        let name = section.required::<String>("name");
        let file = section.required_path("file");
        let words = [
            ("process", Isolation::Process),
            ("inProcess", Isolation::InProcess),
        ];
        let isolation = section.choice("isolation", &words, Isolation::default());
        let config = section.optional("config").unwrap_or_default();
        if let Some(name) = &name {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || !name.chars().all(plain) {
                section.fault(
                    "name",
                    format!(
                        "`{name}` is no name of a mapper: use lower case letters, digits and `-`"
                    ),
                );
            } else if !names.insert(name.clone()) {
                section.fault("name", format!("two mappers are named `{name}`"));
            }
        }
        if let (Some(name), Some(file)) = (name, file) {
            mappers.push(MapperConfig {
                name,
                file,
                isolation,
                config,
            });
        }
    }
    mappers
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Embedded,
    External,
    Off,
}

fn bus(mut section: Section, state_dir: &Path) -> (BusMode, KubeEdgeTopics) {
    let words = [
        ("embedded", Mode::Embedded),
        ("external", Mode::External),
        ("off", Mode::Off),
    ];
    let mode = section.choice("mode", &words, Mode::Embedded);
    let words = [
        ("auto", KubeEdgeTopics::Auto),
        ("always", KubeEdgeTopics::Always),
        ("never", KubeEdgeTopics::Never),
    ];
    let topics = section.choice("kubeedgeTopics", &words, KubeEdgeTopics::Auto);
    let listen: SocketAddr = section.address("listen", DEFAULT_BUS_LISTEN);
    let users = users(&mut section);
    let limits = limits(section.section("limits"));
    let external = section.section("external");
    if mode == Mode::External && !external.is_present() {
        section.fault("external", "needed with `mode: external`, with a `url`");
    }
    let external = external
        .is_present()
        .then(|| external_of(external))
        .flatten();
    let mode = match (mode, external) {
        (Mode::External, Some(external)) => BusMode::External(external),
        (Mode::Embedded, _) => BusMode::Embedded(EmbeddedOptions {
            listen,
            state_dir: state_dir.join("bus"),
            users,
            limits,
        }),
        (Mode::Off | Mode::External, _) => BusMode::Off,
    };
    (mode, topics)
}

/// Each key's default fits a machine with 256 MB of memory that has other things to
/// do; the reference says what each bounds.
fn limits(mut section: Section) -> Limits {
    const KIB: u64 = 1024;
    let default = Limits::default();
    let mut number = |key, default: usize, range| {
        let number = section.number(key, default as u64, range);
        usize::try_from(number).unwrap_or(usize::MAX)
    };
    let connections = number("connections", default.connections, 1..=100_000);
    let handshakes = number("handshakes", default.handshakes, 1..=10_000);
    let sessions = number("sessions", default.sessions, 1..=100_000);
    let client_subscriptions = number(
        "clientSubscriptions",
        default.client_subscriptions,
        1..=1_000_000,
    );
    let subscriptions = number("subscriptions", default.subscriptions, 1..=1_000_000);
    let inflight = number("inflight", default.inflight.into(), 1..=1000);
    let packet = number("packetKiB", default.packet / 1024, 1..=256 * KIB);
    let memory = number("memoryMiB", default.memory >> 20, 1..=4 * KIB);
    let disk = number("diskMiB", default.disk >> 20, 1..=64 * KIB);
    let mut bound = |key, default: Bound| {
        let mut section = section.section(key);
        let messages = section.number("messages", default.messages as u64, 0..=10_000_000);
        let kib = section.number("KiB", (default.bytes / 1024) as u64, 0..=64 * KIB * KIB);
        Bound {
            messages: usize::try_from(messages).unwrap_or(usize::MAX),
            bytes: usize::try_from(kib * KIB).unwrap_or(usize::MAX),
        }
    };
    let queue = bound("queue", default.queue);
    let away = bound("away", default.away);
    let retained = bound("retained", default.retained);
    let hours = section.number(
        "sessionExpiryHours",
        default.session_expiry.as_secs() / 3600,
        1..=24 * 365,
    );
    let limits = Limits {
        connections,
        handshakes,
        packet: packet * 1024,
        sessions,
        session_expiry: Duration::from_secs(hours * 3600),
        client_subscriptions,
        subscriptions,
        inflight: u16::try_from(inflight).unwrap_or(u16::MAX),
        queue,
        away,
        retained,
        memory: memory << 20,
        disk: disk << 20,
        ..default
    };
    // Otherwise one packet of a client would never find room.
    if limits.packet > limits.memory / 4 {
        section.fault("packetKiB", "must be at most a quarter of memoryMiB");
    }
    limits
}

fn users(section: &mut Section) -> Vec<User> {
    let users = section.list("users").into_iter().filter_map(|mut user| {
        let name = user.required::<String>("name");
        let file = user.required_path("passwordFile");
        let password = file.and_then(|file| secret(&user, &file));
        Some(User::new(name?, &password?))
    });
    users.collect()
}

fn external_of(mut section: Section) -> Option<ExternalOptions> {
    let url = section.required::<String>("url");
    let user = section.optional::<String>("user");
    let password = section.path("passwordFile");
    let password = password.and_then(|file| secret(&section, &file));
    let ca = pem(&mut section, "caFile");
    let certificate = pem(&mut section, "certFile");
    let key = pem(&mut section, "keyFile");
    if certificate.is_some() != key.is_some() {
        section.fault("certFile", "`certFile` and `keyFile` go together");
    }
    let (secure, host, port) = endpoint(
        &section,
        &url?,
        &[("mqtt", false, 1883), ("mqtts", true, 8883)],
    )?;
    if secure && ca.is_none() {
        section.fault("caFile", "needed with `mqtts://`");
    }
    let tls = ca.filter(|_| secure).map(|ca| TlsOptions {
        ca,
        identity: certificate.zip(key),
    });
    let credentials = user.map(|user| (user, password.unwrap_or_default()));
    Some(ExternalOptions {
        host,
        port,
        tls,
        credentials,
    })
}

fn hub_of(mut section: Section) -> Option<HubConfig> {
    let url = section.required::<String>("url");
    let ca_file = section.required_path("caFile");
    let cert_file = section.required_path("certFile");
    let key_file = section.required_path("keyFile");
    let url = url?;
    let (_, host, port) = endpoint(&section, &url, &[("wss", true, 443)])?;
    Some(HubConfig {
        url,
        host,
        port,
        ca_file: ca_file?,
        cert_file: cert_file?,
        key_file: key_file?,
    })
}

/// `scheme://host[:port]` under `url`, nothing behind it.
fn endpoint(
    section: &Section,
    url: &str,
    schemes: &[(&str, bool, u16)],
) -> Option<(bool, String, u16)> {
    let parts = url.split_once("://").and_then(|(scheme, rest)| {
        let (_, secure, default) = schemes.iter().find(|(known, ..)| *known == scheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // The brackets of an IPv6 address hold colons of their own.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (rest, *default),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty() && !host.contains(['/', '@', '?', '#']))
            .then(|| (*secure, host.to_owned(), port))
    });
    if parts.is_none() {
        let forms: Vec<_> = schemes
            .iter()
            .map(|(scheme, ..)| format!("`{scheme}://host:port`"))
            .collect();
        let forms = forms.join(" or ");
        section.fault("url", format!("`{url}` is not of the form {forms}"));
    }
    parts
}

fn pem(section: &mut Section, key: &'static str) -> Option<Vec<u8>> {
    let file = section.path(key)?;
    let read = files::read(&file, files::SMALL);
    read.map_err(|error| section.fault(key, unreadable(&file, &error)))
        .ok()
}

/// The first line of the password's file; the line's end does not belong to it.
fn secret(section: &Section, file: &Path) -> Option<String> {
    match files::read_text(file, files::SMALL) {
        Ok(text) => Some(text.lines().next().unwrap_or_default().to_owned()),
        Err(error) => {
            section.fault("passwordFile", unreadable(file, &error));
            None
        }
    }
}

fn unreadable(file: &Path, error: &std::io::Error) -> String {
    format!("cannot read `{}`: {error}", file.display())
}

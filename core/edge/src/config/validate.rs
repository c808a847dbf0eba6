//! Raw YAML → [`Config`].

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use longshore_types::NodeName;

use super::{
    Config, ConfigFault, DEFAULT_BUS_LISTEN, DEFAULT_LOG_LEVEL, DEFAULT_METRICS_LISTEN,
    DEFAULT_OUTBOX_MIB, DEFAULT_STATE_DIR, HubConfig, Isolation, LogConfig, MapperConfig,
    reader::{Faults, Section},
};
use crate::bus::{BusMode, EmbeddedOptions, ExternalOptions, KubeEdgeTopics, TlsOptions, User};

pub(super) fn config(text: &str, base: &Path) -> Result<Config, Vec<ConfigFault>> {
    let mut faults = Faults::new(text);
    let value: serde_json::Value = match serde_saphyr::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            let line = error.location().map(|at| at.line() as usize);
            let message = match error.without_snippet() {
                serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
                    format!("{key} stands twice")
                }
                error => format!(
                    "not valid YAML: {}",
                    error.to_string().lines().next().unwrap_or_default()
                ),
            };
            faults.at_line(line, message);
            return faults.into_result(None);
        }
    };
    let config = build(value, base, &mut faults);
    faults.into_result(config)
}

fn build(value: serde_json::Value, base: &Path, faults: &mut Faults<'_>) -> Option<Config> {
    let mut root = Section::new("", value, faults);
    let node =
        root.required::<String>("node", faults)
            .and_then(|name| match NodeName::new(&name) {
                Ok(name) => Some(name),
                Err(error) => {
                    faults.add("node", error.to_string());
                    None
                }
            });
    let state_dir =
        path(&mut root, "stateDir", base, faults).unwrap_or_else(|| base.join(DEFAULT_STATE_DIR));
    let mappers = mappers(&mut root, base, faults);
    let mapper_dir = path(&mut root, "mapperDir", base, faults);
    let (bus, kubeedge_topics) = bus(root.section("bus", faults), base, &state_dir, faults);
    let hub = root
        .section("hub", faults)
        .and_then(|section| hub(section, base, faults));
    let manifests = path(&mut root, "manifests", base, faults);
    let metrics_listen = match root.section("metrics", faults) {
        Some(mut section) => {
            let listen = address(&mut section, "listen", DEFAULT_METRICS_LISTEN, faults);
            section.finish(faults);
            listen
        }
        None => parse_default(DEFAULT_METRICS_LISTEN),
    };
    let outbox_budget = outbox(root.section("outbox", faults), faults);
    let log = log(root.section("log", faults), faults);
    root.finish(faults);
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
        outbox_budget,
        log,
    })
}

fn mappers(root: &mut Section, base: &Path, faults: &mut Faults<'_>) -> Vec<MapperConfig> {
    let mut names = HashSet::new();
    let mut mappers = Vec::new();
    for mut section in root.list("mappers", faults) {
        let name = section.required::<String>("name", faults);
        let file = section.required::<PathBuf>("file", faults);
        let words = [
            ("process", Isolation::Process),
            ("inProcess", Isolation::InProcess),
        ];
        let isolation = section.choice("isolation", &words, Isolation::default(), faults);
        let config = section.optional("config", faults).unwrap_or_default();
        if let Some(name) = &name {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || !name.chars().all(plain) {
                faults.add(
                    section.at("name"),
                    format!(
                        "`{name}` is no name of a mapper: use lower case letters, digits and `-`"
                    ),
                );
            } else if !names.insert(name.clone()) {
                faults.add(
                    section.at("name"),
                    format!("two mappers are named `{name}`"),
                );
            }
        }
        section.finish(faults);
        if let (Some(name), Some(file)) = (name, file) {
            mappers.push(MapperConfig {
                name,
                file: base.join(file),
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

fn bus(
    section: Option<Section>,
    base: &Path,
    state_dir: &Path,
    faults: &mut Faults<'_>,
) -> (BusMode, KubeEdgeTopics) {
    let state_dir = state_dir.join("bus");
    let Some(mut section) = section else {
        let listen = parse_default(DEFAULT_BUS_LISTEN);
        return (
            BusMode::Embedded(EmbeddedOptions {
                listen,
                state_dir,
                users: Vec::new(),
            }),
            KubeEdgeTopics::Auto,
        );
    };
    let words = [
        ("embedded", Mode::Embedded),
        ("external", Mode::External),
        ("off", Mode::Off),
    ];
    let mode = section.choice("mode", &words, Mode::Embedded, faults);
    let words = [
        ("auto", KubeEdgeTopics::Auto),
        ("always", KubeEdgeTopics::Always),
        ("never", KubeEdgeTopics::Never),
    ];
    let topics = section.choice("kubeedgeTopics", &words, KubeEdgeTopics::Auto, faults);
    let listen = address(&mut section, "listen", DEFAULT_BUS_LISTEN, faults);
    let users = users(&mut section, base, faults);
    let at = section.at("external");
    let external = section
        .section("external", faults)
        .and_then(|section| external(section, base, faults));
    if mode == Mode::External && external.is_none() {
        faults.add(at, "needed with `mode: external`, with a `url`");
    }
    section.finish(faults);
    let mode = match (mode, external) {
        (Mode::External, Some(external)) => BusMode::External(external),
        (Mode::Embedded, _) => BusMode::Embedded(EmbeddedOptions {
            listen,
            state_dir,
            users,
        }),
        (Mode::Off | Mode::External, _) => BusMode::Off,
    };
    (mode, topics)
}

fn users(section: &mut Section, base: &Path, faults: &mut Faults<'_>) -> Vec<User> {
    let mut users = Vec::new();
    for mut user in section.list("users", faults) {
        let name = user.required::<String>("name", faults);
        let password = user.required::<PathBuf>("passwordFile", faults);
        let password =
            password.and_then(|file| secret(&user.at("passwordFile"), &base.join(file), faults));
        user.finish(faults);
        users.extend(
            name.zip(password)
                .map(|(name, password)| User::new(name, &password)),
        );
    }
    users
}

fn external(mut section: Section, base: &Path, faults: &mut Faults<'_>) -> Option<ExternalOptions> {
    let at = section.at("url");
    let url = section.required::<String>("url", faults);
    let user = section.optional::<String>("user", faults);
    let password = section.optional::<PathBuf>("passwordFile", faults);
    let password =
        password.and_then(|file| secret(&section.at("passwordFile"), &base.join(file), faults));
    let ca = pem(&mut section, "caFile", base, faults);
    let certificate = pem(&mut section, "certFile", base, faults);
    let key = pem(&mut section, "keyFile", base, faults);
    if certificate.is_some() != key.is_some() {
        faults.add(
            section.at("certFile"),
            "`certFile` and `keyFile` go together",
        );
    }
    let ca_at = section.at("caFile");
    section.finish(faults);
    let (secure, host, port) = endpoint(
        &at,
        &url?,
        &[("mqtt", false, 1883), ("mqtts", true, 8883)],
        faults,
    )?;
    if secure && ca.is_none() {
        faults.add(ca_at, "needed with `mqtts://`");
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

fn hub(mut section: Section, base: &Path, faults: &mut Faults<'_>) -> Option<HubConfig> {
    let at = section.at("url");
    let url = section.required::<String>("url", faults);
    let ca = section.required::<PathBuf>("caFile", faults);
    let certificate = section.required::<PathBuf>("certFile", faults);
    let key = section.required::<PathBuf>("keyFile", faults);
    section.finish(faults);
    let url = url?;
    let (_, host, port) = endpoint(&at, &url, &[("wss", true, 443)], faults)?;
    Some(HubConfig {
        url,
        host,
        port,
        ca_file: base.join(ca?),
        cert_file: base.join(certificate?),
        key_file: base.join(key?),
    })
}

fn outbox(section: Option<Section>, faults: &mut Faults<'_>) -> u64 {
    let mut mib = DEFAULT_OUTBOX_MIB;
    if let Some(mut section) = section {
        mib = section
            .optional("maxMiB", faults)
            .unwrap_or(DEFAULT_OUTBOX_MIB);
        if mib == 0 {
            faults.add(section.at("maxMiB"), "must be at least 1");
        }
        section.finish(faults);
    }
    mib.saturating_mul(1024 * 1024)
}

fn log(section: Option<Section>, faults: &mut Faults<'_>) -> LogConfig {
    let mut log = LogConfig {
        json: false,
        level: DEFAULT_LOG_LEVEL.to_owned(),
    };
    if let Some(mut section) = section {
        log.json = section.choice("format", &[("text", false), ("json", true)], false, faults);
        if let Some(level) = section.optional::<String>("level", faults) {
            if let Err(error) = level.parse::<tracing_subscriber::filter::Targets>() {
                faults.add(
                    section.at("level"),
                    format!("`{level}` is no log filter: {error}"),
                );
            }
            log.level = level;
        }
        section.finish(faults);
    }
    log
}

fn path(
    section: &mut Section,
    key: &'static str,
    base: &Path,
    faults: &mut Faults<'_>,
) -> Option<PathBuf> {
    section
        .optional::<PathBuf>(key, faults)
        .map(|path| base.join(path))
}

fn address(
    section: &mut Section,
    key: &'static str,
    default: &str,
    faults: &mut Faults<'_>,
) -> SocketAddr {
    let Some(text) = section.optional::<String>(key, faults) else {
        return parse_default(default);
    };
    text.parse().unwrap_or_else(|_| {
        faults.add(
            section.at(key),
            format!("`{text}` is no address and port, such as `{default}`"),
        );
        parse_default(default)
    })
}

fn parse_default(default: &str) -> SocketAddr {
    default
        .parse()
        .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// `scheme://host[:port]`, nothing behind it.
fn endpoint(
    at: &str,
    url: &str,
    schemes: &[(&str, bool, u16)],
    faults: &mut Faults<'_>,
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
        faults.add(
            at,
            format!("`{url}` is not of the form {}", forms.join(" or ")),
        );
    }
    parts
}

fn pem(
    section: &mut Section,
    key: &'static str,
    base: &Path,
    faults: &mut Faults<'_>,
) -> Option<Vec<u8>> {
    let file = path(section, key, base, faults)?;
    std::fs::read(&file)
        .map_err(|error| {
            faults.add(
                section.at(key),
                format!("cannot read `{}`: {error}", file.display()),
            )
        })
        .ok()
}

/// The first line of a file; the line's end does not belong to a password.
fn secret(at: &str, file: &Path, faults: &mut Faults<'_>) -> Option<String> {
    match std::fs::read_to_string(file) {
        Ok(text) => Some(text.lines().next().unwrap_or_default().to_owned()),
        Err(error) => {
            faults.add(at, format!("cannot read `{}`: {error}", file.display()));
            None
        }
    }
}

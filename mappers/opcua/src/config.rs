//! From `configData` to buses and points; all faults at once.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use longshore_sdk::{
    Delivery, DeviceConfig, DiscoverError, Discovered, Fault, Parsed, PlanPoint, Planned, Protocol,
    RequestError, config::Section,
};
use serde_json::{Map, Value};

use crate::{
    bus::{Bus, Mode, Password, Policy, Security, Trust, Unit, Url, User},
    discover,
    driver::Link,
    field,
    node::Namespace,
    pki::Pki,
    plan::{self, Request},
    point::Point,
    session::Shared,
};

/// The port of OPC UA over TCP (Part 6, section 7.2).
const PORT: u16 = 4840;
/// A PLC that is at work answers within a second; twice that for a busy one,
/// and as much again for a mobile network.
const TIMEOUT: Duration = Duration::from_secs(4);
/// Long enough for a switch that starts anew, and short enough that a server
/// with few sessions has room again soon.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);
/// Endpoints, channel, session, log-on, namespaces and limits are asked for one
/// after the other; a slow device signs for half a second in each.
const CONNECT_STEPS: u32 = 4;

/// The OPC UA protocol, with what all sessions of the mapper share.
#[derive(Debug, Clone)]
pub struct Opcua {
    shared: Arc<Shared>,
}

/// What a device's configuration says for all of its points.
pub(crate) struct Defaults {
    pub(crate) namespace: Namespace,
    pub(crate) publishing_ms: Option<u32>,
}

impl Protocol for Opcua {
    type Bus = Bus;
    type Unit = Unit;
    type Point = Point;
    type Request = Request;
    type Connection = Link;

    /// The mapper's configuration: `pki` (folder), `applicationUri`, `applicationName`.
    fn new(config: &Value) -> Result<Self, Vec<Fault>> {
        let empty = Map::new();
        let map = match config {
            Value::Null => &empty,
            Value::Object(map) => map,
            _ => {
                return Err(vec![Fault {
                    path: String::new(),
                    message: "expected an object".to_owned(),
                }]);
            }
        };
        let section = Section::new("", map);
        let pki = Pki::new(
            section.text("pki").map(PathBuf::from),
            section.text("applicationUri").map(str::to_owned),
            section.text("applicationName").map(str::to_owned),
        );
        let (faults, _) = section.finish();
        if faults.is_empty() {
            Ok(Self {
                shared: Arc::new(Shared::new(pki)),
            })
        } else {
            Err(faults)
        }
    }

    fn parse(&self, device: &DeviceConfig) -> Result<Parsed<Self>, Vec<Fault>> {
        let section = Section::new("protocol", &device.protocol);
        let bus = bus(&section);
        let defaults = defaults(&section);
        let (faults, mut warnings) = section.finish();
        let (Some(bus), true) = (bus, faults.is_empty()) else {
            return Err(faults);
        };
        let mut points = Vec::with_capacity(device.points.len());
        for (index, point) in device.points.iter().enumerate() {
            let section = Section::new(format!("points[{index}].config"), &point.config);
            let parsed = field::parse(&section, point, &defaults);
            let (faults, more) = section.finish();
            warnings.extend(more);
            points.push(match (parsed, joined(faults)) {
                (Some(point), None) => Ok(point),
                (_, Some(fault)) => Err(fault),
                (None, None) => Err(Fault {
                    path: format!("points[{index}].config.node"),
                    message: "no node: write for example `ns=2;s=Machine.Temperature`".to_owned(),
                }),
            });
        }
        for (index, method) in device.methods.iter().enumerate() {
            let section = Section::new(format!("methods[{index}].config"), &method.config);
            crate::method::parse(&section);
            let (faults, more) = section.finish();
            warnings.extend(faults.into_iter().chain(more));
        }
        Ok(Parsed {
            bus,
            unit: Unit,
            points,
            warnings,
        })
    }

    fn plan(
        &self,
        _bus: &Bus,
        _unit: &Unit,
        points: &[PlanPoint<'_, Point>],
    ) -> Vec<Planned<Request>> {
        plan::plan(points)
    }

    fn connect(&self, bus: &Bus) -> impl Future<Output = Result<Link, RequestError>> + Send {
        Link::open(self.shared.clone(), bus.clone())
    }

    fn connect_timeout(&self, bus: &Bus) -> Duration {
        bus.timeout * CONNECT_STEPS
    }

    fn timeout(&self, bus: &Bus, _unit: &Unit) -> Duration {
        // A link keeps to the timeout by itself, in each request. A write may
        // ask for the type of its node first, and a read may be several.
        bus.timeout * 3
    }

    fn delivery(&self, _unit: &Unit, point: &Point) -> Delivery {
        if point.polled {
            Delivery::Polled
        } else {
            Delivery::Pushed
        }
    }

    fn discover(
        &self,
        request: &Map<String, Value>,
    ) -> impl Future<Output = Result<Discovered, DiscoverError>> + Send {
        discover::discover(self.shared.clone(), request.clone())
    }
}

/// Several faults of one point as one.
fn joined(faults: Vec<Fault>) -> Option<Fault> {
    faults.into_iter().reduce(|first, next| Fault {
        message: format!("{}; {next}", first.message),
        path: first.path,
    })
}

fn defaults(section: &Section<'_>) -> Defaults {
    let publishing = duration(section, "publishingInterval", 10, 3_600_000);
    Defaults {
        namespace: namespace(section),
        publishing_ms: publishing.map(|interval| interval.as_millis() as u32),
    }
}

/// `namespace`: the one of names that say none.
pub(crate) fn namespace(section: &Section<'_>) -> Namespace {
    match section.text("namespace") {
        Some(uri) => Namespace::Uri(uri.to_owned()),
        None => Namespace::Index(0),
    }
}

/// The server and the log-on, by our keys or by KubeEdge's.
pub(crate) fn bus(section: &Section<'_>) -> Option<Bus> {
    let url = match section.text("url") {
        Some(text) => url(section, text),
        None => {
            if !section.has("url") {
                section.fault(
                    "url",
                    "no address of the server: write url: opc.tcp://HOST:4840",
                );
            }
            None
        }
    };
    let security = security(section);
    let user = user(section);
    let trust = trust(section);
    let timeout = duration(section, "timeout", 50, 600_000).unwrap_or(TIMEOUT);
    let session_timeout =
        duration(section, "sessionTimeout", 5_000, 86_400_000).unwrap_or(SESSION_TIMEOUT);
    Some(Bus {
        url: url?,
        security,
        user: user?,
        trust: trust?,
        timeout,
        session_timeout,
    })
}

fn url(section: &Section<'_>, text: &str) -> Option<Url> {
    let Some(rest) = text.trim().strip_prefix("opc.tcp://") else {
        section.fault(
            "url",
            format!("`{text}` does not begin with opc.tcp://, the only transport that is spoken"),
        );
        return None;
    };
    let (place, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) if port > 0 => (host, port),
            _ => {
                section.fault("url", format!("`{port}` is not a port"));
                return None;
            }
        },
        _ => (place, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        section.fault("url", format!("`{text}` names no host"));
        return None;
    }
    Some(Url {
        host: host.to_owned(),
        port,
        path: path.to_owned(),
    })
}

/// `security: {policy, mode}`, or KubeEdge's `securityPolicy` and `securityMode`.
fn security(section: &Section<'_>) -> Security {
    let (policy, mode) = match section.section("security") {
        Some(inner) => {
            let found = (
                inner.choice("policy", Policy::NAMES).flatten(),
                inner.choice("mode", Mode::NAMES).flatten(),
            );
            section.absorb(inner);
            // Looked at, so that a manifest with both vocabularies brings no warning.
            let _ = ["securityPolicy", "securityMode"].map(|key| section.value(key));
            found
        }
        None => {
            let mode = section.choice("securityMode", Mode::NAMES);
            let policy = section.choice("securityPolicy", Policy::NAMES).flatten();
            let none = section
                .value("securityMode")
                .and_then(Value::as_str)
                .is_some_and(|mode| mode.eq_ignore_ascii_case("none"));
            (policy.or(none.then_some(Policy::None)), mode.flatten())
        }
    };
    if policy == Some(Policy::None) && mode.is_some() {
        section.fault(
            "security.mode",
            "there is nothing to sign or encrypt with policy none: leave the mode out, or name a policy",
        );
    }
    Security { policy, mode }
}

/// `user: {name, password | passwordFile}` or `certificate: {file, key}`, or
/// KubeEdge's `userName`, `password`, `certificate`, `privateKey`.
fn user(section: &Section<'_>) -> Option<User> {
    let certificate = certificate(section);
    if let Some(inner) = section.section("user") {
        let name = inner.text("name").map(str::to_owned);
        let password = match (inner.text("password"), inner.text("passwordFile")) {
            (Some(text), None) => Password::Text(text.to_owned()),
            (None, Some(file)) => Password::File(PathBuf::from(file)),
            (None, None) => Password::Text(String::new()),
            (Some(_), Some(_)) => {
                inner.fault("password", "write password or passwordFile, not both");
                Password::Text(String::new())
            }
        };
        if name.is_none() && inner.is_sound() {
            inner.fault("name", "no name of the user");
        }
        section.absorb(inner);
        let _ = ["userName", "password"].map(|key| section.value(key));
        if certificate.is_some() {
            section.fault("certificate", "write user or certificate, not both");
        }
        return Some(User::Name {
            name: name?,
            password,
        });
    }
    let name = section.text("userName");
    let password = section.text("password").unwrap_or_default();
    match (name, certificate) {
        (Some(name), certificate) => {
            if certificate.is_some() {
                section.warn("certificate", "not used: the user name is");
            }
            Some(User::Name {
                name: name.to_owned(),
                password: Password::Text(password.to_owned()),
            })
        }
        (None, Some(certificate)) => Some(certificate),
        (None, None) => Some(User::Anonymous),
    }
}

fn certificate(section: &Section<'_>) -> Option<User> {
    let (file, key) = match section.value("certificate") {
        Some(Value::Object(_)) => {
            let inner = section.section("certificate")?;
            let files = (inner.text("file"), inner.text("key"));
            for (file, name) in [(files.0, "file"), (files.1, "key")] {
                if file.is_none() && !inner.has(name) {
                    inner.fault(name, "no file named");
                }
            }
            section.absorb(inner);
            let _ = section.value("privateKey");
            files
        }
        Some(_) => (section.text("certificate"), section.text("privateKey")),
        None => {
            let _ = section.value("privateKey");
            (None, None)
        }
    };
    Some(User::Certificate {
        file: PathBuf::from(file?),
        key: PathBuf::from(key?),
    })
}

/// `trust: all` or `trust: {thumbprint: …}`.
fn trust(section: &Section<'_>) -> Option<Trust> {
    match section.value("trust") {
        None => Some(Trust::Folder),
        Some(Value::String(word)) if word == "folder" => Some(Trust::Folder),
        Some(Value::String(word)) if word == "all" => Some(Trust::All),
        Some(Value::Object(_)) => {
            let inner = section.section("trust")?;
            let text = inner.text("thumbprint").unwrap_or_default();
            let digits: String = text
                .chars()
                .filter(|character| !matches!(character, ':' | ' '))
                .collect::<String>()
                .to_ascii_lowercase();
            let is_sha1 =
                digits.len() == 40 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            if !is_sha1 {
                inner.fault(
                    "thumbprint",
                    format!("`{text}` is not a SHA-1 thumbprint of 40 hexadecimal digits"),
                );
            }
            section.absorb(inner);
            Some(Trust::Thumbprint(digits))
        }
        Some(_) => {
            section.fault(
                "trust",
                "write trust: {thumbprint: …}, trust: folder or trust: all",
            );
            None
        }
    }
}

/// A time: a number of milliseconds, or a text such as `500ms`, `5s`, `1m`.
pub(crate) fn duration(
    section: &Section<'_>,
    key: &'static str,
    least_ms: u64,
    most_ms: u64,
) -> Option<Duration> {
    let value = section.value(key)?;
    let millis = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => millis_of(text.trim()),
        _ => None,
    };
    match millis {
        Some(millis) if (least_ms as f64..=most_ms as f64).contains(&millis) => {
            Some(Duration::from_millis(millis as u64))
        }
        Some(millis) => {
            section.fault(
                key,
                format!("{millis} ms is outside of {least_ms}…{most_ms} ms"),
            );
            None
        }
        None => {
            section.fault(
                key,
                format!("expected a time such as 500ms or 5s, found {value}"),
            );
            None
        }
    }
}

fn millis_of(text: &str) -> Option<f64> {
    let at = text
        .find(|character: char| character.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "" | "ms" => 1.0,
        "s" => 1e3,
        "m" => 60e3,
        "h" => 3600e3,
        _ => return None,
    };
    Some(number.trim().parse::<f64>().ok()? * factor)
}

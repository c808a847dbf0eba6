//! From `configData` to buses and points; all faults at once.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use longshore_sdk::{
    Delivery, DeviceConfig, DiscoverError, Discovered, Fault, Parsed, PlanPoint, Planned, Protocol,
    RequestError,
    config::{self, Section},
};
use serde_json::{Map, Value};

use crate::{
    bus::{Bounds, Bus, Mode, Password, Policy, Security, Trust, Unit, Url, User},
    discover,
    driver::Link,
    field, keys,
    node::Namespace,
    pki::Pki,
    plan::{self, Request},
    point::Point,
    session::Shared,
};

/// A PLC that is at work answers within a second; twice that for a busy one,
/// and as much again for a mobile network.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(4);
/// Long enough for a switch that starts anew, and short enough that a server
/// with few sessions has room again soon.
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(60);
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

    /// The mapper's configuration: the folder of certificates, our names.
    fn new(config: &Value) -> Result<Self, Vec<Fault>> {
        let pki = config::of_mapper(&keys::MAPPER, config, |section| {
            let text = |key| section.text(key).map(str::to_owned);
            let pki = section.text("pki").map(PathBuf::from);
            Pki::new(pki, text("applicationUri"), text("applicationName"))
        })?;
        let shared = Arc::new(Shared::new(pki));
        Ok(Self { shared })
    }

    fn parse(&self, device: &DeviceConfig) -> Result<Parsed<Self>, Vec<Fault>> {
        let section = Section::new(&keys::DEVICE, "protocol", &device.protocol);
        let bus = bus(&section);
        let defaults = defaults(&section);
        let (faults, mut warnings) = section.finish();
        let (Some(bus), true) = (bus, faults.is_empty()) else {
            return Err(faults);
        };
        let missing = "no node: write for example `ns=2;s=Machine.Temperature`";
        let points = config::of_points(
            &keys::PROPERTY,
            device,
            &mut warnings,
            ("node", missing),
            |section, point| field::parse(section, point, &defaults),
        );
        config::of_methods(&keys::METHOD, device, &mut warnings, crate::method::parse);
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

fn defaults(section: &Section<'_>) -> Defaults {
    let publishing = section.duration("publishingInterval");
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
    let url = section.text("url").map(Url::parse);
    let url = url.and_then(|url| url.map_err(|message| section.fault("url", message)).ok());
    let security = security(section);
    let user = user(section);
    let trust = trust(section);
    let timeout = section.duration_or_default("timeout");
    let session_timeout = section.duration_or_default("sessionTimeout");
    let bounds = bounds(section);
    Some(Bus {
        url: url?,
        security,
        user: user?,
        trust: trust?,
        timeout,
        session_timeout,
        bounds,
    })
}

/// `bounds: {message, text, array}`.
fn bounds(section: &Section<'_>) -> Bounds {
    let Some(inner) = section.section("bounds") else {
        return Bounds::default();
    };
    let bounds = Bounds {
        message: inner.integer_or_default("message"),
        text: inner.integer_or_default("text"),
        array: inner.integer_or_default("array"),
    };
    section.absorb(inner);
    bounds
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
            section.pass_over(&["securityPolicy", "securityMode"]);
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
        let unprotected = inner.boolean_or_default("allowUnprotected");
        section.absorb(inner);
        section.pass_over(&["userName", "password"]);
        if certificate.is_some() {
            section.fault("certificate", "write user or certificate, not both");
        }
        return Some(User::Name {
            name: name?,
            password,
            unprotected,
        });
    }
    let name = section.text("userName");
    let password = section.text("password").unwrap_or_default();
    match (name, certificate) {
        (Some(name), certificate) => {
            if certificate.is_some() {
                section.warn("certificate", "not used: the user name is");
            }
            // KubeEdge has no key for it: who writes that nothing is protected has
            // said so of the password too.
            let unprotected = says_none(section);
            if unprotected {
                section.warn(
                    "password",
                    "sent unprotected, as securityMode None says; write user: {name, passwordFile} to have it protected",
                );
            }
            Some(User::Name {
                name: name.to_owned(),
                password: Password::Text(password.to_owned()),
                unprotected,
            })
        }
        (None, Some(certificate)) => Some(certificate),
        (None, None) => Some(User::Anonymous),
    }
}

/// Whether KubeEdge's keys ask for no protection, in so many words.
fn says_none(section: &Section<'_>) -> bool {
    let is_none = |key| {
        let word = section.value(key).and_then(Value::as_str);
        word.is_some_and(|word| word.eq_ignore_ascii_case("none"))
    };
    !section.has("security") && (is_none("securityMode") || is_none("securityPolicy"))
}

fn certificate(section: &Section<'_>) -> Option<User> {
    let (file, key) = match section.value("certificate") {
        Some(Value::Object(_)) => {
            let inner = section.section("certificate")?;
            let files = (inner.text("file"), inner.text("key"));
            section.absorb(inner);
            section.pass_over(&["privateKey"]);
            files
        }
        Some(_) => (section.text("certificate"), section.text("privateKey")),
        None => {
            section.pass_over(&["privateKey"]);
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
            let text = inner.text("thumbprint");
            let is_there = text.is_some();
            let text = text.unwrap_or_default();
            let digits: String = text
                .chars()
                .filter(|character| !matches!(character, ':' | ' '))
                .collect::<String>()
                .to_ascii_lowercase();
            let is_sha1 =
                digits.len() == 40 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            if is_there && !is_sha1 {
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

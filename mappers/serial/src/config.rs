//! From `configData` to buses, units and points; all faults at once.

use std::{
    collections::BTreeMap,
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use longshore_sdk::{
    Delivery, DeviceConfig, DiscoverError, Discovered, Fault, MethodConfig, Parsed, PlanPoint,
    Planned, Protocol, RequestError, SampleValue,
    config::{self, Section},
};
use serde_json::{Map, Value};

use crate::{
    bus::{Bus, Link, Unit},
    driver::Line,
    framer::MAX_FRAME,
    keys,
    options::{self, Parameters},
    plan::{self, Request},
    point::{self, Head, Point},
    ports::Roots,
    template::{Filling, Template},
};

/// Opening a connection to a serial server over a slow network takes this long.
const CONNECT: Duration = Duration::from_secs(5);
/// What the schedule grants beyond the time that a line takes by itself.
const MARGIN: Duration = Duration::from_millis(500);

/// The serial protocol, with the ports that are open.
#[derive(Debug, Clone, Default)]
pub struct Serial {
    pub(crate) roots: Roots,
    pub(crate) open: OpenPorts,
}

/// The ports that are open by their true names, with the bus of each.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenPorts(Arc<Mutex<BTreeMap<PathBuf, (Bus, usize)>>>);

/// A port that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    ports: OpenPorts,
    path: PathBuf,
}

impl OpenPorts {
    /// Takes a port for a bus.
    ///
    /// # Errors
    /// Another bus has it: with other settings, or under another name.
    pub(crate) fn take(&self, path: PathBuf, bus: &Bus) -> Result<Taken, RequestError> {
        let mut ports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match ports.get_mut(&path) {
            Some((other, count)) if other == bus => *count += 1,
            Some((other, _)) => {
                let message = if other.settings == bus.settings {
                    format!(
                        "{} is open as `{other}` for other devices; name the port alike in all devices on it",
                        path.display()
                    )
                } else {
                    format!(
                        "{} is open with {} for other devices, and this one has {}; devices on one port need the same settings",
                        path.display(),
                        other.settings,
                        bus.settings
                    )
                };
                return Err(RequestError::Line(message));
            }
            None => {
                ports.insert(path.clone(), (bus.clone(), 1));
            }
        }
        drop(ports);
        Ok(Taken {
            ports: self.clone(),
            path,
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut ports = self.ports.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = ports.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                ports.remove(&self.path);
            }
        }
    }
}

impl Protocol for Serial {
    type Bus = Bus;
    type Unit = Unit;
    type Point = Point;
    type Request = Request;
    type Connection = Line;

    /// The mapper's configuration: where the kernel shows its devices.
    fn new(config: &Value) -> Result<Self, Vec<Fault>> {
        let roots = config::of_mapper(&keys::MAPPER, config, |section| {
            let defaults = Roots::default();
            Roots {
                sysfs: section.text("sysfs").map_or(defaults.sysfs, Into::into),
                dev: section.text("dev").map_or(defaults.dev, Into::into),
            }
        })?;
        let open = OpenPorts::default();
        Ok(Self { roots, open })
    }

    fn parse(&self, device: &DeviceConfig) -> Result<Parsed<Self>, Vec<Fault>> {
        let section = Section::new(&keys::DEVICE, "protocol", &device.protocol);
        let bus = options::bus(&section);
        // A text: `01` is not `1`.
        let address = section.label("address");
        let mut parameters = options::parameters(&section, Parameters::new());
        if let Some(address) = &address {
            parameters.insert("address".to_owned(), SampleValue::String(address.clone()));
        }
        let link = options::link(&section, &parameters);
        let (faults, mut warnings) = section.finish();
        let (Some(bus), true) = (bus, faults.is_empty()) else {
            return Err(faults);
        };
        let points = config::of_points(
            &keys::PROPERTY,
            device,
            &mut warnings,
            ("request", "cannot be read"),
            |section, point| point::parse(section, point, &link, &parameters),
        );
        config::of_methods(&keys::METHOD, device, &mut warnings, |section| {
            Method::read(section, &link)
        });
        let unit = Unit {
            address: address.unwrap_or_default(),
            link: Arc::new(link),
        };
        Ok(Parsed {
            bus,
            unit,
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

    fn connect(&self, bus: &Bus) -> impl Future<Output = Result<Line, RequestError>> + Send {
        Line::open(self.clone(), bus.clone())
    }

    fn connect_timeout(&self, bus: &Bus) -> Duration {
        CONNECT + bus.settings.pause_after_connect
    }

    fn timeout(&self, bus: &Bus, unit: &Unit) -> Duration {
        // The line keeps to the timeout by itself. Before it come the gap, the
        // wait for a late answer, and the request's time on the line.
        let link = &unit.link;
        let exchange = link.gap + 2 * link.timeout + bus.time_of(MAX_FRAME);
        let greeting = link.handshake.as_ref().map_or(Duration::ZERO, |handshake| {
            handshake.pause + link.timeout + bus.time_of(MAX_FRAME)
        });
        let wait = if link.stream {
            link.silent_after
        } else {
            Duration::ZERO
        };
        exchange + greeting + wait + MARGIN
    }

    fn delivery(&self, _unit: &Unit, point: &Point) -> Delivery {
        match point.request() {
            Some(_) => Delivery::Polled,
            None => Delivery::Pushed,
        }
    }

    /// The ports of this machine; `request` has no keys.
    fn discover(
        &self,
        request: &Map<String, Value>,
    ) -> impl Future<Output = Result<Discovered, DiscoverError>> + Send {
        let section = Section::new(&keys::DISCOVERY, "", request);
        let (_, unknown) = section.finish();
        let roots = self.roots.clone();
        async move {
            let mut found = roots.discover();
            let notes = unknown.into_iter().map(|fault| fault.to_string());
            found.notes.extend(notes);
            Ok(found)
        }
    }
}

/// A method of a device: what is sent, and what the answer looks like.
pub(crate) struct Method {
    request: Template,
    pub(crate) response: Option<Head>,
    parameters: Parameters,
}

impl Method {
    fn read(section: &Section<'_>, link: &Link) -> Option<Self> {
        let request = point::template(section, "request");
        let parameters = options::parameters(section, Parameters::new());
        let response = point::head(section, "response", &parameters);
        let request = request?;
        point::needs_checksum(section, "request", &request, link);
        section.is_sound().then_some(Self {
            request,
            response,
            parameters,
        })
    }

    /// As the host sends it with a call.
    pub(crate) fn parse(method: &MethodConfig, link: &Link) -> Result<Self, RequestError> {
        let path = format!("{}.config", method.name);
        let section = Section::new(&keys::METHOD, path, &method.config);
        let parsed = Self::read(&section, link);
        let (faults, _) = section.finish();
        match (parsed, config::joined(faults)) {
            (Some(method), None) => Ok(method),
            (_, Some(fault)) => Err(RequestError::InvalidValue(fault.to_string())),
            (None, None) => Err(RequestError::InvalidValue(format!(
                "method `{}` cannot be called",
                method.name
            ))),
        }
    }

    /// What is sent for these arguments.
    pub(crate) fn request(&self, unit: &Unit, arguments: &Value) -> Result<Vec<u8>, RequestError> {
        let lookup = |name: &str| match arguments.get(name) {
            Some(Value::Bool(truth)) => Some(SampleValue::Bool(*truth)),
            Some(Value::Number(number)) => match number.as_i64() {
                Some(whole) => Some(SampleValue::Int(whole)),
                None => number.as_f64().map(SampleValue::Float),
            },
            Some(Value::String(text)) => Some(SampleValue::String(text.clone())),
            Some(_) => None,
            None if name == "address" => Some(SampleValue::String(unit.address.clone())),
            None => self.parameters.get(name).cloned(),
        };
        let filling = Filling {
            lookup: &lookup,
            checksum: unit.link.checksum.as_ref(),
            codec: None,
            truths: ("1", "0"),
            reserved: &unit.link.reserved,
        };
        let bytes = self.request.render(&filling);
        bytes
            .map(|bytes| unit.link.sent(bytes))
            .map_err(|error| RequestError::InvalidValue(error.to_string()))
    }
}

//! A simple protocol: one device on a line, whose values are read one after the
//! other. It needs what a device and a point are called, `connect`, `read` and
//! `write`; all else is the schedule's and stands here.
//!
//! What asks for more (several devices on a bus, several points in one exchange,
//! values that come by themselves, methods) is a [`Protocol`] of its own.
//!
//! ```
//! use std::collections::BTreeMap;
//! use longshore_sdk::{RequestError, SampleValue, polled::Polled};
//!
//! longshore_sdk::keys! {
//!     /// A shelf.
//!     #[derive(Debug, Clone, PartialEq, Eq, Hash)]
//!     pub struct Shelf {
//!         /// Its number.
//!         number: u8,
//!     }
//! }
//! longshore_sdk::keys! {
//!     /// A box on it.
//!     #[derive(Debug, Clone)]
//!     pub struct Box {
//!         /// What stands on it.
//!         label: String,
//!     }
//! }
//!
//! /// The shelf as somebody stands before it.
//! struct Open(BTreeMap<String, i64>);
//!
//! impl Polled for Open {
//!     type Device = Shelf;
//!     type Point = Box;
//!
//!     async fn connect(_: &Shelf) -> Result<Self, RequestError> {
//!         Ok(Self(BTreeMap::from([("screws".to_owned(), 12)])))
//!     }
//!
//!     async fn read(&mut self, point: &Box) -> Result<SampleValue, RequestError> {
//!         let count = self.0.get(&point.label).copied();
//!         let count = count.ok_or_else(|| RequestError::Refused("no such box".to_owned()))?;
//!         Ok(count.into())
//!     }
//! }
//! ```
//! and `export_mapper!(ProtocolMapper<PolledProtocol<Open>>, …)` makes the library.

use std::{
    fmt::{self, Debug},
    future::Future,
    hash::Hash,
    marker::PhantomData,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use crate::{
    Connection, DeviceConfig, Fault, Parsed, PlanPoint, Planned, Protocol, Reason, RequestError,
    SampleValue, Samples,
    config::{self, Section},
    keys::Keys,
    schema::Document,
};

/// An answer that takes longer does not come.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The open connection to a device.
pub trait Polled: Sized + Send + 'static {
    /// What a device's `protocol.configData` holds.
    type Device: Keys + Clone + Eq + Hash + Debug + Send + Sync + 'static;
    /// What a property's `configData` holds.
    type Point: Keys + Clone + Send + Sync + 'static;

    /// Opens it. Never in a hurry: the schedule bounds the time, and tries again.
    ///
    /// # Errors
    /// [`RequestError::Line`].
    fn connect(device: &Self::Device) -> impl Future<Output = Result<Self, RequestError>> + Send;

    /// The value of a point.
    ///
    /// # Errors
    /// [`RequestError::Refused`] and [`RequestError::Garbled`] cost the point,
    /// anything else the connection.
    fn read(
        &mut self,
        point: &Self::Point,
    ) -> impl Future<Output = Result<SampleValue, RequestError>> + Send;

    /// Sets a point. Numbers come in any kind that holds them.
    ///
    /// # Errors
    /// [`RequestError::InvalidValue`] for a value that was not sent.
    fn write(
        &mut self,
        _point: &Self::Point,
        _value: &SampleValue,
    ) -> impl Future<Output = Result<(), RequestError>> + Send {
        async { Err(RequestError::Refused("it cannot be set".to_owned())) }
    }

    /// How long one answer may take.
    fn timeout(_device: &Self::Device) -> Duration {
        TIMEOUT
    }

    /// Faults of a device that its table cannot tell.
    fn check_device(_device: &Self::Device, _section: &Section<'_>) {}

    /// The same of a point.
    fn check_point(_point: &Self::Point, _section: &Section<'_>) {}
}

/// The schema of such a protocol, for `schema.json` and its test.
#[must_use]
pub fn document<P: Polled>(protocol: &'static str, description: &'static str) -> Document {
    Document {
        protocol,
        description,
        device: P::Device::TABLE,
        property: P::Point::TABLE,
        method: None,
        discovery: None,
        mapper: None,
    }
}

/// The [`Protocol`] that a [`Polled`] is.
pub struct PolledProtocol<P>(PhantomData<fn() -> P>);

/// A device as its bus; its name in messages is its configuration.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Line<D>(D);

impl<D: Debug> fmt::Display for Line<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The one device of a line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Only;

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the device")
    }
}

/// A connection that knows whether an answer is outstanding: one that came too
/// late would be taken for that of the next question.
pub struct Open<P> {
    inner: P,
    in_step: bool,
}

impl<P: Polled> Protocol for PolledProtocol<P> {
    type Bus = Line<P::Device>;
    type Unit = Only;
    type Point = P::Point;
    type Request = (u32, P::Point);
    type Connection = Open<P>;

    fn new(_: &Value) -> Result<Self, Vec<Fault>> {
        Ok(Self(PhantomData))
    }

    fn parse(&self, device: &DeviceConfig) -> Result<Parsed<Self>, Vec<Fault>> {
        let section = Section::new(P::Device::TABLE, "protocol", &device.protocol);
        let read = P::Device::read(&section);
        if let Some(read) = &read {
            P::check_device(read, &section);
        }
        let (faults, mut warnings) = section.finish();
        let (Some(bus), true) = (read, faults.is_empty()) else {
            return Err(faults);
        };
        let points = config::of_points(
            P::Point::TABLE,
            device,
            &mut warnings,
            ("", "cannot be read"),
            |section, _| {
                let point = P::Point::read(section)?;
                P::check_point(&point, section);
                Some(point)
            },
        );
        Ok(Parsed {
            bus: Line(bus),
            unit: Only,
            points,
            warnings,
        })
    }

    fn plan(
        &self,
        _: &Self::Bus,
        _: &Only,
        points: &[PlanPoint<'_, P::Point>],
    ) -> Vec<Planned<Self::Request>> {
        let one = |of: &PlanPoint<'_, P::Point>| Planned {
            request: (of.id, of.point.clone()),
            points: vec![of.id],
        };
        points.iter().map(one).collect()
    }

    async fn connect(&self, bus: &Self::Bus) -> Result<Open<P>, RequestError> {
        let inner = P::connect(&bus.0).await?;
        Ok(Open {
            inner,
            in_step: true,
        })
    }

    fn timeout(&self, bus: &Self::Bus, _: &Only) -> Duration {
        P::timeout(&bus.0)
    }
}

impl<P: Polled> Connection<PolledProtocol<P>> for Open<P> {
    async fn read(
        &mut self,
        _: &Only,
        (id, point): &(u32, P::Point),
        samples: &mut Samples,
    ) -> Result<(), RequestError> {
        self.in_step = false;
        let read = self.inner.read(point).await;
        let now = now();
        match read {
            Ok(SampleValue::Bool(value)) => samples.push_bool(*id, value, now),
            Ok(SampleValue::Int(value)) => samples.push_i64(*id, value, now),
            Ok(SampleValue::Uint(value)) => samples.push_u64(*id, value, now),
            Ok(SampleValue::Float(value)) => samples.push_f64(*id, value, now),
            Ok(SampleValue::String(value)) => samples.push_str(*id, &value, now),
            Ok(SampleValue::Bytes(value)) => samples.push_bytes(*id, &value, now),
            Err(RequestError::Refused(why)) => samples.push_bad(*id, Reason::Refused, &why, now),
            Err(RequestError::Garbled(why)) => samples.push_bad(*id, Reason::Decode, &why, now),
            Err(other) => return Err(other),
        }
        self.in_step = true;
        Ok(())
    }

    async fn write(
        &mut self,
        _: &Only,
        point: &P::Point,
        value: &SampleValue,
    ) -> Result<(), RequestError> {
        self.in_step = false;
        let written = self.inner.write(point, value).await;
        self.in_step = matches!(
            written,
            Ok(()) | Err(RequestError::Refused(_) | RequestError::InvalidValue(_))
        );
        written
    }

    fn usable(&self) -> bool {
        self.in_step
    }
}

/// When the answer came.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as i64)
}

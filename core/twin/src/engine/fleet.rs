//! The devices and their points.
//!
//! Devices have an id, a dense index as well, and a name; each of their
//! properties has a point. What holds between them holds because only this
//! module changes it: a name leads to a device that is there, the points of a
//! device say that they are its, and a point of no device is free.
//!
//! Whoever has an id from within the engine asks with [`Fleet::device`], which
//! tells when it leads nowhere. An id that comes from a mapper or goes through
//! the store may be of a device that went meanwhile: [`Fleet::device_if_there`].

mod device;
mod points;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use longshore_types::{
    DeviceName,
    effective::{EffectiveProperty, Kind},
};

use self::points::{Points, REUSE_MS};
use super::{Dangling, Now, configuration::told};
use crate::{
    blob::SavedValue,
    desired::DesiredValue,
    point::{Point, fragment},
    rules::Rules,
};

pub(super) use self::device::{Device, Setup};

/// See the module.
pub(super) struct Fleet {
    devices: Vec<Option<Box<Device>>>,
    by_name: HashMap<DeviceName, u32>,
    /// Ids of removed devices, and from when on they may be used again.
    free: VecDeque<(u32, u64)>,
    points: Points,
    /// What properties of a kind share, while devices come.
    kinds: HashMap<Kind, Shared>,
    dangling: Arc<Dangling>,
}

/// What is the same for all properties of a kind.
#[derive(Clone)]
pub(super) struct Shared {
    rules: Arc<Rules>,
    name: Arc<str>,
    fragment: Arc<str>,
    /// What its mapper is told of each, beside the point's id.
    pub(super) told: Arc<str>,
}

/// A property that its device has no more.
pub(super) struct Gone {
    pub(super) property: Arc<str>,
    pub(super) point: u32,
}

impl Fleet {
    pub(super) fn new(dangling: Arc<Dangling>) -> Self {
        Self {
            devices: Vec::new(),
            by_name: HashMap::new(),
            free: VecDeque::new(),
            points: Points::default(),
            kinds: HashMap::new(),
            dangling,
        }
    }

    /// Devices and properties.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.by_name.len(), self.points.len())
    }

    pub(super) fn id(&self, name: &DeviceName) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = (&DeviceName, u32)> {
        self.by_name.iter().map(|(name, id)| (name, *id))
    }

    /// A device that has to be there; told if it is not.
    #[inline]
    #[track_caller]
    pub(super) fn device(&self, id: u32) -> Option<&Device> {
        let device = self.device_if_there(id);
        if device.is_none() {
            self.dangling.ours("device", u64::from(id));
        }
        device
    }

    /// A device that has to be there; told if it is not.
    #[inline]
    #[track_caller]
    pub(super) fn device_mut(&mut self, id: u32) -> Option<&mut Device> {
        let device = self
            .devices
            .get_mut(id as usize)
            .and_then(Option::as_deref_mut);
        if device.is_none() {
            self.dangling.ours("device", u64::from(id));
        }
        device
    }

    /// A device that may have gone by right.
    #[inline]
    pub(super) fn device_if_there(&self, id: u32) -> Option<&Device> {
        self.devices.get(id as usize)?.as_deref()
    }

    /// A device that may have gone by right.
    #[inline]
    pub(super) fn device_mut_if_there(&mut self, id: u32) -> Option<&mut Device> {
        self.devices.get_mut(id as usize)?.as_deref_mut()
    }

    /// Whether a device had this id at any time.
    pub(super) fn was_device(&self, id: u32) -> bool {
        (id as usize) < self.devices.len()
    }

    pub(super) fn devices(&self) -> impl Iterator<Item = (u32, &Device)> {
        let devices = (0..).zip(&self.devices);
        devices.filter_map(|(id, device)| Some((id, device.as_deref()?)))
    }

    pub(super) fn devices_mut(&mut self) -> impl Iterator<Item = (u32, &mut Device)> {
        let devices = (0..).zip(&mut self.devices);
        devices.filter_map(|(id, device)| Some((id, device.as_deref_mut()?)))
    }

    /// The devices that a mapper serves.
    pub(super) fn of_mapper(&self, mapper: usize) -> Vec<u32> {
        let served = |(_, device): &(u32, &Device)| device.mapper == Some(mapper);
        self.devices().filter(served).map(|(id, _)| id).collect()
    }

    /// The points of a device that has to be there, to go through them while
    /// the engine works.
    #[track_caller]
    pub(super) fn points_of(&self, id: u32) -> Vec<u32> {
        (self.device(id)).map_or_else(Vec::new, |device| device.points.clone())
    }

    /// A device comes. Its name is not taken.
    pub(super) fn add(&mut self, name: DeviceName, uid: &str, now: Now) -> u32 {
        let device = Some(Box::new(Device::new(name.clone(), uid.to_owned(), now)));
        let id = match self.free.front().copied() {
            Some((id, from)) if from <= now.ms => {
                self.free.pop_front();
                self.devices[id as usize] = device;
                id
            }
            _ => {
                self.devices.push(device);
                (self.devices.len() - 1) as u32
            }
        };
        self.by_name.insert(name, id);
        id
    }

    /// A device goes, and its points with it. None where there is none of this
    /// name.
    pub(super) fn remove(&mut self, name: &DeviceName, now: Now) -> Option<(u32, Box<Device>)> {
        let id = self.by_name.remove(name)?;
        let device = self.devices.get_mut(id as usize).and_then(Option::take);
        if device.is_none() {
            self.dangling.ours("device of a name", u64::from(id));
        }
        let device = device?;
        for point in &device.points {
            self.points.remove(*point, now);
        }
        self.free.push_back((id, now.ms + REUSE_MS));
        Some((id, device))
    }

    /// Gives each property of a device its point: the former one of that name,
    /// or a new one with what is `saved` of it. Gives those that went.
    pub(super) fn lay_out(
        &mut self,
        id: u32,
        properties: &[EffectiveProperty],
        saved: Vec<SavedValue>,
        pushes: bool,
        now: Now,
    ) -> Vec<Gone> {
        let Some(device) = self.device_mut(id) else {
            return Vec::new();
        };
        let mut former: HashMap<Arc<str>, u32> = std::mem::take(&mut device.names)
            .into_iter()
            .zip(std::mem::take(&mut device.points))
            .collect();
        let mut saved: HashMap<_, _> = saved
            .into_iter()
            .map(|value| (value.name.clone(), value))
            .collect();
        let mut names = Vec::with_capacity(properties.len());
        let mut points = Vec::with_capacity(properties.len());
        for property in properties {
            let shared = self.share(property);
            let (name, point) = match former.remove_entry(property.name.as_str()) {
                Some((name, point)) => {
                    self.points.change_rules(point, shared.rules);
                    (name, point)
                }
                None => {
                    let (fragment, rules) = (shared.fragment, shared.rules);
                    let point = self.points.add(id, fragment, rules, now);
                    if let Some(value) = saved.remove(&property.name) {
                        self.points.row_mut(point).restore(value);
                    }
                    (shared.name, point)
                }
            };
            self.points.set_staleness(point, pushes);
            names.push(name);
            points.push(point);
        }
        if let Some(device) = self.device_mut(id) {
            device.names = names;
            device.points = points;
        }
        let mut gone = Vec::with_capacity(former.len());
        for (property, point) in former {
            self.points.remove(point, now);
            gone.push(Gone { property, point });
        }
        gone
    }

    /// What a property shares with others of its kind, made with the first of them.
    fn share(&mut self, property: &EffectiveProperty) -> Shared {
        if let Some(shared) = property.kind.and_then(|kind| self.kinds.get(&kind)) {
            return shared.clone();
        }
        let shared = Shared {
            rules: self.points.intern(Rules::new(property)),
            name: property.name.as_str().into(),
            fragment: fragment(&property.name),
            told: told(property).into(),
        };
        if let Some(kind) = property.kind {
            self.kinds.insert(kind, shared.clone());
        }
        shared
    }

    /// What a property shares with others of its kind, if that was made.
    pub(super) fn shared(&self, property: &EffectiveProperty) -> Option<&Shared> {
        self.kinds.get(&property.kind?)
    }

    /// No more devices come for now.
    pub(super) fn forget_kinds(&mut self) {
        self.kinds = HashMap::new();
    }

    /// The mapper turned out to send values by itself, or not to.
    pub(super) fn set_staleness(&mut self, mapper: usize, pushes: bool) {
        for device in self.devices.iter().flatten() {
            if device.mapper == Some(mapper) {
                for point in &device.points {
                    self.points.set_staleness(*point, pushes);
                }
            }
        }
    }

    /// A point of an id that may never have been given out.
    #[inline]
    pub(super) fn point_if_known(&self, id: u32) -> Option<&Point> {
        self.points.get(id)
    }

    /// A point of a device, or one that is free again.
    #[inline]
    pub(super) fn point(&self, id: u32) -> &Point {
        self.points.row(id)
    }

    /// A point of a device, or one that is free again.
    #[inline]
    pub(super) fn point_mut(&mut self, id: u32) -> &mut Point {
        self.points.row_mut(id)
    }

    /// The desired value of a point that has one; told if it has none.
    #[track_caller]
    pub(super) fn desired(&self, id: u32) -> Option<&DesiredValue> {
        let desired = self.points.row(id).desired.as_deref();
        if desired.is_none() {
            (self.dangling).ours("point with a desired value", u64::from(id));
        }
        desired
    }

    /// The desired value of a point that has one; told if it has none.
    #[track_caller]
    pub(super) fn desired_mut(&mut self, id: u32) -> Option<&mut DesiredValue> {
        let desired = self.points.row_mut(id).desired.as_deref_mut();
        if desired.is_none() {
            (self.dangling).ours("point with a desired value", u64::from(id));
        }
        desired
    }

    /// A point that a reading came of.
    #[inline]
    pub(super) fn read(&mut self, id: u32, now_ms: u32) -> &mut Point {
        self.points.read(id, now_ms)
    }

    /// Whether a reading came after this time.
    pub(super) fn is_read_since(&self, id: u32, since_ms: u32) -> bool {
        self.points.is_read_since(id, since_ms)
    }

    /// Good points that were not read for too long.
    pub(super) fn stale(&self, now_ms: u32) -> Vec<u32> {
        self.points.stale(now_ms)
    }

    /// In how many milliseconds a point may be stale at the soonest.
    pub(super) fn next_stale(&self, now_ms: u32) -> Option<u32> {
        self.points.next_stale(now_ms)
    }

    /// A property of a device that has to be there.
    #[track_caller]
    pub(super) fn property(&self, id: u32, property: &str) -> Option<&Point> {
        let point = self.device(id)?.point(property)?;
        Some(self.point(point))
    }

    /// The place of a point among its device's properties, and its name. Told
    /// when it is none of them.
    #[track_caller]
    pub(super) fn place(&self, id: u32, point: u32) -> Option<(usize, &Arc<str>)> {
        let device = self.device(id)?;
        // In order wherever the device never changed.
        let by_order = device.points.binary_search(&point).ok();
        let place = by_order.or_else(|| device.points.iter().position(|p| *p == point));
        if place.is_none() {
            self.dangling.ours("point of a device", u64::from(point));
        }
        place.and_then(|place| Some((place, device.names.get(place)?)))
    }

    /// Gives up room for what did not come.
    pub(super) fn shrink(&mut self) {
        self.points.shrink();
    }
}

#[cfg(test)]
mod tests;

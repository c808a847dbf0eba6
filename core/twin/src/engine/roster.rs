//! Which mappers there are, which may change while the node runs.

use std::collections::VecDeque;

use longshore_types::schema_check::Document;

use super::{Engine, MapperInfo, MapperSlot, Now, OUTAGE_MS, device::mapper_faults};

impl Engine {
    /// Whether this is what is known of the mapper.
    pub fn knows_mapper(&self, mapper: usize, info: &MapperInfo) -> bool {
        self.mappers
            .get(mapper)
            .is_some_and(|slot| slot.info == *info)
    }

    /// Whether devices of this protocol may send values by themselves.
    pub(super) fn pushes(&self, protocol: &str) -> bool {
        let mut mappers = self.mappers.iter();
        mappers.any(|slot| slot.info.pushes && slot.info.protocol.eq_ignore_ascii_case(protocol))
    }

    /// From now on these points are stale after the time that their rules say.
    pub(super) fn set_staleness(&mut self, points: &[u32], pushes: bool) {
        for point in points {
            let at = *point as usize;
            self.stale_after[at] = self.points[at].rules.stale_ms(pushes);
        }
    }

    /// There is a mapper more, or one turned out to serve another protocol.
    /// Devices that nobody served until now may be served.
    pub fn know_mapper(&mut self, mapper: usize, info: MapperInfo, now: Now) {
        match self.mappers.get_mut(mapper) {
            Some(slot) => slot.info = info,
            None => self.mappers.push(MapperSlot {
                info,
                up: false,
                down_reason: "the mapper is starting".into(),
                outage_at: Some(now.ms + OUTAGE_MS),
                doubtful: false,
                hands_over: false,
                queue: VecDeque::new(),
                configures: 0,
                writes: 0,
            }),
        }
        let pushes = self.mappers[mapper].info.pushes;
        let of_mapper = self
            .devices
            .iter()
            .flatten()
            .filter(|d| d.mapper == Some(mapper));
        let points: Vec<u32> = of_mapper.flat_map(|device| device.points.clone()).collect();
        self.set_staleness(&points, pushes);
        for device in self.devices.iter_mut().flatten() {
            if device.mapper.is_none() {
                // Its objects are gone through again, whatever they are.
                device.wants_config = true;
            }
        }
        self.wants_objects = true;
    }

    /// Whether devices of this mapper wait for it, and nobody looked at their
    /// configuration.
    pub fn wants_check(&self, mapper: usize) -> bool {
        let mut waiting = self.unchecked.iter();
        waiting.any(|id| self.device(*id).is_some_and(|d| d.mapper == Some(mapper)))
    }

    /// Looks at those configurations in place of the mapper, which is not
    /// there. What it says once it is back takes the place of this.
    pub fn check_by_schema(&mut self, mapper: usize, schema: Option<Document>, now: Now) {
        let of_mapper = |id: &u32| self.device(*id).is_some_and(|d| d.mapper == Some(mapper));
        let ids: Vec<u32> = self.unchecked.iter().copied().filter(of_mapper).collect();
        for id in ids {
            self.unchecked.remove(&id);
            let places = self.places(id);
            let (Some(schema), Some(device)) = (&schema, self.device_mut(id)) else {
                continue;
            };
            // Empty when a mapper had it before, and found nothing wrong.
            let Ok(configuration) = serde_json::from_str(&device.config) else {
                continue;
            };
            let faults = schema.check_device(&configuration);
            let text = serde_json::to_string(&faults).unwrap_or_default();
            device.set_mapper_faults(mapper_faults(&text, &places), now);
            device.judged = device.fingerprint;
            self.touch(id, now);
        }
    }
}

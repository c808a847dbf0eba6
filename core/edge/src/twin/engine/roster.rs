//! Which mappers there are, which may change while the node runs.

use std::collections::VecDeque;

use super::{Engine, MapperInfo, MapperSlot, Now, OUTAGE_MS};

impl Engine {
    /// Whether this is what is known of the mapper.
    pub(crate) fn knows_mapper(&self, mapper: usize, name: &str, protocol: &str) -> bool {
        self.mappers.get(mapper).is_some_and(|slot| {
            slot.info.name == name && slot.info.protocol.eq_ignore_ascii_case(protocol)
        })
    }

    /// There is a mapper more, or one turned out to serve another protocol.
    /// Devices that nobody served until now may be served.
    pub(crate) fn know_mapper(&mut self, mapper: usize, info: MapperInfo, now: Now) {
        match self.mappers.get_mut(mapper) {
            Some(slot) => slot.info = info,
            None => self.mappers.push(MapperSlot {
                info,
                up: false,
                down_reason: "the mapper is starting".to_owned(),
                outage_at: Some(now.ms + OUTAGE_MS),
                doubtful: false,
                queue: VecDeque::new(),
                configures: 0,
                writes: 0,
            }),
        }
        for device in self.devices.iter_mut().flatten() {
            if device.mapper.is_none() {
                // Its objects are gone through again, whatever they are.
                device.wants_config = true;
            }
        }
        self.wants_objects = true;
    }
}

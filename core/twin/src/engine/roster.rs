//! Which mappers there are, which may change while the node runs.

use longshore_types::schema_check::Document;

use super::{Engine, MapperInfo, Now, configuration::mapper_faults};

impl Engine {
    /// Whether this is what is known of the mapper.
    pub fn knows_mapper(&self, mapper: usize, info: &MapperInfo) -> bool {
        self.links.knows(mapper, info)
    }

    /// Something came of a mapper of this name, and there is none. It is told
    /// and counted, as what it said is lost.
    pub fn unknown_mapper(&self, name: &str) {
        self.dangling.unknown_mapper(name);
    }

    /// There is a mapper more, or one turned out to serve another protocol.
    /// Devices that nobody served until now may be served.
    pub fn know_mapper(&mut self, mapper: usize, info: MapperInfo, now: Now) {
        self.fleet.set_staleness(mapper, info.pushes);
        self.due.stale_soon(now);
        self.links.know(mapper, info, now.ms);
        for (_, device) in self.fleet.devices_mut() {
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
        self.links.has_unchecked(mapper)
    }

    /// Looks at those configurations in place of the mapper, which is not
    /// there. What it says once it is back takes the place of this.
    pub fn check_by_schema(&mut self, mapper: usize, schema: Option<Document>, now: Now) {
        let unchecked = self.links.take_unchecked(mapper);
        let Some(schema) = schema else {
            return;
        };
        for id in unchecked {
            let places = self.places(id);
            let Some(device) = self.fleet.device_mut(id) else {
                continue;
            };
            // Whoever drops a configuration takes the device from this list.
            let Ok(configuration) = serde_json::from_str(&device.config) else {
                self.dangling.ours("device to check", u64::from(id));
                continue;
            };
            let faults = schema.check_device(&configuration);
            let text = serde_json::to_string(&faults).unwrap_or_default();
            device.set_mapper_faults(mapper_faults(&text, &places), now);
            device.is_judged();
            self.touch(id, now);
        }
    }
}

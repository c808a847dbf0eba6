//! The broker with clients that are cut off, a disk that may refuse, and restarts.

mod bounds;
mod client;
mod disk;
mod lives;
mod rules;

use std::{sync::Arc, time::Instant};

use self::{client::Client, disk::Disk};
use super::Core;
use crate::{
    access::{Access, Who},
    limits::Limits,
};

/// Anybody may do anything but speak as the edge.
struct Open;

impl Access for Open {
    fn admits(&self, _: Option<&str>, _: Option<&[u8]>) -> bool {
        true
    }
    fn may_publish(&self, _: Who<'_>, topic: &str) -> bool {
        !topic.starts_with("edge/")
    }
    fn may_subscribe(&self, _: Who<'_>, filter: &str) -> bool {
        filter != "secret"
    }
    fn listens(&self, topic: &str) -> bool {
        topic.starts_with("ask/")
    }
}

/// A broker and its disk.
struct World {
    core: Core,
    disk: Disk,
    now: Instant,
    limits: Limits,
}

impl World {
    fn new(limits: Limits) -> Self {
        Self {
            core: Core::new(limits.clone(), Arc::new(Open)),
            disk: Disk::default(),
            now: Instant::now(),
            limits,
        }
    }

    /// Writes what is to be written, if the disk takes it.
    fn commit(&mut self, works: bool) {
        if let Some(batch) = self.core.batch(self.now) {
            if works {
                self.disk.write(&batch);
            }
            self.core.batch_done(works, self.now);
        } else if works {
            self.core.storage_is_well();
        }
        self.core.effects();
    }

    fn commit_all(&mut self) {
        while let Some(batch) = self.core.batch(self.now) {
            self.disk.write(&batch);
            self.core.batch_done(true, self.now);
        }
    }

    /// The broker stops in order and starts again.
    fn restart(&mut self, clients: &mut [Client]) {
        self.core.stop(self.now);
        for client in clients.iter_mut() {
            client.cut(&mut self.core, self.now);
        }
        self.commit_all();
        self.start();
    }

    /// The broker is killed; what was not written is lost.
    fn kill(&mut self, clients: &mut [Client]) {
        for client in clients.iter_mut() {
            client.connection = None;
            client.inbox.clear();
        }
        self.start();
    }

    fn start(&mut self) {
        let (limits, restored) = (self.limits.clone(), self.disk.restore());
        self.core = Core::restore(limits, Arc::new(Open), restored, self.now);
    }

    fn connect(&mut self, client: &mut Client) {
        client.connect(&mut self.core, self.now);
        self.settle(std::slice::from_mut(client));
    }

    /// Works until nobody has anything left to do.
    fn settle(&mut self, clients: &mut [Client]) {
        for _ in 0..1000 {
            self.commit_all();
            let mut idle = true;
            for client in clients.iter_mut() {
                client.pull(&mut self.core, &self.disk, self.now);
                idle &= client.is_done();
                client.work(&mut self.core, &self.disk, usize::MAX, self.now);
            }
            if idle && self.core.journal.last().is_none() {
                return;
            }
        }
        panic!("never settles: {clients:#?}");
    }

    fn assert_bounded(&self) {
        let Limits { memory, disk, .. } = self.limits;
        let core = &self.core;
        assert!(core.memory() <= memory, "{} of {memory}", core.memory());
        assert!(core.disk() <= disk, "{} of {disk}", core.disk());
    }
}

//! Devices that came or went, until the bus has taken it.
//!
//! A value that is lost is followed by a newer one; that a device came is said
//! once. So this waits for room and is never dropped. Only names wait, each once:
//! what is said of a device is said as it is then, and one that came and went
//! while nobody could be told is not told at all.

use std::collections::{HashMap, VecDeque};

use longshore_types::DeviceName;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// The names of `news`, the oldest first.
    order: VecDeque<DeviceName>,
    news: HashMap<DeviceName, News>,
}

/// What is to be told of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// It came and went, untold. It comes → `Came`.
    Nothing,
    /// It goes → `Nothing`.
    Came,
    /// It comes → `Replaced`.
    Went,
    /// It went and came: both are told, the going first. It goes → `Went`.
    Replaced,
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Member {
    Came(DeviceName),
    Went(DeviceName),
}

impl Members {
    pub(super) fn came(&mut self, name: &DeviceName) {
        self.turn(name, |former| match former {
            News::Nothing | News::Came => News::Came,
            News::Went | News::Replaced => News::Replaced,
        });
    }

    pub(super) fn went(&mut self, name: &DeviceName) {
        self.turn(name, |former| match former {
            News::Came => News::Nothing,
            // It was known before there were news of it.
            News::Nothing | News::Went | News::Replaced => News::Went,
        });
    }

    fn turn(&mut self, name: &DeviceName, next: impl FnOnce(News) -> News) {
        if let Some(news) = self.news.get_mut(name) {
            *news = next(*news);
        } else {
            self.news.insert(name.clone(), next(News::Nothing));
            self.order.push_back(name.clone());
        }
    }

    /// What has waited longest. It stays until it is told.
    pub(super) fn first(&mut self) -> Option<Member> {
        while let Some(name) = self.order.front() {
            match self.news.get(name) {
                Some(News::Came) => return Some(Member::Came(name.clone())),
                Some(News::Went | News::Replaced) => return Some(Member::Went(name.clone())),
                Some(News::Nothing) | None => self.next(),
            }
        }
        None
    }

    /// What was first is told.
    pub(super) fn told(&mut self) {
        let name = self.order.front();
        match name.and_then(|name| self.news.get_mut(name)) {
            Some(news @ News::Replaced) => *news = News::Came,
            _ => self.next(),
        }
    }

    fn next(&mut self) {
        if let Some(name) = self.order.pop_front() {
            self.news.remove(&name);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Nobody listens: whoever comes later asks who is there.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(device: &str) -> DeviceName {
        DeviceName::new("default", device).unwrap()
    }

    /// All that is told, `+` for one that came.
    fn tell(members: &mut Members) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(member) = members.first() {
            told.push(match member {
                Member::Came(name) => format!("+{}", name.name()),
                Member::Went(name) => format!("-{}", name.name()),
            });
            members.told();
        }
        assert!(members.is_empty());
        told
    }

    #[test]
    fn nothing_is_lost_while_the_bus_has_no_room() {
        let mut members = Members::default();
        for device in 0..5_000 {
            members.came(&name(&format!("d{device}")));
        }
        // Asked again and again, and the same as long as it is not told.
        for _ in 0..3 {
            assert_eq!(members.first(), Some(Member::Came(name("d0"))));
        }
        let told = tell(&mut members);
        assert_eq!(told.len(), 5_000);
        assert_eq!((&*told[0], &*told[4_999]), ("+d0", "+d4999"));
    }

    #[test]
    fn what_came_and_went_untold_is_not_told() {
        let mut members = Members::default();
        for _ in 0..100 {
            members.came(&name("a"));
            members.went(&name("a"));
        }
        members.came(&name("b"));
        assert_eq!(members.order.len(), 2, "a name waits once");
        assert_eq!(tell(&mut members), ["+b"]);
    }

    #[test]
    fn one_that_was_made_anew_goes_before_it_comes() {
        let mut members = Members::default();
        members.went(&name("a"));
        members.came(&name("a"));
        assert_eq!(members.first(), Some(Member::Went(name("a"))));
        assert_eq!(tell(&mut members), ["-a", "+a"]);
        members.went(&name("a"));
        members.came(&name("a"));
        members.went(&name("a"));
        assert_eq!(tell(&mut members), ["-a"]);
    }
}

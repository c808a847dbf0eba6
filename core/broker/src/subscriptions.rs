//! Who subscribed to what: a tree of levels.

use std::collections::HashMap;

use crate::{codec::QoS, topic::Parsed};

/// A session, by its place in the core.
pub(crate) type SessionId = usize;

/// How a session subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) as_published: bool,
    pub(crate) identifier: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscriber {
    pub(crate) session: SessionId,
    pub(crate) options: Options,
}

/// Members of a group, of whom one gets each message.
#[derive(Debug)]
pub(crate) struct Group {
    name: Box<str>,
    members: Vec<Subscriber>,
    turn: usize,
}

/// Who ends at one level.
#[derive(Debug, Default)]
struct Ending {
    each: Vec<Subscriber>,
    groups: Vec<Group>,
}

#[derive(Debug, Default)]
struct Node {
    levels: HashMap<Box<str>, Node>,
    /// Below `+`.
    any: Option<Box<Node>>,
    /// At `#`.
    rest: Ending,
    /// Here.
    here: Ending,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    root: Node,
    count: usize,
}

impl Subscriptions {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Adds or replaces one; whether it is new.
    pub(crate) fn insert(&mut self, parsed: Parsed<'_>, subscriber: Subscriber) -> bool {
        let mut node = &mut self.root;
        let mut levels = parsed.filter.split('/');
        let ending = loop {
            match levels.next() {
                None => break &mut node.here,
                Some("#") => break &mut node.rest,
                Some("+") => node = node.any.get_or_insert_default(),
                Some(level) => node = node.levels.entry(level.into()).or_default(),
            }
        };
        let new = ending.insert(parsed.group, subscriber);
        self.count += usize::from(new);
        new
    }

    /// Takes one away; whether it was there.
    pub(crate) fn remove(&mut self, parsed: Parsed<'_>, session: SessionId) -> bool {
        let levels: Vec<&str> = parsed.filter.split('/').collect();
        let removed = self.root.remove(&levels, parsed.group, session);
        self.count -= usize::from(removed);
        removed
    }

    /// Calls `found` for each who gets a message on this topic. Of a group that is
    /// one; `here` says who is connected, and so comes first.
    pub(crate) fn each(
        &mut self,
        topic: &str,
        here: &impl Fn(SessionId) -> bool,
        found: &mut impl FnMut(&Subscriber),
    ) {
        let system = topic.starts_with('$');
        self.root.each(topic, system, &mut |ending| {
            ending.each.iter().for_each(&mut *found);
            for group in &mut ending.groups {
                if let Some(member) = group.next(here) {
                    found(member);
                }
            }
        });
    }

    /// Whether anybody subscribed to it.
    pub(crate) fn any(&self, topic: &str) -> bool {
        self.root.any_at(topic, topic.starts_with('$'))
    }
}

impl Node {
    fn remove(&mut self, levels: &[&str], group: Option<&str>, session: SessionId) -> bool {
        match levels.split_first() {
            None => self.here.remove(group, session),
            Some((&"#", _)) => self.rest.remove(group, session),
            Some((&"+", below)) => {
                let Some(node) = &mut self.any else {
                    return false;
                };
                let removed = node.remove(below, group, session);
                if node.is_empty() {
                    self.any = None;
                }
                removed
            }
            Some((level, below)) => {
                let Some(node) = self.levels.get_mut(*level) else {
                    return false;
                };
                let removed = node.remove(below, group, session);
                if node.is_empty() {
                    self.levels.remove(*level);
                }
                removed
            }
        }
    }

    fn is_empty(&self) -> bool {
        let vacant = |ending: &Ending| ending.each.is_empty() && ending.groups.is_empty();
        self.levels.is_empty() && self.any.is_none() && vacant(&self.rest) && vacant(&self.here)
    }

    /// As deep as the filters are, whatever the topic.
    fn each(&mut self, topic: &str, system: bool, found: &mut impl FnMut(&mut Ending)) {
        let (level, below) = split(topic);
        // 4.7.2
        if !system {
            found(&mut self.rest);
        }
        if let Some(node) = self.levels.get_mut(level) {
            node.follow(below, found);
        }
        if !system && let Some(node) = &mut self.any {
            node.follow(below, found);
        }
    }

    fn follow(&mut self, below: Option<&str>, found: &mut impl FnMut(&mut Ending)) {
        match below {
            Some(topic) => self.each(topic, false, found),
            None => {
                // 4.7.1.2: `a/#` means `a` as well.
                found(&mut self.rest);
                found(&mut self.here);
            }
        }
    }

    fn any_at(&self, topic: &str, system: bool) -> bool {
        let (level, below) = split(topic);
        let follow = |node: &Self| match below {
            Some(topic) => node.any_at(topic, false),
            None => !node.rest.is_vacant() || !node.here.is_vacant(),
        };
        (!system && (!self.rest.is_vacant() || self.any.as_deref().is_some_and(follow)))
            || self.levels.get(level).is_some_and(follow)
    }
}

fn split(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((level, below)) => (level, Some(below)),
        None => (topic, None),
    }
}

impl Ending {
    fn is_vacant(&self) -> bool {
        self.each.is_empty() && self.groups.is_empty()
    }

    fn insert(&mut self, group: Option<&str>, subscriber: Subscriber) -> bool {
        let members = match group {
            None => &mut self.each,
            Some(name) => {
                let known = self.groups.iter().position(|group| *group.name == *name);
                let index = known.unwrap_or_else(|| {
                    self.groups.push(Group {
                        name: name.into(),
                        members: Vec::new(),
                        turn: 0,
                    });
                    self.groups.len() - 1
                });
                &mut self.groups[index].members
            }
        };
        let former = members
            .iter_mut()
            .find(|member| member.session == subscriber.session);
        match former {
            Some(former) => {
                *former = subscriber;
                false
            }
            None => {
                members.push(subscriber);
                true
            }
        }
    }

    fn remove(&mut self, group: Option<&str>, session: SessionId) -> bool {
        let members = match group {
            None => &mut self.each,
            Some(name) => match self.groups.iter_mut().find(|group| *group.name == *name) {
                Some(group) => &mut group.members,
                None => return false,
            },
        };
        let before = members.len();
        members.retain(|member| member.session != session);
        let removed = members.len() < before;
        self.groups.retain(|group| !group.members.is_empty());
        removed
    }
}

impl Group {
    /// Who is connected takes turns; when nobody is, all do.
    fn next(&mut self, here: &impl Fn(SessionId) -> bool) -> Option<&Subscriber> {
        let count = self.members.len();
        let turns = (0..count).map(|step| (self.turn + step) % count);
        let index = turns
            .clone()
            .find(|index| here(self.members[*index].session))
            .or_else(|| turns.clone().next())?;
        self.turn = (index + 1) % count;
        Some(&self.members[index])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic;

    fn subscriber(session: SessionId) -> Subscriber {
        let options = Options {
            qos: QoS::AtMostOnce,
            no_local: false,
            as_published: false,
            identifier: None,
        };
        Subscriber { session, options }
    }

    fn who(subscriptions: &mut Subscriptions, topic: &str) -> Vec<SessionId> {
        let mut found = Vec::new();
        subscriptions.each(topic, &|_| true, &mut |member| found.push(member.session));
        found.sort_unstable();
        found
    }

    #[test]
    fn a_group_takes_turns_among_those_who_are_there() {
        let mut subscriptions = Subscriptions::default();
        for session in 0..3 {
            assert!(subscriptions.insert(topic::parse("$share/g/a").unwrap(), subscriber(session)));
        }
        let mut got = Vec::new();
        for _ in 0..4 {
            subscriptions.each("a", &|session| session != 1, &mut |member| {
                got.push(member.session);
            });
        }
        assert_eq!(got, [0, 2, 0, 2]);
        subscriptions.each("a", &|_| false, &mut |member| got.push(member.session));
        assert_eq!(got.len(), 5, "nobody is there: it waits for one of them");
    }

    fn filters() -> impl Strategy<Value = String> {
        let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("+"), Just("$x")];
        (prop::collection::vec(level, 1..4), any::<bool>()).prop_map(|(mut levels, rest)| {
            if rest {
                levels.push("#");
            }
            levels.join("/")
        })
    }

    fn topics() -> impl Strategy<Value = String> {
        let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("$x")];
        prop::collection::vec(level, 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("a name", |topic| topic::is_name(topic))
    }

    proptest! {
        /// The tree finds whom a comparison of each filter finds, also when some
        /// are gone, and is empty in the end.
        #[test]
        fn the_tree_agrees_with_the_comparison(
            filters in prop::collection::vec(filters().prop_filter("a filter", |f| topic::parse(f).is_some()), 1..12),
            topics in prop::collection::vec(topics(), 1..8),
            gone in prop::collection::vec(any::<bool>(), 12),
        ) {
            let mut subscriptions = Subscriptions::default();
            for (session, filter) in filters.iter().enumerate() {
                subscriptions.insert(topic::parse(filter).unwrap(), subscriber(session));
            }
            let mut left: Vec<_> = filters.iter().enumerate().collect();
            left.retain(|(session, filter)| {
                !gone[*session] || !subscriptions.remove(topic::parse(filter).unwrap(), *session)
            });
            prop_assert_eq!(subscriptions.len(), left.len());
            for topic in &topics {
                let expected: Vec<_> = left
                    .iter()
                    .filter(|(_, filter)| topic::matches(filter, topic))
                    .map(|(session, _)| *session)
                    .collect();
                prop_assert_eq!(who(&mut subscriptions, topic), expected.clone(), "{}", topic);
                prop_assert_eq!(subscriptions.any(topic), !expected.is_empty());
            }
            for (session, filter) in left {
                subscriptions.remove(topic::parse(filter).unwrap(), session);
            }
            prop_assert!(subscriptions.root.is_empty() && subscriptions.len() == 0);
        }
    }
}

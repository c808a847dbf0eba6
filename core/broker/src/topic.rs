//! Topic names and filters (5: 4.7, 4.8).

/// Levels of a topic or filter. Nobody needs as many, and what walks a tree of
/// levels must not walk as deep as a client wishes.
pub const MOST_LEVELS: usize = 128;

/// Whether messages may be published there: 4.7.3, and no wildcard.
pub fn is_name(topic: &str) -> bool {
    is_text(topic) && !topic.contains(['+', '#'])
}

fn is_text(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= usize::from(u16::MAX)
        && !text.contains('\0')
        && text.split('/').count() <= MOST_LEVELS
}

/// A filter as it was subscribed to, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The group of a shared subscription.
    pub group: Option<&'a str>,
    /// What topics are compared with.
    pub filter: &'a str,
}

/// Takes a filter apart; `None` when it is none.
pub fn parse(filter: &str) -> Option<Parsed<'_>> {
    if !is_text(filter) {
        return None;
    }
    let (group, filter) = match filter.strip_prefix("$share/") {
        // 4.8.2: the group's name is neither empty nor a wildcard, and a filter
        // follows.
        Some(rest) => {
            let (group, filter) = rest.split_once('/')?;
            if group.is_empty() || group.contains(['+', '#']) || filter.is_empty() {
                return None;
            }
            (Some(group), filter)
        }
        None if filter == "$share" => return None,
        None => (None, filter),
    };
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let alone = level.len() == 1;
        // 4.7.1: a wildcard is a level of its own, `#` the last one.
        if level.contains('+') && !alone {
            return None;
        }
        if level.contains('#') && (!alone || levels.peek().is_some()) {
            return None;
        }
    }
    Some(Parsed { group, filter })
}

/// Whether a topic is one of those that a filter (without a group) means.
pub fn matches(filter: &str, topic: &str) -> bool {
    // 4.7.2: a wildcard in the first place means no topic that begins with `$`.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            // 4.7.1.2: `a/#` means `a` as well.
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// What all topics of a filter begin with.
pub fn literal(filter: &str) -> &str {
    let end = filter.find(['+', '#']).unwrap_or(filter.len());
    let prefix = &filter[..end];
    // `a/#` means `a` as well, so the slash does not count.
    prefix.strip_suffix('/').unwrap_or(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_specification_says() {
        for (filter, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/a/b", true),
            ("sport/#", "sport", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/x", false),
            ("#", "/", true),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/x", true),
            ("a/b/#", "a", false),
            ("a/+/#", "a/b", true),
            ("a", "a/b", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} and {topic}");
            let filter = parse(filter).unwrap().filter;
            assert!(
                !expected || topic.starts_with(literal(filter)),
                "{filter} and {topic}"
            );
        }
    }

    #[test]
    fn what_is_no_filter_or_name_is_refused() {
        for filter in [
            "",
            "a/#/b",
            "a#",
            "a+/b",
            "+a",
            "##",
            "a\0",
            "$share",
            "$share/g",
            "$share//a",
            "$share/g/",
            "$share/+/a",
            "$share/g/a#",
        ] {
            assert_eq!(parse(filter), None, "{filter}");
        }
        assert!(parse(&"/".repeat(MOST_LEVELS - 1)).is_some());
        assert!(parse(&"/".repeat(MOST_LEVELS)).is_none());
        let shared = parse("$share/g/a/+").unwrap();
        assert_eq!((shared.group, shared.filter), (Some("g"), "a/+"));
        for name in ["", "a/+", "#", "a\0b", &"/".repeat(MOST_LEVELS)] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_name("$hw/events/device/a/b/twin/update") && is_name("/"));
    }
}

//! One event of a device: set and cleared by conditions, and steady in between.
//!
//! An event that holds is cleared only when `clear` holds (or, without one,
//! when `when` does not) **and** `when` does not: values that fulfil both, or
//! wander between the two, change nothing. A condition that cannot be told
//! neither sets nor clears.

use longshore_types::event::EventRule;

use super::now::Now;

/// An event and how it stands.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) rule: EventRule,
    pub(crate) phase: Phase,
    /// When it became active, or was over (ms since the epoch); 0 for never.
    pub(crate) since_ms: i64,
    /// What was said when that happened.
    pub(crate) message: String,
    /// The values of its properties then, a JSON object.
    pub(crate) values: String,
    /// The bus has not taken it yet.
    pub(crate) unsent: bool,
    /// It turned, and the store has not answered yet: nobody hears of it before.
    pub(crate) held: bool,
}

/// How an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not active. `when` holds → `Waiting`, or `Active` without a delay.
    Quiet,
    /// `when` holds since then (uptime). It holds for `delay` → `Active`, does not hold → `Quiet`.
    Waiting { since: u64 },
    /// Active. Cleared → `Quiet`.
    Active,
}

/// What the conditions say; `None` where it cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) when: Option<bool>,
    pub(crate) clear: Option<bool>,
}

impl Event {
    pub(crate) fn new(rule: EventRule) -> Self {
        Self {
            rule,
            phase: Phase::Quiet,
            since_ms: 0,
            message: String::new(),
            values: "{}".to_owned(),
            unsent: false,
            held: false,
        }
    }

    /// Was active when the edge stopped: it is until a reading says otherwise.
    pub(crate) fn restore(&mut self, since_ms: i64, message: String, values: String) {
        self.phase = Phase::Active;
        self.since_ms = since_ms;
        self.message = message;
        self.values = values;
        self.unsent = true;
    }

    pub(crate) fn is_active(&self) -> bool {
        self.phase == Phase::Active
    }

    /// Whether time alone may change it.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting { .. })
    }

    /// When time alone may change it, or it is told again to a bus that had no
    /// room (at `again`).
    pub(crate) fn due(&self, again: u64) -> Option<u64> {
        let delay = u64::try_from(self.rule.delay.as_millis()).unwrap_or(u64::MAX);
        match self.phase {
            _ if self.unsent => Some(again),
            Phase::Waiting { since } => Some(since.saturating_add(delay)),
            Phase::Quiet | Phase::Active => None,
        }
    }

    /// Looks at the conditions. True when it became active or is over.
    pub(crate) fn step(&mut self, verdict: Verdict, now: Now) -> bool {
        let delay = u64::try_from(self.rule.delay.as_millis()).unwrap_or(u64::MAX);
        let phase = match (self.phase, verdict.when) {
            (Phase::Active, Some(true)) => Phase::Active,
            (Phase::Active, when) => {
                let over = match self.rule.clear {
                    Some(_) => verdict.clear == Some(true),
                    None => when == Some(false),
                };
                if over { Phase::Quiet } else { Phase::Active }
            }
            (_, Some(false)) => Phase::Quiet,
            (phase, None) => phase,
            (Phase::Quiet, Some(true)) if delay == 0 => Phase::Active,
            (Phase::Quiet, Some(true)) => Phase::Waiting { since: now.ms },
            (Phase::Waiting { since }, Some(true)) if now.ms >= since.saturating_add(delay) => {
                Phase::Active
            }
            (waiting, Some(true)) => waiting,
        };
        let turned = (phase == Phase::Active) != self.is_active();
        self.phase = phase;
        if turned {
            self.since_ms = now.unix_ms;
            self.unsent = true;
            self.held = true;
        }
        turned
    }
}

/// `{name}` in `template` becomes what `value` gives for it.
pub(crate) fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let filled = after
            .split_once('}')
            .and_then(|(name, behind)| Some((value(name.trim())?, behind)));
        match filled {
            Some((value, behind)) => {
                text.push_str(&value);
                rest = behind;
            }
            None => {
                text.push('{');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests;

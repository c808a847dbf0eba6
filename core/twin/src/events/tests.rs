use std::time::Duration;

use longshore_types::{
    event::Severity,
    expression::{Expression, Term},
};
use proptest::prelude::*;

use super::*;

fn hot(clear: Option<&str>, delay_ms: u64) -> Event {
    let parse = |source: &str| Expression::parse(source, &["t"]).unwrap();
    Event::new(EventRule {
        name: "hot".into(),
        when: parse("t > 90"),
        clear: clear.map(parse),
        severity: Severity::Major,
        message: String::new(),
        delay: Duration::from_millis(delay_ms),
    })
}

fn see(event: &mut Event, t: Option<f64>, ms: u64) -> bool {
    let holds = |rule: &Expression| rule.holds(&|_| t.map(Term::Double)).ok();
    let verdict = Verdict {
        when: holds(&event.rule.when),
        clear: event.rule.clear.as_ref().and_then(holds),
    };
    let now = Now {
        ms,
        unix_ms: 1_000_000 + ms as i64,
    };
    event.step(verdict, now)
}

#[test]
fn an_event_stays_until_it_is_cleared() {
    let mut event = hot(Some("t < 85"), 0);
    assert!(!see(&mut event, Some(90.0), 1));
    assert!(see(&mut event, Some(91.0), 2));
    assert_eq!((event.is_active(), event.since_ms), (true, 1_000_002));
    for t in [Some(87.0), None, Some(95.0), Some(85.0)] {
        assert!(!see(&mut event, t, 3), "{t:?}");
    }
    assert!(see(&mut event, Some(84.9), 4));
    assert!(!event.is_active());
    let mut plain = hot(None, 0);
    assert!(see(&mut plain, Some(91.0), 1) && see(&mut plain, Some(90.0), 2));
}

#[test]
fn a_short_peak_is_no_event_where_there_is_a_delay() {
    let mut event = hot(None, 100);
    assert!(!see(&mut event, Some(91.0), 1_000) && event.is_waiting());
    assert!(!see(&mut event, None, 1_050) && event.is_waiting());
    assert!(!see(&mut event, Some(80.0), 1_090) && !event.is_waiting());
    assert!(!see(&mut event, Some(91.0), 2_000));
    assert!(!see(&mut event, Some(92.0), 2_099));
    assert!(see(&mut event, Some(92.0), 2_100));
}

#[test]
fn values_fill_a_message() {
    let value = |name: &str| (name == "t").then(|| "91.5".to_owned());
    assert_eq!(
        fill("at {t} °C, {x} and { t }", value),
        "at 91.5 °C, {x} and 91.5"
    );
    assert_eq!(fill("{", value), "{");
}

proptest! {
    /// However a value wanders between the two conditions, nothing changes.
    #[test]
    fn events_never_flap_inside_the_hysteresis(first in 0.0..200.0, walk in prop::collection::vec(85.0..=90.0, 1..40)) {
        let mut event = hot(Some("t < 85"), 0);
        see(&mut event, Some(first), 1);
        let before = event.is_active();
        for (i, t) in walk.into_iter().enumerate() {
            prop_assert!(!see(&mut event, Some(t), 2 + i as u64));
            prop_assert_eq!(event.is_active(), before);
        }
    }

    /// The same holds where the conditions overlap: each value decides one way.
    #[test]
    fn conditions_that_overlap_do_not_flap(t in 0.0..200.0, times in 2..10_u64) {
        let mut event = hot(Some("t < 95"), 0);
        see(&mut event, Some(t), 1);
        see(&mut event, Some(t), 2);
        let settled = event.is_active();
        for ms in 3..3 + times {
            prop_assert!(!see(&mut event, Some(t), ms));
            prop_assert_eq!(event.is_active(), settled);
        }
    }
}

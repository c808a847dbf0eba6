use super::*;

fn at(unix_ms: i64) -> Now {
    Now {
        ms: unix_ms as u64,
        unix_ms,
    }
}

fn shown<T: Stand>(state: &T) -> (Option<bool>, &'static str, String) {
    let said = state.said();
    (said.status, said.reason, said.message.into_owned())
}

fn is(
    status: Option<bool>,
    reason: &'static str,
    message: &str,
) -> (Option<bool>, &'static str, String) {
    (status, reason, message.to_owned())
}

fn unknown(cause: Cause) -> Reach {
    let shown = DeviceState::Unknown;
    Reach::Unknown { cause, shown }
}

#[test]
fn each_state_has_its_condition() {
    let no_mapper = "no mapper for protocol `knx` runs on this node";
    let reach = [
        (Reach::Up, is(Some(true), "Answers", "")),
        (
            Reach::Down {
                why: "timeout".into(),
            },
            is(Some(false), "NoAnswer", "timeout"),
        ),
        (unknown(Cause::NotReadYet), is(None, "NotReadYet", "")),
        (
            unknown(Cause::NoMapper {
                protocol: "knx".into(),
            }),
            is(None, "MapperNotFound", no_mapper),
        ),
        (
            unknown(Cause::MapperDown {
                why: "killed".into(),
            }),
            is(None, "MapperDown", "killed"),
        ),
        (
            unknown(Cause::Config {
                faults: "bad url".into(),
            }),
            is(None, "Config", "bad url"),
        ),
        (
            unknown(Cause::Unusable {
                reason: "ModelNotFound",
                why: "no model".into(),
            }),
            is(None, "ModelNotFound", "no model"),
        ),
        (
            unknown(Cause::Said {
                why: "resting".into(),
            }),
            is(None, "Unknown", "resting"),
        ),
    ];
    for (state, condition) in reach {
        assert_eq!(shown(&state), condition);
    }
    let served = [
        (Served::NotYet, is(None, "Unknown", "")),
        (Served::Yes, is(Some(true), "Configured", "")),
        (
            Served::NoMapper {
                protocol: "knx".into(),
            },
            is(Some(false), "MapperNotFound", no_mapper),
        ),
        (
            Served::MapperDown {
                why: "killed".into(),
            },
            is(Some(false), "MapperDown", "killed"),
        ),
        (
            Served::Unusable { reason: "Invalid" },
            is(Some(false), "Invalid", ""),
        ),
        (
            Served::Refused,
            is(
                Some(false),
                "ConfigRefused",
                "the mapper refused the configuration",
            ),
        ),
        (
            Served::Failed { why: "busy".into() },
            is(Some(false), "ConfigFailed", "busy"),
        ),
    ];
    for (state, condition) in served {
        assert_eq!(shown(&state), condition);
    }
    let faults = vec![
        Fault::error("spec.a", "wrong"),
        Fault::warning("spec.b", "odd"),
        Fault::error("spec.c", "wrong too"),
    ];
    let doubts = vec![Fault::warning("spec.b", "odd")];
    let wrong = format!("{}; {}", faults[0], faults[2]);
    let manifest = [
        (Manifest::Unread, is(None, "Unknown", "")),
        (
            Manifest::Read {
                faults: doubts,
                own: 1,
            },
            is(Some(true), "Valid", ""),
        ),
        (
            Manifest::Read { faults, own: 2 },
            is(Some(false), "Faults", &wrong),
        ),
        (
            Manifest::Unusable {
                reason: "Unreadable",
                why: "no Device".into(),
            },
            is(Some(false), "Unreadable", "no Device"),
        ),
    ];
    for (state, condition) in manifest {
        assert_eq!(shown(&state), condition);
    }
}

#[test]
fn the_time_of_a_condition_is_that_of_its_status() {
    let mut reach = Since::new(unknown(Cause::NotReadYet), at(10));
    assert!(reach.turn(unknown(Cause::Said { why: "?".into() }), at(20)));
    assert_eq!(
        reach.condition().last_transition_time,
        Some(Timestamp::from_millis(10))
    );
    assert!(reach.turn(Reach::Up, at(30)));
    assert!(!reach.turn(Reach::Up, at(40)));
    assert_eq!(
        reach.condition().last_transition_time,
        Some(Timestamp::from_millis(30))
    );
    // What nobody said until now is said from the first time on.
    let mut served = Since::unsaid(Served::NotYet);
    assert!(!served.turn(Served::NotYet, at(50)));
    assert_eq!(
        served.condition().last_transition_time,
        Some(Timestamp::from_millis(50))
    );
}

#[test]
fn a_state_outlives_a_moment_and_no_outage() {
    let down = |why: &str| Cause::MapperDown { why: why.into() };
    let mut reach = Since::new(Reach::Up, at(1));
    assert!(reach.lose(down("killed"), at(2)));
    assert_eq!(reach.get().state(), DeviceState::Online);
    assert!(reach.lose(down("killed again"), at(3)));
    assert_eq!(reach.get().state(), DeviceState::Online);
    assert!(!reach.lose(down("killed again"), at(4)));
    // The same text, but the state that people see goes.
    assert!(reach.forget(down("killed again"), at(5)));
    assert_eq!(reach.get().state(), DeviceState::Unknown);
    assert_eq!(
        reach.condition().last_transition_time,
        Some(Timestamp::from_millis(2))
    );
}

use std::time::Duration;

use longshore_types::{
    expression::Expression,
    method::{Confirmation, Step as Written},
};

use super::*;

fn at(ms: u64) -> Now {
    let unix_ms = ms as i64;
    Now { ms, unix_ms }
}

fn expression() -> Expression {
    Expression::parse("1", &[]).unwrap()
}

fn boiler() -> DeviceName {
    DeviceName::new("default", "boiler").unwrap()
}

/// A call of a method with one step, begun at 100 with 5 s.
fn call(confirm: bool) -> Call {
    let confirmation = Confirmation {
        property: "temperature".into(),
        value: expression(),
        timeout: Duration::from_secs(2),
    };
    let method = Method {
        name: "heat".into(),
        path: "model.spec.protocolConfigData.methods[0]".into(),
        description: String::new(),
        parameters: Vec::new(),
        steps: vec![Written {
            property: "setpoint".into(),
            value: expression(),
        }],
        call: None,
        confirm: confirm.then_some(confirmation),
        timeout: Duration::from_secs(5),
    };
    let step = Step {
        point: 7,
        text: "1".to_owned(),
        value: Value::Int(1),
        is_part: true,
    };
    let checked = (vec![step], confirm.then_some((8, Value::Int(1))));
    let method = (Arc::new(method), Arguments::default());
    Call::new((3, boiler()), method, checked, at(100))
}

fn ended(progress: Progress) -> Option<Result<Json, UpdateError>> {
    match progress {
        Progress::Ends(result) => Some(result),
        Progress::Waits | Progress::Goes => None,
    }
}

#[test]
fn a_device_runs_so_many_calls_and_no_more() {
    let mut calls = Calls::default();
    for number in 0..CALLS_OF_A_DEVICE as u64 {
        assert!(!calls.is_full(3));
        calls.put(number, call(false));
    }
    assert!(calls.is_full(3) && !calls.is_full(4));
    assert_eq!(calls.numbers(), [0, 1, 2, 3]);
    assert!(calls.take(2).is_some() && calls.take(2).is_none());
    assert!(!calls.is_full(3));
    assert!(too_many(&boiler()).starts_with("4 calls of device `default/boiler` run already"));
}

#[test]
fn a_call_goes_from_step_to_step_and_waits_for_what_is_read() {
    let mut call = call(true);
    let begins = |step| Phase::Step {
        step,
        not_before: 0,
    };
    assert_eq!(call.phase(), begins(0));
    let writing = Phase::Writing {
        step: 0,
        mapper: 0,
        token: 9,
    };
    assert!(matches!(call.turns(writing), Progress::Waits));
    call.doubt = Some("no answer".to_owned());
    assert!(matches!(call.wrote(0), Progress::Goes));
    assert_eq!((call.phase(), &call.doubt), (begins(1), &None));
    assert!(call.steps().get(1).is_none());
    call.is_to_be_called();
    call.is_called(0, 44);
    assert_eq!(
        call.phase(),
        Phase::Called {
            mapper: 0,
            token: 44
        }
    );
    assert!(ended(call.answered("done".into(), at(1_000))).is_none());
    let (since, until) = (1_000, 3_000);
    assert_eq!(call.phase(), Phase::Confirming { since, until });
    assert_eq!(ended(call.confirmed()), Some(Ok("done".into())));
}

#[test]
fn a_call_that_confirms_nothing_ends_with_its_answer() {
    let answered = call(false).answered("done".into(), at(1_000));
    assert_eq!(ended(answered), Some(Ok("done".into())));
}

#[test]
fn who_writes_a_part_of_a_register_is_known() {
    let mut calls = Calls::default();
    let mut one = call(false);
    calls.put(1, call(false));
    assert!(!calls.writes_part(3));
    one.turns(Phase::Preparing {
        step: 0,
        mapper: 0,
        token: 9,
    });
    calls.put(2, one);
    assert!(calls.writes_part(3) && !calls.writes_part(4));
}

#[test]
fn a_call_has_its_time() {
    let call = call(false);
    assert_eq!(call.left(at(100)), Duration::from_secs(5));
    assert_eq!(call.left(at(5_099)), Duration::from_millis(1));
    assert_eq!(call.left(at(5_100)), Duration::ZERO);
    assert_eq!(call.left(at(9_999)), Duration::ZERO);
    assert_eq!(call.place(0), "step 1 (write `setpoint`)");
}

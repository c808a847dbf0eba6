use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{scenario::parse, *};

fn world(yaml: &str) -> (World, Clock) {
    let clock = Clock::manual();
    let spec: WorldSpec = parse("test.yaml", yaml).expect("scenario");
    (World::new(&spec, clock.clone()).expect("world"), clock)
}

fn problems(yaml: &str) -> Vec<String> {
    let spec: WorldSpec = parse("test.yaml", yaml).expect("scenario");
    let error = World::new(&spec, Clock::manual()).expect_err("a wrong world");
    error.problems.iter().map(ToString::to_string).collect()
}

fn assert_near(is: f64, should: f64) {
    assert!((is - should).abs() < 1e-6, "{is} is not {should}");
}

#[test]
fn waves_pass_through_their_known_points() {
    let (world, clock) = world(
        "signals:
  sine: {sine: {mean: 10, amplitude: 2, period: 4}}
  triangle: {triangle: {amplitude: 1, period: 4}}
  square: {square: {mean: 5, amplitude: 5, period: 4, duty: 0.25}}
  ramp: {ramp: {from: 0, to: 8, seconds: 4}}
  saw: {ramp: {from: 0, to: 8, seconds: 4, repeat: true}}
  steps: {steps: {values: [1, 2, 3], seconds: 1}}
  round: {steps: {values: [1, 2, 3], seconds: 1, repeat: true}}",
    );
    let at = |name: &str| world.value(name).expect("signal");
    assert_near(at("sine"), 10.0);
    assert_near(at("triangle"), -1.0);
    assert_near(at("square"), 10.0);
    clock.advance(Duration::from_secs(1));
    assert_near(at("sine"), 12.0);
    assert_near(at("triangle"), 0.0);
    assert_near(at("square"), 0.0);
    assert_near(at("ramp"), 2.0);
    assert_near(at("steps"), 2.0);
    clock.advance(Duration::from_secs(4));
    assert_near(at("ramp"), 8.0);
    assert_near(at("saw"), 2.0);
    assert_near(at("steps"), 3.0);
    assert_near(at("round"), 3.0);
}

#[test]
fn a_lag_makes_up_63_percent_in_its_time_constant() {
    let (world, clock) = world(
        "signals:
  setpoint: {setpoint: {initial: 20}}
  temperature: {lag: {of: setpoint, seconds: 20}}",
    );
    assert_near(world.value("temperature").unwrap(), 20.0);
    world.set("setpoint", 120.0).unwrap();
    clock.advance(Duration::from_secs(20));
    assert_near(
        world.value("temperature").unwrap(),
        20.0 + 100.0 * (1.0 - (-1.0f64).exp()),
    );
}

#[test]
fn a_thermostat_keeps_a_room_within_its_band() {
    // A circle that is allowed: burner -> heat -> temperature -> burner.
    let (world, clock) = world(
        "signals:
  heat: {product: [burner, 100]}
  temperature: {lag: {of: heat, seconds: 60, initial: 10}}
  burner: {hysteresis: {of: temperature, target: 50, band: 1}}",
    );
    clock.advance(Duration::from_secs(300));
    let mut switched = 0;
    let mut last = world.value("burner").unwrap();
    for _ in 0..600 {
        clock.advance(Duration::from_millis(500));
        let temperature = world.value("temperature").unwrap();
        assert!((48.0..52.0).contains(&temperature), "{temperature}");
        let burner = world.value("burner").unwrap();
        switched += u32::from(burner != last);
        last = burner;
    }
    assert!(switched > 4, "switched {switched} times");
}

#[test]
fn a_counter_adds_up_and_wraps() {
    let (world, clock) = world(
        "signals:
  energy: {counter: {of: 3.6, per: 3600, initial: 100}}
  litres: {counter: {of: 1, wrap: 10}}",
    );
    clock.advance(Duration::from_secs(2000));
    assert_near(world.value("energy").unwrap(), 102.0);
    let litres = world.value("litres").unwrap();
    assert!(!(1e-6..10.0 - 1e-6).contains(&litres), "{litres}");
}

#[test]
fn noise_is_seeded_bounded_and_moving() {
    let yaml = "{seed: 7, signals: {n: {noise: {around: 5, amplitude: 0.5}}}}";
    let ((one, one_clock), (two, two_clock)) = (world(yaml), world(yaml));
    let mut seen = Vec::new();
    for _ in 0..100 {
        one_clock.advance(Duration::from_millis(150));
        two_clock.advance(Duration::from_millis(150));
        let value = one.value("n").unwrap();
        assert_eq!(Some(value), two.value("n"));
        assert!((4.5..=5.5).contains(&value));
        seen.push(value);
    }
    seen.sort_by(f64::total_cmp);
    seen.dedup();
    assert!(seen.len() > 90);
}

#[test]
fn a_setpoint_refuses_what_is_outside_of_its_limits() {
    let (world, _) =
        world("signals: {s: {setpoint: {initial: 60, min: 20, max: 90}}, c: {constant: 1}}");
    assert!(matches!(
        world.set("s", 91.0),
        Err(SetError::OutOfRange { .. })
    ));
    assert!(matches!(
        world.set("s", f64::NAN),
        Err(SetError::OutOfRange { .. })
    ));
    assert!(matches!(world.set("c", 2.0), Err(SetError::NotSettable(_))));
    assert!(matches!(world.set("x", 2.0), Err(SetError::Unknown(_))));
    assert_eq!(world.value("s"), Some(60.0));
    world.set("s", 90.0).unwrap();
    assert_eq!(world.value("s"), Some(90.0));
}

#[test]
fn a_forced_signal_stays_until_it_is_let_go() {
    let (world, clock) =
        world("signals: {r: {ramp: {from: 0, to: 10, seconds: 10}}, twice: {product: [r, 2]}}");
    world.force("r", Some(42.0)).unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(world.value("twice"), Some(84.0));
    world.force("r", None).unwrap();
    assert_near(world.value("twice").unwrap(), 2.0);
}

#[test]
fn every_fault_of_a_world_is_named_with_its_path() {
    let found = problems(
        "signals:
  a: {lag: {of: nowhere, seconds: 0}}
  b: {sum: [1, c]}
  c: {sum: [b]}
  d: {steps: {values: [], seconds: 1}}",
    );
    let all = found.join("\n");
    assert!(
        all.contains("`signals.a.lag.of`: no signal is named `nowhere`"),
        "{all}"
    );
    assert!(
        all.contains("`signals.a.lag.seconds`: 0 is not above 0"),
        "{all}"
    );
    assert!(
        all.contains("`signals.b`") && all.contains("`signals.c`"),
        "{all}"
    );
    assert!(all.contains("`signals.d.steps.values`"), "{all}");
}

#[test]
fn a_wrong_field_is_named_with_file_and_path() {
    for (yaml, path, word) in [
        (
            "signals: {a: {lag: {of: 1, sekonds: 2}}}",
            "signals.a.lag",
            "sekonds",
        ),
        ("signals: {a: {lag: {of: 1}}}", "signals.a.lag", "seconds"),
        ("signals: {a: {wobble: 1}}", "signals.a", "wobble"),
        (
            "signals: {a: {constant: warm}}",
            "signals.a.constant",
            "floating",
        ),
        ("seed: 1\nseed: 2", ".", "seed"),
    ] {
        let error = parse::<WorldSpec>("room.yaml", yaml).expect_err(yaml);
        let text = error.to_string();
        assert!(
            text.contains("room.yaml") && text.contains(path),
            "{yaml}: {text}"
        );
        let source = std::error::Error::source(&error)
            .expect("a cause")
            .to_string();
        assert!(source.contains(word), "{yaml}: {source}");
    }
}

#[test]
fn faults_end_by_count_by_time_and_by_unit() {
    let faults = Faults::default();
    let now = Instant::now();
    let at = |ms| now + Duration::from_millis(ms);
    assert_eq!(faults.strike_unit(1, now), None);
    faults.add(
        FaultRule::from(Fault::Unresponsive)
            .on_unit(2)
            .for_requests(2),
        now,
    );
    assert_eq!(faults.strike_unit(1, now), None);
    assert_eq!(faults.strike_unit(2, now), Some(Fault::Unresponsive));
    assert_eq!(faults.strike_unit(2, now), Some(Fault::Unresponsive));
    assert_eq!(faults.strike_unit(2, now), None);
    faults.add(
        FaultRule::from(Fault::HalfFrame).for_time(Duration::from_millis(100)),
        now,
    );
    assert_eq!(faults.strike_unit(9, at(99)), Some(Fault::HalfFrame));
    assert_eq!(faults.strike_unit(9, at(100)), None);
    faults.add(Fault::WrongCrc.into(), now);
    faults.clear();
    assert_eq!(faults.strike_unit(1, now), None);
    assert!(faults.list(now).is_empty());
}

#[test]
fn faults_are_data() {
    let read = |yaml: &str| parse::<FaultRule>("f.yaml", yaml).expect(yaml);
    assert_eq!(read("fault: unresponsive"), Fault::Unresponsive.into());
    assert_eq!(
        read("{fault: {slow: 250}, unit: 3, requests: 2, forMs: 1000}"),
        FaultRule::from(Fault::Slow(Duration::from_millis(250)))
            .on_unit(3)
            .for_requests(2)
            .for_time(Duration::from_secs(1))
    );
    assert_eq!(read("fault: {exception: 6}"), Fault::Exception(6).into());
}

proptest! {
    #[test]
    fn a_lag_never_leaves_the_span_between_start_and_target(
        start in -1e6..1e6f64, target in -1e6..1e6f64, tau in 0.001..1e4f64,
        steps in proptest::collection::vec(1u64..100_000, 1..20),
    ) {
        let (world, clock) = world(&format!(
            "signals: {{x: {{lag: {{of: {target:?}, seconds: {tau:?}, initial: {start:?}}}}}}}"
        ));
        let (low, high) = (start.min(target) - 1e-6, start.max(target) + 1e-6);
        for step in steps {
            clock.advance(Duration::from_millis(step));
            let x = world.value("x").unwrap();
            prop_assert!((low..=high).contains(&x));
        }
    }
}

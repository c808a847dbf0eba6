//! Scenario files: the ones that are shipped, and wrong ones.

use std::path::Path;

use longshore_sim_world::ScenarioError;

use super::Wire;
use crate::builder::modbus;
use crate::frame::Framing;
use crate::scenario::Scenario;

fn shipped(name: &str) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scenarios")
        .join(name);
    Scenario::read(&path).expect(name)
}

#[test]
fn the_demo_has_a_boiler_and_a_meter() {
    let mut wire = Wire::new(Framing::Tcp, modbus().scenario(&shipped("demo.yaml")));
    // The setpoint begins at 60.0 °C: 600 = 0x0258.
    assert_eq!(wire.ask(1, &[3, 0, 0, 0, 1]), [3, 2, 0x02, 0x58]);
    // The name, two characters in each register.
    let name = wire.ask(1, &[4, 0, 10, 0, 10]);
    assert_eq!(&name[2..], b"Longshore boiler\0\0\0\0");
    // The voltage of L1 as float32 ABCD.
    let voltage = wire.ask(2, &[4, 0, 0, 0, 2]);
    let voltage = f32::from_be_bytes([voltage[2], voltage[3], voltage[4], voltage[5]]);
    assert!((226.0..234.0).contains(&voltage), "{voltage}");
    // The whole meter in one request.
    assert_eq!(wire.ask(2, &[4, 0, 0, 0, 26]).len(), 2 + 52);
    // A setpoint of 95.0 °C is refused, heating can be switched off.
    assert_eq!(wire.ask(1, &[6, 0, 0, 0x03, 0xB6]), [0x86, 3]);
    assert_eq!(wire.ask(1, &[5, 0, 0, 0, 0]), [5, 0, 0, 0, 0]);
    assert_eq!(wire.ask(1, &[1, 0, 0, 0, 1]), [1, 1, 0]);
}

#[test]
fn the_bench_scenario_is_large() {
    let mut wire = Wire::new(Framing::Tcp, modbus().scenario(&shipped("bench.yaml")));
    assert_eq!(wire.ask(1, &[3, 0x0F, 0x23, 0, 125]).len(), 252);
}

#[test]
fn values_are_exact_up_to_64_bits() {
    let scenario = Scenario::parse(
        "exact.yaml",
        "units:
  - unit: 1
    holding:
      - {address: 0, type: uint64, value: 18446744073709551615}
      - {address: 4, type: int64, value: -9223372036854775807}
      - {address: 8, type: float32, value: 1.5, order: DCBA}
      - {address: 10, value: 7, count: 3, readOnly: true}
      - {address: 13, type: string, value: hi}",
    )
    .expect("scenario");
    let mut wire = Wire::new(Framing::Tcp, modbus().scenario(&scenario));
    let answer = wire.ask(1, &[3, 0, 0, 0, 14]);
    assert_eq!(answer[2..10], [0xFF; 8]);
    assert_eq!(answer[10..18], [0x80, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(answer[18..22], [0, 0, 0xC0, 0x3F]);
    assert_eq!(answer[22..28], [0, 7, 0, 7, 0, 7]);
    assert_eq!(&answer[28..], b"hi");
    assert_eq!(wire.ask(1, &[6, 0, 12, 0, 1]), [0x86, 2]);
}

#[test]
fn wrong_files_are_named_with_their_key() {
    for (yaml, part) in [
        ("units: [{unit: 1, holdings: []}]", "units[0]"),
        (
            "units: [{unit: 1, holding: [{address: 0, type: int17}]}]",
            "units[0].holding[0].type",
        ),
        (
            "units: [{unit: 1, holding: [{adress: 0}]}]",
            "units[0].holding[0]",
        ),
        ("units: [{unit: 300}]", "units[0].unit"),
        ("units: []", "`units`"),
        ("units: [{unit: 1}, {unit: 1}]", "units[1].unit"),
        (
            "units: [{unit: 1, coils: [{address: 0, type: int16}]}]",
            "units[0].coils[0].type",
        ),
        (
            "units: [{unit: 1, input: [{address: 0, type: string}]}]",
            "units[0].input[0].length",
        ),
        (
            "units: [{unit: 1, input: [{address: 0, signal: a, value: 1}]}]",
            "units[0].input[0].value",
        ),
        (
            "units: [{unit: 1, input: [{address: 0, signal: warmth}]}]",
            "units[0].input[0]",
        ),
        (
            "units: [{unit: 1, input: [{address: 0, count: 3}, {address: 2}]}]",
            "units[0].input[1]",
        ),
        (
            "units: [{unit: 1, input: [{address: 65535, type: float32}]}]",
            "units[0].input[0]",
        ),
        (
            "{world: {signals: {a: {sum: [b]}}}, units: [{unit: 1}]}",
            "world.signals.a.sum.0",
        ),
        (
            "units: [{unit: 1, input: [{address: 0, times: 0}]}]",
            "units[0].input[0].times",
        ),
    ] {
        let error = Scenario::parse("plant.yaml", yaml).expect_err(yaml);
        let text = error.to_string();
        assert!(
            text.contains("plant.yaml") && text.contains(part),
            "{yaml}: {text}"
        );
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let error = Scenario::parse(
        "plant.yaml",
        "units: [{unit: 1, coils: [{address: 0, type: int16}], input: [{address: 0, times: 0}]}]",
    );
    let Err(ScenarioError::Content { problems, .. }) = error else {
        panic!("two problems expected");
    };
    assert_eq!(problems.len(), 2);
}

#[test]
fn the_readme_shows_a_scenario_that_works() {
    let readme = include_str!("../../../README.md");
    let yaml = readme
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("an example");
    Scenario::parse("README.md", yaml).expect("the example works");
}

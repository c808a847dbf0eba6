//! Which requests come of which points.

use std::collections::BTreeMap;

use longshore_sdk::{
    PlanPoint,
    codec::{ByteOrder, Codec, RawType},
};
use proptest::{collection::vec, prelude::*};

use crate::{
    bus::{DEFAULTS, Settings},
    plan::plan,
    point::{Coding, Point, Table, WriteWith},
};

fn register(table: Table, address: u16, count: u16) -> Point {
    let coding = if table.is_bits() {
        Coding::Number
    } else {
        let codec = match count {
            1 => Codec::number(RawType::Uint16, &ByteOrder::default()).unwrap(),
            2 => Codec::number(RawType::Float32, &ByteOrder::default()).unwrap(),
            count => Codec::bytes(count * 2),
        };
        Coding::Registers { codec, skip: 0 }
    };
    Point {
        table,
        address,
        count,
        coding,
        write_with: WriteWith::Any,
        write_block: None,
        is_command: false,
    }
}

fn spans(settings: &Settings, points: &[(u32, Point)]) -> Vec<(u16, u16)> {
    let points: Vec<_> = points
        .iter()
        .map(|(id, point)| PlanPoint {
            id: *id,
            point,
            alone: false,
            cut: false,
        })
        .collect();
    plan(settings, &points)
        .iter()
        .map(|planned| (planned.request.address, planned.request.count))
        .collect()
}

fn holding(addresses: &[(u16, u16)]) -> Vec<(u32, Point)> {
    let point = |(id, (address, count)): (usize, &(u16, u16))| {
        (
            id as u32,
            register(Table::HoldingRegisters, *address, *count),
        )
    };
    addresses.iter().enumerate().map(point).collect()
}

#[test]
fn neighbours_and_small_gaps_are_one_request() {
    assert_eq!(
        spans(&DEFAULTS, &holding(&[(0, 2), (4, 2), (2, 2)])),
        [(0, 6)]
    );
    assert_eq!(
        spans(&DEFAULTS, &holding(&[(0, 1), (17, 1)])),
        [(0, 18)],
        "16 registers between"
    );
    assert_eq!(
        spans(&DEFAULTS, &holding(&[(0, 1), (18, 1)])),
        [(0, 1), (18, 1)],
        "17 between"
    );
    let exact = Settings {
        gap_fill: 0,
        ..DEFAULTS
    };
    assert_eq!(
        spans(&exact, &holding(&[(0, 1), (1, 1), (3, 1)])),
        [(0, 2), (3, 1)]
    );
    let single = Settings {
        one_request_per_field: true,
        ..DEFAULTS
    };
    assert_eq!(
        spans(&single, &holding(&[(0, 2), (2, 2)])),
        [(0, 2), (2, 2)]
    );
}

#[test]
fn requests_end_at_the_limits_and_cut_no_point_in_two() {
    let floats: Vec<_> = (0..100).map(|index| (index * 2, 2)).collect();
    // 62 floats are 124 registers; the 63rd would need 126.
    assert_eq!(spans(&DEFAULTS, &holding(&floats)), [(0, 124), (124, 76)]);
    let bits: Vec<_> = (0..2100)
        .map(|index| (u32::from(index), register(Table::Coils, index, 1)))
        .collect();
    assert_eq!(spans(&DEFAULTS, &bits), [(0, 2000), (2000, 100)]);
}

#[test]
fn a_point_that_was_refused_stands_alone() {
    let points = holding(&[(0, 1), (1, 1), (2, 1), (3, 1)]);
    let points: Vec<_> = points
        .iter()
        .map(|(id, point)| PlanPoint {
            id: *id,
            point,
            alone: *id == 2,
            cut: *id == 1,
        })
        .collect();
    let planned = plan(&DEFAULTS, &points);
    let spans: Vec<_> = planned
        .iter()
        .map(|planned| (planned.request.address, planned.request.count))
        .collect();
    assert_eq!(spans, [(0, 1), (1, 1), (2, 1), (3, 1)]);
}

fn points() -> impl Strategy<Value = Vec<Point>> {
    let table = prop_oneof![
        Just(Table::Coils),
        Just(Table::DiscreteInputs),
        Just(Table::InputRegisters),
        Just(Table::HoldingRegisters)
    ];
    vec(
        (table, 0..2000_u16, 1..9_u16)
            .prop_map(|(table, address, count)| register(table, address, count)),
        1..60,
    )
}

proptest! {
    #[test]
    fn each_point_is_in_exactly_one_request_that_covers_it(
        points in points(),
        max_registers in 8..=125_u16,
        max_bits in 8..=2000_u16,
        gap_fill in 0..40_u16,
        one_request_per_field: bool,
        special in vec(any::<(bool, bool)>(), 60),
    ) {
        let settings = Settings { max_registers, max_bits, gap_fill, one_request_per_field, ..DEFAULTS };
        let given: Vec<_> = points.iter().enumerate()
            .map(|(id, point)| PlanPoint { id: id as u32, point, alone: special[id].0, cut: special[id].1 })
            .collect();
        let mut seen = BTreeMap::new();
        for planned in plan(&settings, &given) {
            let request = &planned.request;
            let limit = if request.table.is_bits() { max_bits } else { max_registers };
            prop_assert!(request.count <= limit);
            prop_assert_eq!(request.fields.iter().map(|field| field.point).collect::<Vec<_>>(), planned.points.clone());
            if planned.points.iter().any(|point| special[*point as usize].0) {
                prop_assert_eq!(planned.points.len(), 1);
            }
            for field in &request.fields {
                let point = &points[field.point as usize];
                prop_assert_eq!(point.table, request.table);
                let unit = if request.table.is_bits() { 1 } else { 2 };
                prop_assert_eq!(request.address + field.offset / unit, point.address);
                prop_assert!(point.address + point.count <= request.address + request.count);
                *seen.entry(field.point).or_insert(0) += 1;
            }
        }
        prop_assert_eq!(seen.len(), points.len());
        prop_assert!(seen.values().all(|count| *count == 1));
    }
}

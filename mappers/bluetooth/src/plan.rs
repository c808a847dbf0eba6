//! Points of one characteristic are one read; advertisements are read from what was heard.

use std::collections::BTreeMap;

use longshore_sdk::{PlanPoint, Planned};

use crate::{
    driver::Request,
    point::{Place, Point, Source},
};

/// The characteristic (none for advertisements), and the point if it is read alone.
type Key = (Option<Place>, Option<u32>);

/// Pure: each point stands in exactly one request.
pub(crate) fn plan(points: &[PlanPoint<'_, Point>]) -> Vec<Planned<Request>> {
    // A point that the device minds is read alone: under a key of its own.
    let mut groups: BTreeMap<Key, Vec<(u32, Point)>> = BTreeMap::new();
    for point in points {
        let place = match point.point.source {
            Source::Characteristic(place) => Some(place),
            Source::Advert(_) => None,
        };
        let alone = point.alone.then_some(point.id);
        let group = groups.entry((place, alone)).or_default();
        group.push((point.id, point.point.clone()));
    }
    let planned = |((place, _), points): (_, Vec<(u32, Point)>)| Planned {
        points: points.iter().map(|(id, _)| *id).collect(),
        request: Request { place, points },
    };
    groups.into_iter().map(planned).collect()
}

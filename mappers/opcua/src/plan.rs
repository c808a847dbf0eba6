//! Which points to read together. Pure.

use longshore_sdk::{PlanPoint, Planned};

use crate::point::Point;

/// Points in one request at most. Servers with smaller limits say so, and the
/// connection splits by them.
const MAX_POINTS: usize = 1000;

/// The points of one exchange, in their order.
#[derive(Debug, Clone)]
pub struct Request(pub Vec<(u32, Point)>);

/// Nodes have no order and no gaps: as many together as there may be. A point
/// that spoilt a whole request stands alone.
pub(crate) fn plan(points: &[PlanPoint<'_, Point>]) -> Vec<Planned<Request>> {
    let mut requests: Vec<Request> = Vec::new();
    let mut open = false;
    for point in points {
        let one = (point.id, point.point.clone());
        match requests.last_mut() {
            Some(Request(last))
                if open && !point.alone && !point.cut && last.len() < MAX_POINTS =>
            {
                last.push(one);
            }
            _ => requests.push(Request(vec![one])),
        }
        open = !point.alone;
    }
    requests
        .into_iter()
        .map(|request| Planned {
            points: request.0.iter().map(|(id, _)| *id).collect(),
            request,
        })
        .collect()
}

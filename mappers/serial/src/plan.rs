//! Which properties one exchange brings. Pure.

use longshore_sdk::{PlanPoint, Planned};

use crate::point::Point;

/// One exchange: what is sent, and the properties that the answer holds.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is sent; nothing to a device that talks by itself.
    pub send: Vec<u8>,
    /// The properties with their ids.
    pub points: Vec<(u32, Point)>,
}

/// Equal requests become one exchange. What talks by itself is asked for by
/// the message that holds it.
pub(crate) fn plan(points: &[PlanPoint<'_, Point>]) -> Vec<Planned<Request>> {
    let mut requests: Vec<Planned<Request>> = Vec::new();
    let (alone, together): (Vec<_>, Vec<_>) = points.iter().partition(|of| of.alone);
    for of in together {
        let same = |planned: &&mut Planned<Request>| {
            let first = &planned.request.points[0].1;
            first.request() == of.point.request()
                && (first.request().is_some() || first.answer().head == of.point.answer().head)
        };
        match requests.iter_mut().find(same) {
            Some(planned) => {
                planned.request.points.push((of.id, of.point.clone()));
                planned.points.push(of.id);
            }
            None => requests.push(exchange(of)),
        }
    }
    requests.extend(alone.into_iter().map(exchange));
    requests
}

fn exchange(of: &PlanPoint<'_, Point>) -> Planned<Request> {
    Planned {
        request: Request {
            send: of.point.request().unwrap_or_default().to_vec(),
            points: vec![(of.id, of.point.clone())],
        },
        points: vec![of.id],
    }
}

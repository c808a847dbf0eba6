//! Which registers to read together. Pure.

use longshore_sdk::{PlanPoint, Planned};

use crate::{
    bus::Settings,
    point::{Coding, Point, Table},
};

/// One read request and what its answer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The table.
    pub table: Table,
    /// The first register or bit.
    pub address: u16,
    /// How many registers or bits.
    pub count: u16,
    /// The points in it.
    pub fields: Vec<Field>,
}

/// Where a point stands in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The point's id.
    pub point: u32,
    /// Its first byte among the answer's registers, or its first bit.
    pub offset: u16,
    /// How many bits, of a bit table.
    pub bits: u16,
    /// How it reads.
    pub coding: Coding,
}

/// A request that is being gathered.
struct Block<'a> {
    table: Table,
    start: u32,
    end: u32,
    /// Nothing may join: its point stands alone.
    closed: bool,
    points: Vec<&'a PlanPoint<'a, Point>>,
}

/// Coalesces points into requests: sorted by address, gaps filled where that
/// saves a request, never more than the device's limits.
pub(crate) fn plan(settings: &Settings, points: &[PlanPoint<'_, Point>]) -> Vec<Planned<Request>> {
    let mut sorted: Vec<_> = points.iter().collect();
    sorted.sort_by_key(|of| (of.point.table, of.point.address, of.point.count, of.id));
    let mut requests = Vec::new();
    let mut block: Option<Block<'_>> = None;
    for point in sorted {
        let start = u32::from(point.point.address);
        let end = start + u32::from(point.point.count);
        match &mut block {
            Some(open) if open.takes(settings, point, start, end) => {
                open.end = open.end.max(end);
                open.points.push(point);
            }
            _ => {
                let table = point.point.table;
                let closed = point.alone || settings.one_request_per_field;
                let next = Block {
                    table,
                    start,
                    end,
                    closed,
                    points: vec![point],
                };
                requests.extend(block.replace(next).map(Block::finish));
            }
        }
    }
    requests.extend(block.map(Block::finish));
    requests
}

impl<'a> Block<'a> {
    fn takes(
        &self,
        settings: &Settings,
        point: &PlanPoint<'_, Point>,
        start: u32,
        end: u32,
    ) -> bool {
        if self.closed || point.alone || point.cut || self.table != point.point.table {
            return false;
        }
        let (gap, limit) = if self.table.is_bits() {
            // A register's worth of bits costs as much as a register.
            (u32::from(settings.gap_fill) * 16, settings.max_bits)
        } else {
            (u32::from(settings.gap_fill), settings.max_registers)
        };
        start <= self.end + gap && self.end.max(end) - self.start <= u32::from(limit)
    }

    fn finish(self) -> Planned<Request> {
        let is_bits = self.table.is_bits();
        let field = |of: &&PlanPoint<'_, Point>| {
            let distance = of.point.address - self.start as u16;
            let offset = match of.point.coding {
                Coding::Registers { skip, .. } => distance * 2 + u16::from(skip),
                Coding::Bit | Coding::Number => distance,
            };
            Field {
                point: of.id,
                offset,
                bits: if is_bits { of.point.count } else { 0 },
                coding: of.point.coding,
            }
        };
        Planned {
            request: Request {
                table: self.table,
                address: self.start as u16,
                count: (self.end - self.start) as u16,
                fields: self.points.iter().map(field).collect(),
            },
            points: self.points.iter().map(|of| of.id).collect(),
        }
    }
}

//! The parts of what a mapper is given: its own configuration, points, methods.

use serde_json::{Map, Value};

use super::{Section, fault};
use crate::{DeviceConfig, Fault, PointConfig, keys::Table};

/// Reads the mapper's own configuration; null is an empty one. Keys that are
/// not in the table are no fault.
///
/// # Errors
/// All faults, each at its key.
pub fn of_mapper<T>(
    table: &'static Table,
    config: &Value,
    read: impl FnOnce(&Section<'_>) -> T,
) -> Result<T, Vec<Fault>> {
    let empty = Map::new();
    let map = match config {
        Value::Null => &empty,
        Value::Object(map) => map,
        _ => return Err(vec![fault("", ".", &"expected an object")]),
    };
    let section = Section::new(table, "", map);
    let read = read(&section);
    match section.finish().0 {
        faults if faults.is_empty() => Ok(read),
        faults => Err(faults),
    }
}

/// Reads the points of a device: a point that is wrong costs itself, with all
/// of its faults as one. `read` gives none where it noted a fault; where it
/// noted none either, `missing` is the key and what to say.
pub fn of_points<T>(
    table: &'static Table,
    device: &DeviceConfig,
    warnings: &mut Vec<Fault>,
    (key, missing): (&str, &str),
    mut read: impl FnMut(&Section<'_>, &PointConfig) -> Option<T>,
) -> Vec<Result<T, Fault>> {
    let points = device.points.iter().enumerate();
    let points = points.map(|(index, point)| {
        let section = Section::new(table, format!("points[{index}].config"), &point.config);
        let parsed = read(&section, point);
        if parsed.is_none() && section.is_sound() {
            section.fault(key, missing);
        }
        let (faults, more) = section.finish();
        warnings.extend(more);
        match (joined(faults), parsed) {
            (None, Some(point)) => Ok(point),
            (fault, _) => Err(fault.unwrap_or_else(|| Fault {
                path: format!("points[{index}].config"),
                message: missing.to_owned(),
            })),
        }
    });
    points.collect()
}

/// Reads the methods of a device to tell what is wrong with them. A method that
/// is wrong costs itself: its faults are warnings here, and its calls say the same.
pub fn of_methods<T>(
    table: &'static Table,
    device: &DeviceConfig,
    warnings: &mut Vec<Fault>,
    mut read: impl FnMut(&Section<'_>) -> T,
) {
    for (index, method) in device.methods.iter().enumerate() {
        let section = Section::new(table, format!("methods[{index}].config"), &method.config);
        read(&section);
        let (faults, more) = section.finish();
        warnings.extend(faults.into_iter().chain(more));
    }
}

/// Several faults as one.
pub fn joined(faults: Vec<Fault>) -> Option<Fault> {
    faults.into_iter().reduce(|first, next| Fault {
        message: format!("{}; {next}", first.message),
        path: first.path,
    })
}

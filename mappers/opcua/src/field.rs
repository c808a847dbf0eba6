//! From a visitor's `configData` to a point.

use std::{str::FromStr, sync::Arc};

use longshore_sdk::{PointConfig, Sampling, config::Section};
use opcua::types::NumericRange;
use serde_json::Value;

use crate::{
    config::{Defaults, namespace},
    node::{Namespace, NodeName, Place},
    point::{ATTRIBUTES, Deadband, EVENT_NOTIFIER, Field, Point, TYPES, VALUE, Watch},
};

/// Reads one point; `None` when its node cannot be known.
pub(crate) fn parse(
    section: &Section<'_>,
    point: &PointConfig,
    defaults: &Defaults,
) -> Option<Point> {
    let place = place(section, defaults);
    let attribute = section.choice_or_default("attribute", ATTRIBUTES);
    let range = range(section);
    let element = element(section);
    let raw_type = section.choice("rawType", TYPES);
    let watch = watch(section, defaults);
    if !element.is_empty() && range != NumericRange::None {
        section.fault("element", "write element or indexRange, not both");
    }
    if attribute != VALUE && watch.deadband.is_some() {
        section.fault("serverDeadband", "only the Value attribute has a deadband");
    }
    Some(Arc::new(Field {
        place: place?,
        attribute,
        range,
        element,
        raw_type,
        // Values that come one by one are no snapshot of a group.
        polled: match point.sampling {
            // Who watches it is sent events and no values (Part 4, section 5.12.1.2).
            _ if attribute == EVENT_NOTIFIER => true,
            Sampling::Auto => point.group.is_some(),
            Sampling::Poll => true,
            Sampling::Push => false,
        },
        watch,
    }))
}

/// `node` (or KubeEdge's `nodeID`), `path`, or a path from a node.
fn place(section: &Section<'_>, defaults: &Defaults) -> Option<Place> {
    // KubeEdge's mapper wants the name and does not use it either.
    section.pass_over(&["browseName"]);
    let namespace = match namespace(section) {
        Namespace::Index(_) => defaults.namespace.clone(),
        uri => uri,
    };
    let key = if section.has("node") {
        "node"
    } else {
        "nodeID"
    };
    // Both are asked for, so that neither is an unknown key.
    let (ours, theirs) = (section.text("node"), section.text("nodeID"));
    let node = match ours.or(theirs) {
        Some(text) => match NodeName::parse(text, &namespace) {
            Ok(node) => Some(node),
            Err(message) => {
                section.fault(key, message);
                return None;
            }
        },
        None => None,
    };
    match (section.text("path"), node) {
        (Some(path), node) => match Place::path(path, node, &namespace) {
            Ok(place) => Some(place),
            Err(message) => {
                section.fault("path", message);
                None
            }
        },
        (None, Some(node)) => Some(Place::node(node)),
        (None, None) => None,
    }
}

/// `2`, `0:3` or `0:1,2:3` (Part 4, section 7.27).
fn range(section: &Section<'_>) -> NumericRange {
    let Some(text) = section.label("indexRange") else {
        return NumericRange::None;
    };
    match NumericRange::from_str(&text) {
        Ok(range) if range.is_valid() => range,
        _ => {
            section.fault(
                "indexRange",
                format!("`{text}` is not a range; write 2, 0:3, or 0:1,2:3 for a matrix"),
            );
            NumericRange::None
        }
    }
}

fn element(section: &Section<'_>) -> Vec<crate::point::Step> {
    let Some(text) = section.label("element") else {
        return Vec::new();
    };
    Field::steps(&text).unwrap_or_else(|| {
        section.fault(
            "element",
            format!("`{text}` is not a place in a value; write 3, limits.high or axes.0.position"),
        );
        Vec::new()
    })
}

fn watch(section: &Section<'_>, defaults: &Defaults) -> Watch {
    let millis = |key| {
        let interval = section.duration(key);
        interval.map(|interval| interval.as_millis() as u32)
    };
    Watch {
        queue_size: section.integer_or_default("queueSize"),
        deadband: deadband(section),
        sampling_ms: millis("samplingInterval"),
        publishing_ms: millis("publishingInterval").or(defaults.publishing_ms),
    }
}

fn deadband(section: &Section<'_>) -> Option<Deadband> {
    let inner = section.section("serverDeadband")?;
    let number = |key| {
        let value = inner.value(key)?;
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_f64(),
        };
        match number {
            Some(number) if number >= 0.0 && number.is_finite() => Some(number),
            _ => {
                inner.fault(key, format!("expected a number from 0 on, found {value}"));
                None
            }
        }
    };
    let found = match (number("abs"), number("percent")) {
        (Some(absolute), None) => Some(Deadband::Absolute(absolute)),
        (None, Some(percent)) if percent <= 100.0 => Some(Deadband::Percent(percent)),
        (None, Some(_)) => {
            inner.fault("percent", "more than 100 percent lets nothing through");
            None
        }
        (Some(_), Some(_)) => {
            inner.fault("abs", "write abs or percent, not both");
            None
        }
        (None, None) => {
            if inner.is_sound() {
                inner.fault("abs", "write abs or percent");
            }
            None
        }
    };
    section.absorb(inner);
    found
}

//! What people write: manifests, expressions, schemas, values.

use std::{path::Path, str::FromStr};

use longshore_types::{
    EffectiveDevice, Manifests, PropertyPolicy, Timestamp, Topic, Value,
    device::PropertyType,
    expression::{Expression, Term},
    schema_check::{Document, Part},
};

use crate::{byte, text};

/// What was accepted has a value or says why not.
pub(crate) fn expression(mut data: &[u8]) {
    let number = f64::from(byte(&mut data)) - 128.0;
    let Some(source) = text(&mut data) else {
        return;
    };
    if let Ok(expression) = Expression::parse(source, &["value", "raw"]) {
        for term in [
            Term::Double(number),
            Term::Int(number as i64),
            Term::Bool(number > 0.0),
        ] {
            // A fault of a value is an answer.
            let _ = expression.evaluate(&|_| Some(term.clone()));
        }
        let _ = expression.evaluate(&|_| None);
        assert_eq!(expression.source(), source);
    }
}

/// The faults of a file name it; a device that can be built says what is wrong.
pub(crate) fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let loaded = Manifests::from_text(Path::new("fuzz.yaml"), text);
    for fault in &loaded.faults {
        assert!(fault.to_string().starts_with("fuzz.yaml"), "{fault}");
    }
    for device in &loaded.devices {
        for model in &loaded.models {
            if let Ok(device) = EffectiveDevice::build(&device.object, &model.object) {
                for property in &device.properties {
                    // A text that is refused is told by its error.
                    let _ = property.check_text("1");
                }
            }
        }
    }
}

/// A schema, sent by any mapper, and a configuration, written by anybody.
pub(crate) fn schema(mut data: &[u8]) {
    let (Some(schema), Some(config)) = (text(&mut data), text(&mut data)) else {
        return;
    };
    let Ok(config) = serde_json::from_str::<serde_json::Value>(config) else {
        return;
    };
    if let Some(object) = config.as_object() {
        let (_, rest, faults) = PropertyPolicy::parse(object, "config");
        assert!(rest.len() <= object.len());
        for fault in faults {
            assert!(fault.path.starts_with("config"), "{fault:?}");
        }
    }
    if let Ok(document) = Document::parse(schema) {
        document.check(Part::Property, &config, "config");
        document.check_device(&config);
    }
}

/// What is read as a value is written as a text that stays as it is.
pub(crate) fn value(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for wanted in [
        PropertyType::Boolean,
        PropertyType::Int,
        PropertyType::Float,
        PropertyType::Double,
        PropertyType::String,
        PropertyType::Bytes,
    ] {
        if let Ok(value) = Value::parse_as(wanted, text) {
            let again = Value::parse_as(wanted, &value.to_string());
            assert_eq!(
                again.map(|value| value.to_string()),
                Ok(value.to_string()),
                "{text:?} as {wanted:?}"
            );
        }
    }
    if let Ok(topic) = Topic::from_str(text) {
        assert_eq!(topic.to_string(), text);
    }
    let _ = Timestamp::from_str(text);
}

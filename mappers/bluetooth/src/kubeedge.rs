//! KubeEdge's vocabulary for Bluetooth: `dataConverter` and `dataWrite`.

use longshore_sdk::config::Section;
use serde_json::Value as Json;

/// `dataConverter`: bytes, a shift, and steps of arithmetic.
///
/// The bytes from `startIndex` to `endIndex` make one number; a start behind
/// the end takes them backwards, which is the lowest byte first.
#[derive(Debug, Clone, PartialEq)]
pub struct Converter {
    start: usize,
    end: usize,
    left: u32,
    right: u32,
    steps: Vec<(Operation, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Converter {
    /// The number; `None` when the bytes do not reach so far.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Option<f64> {
        let (first, last) = (self.start.min(self.end), self.start.max(self.end));
        let bytes = bytes.get(first..=last)?;
        let raw = if self.start <= self.end {
            crate::value::big(bytes)
        } else {
            crate::value::little(bytes)
        };
        let raw = raw << self.left >> self.right;
        let apply = |number: f64, (operation, by): &(Operation, f64)| match operation {
            Operation::Add => number + by,
            Operation::Subtract => number - by,
            Operation::Multiply => number * by,
            Operation::Divide => number / by,
        };
        Some(self.steps.iter().fold(raw as f64, apply))
    }
}

/// Reads `dataConverter`.
pub(crate) fn converter(section: &Section<'_>) -> Option<Converter> {
    let inner = section.section("dataConverter")?;
    let place = |key| inner.integer_or_default::<usize>(key);
    let shift = |key| inner.integer_or_default::<u32>(key);
    let (start, end) = (place("startIndex"), place("endIndex"));
    if start.abs_diff(end) > 7 {
        inner.fault("endIndex", "a number has at most 8 bytes");
    }
    let (left, right) = (shift("shiftLeft"), shift("shiftRight"));
    let mut steps = Vec::new();
    let list = inner.value("orderOfOperations").and_then(Json::as_array);
    for step in list.into_iter().flatten() {
        let number = step.get("operationValue").and_then(Json::as_f64);
        let operation = match step.get("operationType").and_then(Json::as_str) {
            Some("Add") => Some(Operation::Add),
            Some("Subtract") => Some(Operation::Subtract),
            Some("Multiply") => Some(Operation::Multiply),
            Some("Divide") => Some(Operation::Divide),
            _ => None,
        };
        match (operation, number) {
            (Some(Operation::Divide), Some(0.0)) => {
                inner.fault("orderOfOperations", "a division by 0");
            }
            (Some(operation), Some(number)) => steps.push((operation, number)),
            _ => inner.fault(
                "orderOfOperations",
                "each step needs an operationType (Add, Subtract, Multiply, Divide) and an operationValue",
            ),
        }
    }
    let sound = inner.is_sound();
    section.absorb(inner);
    sound.then_some(Converter {
        start,
        end,
        left,
        right,
        steps,
    })
}

/// Reads `dataWrite`: words and the bytes that stand for them.
pub(crate) fn words(section: &Section<'_>) -> Vec<(String, Vec<u8>)> {
    let Some(value) = section.value("dataWrite") else {
        return Vec::new();
    };
    let byte = |value: &Json| value.as_u64().and_then(|number| u8::try_from(number).ok());
    let words = value.as_object().and_then(|map| {
        map.iter()
            .map(|(word, bytes)| {
                let bytes = bytes.as_array()?.iter().map(byte).collect::<Option<_>>()?;
                Some((word.clone(), bytes))
            })
            .collect::<Option<Vec<_>>>()
    });
    words.unwrap_or_else(|| {
        section.fault(
            "dataWrite",
            "expected words with their bytes, for example `ON: [1]`",
        );
        Vec::new()
    })
}

//! Expected and got, side by side.

use longshore_types::Value;
use serde_json::Value as Json;

use crate::table::render;

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// What was compared.
    pub(super) name: String,
    /// What the test says.
    pub(super) expected: String,
    /// What came.
    pub(super) got: String,
    /// What is to be said about it; empty if all is well.
    pub(super) remark: String,
    /// Whether the two agree.
    pub(super) agree: bool,
}

impl Row {
    /// Whether the two agree.
    pub(super) fn passed(&self) -> bool {
        self.agree
    }

    /// As a part of something that has a name.
    pub(super) fn within(mut self, name: &str) -> Self {
        if !name.is_empty() {
            self.name = format!("{name}: {}", self.name);
        }
        self
    }
}

/// The table.
pub(super) fn table(rows: &[Row]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let result = match (row.agree, row.remark.is_empty()) {
                (true, _) => "ok".to_owned(),
                (false, true) => "FAILED".to_owned(),
                (false, false) => format!("FAILED: {}", row.remark),
            };
            vec![
                row.name.clone(),
                row.expected.clone(),
                row.got.clone(),
                result,
            ]
        })
        .collect();
    render(&["PROPERTY", "EXPECTED", "GOT", "RESULT"], &cells)
}

/// `1 profile`, `2 profiles`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A value of a test file or of a twin as canonical text.
pub(super) fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), ..) => Value::Int(whole).to_string(),
            (_, Some(whole), _) => Value::Uint(whole).to_string(),
            (.., Some(number)) => Value::Float(number).to_string(),
            _ => number.to_string(),
        },
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

/// Whether what came is what was expected. Numbers may differ by what a 32-bit
/// float cannot hold.
pub(super) fn agree(expected: &str, got: &str) -> bool {
    const SINGLE: f64 = 1e-6;
    if expected == got {
        return true;
    }
    match (expected.parse::<f64>(), got.parse::<f64>()) {
        (Ok(expected), Ok(got)) => {
            // Whole numbers must be the same, however large.
            let whole = expected.fract() == 0.0 && got.fract() == 0.0;
            if whole {
                expected == got
            } else {
                (expected - got).abs() <= expected.abs() * SINGLE
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_agree_within_a_float() {
        assert!(agree("230.2", "230.2") && agree("230.2", "230.1999969") && agree("60", "60.0"));
        assert!(
            !agree("230.2", "230.3")
                && !agree("5000000123", "5000000124")
                && !agree("true", "false")
        );
        assert_eq!(text(&json!(21.50)), "21.5");
        assert_eq!(text(&json!(true)), "true");
    }

    #[test]
    fn a_table() {
        let row = |name: &str, expected: &str, got: &str, remark: &str| Row {
            name: name.into(),
            expected: expected.into(),
            got: got.into(),
            remark: remark.into(),
            agree: agree(expected, got),
        };
        let rows = [
            row("temperature", "21.5", "21.5", ""),
            row("pressure", "1.5", "1.6", ""),
            row("flow", "12", "-", "bad, refused"),
        ];
        insta::assert_snapshot!(table(&rows), @r"
        PROPERTY      EXPECTED   GOT    RESULT
        temperature   21.5       21.5   ok
        pressure      1.5        1.6    FAILED
        flow          12         -      FAILED: bad, refused
        ");
    }
}

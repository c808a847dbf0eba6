//! What the simulated device heard, for who wonders why a test fails.

use std::fmt::Write as _;

use longshore_types::near::nearest;
use serde_json::Value as Json;

/// Different requests that are told.
const TOLD: usize = 12;

/// Requests in the simulator's state, beside what its scenario answers; empty
/// where a simulator tells of none.
pub(super) fn told(state: &Json, scenario: &Json) -> String {
    let mut out = String::new();
    let known = known(scenario);
    let requests = requests(state);
    for (request, count) in requests.iter().take(TOLD) {
        // A text never fails to take more.
        let _ = write!(out, "\n  {count} times {}", shown(request));
        if known.is_empty() || known.iter().any(|known| fits(known, request)) {
            continue;
        }
        let names = known.iter().map(String::as_str);
        let _ = match nearest(request.trim(), names) {
            Some(near) => write!(
                out,
                ": the scenario answers no such request; the nearest is {}",
                shown(near)
            ),
            None => write!(out, ": the scenario answers no such request"),
        };
    }
    let units = units(scenario);
    for row in state["counters"].as_array().into_iter().flatten() {
        let number = |key: &str| row[key].as_u64().unwrap_or_default();
        let (unit, function) = (number("unit"), number("function"));
        let _ = write!(
            out,
            "\n  unit {unit}, function {function}: {} requests",
            number("requests")
        );
        if !units.is_empty() && !units.contains(&unit) {
            let there: Vec<String> = units.iter().map(u64::to_string).collect();
            let _ = write!(out, ": there is no such unit, only {}", there.join(", "));
        }
    }
    if out.is_empty() {
        return out;
    }
    format!("the device heard:{out}\n")
}

/// Each request once, the most frequent first.
fn requests(state: &Json) -> Vec<(String, usize)> {
    let lines = state["lines"].as_array().into_iter().flatten();
    let lists = lines
        .map(|line| &line["requests"])
        .chain([&state["requests"]]);
    let texts = lists
        .filter_map(Json::as_array)
        .flatten()
        .filter_map(Json::as_str);
    let mut found: Vec<(String, usize)> = Vec::new();
    for text in texts {
        match found.iter_mut().find(|(known, _)| known == text) {
            Some((_, count)) => *count += 1,
            None => found.push((text.to_owned(), 1)),
        }
    }
    found.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    found
}

/// The requests that a scenario answers, wherever they stand in it.
fn known(scenario: &Json) -> Vec<String> {
    match scenario {
        Json::Object(map) => {
            let own = map.get("request").and_then(Json::as_str).map(str::to_owned);
            own.into_iter()
                .chain(map.values().flat_map(known))
                .collect()
        }
        Json::Array(items) => items.iter().flat_map(known).collect(),
        _ => Vec::new(),
    }
}

fn units(scenario: &Json) -> Vec<u64> {
    let units = scenario["units"].as_array().into_iter().flatten();
    units.filter_map(|unit| unit["unit"].as_u64()).collect()
}

/// Whether a request is what the scenario writes, whose fields stand for anything.
fn fits(known: &str, request: &str) -> bool {
    let plain = |text: &str| text.trim().replace(' ', "").to_lowercase();
    let (known, request) = (plain(known), plain(request));
    if !known.contains('{') {
        return known == request;
    }
    let mut parts = known.split(['{', '}']).step_by(2);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = request.strip_prefix(first) else {
        return false;
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// A request with what is no character spelt out.
fn shown(text: &str) -> String {
    format!(
        "`{}`",
        text.escape_debug()
            .to_string()
            .replace("\\\"", "\"")
            .replace("\\'", "'")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_that_nobody_answers_is_told_with_the_nearest() {
        let scenario = json!({"units": [{"unit": 1, "answers": [
            {"request": "#0184"}, {"request": "#01+07.500D9"}, {"request": "VOLT {set}"}]}]});
        let state =
            json!({"lines": [{"requests": ["#0184", "#01  7.500D9", "#0184", "VOLT 5.0"]}]});
        assert_eq!(
            told(&state, &scenario),
            "the device heard:\n  2 times `#0184`\n  1 times `#01  7.500D9`: the scenario answers no such request; the nearest is `#01+07.500D9`\n  1 times `VOLT 5.0`\n"
        );
        assert_eq!(told(&json!({}), &scenario), "");
    }

    #[test]
    fn a_unit_that_is_not_there_is_told() {
        let state = json!({"counters": [{"unit": 5, "function": 4, "requests": 7}]});
        assert_eq!(
            told(&state, &json!({"units": [{"unit": 77}]})),
            "the device heard:\n  unit 5, function 4: 7 requests: there is no such unit, only 77\n"
        );
    }
}

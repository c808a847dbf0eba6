//! What a node says, for people.

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::table;

fn text(json: &Json) -> String {
    match json {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn properties(device: &Json) -> impl Iterator<Item = &Json> {
    device["properties"].as_array().into_iter().flatten()
}

/// A value as it is told in short: one that is not good has a mark.
fn short(property: &Json) -> String {
    let value = table::or_dash(&text(&property["text"]));
    let mark = if property["quality"] == "good" {
        ""
    } else {
        "?"
    };
    format!("{}={value}{mark}", text(&property["name"]))
}

/// A line for each device.
pub(super) fn table(devices: &[Json]) -> String {
    let rows: Vec<Vec<String>> = devices
        .iter()
        .map(|device| {
            let values: Vec<String> = properties(device).map(short).collect();
            let names = ["namespace", "name", "state"].map(|key| text(&device[key]));
            names
                .into_iter()
                .chain([table::or_dash(&values.join(" "))])
                .collect()
        })
        .collect();
    let any = devices
        .iter()
        .flat_map(properties)
        .any(|property| property["quality"] != "good");
    let mut out = table::render(&["NAMESPACE", "NAME", "STATE", "TWINS"], &rows);
    if any {
        out.push_str("\n? is not good: old, doubtful or never read; `longshore describe device NAME --edge` says why\n");
    }
    out
}

/// All that is known of one device.
pub(super) fn describe(device: &Json) -> String {
    let mut out = String::new();
    for (title, key) in [
        ("Name", "name"),
        ("Namespace", "namespace"),
        ("State", "state"),
        ("Last online", "lastOnlineTime"),
    ] {
        let value = table::or_dash(&text(&device[key]));
        // A text never fails to take more.
        let _ = writeln!(out, "{:<14}{value}", format!("{title}:"));
    }
    let rows: Vec<Vec<String>> = properties(device).map(row).collect();
    let titles = [
        "PROPERTY",
        "REPORTED",
        "QUALITY",
        "DESIRED",
        "WRITE",
        "READ",
        "LAST ERROR",
    ];
    let _ = write!(out, "\n{}", table::render(&titles, &rows));
    for warning in device["warnings"].as_array().into_iter().flatten() {
        let [level, path, message] = ["level", "path", "message"].map(|key| text(&warning[key]));
        let _ = write!(out, "\n{level}: {path}: {message}");
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

fn row(property: &Json) -> Vec<String> {
    let quality = match (text(&property["quality"]), text(&property["reason"])) {
        (quality, reason) if reason.is_empty() || reason == "none" => quality,
        (quality, reason) => format!("{quality} ({reason})"),
    };
    vec![
        text(&property["name"]),
        table::or_dash(&text(&property["text"])),
        quality,
        table::or_dash(&text(&property["desired"])),
        table::or_dash(&text(&property["write"]["state"])),
        table::or_dash(&text(&property["lastRead"])),
        table::or_dash(&text(&property["lastError"])),
    ]
}

/// How the last write of a property ended, and why.
pub(super) fn write_of(device: &Json, property: &str) -> (String, String) {
    let found = properties(device).find(|known| known["name"] == property);
    let write = found.map_or(&Json::Null, |found| &found["write"]);
    let state = match text(&write["state"]) {
        none if none.is_empty() => "pending".to_owned(),
        state => state,
    };
    let message = match text(&write["message"]) {
        none if none.is_empty() => none,
        message => format!(": {message}"),
    };
    (state, message)
}

/// The lines for what is another than before.
pub(super) fn changes(before: &Json, now: &Json) -> String {
    let mut out = String::new();
    let clock = crate::view::now().to_string();
    let clock = clock.get(11..23).unwrap_or(&clock);
    if before["state"] != now["state"] {
        let _ = writeln!(out, "{clock}  state  {}", text(&now["state"]));
    }
    for property in properties(now) {
        let former = properties(before).find(|known| known["name"] == property["name"]);
        let same = |key: &str| former.is_some_and(|former| former[key] == property[key]);
        if ["text", "quality", "write", "lastError"]
            .into_iter()
            .all(same)
        {
            continue;
        }
        let [name, value, quality] = ["name", "text", "quality"].map(|key| text(&property[key]));
        let mut line = format!("{clock}  {name}  {}", table::or_dash(&value));
        if quality != "good" {
            let _ = write!(line, "  {quality}");
        }
        if !same("write") && !property["write"].is_null() {
            let (state, message) = write_of(now, &name);
            let _ = write!(line, "  write {state}{message}");
        }
        if let Some(error) = property["lastError"]
            .as_str()
            .filter(|_| !same("lastError"))
        {
            let _ = write!(line, "  {error}");
        }
        let _ = writeln!(out, "{line}");
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn oven(temperature: f64, quality: &str) -> Json {
        json!({"device": "default/oven", "namespace": "default", "name": "oven", "state": "online",
        "properties": [
            {"name": "temperature", "text": temperature.to_string(), "quality": quality, "reason": "none"},
            {"name": "setpoint", "text": "20", "quality": "good", "reason": "none", "desired": "20",
             "write": {"state": "confirmed", "message": ""}},
        ]})
    }

    #[test]
    fn a_value_that_is_not_good_has_a_mark() {
        let text = table(&[oven(21.5, "bad")]);
        assert!(text.contains("temperature=21.5? setpoint=20\n"), "{text}");
        assert!(text.contains("? is not good"), "{text}");
        assert!(!table(&[oven(21.5, "good")]).contains('?'));
    }

    #[test]
    fn only_what_changed_is_told() {
        let first = changes(&Json::Null, &oven(21.5, "good"));
        assert_eq!(first.lines().count(), 3, "{first}");
        assert_eq!(changes(&oven(21.5, "good"), &oven(21.5, "good")), "");
        let next = changes(&oven(21.5, "good"), &oven(22.0, "bad"));
        assert!(next.ends_with("  temperature  22  bad\n"), "{next}");
        assert_eq!(next.lines().count(), 1);
    }
}

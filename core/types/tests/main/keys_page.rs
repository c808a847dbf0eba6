//! The page of keys, functions and units is made of their tables.

use std::{fmt::Write, fs, path::PathBuf};

use longshore_types::{
    expression::FUNCTIONS,
    unit::units,
    vocabulary::{DEVICE_KEYS, Key, PROPERTY_KEYS},
};

fn table(keys: &[Key], whose: bool) -> String {
    let mut text = String::from("| key | form | default | meaning | example |");
    text.push_str(if whose { " who |\n" } else { "\n" });
    text.push_str(if whose {
        "|---|---|---|---|---|---|\n"
    } else {
        "|---|---|---|---|---|\n"
    });
    for key in keys {
        let example = if key.example.is_empty() {
            String::new()
        } else {
            format!("`{}`", key.example)
        };
        let row = format!(
            "| `{}` | {} | {} | {} | {example} |",
            key.path, key.form, key.default, key.meaning
        );
        // A bar would end the cell.
        let row = row.replace("||", "\\|\\|");
        text.push_str(&row);
        if whose {
            write!(text, " {} |", key.owner.as_str()).unwrap();
        }
        text.push('\n');
    }
    text
}

fn functions() -> String {
    let rows = FUNCTIONS
        .iter()
        .map(|help| format!("| `{}` | {} |\n", help.form, help.meaning));
    format!(
        "| function | gives |\n|---|---|\n{}",
        rows.collect::<String>()
    )
}

fn unit_table() -> String {
    let rows =
        units().map(|unit| format!("| `{}` | {} | {} |\n", unit.code, unit.symbol, unit.name));
    format!(
        "| code | shown as | unit |\n|---|---|---|\n{}",
        rows.collect::<String>()
    )
}

#[test]
fn the_page_of_keys_is_current() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/reference/property-configuration.md");
    let found = fs::read_to_string(&file).unwrap_or_default();
    let mut text = found.clone();
    for (name, part) in [
        ("property keys", table(PROPERTY_KEYS, true)),
        ("device keys", table(DEVICE_KEYS, true)),
        ("functions", functions()),
        ("units", unit_table()),
    ] {
        let (begin, end) = (
            format!("<!-- {name}: made of core/types -->\n"),
            format!("<!-- end of {name} -->"),
        );
        let from = text
            .find(&begin)
            .unwrap_or_else(|| panic!("the page has no `{begin}`"))
            + begin.len();
        let to = text
            .find(&end)
            .unwrap_or_else(|| panic!("the page has no `{end}`"));
        text.replace_range(from..to, &part);
    }
    if std::env::var_os("LONGSHORE_UPDATE").is_some() {
        fs::write(&file, &text).unwrap();
        return;
    }
    assert!(
        found == text,
        "docs/reference/property-configuration.md is out of date; run `LONGSHORE_UPDATE=1 cargo test -p longshore-types`"
    );
}

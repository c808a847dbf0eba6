//! `docs/reference/device-api.md` is what the schema says.

use std::{fmt::Write, fs, path::PathBuf};

use longshore_types::schema::{self, Schema, Shape};

const HEADER: &str = "<!-- Generated from core/types/src/schema; `LONGSHORE_UPDATE=1 cargo test -p longshore-types` rewrites it. -->
# Device API

`devices.kubeedge.io/v1beta1`, the fields of KubeEdge. `kubectl explain device.spec` tells the same. What Longshore
adds stands where that API leaves room: see [property-configuration.md](property-configuration.md) for
`visitors.configData`.

Three things to know when manifests come from KubeEdge: `reportToCloud` left out means true here and false there;
`pushMethod` is kept but not carried out yet; cycles are milliseconds.
";

#[test]
fn the_reference_is_up_to_date() {
    let mut text = HEADER.to_owned();
    for (kind, schema) in [
        ("Device", schema::device()),
        ("DeviceModel", schema::model()),
        ("DeviceStatus", schema::status()),
    ] {
        writeln!(
            text,
            "\n## {kind}\n\n{}\n\n| field | type | meaning |\n|---|---|---|",
            schema.description
        )
        .unwrap();
        for part in ["spec", "status"] {
            if let Some(schema) = schema.field(part) {
                fields(&mut text, part, schema);
            }
        }
    }
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/device-api.md");
    if std::env::var_os("LONGSHORE_UPDATE").is_some() {
        fs::write(&file, &text).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == text,
        "docs/reference/device-api.md is out of date; run `LONGSHORE_UPDATE=1 cargo test -p longshore-types`"
    );
}

fn fields(out: &mut String, path: &str, schema: &Schema) {
    writeln!(
        out,
        "| `{path}` | {} | {} |",
        kind(&schema.shape),
        schema.description
    )
    .unwrap();
    match &schema.shape {
        Shape::Object(inner) => {
            for field in inner {
                fields(out, &format!("{path}.{}", field.name), &field.schema);
            }
        }
        Shape::List(items) => {
            if let Shape::Object(inner) = &items.shape {
                for field in inner {
                    fields(out, &format!("{path}[].{}", field.name), &field.schema);
                }
            }
        }
        _ => {}
    }
}

fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Object(_) | Shape::Metadata => "object".into(),
        Shape::Free => "free object".into(),
        Shape::Map => "texts by name".into(),
        Shape::List(_) => "list".into(),
        Shape::Text => "text".into(),
        Shape::Enum(values) => values
            .iter()
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Shape::Int64 | Shape::Int32 | Shape::Int => "whole number".into(),
        Shape::Bool => "true or false".into(),
    }
}

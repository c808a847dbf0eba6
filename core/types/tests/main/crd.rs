//! The files in `deploy/crds` are what the code says.

use std::{fs, path::PathBuf};

use longshore_types::crd;

const HEADER: &str = "# Generated from core/types/src/schema; `LONGSHORE_UPDATE=1 cargo test -p longshore-types` rewrites it.\n";

#[test]
fn files_are_up_to_date() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds");
    for definition in crd::all() {
        let text = format!(
            "{HEADER}{}",
            serde_saphyr::to_string(&definition.object).unwrap()
        );
        let file = folder.join(definition.file);
        if std::env::var_os("LONGSHORE_UPDATE").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &text).unwrap();
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            found == text,
            "{} is out of date; run `LONGSHORE_UPDATE=1 cargo test -p longshore-types`",
            file.display()
        );
        let read: serde_json::Value = serde_saphyr::from_str(&found).unwrap();
        assert_eq!(
            read,
            definition.object,
            "{} reads back as something else",
            file.display()
        );
    }
}

/// What the API server insists on for a structural schema.
#[test]
fn schemas_are_structural() {
    fn walk(path: &str, schema: &serde_json::Value) {
        assert!(schema["type"].is_string(), "{path} has no type");
        if let Some(fields) = schema["properties"].as_object() {
            fields
                .iter()
                .for_each(|(name, field)| walk(&format!("{path}.{name}"), field));
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(
                    fields.contains_key(name.as_str().unwrap()),
                    "{path} requires the unknown {name}"
                );
            }
        }
        if schema["type"] == "array" {
            walk(&format!("{path}[]"), &schema["items"]);
        }
    }
    for definition in crd::all() {
        let version = &definition.object["spec"]["versions"][0];
        walk(definition.file, &version["schema"]["openAPIV3Schema"]);
        for column in version["additionalPrinterColumns"].as_array().unwrap() {
            assert!(column["jsonPath"].as_str().unwrap().starts_with('.'));
        }
    }
}

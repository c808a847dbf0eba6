//! `longshore new`: a mapper to start from, outside of this workspace.
//!
//! The template is a complete mapper for a small thermometer, with a simulator,
//! tests and a README that says in which order to change what. It is written
//! as a whole or not at all.

pub mod profile;
mod sdk;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use self::sdk::Sdk;
use crate::output::{advised, say};

/// Arguments of `longshore new mapper`.
#[derive(Debug, clap::Args)]
pub struct MapperArgs {
    /// The mapper's name, which is that of its protocol too: of a-z, 0-9 and -
    name: String,
    /// The folder to make [default: longshore-mapper-NAME]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// A checkout of Longshore, a version in the registry, or `vendored`: the SDK that this program carries, written into the crate [default: the checkout around this program, else vendored]
    #[arg(long, value_name = "PATH|VERSION|vendored")]
    sdk: Option<String>,
}

/// The descriptor has room for 31 bytes; `longshore-mapper-` goes before it in
/// the name of the package.
const LONGEST_NAME: usize = 31;

/// Names that would be names of crates or words of Rust in the written code.
const TAKEN: &[&str] = &[
    "as", "async", "await", "break", "const", "continue", "crate", "dyn", "else", "enum", "extern",
    "false", "fn", "for", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub",
    "ref", "return", "self", "static", "struct", "super", "trait", "true", "type", "unsafe", "use",
    "where", "while", "link", "bus", "unit", "point", "request", "parsed", "protocol", "planned",
    "fault", "duration", "value", "section",
];

/// Files of the template: where they go, and what stands in them.
const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("new/template/Cargo.toml.in")),
    (".gitignore", include_str!("new/template/gitignore.in")),
    ("README.md", include_str!("new/template/README.md.in")),
    ("schema.json", include_str!("new/template/schema.json.in")),
    ("src/lib.rs", include_str!("new/template/src/lib.rs.in")),
    (
        "src/config.rs",
        include_str!("new/template/src/config.rs.in"),
    ),
    ("src/plan.rs", include_str!("new/template/src/plan.rs.in")),
    ("src/codec.rs", include_str!("new/template/src/codec.rs.in")),
    (
        "src/driver.rs",
        include_str!("new/template/src/driver.rs.in"),
    ),
    ("src/keys.rs", include_str!("new/template/src/keys.rs.in")),
    (
        "examples/simulate.rs",
        include_str!("new/template/examples/simulate.rs.in"),
    ),
    (
        "tests/it/main.rs",
        include_str!("new/template/tests/it/main.rs.in"),
    ),
    (
        "tests/it/simulator.rs",
        include_str!("new/template/tests/it/simulator.rs.in"),
    ),
    (
        "tests/it/readings.rs",
        include_str!("new/template/tests/it/readings.rs.in"),
    ),
    (
        "tests/it/conformance.rs",
        include_str!("new/template/tests/it/conformance.rs.in"),
    ),
    (
        "profile/{{name}}.test.yaml",
        include_str!("new/template/profile/device.test.yaml.in"),
    ),
    (
        "profile/{{name}}.yaml",
        include_str!("new/template/profile/device.yaml.in"),
    ),
];

/// Runs `longshore new mapper`.
pub(crate) async fn mapper(args: MapperArgs) -> Result<bool> {
    check_name(&args.name)?;
    let folder = args
        .path
        .unwrap_or_else(|| PathBuf::from(format!("longshore-mapper-{}", args.name)));
    let sdk = Sdk::find(args.sdk.as_deref())?;
    write(&folder, &args.name, &sdk)?;
    let (shown, assumed) = (folder.display(), sdk.told());
    say(&format!(
        "wrote {shown}: a mapper that reads and sets a simulated thermometer\n\nnext:\n  cd {shown}\n  cargo test\n  less README.md\n{assumed}"
    ));
    Ok(true)
}

fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fault = if name.is_empty() || name.len() > LONGEST_NAME {
        "has to have 1 to 31 characters"
    } else if !name.chars().all(plain) {
        "may have only a-z, 0-9 and -"
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        "has to begin with a letter"
    } else if name.ends_with('-') || name.contains("--") {
        "may have - only between two words"
    } else if TAKEN.contains(&name) {
        "is a word of the code itself"
    } else {
        return Ok(());
    };
    Err(advised(
        format!("name `{name}`: it {fault}"),
        "take the protocol's name, as in: longshore new mapper knx-ip",
    ))
}

/// Writes beside the folder first and moves it into place, so that a disk that
/// is full leaves nothing half.
fn write(folder: &Path, name: &str, sdk: &Sdk) -> Result<()> {
    if folder.exists() {
        return Err(advised(
            format!("{} exists already", folder.display()),
            "name another folder with --path DIR",
        ));
    }
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !parent.is_dir() {
        bail!("there is no folder {}", parent.display());
    }
    let draft = tempfile::Builder::new()
        .prefix(".longshore-new-")
        .tempdir_in(parent)
        .with_context(|| format!("failed to write into {}", parent.display()))?;
    for (file, text) in FILES {
        let file = draft.path().join(filled(file, name, sdk));
        let written = fs::create_dir_all(file.parent().unwrap_or(draft.path()))
            .and_then(|()| fs::write(&file, filled(text, name, sdk)));
        written.with_context(|| format!("failed to write {}", file.display()))?;
    }
    sdk.write(draft.path())
        .with_context(|| format!("failed to write the SDK into {}", draft.path().display()))?;
    // A temporary folder is for its owner alone; a crate is like any other.
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(draft.path(), fs::Permissions::from_mode(0o755))
        .and_then(|()| fs::rename(draft.path(), folder))
        .with_context(|| format!("failed to make {}", folder.display()))?;
    // Nothing is left to remove under the draft's name.
    let _ = draft.keep();
    Ok(())
}

fn filled(text: &str, name: &str, sdk: &Sdk) -> String {
    text.replace("{{name}}", name)
        .replace("{{ident}}", &name.replace('-', "_"))
        .replace("{{Name}}", &type_name(name))
        .replace("{{sdk}}", &sdk.dependency("sdk"))
        .replace("{{conformance}}", &sdk.dependency("conformance"))
}

/// `knx-ip` becomes `KnxIp`.
fn type_name(name: &str) -> String {
    name.split('-')
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_anything_is_written() {
        for good in ["thermo", "knx-ip", "s7"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for (bad, fault) in [
            ("", "1 to 31 characters"),
            ("Thermo", "only a-z, 0-9 and -"),
            ("../etc", "only a-z, 0-9 and -"),
            ("7s", "begin with a letter"),
            ("a--b", "between two words"),
            ("match", "a word of the code itself"),
        ] {
            let error = check_name(bad).unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
        }
    }

    #[test]
    fn all_is_written_and_nothing_is_left_to_fill_in() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("it");
        let sdk = Sdk::Version("0.1.0".to_owned());
        write(&folder, "knx-ip", &sdk).unwrap();
        let left: Vec<_> = fs::read_dir(parent.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "no draft is left: {left:?}");
        let mut lines = 0;
        for (file, _) in FILES {
            let file = folder.join(filled(file, "knx-ip", &sdk));
            let text = fs::read_to_string(&file).unwrap();
            assert!(!text.contains("{{"), "{}", file.display());
            if file.strip_prefix(folder.join("src")).is_ok() {
                let code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
                lines += text.lines().filter(code).count();
            }
        }
        assert!(
            lines <= 300,
            "the mapper has {lines} lines of code, its tests included"
        );
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("longshore-sdk = \"0.1.0\""), "{manifest}");
        let code = fs::read_to_string(folder.join("src/config.rs")).unwrap();
        assert!(code.contains("pub struct KnxIp;"), "{code}");

        let again = write(&folder, "knx-ip", &sdk).unwrap_err().to_string();
        assert!(again.ends_with("exists already"), "{again}");
    }

    /// A crate that is written for a version needs these from the registry.
    #[test]
    fn what_a_written_crate_needs_can_be_published() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let read = |file: &str| fs::read_to_string(top.join(file)).unwrap();
        let workspace = read("Cargo.toml");
        let ours = [
            "plugin-sdk/abi",
            "plugin-sdk/sdk",
            "plugin-sdk/conformance",
            "core/types",
            "core/host",
        ];
        for folder in ours {
            let manifest = read(&format!("{folder}/Cargo.toml"));
            for needed in ["publish = true", "description = ", "readme = \"README.md\""] {
                assert!(manifest.contains(needed), "{folder}: {needed}");
            }
            assert!(top.join(folder).join("README.md").is_file(), "{folder}");
            let dependencies = manifest.split("[dependencies]").nth(1).unwrap();
            let dependencies = dependencies.split("[dev-dependencies]").next().unwrap();
            let own = dependencies
                .lines()
                .filter(|line| line.starts_with("longshore-"));
            for line in own.chain([&*format!(
                "longshore-{}.",
                folder.rsplit('/').next().unwrap()
            )]) {
                let name = line.split('.').next().unwrap();
                let line = workspace
                    .lines()
                    .find(|line| line.starts_with(&format!("{name} = ")));
                let line =
                    line.unwrap_or_else(|| panic!("{name} is no dependency of the workspace"));
                assert!(line.contains("version = "), "{line}");
                assert!(ours.iter().any(|ours| line.contains(ours)), "{line}");
            }
        }
    }
}

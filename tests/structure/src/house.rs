//! The facts that the rules judge: members, lock file and sources of this
//! checkout.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::code::only_code;

/// A package of the workspace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Relative to the root, with `/`.
    pub(crate) folder: String,
    pub(crate) manifest: toml::Table,
    pub(crate) dependencies: Vec<Dependency>,
    /// Names of its integration test binaries.
    pub(crate) tests: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Only for its tests.
    pub(crate) dev: bool,
}

/// A Rust file of the checkout.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) lines: usize,
    /// Without comments and literals.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        Source {
            path: path.to_owned(),
            lines: text.lines().count(),
            code: only_code(text),
        }
    }

    /// The code before a module of tests at the end of the file.
    pub(crate) fn without_tests(&self) -> &str {
        let end = self.code.find("#[cfg(test)]\nmod tests {");
        &self.code[..end.unwrap_or(self.code.len())]
    }
}

pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this crate lies two folders below the root")
        .to_owned()
}

pub(crate) fn members() -> Vec<Member> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    array(&metadata["packages"]).iter().map(member).collect()
}

fn member(package: &Value) -> Member {
    let manifest_path = Path::new(text(&package["manifest_path"]));
    let folder = manifest_path.parent().expect("a manifest lies in a folder");
    Member {
        name: text(&package["name"]).to_owned(),
        folder: relative(folder),
        manifest: read(manifest_path).parse().expect("cargo could read it"),
        dependencies: array(&package["dependencies"])
            .iter()
            .map(|dependency| Dependency {
                name: text(&dependency["name"]).to_owned(),
                dev: dependency["kind"] == "dev",
            })
            .collect(),
        tests: array(&package["targets"])
            .iter()
            .filter(|target| target["kind"][0] == "test")
            .map(|target| text(&target["name"]).to_owned())
            .collect(),
    }
}

/// Package to those that name it as a dependency of any kind, from Cargo.lock:
/// it knows the whole tree without a download.
pub(crate) fn dependents() -> BTreeMap<String, Vec<String>> {
    let lock: toml::Table = read(&root().join("Cargo.lock"))
        .parse()
        .expect("Cargo.lock is TOML");
    let mut dependents = BTreeMap::<String, Vec<String>>::new();
    for package in lock["package"].as_array().expect("a list of packages") {
        let name = package["name"].as_str().expect("packages have names");
        let needs = package.get("dependencies").and_then(toml::Value::as_array);
        for needed in needs.into_iter().flatten() {
            // "name", or "name version" where the tree has several.
            let needed = needed.as_str().and_then(|entry| entry.split(' ').next());
            let needed = needed.expect("a dependency begins with a name");
            dependents
                .entry(needed.to_owned())
                .or_default()
                .push(name.to_owned());
        }
    }
    dependents
}

pub(crate) fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the checkout") {
            let path = entry.expect("an entry of the folder").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "node_modules" {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                sources.push(Source::new(&relative(&path), &read(&path)));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether `path` is `folder` or lies in it.
pub(crate) fn within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || folder.ends_with('/'))
}

/// Fails the test with all faults at once.
pub(crate) fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n  {}\n", faults.join("\n  "));
}

fn relative(path: &Path) -> String {
    let path = path
        .strip_prefix(root())
        .expect("the path is inside of the checkout");
    path.to_str().expect("our paths are UTF-8").to_owned()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo gives a string here")
}

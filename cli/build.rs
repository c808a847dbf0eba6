//! Puts the SDK's crates into the program, so that `longshore new mapper` works
//! where there is nothing but the program: they are not in a registry yet.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// What a mapper and its conformance test need, from the top of the checkout.
const CRATES: [&str; 5] = [
    "core/types",
    "core/host",
    "plugin-sdk/abi",
    "plugin-sdk/sdk",
    "plugin-sdk/conformance",
];
/// Parts of the workspace's manifest that the crates inherit from.
const INHERITED: [&str; 4] = [
    "[workspace.package]",
    "[workspace.dependencies]",
    "[workspace.lints.rust]",
    "[workspace.lints.clippy]",
];

fn main() {
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let top = own.parent().expect("the crate lies in the checkout");
    let mut files = Vec::new();
    for name in CRATES {
        let folder = top.join(name);
        println!("cargo::rerun-if-changed={}", folder.display());
        for file in ["Cargo.toml", "README.md", "build.rs"] {
            files.extend(Some(folder.join(file)).filter(|file| file.is_file()));
        }
        collect(&folder.join("src"), &mut files);
        collect(&folder.join("include"), &mut files);
    }
    files.sort();
    let mut code = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(top).expect("it lies in the checkout");
        let name = name.display().to_string();
        let contents = match name.ends_with("Cargo.toml") {
            true => format!("{:?}", without_tests(file)),
            false => format!("include_str!({:?})", file.display().to_string()),
        };
        writeln!(code, "({name:?}, {contents}),").expect("a text takes more");
    }
    code.push(']');
    write("sdk_files.rs", &code);

    let manifest = top.join("Cargo.toml");
    println!("cargo::rerun-if-changed={}", manifest.display());
    let manifest = fs::read_to_string(manifest).expect("the workspace has a manifest");
    write("sdk_workspace.toml", &workspace(&manifest));
}

/// The files of a folder but for tests, which nobody runs there.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        match path.is_dir() {
            _ if is_test => {}
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}

/// A crate's manifest without what only its tests need.
fn without_tests(manifest: &Path) -> String {
    let manifest = fs::read_to_string(manifest).expect("the crate has a manifest");
    let mut text = String::new();
    let mut is_kept = true;
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_kept = !line.starts_with("[dev-dependencies") && !line.starts_with("[[test");
        }
        if is_kept {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// A manifest of these crates alone.
fn workspace(manifest: &str) -> String {
    let members = CRATES.map(|name| format!("{name:?}")).join(", ");
    let mut text = format!("[workspace]\nresolver = \"2\"\nmembers = [{members}]\n");
    let mut inherits = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inherits = INHERITED.contains(&line.trim());
        }
        if inherits {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn write(name: &str, text: &str) {
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(folder.join(name), text).expect("the build folder can be written");
}

//! The programs under test.

use std::path::{Path, PathBuf};

/// `target/debug` (or whichever profile the tests were built with).
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("a test knows its own path");
    // target/debug/deps/e2e-0123
    exe.parent()
        .and_then(Path::parent)
        .expect("tests lie in target/PROFILE/deps")
        .to_owned()
}

/// A program that `cargo build --workspace` made.
pub fn binary(name: &str) -> PathBuf {
    existing(target_dir().join(name))
}

/// The library of a mapper.
pub fn mapper(name: &str) -> PathBuf {
    existing(target_dir().join(format!("libmapper_{name}.so")))
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(
        path.is_file(),
        "{} is missing\n\nhint: cargo build --workspace",
        path.display()
    );
    path
}

/// The top of the checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate lies two levels down")
        .to_owned()
}

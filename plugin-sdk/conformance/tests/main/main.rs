//! The judge judged: on a mapper that breaks each rule in turn, and on ours.

mod breaker;
mod devices;
mod linked;
mod mappers;
mod writes;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use longshore_conformance::Subject;

/// The top of the checkout.
fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate lies two levels down")
        .to_owned()
}

/// Compiles C sources (paths from the top) to a library in `folder`.
fn c_library(folder: &Path, source: &str, arguments: &[&str]) -> PathBuf {
    let library = folder.join("libmapper_test.so");
    let output = Command::new("cc")
        .args([
            "-std=gnu11",
            "-D_GNU_SOURCE",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
        ])
        .args(["-fPIC", "-shared"])
        .arg("-I")
        .arg(checkout().join("plugin-sdk/abi/include"))
        .args(arguments)
        .arg(checkout().join(source))
        .arg("-o")
        .arg(&library)
        .arg("-pthread")
        .output()
        .expect("a C compiler; install it with deploy/setup/packages test");
    assert!(
        output.status.success(),
        "{source} does not compile:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    library
}

/// A file that is judged in the kit's own program, so that any test of this
/// binary may judge several, on any thread. Its devices are simulators of ours.
fn subject(file: &Path) -> Subject {
    Subject::file(file)
        .judged_in(env!("CARGO_BIN_EXE_longshore-conformance"))
        .simulated()
}
